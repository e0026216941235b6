//! The origin stub over real sockets, asked by hand, by curl and by openssl.

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use common::{Certificates, Logged, exchange, exchange_in_steps};
use serde_json::{Value, json};
use weir_loadgen::origin::{Body, CloseAfter, Draw, Faults, Listen, LogTarget, Options, spawn};

fn curl(arguments: &[&str]) -> (i32, String) {
    let output = Command::new("curl").args(["-sS", "--max-time", "120"]).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = spawn(Options { body: Body::Bytes(b"default".to_vec()), ..Options::default() }).unwrap();
    let request = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
                   POST /2?status=201 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                   HEAD /3?status=202 HTTP/1.1\r\nHost: a\r\n\r\n\
                   PUT /4?status=204 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody\
                   GET /5?status=404&size=5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let type_line = "Content-Type: text/plain\r\n";
    let expected = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n{type_line}\r\ndefault\
         HTTP/1.1 201 Created\r\nContent-Length: 7\r\n{type_line}\r\ndefault\
         HTTP/1.1 202 Accepted\r\nContent-Length: 7\r\n{type_line}\r\n\
         HTTP/1.1 204 No Content\r\n{type_line}\r\n\
         HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n{type_line}\r\nline "
    );
    for step in [1, 7, 100, request.len()] {
        assert_eq!(
            exchange_in_steps(origin.address(), request.as_bytes(), step),
            expected,
            "in steps of {step}"
        );
    }
    assert_eq!(origin.stop(), 20);
}

#[test]
fn answers_stay_whole_when_the_client_is_slow_to_read() {
    const REQUESTS: usize = 600;
    for (body_bytes, pieces) in [(64 * 1024, 1), (1000, 7)] {
        let origin =
            spawn(Options { body: Body::Size(Draw::fixed(body_bytes)), ..Options::default() }).unwrap();
        let mut stream = TcpStream::connect(origin.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        // None of the answers is read before the last request is sent, and those that are large don't fit into any buffer.
        for piece in request.repeat(REQUESTS).chunks(request.len() * 10 / pieces) {
            stream.write_all(piece).unwrap();
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).unwrap();
        let answer = &answers[..answers.len() / REQUESTS];
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.len() as u64 > body_bytes);
        assert!(answers.chunks(answer.len()).all(|other| other == answer));
        assert_eq!(origin.stop(), REQUESTS as u64);
    }
}

#[test]
fn ordinary_and_special_requests_are_served_side_by_side() {
    const CLIENTS: usize = 8;
    let origin = spawn(Options { body: Body::Bytes(b"default".to_vec()), ..Options::default() }).unwrap();
    let address = origin.address();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
                for number in 0..50 {
                    // The odd clients become special with their tenth request.
                    let query = if client % 2 == 1 && number >= 10 { "?size=5&delay=1ms" } else { "?plain" };
                    let body = if query == "?plain" { "default" } else { "line " };
                    write!(stream, "GET /{query} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                    let mut answer = Vec::new();
                    while !answer.ends_with(format!("\r\n\r\n{body}").as_bytes()) {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        answer.push(byte[0]);
                    }
                }
            });
        }
    });
    assert_eq!(origin.stop(), CLIENTS as u64 * 50);
}

