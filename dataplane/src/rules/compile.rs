//! Makes a [`RuleSet`] from the rules of a policy.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use weir_inspect::{AttackClass, DirectiveAction, DirectiveSource, Directives, Engine, Parser, Selector};
use weir_policy::{
    AttackType, HeaderAction, OverTimeAction, Part, PointSelector, Policy, RuleKind, RuleSource, Step,
    UploadAction, translate_regex,
};

use super::{Enforcement, PathKey, Rate, RateKey, RateRule, RateTable, Rule, RuleSet, UploadRule};
use crate::config::OverLimit;
use crate::http::{EditAction, HeaderEdit};

/// Something about a rule that the policy's compiler can't see.
#[derive(Debug)]
pub struct RuleError {
    /// The rule's id.
    pub rule: u64,
    /// The key that it is about.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {}: {}; {}", self.rule, self.key, self.message, self.advice)
    }
}

/// What the compilation of rules knows beside them.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Inspected bytes of one body.
    pub body_limit_bytes: u64,
    /// Memory for the buckets of rate limits.
    pub rate_limit_memory_bytes: usize,
}

/// Compiles the rules of `policy` beyond modes. Also returns what is odd about them.
///
/// # Errors
/// Every rule that can't do what it says.
pub fn compile(
    policy: &Policy,
    engine: &Engine,
    surroundings: Surroundings,
) -> Result<(RuleSet, Vec<RuleError>), Vec<RuleError>> {
    let sources: Vec<&RuleSource> = policy.effect_rules().collect();
    let mut compiler = Compiler::new(&sources, Some(engine), surroundings);
    for source in &sources {
        compiler.add(source);
    }
    compiler.finish(engine)
}

/// What is wrong with rules that no policy comes of, beside what the policy's compiler says, so that all is told at once.
pub fn faults(rules: &[RuleSource], surroundings: Surroundings) -> Vec<RuleError> {
    let sources: Vec<&RuleSource> =
        rules.iter().filter(|rule| !matches!(rule.kind, RuleKind::Mode(_))).collect();
    let mut compiler = Compiler::new(&sources, None, surroundings);
    for source in &sources {
        compiler.add(source);
    }
    compiler.errors
}

struct Compiler<'a> {
    /// None where nothing is asked but what is wrong.
    engine: Option<&'a Engine>,
    surroundings: Surroundings,
    /// Directive numbers of detectors, by the ids of their rules.
    detectors: HashMap<u64, usize>,
    rules: Vec<Rule>,
    directives: Vec<DirectiveSource>,
    directive_rules: Vec<u32>,
    header_edits: Vec<HeaderEdit>,
    errors: Vec<RuleError>,
    warnings: Vec<RuleError>,
}

/// A rule's part in inspection.
type Directive = Option<(PointSelector, DirectiveAction)>;

