//! What to answer: the fixed answer, built once, and the answers that requests ask for.

use std::{sync::Arc, time::Duration};

use httparse::Header;

use super::{
    Body, Draw, Options,
    draw::{parse_shares, share},
};
use crate::{
    http::{self, RequestHead},
    scenario::template::Random,
    units,
};

/// The longest body and delay that a request may ask for.
const STEERED_SIZE_LIMIT_BYTES: u64 = 1 << 30;
const STEERED_DELAY_LIMIT: Duration = Duration::from_secs(60);
/// Text bodies repeat a block of this size.
const BLOCK_BYTES: usize = 64 * 1024;
const STEERING_PREFIX: &str = "x-origin-";
/// How fast a slow body is sent where nothing else is said.
const SLOW_BYTES_PER_SECOND: u64 = 1024;

/// How one request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) status: u16,
    /// The body's size, where it isn't the configured body.
    pub(super) size: Option<u64>,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) delay: Duration,
    /// Body bytes a second; as fast as the client takes them without.
    pub(super) rate: Option<u64>,
    pub(super) fault: Option<Fault>,
    /// The body is slow as a fault, which the log tells; [`Self::rate`] says how slow.
    pub(super) is_slow: bool,
}

/// How an origin fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It closes the connection in place of an answer.
    Close,
    /// It resets the connection in place of an answer.
    Reset,
    /// It closes the connection behind half of the body.
    Truncate,
    /// It resets the connection behind half of the body.
    Break,
    /// It sends nothing more behind half of the body, and keeps the connection open.
    Stall,
}

impl Fault {
    const ALL: [(&str, Self); 5] = [
        ("close", Self::Close),
        ("reset", Self::Reset),
        ("truncate", Self::Truncate),
        ("break", Self::Break),
        ("stall", Self::Stall),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, fault)| *fault == self).map_or("", |(name, _)| name)
    }
}

/// What goes wrong about answers, and how often; nothing does by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Shares of all answers, from 0 to 1, each with those before it added.
    up_to: Vec<(f64, Wrong)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Fault(Fault),
    Slow,
}

impl Faults {
    /// Reads `KIND=PERCENT,KIND=PERCENT`: percentages of all answers.
    ///
    /// # Errors
    ///
    /// A sentence that says what was found and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut up_to = Vec::new();
        let mut before = 0.0;
        for (name, percent) in parse_shares(text)? {
            before += percent / 100.0;
            up_to.push((before, Wrong::parse(name)?));
        }
        if before > 1.0 + 1e-9 {
            return Err(format!("`{text}`: {:.1} % of all answers can't fail", before * 100.0));
        }
        Ok(Self { up_to })
    }

    fn draw(&self, random: &mut Random) -> Option<Wrong> {
        if self.up_to.is_empty() {
            return None;
        }
        let at = share(random);
        self.up_to.iter().find(|(up_to, _)| at < *up_to).map(|(_, wrong)| *wrong)
    }
}

impl Wrong {
    fn parse(name: &str) -> Result<Self, String> {
        if name == "slow" {
            return Ok(Self::Slow);
        }
        Fault::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, fault)| Self::Fault(*fault))
            .ok_or_else(|| format!("`{name}` is not a fault: close, reset, truncate, break, stall or slow"))
    }
}

