//! How requests to a place are handled beyond their mode: tunnels, and what happens to what can't be inspected.

use super::block_response::read_block_responses;
use super::detection::{OVER_LIMIT, OVER_LIMITS};
use super::model::{HandlingConfig, OverLimit};
use super::read::TableReader;
use super::schema::{Default, Key, Kind};

/// The same keys twice: in http they have defaults, below it they are inherited.
macro_rules! handling_keys {
    ($($name:literal, $kind:expr, $default:literal, $meaning:literal;)*) => {
        /// Keys of `[http]`.
        pub(super) const HTTP_HANDLING_KEYS: &[Key] = &[
            $(Key { name: $name, kind: $kind, default: Default::Value($default), meaning: $meaning },)*
        ];
        /// Keys of `[[server]]` and `[[server.location]]`.
        pub(super) const HANDLING_KEYS: &[Key] = &[
            $(Key { name: $name, kind: $kind, default: Default::Absent("inherited", $default), meaning: $meaning },)*
        ];
    };
}

handling_keys! {
    "websocket", Kind::OnOff, "\"on\"",
        "Whether requests may open a WebSocket. The handshake is inspected like any request, what follows is not. With \
         `off` the origin sees an ordinary request.";
    "inspection_failure", OVER_LIMIT, "\"pass\"",
        "What happens to a request whose inspection failed by a fault of Weir's own: `pass` = forwarded (fail open), \
         `block` = answered 503 where an attack would be blocked (fail closed). Either way there is an event.";
    "overload", OVER_LIMIT, "\"pass\"",
        "What happens to a request of which not all could be inspected because `node.body_bytes_total` is reached: as \
         for `inspection_failure`.";
}

/// Reads the keys of one table; what is absent is as in `inherited`.
pub(super) fn read_handling(table: &TableReader<'_>, inherited: Option<&HandlingConfig>) -> HandlingConfig {
    let choice = |name: &str, outer: Option<OverLimit>| {
        table.choice(name, &OVER_LIMITS).or(outer).unwrap_or(OverLimit::Pass)
    };
    HandlingConfig {
        websocket: table.boolean("websocket").or(inherited.map(|outer| outer.websocket)).unwrap_or(true),
        inspection_failure: choice("inspection_failure", inherited.map(|outer| outer.inspection_failure)),
        overload: choice("overload", inherited.map(|outer| outer.overload)),
        block_responses: read_block_responses(table, inherited.map(|outer| &outer.block_responses)),
    }
}
