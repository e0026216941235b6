//! Python's h11 as a second opinion, over a pipe or as an origin.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;

/// A request as h11 understood it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Understood {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) version: Vec<u8>,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Reply {
    Understood {
        method: String,
        target: String,
        version: String,
        fields: Vec<(String, String)>,
        body: String,
    },
    Refused {
        error: String,
    },
}

/// The bytes behind Latin-1 characters.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).expect("a Latin-1 character")).collect()
}

/// Reads a reply; what h11 refused is an error.
pub(crate) fn read_reply(json: &[u8]) -> Result<Understood, String> {
    match serde_json::from_slice(json) {
        Ok(Reply::Understood { method, target, version, fields, body }) => Ok(Understood {
            method: bytes(&method),
            target: bytes(&target),
            version: bytes(&version),
            fields: fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            body: bytes(&body),
        }),
        Ok(Reply::Refused { error }) => Err(error),
        Err(error) => Err(format!("no reply: {error}: {}", json.escape_ascii())),
    }
}

fn start(role: &str) -> Child {
    // Debian's python3-h11 belongs to Debian's interpreter; another may come first on the path.
    let has_h11 = |python: &&str| {
        let output = Command::new(python).args(["-c", "import h11"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let python = ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(has_h11)
        .expect("these tests need Python's h11: apt-get install python3-h11");
    Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/h11_party.py"))
        .arg(role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// h11 behind a pipe. It ends when its input does.
pub(crate) struct H11 {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl H11 {
    pub(crate) fn start() -> Self {
        let mut process = start("pipe");
        let (input, output) = (process.stdin.take(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output) }
    }

    /// What h11 makes of one message.
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<Understood, String> {
        let input = self.input.as_mut().unwrap();
        input.write_all(&u32::try_from(message.len()).unwrap().to_be_bytes()).unwrap();
        input.write_all(message).unwrap();
        input.flush().unwrap();
        let mut line = Vec::new();
        self.output.read_until(b'\n', &mut line).unwrap();
        read_reply(&line)
    }
}

impl Drop for H11 {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// h11 as an origin. It is killed when dropped.
pub(crate) struct H11Origin {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl H11Origin {
    pub(crate) fn start() -> Self {
        let mut process = start("serve");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the port of the origin");
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), process }
    }
}

impl Drop for H11Origin {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
