//! Detectors, patches for the presence of a point, and measures: looked for in the values once all are known.

use std::mem::discriminant;
use std::ops::{ControlFlow, Range};

use crate::arena::{Arena, NodeId, Value};
use crate::decode::percent::{self, Plus};
use crate::directives::mask::Evidence;
use crate::directives::{Directive, Directives, Effect, HitKind, Masks, Part, Relation, RuleHit, Scope};
use crate::limits::OverLimit;
use crate::place::Place;
use crate::request::RequestView;
use weir_hyperscan::{Database, Scratch};

/// The most hits of all directives in one request.
pub(crate) const HITS_MAX: usize = 64;

/// The most hits of one directive in one request: more of the same say nothing new.
const HITS_PER_DIRECTIVE_MAX: usize = 4;

/// How many values are looked at between two looks at the time.
const VALUES_PER_LOOK: usize = 64;

/// Working memory of detectors. Reused.
#[derive(Debug, Default)]
pub(crate) struct Detectors {
    scratch: Option<Scratch>,
    /// Which directives hold, one bit each.
    active: Vec<u64>,
    /// Directives whose expression matched in the value at hand, and where the match ended.
    matched: Vec<(u32, usize)>,
    whole: WholeParts,
    /// A form of the path, or a segment of it, decoded.
    decoded: Vec<u8>,
}

/// Bytes that a detector looks at.
#[derive(Debug, Clone, Copy)]
enum Candidate<'a> {
    /// A value of the arena.
    Value(Value),
    /// A part of the request as it came.
    Part(Part, &'a [u8]),
    /// A segment of the path as an origin may divide it.
    Segment(&'a [u8]),
}

/// What the steps of one request share.
pub(crate) struct Look<'a> {
    pub(crate) scope: &'a Scope<'a>,
    pub(crate) masks: &'a mut Masks,
    pub(crate) hits: &'a mut Vec<RuleHit>,
}

impl Look<'_> {
    /// Whether there is room for another hit of this directive. There always is for the first that decides about the
    /// request, so that no number of others hides it.
    pub(crate) fn has_room(&self, directive: u32, what: HitKind) -> bool {
        let decides = matches!(what, HitKind::Patched | HitKind::Detected | HitKind::Oversized(_));
        if decides && !self.hits.iter().any(|hit| discriminant(&hit.what) == discriminant(&what)) {
            return true;
        }
        let of_this = self.hits.iter().filter(|hit| hit.directive == directive).count();
        self.hits.len() < HITS_MAX && of_this < HITS_PER_DIRECTIVE_MAX
    }

    /// Reports what a directive did, and in a trace, that evidence was masked.
    pub(crate) fn report(&mut self, hit: RuleHit, masked_by: Option<u32>) {
        let point = if self.scope.traces() { hit.point.clone() } else { String::new() };
        self.hits.push(hit);
        self.note_mask(masked_by, point);
    }

    /// Notes in a trace that evidence was masked.
    pub(crate) fn note_mask(&mut self, masked_by: Option<u32>, point: String) {
        let Some(mask) = masked_by.filter(|_| self.scope.traces()) else { return };
        let Some((_, directive)) = self.scope.active().find(|(index, _)| *index == mask) else { return };
        let known = self.hits.iter().any(|hit| hit.directive == mask && hit.point == point);
        if !known && self.has_room(mask, HitKind::Masked) {
            self.hits.push(hit(mask, directive, HitKind::Masked, point, b"*".to_vec()));
        }
    }

    fn evidence(&mut self, arena: &Arena, candidate: &Candidate<'_>, end: usize) -> Evidence {
        match candidate {
            Candidate::Value(value) => self.masks.evidence(self.scope, arena, value, (end, end)),
            Candidate::Part(_, bytes) | Candidate::Segment(bytes) => {
                Masks::evidence_of_part(self.scope, bytes, (end, end))
            }
        }
    }

    fn point(&self, arena: &Arena, candidate: &Candidate<'_>) -> String {
        match candidate {
            Candidate::Value(value) => arena.label(value.node, self.scope.request().headers),
            Candidate::Part(part, _) => part.as_str().to_owned(),
            Candidate::Segment(_) => Part::Path.as_str().to_owned(),
        }
    }
}

