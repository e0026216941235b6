//! The compiled pack: what all workers share.

use std::fmt;
use std::sync::Arc;

use regex_automata::meta::Regex;

use crate::arena::{Arena, Value};
use crate::cache;
use crate::class::AttackClass;
use crate::confirm::ConfirmerKind;
use crate::graphql::GraphqlLimits;
use crate::inspector::Inspector;
use crate::limits::Limits;
use crate::pack::{Pack, PackError, Scan, Signature};
use crate::place::{ParameterNames, PlaceSet};
use weir_hyperscan::{Database, HyperscanError, Pattern};

/// The most memory that one confirming expression may take, in bytes.
const EXPRESSION_BYTES_MAX: usize = 2 << 20;

/// The memory of one confirming expression's lazily built automaton, in bytes per worker and direction.
const AUTOMATON_CACHE_BYTES: usize = 256 << 10;

/// How an engine decides and what bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// A request is an attack when the scores of one class add up to this. Default 5.
    pub min_score: u32,
    /// Bounds of one inspection.
    pub limits: Limits,
    /// What GraphQL requests may be; `None`, the default: anything.
    pub graphql: Option<GraphqlLimits>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { min_score: 5, limits: Limits::default(), graphql: None }
    }
}

/// Why a pack could not be made an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineError {
    /// One signature's pattern is refused.
    Signature(PackError),
    /// The matcher refuses all patterns together, or this machine; its words.
    Matcher(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature(error) => write!(formatter, "{error}"),
            Self::Matcher(message) => write!(formatter, "the signatures could not be compiled: {message}"),
        }
    }
}

impl std::error::Error for EngineError {}

impl From<HyperscanError> for EngineError {
    fn from(error: HyperscanError) -> Self {
        Self::Matcher(error.to_string())
    }
}

/// A compiled pack. Immutable and shared by all workers, each with an [`Inspector`] of its own.
#[derive(Debug)]
pub struct Engine {
    pub(crate) database: Database,
    /// The rule that each expression of the database belongs to.
    pub(crate) scanned_for: Vec<u32>,
    pub(crate) rules: Vec<Rule>,
    /// The rules whose pattern is tried where operators of a shell stand.
    pub(crate) operator_rules: Vec<u32>,
    pub(crate) options: EngineOptions,
    digest: [u8; 32],
}

/// What remains of a signature at run time.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: Arc<str>,
    pub(crate) class: AttackClass,
    pub(crate) places: PlaceSet,
    pub(crate) names: ParameterNames,
    pub(crate) score: u32,
    pub(crate) confirmer: ConfirmerKind,
    /// The pattern once more, to find the match inside one value.
    pub(crate) pattern: Regex,
    pub(crate) second: Option<Regex>,
}

impl Rule {
    /// Whether the signature is one for values such as this, by where it comes from.
    pub(crate) fn applies_to(&self, value: &Value, arena: &Arena) -> bool {
        self.places.contains(value.place)
            && (self.names.is_empty() || arena.is_named(value.node, |name| self.names.contain(name)))
    }
}

impl Engine {
    /// Compiles a pack. This takes up to some seconds; it belongs at start and on reload, not on a worker.
    ///
    /// # Errors
    ///
    /// A pattern that the matcher refuses, with its place in its file; or a machine without the needed instructions.
    pub fn compile(pack: Pack, options: EngineOptions) -> Result<Self, EngineError> {
        let database = compile_database(&pack)?;
        Self::assemble(&pack, options, database)
    }

    /// As [`Engine::compile`], but takes the matcher's database from `cached` when those bytes are whole and made from
    /// the same pack, by the same library, for the same CPU features. If not, it compiles and also returns the bytes to
    /// store for the next start.
    ///
    /// # Errors
    ///
    /// As [`Engine::compile`]. Unusable cached bytes are no error.
    pub fn compile_with_cache(
        pack: Pack,
        options: EngineOptions,
        cached: Option<&[u8]>,
    ) -> Result<(Self, Option<Vec<u8>>), EngineError> {
        let key = cache::Key::of(&pack)?;
        if let Some(database) = cached.and_then(|bytes| cache::open(bytes, &key)) {
            return Ok((Self::assemble(&pack, options, database)?, None));
        }
        let database = compile_database(&pack)?;
        let bytes = cache::seal(&database.serialize()?, &key);
        Ok((Self::assemble(&pack, options, database)?, Some(bytes)))
    }

    /// A worker's own inspector for this engine.
    ///
    /// # Errors
    ///
    /// No memory for the matcher's scratch.
    pub fn inspector(&self) -> Result<Inspector, EngineError> {
        Inspector::new(self)
    }