/// The bytes of an answer's body, handed out in pieces.
pub(super) enum Content {
    Bytes(Arc<[u8]>),
    /// `size` bytes of the repeated block.
    Text {
        block: Arc<[u8]>,
        size: u64,
    },
    Owned(Vec<u8>),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Text { size, .. } => *size,
            Self::Owned(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes at `offset`, at most a block of them; empty at the end.
    pub(super) fn piece(&self, offset: u64) -> &[u8] {
        let (bytes, start, left) = match self {
            Self::Text { block, size } => {
                let start = (offset % block.len() as u64) as usize;
                (&block[..], start, size.saturating_sub(offset))
            }
            Self::Bytes(bytes) => (&bytes[..], offset as usize, u64::MAX),
            Self::Owned(bytes) => (&bytes[..], offset as usize, u64::MAX),
        };
        let rest = bytes.get(start..).unwrap_or(&[]);
        let length = rest.len().min(BLOCK_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
        &rest[..length]
    }
}

/// Everything needed to answer.
pub(super) struct Answers {
    /// What every answer is like if nothing is drawn and nothing is asked for.
    default_plan: Plan,
    drawn: Option<Box<Drawn>>,
    pub(super) echo: bool,
    pub(super) steering: bool,
    /// Header fields behind the framing, each with its line end.
    fields: Vec<u8>,
    body: Arc<[u8]>,
    block: Arc<[u8]>,
    /// The whole answer to a plain request on a connection that stays open; `None` if it is too large to keep.
    prebuilt: Option<Vec<u8>>,
}

/// What differs from answer to answer.
struct Drawn {
    status: Draw,
    /// Absent where the body is a file.
    size: Option<Draw>,
    delay_nanoseconds: Draw,
    faults: Faults,
}

impl Drawn {
    /// `None` if all answers are alike.
    fn new(options: &Options) -> Option<Box<Self>> {
        let size = match &options.body {
            Body::Size(size) => Some(size.clone()),
            Body::Bytes(_) => None,
        };
        let alike = options.status.always().is_some()
            && size.as_ref().is_none_or(|size| size.always().is_some())
            && options.delay_nanoseconds.always().is_some()
            && options.faults == Faults::default();
        (!alike).then(|| {
            Box::new(Self {
                status: options.status.clone(),
                size,
                delay_nanoseconds: options.delay_nanoseconds.clone(),
                faults: options.faults.clone(),
            })
        })
    }
}

impl Answers {
    /// # Errors
    ///
    /// A header field is malformed or frames the message, or a figure is out of its range; the text says which.
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        if !options.status.all(|status| (200..600).contains(&status)) {
            return Err("a status is from 200 to 599".to_owned());
        }
        let block: Arc<[u8]> = text_block().into();
        let (body, body_size): (Arc<[u8]>, u64) = match &options.body {
            Body::Bytes(bytes) => (bytes.as_slice().into(), bytes.len() as u64),
            Body::Size(size) => (Arc::new([]), size.always().unwrap_or(0)),
        };
        let default_plan = Plan {
            // The range was checked.
            status: u16::try_from(options.status.always().unwrap_or(200)).unwrap_or(200),
            size: matches!(options.body, Body::Size(_)).then_some(body_size),
            chunked: false,
            close: false,
            delay: Duration::from_nanos(options.delay_nanoseconds.always().unwrap_or(0)),
            rate: options.body_bytes_per_second,
            fault: None,
            is_slow: false,
        };
        let mut answers = Self {
            default_plan,
            drawn: Drawn::new(options),
            echo: options.echo,
            steering: options.steering,
            fields: header_fields(&options.headers)?,
            body,
            block,
            prebuilt: None,
        };
        let alike = answers.drawn.is_none() && default_plan.rate.is_none();
        if !options.echo && alike && body_size <= BLOCK_BYTES as u64 {
            answers.prebuilt = Some(answers.build_default());
        }
        Ok(answers)
    }

    fn build_default(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let content = self.content(&self.default_plan);
        self.append_head(&mut out, &self.default_plan, content.len(), true);
        if !http::status_has_no_body(self.default_plan.status) {
            out.extend_from_slice(content.piece(0));
        }
        out
    }

    /// What the next answer is like, if its request asks for nothing.
    pub(super) fn plan(&self, random: &mut Random) -> Plan {
        let mut plan = self.default_plan;
        if let Some(drawn) = &self.drawn {
            plan.status = u16::try_from(drawn.status.draw(random)).unwrap_or(plan.status);
            plan.size = drawn.size.as_ref().map(|size| size.draw(random));
            plan.delay = Duration::from_nanos(drawn.delay_nanoseconds.draw(random));
            if let Some(wrong) = drawn.faults.draw(random) {
                plan.go_wrong(wrong);
            }
        }
        plan
    }

    pub(super) const fn default_plan(&self) -> &Plan {
        &self.default_plan
    }

    pub(super) fn prebuilt(&self) -> Option<&[u8]> {
        self.prebuilt.as_deref()
    }

    /// The answer to each request that [`Self::is_ordinary`]; none where they aren't all the same.
    pub(super) fn ready_made(&self) -> Option<&[u8]> {
        self.prebuilt().filter(|_| self.default_plan.delay.is_zero())
    }

    /// Whether a request is answered with the prebuilt answer, and leaves its connection open.
    pub(super) fn is_ordinary(&self, head: &RequestHead<'_, '_>) -> bool {
        let asks_for_nothing = || {
            !self.steering
                || Self::steer(self.default_plan, head.target, head.headers).as_ref()
                    == Ok(&self.default_plan)
        };
        head.keep_alive && !head.expects_continue && head.method != "HEAD" && asks_for_nothing()
    }

    pub(super) fn content(&self, plan: &Plan) -> Content {
        match plan.size {
            Some(size) => Content::Text { block: Arc::clone(&self.block), size },
            None => Content::Bytes(Arc::clone(&self.body)),
        }
    }

    /// The plan that a request asks for; `plan` where it asks for nothing.
    ///
    /// A malformed wish in the query is ignored: the query may well be an application's own. One in a header field can
    /// only be a mistake, and is an error.
    pub(super) fn steer(mut plan: Plan, target: &str, headers: &[Header<'_>]) -> Result<Plan, String> {
        if let Some((_, query)) = target.split_once('?') {
            for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
                let _not_ours = plan.set(name, value);
            }
        }
        for header in headers {
            let Some(name) = header.name.get(..STEERING_PREFIX.len()) else { continue };
            if name.eq_ignore_ascii_case(STEERING_PREFIX) {
                let wish = header.name[STEERING_PREFIX.len()..].to_ascii_lowercase();
                let value =
                    std::str::from_utf8(header.value).map_err(|_| format!("{} is not text", header.name))?;
                plan.set(&wish, value).map_err(|why| format!("{}: {why}", header.name))?;
            }
        }
        Ok(plan)
    }

    /// Appends the head of an answer with `length` body bytes.
    pub(super) fn append_head(&self, out: &mut Vec<u8>, plan: &Plan, length: u64, keep_alive: bool) {
        let reason = http::reason_phrase(plan.status);
        out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", plan.status).as_bytes());
        if http::status_has_no_body(plan.status) {
            // Neither field belongs to an answer that has no body.
        } else if plan.chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        } else {
            out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        if !keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(&self.fields);
        out.extend_from_slice(b"\r\n");
    }
}

impl Plan {
    fn go_wrong(&mut self, wrong: Wrong) {
        match wrong {
            Wrong::Fault(fault) => self.fault = Some(fault),
            Wrong::Slow => {
                self.rate = Some(self.rate.unwrap_or(SLOW_BYTES_PER_SECOND));
                self.is_slow = true;
            }
        }
    }

