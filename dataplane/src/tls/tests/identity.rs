//! Identities: each requirement of spec S6.1 broken on its own, and what is sent of good ones.

use std::process::Command;

use sha2::{Digest, Sha256};

use super::link::{Files, Link, ORIGIN, TLS13, World, certificates, now_unix, server};
use crate::tls::forge::{DemoAuthority, KeyKind, LeafRequest, PemPair, Usage};
use crate::tls::listener::{
    CertificateFiles, ClientAuthentication, ListenerTls, ListenerTlsFiles, MinimumVersion,
};
use crate::tls::{
    CertificateFileError, CertificateFileProblem as Problem, Identity, IdentityError, IdentityFiles,
    OriginTls, TlsConfigError, Trust, TrustError, Verification,
};

/// Loads what must not load and returns every problem.
fn problems(files: &IdentityFiles) -> Vec<IdentityError> {
    let problems = Identity::load(files, now_unix()).expect_err("must be refused");
    assert!(!problems.is_empty());
    for problem in &problems {
        let text = problem.to_string();
        assert!(text.starts_with(problem.file().to_str().unwrap()), "names its file: {text}");
    }
    problems
}

/// Loads what must not load for exactly one reason.
fn problem(files: &IdentityFiles) -> IdentityError {
    let mut problems = problems(files);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

/// Runs openssl in the folder of `files`.
fn openssl(files: &Files, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(files.path(""))
        .output()
        .expect("these tests need openssl: apt-get install openssl");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A self-made authority of openssl in `ca.pem`, and a client certificate in `client.pem` for the key in `key.pem`.
fn openssl_identity(files: &Files, authority_options: &str, client_options: &str) -> IdentityFiles {
    openssl(
        files,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 \
             -subj /CN=OpenSSL-CA {authority_options}"
        ),
    );
    files.write("client.ext", "extendedKeyUsage = clientAuth\n");
    openssl(files, "req -new -key key.pem -subj /CN=edge -out client.csr");
    openssl(
        files,
        &format!(
            "x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile client.ext \
             -out client.pem {client_options}"
        ),
    );
    IdentityFiles {
        name: "edge".to_owned(),
        certificate: files.path("client.pem"),
        private_key: files.path("key.pem"),
        ca_bundle: files.path("ca.pem"),
    }
}

#[test]
fn a_good_identity_says_what_it_is() {
    let world = World::new();
    let request = LeafRequest::new("edge", Usage::Client);
    let pair = world.authority.issue(&request).unwrap();
    let identity = world.load("edge", &pair);
    assert_eq!((identity.name(), identity.not_after()), ("edge", request.not_after));
    let [leaf] = &identity.certified_key().cert[..] else { panic!("the root isn't sent") };

    openssl(&world.files, "x509 -in edge.pem -noout -fingerprint -sha256 -out print.txt");
    let printed = std::fs::read_to_string(world.files.path("print.txt")).unwrap();
    let printed = printed.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    let fingerprint: String = Sha256::digest(leaf).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(fingerprint, printed);
}

#[test]
fn row_1_the_certificate_must_be_pem_and_x509() {
    let world = World::new();
    let pair = world.authority.client("edge").unwrap();
    let mut files = world.files.identity_files("edge", &pair, &world.authority.certificate_pem());

    files.certificate = world.files.path("missing.pem");
    assert!(matches!(
        problem(&files),
        IdentityError::Certificate(CertificateFileError { problem: Problem::Unreadable(_), .. })
    ));
    files.certificate = world.files.write("huge.pem", vec![b'a'; (1 << 20) + 1]);
    assert!(matches!(
        problem(&files),
        IdentityError::Certificate(CertificateFileError { problem: Problem::Unreadable(_), .. })
    ));
    let der = certificates(&pair.certificate_pem).remove(0);
    files.certificate = world.files.write("der.pem", &der);
    assert!(matches!(
        problem(&files),
        IdentityError::Certificate(CertificateFileError { problem: Problem::NotPem(_), .. })
    ));
    files.certificate = world.files.write("empty.pem", "");
    assert!(matches!(
        problem(&files),
        IdentityError::Certificate(CertificateFileError { problem: Problem::NotPem(_), .. })
    ));
    let damaged = pair.certificate_pem.replacen("MI", "!!", 1);
    files.certificate = world.files.write("damaged.pem", damaged);
    assert!(matches!(
        problem(&files),
        IdentityError::Certificate(CertificateFileError { problem: Problem::NotPem(_), .. })
    ));
    files.certificate = files.private_key.clone();
    assert!(matches!(
        problem(&files),
        IdentityError::Certificate(CertificateFileError { problem: Problem::NoCertificate, .. })
    ));
    let not_x509 = "-----BEGIN CERTIFICATE-----\nAAECAwQF\n-----END CERTIFICATE-----\n";
    files.certificate = world.files.write("not-x509.pem", not_x509);
    assert!(matches!(
        problem(&files),
        IdentityError::Certificate(CertificateFileError {
            problem: Problem::Malformed { position: 1, .. },
            ..
        })
    ));
    files.certificate = world.files.write("second.pem", pair.certificate_pem + not_x509);
    assert!(matches!(
        problem(&files),
        IdentityError::Certificate(CertificateFileError {
            problem: Problem::Malformed { position: 2, .. },
            ..
        })
    ));
}

#[test]
fn row_2_the_key_usage_must_contain_client_authentication() {
    let world = World::new();
    for (usage, found) in [(Usage::Server, "Server Authentication"), (Usage::Unstated, "no such extension")] {
        let pair = world.authority.issue(&LeafRequest::new("edge", usage)).unwrap();
        let files = world.files.identity_files("edge", &pair, &world.authority.certificate_pem());
        let problem = problem(&files);
        assert!(matches!(problem, IdentityError::EkuWithoutClientAuth { .. }), "{problem:?}");
        assert!(problem.to_string().contains(found), "{problem}");
    }
}

#[test]
fn row_3_the_key_must_be_pem_and_match() {
    let world = World::new();
    let pair = world.authority.client("edge").unwrap();
    let mut files = world.files.identity_files("edge", &pair, &world.authority.certificate_pem());

    files.private_key = world.files.path("missing.key");
    assert!(matches!(problem(&files), IdentityError::KeyUnreadable { .. }));
    files.private_key = world.files.write("not-pem.key", "secret");
    assert!(matches!(problem(&files), IdentityError::KeyNotPem { .. }));
    files.private_key = files.certificate.clone();
    assert!(matches!(problem(&files), IdentityError::KeyNotPem { .. }));
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
        let malformed = format!("-----BEGIN {label}-----\nAAECAwQF\n-----END {label}-----\n");
        files.private_key = world.files.write("malformed.key", malformed);
        assert!(matches!(problem(&files), IdentityError::KeyMalformed { .. }), "{label}");
    }
    openssl(&world.files, "pkcs8 -topk8 -in edge.key -passout pass:secret -out encrypted.key");
    files.private_key = world.files.path("encrypted.key");
    assert!(matches!(problem(&files), IdentityError::KeyEncrypted { .. }));
    openssl(&world.files, "ec -in edge.key -aes128 -passout pass:secret -out encrypted-sec1.key");
    files.private_key = world.files.path("encrypted-sec1.key");
    assert!(matches!(problem(&files), IdentityError::KeyEncrypted { .. }));

    for key in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519, KeyKind::Rsa2048] {
        let request = LeafRequest { key, ..LeafRequest::new("edge", Usage::Client) };
        let other = world.authority.issue(&request).unwrap();
        files.private_key = world.files.write("other.key", other.private_key_pem);
        assert!(matches!(problem(&files), IdentityError::KeyMismatch { .. }), "{key:?}");
    }
}

