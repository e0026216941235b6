//! Private keys and the algorithms that identities may use (spec S6.1 row 5).

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{
    PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer, SubjectPublicKeyInfoDer,
};
use rustls::sign::SigningKey;
use rustls_pki_types::pem::SectionKind;
use x509_parser::asn1_rs::{Any, FromDer, Oid};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::identity::IdentityError;
use super::{pem, provider};

/// RSA moduli that are accepted: below, signatures can be forged with effort; above, aws-lc refuses.
const RSA_MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const OID_RSA: &str = "1.2.840.113549.1.1.1";
const OID_EC: &str = "1.2.840.10045.2.1";
const OID_ED25519: &str = "1.3.101.112";

/// Reads the first private key out of the content of a PEM file.
pub(super) fn signing_key(file: &Path, content: &[u8]) -> Result<Arc<dyn SigningKey>, IdentityError> {
    let key = private_key(file, content)?;
    let unsupported = |found| IdentityError::UnsupportedAlgorithm { file: file.to_owned(), found };
    match provider::provider().key_provider.load_private_key(key.clone_key()) {
        Ok(signing_key) => {
            // The library knows more kinds than the ones that origins may be shown.
            let public_key = signing_key.public_key();
            match public_key.as_ref().and_then(unsupported_public_key_der) {
                Some(found) => Err(unsupported(found)),
                None => Ok(signing_key),
            }
        }
        Err(error) => match unsupported_private_key(&key) {
            Some(found) => Err(unsupported(found)),
            None => Err(IdentityError::KeyMalformed { file: file.to_owned(), reason: error.to_string() }),
        },
    }
}

/// Picks the first private key section of a PEM file.
fn private_key(file: &Path, content: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let file = file.to_owned();
    if contains(content, b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || contains(content, b"Proc-Type: 4,ENCRYPTED")
    {
        return Err(IdentityError::KeyEncrypted { file });
    }
    let sections = match pem::sections(content) {
        Ok(sections) => sections,
        Err(reason) => return Err(IdentityError::KeyNotPem { file, reason }),
    };
    let key = sections.into_iter().find_map(|(kind, der)| match kind {
        SectionKind::PrivateKey => Some(PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der))),
        SectionKind::RsaPrivateKey => Some(PrivateKeyDer::from(PrivatePkcs1KeyDer::from(der))),
        SectionKind::EcPrivateKey => Some(PrivateKeyDer::from(PrivateSec1KeyDer::from(der))),
        _ => None,
    });
    match key {
        Some(key) => Ok(key),
        None if contains(content, b"-----BEGIN DSA PRIVATE KEY-----") => {
            Err(IdentityError::UnsupportedAlgorithm { file, found: "a DSA key".to_owned() })
        }
        None => Err(IdentityError::KeyNotPem { file, reason: "it has no PRIVATE KEY section".to_owned() }),
    }
}

fn contains(content: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(content, needle).is_some()
}

/// Names the algorithm of a certificate's public key if it isn't one of the supported ones.
pub(super) fn unsupported_public_key(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    let rsa_modulus_bits = match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => significant_bits(rsa.modulus),
        _ => 0,
    };
    unsupported_algorithm(&key.algorithm, rsa_modulus_bits)
}

fn unsupported_public_key_der(key: &SubjectPublicKeyInfoDer<'_>) -> Option<String> {
    match SubjectPublicKeyInfo::from_der(key) {
        Ok((_, key)) => unsupported_public_key(&key),
        Err(_) => Some("a key of an unknown kind".to_owned()),
    }
}

/// Names the algorithm of a private key if it can be told, and isn't one of the supported ones.
fn unsupported_private_key(key: &PrivateKeyDer<'_>) -> Option<String> {
    match key {
        PrivateKeyDer::Pkcs1(key) => {
            let bits = pkcs1_modulus_bits(key.secret_pkcs1_der())?;
            (!RSA_MODULUS_BITS.contains(&bits)).then(|| rsa_label(bits))
        }
        // ECPrivateKey: version, private key, then the curve under tag [0] (RFC 5915 section 3).
        PrivateKeyDer::Sec1(key) => {
            let (fields, _) = element(key.secret_sec1_der())?;
            let (_, after_version) = element(fields)?;
            let (_, after_key) = element(after_version)?;
            let (curve, _) = element(after_key)?;
            unsupported_curve(&Oid::from_der(curve).ok()?.1.to_id_string())
        }
        // PrivateKeyInfo: version, algorithm, then the key of that algorithm (RFC 5208 section 5).
        PrivateKeyDer::Pkcs8(key) => {
            let (fields, _) = element(key.secret_pkcs8_der())?;
            let (_, after_version) = element(fields)?;
            let (after_algorithm, algorithm) = AlgorithmIdentifier::from_der(after_version).ok()?;
            let rsa_modulus_bits = element(after_algorithm)
                .and_then(|(inner, _)| pkcs1_modulus_bits(inner))
                .unwrap_or(*RSA_MODULUS_BITS.start());
            unsupported_algorithm(&algorithm, rsa_modulus_bits)
        }
        _ => None,
    }
}

fn unsupported_algorithm(algorithm: &AlgorithmIdentifier<'_>, rsa_modulus_bits: usize) -> Option<String> {
    match algorithm.algorithm.to_id_string().as_str() {
        OID_RSA => (!RSA_MODULUS_BITS.contains(&rsa_modulus_bits)).then(|| rsa_label(rsa_modulus_bits)),
        OID_EC => match algorithm.parameters.as_ref().map(Any::as_oid) {
            Some(Ok(curve)) => unsupported_curve(&curve.to_id_string()),
            _ => Some("an ECDSA key with explicit curve parameters".to_owned()),
        },
        OID_ED25519 => None,
        "1.2.840.10040.4.1" => Some("a DSA key".to_owned()),
        "1.2.840.113549.1.1.10" => Some("an RSA key restricted to RSASSA-PSS".to_owned()),
        "1.3.101.113" => Some("an Ed448 key".to_owned()),
        "1.3.101.110" => Some("an X25519 key, which can't sign".to_owned()),
        other => Some(format!("a key of the kind {other}")),
    }
}

fn unsupported_curve(oid: &str) -> Option<String> {
    let name = match oid {
        "1.2.840.10045.3.1.7" | "1.3.132.0.34" | "1.3.132.0.35" => return None,
        "1.3.132.0.33" => "secp224r1 (P-224)",
        "1.2.840.10045.3.1.1" => "secp192r1 (P-192)",
        "1.3.132.0.10" => "secp256k1",
        other => other,
    };
    Some(format!("an ECDSA key on the curve {name}"))
}

fn rsa_label(modulus_bits: usize) -> String {
    format!("an RSA key of {modulus_bits} bits")
}

/// RSAPrivateKey: version, modulus, and more (RFC 8017 appendix A.1.2).
fn pkcs1_modulus_bits(der: &[u8]) -> Option<usize> {
    let (fields, _) = element(der)?;
    let (_, after_version) = element(fields)?;
    let (modulus, _) = element(after_version)?;
    Some(significant_bits(modulus))
}

fn significant_bits(integer: &[u8]) -> usize {
    let first = integer.iter().position(|byte| *byte != 0);
    first.map_or(0, |index| (integer.len() - index) * 8 - integer[index].leading_zeros() as usize)
}

/// The content of the first DER element, and what follows it.
pub(super) fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, any) = Any::from_der(der).ok()?;
    Some((any.data, rest))
}