pub(crate) fn hit(
    index: u32,
    directive: &Directive,
    what: HitKind,
    point: String,
    payload: Vec<u8>,
) -> RuleHit {
    RuleHit {
        directive: index,
        name: directive.name.clone(),
        what,
        class: None,
        point,
        payload,
        signature: None,
    }
}

impl Detectors {
    /// Looks for what the directives of the request ask for.
    pub(crate) fn run(
        &mut self,
        look: &mut Look<'_>,
        arena: &mut Arena,
        time_is_up: &mut dyn FnMut() -> bool,
    ) {
        let mut whole = std::mem::take(&mut self.whole);
        whole.fill(look.scope.request());
        let parts = whole.list(look.scope.request());
        presence(look, &parts, arena);
        measures(look, arena);
        self.detect(look, &parts, arena, time_is_up);
        self.whole = whole;
    }

    fn detect(
        &mut self,
        look: &mut Look<'_>,
        parts: &[Option<(Part, &[u8])>],
        arena: &mut Arena,
        time_is_up: &mut dyn FnMut() -> bool,
    ) {
        let Some(directives) = look.scope.applied().map(|applied| applied.directives) else { return };
        let Some(database) = &directives.expressions else { return };
        if !self.take_active(look.scope, directives) {
            return;
        }
        for index in 0..arena.values().len() {
            if index % VALUES_PER_LOOK == 0 && time_is_up() {
                return arena.hit_limit(OverLimit::Time);
            }
            let value = arena.values()[index];
            self.look_at(look, directives, database, Candidate::Value(value), arena);
        }
        for (part, bytes) in parts.iter().flatten() {
            self.look_at(look, directives, database, Candidate::Part(*part, bytes), arena);
        }
        let mut decoded = std::mem::take(&mut self.decoded);
        self.detect_in_readings(look, directives, database, &mut decoded, arena, time_is_up);
        self.decoded = decoded;
    }

    /// Looks at the forms in which an oddly written path may reach the origin's code: each as a target, and their segments.
    /// A segment is passed over where the form before has it too.
    fn detect_in_readings(
        &mut self,
        look: &mut Look<'_>,
        directives: &Directives,
        database: &Database,
        decoded: &mut Vec<u8>,
        arena: &mut Arena,
        time_is_up: &mut dyn FnMut() -> bool,
    ) {
        let readings = look.scope.applied().map_or(&[][..], |applied| applied.path_readings);
        let is_of_path = |part| matches!(part, Part::Path | Part::Uri | Part::ActionName | Part::ActionExt);
        if readings.is_empty()
            || !look.scope.active().any(|(_, directive)| is_of_path(directive.selector.part()))
        {
            return;
        }
        let mut previous: &[u8] = &[];
        for reading in readings {
            let query = look.scope.request().query;
            write_decoded_target(reading, None, decoded);
            if let Some(query) = query {
                decoded.push(b'?');
                decoded.extend_from_slice(query);
            }
            self.look_at(look, directives, database, Candidate::Part(Part::Uri, decoded), arena);
            if query.is_some_and(|query| memchr::memchr2(b'%', b'+', query).is_some()) {
                write_decoded_target(reading, query, decoded);
                self.look_at(look, directives, database, Candidate::Part(Part::Uri, decoded), arena);
            }
            let differing = differing_segments(reading, previous);
            previous = reading;
            let reaches_end = differing.end == reading.len();
            let mut segments = reading[differing].split(|byte| *byte == b'/').skip(1).enumerate().peekable();
            while let Some((index, segment)) = segments.next() {
                if index % VALUES_PER_LOOK == 0 && time_is_up() {
                    return arena.hit_limit(OverLimit::Time);
                }
                decoded.clear();
                percent::decode(segment, Plus::Literal, decoded);
                self.look_at(look, directives, database, Candidate::Segment(decoded), arena);
                if reaches_end && segments.peek().is_none() {
                    for (part, bytes) in parts_of_last_segment(decoded).into_iter().flatten() {
                        self.look_at(look, directives, database, Candidate::Part(part, bytes), arena);
                    }
                }
            }
        }
    }