#[test]
fn row_4_the_bundle_must_contain_the_issuer() {
    let world = World::new();
    let pair = world.authority.client("edge").unwrap();
    let mut files = world.files.identity_files("edge", &pair, &world.authority.certificate_pem());

    files.ca_bundle = world.files.path("missing-ca.pem");
    assert!(matches!(
        problem(&files),
        IdentityError::Bundle(CertificateFileError { problem: Problem::Unreadable(_), .. })
    ));
    for (name, content) in [("text", "no PEM"), ("key", &pair.private_key_pem), ("empty", "")] {
        files.ca_bundle = world.files.write("not-pem-ca.pem", content);
        assert!(
            matches!(
                problem(&files),
                IdentityError::Bundle(CertificateFileError {
                    problem: Problem::NotPem(_) | Problem::NoCertificate,
                    ..
                })
            ),
            "{name}"
        );
    }
    let not_x509 = "-----BEGIN CERTIFICATE-----\nAAECAwQF\n-----END CERTIFICATE-----\n";
    files.ca_bundle = world.files.write("not-x509-ca.pem", not_x509);
    assert!(matches!(
        problem(&files),
        IdentityError::Bundle(CertificateFileError { problem: Problem::Malformed { position: 1, .. }, .. })
    ));

    // An authority of another name, one of the same name with another key, and the certificate itself.
    let other_name = DemoAuthority::new("Other CA").unwrap().certificate_pem();
    let same_name = DemoAuthority::new("Test CA").unwrap().certificate_pem();
    for (content, hint) in [
        (&other_name, "has that name"),
        (&same_name, "another key"),
        (&pair.certificate_pem, "has that name"),
    ] {
        files.ca_bundle = world.files.write("wrong-ca.pem", content);
        let problem = problem(&files);
        assert!(matches!(problem, IdentityError::BundleWithoutIssuer { .. }), "{problem:?}");
        assert!(problem.to_string().contains(hint), "{problem}");
    }
    // Among others, the right one is found.
    let bundle = [other_name, same_name, world.authority.certificate_pem()].concat();
    files.ca_bundle = world.files.write("many-ca.pem", bundle);
    assert!(Identity::load(&files, now_unix()).is_ok());
}

