//! Signature packs: TOML files, parsed and checked.

pub(crate) mod expression;
mod reader;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::class::AttackClass;
use crate::confirm::ConfirmerKind;
use crate::place::{ParameterNames, Place, PlaceSet};

/// The signature files that are part of the binary: name and text.
const EMBEDDED: [(&str, &str); 17] = [
    ("sqli.toml", include_str!("../../signatures/sqli.toml")),
    ("xss.toml", include_str!("../../signatures/xss.toml")),
    ("rce.toml", include_str!("../../signatures/rce.toml")),
    ("ptrav.toml", include_str!("../../signatures/ptrav.toml")),
    ("xxe.toml", include_str!("../../signatures/xxe.toml")),
    ("ssti.toml", include_str!("../../signatures/ssti.toml")),
    ("nosqli.toml", include_str!("../../signatures/nosqli.toml")),
    ("crlf.toml", include_str!("../../signatures/crlf.toml")),
    ("ldapi.toml", include_str!("../../signatures/ldapi.toml")),
    ("ssi.toml", include_str!("../../signatures/ssi.toml")),
    ("scanner.toml", include_str!("../../signatures/scanner.toml")),
    ("ssrf.toml", include_str!("../../signatures/ssrf.toml")),
    ("redir.toml", include_str!("../../signatures/redir.toml")),
    ("mail_injection.toml", include_str!("../../signatures/mail_injection.toml")),
    ("mass_assignment.toml", include_str!("../../signatures/mass_assignment.toml")),
    ("upload.toml", include_str!("../../signatures/upload.toml")),
    ("upload_xss.toml", include_str!("../../signatures/upload_xss.toml")),
];

/// The highest score that one signature may give.
const SCORE_MAX: u32 = 100;

/// A checked set of signatures, ready to be compiled.
#[derive(Debug, Clone)]
pub struct Pack {
    pub(crate) signatures: Vec<Signature>,
    digest: [u8; 32],
}

/// One signature: what nominates a value, where, and what confirms it.
#[derive(Debug, Clone)]
pub(crate) struct Signature {
    pub(crate) id: Arc<str>,
    pub(crate) class: AttackClass,
    /// Nominates a value that it matches.
    pub(crate) pattern: String,
    pub(crate) scan: Scan,
    pub(crate) caseless: bool,
    pub(crate) places: PlaceSet,
    pub(crate) names: ParameterNames,
    pub(crate) confirmer: ConfirmerKind,
    /// The second expression, for the confirmer `regex`.
    pub(crate) second: Option<String>,
    pub(crate) score: u32,
    /// Where the signature stands, for messages.
    pub(crate) source: Source,
    /// Values on which it must score, and on which it must not.
    pub(crate) examples: Examples,
    /// The first place that it applies to, for its examples.
    pub(crate) first_place: Place,
}

/// How values that a pattern may match are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scan {
    /// All values are scanned for the pattern at once.
    Pattern,
    /// They are scanned for these expressions instead. A value that the signature is found in is matched by one of them.
    Expressions(Vec<String>),
    /// The pattern is tried where an operator of a shell stands before what may be a command.
    Operators,
}

/// Where a signature's pattern stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) file: Arc<str>,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in bytes.
    pub(crate) column: usize,
}

/// Example values of a signature.
#[derive(Debug, Clone)]
pub(crate) struct Examples {
    pub(crate) attack: Vec<String>,
    pub(crate) clean: Vec<String>,
}

/// What is wrong in a signature file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackError {
    /// The file's name, as it was given.
    pub file: String,
    /// The line, from 1; 0 when the error belongs to no line.
    pub line: usize,
    /// The column in bytes, from 1; 0 when the error belongs to no line.
    pub column: usize,
    /// The id of the signature, once it is known.
    pub signature: Option<String>,
    /// What is wrong, what was expected and what to do.
    pub message: String,
}

impl fmt::Display for PackError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if let Some(signature) = &self.signature {
            write!(formatter, "signature {signature}: ")?;
        }
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for PackError {}

