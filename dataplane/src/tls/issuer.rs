//! The chain from a client certificate to its authority: who issued whom, by name and by signature.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::X509Version;

use super::key::{element, unsupported_public_key};
use super::provider;

/// The longest chain that is sent. Longer ones only come from authorities that sign each other in circles.
const CHAIN_LIMIT: usize = 8;

/// Why a certificate's issuer can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoIssuer {
    /// No certificate has the issuer's name.
    NoSuchName,
    /// One has the name, but another key made the signature.
    OtherKey,
    /// The signature is made in a way that can't be checked here.
    UnsupportedSignature {
        /// The algorithm or the key.
        found: String,
    },
    /// The one that made the signature may not issue certificates.
    NotAnAuthority,
    /// The one that made the signature isn't valid now.
    NotValidNow {
        /// Unix seconds.
        not_before: i64,
        /// Unix seconds.
        not_after: i64,
    },
}

impl NoIssuer {
    /// How close a candidate came. The closest one says most about what is wrong.
    fn closeness(&self) -> u8 {
        match self {
            Self::NoSuchName => 0,
            Self::OtherKey => 1,
            Self::UnsupportedSignature { .. } => 2,
            Self::NotAnAuthority => 3,
            Self::NotValidNow { .. } => 4,
        }
    }
}

/// The end of a search for a chain that found none: `issuer` was wanted, in the bundle.
#[derive(Debug)]
pub(super) struct BrokenChain {
    pub(super) issuer: String,
    pub(super) reason: NoIssuer,
}

/// Finds the certificates to send: the leaf, what the certificate file adds, and the intermediates of the bundle.
///
/// The bundle must hold the issuer of the leaf, or of an intermediate that came with it. Roots aren't sent: the
/// origin has to know them anyway (RFC 8446 section 4.4.2).
pub(super) fn chain(
    leaf: &X509Certificate<'_>,
    with_leaf: &[X509Certificate<'_>],
    bundle: &[X509Certificate<'_>],
    now_unix: i64,
) -> Result<Vec<CertificateDer<'static>>, BrokenChain> {
    let mut chain = vec![leaf];
    let mut reached_bundle = false;
    while chain.len() < CHAIN_LIMIT {
        let current = chain[chain.len() - 1];
        let in_bundle = find_issuer(current, bundle, now_unix);
        reached_bundle |= in_bundle.is_ok();
        let found = match in_bundle {
            Ok(found) => Ok(found),
            Err(reason) => find_issuer(current, with_leaf, now_unix).map_err(|_| reason),
        };
        match found {
            Ok(issuer) if is_self_signed(issuer) || chain.contains(&issuer) => break,
            Ok(issuer) => chain.push(issuer),
            // What the bundle lacks above its first match is for the origin to know.
            Err(_) if reached_bundle => break,
            Err(reason) => return Err(BrokenChain { issuer: current.issuer().to_string(), reason }),
        }
    }
    if !reached_bundle {
        let issuer = chain[chain.len() - 1].issuer().to_string();
        return Err(BrokenChain { issuer, reason: NoIssuer::NoSuchName });
    }
    Ok(chain.into_iter().map(|found| CertificateDer::from(found.as_raw().to_vec())).collect())
}

/// Finds the certificate among `candidates` that issued `subject` and may do so now.
fn find_issuer<'c, 'd>(
    subject: &X509Certificate<'_>,
    candidates: &'c [X509Certificate<'d>],
    now_unix: i64,
) -> Result<&'c X509Certificate<'d>, NoIssuer> {
    let mut closest = NoIssuer::NoSuchName;
    for candidate in candidates.iter().filter(|c| c.subject().as_raw() == subject.issuer().as_raw()) {
        match check_issuer(subject, candidate, now_unix) {
            Ok(()) => return Ok(candidate),
            Err(reason) if reason.closeness() >= closest.closeness() => closest = reason,
            Err(_) => {}
        }
    }
    Err(closest)
}

fn check_issuer(
    subject: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    now_unix: i64,
) -> Result<(), NoIssuer> {
    check_signature(subject, issuer)?;
    if !may_issue(issuer) {
        return Err(NoIssuer::NotAnAuthority);
    }
    let (not_before, not_after) =
        (issuer.validity().not_before.timestamp(), issuer.validity().not_after.timestamp());
    if now_unix < not_before || now_unix > not_after {
        return Err(NoIssuer::NotValidNow { not_before, not_after });
    }
    Ok(())
}

/// Whether a certificate says that it is an authority. Version 1 can't say so; such roots are still about.
fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    let may_sign = match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    may_sign && (certificate.is_ca() || certificate.version() == X509Version::V1)
}

fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
        && check_signature(certificate, certificate).is_ok()
}

/// Checks that the key of `issuer` made the signature of `subject`.
fn check_signature(subject: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Result<(), NoIssuer> {
    if let Some(key) = unsupported_public_key(issuer.public_key()) {
        return Err(NoIssuer::UnsupportedSignature { found: format!("a signature by {key}") });
    }
    let unsupported = || NoIssuer::UnsupportedSignature {
        found: format!("a signature of the kind {}", subject.signature_algorithm.algorithm.to_id_string()),
    };
    let signature_id = signature_algorithm_id(subject.as_raw()).ok_or_else(unsupported)?;
    let key_id = public_key_algorithm_id(issuer.public_key().raw).ok_or_else(unsupported)?;
    let known = provider::signature_algorithms().all;
    if !known.iter().any(|algorithm| algorithm.signature_alg_id().as_ref() == signature_id) {
        return Err(unsupported());
    }
    let verified = known
        .iter()
        .filter(|algorithm| {
            algorithm.signature_alg_id().as_ref() == signature_id
                && algorithm.public_key_alg_id().as_ref() == key_id
        })
        .any(|algorithm| {
            algorithm
                .verify_signature(
                    &issuer.public_key().subject_public_key.data,
                    subject.tbs_certificate.as_ref(),
                    &subject.signature_value.data,
                )
                .is_ok()
        });
    if verified { Ok(()) } else { Err(NoIssuer::OtherKey) }
}

/// The content of the signatureAlgorithm of a certificate (RFC 5280 section 4.1).
fn signature_algorithm_id(certificate: &[u8]) -> Option<&[u8]> {
    let (fields, _) = element(certificate)?;
    let (_, after_tbs) = element(fields)?;
    element(after_tbs).map(|(algorithm, _)| algorithm)
}

/// The content of the algorithm of a SubjectPublicKeyInfo (RFC 5280 section 4.1).
fn public_key_algorithm_id(public_key: &[u8]) -> Option<&[u8]> {
    let (fields, _) = element(public_key)?;
    element(fields).map(|(algorithm, _)| algorithm)
}
