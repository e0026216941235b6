//! What an operator's rules change about the inspection of single requests: detectors of their own, signs and parsers
//! that don't count at a point, points that are masked, patched or measured.
//!
//! All rules of a config are compiled once into [`Directives`]; a request names by index those that hold for it
//! ([`Applied`]). A request for which none holds pays nothing.

mod detect;
mod fields;
mod mask;
mod parser;
mod report;
mod scope;
mod selector;
mod spelling;

use std::fmt;
use std::sync::Arc;

pub(crate) use detect::{Detectors, Look};
pub(crate) use mask::Masks;
pub use parser::Parser;
pub(crate) use parser::ParserSet;
pub use report::{POINT_VALUES_MAX, PointValues};
pub(crate) use report::{report_dropped, report_patched, values_at};
pub(crate) use scope::Scope;
pub(crate) use selector::{Names, Relation};
pub use selector::{Part, Selector};

use crate::class::AttackClass;
use crate::engine::Engine;
use weir_hyperscan::{Database, HyperscanError};

/// One rule, as far as it concerns inspection.
#[derive(Debug, Clone)]
pub struct DirectiveSource {
    /// What it is called in findings, such as `rule-17`.
    pub name: String,
    /// Where it looks.
    pub selector: Selector,
    /// What it does there.
    pub action: DirectiveAction,
}

/// What a directive does at its point.
#[derive(Debug, Clone)]
pub enum DirectiveAction {
    /// Reports a [`RuleHit`] for a confirmed sign of the class; without a class, when the point is there.
    Patch(Option<AttackClass>),
    /// Reports a [`RuleHit`] for each value that the expression matches.
    Detector {
        /// The expression, as Hyperscan reads it: bytes, unanchored, `.` matches all. It may match the empty text; no
        /// empty value is looked at. None finds nothing.
        expression: Option<String>,
        /// What its matches are signs of; none makes it a patch.
        class: Option<AttackClass>,
        /// Its matches are reported as such and are no attack.
        experimental: bool,
    },
    /// The detector with this index among the sources is not asked.
    IgnoreDetector(usize),
    /// Signs of the class, or of any class, don't count.
    DropClass(Option<AttackClass>),
    /// What the signature with this id finds doesn't count.
    DropSignature(String),
    /// Signatures that don't apply to file contents don't count.
    Binary,
    /// The parser is off, or on where a less precise selector switches it off.
    Parser {
        /// The parser.
        parser: Parser,
        /// Off or on.
        enabled: bool,
    },
    /// Evidence shows `*` in place of values.
    Mask,
    /// Reports a [`RuleHit`] for values of more bytes than this.
    Measure(u64),
}

/// Why a directive could not be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectiveError {
    /// Its index among the sources.
    pub index: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for DirectiveError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for DirectiveError {}

/// Compiled directives: immutable, shared by all workers.
#[derive(Debug, Default)]
pub struct Directives {
    pub(crate) list: Box<[Directive]>,
    /// The expressions of all detectors; absent if there are none.
    pub(crate) expressions: Option<Arc<Database>>,
    /// The directive of each expression.
    pub(crate) detectors: Box<[u32]>,
}

#[derive(Debug)]
pub(crate) struct Directive {
    pub(crate) name: Arc<str>,
    pub(crate) selector: Selector,
    pub(crate) effect: Effect,
}

/// A [`DirectiveAction`] at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Patch(Option<AttackClass>),
    Detector {
        class: Option<AttackClass>,
        experimental: bool,
    },
    IgnoreDetector(u32),
    DropClass(Option<AttackClass>),
    /// By the signature's number in the engine; none has this one where the id isn't known.
    DropSignature(u32),
    Binary,
    Parser {
        parser: Parser,
        enabled: bool,
    },
    Mask,
    Measure(u64),
}

impl Effect {
    /// Which of the names that servers may read are meant.
    pub(crate) const fn names(self) -> Names {
        if self.loosens() { Names::Sure } else { Names::Possible }
    }

    /// Whether it takes something away from what is looked at.
    pub(crate) const fn loosens(self) -> bool {
        match self {
            Self::IgnoreDetector(_) | Self::DropClass(_) | Self::DropSignature(_) | Self::Binary => true,
            Self::Parser { enabled, .. } => !enabled,
            Self::Patch(_) | Self::Detector { .. } | Self::Mask | Self::Measure(_) => false,
        }
    }
}

/// The number of a signature that no engine has.
const NO_SIGNATURE: u32 = u32::MAX;