#[test]
fn row_4_the_issuer_must_be_an_authority_and_valid() {
    let files = Files::new();
    openssl(&files, "ecparam -name prime256v1 -genkey -noout -out key.pem");
    let identity = openssl_identity(&files, "-addext basicConstraints=critical,CA:FALSE", "");
    let found = problem(&identity);
    assert!(matches!(found, IdentityError::BundleWithoutIssuer { .. }), "{found:?}");
    assert!(found.to_string().contains("may not issue"), "{found}");

    let identity = openssl_identity(&files, "-addext keyUsage=digitalSignature", "");
    assert!(problem(&identity).to_string().contains("may not issue"));

    // The issuer ends after two days, the certificate after three.
    let identity = openssl_identity(&files, "", "-days 3");
    assert!(Identity::load(&identity, now_unix()).is_ok());
    let problems = Identity::load(&identity, now_unix() + 2 * 86_400 + 3_600).unwrap_err();
    assert!(matches!(problems[..], [IdentityError::IssuerNotValid { .. }]), "{problems:?}");
}

#[test]
fn row_5_unsupported_keys_are_named() {
    for (command, named) in [
        ("ecparam -name secp224r1 -genkey -noout -out key.pem", "secp224r1"),
        ("ecparam -name secp256k1 -genkey -noout -out key.pem", "secp256k1"),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-224 -out key.pem", "secp224r1"),
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out key.pem", "1024 bits"),
        ("genrsa -traditional -out key.pem 1024", "1024 bits"),
        ("genpkey -algorithm ED448 -out key.pem", "Ed448"),
        ("genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out key.pem", "PSS"),
    ] {
        let files = Files::new();
        openssl(&files, command);
        let identity = openssl_identity(&files, "", "");
        let problems = problems(&identity);
        for file in [&identity.certificate, &identity.private_key] {
            let about_file = problems.iter().find(|problem| problem.file() == file);
            let about_file = about_file.unwrap_or_else(|| panic!("{command}: {problems:?}"));
            assert!(matches!(about_file, IdentityError::UnsupportedAlgorithm { .. }), "{about_file:?}");
            assert!(about_file.to_string().contains(named), "{about_file}");
        }
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}

#[test]
fn row_5_dsa_keys_and_weak_signatures_are_named() {
    let files = Files::new();
    openssl(&files, "genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out dsa.param");
    openssl(&files, "genpkey -paramfile dsa.param -out key.pem");
    let found = problems(&openssl_identity(&files, "", ""));
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|problem| problem.to_string().contains("DSA key")), "{found:?}");

    let files = Files::new();
    openssl(&files, "ecparam -name prime256v1 -genkey -noout -out key.pem");
    let found = problem(&openssl_identity(&files, "", "-sha1"));
    assert!(matches!(found, IdentityError::UnsupportedAlgorithm { .. }), "{found:?}");
    assert!(found.to_string().contains("1.2.840.10045.4.1"), "{found}");
}