    /// The digest of the pack, see [`Pack::digest`].
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The options that it was compiled with; limits out of range are clamped.
    #[must_use]
    pub const fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// How many signatures there are.
    #[must_use]
    pub const fn signature_count(&self) -> usize {
        self.rules.len()
    }

    /// The number of the signature with this id.
    pub(crate) fn signature_number(&self, id: &str) -> Option<u32> {
        let position = self.rules.iter().position(|rule| &*rule.id == id)?;
        u32::try_from(position).ok()
    }

    /// Whether there is a signature with this id.
    #[must_use]
    pub fn has_signature(&self, id: &str) -> bool {
        self.signature_number(id).is_some()
    }

    /// The class of the signature with this id, if there is one.
    #[must_use]
    pub fn signature_class(&self, id: &str) -> Option<AttackClass> {
        let rule = self.rules.iter().find(|rule| &*rule.id == id)?;
        Some(rule.class)
    }

    /// Bytes of memory that the matcher's database takes.
    #[must_use]
    pub fn database_bytes(&self) -> usize {
        self.database.size_bytes()
    }

    fn assemble(pack: &Pack, options: EngineOptions, database: Database) -> Result<Self, EngineError> {
        let rules =
            pack.signatures.iter().map(rule).collect::<Result<_, _>>().map_err(EngineError::Signature)?;
        let options = EngineOptions { limits: options.limits.clamped(), ..options };
        let numbered = || (0_u32..).zip(&pack.signatures);
        let scanned_for =
            numbered().flat_map(|(rule, signature)| signature.scanned().iter().map(move |_| rule));
        let operator_rules =
            numbered().filter(|(_, signature)| signature.scan == Scan::Operators).map(|(rule, _)| rule);
        Ok(Self {
            database,
            scanned_for: scanned_for.collect(),
            rules,
            operator_rules: operator_rules.collect(),
            options,
            digest: pack.digest(),
        })
    }
}

fn compile_database(pack: &Pack) -> Result<Database, EngineError> {
    let (signatures, mut patterns): (Vec<_>, Vec<_>) = pack.signatures.iter().flat_map(patterns_of).unzip();
    if patterns.is_empty() {
        patterns.push(NEVER);
    }
    Database::compile(&patterns).map_err(|error| match error {
        HyperscanError::Compile { index: Some(index), message } if index < signatures.len() => {
            refused(signatures[index], &message)
        }
        error => refused_alone(pack).unwrap_or_else(|| error.into()),
    })
}

/// What is scanned for where no signature asks for anything: the matcher takes no empty list. No rule belongs to it.
const NEVER: Pattern<'_> = Pattern { expression: "\\x00never\\x00", caseless: false };

fn patterns_of(signature: &Signature) -> impl Iterator<Item = (&Signature, Pattern<'_>)> {
    signature
        .scanned()
        .iter()
        .map(move |expression| (signature, Pattern { expression, caseless: signature.caseless }))
}

fn refused(signature: &Signature, reason: &str) -> EngineError {
    let message = format!("Hyperscan refuses the pattern: {reason}");
    EngineError::Signature(signature.source.error(&signature.id, message))
}

/// The first signature of the pack's own that can't be compiled even alone: the library does not tell which of many
/// patterns was too large.
fn refused_alone(pack: &Pack) -> Option<EngineError> {
    pack.own_signatures().flat_map(patterns_of).find_map(|(signature, pattern)| {
        match Database::compile(&[pattern]) {
            Err(HyperscanError::Compile { message, .. }) => {
                let reason =
                    format!("{message} Make it simpler: fewer and smaller repetitions such as {{1,1000}}");
                Some(refused(signature, &reason))
            }
            _ => None,
        }
    })
}

fn rule(signature: &Signature) -> Result<Rule, PackError> {
    let compile = |pattern: &str| {
        expression(pattern, signature.caseless).map_err(|message| {
            signature.source.error(&signature.id, format!("the expression cannot be used: {message}"))
        })
    };
    Ok(Rule {
        id: Arc::clone(&signature.id),
        class: signature.class,
        places: signature.places,
        names: signature.names.clone(),
        score: signature.score,
        confirmer: signature.confirmer,
        pattern: compile(&signature.pattern)?,
        second: signature.second.as_deref().map(compile).transpose()?,
    })
}

/// The same language as the scan's: bytes, no Unicode, `.` matches all.
fn expression(pattern: &str, caseless: bool) -> Result<Regex, String> {
    let syntax = regex_automata::util::syntax::Config::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .case_insensitive(caseless);
    let config = Regex::config()
        .utf8_empty(false)
        .nfa_size_limit(Some(EXPRESSION_BYTES_MAX))
        .hybrid_cache_capacity(AUTOMATON_CACHE_BYTES);
    Regex::builder().syntax(syntax).configure(config).build(pattern).map_err(|error| error.to_string())
}
