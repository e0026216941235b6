//! The parts of a request that conditions look at (spec S3.1).

use super::check::{PointKey, without_protocol_name};
use crate::hosts::Host;
use crate::path::{Path, percent_decoded};
use crate::policy::{Location, RequestFacts};

/// A request as conditions see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a RequestFacts<'a>,
    pub(crate) host: Host<'a>,
    pub(crate) path: Path<'a>,
    /// Has the application; nothing of it is read where nobody asks for that.
    pub(crate) location: &'a Location,
}

impl<'a> Facts<'a> {
    /// The value of a point that has one at most and needs no buffer. That of the host has its port.
    #[inline(always)]
    pub(crate) fn single(&self, point: &PointKey) -> Option<&'a [u8]> {
        match point {
            PointKey::Instance => Some(self.location.instance.as_bytes()),
            PointKey::Host => Some(self.host.value).filter(|host| !host.is_empty()),
            PointKey::Path(index) => self.path.segment(*index),
            PointKey::ActionName => Some(self.path.action_name()),
            PointKey::ActionExt => self.path.action_ext(),
            PointKey::Method => Some(self.request.method),
            PointKey::Scheme => Some(self.request.scheme),
            PointKey::Proto => Some(without_protocol_name(self.request.proto)),
            PointKey::Query(_) | PointKey::Header(_) | PointKey::Uri => None,
        }
    }

    /// Writes the target, its path normalised.
    pub(crate) fn write_uri(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.path.bytes);
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