    /// Notes which detectors hold, and says whether any does.
    fn take_active(&mut self, scope: &Scope<'_>, directives: &Directives) -> bool {
        self.active.clear();
        self.active.resize(directives.count().div_ceil(64), 0);
        let mut any = false;
        for (index, directive) in scope.active() {
            if matches!(directive.effect, Effect::Detector { .. }) {
                self.active[index as usize / 64] |= 1 << (index % 64);
                any = true;
            }
        }
        any
    }

    fn is_active(&self, index: u32) -> bool {
        self.active[index as usize / 64] & 1 << (index % 64) != 0
    }

    fn look_at(
        &mut self,
        look: &mut Look<'_>,
        directives: &Directives,
        database: &Database,
        candidate: Candidate<'_>,
        arena: &mut Arena,
    ) {
        let scope = look.scope;
        let selects = |directive: &Directive| match &candidate {
            Candidate::Value(value) => {
                // These are read from the last segment, which would say more than they do.
                (scope.has_unsure_segments()
                    || !matches!(directive.selector.part(), Part::ActionName | Part::ActionExt))
                    && scope.relation_of_value(directive, value, arena) == Relation::Inside
            }
            Candidate::Part(part, _) => {
                directive.selector.part() == *part && directive.selector.is_whole_part()
            }
            Candidate::Segment(_) => directive.selector.part() == Part::Path,
        };
        let wanted =
            |directive: &Directive| matches!(directive.effect, Effect::Detector { .. }) && selects(directive);
        if !scope.active().any(|(_, directive)| wanted(directive)) {
            return;
        }
        let bytes = match &candidate {
            Candidate::Value(value) => arena.slice(value.span),
            Candidate::Part(_, bytes) | Candidate::Segment(bytes) => bytes,
        };
        self.matched.clear();
        if bytes.is_empty() {
            return;
        }
        if self.scan(database, directives, bytes).is_err() {
            return arena.hit_limit(OverLimit::Memory);
        }
        let matched = std::mem::take(&mut self.matched);
        for &(index, end) in &matched {
            let Some(directive) = directives.list.get(index as usize) else { continue };
            if self.is_active(index) && selects(directive) {
                detected(look, arena, &candidate, (index, directive), end);
            }
        }
        self.matched = matched;
    }

    fn scan(
        &mut self,
        database: &Database,
        directives: &Directives,
        bytes: &[u8],
    ) -> Result<(), weir_hyperscan::HyperscanError> {
        let scratch = match &mut self.scratch {
            Some(scratch) => scratch,
            none => none.insert(Scratch::new(database)?),
        };
        let matched = &mut self.matched;
        scratch.scan(database, bytes, &mut |expression, end| {
            if let Some(index) = directives.detectors.get(expression as usize)
                && !matched.iter().any(|(known, _)| known == index)
            {
                matched.push((*index, end));
            }
            ControlFlow::Continue(())
        })
    }
}