#[test]
fn the_log_tells_what_arrived() {
    let origin = Logged::start(Options { log_body_bytes: 4, ..Options::default() });
    let request = "POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-Twice: 1\r\nX-Twice: 2\r\nContent-Length: 6\r\n\r\nabcdef\
                   POST /bin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\n\u{0}\r\n0\r\n\r\n";
    exchange(origin.origin.address(), request);
    exchange(origin.origin.address(), "GET /next HTTP/1.0\r\n\r\n");
    let lines = origin.lines();
    let facts: Vec<_> = lines
        .iter()
        .map(|line| {
            json!([
                line["connection"],
                line["request"],
                line["method"],
                line["target"],
                line["version"],
                line["framing"],
                line["body_bytes"],
                line["body"],
                line["complete"]
            ])
        })
        .collect();
    let expected = [
        json!([1, 1, "POST", "/a?b=c", "HTTP/1.1", "length", 6, "abcd", true]),
        json!([1, 2, "POST", "/bin", "HTTP/1.1", "chunked", 1, "\u{0}", true]),
        json!([2, 1, "GET", "/next", "HTTP/1.0", "length", 0, null, true]),
    ];
    assert_eq!(facts, expected);
    let headers = json!([["Host", "x"], ["X-Twice", "1"], ["X-Twice", "2"], ["Content-Length", "6"]]);
    assert_eq!(lines[0]["headers"], headers);
    assert_eq!(lines[0]["tls"], Value::Null);
    assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn malformed_requests_get_an_error_and_a_closed_connection() {
    let origin = Logged::start(Options::default());
    let long_head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let many_fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(300));
    let cases = [
        ("nonsense\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1}\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-Origin-Size: big\r\n\r\n", 400),
        (&long_head, 431),
        (&many_fields, 431),
    ];
    for (request, status) in cases {
        let answer = exchange(origin.origin.address(), request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {answer:.60}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{request:.60}");
    }
    let lines = origin.lines();
    assert_eq!(lines.len(), cases.len());
    assert!(lines.iter().all(|line| line["complete"] == json!(false) && line["error"].is_string()));
}

#[test]
fn hostile_bytes_never_stop_the_origin() {
    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
    let origin = spawn(Options::default()).unwrap();
    let request: &[u8] = b"POST /a?size=9&chunked=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-Origin-Status: 404\r\n\r\n\
        5;x=y\r\nhello\r\n0\r\nT: u\r\n\r\nPUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let mut state = SEED;
    let mut random = |below: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..400 {
        let mut bytes = request.to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes.insert(at, b"\r\n\0 :;\xff"[random(7)]),
                2 => drop(bytes.remove(at)),
                _ => bytes.extend_from_within(at..),
            }
        }
        let mut stream = TcpStream::connect(origin.address()).unwrap();
        stream.write_all(&bytes).unwrap();
        // It may be closed already, after an error.
        let _closed = stream.shutdown(std::net::Shutdown::Write);
        let _reset = stream.read_to_end(&mut Vec::new());
        let answer = exchange(origin.address(), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "after round {round}: {bytes:?}");
    }
}

#[test]
fn a_body_that_stops_short_is_logged_as_incomplete() {
    let origin = Logged::start(Options::default());
    let mut stream = TcpStream::connect(origin.origin.address()).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let lines = origin.lines();
    assert_eq!((&lines[0]["complete"], &lines[0]["body_bytes"]), (&json!(false), &json!(3)));
}

#[test]
fn curl_gets_large_chunked_and_delayed_answers_and_sends_large_bodies() {
    let origin = Logged::start(Options { threads: 2, ..Options::default() });
    let url = |rest: &str| format!("http://{}{rest}", origin.origin.address());
    for rest in
        ["/?size=3000000", "/?size=3000000&chunked=1", "/?size=3000000&close=1", "/?size=3000000&delay=30ms"]
    {
        let (code, body) = curl(&[&url(rest)]);
        assert_eq!((code, body.len()), (0, 3_000_000), "{rest}");
    }
    let folder = tempfile::tempdir().unwrap();
    let upload = folder.path().join("upload");
    std::fs::write(&upload, vec![b'u'; 2_000_000]).unwrap();
    // curl waits for 100 Continue before it sends this much.
    let (code, _) = curl(&["-T", upload.to_str().unwrap(), "-H", "Expect: 100-continue", &url("/put")]);
    assert_eq!(code, 0);
    let chunked = ["-T", upload.to_str().unwrap(), "-H", "Transfer-Encoding: chunked", &url("/chunked")];
    assert_eq!(curl(&chunked).0, 0);
    let lines = origin.lines();
    let last: Vec<_> = lines[4..].iter().map(|line| json!([line["framing"], line["body_bytes"]])).collect();
    assert_eq!(last, [json!(["length", 2_000_000]), json!(["chunked", 2_000_000])]);
    let (_, head) = curl(&["-I", &url("/?size=77")]);
    assert!(head.contains("Content-Length: 77"), "{head}");
}

#[test]
fn echo_tells_the_client_what_arrived() {
    let origin = spawn(Options { echo: true, ..Options::default() }).unwrap();
    let (_, text) = curl(&["-d", "a=b&c", "-H", "X-Test: yes", &format!("http://{}/e?1", origin.address())]);
    let echo: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&echo["method"], &echo["target"], &echo["body"]),
        (&json!("POST"), &json!("/e?1"), &json!("a=b&c"))
    );
    assert!(echo["headers"].as_array().unwrap().contains(&json!(["X-Test", "yes"])));
}

