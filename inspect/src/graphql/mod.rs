//! Limits of GraphQL requests (specification of October 2021): how large, how deep and how many documents may be, and
//! whether they may ask for the schema or for debugging.

mod document;

use std::sync::Arc;

use crate::arena::{Arena, NodeId, ROOT, Step, Value};
use crate::class::AttackClass;
use crate::directives::{Parser, Scope};
use crate::place::Place;
use crate::report::Finding;
use document::{Measure, Reader};

/// What a GraphQL request may be. A value of 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphqlLimits {
    /// The longest document, in bytes. Default 100 KiB.
    pub document_bytes: usize,
    /// The longest string in a document or in its variables, in bytes. Default 10 KiB.
    pub value_bytes: usize,
    /// The deepest nesting of fields, fragments included; a query of one field has depth 1. Default 10.
    pub depth: u32,
    /// The most aliases of one document, fragments counted as often as they are spread. Default 5.
    pub aliases: u32,
    /// The most documents of one request. Default 10.
    pub documents: usize,
    /// Whether documents may ask for the schema (`__schema`, `__type`). Default no.
    pub introspection: bool,
    /// Whether requests may ask for debugging: a member or parameter `debug` beside the document. Default no.
    pub debug: bool,
}

impl Default for GraphqlLimits {
    fn default() -> Self {
        Self {
            document_bytes: 100 << 10,
            value_bytes: 10 << 10,
            depth: 10,
            aliases: 5,
            documents: 10,
            introspection: false,
            debug: false,
        }
    }
}

/// The score of a finding: one is enough.
const SCORE: u32 = 100;

/// How far up a value's point its variables are looked for.
const STEPS_MAX: usize = 16;

/// What is longer or more than it may be, for the evidence.
struct Excess {
    class: AttackClass,
    node: NodeId,
    evidence: String,
}

/// Measures the documents of a request. Reused.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    reader: Reader,
    /// The point that each document lies below, by its number.
    homes: Vec<NodeId>,
}

impl Documents {
    /// Adds a finding per limit that the request's documents exceed; whether there is one.
    pub(crate) fn check(
        &mut self,
        limits: &GraphqlLimits,
        scope: &Scope<'_>,
        arena: &Arena,
        findings: &mut Vec<Finding>,
    ) -> bool {
        let before = findings.len();
        let mut add = |excess: Excess| {
            if findings[before..].iter().all(|known| known.class != excess.class) {
                findings.push(Finding {
                    class: excess.class,
                    point: arena.label(excess.node, scope.request().headers),
                    payload: excess.evidence.into_bytes(),
                    signature: Arc::from(signature(excess.class)),
                    score: SCORE,
                    confirmed_by: "graphql",
                });
            }
        };
        self.homes.clear();
        for value in arena.values() {
            if !is_document(value, arena) || scope.parsers_off(value.node, arena).has(Parser::GraphQl) {
                continue;
            }
            let Some(measure) = self.reader.read(arena.slice(value.span)) else { continue };
            self.homes.push(arena.parent_and_step(value.node).0);
            check_document(limits, &measure, value, &mut add);
            if exceeds(self.homes.len(), limits.documents) {
                let evidence = format!("more than {} documents", limits.documents);
                add(Excess { class: AttackClass::GqlDocsPerBatch, node: value.node, evidence });
                break;
            }
        }
        self.homes.sort_unstable();
        if !self.homes.is_empty() {
            self.check_neighbours(limits, arena, &mut add);
        }
        findings.len() > before
    }

    /// Checks what stands beside the documents: their variables, and whether debugging is asked for.
    fn check_neighbours(&self, limits: &GraphqlLimits, arena: &Arena, add: &mut dyn FnMut(Excess)) {
        for value in arena.values() {
            if value.place == Place::Name {
                let (home, step) = arena.parent_and_step(value.node);
                if !limits.debug && is_named(step, b"debug", arena) && self.is_home(home) {
                    let evidence = "debugging is asked for".to_owned();
                    add(Excess { class: AttackClass::GqlDebug, node: value.node, evidence });
                }
            } else if exceeds(value.span.len(), limits.value_bytes) && self.is_variable(value.node, arena) {
                let evidence = size_evidence("a variable", value.span.len(), limits.value_bytes);
                add(Excess { class: AttackClass::GqlValueSize, node: value.node, evidence });
            }
        }
    }

    fn is_home(&self, node: NodeId) -> bool {
        self.homes.binary_search(&node).is_ok()
    }

    /// Whether a point lies below `variables`, beside a document.
    fn is_variable(&self, node: NodeId, arena: &Arena) -> bool {
        let mut node = node;
        for _ in 0..STEPS_MAX {
            let (parent, step) = arena.parent_and_step(node);
            if is_named(step, b"variables", arena) && self.is_home(parent) {
                return true;
            }
            if parent == ROOT {
                return false;
            }
            node = parent;
        }
        false
    }
}

/// Whether a value stands where documents are sent: in `query`, or as a body on its own.
fn is_document(value: &Value, arena: &Arena) -> bool {
    if !matches!(value.place, Place::Query | Place::Body) {
        return false;
    }
    let (parent, step) = arena.parent_and_step(value.node);
    is_named(step, b"query", arena) || (parent == ROOT && matches!(step, Step::Part("body")))
}

fn is_named(step: Step, name: &[u8], arena: &Arena) -> bool {
    matches!(step, Step::Name(span) if arena.slice(span) == name)
}

fn check_document(limits: &GraphqlLimits, measure: &Measure, value: &Value, add: &mut dyn FnMut(Excess)) {
    let mut add = |class, evidence| add(Excess { class, node: value.node, evidence });
    if exceeds(value.span.len(), limits.document_bytes) {
        let evidence = size_evidence("the document", value.span.len(), limits.document_bytes);
        add(AttackClass::GqlDocSize, evidence);
    }
    if exceeds(measure.longest_value_bytes, limits.value_bytes) {
        let evidence = size_evidence("a string", measure.longest_value_bytes, limits.value_bytes);
        add(AttackClass::GqlValueSize, evidence);
    }
    if exceeds(measure.depth as usize, limits.depth as usize) {
        let depth = match measure.depth {
            u32::MAX => "fragments that contain themselves, or too many to follow".to_owned(),
            depth => format!("depth {depth}"),
        };
        add(AttackClass::GqlDepth, format!("{depth}; at most {} is allowed", limits.depth));
    }
    if exceeds(measure.aliases as usize, limits.aliases as usize) {
        add(
            AttackClass::GqlAliases,
            format!("{} aliases; at most {} are allowed", measure.aliases, limits.aliases),
        );
    }
    if measure.introspection && !limits.introspection {
        add(AttackClass::GqlIntrospection, "the schema is asked for".to_owned());
    }
}

const fn exceeds(found: usize, limit: usize) -> bool {
    limit != 0 && found > limit
}

fn size_evidence(what: &str, found: usize, limit: usize) -> String {
    format!("{what} of {found} bytes; at most {limit} are allowed")
}

/// What stands in place of a signature.
const fn signature(class: AttackClass) -> &'static str {
    match class {
        AttackClass::GqlDepth => "graphql-depth",
        AttackClass::GqlValueSize => "graphql-value-size",
        AttackClass::GqlAliases => "graphql-aliases",
        AttackClass::GqlDocSize => "graphql-document-size",
        AttackClass::GqlDocsPerBatch => "graphql-documents",
        AttackClass::GqlIntrospection => "graphql-introspection",
        _ => "graphql-debug",
    }
}