#[test]
fn keys_of_openssl_in_every_encoding_load() {
    for command in [
        "ecparam -name prime256v1 -genkey -out key.pem", // SEC1 after an EC PARAMETERS section
        "ecparam -name secp521r1 -genkey -noout -out key.pem",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key.pem",
        "genrsa -traditional -out key.pem 2048",
        "genrsa -out key.pem 2048",
        "genpkey -algorithm ED25519 -out key.pem",
    ] {
        let files = Files::new();
        openssl(&files, command);
        let identity = openssl_identity(&files, "", "");
        let loaded = Identity::load(&identity, now_unix());
        assert!(loaded.is_ok(), "{command}: {:?}", loaded.unwrap_err());
    }
}

#[test]
fn validity_is_checked_to_the_second() {
    let world = World::new();
    let request = LeafRequest::new("edge", Usage::Client);
    let pair = world.authority.issue(&request).unwrap();
    let files = world.files.identity_files("edge", &pair, &world.authority.certificate_pem());
    for good in [request.not_before, request.not_after] {
        assert!(Identity::load(&files, good).is_ok());
    }
    let early = Identity::load(&files, request.not_before - 1).unwrap_err();
    assert!(matches!(early[..], [IdentityError::NotYetValid { .. }]), "{early:?}");
    let late = Identity::load(&files, request.not_after + 1).unwrap_err();
    assert!(matches!(late[..], [IdentityError::Expired { .. }]), "{late:?}");

    let expired = world.authority.issue(&request.clone().expired()).unwrap();
    let files = world.files.identity_files("edge", &expired, &world.authority.certificate_pem());
    assert!(matches!(problem(&files), IdentityError::Expired { .. }));
    let future = world.authority.issue(&request.not_yet_valid()).unwrap();
    let files = world.files.identity_files("edge", &future, &world.authority.certificate_pem());
    assert!(matches!(problem(&files), IdentityError::NotYetValid { .. }));
}

#[test]
fn all_problems_are_found_at_once() {
    let world = World::new();
    let pair = world.authority.issue(&LeafRequest::new("edge", Usage::Server).expired()).unwrap();
    let other = world.authority.client("other").unwrap();
    let mixed = PemPair { private_key_pem: other.private_key_pem, ..pair };
    let stranger = DemoAuthority::new("Stranger").unwrap();
    let files = world.files.identity_files("edge", &mixed, &stranger.certificate_pem());
    let found = problems(&files);
    assert!(
        matches!(
            found[..],
            [
                IdentityError::EkuWithoutClientAuth { .. },
                IdentityError::Expired { .. },
                IdentityError::KeyMismatch { .. },
                IdentityError::BundleWithoutIssuer { .. },
            ]
        ),
        "{found:?}"
    );
    let missing = IdentityFiles {
        name: "edge".to_owned(),
        certificate: world.files.path("no.pem"),
        private_key: world.files.path("no.key"),
        ca_bundle: world.files.path("no-ca.pem"),
    };
    assert_eq!(problems(&missing).len(), 3);
}

