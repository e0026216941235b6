//! "Did you mean ...?" for names that were mistyped.

/// The candidate that is near enough to be what was meant.
pub(super) fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wanted = plain(name);
    let allowed = if wanted.len() <= 3 { 1 } else { (wanted.len() / 3).clamp(1, 3) };
    candidates
        .iter()
        .map(|candidate| (distance(wanted.as_bytes(), plain(candidate).as_bytes()), *candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two texts: a byte inserted, removed or replaced, or two neighbours swapped.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, byte) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, other) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(byte != other);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *byte == b[j - 1] && a[i - 1] == *other {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found_and_strangers_are_not() {
        let keys = ["workers", "max_connections", "drain_timeout", "state_dir", "io", "mode"];
        for (typed, meant) in [
            ("worker", Some("workers")),
            ("wrokers", Some("workers")),
            ("max-connections", Some("max_connections")),
            ("maxconnections", Some("max_connections")),
            ("Drain_Timeout", Some("drain_timeout")),
            ("statedir", Some("state_dir")),
            ("modes", Some("mode")),
            ("oi", Some("io")),
            ("ab", None),
            ("xyz", None),
            ("listen", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &keys), meant, "{typed}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in
            [("", "", 0), ("a", "", 1), ("abc", "acb", 1), ("kitten", "sitting", 3), ("ab", "ba", 1)]
        {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), edits, "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), edits, "{b} {a}");
        }
    }
}
