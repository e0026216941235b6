//! The explanation as a person reads it.

use std::fmt::{self, Display, Formatter, Write};

use weir_inspect::Outcome;
use weir_policy::{ContextSettings, ServerBy};

use crate::snapshot::API;
use crate::text::rfc3339;

use super::{Decided, Explanation, mode_from, nominations};

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, code, detail } => {
                writeln!(f, "verdict    block: not sound HTTP, in every mode")?;
                writeln!(f, "answer     {status} ({code}): {detail}")
            }
            Self::Decided(decided) => decided.fmt(f),
        }
    }
}

impl Display for Decided {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let policy = &self.policy;
        if self.has_other_listeners {
            writeln!(f, "listener   {}, {}", self.listener, self.scheme)?;
        }
        write!(f, "server     {}", policy.server)?;
        match &policy.server_by {
            ServerBy::Exact(host) => writeln!(f, ", by host {host}")?,
            ServerBy::Wildcard(pattern) => writeln!(f, ", by wildcard {pattern}")?,
            ServerBy::Default => writeln!(f, ", the default: no server names this host")?,
            ServerBy::First => {
                writeln!(f, ", the first: no server names this host, and none is the default")?
            }
        }
        writeln!(f, "location   {}", policy.location.as_deref().unwrap_or("(none matches)"))?;
        writeln!(f, "path       {}", self.path)?;
        if let Some(read_as) = &self.read_as {
            writeln!(f, "read as    {read_as}, the strictest place that an origin may take the path to")?;
        }
        writeln!(f, "origin     {}, application {}", self.origin, policy.application)?;
        write!(f, "local mode {}, from {}", policy.local_mode.value.as_str(), policy.local_mode.from)?;
        match &policy.local_mode_by_header {
            Some(by) => writeln!(f, ", mode_by_header: {} contains {:?}", by.header, by.contains)?,
            None => writeln!(f)?,
        }
        let policy_of_override = &policy.mode_allow_override;
        writeln!(f, "override   {}, from {}", policy_of_override.value.as_str(), policy_of_override.from)?;
        for context in &policy.contexts {
            writeln!(f, "context    {}", context_line(context))?;
        }
        for (at, rule) in policy.rules.iter().enumerate() {
            let mark = if rule.wins { "wins" } else { "loses" };
            let mode = rule.mode.map_or_else(String::new, |mode| format!(" {mode}"));
            let (id, kind, why) = (rule.id, rule.kind, &rule.why);
            writeln!(f, "rule {id:<5} {kind}{mode}: {mark}, {why}{}", from(self.written_at(at)))?;
        }
        if let Some((general, written)) = self.told_general_mode() {
            let mark = if general.wins { "wins" } else { "loses" };
            writeln!(f, "general    mode {}: {mark}, {}{}", general.mode, general.why, from(written))?;
        }
        writeln!(f, "mode       {}, from {}", policy.mode.as_str(), mode_from(policy.mode_from))?;
        self.fmt_list(f)?;
        self.fmt_findings(f)?;
        for effect in &self.effects {
            writeln!(f, "rule {:<5} {}: {}", effect.rule, effect.type_name, effect.text())?;
        }
        let verdict = if self.verdict.block { "block" } else { "pass" };
        let recorded = if self.recorded { "an event is written" } else { "no event" };
        writeln!(f, "verdict    {verdict}, reason {}, {recorded}", self.verdict.reason.as_str())
    }
}

