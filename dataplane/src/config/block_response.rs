//! `block_response`: what blocked requests are answered, by the reason.

use std::path::Path;
use std::sync::Arc;

use super::model::BlockResponses;
use super::read::TableReader;
use super::schema::{Default, Key, Kind, Section, range};
use super::source::Source;
use crate::files;
use crate::http::{BlockPage, Page, PageKind, PageValues, page_variables};

/// The most bytes that the file of a page may have.
const PAGE_BYTES_MAX: u64 = 1 << 20;
/// The most bytes of a redirect's URL as written.
const URL_BYTES_MAX: usize = 2048;

/// The status of a page, and of a redirect, that names none.
const PAGE_STATUS: u16 = 403;
const REDIRECT_STATUS: u16 = 302;

const FORM: Kind = Kind::Table("{ status = 403, html = \"blocked.html\" }");

/// The key in `[http]`.
pub(super) const HTTP_BLOCK_RESPONSE: &[Key] = &[Key {
    name: "block_response",
    kind: FORM,
    default: Default::Absent("the built-in page", "{}"),
    meaning: MEANING,
}];
/// The key in `[[server]]` and `[[server.location]]`.
pub(super) const BLOCK_RESPONSE_KEY: &[Key] = &[Key {
    name: "block_response",
    kind: FORM,
    default: Default::Absent("inherited", "{}"),
    meaning: MEANING,
}];
const MEANING: &str = "What blocked requests are answered.";

const PAGE_KEYS: &[Key] = &[
    Key {
        name: "status",
        kind: Kind::Integer(range(200, 599)),
        default: Default::Absent("403; 302 with `redirect`", "403"),
        meaning: "The status: 200 or 400 to 599; with `redirect` 301, 302, 303, 307 or 308.",
    },
    Key {
        name: "html",
        kind: Kind::Path("the path of a file"),
        default: Default::Absent("the built-in page", "\"blocked.html\""),
        meaning: "The page for clients that prefer HTML: UTF-8, up to 1 MiB, with variables such as `{{request_id}}`.",
    },
    Key {
        name: "json",
        kind: Kind::Path("the path of a file"),
        default: Default::Absent("the built-in object", "\"blocked.json\""),
        meaning: "The same for clients that prefer JSON.",
    },
    Key {
        name: "redirect",
        kind: Kind::Text("a URL, or a path that begins with /"),
        default: Default::Absent("none", "\"https://www.example/blocked?id={{request_id}}\""),
        meaning: "Where the client is sent instead of a page, with variables.",
    },
];

/// `block_response`.
pub(super) static BLOCK_RESPONSE: Section = Section {
    header: "block_response",
    about: "What blocked requests are answered, in `[http]`, `[[server]]` or `[[server.location]]`. The keys of the \
            table itself are for all reasons, those of `attack`, `acl_ip` and `acl_source` for that reason alone. What \
            a table says of a reason replaces all that is inherited for it. Variables: `{{request_id}}`, \
            `{{client_ip}}`, `{{time}}`, `{{host}}`, `{{method}}`, `{{path}}`, `{{reason}}`, `{{status}}`; they are \
            escaped for where they stand.",
    keys: &[
        PAGE_KEYS,
        &[
            Key {
                name: "attack",
                kind: FORM,
                default: Default::Absent("as for all reasons", "{}"),
                meaning: "For requests that were blocked for what they hold.",
            },
            Key {
                name: "acl_ip",
                kind: FORM,
                default: Default::Absent("as for all reasons", "{}"),
                meaning: "For sources that an entry of the denylist names by address or network.",
            },
            Key {
                name: "acl_source",
                kind: FORM,
                default: Default::Absent("as for all reasons", "{}"),
                meaning: "For sources that an entry of the denylist names in another way, such as a country.",
            },
        ],
    ],
};

/// `attack`, `acl_ip` and `acl_source` in it.
pub(super) static BLOCK_RESPONSE_CLASS: Section = Section {
    header: "block_response.REASON",
    about: "The answer for one reason: `attack`, `acl_ip` or `acl_source`.",
    keys: &[PAGE_KEYS],
};

/// Reads the table of one context; what is absent is as in `inherited`.
pub(super) fn read_block_responses(
    table: &TableReader<'_>,
    inherited: Option<&BlockResponses>,
) -> BlockResponses {
    let mut responses = inherited.cloned().unwrap_or_default();
    let Some(own) = table.table_if_present("block_response", &BLOCK_RESPONSE) else { return responses };
    if let Some(page) = read_page(&own) {
        responses.attack = Some(Arc::clone(&page));
        responses.acl_ip = Some(Arc::clone(&page));
        responses.acl_source = Some(page);
    }
    for (name, place) in [
        ("attack", &mut responses.attack),
        ("acl_ip", &mut responses.acl_ip),
        ("acl_source", &mut responses.acl_source),
    ] {
        if let Some(page) =
            own.table_if_present(name, &BLOCK_RESPONSE_CLASS).and_then(|class| read_page(&class))
        {
            *place = Some(page);
        }
    }
    responses
}

