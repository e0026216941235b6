//! The parts of a request that conditions look at (spec S3.1).

use super::check::{PointKey, without_protocol_name};
use crate::path::{percent_decoded, split_action};
use crate::policy::RequestFacts;

/// A request as conditions see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a RequestFacts<'a>,
    /// The normalised path.
    pub(crate) path: &'a [u8],
    /// The application.
    pub(crate) instance: &'a [u8],
}

impl<'a> Facts<'a> {
    /// The segment behind the last slash; all of a path without a slash.
    fn action(&self) -> &'a [u8] {
        memchr::memrchr(b'/', self.path).map_or(self.path, |slash| &self.path[slash + 1..])
    }

    /// The value of a point that has one at most and needs no buffer. `slashes` are the positions of the path's slashes,
    /// as many as path points need.
    pub(crate) fn single(&self, point: &PointKey, slashes: &[u32]) -> Option<&'a [u8]> {
        match point {
            PointKey::Instance => Some(self.instance),
            PointKey::Host => Some(self.request.host).filter(|host| !host.is_empty()),
            PointKey::Path(index) => {
                let start = *slashes.get(*index as usize)? as usize + 1;
                let end = *slashes.get(*index as usize + 1)? as usize;
                self.path.get(start..end)
            }
            PointKey::ActionName => Some(split_action(self.action()).0),
            PointKey::ActionExt => split_action(self.action()).1,
            PointKey::Method => Some(self.request.method),
            PointKey::Scheme => Some(self.request.scheme),
            PointKey::Proto => Some(without_protocol_name(self.request.proto)),
            PointKey::Query(_) | PointKey::Header(_) | PointKey::Uri => None,
        }
    }

    /// Writes the target, its path normalised.
    pub(crate) fn write_uri(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.path);
        if let Some(query) = self.request.query {
            out.push(b'?');
            out.extend_from_slice(query);
        }
    }

    /// Names and values of the query as received.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let parameters = self.request.query.unwrap_or_default().split(|&byte| byte == b'&');
        parameters.filter(|parameter| !parameter.is_empty()).map(|parameter| {
            memchr::memchr(b'=', parameter)
                .map_or((parameter, &[][..]), |equals| (&parameter[..equals], &parameter[equals + 1..]))
        })
    }
}

/// Appends the text with percent-encoding decoded and `+` as space.
pub(crate) fn decode_form(text: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < text.len() {
        if let Some(byte) = percent_decoded(&text[at..]) {
            out.push(byte);
            at += 3;
        } else {
            out.push(if text[at] == b'+' { b' ' } else { text[at] });
            at += 1;
        }
    }
}

/// The decoded text: itself where nothing is to be done, otherwise `buffer`, which is overwritten.
pub(crate) fn decoded<'b>(text: &'b [u8], buffer: &'b mut Vec<u8>) -> &'b [u8] {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return text;
    }
    buffer.clear();
    decode_form(text, buffer);
    buffer
}
