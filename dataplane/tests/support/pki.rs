//! Certificates for the node and its origins.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use weir::tls::forge::{DemoAuthority, PemPair};

use super::setup::Setup;

/// The name that origins' certificates carry.
pub(crate) const ORIGIN_NAME: &str = "app.internal";

/// An authority for the origins' certificates and one for the clients'.
pub(crate) struct Pki {
    pub(crate) origins: DemoAuthority,
    pub(crate) clients: DemoAuthority,
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self {
            origins: DemoAuthority::new("Origins' root").unwrap(),
            clients: DemoAuthority::new("Clients' root").unwrap(),
        }
    }

    /// A sound certificate for [`ORIGIN_NAME`].
    pub(crate) fn origin_pair(&self) -> PemPair {
        self.origins.server(&[ORIGIN_NAME], &[]).unwrap()
    }

    /// Writes certificate and key as `NAME.pem` and `NAME.key`.
    pub(crate) fn write_pair(folder: &Path, name: &str, pair: &PemPair) {
        std::fs::write(folder.join(format!("{name}.pem")), &pair.certificate_pem).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), &pair.private_key_pem).unwrap();
    }

    /// Makes the node speak TLS to its origin, verified by this authority.
    pub(crate) fn verified(&self, setup: Setup) -> Setup {
        setup.write("origin-ca.pem", self.origins.certificate_pem());
        setup.tls(&format!("server_name = \"{ORIGIN_NAME}\"\nca = \"origin-ca.pem\""))
    }

    /// The same, with a client certificate of the clients' authority.
    pub(crate) fn mutual(&self, setup: Setup) -> Setup {
        Self::write_pair(setup.folder.path(), "edge", &self.clients.client("edge").unwrap());
        setup.write("edge-ca.pem", self.clients.certificate_pem());
        self.verified(setup).tls("require_mtls = true\nclient_certificate = \"edge\"").more(
            "[[client_certificate]]\nname = \"edge\"\ncertificate = \"edge.pem\"\nprivate_key = \"edge.key\"\n\
             ca_bundle = \"edge-ca.pem\"",
        )
    }

    /// TLS for an origin of ours that shows `pair` and asks for no certificate.
    pub(crate) fn server_config(pair: &PemPair) -> Arc<ServerConfig> {
        let (chain, key) = chain_and_key(pair);
        Arc::new(builder().with_no_client_auth().with_single_cert(chain, key).unwrap())
    }

    /// TLS for an origin of ours that demands certificates of the clients' authority.
    pub(crate) fn demanding_server_config(&self) -> Arc<ServerConfig> {
        let mut roots = rustls::RootCertStore::empty();
        let root = self.clients.certificate_pem();
        roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let (chain, key) = chain_and_key(&self.origin_pair());
        Arc::new(builder().with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap())
    }
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

fn chain_and_key(pair: &PemPair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.private_key_pem.as_bytes()).unwrap();
    (vec![certificate], key)
}