impl Pack {
    /// The signatures that are part of this crate.
    ///
    /// # Panics
    ///
    /// Never for a build whose tests pass: the text is fixed at build time and a test parses it.
    #[must_use]
    pub fn embedded() -> Self {
        match Self::parse(&EMBEDDED) {
            Ok(pack) => pack,
            Err(errors) => panic!("the embedded signatures are broken: {}", errors[0]),
        }
    }

    /// The signatures that are part of this crate, and those of further files.
    ///
    /// # Errors
    ///
    /// As [`Pack::parse`]; an id of the crate's own signatures is taken.
    pub fn embedded_with(files: &[(&str, &str)]) -> Result<Self, Vec<PackError>> {
        Self::parse(&[&EMBEDDED, files].concat())
    }

    /// Parses and checks signature files, given as name and text. The names appear in messages only.
    ///
    /// # Errors
    ///
    /// All that is wrong: unknown or missing fields, duplicate ids, a pattern that does not parse, is anchored or can
    /// match nothing, a score of 0, and signatures without an example of an attack and of a clean value.
    pub fn parse(files: &[(&str, &str)]) -> Result<Self, Vec<PackError>> {
        let mut errors = Vec::new();
        let mut signatures: Vec<Signature> = Vec::new();
        let mut known = HashMap::new();
        let mut digest = Sha256::new();
        for (name, text) in files {
            for part in [name, text] {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
            for signature in reader::read(name, text, &mut errors) {
                if let Some(earlier) = known.insert(Arc::clone(&signature.id), signature.source.clone()) {
                    let message = format!(
                        "this id is already taken in {}:{}; ids are unique over all files",
                        earlier.file, earlier.line
                    );
                    errors.push(signature.source.error(&signature.id, message));
                }
                signatures.push(signature);
            }
        }
        if signatures.is_empty() && errors.is_empty() {
            errors.push(PackError {
                file: files.first().map_or_else(String::new, |(name, _)| (*name).to_owned()),
                line: 0,
                column: 0,
                signature: None,
                message: "no signatures: expected at least one [[signature]]".to_owned(),
            });
        }
        if errors.is_empty() {
            Ok(Self { signatures, digest: digest.finalize().into() })
        } else {
            Err(errors)
        }
    }

    /// SHA-256 over the names and texts of the files, in their order.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The signatures that are not part of this crate.
    pub(crate) fn own_signatures(&self) -> impl Iterator<Item = &Signature> {
        let is_embedded = |file: &str| EMBEDDED.iter().any(|(name, _)| *name == file);
        self.signatures.iter().filter(move |signature| !is_embedded(&signature.source.file))
    }

    /// Whether one of the signatures stands in the file with this name, as it was given.
    #[must_use]
    pub fn has_signatures_of(&self, file: &str) -> bool {
        self.signatures.iter().any(|signature| &*signature.source.file == file)
    }

    /// How many signatures there are.
    #[must_use]
    pub const fn signature_count(&self) -> usize {
        self.signatures.len()
    }

    /// The ids of the signatures, in the order of the files.
    pub fn signature_ids(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|signature| &*signature.id)
    }

    /// This pack with those signatures only whose ids `keep` takes, such as one alone to measure it. Its digest is
    /// another one.
    #[must_use]
    pub fn retain(mut self, mut keep: impl FnMut(&str) -> bool) -> Self {
        self.signatures.retain(|signature| keep(&signature.id));
        let mut digest = Sha256::new();
        digest.update(self.digest);
        for signature in &self.signatures {
            digest.update((signature.id.len() as u64).to_le_bytes());
            digest.update(signature.id.as_bytes());
        }
        Self { digest: digest.finalize().into(), ..self }
    }
}

impl Signature {
    /// What all values are scanned for.
    pub(crate) fn scanned(&self) -> &[String] {
        match &self.scan {
            Scan::Pattern => std::slice::from_ref(&self.pattern),
            Scan::Expressions(expressions) => expressions,
            Scan::Operators => &[],
        }
    }
}

impl Source {
    pub(crate) fn error(&self, signature: &str, message: String) -> PackError {
        PackError {
            file: self.file.to_string(),
            line: self.line,
            column: self.column,
            signature: Some(signature.to_owned()),
            message,
        }
    }
}
