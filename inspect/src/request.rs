//! What the caller hands in.

/// One request as its bytes arrived. All slices are borrowed for the time of one inspection.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// The method, such as `GET`.
    pub method: &'a [u8],
    /// The path, raw: not decoded, without the query.
    pub path: &'a [u8],
    /// The query without its question mark, raw, if the target has one.
    pub query: Option<&'a [u8]>,
    /// All header fields as name and value, in order, without the white space around values.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// The inspected bytes of the body so far, with its framing (chunks) removed.
    pub body: &'a [u8],
    /// Whether `body` is the whole body.
    pub body_complete: bool,
}

impl<'a> RequestView<'a> {
    /// The host and the port that the request is for; empty if it does not say.
    pub(crate) fn host(&self) -> &'a [u8] {
        let is_host = |(name, _): &&(&[u8], &[u8])| name.eq_ignore_ascii_case(b"host");
        self.headers.iter().find(is_host).map_or(&[], |(_, value)| value)
    }
}
