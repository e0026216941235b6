//! A client engine and a rustls server, joined in memory.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use crate::tls::forge::{DemoAuthority, PemPair};
use crate::tls::{ClientEngine, Identity, IdentityFiles, OriginTls, TlsFailure, Trust, provider};

pub(super) const ORIGIN: &str = "app.internal";

pub(super) static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
pub(super) static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

pub(super) fn now_unix() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A folder of files for one test.
pub(super) struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(super) fn identity_files(&self, name: &str, pair: &PemPair, bundle_pem: &str) -> IdentityFiles {
        IdentityFiles {
            name: name.to_owned(),
            certificate: self.write(&format!("{name}.pem"), &pair.certificate_pem),
            private_key: self.write(&format!("{name}.key"), &pair.private_key_pem),
            ca_bundle: self.write(&format!("{name}-ca.pem"), bundle_pem),
        }
    }
}

/// One authority for both sides, and what is made with it.
pub(super) struct World {
    pub(super) authority: DemoAuthority,
    pub(super) files: Files,
}

impl World {
    pub(super) fn new() -> Self {
        Self { authority: DemoAuthority::new("Test CA").unwrap(), files: Files::new() }
    }

    pub(super) fn identity(&self, name: &str) -> Identity {
        let pair = self.authority.client(name).unwrap();
        self.load(name, &pair)
    }

    pub(super) fn load(&self, name: &str, pair: &PemPair) -> Identity {
        let files = self.files.identity_files(name, pair, &self.authority.certificate_pem());
        Identity::load(&files, now_unix()).unwrap()
    }

    pub(super) fn trust(&self) -> Trust {
        Trust::Bundle(self.files.write("trust.pem", self.authority.certificate_pem()))
    }

    pub(super) fn client(&self, identity: Option<&Identity>) -> OriginTls {
        OriginTls::build(ORIGIN, &self.trust(), identity).unwrap()
    }

    /// A server for [`ORIGIN`] that demands a certificate of the authority.
    pub(super) fn server(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let pair = self.authority.server(&[ORIGIN], &[]).unwrap();
        server(&pair, Some(&self.authority), versions)
    }
}

pub(super) fn server(
    pair: &PemPair,
    clients: Option<&DemoAuthority>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let builder =
        ServerConfig::builder_with_provider(provider::provider()).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(certificates(&authority.certificate_pem()).remove(0)).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider::provider()).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(pair.private_key_pem.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(certificates(&pair.certificate_pem), key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

pub(super) fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

/// The two ends of a connection, and what each has received.
pub(super) struct Link {
    pub(super) engine: ClientEngine,
    pub(super) server: ServerConnection,
    pub(super) at_client: Vec<u8>,
    pub(super) at_server: Vec<u8>,
    pub(super) server_error: Option<rustls::Error>,
    pub(super) finished_count: usize,
    pub(super) resumed: bool,
    pub(super) peer_closed: bool,
    /// Bytes of the engine on their way.
    pub(super) to_server: Vec<u8>,
    /// The largest piece that the engine is fed.
    piece_bytes: usize,
}

impl Link {
    pub(super) fn new(config: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Self {
        Self::named(config, ORIGIN, server, usize::MAX)
    }

    pub(super) fn named(
        config: &Arc<ClientConfig>,
        name: &str,
        server: &Arc<ServerConfig>,
        piece_bytes: usize,
    ) -> Self {
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        server.set_buffer_limit(None);
        let mut engine = ClientEngine::new(config, name.to_owned().try_into().unwrap()).unwrap();
        let mut to_server = Vec::new();
        engine.start(&mut to_server).unwrap();
        Self {
            engine,
            server,
            at_client: Vec::new(),
            at_server: Vec::new(),
            server_error: None,
            finished_count: 0,
            resumed: false,
            peer_closed: false,
            to_server,
            piece_bytes,
        }
    }

    /// Carries bytes both ways until neither side has more to say.
    pub(super) fn run(&mut self) -> Result<(), TlsFailure> {
        loop {
            let nothing_sent = self.to_server.is_empty();
            let mut answer = self.answer_of_server();
            if nothing_sent && answer.is_empty() {
                return Ok(());
            }
            self.feed_engine(&mut answer)?;
        }
    }

    /// Hands the server what is on its way to it, and takes what it has to say.
    pub(super) fn answer_of_server(&mut self) -> Vec<u8> {
        let sent = std::mem::take(&mut self.to_server);
        self.feed_server(&sent);
        let mut answer = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut answer).unwrap();
        }
        answer
    }

    pub(super) fn feed_engine(&mut self, bytes: &mut [u8]) -> Result<(), TlsFailure> {
        for piece in bytes.chunks_mut(self.piece_bytes) {
            let ingested = self.engine.ingest(piece, &mut self.at_client, &mut self.to_server)?;
            self.finished_count += usize::from(ingested.handshake_finished_now);
            self.resumed = ingested.resumed;
            self.peer_closed |= ingested.peer_closed;
        }
        Ok(())
    }

    fn feed_server(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.server_error.is_none() {
            self.server.read_tls(&mut bytes).unwrap();
            if let Err(error) = self.server.process_new_packets() {
                self.server_error = Some(error);
            }
            let mut part = Vec::new();
            // An error says only that there is nothing more to read yet.
            let _ = self.server.reader().read_to_end(&mut part);
            self.at_server.extend_from_slice(&part);
        }
    }

    pub(super) fn server_sends(&mut self, plain: &[u8]) {
        self.server.writer().write_all(plain).unwrap();
    }

    pub(super) fn engine_sends(&mut self, parts: &[&[u8]]) {
        self.engine.seal(parts, &mut self.to_server).unwrap();
    }
}
