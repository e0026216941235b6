//! An authority that makes certificates on the spot, for the demo and for tests.
//!
//! Nothing here is for production: keys are made and handed out in memory, and nothing keeps track of what was
//! issued.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, SignatureAlgorithm,
};

/// How long an authority is valid around now, in seconds: ten years both ways, so that certificates which have
/// expired, or haven't begun, still lie within its time.
const AUTHORITY_VALIDITY: i64 = 10 * 365 * 24 * 3600;

/// How long a certificate is valid from now on by default, in seconds: 30 days.
const LEAF_VALIDITY: i64 = 30 * 24 * 3600;

/// How far before now a certificate's validity begins by default, in seconds, for clocks that are behind.
const LEAF_BACKDATING: i64 = 3600;

/// A certificate with its private key, both PEM.
#[derive(Clone)]
pub struct PemPair {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key in PKCS#8.
    pub private_key_pem: String,
}

impl fmt::Debug for PemPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A private key has no place in a log, not even a forged one.
        f.debug_struct("PemPair").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// What kind of key a certificate gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on secp256r1: the fastest handshakes.
    EcdsaP256,
    /// ECDSA on secp384r1.
    EcdsaP384,
    /// ECDSA on secp521r1.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits.
    Rsa2048,
}

/// What a certificate says of its use (Extended Key Usage).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Client authentication.
    Client,
    /// Server authentication.
    Server,
    /// The certificate has no such extension.
    Unstated,
}

/// A certificate to be made: start from [`LeafRequest::new`] and change what should differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafRequest {
    /// The common name of the subject.
    pub common_name: String,
    /// DNS names that it is for.
    pub dns_names: Vec<String>,
    /// IP addresses that it is for.
    pub addresses: Vec<IpAddr>,
    /// What it may be used for.
    pub usage: Usage,
    /// What kind of key it gets.
    pub key: KeyKind,
    /// The first second of validity, Unix time.
    pub not_before: i64,
    /// The last second of validity, Unix time.
    pub not_after: i64,
}

impl LeafRequest {
    /// A certificate with a P-256 key that is valid from an hour ago until in 30 days.
    #[must_use]
    pub fn new(common_name: &str, usage: Usage) -> Self {
        let now = now_unix();
        Self {
            common_name: common_name.to_owned(),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            usage,
            key: KeyKind::EcdsaP256,
            not_before: now - LEAF_BACKDATING,
            not_after: now + LEAF_VALIDITY,
        }
    }

    /// Makes it a certificate that expired an hour ago.
    #[must_use]
    pub fn expired(mut self) -> Self {
        let now = now_unix();
        (self.not_before, self.not_after) = (now - LEAF_VALIDITY, now - LEAF_BACKDATING);
        self
    }

    /// Makes it a certificate whose validity begins in an hour.
    #[must_use]
    pub fn not_yet_valid(mut self) -> Self {
        let now = now_unix();
        (self.not_before, self.not_after) = (now + LEAF_BACKDATING, now + LEAF_VALIDITY);
        self
    }
}

/// A certificate couldn't be made.
#[derive(Debug)]
pub struct ForgeError {
    reason: String,
}

impl fmt::Display for ForgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't make a certificate: {}", self.reason)
    }
}

impl std::error::Error for ForgeError {}

impl From<rcgen::Error> for ForgeError {
    fn from(error: rcgen::Error) -> Self {
        Self { reason: error.to_string() }
    }
}

/// A certificate authority in memory.
pub struct DemoAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl fmt::Debug for DemoAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemoAuthority").finish_non_exhaustive()
    }
}

impl DemoAuthority {
    /// A new root with a P-256 key.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(name: &str) -> Result<Self, ForgeError> {
        let key = KeyPair::generate()?;
        Ok(Self { issuer: CertifiedIssuer::self_signed(authority_params(name)?, key)? })
    }

    /// A new authority below this one.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn intermediate(&self, name: &str) -> Result<Self, ForgeError> {
        let key = KeyPair::generate()?;
        Ok(Self { issuer: CertifiedIssuer::signed_by(authority_params(name)?, key, &self.issuer)? })
    }

    /// The authority's own certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for the names and addresses.
    ///
    /// # Errors
    /// If a name can't stand in a certificate, or the system gives no random bytes.
    pub fn server(&self, names: &[&str], addresses: &[IpAddr]) -> Result<PemPair, ForgeError> {
        let mut request = LeafRequest::new(names.first().copied().unwrap_or("server"), Usage::Server);
        request.dns_names = names.iter().map(|name| (*name).to_owned()).collect();
        request.addresses = addresses.to_vec();
        self.issue(&request)
    }

    /// A client certificate with the common name `name`.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn client(&self, name: &str) -> Result<PemPair, ForgeError> {
        self.issue(&LeafRequest::new(name, Usage::Client))
    }

    /// A revocation list, PEM, of the certificates with these serial numbers; good for a day from now, or until an hour ago.
    ///
    /// # Errors
    /// If a time can't stand in a list.
    pub fn revocation_list(&self, serials: &[Vec<u8>], out_of_date: bool) -> Result<String, ForgeError> {
        let now = now_unix();
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let time = |unix: i64| epoch + Duration::from_secs(u64::try_from(unix).unwrap_or(0));
        let next = if out_of_date { now - LEAF_BACKDATING } else { now + 24 * 3600 };
        let revoked = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: time(now - 2 * LEAF_BACKDATING),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: time(now - 2 * LEAF_BACKDATING),
            next_update: time(next),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }

    /// A certificate as asked for.
    ///
    /// # Errors
    /// If a name or a time can't stand in a certificate, or the system gives no random bytes.
    pub fn issue(&self, request: &LeafRequest) -> Result<PemPair, ForgeError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&request.common_name);
        set_validity(&mut params, request.not_before, request.not_after)?;
        for name in &request.dns_names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(request.addresses.iter().map(|ip| SanType::IpAddress(*ip)));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match request.usage {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Unstated => Vec::new(),
        };
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(key_algorithm(request.key))?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(PemPair { certificate_pem: certificate.pem(), private_key_pem: key.serialize_pem() })
    }
}

fn authority_params(name: &str) -> Result<CertificateParams, ForgeError> {
    let now = now_unix();
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    set_validity(&mut params, now - AUTHORITY_VALIDITY, now + AUTHORITY_VALIDITY)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}

fn key_algorithm(key: KeyKind) -> &'static SignatureAlgorithm {
    match key {
        KeyKind::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyKind::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyKind::EcdsaP521 => &rcgen::PKCS_ECDSA_P521_SHA512,
        KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
        KeyKind::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
    }
}

fn now_unix() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

/// Sets the validity. rcgen speaks in dates, and the last one that a certificate can name is in the year 9999.
fn set_validity(params: &mut CertificateParams, not_before: i64, not_after: i64) -> Result<(), ForgeError> {
    const LATEST: u64 = 253_402_300_799;
    let seconds = |unix: i64| match u64::try_from(unix) {
        Ok(seconds) if seconds <= LATEST => Ok(Duration::from_secs(seconds)),
        _ => Err(ForgeError { reason: format!("the time {unix} is before 1970 or after 9999") }),
    };
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + seconds(not_before)?;
    params.not_after = epoch + seconds(not_after)?;
    Ok(())
}