impl Directives {
    /// Compiles directives for use with `engine`.
    ///
    /// # Errors
    ///
    /// Each expression that the matcher refuses, and each ignored detector that is none.
    pub fn compile(sources: &[DirectiveSource], engine: &Engine) -> Result<Self, Vec<DirectiveError>> {
        let mut errors = Vec::new();
        let mut detectors = Vec::new();
        let mut patterns = Vec::new();
        let list: Box<[Directive]> = sources
            .iter()
            .enumerate()
            .map(|(index, source)| {
                if let DirectiveAction::Detector { expression: Some(expression), .. } = &source.action {
                    detectors.push(number(index));
                    patterns.push(expression.as_str());
                }
                if let DirectiveAction::IgnoreDetector(ignored) = &source.action
                    && !matches!(
                        sources.get(*ignored).map(|source| &source.action),
                        Some(DirectiveAction::Detector { .. })
                    )
                {
                    let message = "there is no such detector".to_owned();
                    errors.push(DirectiveError { index, message });
                }
                Directive {
                    name: Arc::from(source.name.as_str()),
                    selector: source.selector.clone(),
                    effect: effect(&source.action, engine),
                }
            })
            .collect();
        let expressions = expressions(&patterns, &detectors, &mut errors);
        if errors.is_empty() {
            Ok(Self { list, expressions, detectors: detectors.into() })
        } else {
            Err(errors)
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.list.len()
    }

    /// The selector of one; none for an index that there isn't.
    #[must_use]
    pub fn selector(&self, index: u32) -> Option<&Selector> {
        self.list.get(index as usize).map(|directive| &directive.selector)
    }
}

fn effect(action: &DirectiveAction, engine: &Engine) -> Effect {
    match action {
        DirectiveAction::Patch(class) => Effect::Patch(*class),
        DirectiveAction::Detector { class, experimental, .. } => {
            Effect::Detector { class: *class, experimental: *experimental }
        }
        DirectiveAction::IgnoreDetector(index) => Effect::IgnoreDetector(number(*index)),
        DirectiveAction::DropClass(class) => Effect::DropClass(*class),
        DirectiveAction::DropSignature(id) => {
            Effect::DropSignature(engine.signature_number(id).unwrap_or(NO_SIGNATURE))
        }
        DirectiveAction::Binary => Effect::Binary,
        DirectiveAction::Parser { parser, enabled } => Effect::Parser { parser: *parser, enabled: *enabled },
        DirectiveAction::Mask => Effect::Mask,
        DirectiveAction::Measure(limit) => Effect::Measure(*limit),
    }
}

/// One database for all detectors. If it can't be made, each expression is tried alone, so that all faults are told.
fn expressions(
    patterns: &[&str],
    detectors: &[u32],
    errors: &mut Vec<DirectiveError>,
) -> Option<Arc<Database>> {
    if patterns.is_empty() {
        return None;
    }
    let error = match Database::compile_for_one_report(patterns, &[]) {
        Ok(database) => return Some(database),
        Err(error) => error,
    };
    let before = errors.len();
    if matches!(error, HyperscanError::Compile { .. }) {
        for (pattern, index) in patterns.iter().zip(detectors) {
            if let Err(error) = Database::compile_for_one_report(&[*pattern], &[]) {
                errors.push(DirectiveError { index: *index as usize, message: error.to_string() });
            }
        }
    }
    if errors.len() == before {
        errors.push(DirectiveError { index: detectors[0] as usize, message: error.to_string() });
    }
    None
}

/// Indexes of rules fit in 32 bits: files are far smaller.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The directives that hold for one request.
#[derive(Debug, Clone, Copy)]
pub struct Applied<'a> {
    /// All directives of the config.
    pub directives: &'a Directives,
    /// Indexes of those that hold, the most specific rule first.
    pub active: &'a [u32],
    /// Bytes of the body that follow what is inspected, as far as that is known.
    pub unseen_body_bytes: u64,
    /// Servers may divide the path into segments in different ways, so that these can't be told apart by their numbers: what
    /// is looked for in one is looked for in all of the path, and what doesn't count in one counts.
    pub unsure_segments: bool,
    /// The forms in which such a path may reach the origin's code, each beginning with a slash; what can't stand in a path as
    /// it is, is percent-encoded in them. Detectors of parts of the path and of `uri` look at them too; signs
    /// of classes are looked for in the path as received alone.
    pub path_readings: &'a [&'a [u8]],
    /// Also reports what was nominated, dropped and masked, for explanations. Costs more.
    pub trace: bool,
}

/// What a directive did to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleHit {
    /// The directive's index.
    pub directive: u32,
    /// The directive's name.
    pub name: Arc<str>,
    /// What happened.
    pub what: HitKind,
    /// The class of the sign, where there is one.
    pub class: Option<AttackClass>,
    /// The point's name.
    pub point: String,
    /// The evidence, decoded and bounded, masked where a mask says so.
    pub payload: Vec<u8>,
    /// The signature that gave the sign, if one did.
    pub signature: Option<Arc<str>>,
}

/// What a directive did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HitKind {
    /// A patch, or a detector that is one: the request is to be blocked.
    Patched,
    /// A detector matched: an attack of its class.
    Detected,
    /// An experimental detector matched.
    Experimental,
    /// A value is larger than it may be; so many bytes.
    Oversized(u64),
    /// A sign of an attack, or a detector's match, doesn't count. Only reported in a trace.
    Dropped,
    /// A value was masked. Only reported in a trace.
    Masked,
}
