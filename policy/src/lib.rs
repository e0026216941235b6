//! Filtering modes, contexts, rules and address lists, compiled into flat tables.
//!
//! [`compile`] turns a [`PolicySource`] into a [`Policy`]. For each request a worker asks [`Policy::resolve`] for the
//! server, the location, the effective mode and the list that the client is on, and, when inspection is done,
//! [`Policy::verdict`] for what happens. [`Policy::explain`] tells how an answer came about.
//!
//! The crate knows no socket, no file and no clock.

mod attributes;
mod bytes;
mod compile;
mod error;
mod explain;
mod hosts;
mod kinds;
mod list_matches;
mod list_remarks;
mod lists;
mod locations;
mod memory;
mod mode;
mod names;
mod path;
mod point;
mod policy;
mod readings;
mod regex;
mod rules;
mod selector;
mod source;
mod verdict;
mod written;

pub use attributes::{AttributeName, Attributes, Client, PROXY_KINDS_MAX};
pub use compile::{Compiled, compile};
pub use error::{CompileError, Place, Warning};
pub use explain::{
    ContextSettings, Explanation, GeneralMode, HeaderMatch, LocationModes, RuleMatch, ServerBy, Sourced,
};
pub use kinds::{AttackType, HeaderAction, OverTimeAction, Parser, RuleKind, RuleType, UploadAction};
pub use list_matches::{CoveringEntry, LIST_ENTRIES_SHOWN_MAX, ListMatch};
pub use memory::Memory;
pub use mode::{Mode, Override, RuleMode, UnknownMode};
pub use point::{Condition, Point, Test};
pub use policy::{
    EffectIndex, Effects, LocationIndex, ModeSource, Policy, RequestFacts, Resolution, Scratch, ServerIndex,
    Stage,
};
pub use readings::{Placed, READINGS_MAX};
pub use regex::{Refusal as RegexRefusal, Scope as RegexScope, TranslatedRegex, translate_regex};
pub use selector::{POINT_SELECTOR_FORMS, Part, PointSelector, Step, WrittenPoint};
pub use source::{
    Attribute, AttributeEntry, ContextSource, List, ListEntry, LocationSource, MatchKind, ModeByHeader,
    PolicySource, RuleSource, ServerSource,
};
pub use verdict::{Finding, Reason, Verdict};
