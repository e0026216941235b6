//! TLS towards origins: identities, their checks, and the record engine.
