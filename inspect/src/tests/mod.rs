//! Tests of the whole way from a request to its report.

mod signatures;
