//! nginx and openssl as origins: parties that share no code with the node.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::eventually;
use super::pki::Pki;
use weir::tls::forge::PemPair;

/// A process that is killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An nginx with one server.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    process: Process,
}

impl Nginx {
    /// Serves plain HTTP; `directives` belong to its server block.
    pub(crate) fn plain(directives: &str) -> Self {
        Self::start("", directives, |_| {})
    }

    /// Serves HTTPS and demands client certificates (`ssl_verify_client on`).
    pub(crate) fn mutual(pki: &Pki, directives: &str) -> Self {
        let tls = format!(
            "ssl_certificate origin.pem; ssl_certificate_key origin.key; ssl_verify_client on; \
             ssl_client_certificate clients.pem; ssl_session_cache shared:sessions:1m; {directives}"
        );
        Self::start("ssl", &tls, |folder| {
            Pki::write_pair(folder, "origin", &pki.origin_pair());
            std::fs::write(folder.join("clients.pem"), pki.clients.certificate_pem()).unwrap();
        })
    }

    /// Serves HTTPS with this certificate. `tls` are further directives, `files` what they name.
    pub(crate) fn secure(pair: &PemPair, tls: &str, files: &[(&str, String)]) -> Self {
        let directives = format!("ssl_certificate origin.pem; ssl_certificate_key origin.key; {tls}");
        Self::start("ssl", &directives, |folder| {
            Pki::write_pair(folder, "origin", pair);
            for (name, text) in files {
                std::fs::write(folder.join(name), text).unwrap();
            }
        })
    }

    /// Takes connections with a PROXY header only (`listen ... proxy_protocol`).
    pub(crate) fn told(directives: &str) -> Self {
        Self::start("proxy_protocol", directives, |_| {})
    }

    fn start(listen: &str, directives: &str, prepare: impl Fn(&Path)) -> Self {
        // Between the choice of a free port and nginx taking it, somebody else may have it.
        for _ in 0..5 {
            let folder = tempfile::Builder::new().prefix("weir-e2e-nginx-").tempdir().unwrap();
            prepare(folder.path());
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
            std::fs::write(folder.path().join("nginx.conf"), config(address, listen, directives)).unwrap();
            std::fs::write(folder.path().join("index.html"), "the page\n").unwrap();
            let process = Command::new("nginx")
                .args(["-c", "nginx.conf", "-e", "error.log", "-p"])
                .arg(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("these tests need nginx: apt-get install nginx-light");
            let mut process = Process(process);
            // It writes its number once it listens. A connection would tell less: somebody else may have taken it.
            let listens = eventually("nginx to listen", || match folder.path().join("nginx.pid").exists() {
                true => Some(true),
                false => process.0.try_wait().unwrap().map(|_| false),
            });
            if listens {
                return Self { address, folder, process };
            }
            let log = std::fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
            assert!(log.contains("Address already in use"), "nginx does not start: {log}");
        }
        panic!("no free port for nginx");
    }

    /// Makes a file that is served.
    pub(crate) fn serve_file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    /// Takes such a file away again.
    pub(crate) fn remove_file(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&self) {
        super::node::signal(self.process.0.id(), "KILL");
    }

    /// Waits for so many lines of the access log; nginx writes them after its answers.
    #[track_caller]
    pub(crate) fn await_access_log(&self, lines: usize) -> Vec<String> {
        let log = eventually("nginx's log", || Some(self.access_log()).filter(|log| log.len() >= lines));
        assert_eq!(log.len(), lines, "{log:?}");
        log
    }

    /// The whole lines of the access log: `STATUS REQUEST|SUBJECT|RESUMED`.
    pub(crate) fn access_log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }
}

fn config(address: SocketAddr, listen: &str, directives: &str) -> String {
    format!(
        "daemon off; master_process off; pid nginx.pid;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
           log_format seen '$status $request|$ssl_client_s_dn|$ssl_session_reused';\n\
           access_log access.log seen;\n\
           client_body_temp_path temp-body; proxy_temp_path temp-proxy; fastcgi_temp_path temp-fastcgi;\n\
           uwsgi_temp_path temp-uwsgi; scgi_temp_path temp-scgi;\n\
           client_max_body_size 0;\n\
           server {{ listen {address} {listen}; root .; {directives} }}\n\
         }}\n"
    )
}

/// An `openssl s_server` that serves a status page and demands client certificates of an authority.
pub(crate) struct OpensslServer {
    pub(crate) address: SocketAddr,
    _folder: TempDir,
    _process: Process,
}

impl OpensslServer {
    /// `version` is `-tls1_2` or `-tls1_3`; certificates of `trusted_clients` are let in.
    pub(crate) fn demanding(pki: &Pki, version: &str, trusted_clients: &str) -> Self {
        let options = ["-Verify", "1", "-verify_return_error", "-CAfile", "clients.pem"];
        let files = [("clients.pem", trusted_clients.to_owned())];
        Self::start(&pki.origin_pair(), version, &options, &files)
    }

    /// Shows the certificate `pair`. `options` are further ones of `s_server`, `files` what they name.
    pub(crate) fn start(pair: &PemPair, version: &str, options: &[&str], files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Pki::write_pair(folder.path(), "origin", pair);
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www", version])
            .args(["-cert", "origin.pem", "-key", "origin.key"])
            .args(options)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need openssl: apt-get install openssl");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let process = Process(process);
        let address = lines.find_map(|line| line.strip_prefix("ACCEPT ")?.parse().ok()).unwrap();
        // It must go on writing without a reader blocking it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { address, _folder: folder, _process: process }
    }
}