#[test]
fn intermediates_are_sent_and_the_root_is_not() {
    let root = DemoAuthority::new("Root").unwrap();
    let middle = root.intermediate("Middle").unwrap();
    let issuing = middle.intermediate("Issuing").unwrap();
    let pair = issuing.client("edge").unwrap();
    let (root_pem, middle_pem, issuing_pem) =
        (root.certificate_pem(), middle.certificate_pem(), issuing.certificate_pem());
    let expected = certificates(&[&*pair.certificate_pem, &issuing_pem, &middle_pem].concat());

    // Wherever the intermediates come from, and in whatever order.
    for (with_leaf, bundle) in [
        (String::new(), [&*root_pem, &middle_pem, &issuing_pem].concat()),
        (issuing_pem.clone(), [&*middle_pem, &root_pem].concat()),
        ([&*middle_pem, &issuing_pem].concat(), root_pem.clone()),
        ([&*issuing_pem, &middle_pem, &root_pem].concat(), [&*issuing_pem, &root_pem].concat()),
        (middle_pem.clone(), issuing_pem.clone()),
    ] {
        let files = Files::new();
        let pair = PemPair { certificate_pem: pair.certificate_pem.clone() + &with_leaf, ..pair.clone() };
        let identity = Identity::load(&files.identity_files("edge", &pair, &bundle), now_unix()).unwrap();
        assert_eq!(identity.certified_key().cert.len(), 3);

        let origin = server(&root.server(&[ORIGIN], &[]).unwrap(), Some(&root), TLS13);
        let trust = Trust::Bundle(files.write("trust.pem", &root_pem));
        let config = OriginTls::build(ORIGIN, &trust, Some(&identity)).unwrap();
        assert_eq!(config.identity_name.as_deref(), Some("edge"));
        let mut link = Link::new(&config.for_worker(), &origin);
        link.run().unwrap();
        assert_eq!(link.server.peer_certificates().unwrap(), expected);
    }

    // The file's intermediate alone doesn't make up for a bundle that has none of the chain.
    let files = Files::new();
    let with_leaf = PemPair { certificate_pem: pair.certificate_pem.clone() + &issuing_pem, ..pair };
    let stranger = DemoAuthority::new("Stranger").unwrap().certificate_pem();
    let found = problem(&files.identity_files("edge", &with_leaf, &stranger));
    assert!(matches!(&found, IdentityError::BundleWithoutIssuer { issuer, .. } if issuer == "CN=Middle"));
}

#[test]
fn a_private_key_is_never_printed() {
    let world = World::new();
    let pair = world.authority.client("edge").unwrap();
    let identity = world.load("edge", &pair);
    let secret = pair.private_key_pem.lines().nth(1).unwrap();
    let config = world.client(Some(&identity));
    for printed in [format!("{pair:?}"), format!("{identity:?}"), format!("{config:?}")] {
        assert!(!printed.contains(secret) && printed.contains("edge") | printed.contains("CERTIFICATE"));
    }
}

/// A revocation list with other bytes inside.
const BROKEN_LIST: &str = "-----BEGIN X509 CRL-----\nAAECAwQF\n-----END X509 CRL-----\n";

