//! Which points of a request a directive is about.

use crate::arena::{Arena, NodeId, ROOT, Span, Step};
use crate::decode::percent::{self, Plus};
use crate::directives::fields;
use crate::directives::scope::Scope;
use crate::directives::spelling::{Spelling, taken};

/// A part of a request that a [`Selector`] starts at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The path; a step is the number of a segment.
    Path,
    /// The query; a step is a parameter.
    Query,
    /// The headers; the first step is a name.
    Header,
    /// The cookies; a step is a name.
    Cookie,
    /// The body; the first step is a field, or `json` or `xml`.
    Body,
    /// Path and query together. Without steps.
    Uri,
    /// The last path segment up to its first dot. Without steps.
    ActionName,
    /// The last path segment behind its last dot. Without steps.
    ActionExt,
    /// The method. Without steps.
    Method,
}

impl Part {
    /// Whether the same bytes of a request can be in both.
    pub(crate) const fn overlaps(self, other: Self) -> bool {
        const fn is_in_target(part: Part) -> bool {
            matches!(part, Part::Path | Part::Query | Part::Uri | Part::ActionName | Part::ActionExt)
        }
        self as u8 == other as u8 || (is_in_target(self) && is_in_target(other))
    }

    /// The name in points.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
            Self::Body => "body",
            Self::Uri => "uri",
            Self::ActionName => "action_name",
            Self::ActionExt => "action_ext",
            Self::Method => "method",
        }
    }
}

/// A point and all that is parsed or decoded out of it, whatever the decoders are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    part: Part,
    picks: Box<[Pick]>,
}

/// One step down from a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pick {
    Any,
    Name {
        text: Box<[u8]>,
        /// What it is without percent-encoding, which points in events have for bytes that can't be shown.
        decoded: Option<Box<[u8]>>,
        /// The text as the number of an element or segment.
        index: Option<u32>,
    },
}

impl Pick {
    pub(super) fn of(step: Option<&str>) -> Self {
        let Some(text) = step else { return Self::Any };
        let decoded = text.contains('%').then(|| {
            let mut decoded = Vec::new();
            percent::decode(text.as_bytes(), Plus::Literal, &mut decoded);
            decoded.into()
        });
        Self::Name { text: text.as_bytes().into(), decoded, index: text.parse().ok() }
    }
}

/// How a point stands to a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relation {
    /// Neither of what follows.
    Apart,
    /// The selected point may be below it.
    Above,
    /// It is the selected point or below it.
    Inside,
}

/// How much is taken for a selected name, where servers read names differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// What every server takes for it: something is not looked at.
    Sure,
    /// What any server takes for it: something is looked for.
    Possible,
}

/// The most steps of a selector; more can't be compared.
const STEPS_MAX: usize = 40;

