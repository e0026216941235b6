//! The dimensions of the metrics: names that come from the config, and small enums for all else.

/// Names by index, as the snapshot of the running config numbers them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Server names; position = the server index of the compiled policy.
    pub servers: Vec<String>,
    /// Origin names; position = the origin index of the snapshot.
    pub origins: Vec<String>,
    /// Attack class codes (spec S4.4); position = the index that [`super::WorkerMetrics::attack`] is given.
    pub attack_classes: Vec<String>,
}

/// Names of the modes by their number, which is their order of strictness (spec S1.1).
pub(crate) const MODES: [&str; 4] = ["off", "monitoring", "safe_blocking", "block"];

macro_rules! label {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
            /// How many values there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The value as it stands in metrics and events.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The value with this name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

label! {
    /// What became of a request.
    VerdictLabel {
        /// It went on to its origin.
        Pass = "pass",
        /// It was answered here instead.
        Block = "block",
    }
}

label! {
    /// What was done about an attack.
    AttackAction {
        /// The request was blocked.
        Blocked = "blocked",
        /// The request passed; the attack was recorded.
        Monitored = "monitored",
    }
}

label! {
    /// Why a request was blocked.
    BlockReason {
        /// Its findings reached the score of an attack.
        Attack = "attack",
        /// A virtual patch matched.
        VirtualPatch = "virtual_patch",
        /// Its source is on the denylist.
        DenyList = "deny_list",
        /// The message itself is unsound (a broken body found while the request was held).
        Protocol = "protocol",
        /// An inspection limit was passed where the config says that this blocks.
        OverLimit = "over_limit",
        /// Its source sends too fast.
        RateLimit = "rate_limit",
    }
}

label! {
    /// Where a connection to an origin stands.
    ConnectionState {
        /// TCP connect or TLS handshake under way.
        Connecting = "connecting",
        /// Carries a request.
        Active = "active",
        /// Waits in the pool.
        Idle = "idle",
        /// Carries a WebSocket, and is no part of the pool any more.
        Tunnel = "tunnel",
    }
}

label! {
    /// How a TLS handshake came out: with an origin, or (the sides exchanged) with a client.
    HandshakeResult {
        /// A full handshake succeeded.
        Full = "full",
        /// A handshake that resumed an earlier session succeeded.
        Resumed = "resumed",
        /// The origin refused our certificate, or missed one. In TLS 1.3 this arrives after the handshake was
        /// counted as finished, so such a connection counts twice: `full` and `certificate_refused`.
        CertificateRefused = "certificate_refused",
        /// The origin asked for no certificate although `require_mtls` is set.
        CertificateNotRequested = "certificate_not_requested",
        /// The origin asked for our certificate and closed the connection at its first request, without an answer. It may
        /// have refused the certificate; the handshake counts as `full` or `resumed` as well.
        ClosedAfterCertificate = "closed_after_certificate",
        /// The origin's certificate leads to no trusted root.
        UntrustedCertificate = "untrusted_certificate",
        /// The origin's certificate is for another name.
        WrongName = "wrong_name",
        /// The origin's certificate is out of date.
        ExpiredCertificate = "expired_certificate",
        /// The origin's certificate is not valid yet.
        NotYetValidCertificate = "not_yet_valid_certificate",
        /// The origin's certificate was revoked.
        RevokedCertificate = "revoked",
        /// No revocation list covers the origin's certificate, or it is out of date.
        RevocationUnknown = "revocation_unknown",
        /// The origin's certificate has none of the pinned keys.
        WrongKey = "wrong_key",
        /// The origin's certificate can't be read or isn't fit for a server.
        BadCertificate = "bad_certificate",
        /// No TLS version, cipher suite or key exchange in common.
        NoCommonParameters = "incompatible",
        /// The connection ended in the middle of the handshake.
        Closed = "closed",
        /// It took longer than the connect time-out.
        TimedOut = "timed_out",
        /// The client presented no certificate, and the listener requires one.
        CertificateMissing = "certificate_missing",
        /// The origin knows no host of the name that we asked for.
        NameRefused = "name_refused",
        /// The origin refused the handshake without a reason.
        HandshakeRefused = "handshake_refused",
        /// The origin ended the connection with another alert.
        PeerAlert = "peer_alert",
        /// The origin broke the TLS protocol.
        Protocol = "protocol",
        /// TLS failed on our side; a defect.
        Internal = "internal",
    }
}

impl HandshakeResult {
    /// The result for the stable short code of a TLS failure, which is the result's name; `protocol` for a code
    /// that isn't known here.
    pub fn from_failure_code(code: &str) -> Self {
        Self::from_name(code).unwrap_or(Self::Protocol)
    }
}

label! {
    /// Why an origin could not serve a request.
    UpstreamError {
        /// The address refused the connection.
        ConnectRefused = "connect_refused",
        /// No connection within the connect time-out.
        ConnectTimeout = "connect_timeout",
        /// The connection failed otherwise: unreachable, no descriptor left.
        ConnectFailed = "connect_failed",
        /// TLS failed, in its handshake or later; `weir_upstream_handshakes_total` says how a handshake did.
        Tls = "tls",
        /// The connection broke before a response began.
        Reset = "reset",
        /// The connection broke in the middle of a response.
        Truncated = "truncated",
        /// No response head within the first-byte time-out.
        FirstByteTimeout = "first_byte_timeout",
        /// The response stood still for longer than the idle time-out.
        IdleTimeout = "idle_timeout",
        /// The origin took the request too slowly.
        SendTimeout = "send_timeout",
        /// The response is not sound HTTP.
        BadResponse = "bad_response",
        /// Too many requests wait for this origin already.
        QueueFull = "queue_full",
        /// No connection became free while the request waited.
        QueueTimeout = "queue_timeout",
    }
}

label! {
    /// Why an address of an origin was left out for a while.
    EjectionReason {
        /// No connection could be made.
        Connect = "connect",
        /// Connections broke before an answer.
        Reset = "reset",
        /// Answers broke off.
        Truncated = "truncated",
        /// Answers took too long.
        Timeout = "timeout",
        /// Answers were no sound HTTP.
        BadResponse = "bad_response",
        /// Answers had a status that counts as a failure.
        Status = "status",
    }
}

impl EjectionReason {
    /// The reason that a failed request is, if it says something about the address.
    pub fn of(error: UpstreamError) -> Option<Self> {
        match error {
            UpstreamError::ConnectRefused
            | UpstreamError::ConnectTimeout
            | UpstreamError::ConnectFailed
            | UpstreamError::Tls => Some(Self::Connect),
            UpstreamError::Reset => Some(Self::Reset),
            UpstreamError::FirstByteTimeout | UpstreamError::IdleTimeout | UpstreamError::SendTimeout => {
                Some(Self::Timeout)
            }
            UpstreamError::BadResponse => Some(Self::BadResponse),
            UpstreamError::Truncated => Some(Self::Truncated),
            UpstreamError::QueueFull | UpstreamError::QueueTimeout => None,
        }
    }

    /// The same for an answer that failed behind its head. A pause there is no failure of the address: some answers wait for
    /// something to tell.
    pub fn of_body(error: UpstreamError) -> Option<Self> {
        match error {
            UpstreamError::Truncated | UpstreamError::Reset | UpstreamError::Tls => Some(Self::Truncated),
            UpstreamError::BadResponse => Some(Self::BadResponse),
            _ => None,
        }
    }
}

label! {
    /// A limit that was reached. Names are those of the config keys where there is one.
    Limit {
        /// Accepted connections closed at once because `max_connections` were open.
        MaxConnections = "max_connections",
        /// Accepted connections closed at once because as many were open as `[listener.limits]` allows.
        ListenerMaxConnections = "listener_max_connections",
        /// Connections closed at once because their address had `connections_per_address` of them.
        ConnectionsPerAddress = "connections_per_address",
        /// Requests for a WebSocket that were refused because `max_tunnels` were open.
        MaxTunnels = "max_tunnels",
        /// WebSockets closed because nobody said anything for too long.
        TunnelTimeout = "tunnel_timeout",
        /// Request heads that were too large.
        HeadBytes = "head_bytes",
        /// Request targets that were too long.
        TargetBytes = "target_bytes",
        /// Requests with too many header fields.
        HeaderCount = "header_count",
        /// A header line was too long.
        HeaderBytes = "header_bytes",
        /// Requests whose head took too long.
        HeadTimeout = "head_timeout",
        /// Requests whose body stood still for too long.
        BodyTimeout = "body_timeout",
        /// Requests whose body came in too slowly.
        BodyRate = "body_rate_min_bytes",
        /// Requests whose body was larger than may be forwarded.
        RequestBodyBytes = "request_body_bytes",
        /// Client connections closed because they were idle.
        KeepAliveTimeout = "keep_alive_timeout",
        /// Client connections closed after their last allowed request.
        KeepAliveRequests = "keep_alive_requests",
        /// Client connections closed because of their age.
        ConnectionAge = "connection_age",
        /// Clients that took a response too slowly.
        SendTimeout = "send_timeout",
        /// Times that a receiver was paused because its peer took bytes too slowly.
        ParkedBytes = "parked_bytes",
        /// Discarding input after an error answer ended at its size limit.
        LingeringBytes = "lingering_bytes",
        /// Discarding input after an error answer ended at its time limit.
        LingeringTimeout = "lingering_timeout",
        /// Connections to origins closed because of their age.
        OriginConnectionAge = "origin_connection_age",
        /// Requests that had to wait because an origin's connections were all in use.
        OriginConnections = "origin_connections",
        /// Requests that had to wait because the worker's connections to origins were all in use.
        OriginConnectionsTotal = "origin_connections_total",
        /// Requests that had to wait because as many uploads had connections of the origin as may have.
        OriginUploads = "origin_uploads",
        /// Clients cut off because as many as may be kept connections of the origin waiting, and they longest.
        OriginStalled = "origin_stalled",
        /// Requests refused because too many waited for the origin.
        OriginQueue = "origin_queue",
        /// Requests refused because they waited too long for the origin.
        OriginQueueTimeout = "origin_queue_timeout",
        /// Bodies of which only the first part was inspected.
        InspectedBodyBytes = "inspected_body_bytes",
        /// Requests whose inspection ran out of time.
        InspectionTime = "inspection_time",
        /// Requests whose inspection ran out of values, depth or decoded bytes.
        InspectionSize = "inspection_size",
        /// Requests of which not all could be inspected because `body_bytes_total` was reached.
        BodyBytesTotal = "body_bytes_total",
        /// Requests whose inspection failed by a fault of Weir's own.
        InspectionFailure = "inspection_failure",
        /// Requests that a rate limit held back for a while.
        RateLimitPaced = "rate_limit_paced",
        /// Times that a rate limit forgot a key for another because its memory was full.
        RateLimitMemory = "rate_limit_memory",
        /// Connections cut off because draining took too long.
        DrainTimeout = "drain_timeout",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_distinct_numbered_in_order_and_found_again() {
        assert_eq!(Limit::ALL.iter().map(|limit| limit.as_str()).collect::<HashSet<_>>().len(), Limit::COUNT);
        for (number, limit) in Limit::ALL.iter().enumerate() {
            assert_eq!(*limit as usize, number);
            assert_eq!(Limit::from_name(limit.as_str()), Some(*limit));
        }
        assert_eq!(Limit::from_name("no_such_limit"), None);
    }

    #[test]
    fn codes_of_tls_failures_map_to_results() {
        assert_eq!(HandshakeResult::from_failure_code("wrong_name"), HandshakeResult::WrongName);
        assert_eq!(HandshakeResult::from_failure_code("revoked"), HandshakeResult::RevokedCertificate);
        assert_eq!(HandshakeResult::from_failure_code("never heard of"), HandshakeResult::Protocol);
    }
}