#[test]
fn what_is_wrong_with_the_clients_authorities_and_lists_names_key_and_file() {
    let world = World::new();
    let files = &world.files;
    let pair = world.authority.server(&[ORIGIN], &[]).unwrap();
    let certificate = CertificateFiles {
        certificate: files.write("site.pem", &pair.certificate_pem),
        private_key: files.write("site.key", &pair.private_key_pem),
    };
    let said = |bundle: &str, lists: &str| {
        let files = ListenerTlsFiles {
            certificates: vec![certificate.clone()],
            client_authentication: ClientAuthentication::Require(files.write("clients.pem", bundle)),
            client_crls: vec![files.write("clients.crl", lists)],
            minimum_version: MinimumVersion::Tls12,
        };
        let errors = ListenerTls::load(&files, None).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let sound = world.authority.revocation_list(&[], false).unwrap();
    for bundle in ["", "garbage", &pair.private_key_pem] {
        let text = said(bundle, &sound);
        let expected = format!("client_ca: {}: the CA bundle ", files.path("clients.pem").display());
        assert!(text.starts_with(&expected) && !text.contains("origin"), "{text}");
    }
    let text = said(&world.authority.certificate_pem(), BROKEN_LIST);
    let file = files.path("clients.crl").display().to_string();
    assert_eq!(
        text,
        format!(
            "client_crl: {file}: revocation list 1 can't be used: it isn't a sound X.509 revocation list; \
             fetch it from the authority again"
        )
    );
}

#[test]
fn trust_and_names_that_cannot_work_are_refused() {
    let world = World::new();
    let build = |trust: &Trust| match OriginTls::build(ORIGIN, trust, None).unwrap_err() {
        TlsConfigError::Trust(TrustError::Bundle(error)) => error.problem,
        other => panic!("{other}"),
    };
    let files = &world.files;
    assert!(matches!(build(&Trust::Bundle(files.path("no.pem"))), Problem::Unreadable(_)));
    assert!(matches!(build(&Trust::Bundle(files.write("a", "text"))), Problem::NotPem(_)));
    let pair = world.authority.client("edge").unwrap();
    let key_only = files.write("b", &pair.private_key_pem);
    assert!(matches!(build(&Trust::Bundle(key_only)), Problem::NoCertificate));
    let malformed = "-----BEGIN CERTIFICATE-----\nAAECAwQF\n-----END CERTIFICATE-----\n";
    let second = files.write("c", world.authority.certificate_pem() + malformed);
    assert!(matches!(build(&Trust::Bundle(second)), Problem::Malformed { position: 2, .. }));

    let list = |text: &str| {
        let verification = Verification {
            trust: Trust::Bundle(files.write("d", world.authority.certificate_pem())),
            revocation_lists: Some(files.write("e", text)),
            pinned_keys: Vec::new(),
        };
        OriginTls::build(ORIGIN, verification, None).unwrap_err().to_string()
    };
    let certificate = list(&world.authority.certificate_pem());
    assert!(certificate.contains("no X509 CRL section") && !certificate.contains("DER"), "{certificate}");
    let der = list("0\u{1}binary");
    assert!(der.contains("openssl crl -inform der"), "{der}");
    let sound = world.authority.revocation_list(&[], false).unwrap();
    let broken = list(&(sound + BROKEN_LIST));
    let expected =
        format!("crl: {}: revocation list 2 can't be used: it isn't a sound", files.path("e").display());
    assert!(broken.starts_with(&expected), "{broken}");

    for name in ["", "https://app.internal", "app.internal:443", "a b"] {
        let error = OriginTls::build(name, &Trust::Insecure, None).unwrap_err();
        assert!(matches!(error, TlsConfigError::BadServerName { .. }), "{name}");
    }
}

/// Pools and sessions are told apart by it: a reload must reach them when what is sent, or whom one trusts, has changed.
#[test]
fn digests_follow_the_content_of_the_files() {
    let (root, other) = (World::new(), World::new());
    let (first, second) = (root.authority.certificate_pem(), other.authority.certificate_pem());
    let digest = |bundle: &str| {
        let files = Files::new();
        let trust = Trust::Bundle(files.write("trust.pem", bundle));
        OriginTls::build(ORIGIN, &trust, None).unwrap().verification_digest
    };
    let both = digest(&[&*first, &second].concat());
    assert_eq!(both, digest(&[&*second, &first].concat()), "their order means nothing");
    assert_ne!(both, digest(&first));
    assert_ne!(digest(&first), digest(&second));

    let pair = root.authority.client("edge").unwrap();
    let alone = root.load("edge", &pair).chain_digest();
    assert_eq!(alone, root.load("same", &pair).chain_digest());
    assert_ne!(alone, root.load("edge", &root.authority.client("edge").unwrap()).chain_digest());
}