impl Selector {
    /// A selector from its steps; `None` is any step. Names of headers count in any case.
    #[must_use]
    pub fn new<'a>(part: Part, steps: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        Self { part, picks: steps.into_iter().take(STEPS_MAX).map(Pick::of).collect() }
    }

    /// The part of the request that it starts at.
    #[must_use]
    pub const fn part(&self) -> Part {
        self.part
    }

    /// Whether all of the part is selected.
    #[must_use]
    pub fn is_whole_part(&self) -> bool {
        self.picks.is_empty()
    }

    /// Whether what it selects can lie in the body.
    #[must_use]
    pub const fn looks_at_body(&self) -> bool {
        matches!(self.part, Part::Body)
    }

    /// Whether it tells segments of the path apart by their numbers.
    #[must_use]
    pub fn counts_segments(&self) -> bool {
        match self.part {
            Part::Path => matches!(&*self.picks, [Pick::Name { .. }, ..]),
            Part::ActionName | Part::ActionExt => true,
            _ => false,
        }
    }

    /// Whether it selects the header with this name, as any server reads that.
    #[must_use]
    pub fn selects_header(&self, name: &[u8]) -> bool {
        let named = |pick: &Pick| match pick {
            Pick::Any => true,
            Pick::Name { text, .. } => Spelling::AnyHeader.same(name, text),
        };
        match self.part {
            Part::Header => self.picks.len() < 2 && self.picks.iter().all(named),
            Part::Cookie => self.picks.is_empty() && name.eq_ignore_ascii_case(b"cookie"),
            _ => false,
        }
    }

    /// Whether it selects the segment with this number of a path that has `count` of them.
    #[must_use]
    pub fn selects_segment(&self, number: u32, count: u32) -> bool {
        match (self.part, &*self.picks) {
            (Part::Uri, _) | (Part::Path, [] | [Pick::Any]) => true,
            (Part::ActionName | Part::ActionExt, _) => number + 1 == count,
            (Part::Path, [Pick::Name { index: Some(index), .. }]) => *index == number,
            _ => false,
        }
    }

    /// How specific it is: more steps, and steps with a name, are more.
    pub(crate) fn weight(&self) -> usize {
        let named = self.picks.iter().filter(|pick| matches!(pick, Pick::Name { .. })).count();
        self.picks.len() * 64 + named
    }

    /// How a point stands to what is selected.
    pub(crate) fn relation(&self, node: NodeId, arena: &Arena, scope: &Scope<'_>, names: Names) -> Relation {
        let relation = self.relation_as(node, arena, scope, names, None);
        let others =
            arena.other_names(node).map(|name| self.relation_as(node, arena, scope, names, Some(name)));
        match names {
            Names::Sure => others.fold(relation, Relation::min),
            Names::Possible => others.fold(relation, Relation::max),
        }
    }

    /// The same, where a point at or above `node` is called something else.
    fn relation_as(
        &self,
        node: NodeId,
        arena: &Arena,
        scope: &Scope<'_>,
        names: Names,
        called: Option<(NodeId, Span)>,
    ) -> Relation {
        // The steps nearest to the top are what counts; they are visited last.
        let mut ring = [Step::Part(""); STEPS_MAX + 2];
        let mut visited = 0;
        // How many steps lie below the highest point whose inside servers may read differently.
        let mut unsure_steps = None;
        let mut current = node;
        while current != ROOT {
            if names == Names::Sure && arena.is_disputed(current) {
                unsure_steps = Some(visited);
            }
            let (parent, mut step) = arena.parent_and_step(current);
            if let Some((_, name)) = called.filter(|(renamed, _)| *renamed == current) {
                step = Step::Name(name);
            }
            if !matches!(step, Step::Decoder(_)) {
                ring[visited % ring.len()] = step;
                visited += 1;
            }
            current = parent;
        }
        let kept = visited.min(ring.len());
        let mut steps = (0..kept).map(|back| ring[(visited - 1 - back) % ring.len()]);
        let Some(first) = steps.next() else { return Relation::Above };
        let Some(mut picks) = self.below_top(first, scope, names) else { return Relation::Apart };
        if matches!(self.part, Part::ActionName | Part::ActionExt) {
            return self.of_last_segment(node, arena, scope);
        }
        let mut is_list = matches!(first, Step::Part("query" | "cookie" | "body"));
        let mut is_document = false;
        for (above, step) in steps.enumerate() {
            if picks.is_empty() {
                return Relation::Inside;
            }
            // The top and the steps above this one are `above + 1` of `visited`.
            if unsure_steps.is_some_and(|below| visited - (above + 1) <= below) {
                return Relation::Apart;
            }
            let is_field = std::mem::replace(&mut is_list, step == Step::Part("query"));
            let is_top = std::mem::replace(&mut is_document, step == Step::Part("json"));
            let taken = match step {
                Step::Name(span) if is_field => fields::taken_of_field(arena.slice(span), picks, names),
                Step::Part(text) | Step::Decoder(text) => taken(text.as_bytes(), picks, Spelling::Exact),
                Step::Name(span) => match names {
                    Names::Sure => taken(arena.slice(span), picks, Spelling::Exact),
                    Names::Possible => taken(fields::up_to_nul(arena.slice(span)), picks, Spelling::AnyCase),
                },
                Step::Index(number) => match &picks[0] {
                    Pick::Any => 1,
                    Pick::Name { index, .. } if *index == Some(number) => 1,
                    // A list of documents: each may be the one.
                    Pick::Name { .. } if is_top && names == Names::Possible => {
                        is_document = true;
                        continue;
                    }
                    Pick::Name { .. } => 0,
                },
                Step::Header(_) => 0,
            };
            if taken == 0 {
                return Relation::Apart;
            }
            picks = &picks[taken..];
        }
        if picks.is_empty() { Relation::Inside } else { Relation::Above }
    }

    /// What is left to be compared below a top-level point; `None` where the point is another one.
    fn below_top(&self, top: Step, scope: &Scope<'_>, names: Names) -> Option<&[Pick]> {
        let all = Some(&*self.picks);
        match (self.part, top) {
            (Part::Path | Part::Uri | Part::ActionName | Part::ActionExt, Step::Part("path"))
            | (Part::Query | Part::Uri, Step::Part("query"))
            | (Part::Cookie, Step::Part("cookie"))
            | (Part::Body, Step::Part("body")) => all,
            (Part::Cookie, Step::Header(index)) => {
                all.filter(|_| scope.header_name(index).eq_ignore_ascii_case(b"cookie"))
            }
            (Part::Header, Step::Header(index)) => match self.picks.split_first() {
                None => all,
                Some((Pick::Any, rest)) => Some(rest),
                // `header.x.y` may be the header `x.y`.
                Some((Pick::Name { .. }, _)) => {
                    let spelling = match names {
                        Names::Sure => Spelling::AnyCase,
                        Names::Possible => Spelling::AnyHeader,
                    };
                    let taken = taken(scope.header_name(index), &self.picks, spelling);
                    (taken > 0).then(|| &self.picks[taken..])
                }
            },
            _ => None,
        }
    }

    fn of_last_segment(&self, node: NodeId, arena: &Arena, scope: &Scope<'_>) -> Relation {
        // Right below the path are its segments; a segment may hold lists with numbers of their own.
        let (mut current, mut below) = (node, None);
        loop {
            match (arena.parent_and_step(current), below) {
                ((ROOT, _), Some(Step::Index(number))) if number + 1 == scope.segment_count() => {
                    return Relation::Inside;
                }
                ((ROOT, _), Some(Step::Index(_))) => return Relation::Apart,
                ((ROOT, _), _) => return Relation::Above,
                ((parent, step), _) => (current, below) = (parent, Some(step)),
            }
        }
    }
}
