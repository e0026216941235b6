//! What the listeners' connections begin with, made from the config.

use std::sync::Arc;

use super::ListenerSettings;
use super::build::EXPIRY_WARNING_DAYS;
use super::limits::{connection_settings, share};
use crate::config::{
    ClientAuth, Config, ConfigError, ConfigWarning, ListenerConfig, ListenerTlsConfig, TlsVersion, Where,
};
use crate::tls::listener::{
    CertificateFiles, ClientAuthentication, ListenerTls, ListenerTlsFiles, MinimumVersion,
};
use crate::tls::tickets::TicketKeys;

/// Loads what the listeners need. A listener that can't be made is reported and left without TLS. The limits of requests
/// are left out.
pub(super) fn listeners(
    config: &Config,
    workers: usize,
    now_unix: i64,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigWarning>,
) -> Vec<ListenerSettings> {
    let settings = |listener: &ListenerConfig| {
        let limits = &listener.limits;
        let request = limits.request.over(&config.http.limits);
        let tls = listener.tls.as_ref().and_then(|tls| load(listener, tls, now_unix, errors, warnings));
        ListenerSettings {
            name: Arc::from(listener.name.as_str()),
            proxy_protocol: listener.proxy_protocol,
            tls: tls.map(Arc::new),
            connection: connection_settings(config, &limits.connection, &request),
            connections_per_worker: limits.max_connections.map_or(usize::MAX, |count| share(count, workers)),
            request_limits: Arc::default(),
        }
    };
    config.listeners.iter().map(settings).collect()
}

fn load(
    listener: &ListenerConfig,
    tls: &ListenerTlsConfig,
    now_unix: i64,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigWarning>,
) -> Option<ListenerTls> {
    let key = format!("listener `{}`: tls", listener.name);
    let loaded = match tls.ticket_rotation.map(TicketKeys::of_this_process).transpose() {
        Ok(tickets) => ListenerTls::load(&files(tls), tickets.as_ref()),
        Err(reason) => {
            errors.push(ConfigError::at(&tls.place, &key, reason, String::new()));
            return None;
        }
    };
    match loaded {
        Ok(loaded) => {
            for certificate in &loaded.certificates {
                let message = match (certificate.not_after - now_unix) / 86_400 {
                    _ if certificate.not_after < now_unix => "has expired: clients refuse it".to_owned(),
                    days if days < EXPIRY_WARNING_DAYS => {
                        format!("expires in {days} days; after that, clients refuse it")
                    }
                    _ => continue,
                };
                warnings.push(ConfigWarning {
                    place: Where::Text(tls.place.clone()),
                    key: key.clone(),
                    message: format!("{}: {message}", certificate.file.display()),
                });
            }
            Some(loaded)
        }
        Err(found) => {
            let error = |error: &_| ConfigError::at(&tls.place, &key, format!("{error}"), String::new());
            errors.extend(found.iter().map(error));
            None
        }
    }
}

fn files(tls: &ListenerTlsConfig) -> ListenerTlsFiles {
    let bundle = tls.client_ca.clone().unwrap_or_default();
    ListenerTlsFiles {
        certificates: tls
            .certificates
            .iter()
            .map(|pair| CertificateFiles {
                certificate: pair.certificate.clone(),
                private_key: pair.private_key.clone(),
            })
            .collect(),
        client_authentication: match tls.client_auth {
            ClientAuth::None => ClientAuthentication::None,
            ClientAuth::Request => ClientAuthentication::Request(bundle),
            ClientAuth::Require => ClientAuthentication::Require(bundle),
        },
        client_crls: tls.client_crl.iter().cloned().collect(),
        minimum_version: match tls.minimum_version {
            TlsVersion::Tls12 => MinimumVersion::Tls12,
            TlsVersion::Tls13 => MinimumVersion::Tls13,
        },
    }
}

/// Names and ends of the listeners' certificates.
pub(super) fn certificate_ends(
    configs: &[ListenerConfig],
    listeners: &[ListenerSettings],
) -> Vec<(String, i64)> {
    let mut ends = Vec::new();
    for (config, settings) in configs.iter().zip(listeners) {
        for certificate in settings.tls.iter().flat_map(|tls| &tls.certificates) {
            let file = certificate.file.display().to_string();
            let name = certificate.names.first().unwrap_or(&file);
            ends.push((format!("{}/{name}", config.name), certificate.not_after));
        }
    }
    ends
}
