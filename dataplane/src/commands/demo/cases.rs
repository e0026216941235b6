//! The requests of the demo, and what must come of each. The expectations are written down here by hand, after the
//! worked example (spec S2.4), the cases beside it (S2.6) and what is promised of identities and bad input.

use super::client::Client;

/// A request, and what must come of it.
pub(super) struct Case {
    /// The heading that it stands under.
    pub(super) group: &'static str,
    /// The request in short.
    pub(super) title: String,
    pub(super) client: Client,
    pub(super) request: Vec<u8>,
    pub(super) expected: Expected,
}

/// What must come of a request.
#[derive(Clone)]
pub(super) struct Expected {
    pub(super) status: u16,
    /// How the mode comes about; none for what isn't sound HTTP.
    pub(super) resolution: Option<Resolution>,
    /// The identity that the origin sees; none if the request must not reach an origin.
    pub(super) identity: Option<&'static str>,
    /// Length of the body that reaches the origin.
    pub(super) body_bytes: u64,
    pub(super) event: Option<Event>,
}

/// How the effective mode comes about.
#[derive(Clone, Copy)]
pub(super) struct Resolution {
    pub(super) local: &'static str,
    pub(super) local_from: &'static str,
    /// The rule that wins; none is the general mode.
    pub(super) rule: Option<u64>,
    /// The effective mode.
    pub(super) mode: &'static str,
}

/// The one event of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Event {
    pub(super) action: Option<&'static str>,
    pub(super) reason: &'static str,
    pub(super) class: Option<&'static str>,
    pub(super) origin_error: Option<&'static str>,
}

/// What a sound request carries.
#[derive(Clone, Copy)]
enum Payload {
    /// Nothing of interest.
    Clean,
    /// SQL in the query.
    SqlInQuery,
    Body {
        title: &'static str,
        content_type: &'static str,
        text: &'static str,
        chunked: bool,
        /// The attack class in it.
        class: Option<&'static str>,
    },
}

const SQL: &str = "id=1%27%20UNION%20SELECT%20password%20FROM%20users--";
const CLEAN_FORM: Payload = Payload::Body {
    title: "clean form",
    content_type: "application/x-www-form-urlencoded",
    text: "name=Ann&comment=Thanks+for+the+quick+answer",
    chunked: false,
    class: None,
};
const HOSTILE_FORM: Payload = Payload::Body {
    title: "XSS in form",
    content_type: "application/x-www-form-urlencoded",
    text: "name=Ann&comment=%3Cscript%3Ealert%281%29%3C%2Fscript%3E",
    chunked: false,
    class: Some("xss"),
};
const CLEAN_JSON: Payload = Payload::Body {
    title: "clean JSON",
    content_type: "application/json",
    text: r#"{"user":{"name":"Ann","notes":["selects well","unites teams"]}}"#,
    chunked: false,
    class: None,
};
const HOSTILE_JSON: Payload = Payload::Body {
    title: "SQL in JSON",
    content_type: "application/json",
    text: r#"{"user":{"name":"Ann","id":"1' UNION SELECT password FROM users--"}}"#,
    chunked: false,
    class: Some("sqli"),
};
const CLEAN_CHUNKED: Payload = Payload::Body {
    title: "clean chunks",
    content_type: "application/json",
    text: r#"{"user":{"name":"Ann"}}"#,
    chunked: true,
    class: None,
};
const HOSTILE_CHUNKED: Payload = Payload::Body {
    title: "path climb in chunks",
    content_type: "application/json",
    text: r#"{"file":"../../../../etc/passwd"}"#,
    chunked: true,
    class: Some("ptrav"),
};