/// Where a rule is written, behind what is said of it.
fn from(written: Option<&(&'static str, String)>) -> String {
    match written {
        Some((API, place)) => format!(" (from the admin API, {place})"),
        Some((_, place)) => format!(" (from {place})"),
        None => String::new(),
    }
}

/// What a context sets, in a line.
fn context_line(context: &ContextSettings) -> String {
    let mut sets = Vec::new();
    sets.extend(context.mode.map(|mode| format!("mode {}", mode.as_str())));
    sets.extend(context.mode_by_header.as_ref().map(|header| format!("mode by the header {header}")));
    sets.extend(context.mode_allow_override.map(|policy| format!("override {}", policy.as_str())));
    sets.extend(context.application.map(|application| format!("application {application}")));
    sets.extend(context.disable_acl.map(|off| format!("disable_acl {off}")));
    if sets.is_empty() {
        return format!("{} sets nothing", context.context);
    }
    format!("{} sets {}", context.context, sets.join(", "))
}

impl Decided {
    fn fmt_list(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let policy = &self.policy;
        match policy.list {
            Some(list) => writeln!(f, "client     {}, on the {} list", self.client, list.as_str())?,
            None => writeln!(f, "client     {}, on no list that is read in this mode", self.client)?,
        }
        for covering in &policy.list_entries {
            let entry = &covering.entry;
            write!(f, "entry      {entry}")?;
            if let Some(reason) = &entry.reason {
                write!(f, " (")?;
                write_bytes(f, reason.as_bytes())?;
                write!(f, ")")?;
            }
            if let Some(expires) = entry.expires.and_then(rfc3339) {
                write!(f, ", until {expires}")?;
            }
            writeln!(f, ": {}, {}", if covering.wins { "wins" } else { "loses" }, covering.why)?;
        }
        match policy.list_entry_count - policy.list_entries.len() {
            0 => Ok(()),
            more => writeln!(f, "entry      {more} more that don't count"),
        }
    }

    fn fmt_findings(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.inspected {
            return writeln!(f, "findings   not inspected");
        }
        if let Some(shortened) = self.shortened {
            writeln!(f, "findings   not all was inspected: {}", shortened.limit)?;
        }
        if self.findings.is_empty() && self.nominations.is_empty() {
            return writeln!(f, "findings   no signature matches");
        }
        self.fmt_nominations(f)?;
        if self.findings.is_empty() {
            return writeln!(f, "findings   none that counts");
        }
        for finding in &self.findings {
            write!(
                f,
                "finding    {} at {}: signature {} (score {}, confirmed by {}): ",
                finding.class.as_str(),
                finding.point,
                finding.signature,
                finding.score,
                finding.confirmed_by,
            )?;
            write_bytes(f, &finding.payload)?;
            writeln!(f)?;
        }
        for (class, score) in nominations::scores(&self.findings) {
            let means = if score >= self.min_score { "an attack" } else { "no attack" };
            writeln!(f, "score      {class} {score}: {means}, min_score is {}", self.min_score)?;
        }
        Ok(())
    }

    /// What a pattern matched and no closer look confirmed. What was confirmed follows as a finding.
    fn fmt_nominations(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for nominated in &self.nominations {
            let outcome = match nominated.outcome {
                Outcome::Confirmed => continue,
                Outcome::NotConfirmed => "not confirmed by",
                Outcome::Dropped => "dropped by a rule, confirmed by",
            };
            write!(
                f,
                "nominated  {} at {}: signature {}, {outcome} {}: ",
                nominated.class.as_str(),
                nominated.point,
                nominated.signature,
                nominated.confirmer,
            )?;
            write_bytes(f, &nominated.payload)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Bytes from outside, on one line and without anything that a terminal acts on. Quotes stay as they are.
pub(super) fn write_bytes(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\'' | '"' => out.write_char(character)?,
                _ => write!(out, "{}", character.escape_debug())?,
            }
        }
        write!(out, "{}", chunk.invalid().escape_ascii())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_readable_and_harmless() {
        let mut text = String::new();
        write_bytes(&mut text, b"1' OR \"a\"\\\r\n\x1b[0m\xff\xc3\xbc\xe2\x80\xae").unwrap();
        assert_eq!(text, "1' OR \"a\"\\\\\\r\\n\\u{1b}[0m\\xff\u{fc}\\u{202e}");
    }
}