#[test]
fn mutual_tls_demands_a_certificate_and_logs_its_subject() {
    let certificates = Certificates::new();
    let origin = Logged::start(Options { tls: Some(certificates.mutual_tls()), ..Options::default() });
    let path = |name: &str| certificates.path(name).to_str().unwrap().to_owned();
    let url = format!("https://localhost:{}/?size=100000", origin.origin.address().port());
    let ca = path("server-ca.pem");
    let with =
        ["--cacert", &ca, "--cert", &path("client-cert.pem"), "--key", &path("client-key.pem"), &url, &url];
    for flags in [["--tls-max", "1.3"], ["--tls-max", "1.2"]] {
        let (code, body) = curl(&[flags.as_slice(), with.as_slice()].concat());
        assert_eq!((code, body.len()), (0, 200_000), "{flags:?}");
    }
    assert_ne!(curl(&["--cacert", &ca, &url]).0, 0, "no certificate");
    let own = ["--cacert", &ca, "--cert", &path("server-cert.pem"), "--key", &path("server-key.pem"), &url];
    assert_ne!(curl(&own).0, 0, "a certificate of the wrong CA");
    // Four requests, and two handshakes that were refused.
    let lines = origin.wait_for_lines(6);
    let requests: Vec<_> = lines.iter().filter(|line| line["method"].is_string()).collect();
    let facts: Vec<_> = requests
        .iter()
        .map(|line| {
            json!([line["tls"]["version"], line["tls"]["client_subject"], line["tls"]["server_name"]])
        })
        .collect();
    let (new, old) = (json!(["TLSv1.3", "edge", "localhost"]), json!(["TLSv1.2", "edge", "localhost"]));
    assert_eq!(facts, [new.clone(), new, old.clone(), old]);
    assert_eq!(lines.len() - requests.len(), 2, "refused handshakes are logged");
}

#[test]
fn openssl_resumes_a_session() {
    let certificates = Certificates::new();
    let origin =
        Logged::start(Options { threads: 2, tls: Some(certificates.mutual_tls()), ..Options::default() });
    let session = certificates.path("session.pem");
    for option in ["-sess_out", "-sess_in"] {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-ign_eof", "-servername", "localhost", "-connect"])
            .arg(origin.origin.address().to_string())
            .arg("-CAfile")
            .arg(certificates.path("server-ca.pem"))
            .arg("-cert")
            .arg(certificates.path("client-cert.pem"))
            .arg("-key")
            .arg(certificates.path("client-key.pem"))
            .arg(option)
            .arg(&session)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client.stdin.as_mut().unwrap().write_all(request).unwrap();
        let output = client.wait_with_output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("HTTP/1.1 200 OK"), "{option}");
    }
    let resumed: Vec<_> = origin.lines().iter().map(|line| line["tls"]["resumed"].clone()).collect();
    assert_eq!(resumed, [json!(false), json!(true)]);
}

#[test]
fn idle_connections_are_closed_and_a_stop_ends_all() {
    let origin = spawn(Options { idle_timeout: Duration::from_millis(50), ..Options::default() }).unwrap();
    let mut idle = TcpStream::connect(origin.address()).unwrap();
    let mut nothing = Vec::new();
    assert_eq!(idle.read_to_end(&mut nothing).unwrap(), 0);

    // An address of its own, so that no other test gets the port behind it.
    let listen = Listen::Tcp("127.0.78.1:0".parse().unwrap());
    let origin = spawn(Options { listen, ..Options::default() }).unwrap();
    let address = origin.address();
    let mut waiting = TcpStream::connect(address).unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /half").unwrap();
    let mut first = [0; 15];
    waiting.read_exact(&mut first).unwrap();
    assert_eq!(origin.stop(), 1);
    waiting.read_to_end(&mut nothing).unwrap();
    assert!(TcpStream::connect(address).is_err(), "still listening");
}

