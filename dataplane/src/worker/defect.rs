//! A defect of the inspection at will, for tests of what becomes of a request then. Release builds have none of this.

use std::env;
use std::sync::LazyLock;

use weir_inspect::RequestView;

/// Of a development build's node: the query of requests whose inspection panics.
const VARIABLE: &str = "WEIR_TEST_DEFECT";

static QUERY: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| {
    if cfg!(test) { Some(b"panic".to_vec()) } else { env::var(VARIABLE).ok().map(String::into_bytes) }
});

/// Panics if a test wants that of this request: in the simulation of those with the query `panic`.
pub(super) fn panic_if_asked(view: &RequestView<'_>) {
    let is_asked = QUERY.is_some() && view.query == QUERY.as_deref();
    assert!(!is_asked, "as the test asked");
}