    /// What is wrong about it, as the log tells it.
    pub(super) fn fault_name(&self) -> Option<&'static str> {
        self.fault.map(Fault::name).or(self.is_slow.then_some("slow"))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let yes = || match value {
            "1" | "true" | "yes" => Ok(true),
            "0" | "false" | "no" => Ok(false),
            _ => Err(format!("`{value}` is neither 1 nor 0")),
        };
        match name {
            "size" => {
                let size = units::parse_size(value)?;
                if size > STEERED_SIZE_LIMIT_BYTES {
                    return Err(format!("{size} bytes are more than {STEERED_SIZE_LIMIT_BYTES}"));
                }
                self.size = Some(size);
            }
            "delay" => {
                let delay = units::parse_duration(value)?;
                if delay > STEERED_DELAY_LIMIT {
                    return Err(format!("{value} is longer than 60s"));
                }
                self.delay = delay;
            }
            "status" => {
                self.status = value
                    .parse()
                    .ok()
                    .filter(|status| (200..600).contains(status))
                    .ok_or_else(|| format!("`{value}` is not a status from 200 to 599"))?;
            }
            "chunked" => self.chunked = yes()?,
            "close" => self.close = yes()?,
            "rate" => {
                let rate = units::parse_size(value)?;
                if rate == 0 {
                    return Err("a rate of 0 is a stall: ask for `fault=stall`".to_owned());
                }
                self.rate = Some(rate);
            }
            "fault" => self.go_wrong(Wrong::parse(value)?),
            _ => {
                return Err(
                    "only size, delay, status, chunked, close, rate and fault can be asked for".to_owned()
                );
            }
        }
        Ok(())
    }
}