/// A detector's expression matched: reports it, unless it is ignored at this point.
fn detected(
    look: &mut Look<'_>,
    arena: &Arena,
    candidate: &Candidate<'_>,
    (index, directive): (u32, &Directive),
    end: usize,
) {
    let node = match candidate {
        Candidate::Value(value) => Some(value.node),
        Candidate::Part(..) | Candidate::Segment(_) => None,
    };
    let ignored_by = match candidate {
        Candidate::Value(_) => look.scope.ignores(index, node, arena),
        // What is read as a whole holds the value that doesn't count.
        Candidate::Part(part, _) => look
            .scope
            .active()
            .find(|(_, directive)| {
                directive.effect == Effect::IgnoreDetector(index) && part.overlaps(directive.selector.part())
            })
            .map(|(index, _)| index),
        // What is said of a segment by its number holds for none of those that servers number differently.
        Candidate::Segment(_) => look
            .scope
            .active()
            .find(|(_, directive)| {
                directive.effect == Effect::IgnoreDetector(index)
                    && Part::Path.overlaps(directive.selector.part())
                    && !directive.selector.counts_segments()
            })
            .map(|(index, _)| index),
    };
    let Effect::Detector { class, experimental } = directive.effect else { return };
    let point = look.point(arena, candidate);
    if let Some(ignoring) = ignored_by {
        if look.scope.traces()
            && node.is_some()
            && look.has_room(ignoring, HitKind::Dropped)
            && let Some((_, by)) = look.scope.active().find(|(index, _)| *index == ignoring)
        {
            let signature = Some(directive.name.clone());
            look.hits.push(RuleHit {
                class,
                signature,
                ..hit(ignoring, by, HitKind::Dropped, point, Vec::new())
            });
        }
        return;
    }
    let what = match (experimental, class) {
        (true, _) => HitKind::Experimental,
        (false, None) => HitKind::Patched,
        (false, Some(_)) => HitKind::Detected,
    };
    if !look.has_room(index, what) {
        return;
    }
    let evidence = look.evidence(arena, candidate, end);
    let found = RuleHit { class, ..hit(index, directive, what, point, evidence.payload) };
    look.report(found, evidence.masked_by);
}

/// Parts of the request that are no values of their own.
#[derive(Debug, Default)]
struct WholeParts {
    /// Path and query as they came.
    target: Vec<u8>,
    /// Both decoded.
    decoded_target: Vec<u8>,
    /// The last segment of the path, decoded.
    last_segment: Vec<u8>,
}

impl WholeParts {
    fn fill(&mut self, request: &RequestView<'_>) {
        self.target.clear();
        self.target.extend_from_slice(request.path);
        if let Some(query) = request.query {
            self.target.push(b'?');
            self.target.extend_from_slice(query);
        }
        write_decoded_target(request.path, request.query, &mut self.decoded_target);
        let last = request.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        self.last_segment.clear();
        percent::decode(last, Plus::Literal, &mut self.last_segment);
    }

    fn list<'a>(&'a self, request: &RequestView<'a>) -> [Option<(Part, &'a [u8])>; 7] {
        let [name, extension] = parts_of_last_segment(&self.last_segment);
        [
            Some((Part::Method, request.method)),
            Some((Part::Uri, &self.target)),
            (self.decoded_target != self.target).then_some((Part::Uri, &*self.decoded_target)),
            name,
            extension,
            request.query.map(|query| (Part::Query, query)),
            Some((Part::Body, request.body)),
        ]
    }
}

/// Writes a path, and a query if there is one, decoded.
fn write_decoded_target(path: &[u8], query: Option<&[u8]>, out: &mut Vec<u8>) {
    out.clear();
    percent::decode(path, Plus::Literal, out);
    if let Some(query) = query {
        out.push(b'?');
        percent::decode(query, Plus::Space, out);
    }
}

/// The last segment of a path up to its first dot, and what is behind its last.
fn parts_of_last_segment(last: &[u8]) -> [Option<(Part, &[u8])>; 2] {
    let name_end = memchr::memchr(b'.', last).unwrap_or(last.len());
    let extension = memchr::memrchr(b'.', last).map(|position| (Part::ActionExt, &last[position + 1..]));
    [Some((Part::ActionName, &last[..name_end])), extension]
}