impl<'a> Compiler<'a> {
    fn new(sources: &[&RuleSource], engine: Option<&'a Engine>, surroundings: Surroundings) -> Self {
        let with_directive = sources.iter().filter(|source| has_directive(&source.kind));
        let detectors = with_directive
            .enumerate()
            .filter(|(_, source)| matches!(source.kind, RuleKind::Regex { .. }))
            .map(|(number, source)| (source.id, number))
            .collect();
        Self {
            engine,
            surroundings,
            detectors,
            rules: Vec::new(),
            directives: Vec::new(),
            directive_rules: Vec::new(),
            header_edits: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn add(&mut self, source: &RuleSource) {
        let number = count(self.rules.len());
        let (directive, enforcement) = self.parts(source);
        let directive = directive.map(|(point, action)| {
            let selector = self.selector(source, &point);
            self.directives.push(DirectiveSource { name: format!("rule-{}", source.id), selector, action });
            self.directive_rules.push(number);
            count(self.directives.len() - 1)
        });
        let type_name = source.kind.type_name();
        self.rules.push(Rule { id: source.id, type_name, directive, enforcement });
    }

    fn parts(&mut self, source: &RuleSource) -> (Directive, Enforcement) {
        let in_body = source.kind.point().is_some_and(|point| point.part == Part::Body);
        match &source.kind {
            // Modes are the policy's own.
            RuleKind::Mode(_) => (None, Enforcement::Inspection),
            RuleKind::VirtualPatch { attack_type, point } => {
                let class = self.class(source, *attack_type);
                (Some((point.clone(), DirectiveAction::Patch(class))), Enforcement::Patch { in_body })
            }
            RuleKind::Regex { regex, attack_type, point, experimental } => {
                let class = attack_class(*attack_type);
                let enforcement = match (class, experimental) {
                    (None, false) => Enforcement::Patch { in_body },
                    _ => Enforcement::Inspection,
                };
                // (what can't be translated was refused by the policy's compiler)
                let expression = translate_regex(regex).ok().and_then(|translated| translated.expression);
                let action = DirectiveAction::Detector { expression, class, experimental: *experimental };
                (Some((point.clone(), action)), enforcement)
            }
            RuleKind::IgnoreRegex { rule, point } => {
                // The policy's compiler has checked that there is such a rule.
                let detector = self.detectors.get(rule).copied().unwrap_or(usize::MAX);
                (Some((point.clone(), DirectiveAction::IgnoreDetector(detector))), Enforcement::Inspection)
            }
            RuleKind::DisableAttackType { attack_type, point } => {
                let class = self.class(source, *attack_type);
                (Some((point.clone(), DirectiveAction::DropClass(class))), Enforcement::Inspection)
            }
            RuleKind::DisableSignature { signature, point } => {
                if self.engine.is_some_and(|engine| !engine.has_signature(signature)) {
                    let message = format!("there is no signature {signature:?}");
                    let advice = "the rule does nothing; write an id as events have it in `signatures`";
                    self.warnings.push(error(source, "signature", message, advice));
                }
                let action = DirectiveAction::DropSignature(signature.clone());
                (Some((point.clone(), action)), Enforcement::Inspection)
            }
            RuleKind::BinaryData { point } => {
                (Some((point.clone(), DirectiveAction::Binary)), Enforcement::Inspection)
            }
            RuleKind::ParserState { parser, enabled, point } => match known_parser(*parser) {
                Some(parser) => {
                    let action = DirectiveAction::Parser { parser, enabled: *enabled };
                    (Some((point.clone(), action)), Enforcement::Inspection)
                }
                None => {
                    let message = format!("there is no parser {parser} in this version");
                    self.warnings.push(error(source, "parser", message, "the rule does nothing; remove it"));
                    (None, Enforcement::Inspection)
                }
            },
            RuleKind::Mask { point } => (Some((point.clone(), DirectiveAction::Mask)), Enforcement::Mask),
            RuleKind::ResponseHeader { action, name, values } => {
                self.header_edits.push(header_edit(*action, name, values));
                (None, Enforcement::Header(count(self.header_edits.len() - 1)))
            }
            RuleKind::OverTimeLimit { time_limit, action } => {
                let then = match action {
                    OverTimeAction::Pass => OverLimit::Pass,
                    OverTimeAction::Block => OverLimit::Block,
                };
                (None, Enforcement::OverTime(*time_limit, then))
            }
            RuleKind::RateLimit { rate, per, burst, delay, status, point } => {
                let key = self.rate_key(source, point.as_ref());
                let mut identity = DefaultHasher::new();
                (source.id, point, rate, per, burst).hash(&mut identity);
                let rate = Rate::new(*rate, *per, *burst, *delay);
                let buckets = identity.finish();
                (None, Enforcement::Rate(RateRule { rate, status: *status, key, buckets }))
            }
            RuleKind::UploadSize { limit, action, point } => {
                self.upload(source, *limit, *action, point.as_ref())
            }
        }
    }

    fn upload(
        &mut self,
        source: &RuleSource,
        limit: u64,
        action: UploadAction,
        point: Option<&PointSelector>,
    ) -> (Directive, Enforcement) {
        // The body as such is counted as it comes in; what is inside it is measured by inspection.
        let point = point.filter(|point| **point != PointSelector { part: Part::Body, steps: Vec::new() });
        let whole_body = point.is_none();
        let inspected = self.surroundings.body_limit_bytes;
        if !whole_body && limit > inspected {
            let message =
                format!("{limit} bytes are more than the {inspected} bytes of a body that are inspected");
            let advice = "raise detection.body_limit, or leave out `point` to limit the whole body";
            self.errors.push(error(source, "limit", message, advice));
        }
        let directive = match action {
            UploadAction::Off => None,
            _ => point.map(|point| (point.clone(), DirectiveAction::Measure(limit))),
        };
        (directive, Enforcement::Upload(UploadRule { limit, action, whole_body }))
    }

    fn rate_key(&mut self, source: &RuleSource, point: Option<&PointSelector>) -> RateKey {
        let Some(point) = point else { return RateKey::RemoteAddr };
        match point.part {
            Part::RemoteAddr => RateKey::RemoteAddr,
            Part::Instance => RateKey::Instance,
            Part::Method => RateKey::Method,
            Part::Scheme => RateKey::Scheme,
            Part::Proto => RateKey::Proto,
            _ => match PathKey::of(point) {
                Some(key) => RateKey::Path(key),
                None => RateKey::Value(self.selector(source, point)),
            },
        }
    }

    /// The selector of a point that something is looked for in.
    fn selector(&mut self, source: &RuleSource, point: &PointSelector) -> Selector {
        let part = match point.part {
            Part::Path => weir_inspect::Part::Path,
            Part::Query => weir_inspect::Part::Query,
            Part::Header => weir_inspect::Part::Header,
            Part::Cookie => weir_inspect::Part::Cookie,
            Part::Body => weir_inspect::Part::Body,
            Part::Uri => weir_inspect::Part::Uri,
            Part::ActionName => weir_inspect::Part::ActionName,
            Part::ActionExt => weir_inspect::Part::ActionExt,
            Part::Method => weir_inspect::Part::Method,
            // (told by the policy's compiler)
            Part::RemoteAddr => weir_inspect::Part::Method,
            Part::Scheme | Part::Proto | Part::Instance => {
                let message = format!("nothing is looked for in `{point}`");
                let advice = "name a part of the request; conditions (`when`) can ask for this one";
                self.errors.push(error(source, "point", message, advice));
                weir_inspect::Part::Method
            }
        };
        let steps = point.steps.iter().map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Any => None,
        });
        Selector::new(part, steps)
    }