fn header_fields(headers: &[(String, String)]) -> Result<Vec<u8>, String> {
    let mut fields = Vec::new();
    let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
    if !headers.iter().any(|(name, _)| is(name, "content-type")) {
        fields.extend_from_slice(b"Content-Type: text/plain\r\n");
    }
    for (name, value) in headers {
        crate::check_header(name, value)?;
        if ["content-length", "transfer-encoding", "connection"].iter().any(|framing| is(name, framing)) {
            return Err(format!("`{name}` frames the message and is written by the origin itself"));
        }
        fields.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    Ok(fields)
}

/// Lines of 64 characters with their number, so that a hole or a swap in a relayed body can be seen.
fn text_block() -> Vec<u8> {
    (0..BLOCK_BYTES / 64)
        .flat_map(|line| {
            format!("{:<63}\n", format!("line {line:04} of an answer by the origin stub")).into_bytes()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(options: &Options) -> Answers {
        Answers::new(options).unwrap()
    }

    #[test]
    fn requests_choose_size_status_delay_and_framing() {
        let default = *answers(&Options::default()).default_plan();
        let target = "/x?size=1KiB&delay=10ms&status=404&chunked=1&close=1&rate=2kB&fault=stall&other=2";
        let plan = Answers::steer(default, target, &[]).unwrap();
        let expected = Plan {
            status: 404,
            size: Some(1024),
            chunked: true,
            close: true,
            delay: Duration::from_millis(10),
            rate: Some(2000),
            fault: Some(Fault::Stall),
            is_slow: false,
        };
        assert_eq!(plan, expected);
        let header = Header { name: "X-Origin-Status", value: b"503" };
        assert_eq!(Answers::steer(default, "/?status=404", &[header]).unwrap().status, 503);
        let slow = Answers::steer(default, "/?fault=slow", &[]).unwrap();
        assert_eq!((slow.rate, slow.fault), (Some(SLOW_BYTES_PER_SECOND), None));
        assert_eq!((slow.fault_name(), default.fault_name()), (Some("slow"), None));
    }

    #[test]
    fn wishes_out_of_range_are_ignored_in_a_query_and_refused_in_a_header() {
        let default = *answers(&Options::default()).default_plan();
        let query = "/?size=2GiB&delay=2m&status=99&chunked=perhaps&close='or'1&rate=0&fault=fire";
        assert_eq!(Answers::steer(default, query, &[]).unwrap(), default);
        for (name, value) in
            [("X-Origin-Size", "2GiB"), ("x-origin-status", "1xx"), ("X-ORIGIN-COLOUR", "red")]
        {
            let header = Header { name, value: value.as_bytes() };
            assert!(Answers::steer(default, "/", &[header]).is_err(), "{name}");
        }
    }

    #[test]
    fn content_comes_in_pieces_that_add_up() {
        let size = 3 * BLOCK_BYTES as u64 + 17;
        let answers = answers(&Options { body: Body::Size(Draw::fixed(size)), ..Options::default() });
        assert!(answers.prebuilt().is_none());
        let content = answers.content(answers.default_plan());
        let mut offset = 0;
        while !content.piece(offset).is_empty() {
            offset += content.piece(offset).len() as u64;
        }
        assert_eq!(offset, size);
    }

    #[test]
    fn faults_come_as_often_as_they_should() {
        let faults = Faults::parse("reset=10,stall=5,slow=1").unwrap();
        let answers = answers(&Options { faults, ..Options::default() });
        assert!(answers.prebuilt().is_none());
        let mut random = Random::new(1, 1);
        let plans: Vec<Plan> = (0..10_000).map(|_| answers.plan(&mut random)).collect();
        let count = |fault| plans.iter().filter(|plan| plan.fault == fault).count();
        assert!((900..1100).contains(&count(Some(Fault::Reset))));
        assert!((430..570).contains(&count(Some(Fault::Stall))));
        assert_eq!(count(Some(Fault::Close)), 0);
        assert!((60..140).contains(&plans.iter().filter(|plan| plan.rate.is_some()).count()));
        for bad in ["", "reset", "reset=101", "reset=60,stall=60", "fire=1", "reset=-1"] {
            assert!(Faults::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn statuses_out_of_range_are_refused() {
        let status = Draw::parse("200=1,600=1", |text| text.parse().map_err(|_| String::new())).unwrap();
        assert!(Answers::new(&Options { status, ..Options::default() }).is_err());
    }

    #[test]
    fn fields_that_frame_or_split_a_message_are_refused() {
        for (name, value) in [("Content-Length", "1"), ("A B", "1"), ("", "1"), ("A", "1\r\nB: 2")] {
            let headers = vec![(name.to_owned(), value.to_owned())];
            assert!(header_fields(&headers).is_err(), "{name}");
        }
    }
}