impl Payload {
    fn title(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::SqlInQuery => "SQL in query",
            Self::Body { title, .. } => title,
        }
    }

    fn class(self) -> Option<&'static str> {
        match self {
            Self::Clean => None,
            Self::SqlInQuery => Some("sqli"),
            Self::Body { class, .. } => class,
        }
    }

    fn body_bytes(self) -> u64 {
        match self {
            Self::Clean | Self::SqlInQuery => 0,
            Self::Body { text, .. } => text.len() as u64,
        }
    }

    /// The request as its bytes.
    fn request(self, method: &str, host: &str, path: &str) -> Vec<u8> {
        let query = match self {
            Self::SqlInQuery => SQL,
            Self::Clean | Self::Body { .. } => "id=1",
        };
        let mut text = format!(
            "{method} {path}?{query} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: weir-demo\r\nAccept: */*\r\n"
        );
        match self {
            Self::Clean | Self::SqlInQuery => text.push_str("\r\n"),
            Self::Body { content_type, text: body, chunked: false, .. } => text.push_str(&format!(
                "Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )),
            Self::Body { content_type, text: body, chunked: true, .. } => {
                let (first, second) = body.split_at(body.len() / 2);
                text.push_str(&format!(
                    "Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n\
                     {:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
                    first.len(),
                    second.len()
                ));
            }
        }
        text.into_bytes()
    }
}

/// What must happen to a sound request.
#[derive(Clone, Copy)]
enum Fate {
    /// It reaches the origin; an attack in it is recorded.
    Passes,
    /// It reaches the origin unread.
    PassesUnread,
    /// It is blocked for what is in it.
    Blocked,
    /// It is blocked for where it comes from.
    Denied,
    /// It is cleared, but the origin can't serve it for this reason.
    Fails(&'static str),
}

const fn attack(action: &'static str, class: &'static str) -> Event {
    Event { action: Some(action), reason: "attack", class: Some(class), origin_error: None }
}

/// A kind of request: where it goes, and how its mode comes about.
#[derive(Clone, Copy)]
struct Kind {
    group: &'static str,
    method: &'static str,
    host: &'static str,
    path: &'static str,
    resolution: Resolution,
    /// The identity that the node shows there.
    identity: &'static str,
}

impl Kind {
    fn case(&self, client: Client, payload: Payload, fate: Fate) -> Case {
        let blocked_event = |class| Some(attack("blocked", class));
        let (status, event) = match fate {
            Fate::Passes => (200, payload.class().map(|class| attack("monitored", class))),
            Fate::PassesUnread => (200, None),
            Fate::Blocked => (403, payload.class().and_then(blocked_event)),
            Fate::Denied => (403, Some(Event { reason: "deny_list", ..attack("blocked", "blocked_source") })),
            Fate::Fails(code) => {
                (502, Some(Event { action: None, reason: "none", class: None, origin_error: Some(code) }))
            }
        };
        let reaches = status == 200;
        Case {
            group: self.group,
            title: format!("{} {} {}", self.method, self.path, payload.title()),
            client,
            request: payload.request(self.method, self.host, self.path),
            expected: Expected {
                status,
                resolution: Some(self.resolution),
                identity: reaches.then_some(self.identity),
                body_bytes: if reaches { payload.body_bytes() } else { 0 },
                event,
            },
        }
    }
}

/// All requests, in the order in which they are sent.
pub(super) fn all() -> Vec<Case> {
    let mut cases = worked_example();
    cases.extend(rule_order());
    cases.extend(bodies());
    cases.extend(identities());
    cases.extend(mode_off());
    cases.extend(not_sound());
    cases
}

/// Every row and column of spec S2.4.
fn worked_example() -> Vec<Case> {
    use Fate::{Blocked, Passes};
    const SERVER: &str = "server server-a";
    let rows = [
        ("GET", "/news", "monitoring", SERVER, None, "monitoring", Passes, Passes),
        ("GET", "/main", "monitoring", SERVER, Some(4), "monitoring", Passes, Passes),
        ("GET", "/main/login", "block", "location /main/login", Some(3), "block", Blocked, Blocked),
        ("GET", "/main/signup", "monitoring", SERVER, Some(2), "block", Blocked, Blocked),
        ("GET", "/main/apply", "block", "location /main/apply", Some(2), "block", Blocked, Blocked),
        ("POST", "/main/apply", "block", "location /main/apply", Some(1), "block", Blocked, Blocked),
        (
            "GET",
            "/main/feedback",
            "safe_blocking",
            "location /main/feedback",
            Some(2),
            "safe_blocking",
            Passes,
            Blocked,
        ),
    ];
    let mut cases = Vec::new();
    for (method, path, local, local_from, rule, mode, hostile, hostile_gray) in rows {
        let kind = Kind {
            group: "The worked example (SERVER_A)",
            method,
            host: "server-a.example",
            path,
            resolution: Resolution { local, local_from, rule, mode },
            identity: "edge",
        };
        let (bad, good) = match method {
            "POST" => (HOSTILE_FORM, CLEAN_FORM),
            _ => (Payload::SqlInQuery, Payload::Clean),
        };
        cases.extend([
            kind.case(Client::Ordinary, bad, hostile),
            kind.case(Client::Gray, bad, hostile_gray),
            kind.case(Client::Gray, good, Passes),
            kind.case(Client::Denied, good, Fate::Denied),
            kind.case(Client::Allowed, bad, Fate::PassesUnread),
            kind.case(Client::Ordinary, good, Passes),
        ]);
    }
    cases
}

/// The cases of spec S2.6: what a wrong order of rules, or a wrong override, would get wrong.
fn rule_order() -> Vec<Case> {
    use Client::{Denied, Ordinary};
    use Fate::{Blocked, Passes, PassesUnread};
    const SERVER: &str = "server server-b";
    let rows = [
        ("GET", "/shadow/x", "monitoring", SERVER, 11, "block", Ordinary, Blocked),
        ("GET", "/shadow/quiet/x", "monitoring", SERVER, 12, "monitoring", Ordinary, Passes),
        ("GET", "/deep/strict/x", "block", "location /deep", 22, "block", Ordinary, Blocked),
        ("GET", "/deep/other/x", "block", "location /deep", 21, "monitoring", Ordinary, Passes),
        ("POST", "/method/x", "monitoring", SERVER, 32, "monitoring", Ordinary, Passes),
        ("GET", "/method/x", "monitoring", SERVER, 31, "block", Ordinary, Blocked),
        ("GET", "/floor/x", "monitoring", SERVER, 41, "monitoring", Ordinary, Passes),
        ("GET", "/free/x", "block", "location /free", 51, "off", Denied, PassesUnread),
        ("GET", "/raised/x", "off", "location /raised", 61, "block", Ordinary, Blocked),
        ("GET", "/kept/x", "block", "location /kept", 71, "block", Ordinary, Blocked),
    ];
    let case = |(method, path, local, local_from, rule, mode, client, fate)| {
        let kind = Kind {
            group: "Order of rules, and override (SERVER_B)",
            method,
            host: "server-b.example",
            path,
            resolution: Resolution { local, local_from, rule: Some(rule), mode },
            identity: "edge",
        };
        let payload = if method == "POST" { HOSTILE_FORM } else { Payload::SqlInQuery };
        kind.case(client, payload, fate)
    };
    rows.into_iter().map(case).collect()
}

/// Attacks in bodies, and bodies that arrive as they were sent.
fn bodies() -> Vec<Case> {
    use Fate::{Blocked, Passes};
    let kind = |path, resolution| Kind {
        group: "Bodies",
        method: "POST",
        host: "server-a.example",
        path,
        resolution,
        identity: "edge",
    };
    let blocking = kind(
        "/main/login",
        Resolution { local: "block", local_from: "location /main/login", rule: Some(3), mode: "block" },
    );
    let monitoring = kind(
        "/news",
        Resolution { local: "monitoring", local_from: "server server-a", rule: None, mode: "monitoring" },
    );
    let mut cases = Vec::new();
    for (bad, good) in
        [(HOSTILE_JSON, CLEAN_JSON), (HOSTILE_FORM, CLEAN_FORM), (HOSTILE_CHUNKED, CLEAN_CHUNKED)]
    {
        cases.extend([
            blocking.case(Client::Ordinary, bad, Blocked),
            blocking.case(Client::Ordinary, good, Passes),
            monitoring.case(Client::Ordinary, bad, Passes),
            monitoring.case(Client::Ordinary, good, Passes),
        ]);
    }
    cases
}

/// Origins that each demand their own identity, and such that can't be served.
fn identities() -> Vec<Case> {
    let case = |host, path, identity, fate| {
        let resolution = Resolution { local: "block", local_from: "http", rule: None, mode: "monitoring" };
        let kind =
            Kind { group: "Identities towards origins", method: "GET", host, path, resolution, identity };
        kind.case(Client::Ordinary, Payload::Clean, fate)
    };
    vec![
        case("billing.example", "/billing", "edge-b", Fate::Passes),
        case("swapped.example", "/swapped-identity", "edge", Fate::Fails("certificate_refused")),
        case("wrong-name.example", "/wrong-name", "edge", Fate::Fails("wrong_name")),
        case("stranger.example", "/unknown-authority", "edge", Fate::Fails("certificate_refused")),
    ]
}

/// Mode off: nothing is inspected and no list is read.
fn mode_off() -> Vec<Case> {
    let kind = Kind {
        group: "Mode off",
        method: "GET",
        host: "uninspected.example",
        path: "/off",
        resolution: Resolution { local: "off", local_from: "server uninspected", rule: None, mode: "off" },
        identity: "edge",
    };
    vec![
        kind.case(Client::Ordinary, Payload::SqlInQuery, Fate::PassesUnread),
        kind.case(Client::Denied, Payload::SqlInQuery, Fate::PassesUnread),
    ]
}

/// What isn't sound HTTP is refused in every mode and never reaches an origin.
fn not_sound() -> Vec<Case> {
    const OFF: &str = "Host: uninspected.example\r\n";
    const MONITORING: &str = "Host: server-a.example\r\n";
    let rows = [
        (400, "two Hosts, mode off", format!("GET /off HTTP/1.1\r\n{OFF}{OFF}\r\n")),
        (
            400,
            "two framings, mode off",
            format!(
                "POST /off HTTP/1.1\r\n{OFF}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (400, "blank in a name, mode off", format!("GET /off HTTP/1.1\r\n{OFF}X-Note : x\r\n\r\n")),
        (505, "HTTP/1.2, mode off", format!("GET /off HTTP/1.2\r\n{OFF}\r\n")),
        (400, "two Hosts, mode monitoring", format!("GET /news HTTP/1.1\r\n{MONITORING}{MONITORING}\r\n")),
        (400, "two Hosts, mode block", format!("GET /main/login HTTP/1.1\r\n{MONITORING}{MONITORING}\r\n")),
        (
            400,
            "bad chunk, mode block",
            format!(
                "POST /main/login HTTP/1.1\r\n{MONITORING}Transfer-Encoding: chunked\r\n\r\n-4\r\nabcd\r\n"
            ),
        ),
        (
            400,
            "bad chunk, mode monitoring",
            format!("POST /news HTTP/1.1\r\n{MONITORING}Transfer-Encoding: chunked\r\n\r\n-4\r\nabcd\r\n"),
        ),
    ];
    let case = |(status, title, request): (u16, &str, String)| Case {
        group: "Not sound HTTP",
        title: title.to_owned(),
        client: Client::Ordinary,
        request: request.into_bytes(),
        expected: Expected {
            status,
            resolution: None,
            identity: None,
            body_bytes: 0,
            event: Some(Event {
                action: Some("blocked"),
                reason: "protocol",
                class: None,
                origin_error: None,
            }),
        },
    };
    rows.into_iter().map(case).collect()
}
