//! Conditions of rules that say nothing, for what the config knows of its requests. Sound: what is said is so; not everything
//! that is so is said.

use super::check::{Check, Kind, PointKey};
use crate::compile::Remarks;
use crate::error::Place;
use crate::regex::{Regex, Scope};
use crate::source::PolicySource;

/// The applications of all contexts, as conditions see them.
pub(super) fn applications(source: &PolicySource) -> Vec<String> {
    let of_http = source.http.application.unwrap_or(-1);
    let of_servers = source.servers.iter().flat_map(|server| {
        let own = server.context.application.unwrap_or(of_http);
        let locations =
            server.locations.iter().map(move |location| location.context.application.unwrap_or(own));
        [own].into_iter().chain(locations)
    });
    let mut found: Vec<String> = of_servers.map(|application| application.to_string()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Warns of a condition on an application that no request has.
pub(super) fn warn_of_unknown_application(
    checks: &[Check],
    applications: &[String],
    place: &Place,
    remarks: &mut Remarks,
) {
    let unknown = checks.iter().find(|check| {
        check.point == PointKey::Instance
            && matches!(check.kind, Kind::Equal | Kind::Iequal)
            && !applications.iter().any(|application| *check.value == *application.as_bytes())
    });
    if let Some(check) = unknown {
        let value = String::from_utf8_lossy(&check.value);
        let known = applications.join(", ");
        remarks.warn(
            place,
            format!("it matches nothing: no server or location has application `{value}`; there is {known}"),
        );
    }
}

/// Whether every request meets the check.
pub(super) fn is_universal(check: &Check, applications: &[String]) -> bool {
    let never_empty = matches!(
        check.point,
        PointKey::Instance | PointKey::Method | PointKey::Scheme | PointKey::Proto | PointKey::Uri
    );
    match check.kind {
        Kind::Regex if never_empty => {
            let text = String::from_utf8_lossy(&check.value);
            Regex::new(&text, false).is_ok_and(|regex| regex.scope() == Scope::Everything)
        }
        Kind::Equal | Kind::Iequal if check.point == PointKey::Instance => {
            matches!(applications, [only] if *check.value == *only.as_bytes())
        }
        _ => false,
    }
}
