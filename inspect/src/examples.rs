//! Runs the examples that signatures carry.

use crate::engine::{Engine, EngineError};
use crate::inspector::Inspector;
use crate::pack::{Pack, PackError, Signature};
use crate::place::Place;
use crate::request::RequestView;

impl Engine {
    /// Runs the examples of those signatures of `pack` that are not part of this crate, with `self` compiled from it, and
    /// returns an error for each that is not as the signature says: an attack that it does not score on at the first
    /// place that it applies to, or a clean value that it scores on.
    ///
    /// # Errors
    ///
    /// No memory for an inspector.
    pub fn check_own_examples(&self, pack: &Pack) -> Result<Vec<PackError>, EngineError> {
        self.check_examples(pack.own_signatures())
    }

    pub(crate) fn check_examples<'a>(
        &self,
        signatures: impl Iterator<Item = &'a Signature>,
    ) -> Result<Vec<PackError>, EngineError> {
        let mut inspector = self.inspector()?;
        let mut errors = Vec::new();
        for signature in signatures {
            let mut refuse = |example: &str, what: &str| {
                let message = format!("{what} {example:?}; change the signature or the example");
                errors.push(signature.source.error(&signature.id, message));
            };
            for example in &signature.examples.attack {
                if !scores(self, &mut inspector, signature, example) {
                    refuse(example, "it does not score on its own example of an attack,");
                }
            }
            for example in &signature.examples.clean {
                if scores(self, &mut inspector, signature, example) {
                    refuse(example, "it scores on its own example of a clean value,");
                }
            }
        }
        Ok(errors)
    }
}

fn percent_encoded(text: &str) -> Vec<u8> {
    text.bytes().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect()
}

/// What stands around the content of an uploaded file.
const UPLOAD_HEAD: &[u8] = b"--example-boundary\r\n\
    Content-Disposition: form-data; name=\"file\"; filename=\"file.dat\"\r\n\r\n";
const UPLOAD_END: &[u8] = b"\r\n--example-boundary--\r\n";

/// Whether the signature scores on `example` at the first place that it applies to.
fn scores(engine: &Engine, inspector: &mut Inspector, signature: &Signature, example: &str) -> bool {
    let encoded = percent_encoded(example);
    let parameter = signature.names.first().unwrap_or(b"q");
    let pair = [parameter, b"=", &encoded].concat();
    let name = [&encoded, b"=1".as_slice()].concat();
    let path = [b"/".as_slice(), &encoded].concat();
    let referer = [b"https://shop.example/?".as_slice(), &pair].concat();
    let raw = example.as_bytes();
    let file = [UPLOAD_HEAD, raw, UPLOAD_END].concat();
    let mut headers: Vec<(&[u8], &[u8])> = vec![(b"host", b"shop.example")];
    let mut request =
        RequestView { method: b"GET", path: b"/", query: None, headers: &[], body: b"", body_complete: true };
    match signature.first_place {
        Place::Path => request.path = &path,
        Place::Query => request.query = Some(&pair),
        Place::Name => request.query = Some(&name),
        Place::Cookie => headers.push((b"cookie", &pair)),
        Place::Header => headers.push((b"x-note", raw)),
        Place::UserAgent => headers.push((b"user-agent", raw)),
        Place::Referer => headers.push((b"referer", &referer)),
        Place::Body => {
            headers.push((b"content-type", b"application/x-www-form-urlencoded"));
            request.body = &pair;
        }
        Place::FileName => headers.push((b"x-file-name", raw)),
        Place::File => {
            headers.push((b"content-type", b"multipart/form-data; boundary=example-boundary"));
            request.body = &file;
        }
    }
    request.headers = &headers;
    let report = inspector.inspect(engine, &request);
    report.findings.iter().any(|finding| finding.signature == signature.id)
}