/// The page that a table describes; none if it has no key of one.
fn read_page(table: &TableReader<'_>) -> Option<Arc<BlockPage>> {
    if !["status", "html", "json", "redirect"].into_iter().any(|name| table.has(name)) {
        return None;
    }
    let redirect = table.text("redirect").and_then(|url| read_redirect(table, &url));
    let html = table.path("html").and_then(|path| read_file(table, "html", PageKind::Html, &path));
    let json = table.path("json").and_then(|path| read_file(table, "json", PageKind::Json, &path));
    if table.has("redirect") {
        for name in ["html", "json"].into_iter().filter(|name| table.has(name)) {
            let message = "found a page beside redirect: a client that is sent elsewhere sees none";
            table.error(name, message, "keep one of the two");
        }
    }
    let default = if table.has("redirect") { REDIRECT_STATUS } else { PAGE_STATUS };
    let status = table.integer("status").and_then(|status| u16::try_from(status).ok()).unwrap_or(default);
    let (fits, allowed) = if table.has("redirect") {
        (matches!(status, 301 | 302 | 303 | 307 | 308), "301, 302, 303, 307 or 308 with redirect")
    } else {
        (status == 200 || status >= 400, "200 or 400 to 599")
    };
    if !fits {
        table.error("status", format!("found {status}, allowed is {allowed}"), "for example 403");
    }
    Some(Arc::new(BlockPage { status, html, json, redirect }))
}

fn read_redirect(table: &TableReader<'_>, url: &str) -> Option<Page> {
    let known = url.starts_with("https://") || url.starts_with("http://");
    // A second slash would make a host of what follows.
    let local = url.starts_with('/') && !url.starts_with("//");
    let sound = url.bytes().all(|byte| byte.is_ascii_graphic()) && url.len() <= URL_BYTES_MAX;
    if !(known || local) || !sound {
        let message = format!(
            "found {}, allowed is a URL with http:// or https://, or a path that begins with one /, without blanks, up \
             to {URL_BYTES_MAX} bytes",
            table.shown("redirect")
        );
        table.error("redirect", message, "for example \"https://www.example/blocked?id={{request_id}}\"");
        return None;
    }
    parse(table, "redirect", PageKind::Url, url, None)
}

fn read_file(table: &TableReader<'_>, key: &str, kind: PageKind, path: &Path) -> Option<Page> {
    let shown = path.display();
    let text = match files::read_text_bounded(path, PAGE_BYTES_MAX) {
        Ok(text) => text,
        Err(problem) => {
            let message = format!("can't use {shown}: {problem}");
            table.error(key, message, "name a UTF-8 file of up to 1 MiB that this user may read");
            return None;
        }
    };
    let page = parse(table, key, kind, &text, Some(path))?;
    if kind == PageKind::Json
        && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&sample(&page))
    {
        let message = format!("{shown} is no JSON once its variables have values: {error}");
        table.error(key, message, "variables but {{status}} stand inside strings: \"{{request_id}}\"");
        return None;
    }
    Some(page)
}

fn parse(
    table: &TableReader<'_>,
    key: &str,
    kind: PageKind,
    text: &str,
    file: Option<&Path>,
) -> Option<Page> {
    Page::parse(kind, text)
        .map_err(|unknown| {
            let place = |file| format!("{}: ", Source::new(file, text.to_owned()).place(unknown.offset));
            let prefix = file.map(place).unwrap_or_default();
            let names: Vec<String> = page_variables().map(|name| format!("{{{{{name}}}}}")).collect();
            let message = format!("{prefix}found {{{{{}}}}}, which is no variable", unknown.name);
            table.error(key, message, format!("the variables are {}", names.join(", ")));
        })
        .ok()
}

fn sample(page: &Page) -> Vec<u8> {
    let mut out = Vec::new();
    let values = PageValues {
        request_id: b"0",
        client_ip: b"192.0.2.1",
        time: b"2026-01-01T00:00:00.000Z",
        host: b"a.example",
        method: b"GET",
        path: b"/",
        reason: b"attack",
        status: 403,
    };
    page.write(&values, &mut out);
    out
}
