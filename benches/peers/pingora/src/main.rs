//! The smallest reverse proxy on Pingora: one thread, connections kept, listeners for plain HTTP, for TLS, and for an origin
//! with mutual TLS. Its one argument is a file with lines `NAME VALUE`; see benches/peers/configs/pingora.txt.

use std::{collections::HashMap, error::Error, fs, sync::Arc};

use async_trait::async_trait;
use pingora::{
    http::RequestHeader,
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
    tls::{pkey::PKey, x509::X509},
    upstreams::peer::HttpPeer,
    utils::tls::CertKey,
};

/// Forwards all requests to one origin, with the fields that the other proxies add.
struct Forward {
    origin: HttpPeer,
    /// What clients speak: `http` or `https`.
    scheme: &'static str,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.origin.clone()))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _: &mut (),
    ) -> pingora::Result<()> {
        if let Some(client) = session.client_addr().and_then(|address| address.as_inet()) {
            request.insert_header("X-Forwarded-For", client.ip().to_string())?;
        }
        request.insert_header("X-Forwarded-Proto", self.scheme)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("expected the name of a config file")?;
    if file == "--version" {
        println!("Pingora {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let text = fs::read_to_string(file)?;
    let values: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let value = |name: &str| values.get(name).copied().ok_or(format!("`{name}` is missing"));

    let conf = ServerConf {
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();

    let certificate = X509::from_pem(&fs::read(value("client_certificate")?)?)?;
    let key = PKey::private_key_from_pem(&fs::read(value("client_key")?)?)?;
    let identity = Arc::new(CertKey::new(vec![certificate], key));
    let mut mutual = HttpPeer::new_mtls(value("origin_mtls")?, "localhost".to_owned(), identity);
    let trusted: Box<[X509]> = Box::new([X509::from_pem(&fs::read(value("ca")?)?)?]);
    mutual.options.ca = Some(Arc::new(trusted));
    let plain = HttpPeer::new(value("origin")?, false, String::new());

    let forward = Forward { origin: plain.clone(), scheme: "https" };
    let mut behind_tls = http_proxy_service(&server.configuration, forward);
    behind_tls.add_tls(value("tls")?, value("server_certificate")?, value("server_key")?)?;
    server.add_service(behind_tls);
    for (listen, origin) in [(value("plain")?, plain), (value("mtls")?, mutual)] {
        let mut service = http_proxy_service(&server.configuration, Forward { origin, scheme: "http" });
        service.add_tcp(listen);
        server.add_service(service);
    }
    server.run_forever()
}