    /// The class of signatures; none is any.
    fn class(&mut self, source: &RuleSource, attack_type: AttackType) -> Option<AttackClass> {
        let class = attack_class(attack_type);
        if class.is_none() && attack_type != AttackType::Any {
            let message = format!("no signature finds {attack_type} in this version");
            self.errors.push(error(source, "attack_type", message, "write another class, or any"));
        }
        class
    }

    fn finish(mut self, engine: &Engine) -> Result<(RuleSet, Vec<RuleError>), Vec<RuleError>> {
        // Compiled even where other rules are wrong, so that all is told at once.
        let compiled = Directives::compile(&self.directives, engine);
        for fault in compiled.as_ref().err().into_iter().flatten() {
            let rule = self.directive_rules.get(fault.index).copied().unwrap_or(0);
            let rule = self.rules.get(rule as usize).map_or(0, |rule| rule.id);
            let advice = "write a smaller or simpler regex".to_owned();
            self.errors.push(RuleError { rule, key: "regex", message: fault.message.clone(), advice });
        }
        let Some(directives) = compiled.ok().filter(|_| self.errors.is_empty()) else {
            return Err(self.errors);
        };
        let has_rates = self.rules.iter().any(|rule| matches!(rule.enforcement, Enforcement::Rate(_)));
        let memory = self.surroundings.rate_limit_memory_bytes;
        let rules = RuleSet {
            rules: self.rules.into(),
            directives,
            directive_rules: self.directive_rules.into(),
            header_edits: self.header_edits.into(),
            rates: has_rates.then(|| Arc::new(RateTable::new(memory))),
        };
        Ok((rules, self.warnings))
    }
}

/// Whether rules of this kind have a part in inspection.
fn has_directive(kind: &RuleKind) -> bool {
    match kind {
        RuleKind::Mode(_)
        | RuleKind::ResponseHeader { .. }
        | RuleKind::OverTimeLimit { .. }
        | RuleKind::RateLimit { .. } => false,
        RuleKind::ParserState { parser, .. } => known_parser(*parser).is_some(),
        RuleKind::UploadSize { point, action, .. } => {
            *action != UploadAction::Off
                && point.as_ref().is_some_and(|point| point.part != Part::Body || !point.steps.is_empty())
        }
        _ => true,
    }
}

fn error(source: &RuleSource, key: &'static str, message: String, advice: &str) -> RuleError {
    RuleError { rule: source.id, key, message, advice: advice.to_owned() }
}

/// Numbers of rules fit in 32 bits: files are far smaller.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The class of that name, for those that signatures and detectors have.
fn attack_class(attack_type: AttackType) -> Option<AttackClass> {
    AttackClass::ALL.into_iter().find(|class| class.as_str() == attack_type.as_str())
}

/// The type of that name, as rules call a class.
pub(crate) fn attack_type(class: AttackClass) -> Option<AttackType> {
    let known = AttackType::NAMES.iter().find(|(name, _)| *name == class.as_str());
    known.map(|(_, attack_type)| *attack_type)
}

fn known_parser(parser: weir_policy::Parser) -> Option<Parser> {
    match parser {
        weir_policy::Parser::Base64 => Some(Parser::Base64),
        weir_policy::Parser::Cookie => Some(Parser::Cookie),
        weir_policy::Parser::FormUrlencoded => Some(Parser::FormUrlencoded),
        weir_policy::Parser::Gql => Some(Parser::GraphQl),
        weir_policy::Parser::Gzip => Some(Parser::Gzip),
        weir_policy::Parser::Htmljs => Some(Parser::HtmlJs),
        weir_policy::Parser::JsonDoc => Some(Parser::Json),
        weir_policy::Parser::Jwt => Some(Parser::Jwt),
        weir_policy::Parser::Multipart => Some(Parser::Multipart),
        weir_policy::Parser::Percent => Some(Parser::Percent),
        weir_policy::Parser::Xml => Some(Parser::Xml),
        weir_policy::Parser::Grpc | weir_policy::Parser::Protobuf | weir_policy::Parser::Viewstate => None,
    }
}

fn header_edit(action: HeaderAction, name: &str, values: &[String]) -> HeaderEdit {
    let action = match action {
        HeaderAction::Set => EditAction::Set,
        HeaderAction::Append => EditAction::Append,
        HeaderAction::Delete => EditAction::Delete,
    };
    HeaderEdit { action, name: name.to_owned(), values: values.to_vec() }
}