/// Where the segments of a path are, each with the slash before it, that aren't the first or last ones of another path
/// as well.
fn differing_segments(path: &[u8], other: &[u8]) -> Range<usize> {
    let same = path.iter().zip(other).take_while(|(one, other)| one == other).count();
    let start = path[..same].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let behind = path[start..].iter().rev().zip(other.get(start..).unwrap_or_default().iter().rev());
    let same = behind.take_while(|(one, other)| one == other).count();
    let tail = path.len() - same;
    let end = path[tail..].iter().position(|byte| *byte == b'/').map_or(path.len(), |slash| tail + slash);
    start..end.max(start)
}

/// Patches that ask only whether their point is there.
fn presence(look: &mut Look<'_>, parts: &[Option<(Part, &[u8])>], arena: &Arena) {
    for (index, directive) in look.scope.active() {
        if directive.effect != Effect::Patch(None) || !look.has_room(index, HitKind::Patched) {
            continue;
        }
        let Some(candidate) = present(look.scope, directive, parts, arena) else { continue };
        let point = match &candidate {
            Ok(node) => arena.label(*node, look.scope.request().headers),
            Err(part) => part.as_str().to_owned(),
        };
        let value = candidate.ok().and_then(|node| {
            arena.values().iter().find(|value| value.node == node && value.place != Place::Name)
        });
        let evidence = match value {
            Some(value) => look.masks.evidence(look.scope, arena, value, (0, value.span.len())),
            None => Evidence { payload: Vec::new(), masked_by: None },
        };
        let found = hit(index, directive, HitKind::Patched, point, evidence.payload);
        look.report(found, evidence.masked_by);
    }
}

/// The first point that a directive selects, if it is there: a node, or a part that is none.
fn present(
    scope: &Scope<'_>,
    directive: &Directive,
    parts: &[Option<(Part, &[u8])>],
    arena: &Arena,
) -> Option<Result<NodeId, Part>> {
    let selector = &directive.selector;
    if scope.has_unsure_segments() || !matches!(selector.part(), Part::ActionName | Part::ActionExt) {
        let mut nodes = arena.nodes();
        let node = nodes.find(|node| scope.relation(directive, *node, arena) == Relation::Inside);
        if let Some(node) = node {
            return Some(Ok(node));
        }
    }
    let mut parts = parts.iter().flatten();
    let is_there = |(part, bytes): &&(Part, &[u8])| {
        *part == selector.part() && selector.is_whole_part() && !bytes.is_empty()
    };
    parts.find(is_there).map(|(part, _)| Err(*part))
}

/// Values that are larger than they may be.
fn measures(look: &mut Look<'_>, arena: &Arena) {
    for (index, directive) in look.scope.active() {
        let Effect::Measure(limit) = directive.effect else { continue };
        let largest = arena
            .values()
            .iter()
            .enumerate()
            .filter(|(_, value)| {
                value.place != Place::Name
                    && !arena.is_decoded(value.node)
                    && look.scope.relation(directive, value.node, arena) == Relation::Inside
            })
            .map(|(number, value)| (size(look.scope, arena, number), value))
            .max_by_key(|(size, _)| *size);
        if let Some((size, value)) = largest.filter(|(size, _)| *size > limit)
            && look.has_room(index, HitKind::Oversized(size))
        {
            let point = arena.label(value.node, look.scope.request().headers);
            look.hits.push(hit(index, directive, HitKind::Oversized(size), point, Vec::new()));
        }
    }
}

/// How large the value with this index is. One that the end of the inspected part cuts off goes on with what follows that.
fn size(scope: &Scope<'_>, arena: &Arena, number: usize) -> u64 {
    let unseen = scope.applied().map_or(0, |applied| applied.unseen_body_bytes);
    arena.values()[number].span.len() as u64 + if arena.is_open(number) { unseen } else { 0 }
}
