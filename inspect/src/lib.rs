//! Attack detection.
