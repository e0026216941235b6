//! Files of certificates and keys: read, or refused with reasons.

use weir::tls::{Identity, IdentityFiles};

use crate::{Random, Target};

/// An arbitrary moment at which certificates are judged.
const NOW_UNIX: i64 = 1_700_000_000;

pub(super) const PEM: Target = Target {
    name: "pem_file",
    seeds: &[
        b"-----BEGIN CERTIFICATE-----\nMIIBDTCBtaADAgECAgEBMAoGCCqGSM49BAMCMAwxCjAIBgNVBAMMAWEwHhcNMjMw\nMTAxMDAwMDAwWhcNMzMwMTAxMDAwMDAwWjAMMQowCAYDVQQDDAFh\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIA==\n-----END EC PRIVATE KEY-----\n-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
        b"text before\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    ],
    dictionary: &[
        b"-----BEGIN ", b"-----END ", b"CERTIFICATE-----\n", b"PRIVATE KEY-----\n", b"ENCRYPTED PRIVATE KEY-----\n", b"\n", b"\r\n", b"=", b"MIIB",
        b"MIIFFFFF", b"AAAA", b"Proc-Type: 4,ENCRYPTED\n", b"\0", b" ",
    ],
    quick_cases: 3_000,
    prepare: || {
        let folder = tempfile::tempdir().expect("a folder for files of certificates");
        let path = folder.path().join("all.pem");
        let files = IdentityFiles {
            name: "edge".to_owned(),
            certificate: path.clone(),
            private_key: path.clone(),
            ca_bundle: path.clone(),
        };
        Box::new(move |input, _: &mut Random| {
            let _kept = &folder;
            std::fs::write(&path, input).expect("a file of certificates");
            if let Err(errors) = Identity::load(&files, NOW_UNIX) {
                assert!(!errors.is_empty(), "a refusal without a reason");
                assert!(errors.iter().all(|error| !error.to_string().is_empty()));
            }
        })
    },
};