#[test]
fn a_unix_socket_is_served_and_goes_with_the_origin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("origin.sock");
    let log = folder.path().join("log");
    let options = || Options {
        listen: Listen::Unix(path.clone()),
        threads: 2,
        request_log: Some(LogTarget::File(log.clone())),
        ..Options::default()
    };
    // What an earlier process left behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let origin = spawn(options()).unwrap();
    assert_eq!(origin.listens_on().to_string(), format!("unix:{}", path.display()));
    let curl = |query: &str| {
        let url = format!("http://localhost/?{query}");
        Command::new("curl").args(["-s", "--unix-socket"]).arg(&path).arg(url).output().unwrap()
    };
    assert_eq!(curl("size=300000&chunked=1").stdout.len(), 300_000);
    // 52 is an empty reply.
    assert_eq!(curl("fault=reset").status.code(), Some(52));
    let lines = std::fs::read_to_string(&log).unwrap();
    assert_eq!(lines.matches(r#""peer":"unix""#).count(), 2, "{lines}");
    // One that is in use is not.
    let error = spawn(options()).unwrap_err().to_string();
    assert!(error.contains("origin.sock: ") && error.contains("in use"), "{error}");
    assert_eq!(origin.stop(), 1);
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    let error = spawn(options()).unwrap_err().to_string();
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn what_cannot_be_started_is_explained() {
    let certificates = Certificates::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let header = ("Connection".to_owned(), "close".to_owned());
    let mut mismatched = certificates.mutual_tls();
    mismatched.identity.private_key = certificates.path("client-key.pem");
    let mut absent = certificates.mutual_tls();
    absent.client_ca = Some(certificates.path("absent.pem"));
    let cases = [
        (
            Options { listen: taken.local_addr().unwrap().into(), ..Options::default() },
            "can't listen on 127.0.0.1:",
        ),
        (Options { headers: vec![header], ..Options::default() }, "`Connection` frames the message"),
        (Options { tls: Some(mismatched), ..Options::default() }, "client-key.pem do not go together"),
        (Options { tls: Some(absent), ..Options::default() }, "absent.pem: No such file"),
    ];
    for (options, expected) in cases {
        let error = spawn(options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_origin_fails_when_it_is_asked_to() {
    let origin = spawn(Options::default()).unwrap();
    let ask = |rest: &str| exchange(origin.address(), &format!("GET /?{rest} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(ask("fault=close"), "");
    let answer = ask("fault=truncate&size=200");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Length: 200") && body.len() == 100, "{answer}");
    let answer = ask("fault=truncate&size=200000&chunked=1");
    assert!(answer.len() > 100_000 && !answer.ends_with("0\r\n\r\n"), "{}", answer.len());

    let mut stream = TcpStream::connect(origin.address()).unwrap();
    stream.write_all(b"GET /?fault=stall&size=20 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nline 0000 ") {
        let mut room = [0; 500];
        let count = stream.read(&mut room).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&room[..count]);
    }
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    drop(stream);
    assert_eq!(origin.stop(), 0);
}

#[test]
fn resets_are_told_from_closed_connections() {
    let origin = spawn(Options::default()).unwrap();
    let ask = |rest: &str| {
        let mut stream = TcpStream::connect(origin.address()).unwrap();
        stream.write_all(format!("GET /?{rest} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(|error| error.kind()).map(|_| answer.len())
    };
    assert_eq!(ask("fault=close"), Ok(0));
    assert_eq!(ask("fault=reset"), Err(std::io::ErrorKind::ConnectionReset));
    assert_eq!(ask("fault=break&size=2000"), Err(std::io::ErrorKind::ConnectionReset));
}

#[test]
fn a_body_with_a_rate_comes_whole_and_in_pieces() {
    let origin = spawn(Options { body_bytes_per_second: Some(1000), ..Options::default() }).unwrap();
    let mut stream = TcpStream::connect(origin.address()).unwrap();
    stream.write_all(b"GET /?size=300 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut pieces = Vec::new();
    let mut room = [0; 4096];
    loop {
        match stream.read(&mut room).unwrap() {
            0 => break,
            count => pieces.push(room[..count].to_vec()),
        }
    }
    // Ten pieces a second, as far apart as that; a busy machine may join some, but not all.
    assert!(pieces.len() >= 2, "{} pieces", pieces.len());
    let answer = String::from_utf8(pieces.concat()).unwrap();
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), 300);
    let chunked = exchange(
        origin.address(),
        "GET /?size=300&rate=1MB&chunked=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert!(chunked.ends_with("\r\n0\r\n\r\n"), "{chunked}");
}

#[test]
fn connections_last_for_as_many_answers_as_they_may() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(4);
    for announced in [true, false] {
        let close_after = Some(CloseAfter { answers: 3, announced });
        let origin = spawn(Options { close_after, ..Options::default() }).unwrap();
        let answers = exchange(origin.address(), &request);
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3);
        assert_eq!(answers.matches("Connection: close").count(), usize::from(announced));
        assert_eq!(origin.stop(), 3);
    }
}

#[test]
fn mixes_are_the_same_for_the_same_seed() {
    let statuses = |seed| {
        let status = |text: &str| text.parse().map_err(|_| text.to_owned());
        let origin = Logged::start(Options {
            status: Draw::parse("200=80,404=15,503=5", status).unwrap(),
            body: Body::Size(Draw::parse("1-100=50,1000=50", status).unwrap()),
            faults: Faults::parse("close=1").unwrap(),
            seed,
            ..Options::default()
        });
        let mut answers = String::new();
        while origin.lines().len() < 300 {
            answers += &exchange(origin.origin.address(), &"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(300));
        }
        let lines = origin.lines();
        let failed = lines.iter().filter(|line| line["fault"] == "close").count();
        assert_eq!(answers.matches("HTTP/1.1 ").count(), lines.len() - failed);
        assert!((1..30).contains(&failed), "{failed}");
        lines.iter().take(300).map(|line| line["status"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let first = statuses(1);
    assert_eq!(first, statuses(1));
    assert_ne!(first, statuses(2));
    let count = |status| first.iter().filter(|other| **other == status).count();
    assert!(count(200) > 200 && count(404) > 20 && count(503) > 2, "{first:?}");
}
