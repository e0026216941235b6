//! Names of parameters, cookies and fields of forms, as servers take them apart: `id[]`, `id[0]` and `id[a][b]` are values
//! below `id`.

use crate::directives::selector::{Names, Pick, taken};

/// How many picks a field's name takes, of which there is at least one: those of its start, and of the keys in brackets
/// behind that.
pub(super) fn taken_of_field(name: &[u8], picks: &[Pick], names: Names) -> usize {
    for bracket in memchr::memchr_iter(b'[', name) {
        let (start, keys) = name.split_at(bracket);
        let of_start = taken_at_start(start, picks, names);
        if of_start == 0 || (names == Names::Sure && !are_keys(keys)) {
            continue;
        }
        if let Some(of_keys) = taken_of_keys(keys, &picks[of_start..]) {
            return of_start + of_keys;
        }
    }
    taken_at_start(name, picks, names)
}

/// What a name without keys takes.
fn taken_at_start(name: &[u8], picks: &[Pick], names: Names) -> usize {
    match (taken(name, picks, <[u8]>::eq), names) {
        (0, Names::Possible) => taken(name.trim_ascii_start(), picks, is_rewritten_to),
        (taken, _) => taken,
    }
}

/// Whether some server takes what is written for that name: some read a blank, a dot or an open bracket as `_`.
fn is_rewritten_to(written: &[u8], name: &[u8]) -> bool {
    let same = |(written, name): (&u8, &u8)| {
        written == name || (*name == b'_' && matches!(written, b' ' | b'.' | b'['))
    };
    written.len() == name.len() && written.iter().zip(name).all(same)
}

/// Whether there is nothing but keys in brackets.
fn are_keys(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(key) = rest.strip_prefix(b"[") {
        let Some(end) = memchr::memchr2(b']', b'[', key) else { return false };
        if key[end] == b'[' {
            return false;
        }
        rest = &key[end + 1..];
    }
    rest.is_empty()
}

/// How many picks keys take; `None` if they lead elsewhere. What follows the last pick is below it.
fn taken_of_keys(text: &[u8], picks: &[Pick]) -> Option<usize> {
    let mut rest = text;
    let mut count = 0;
    while let (Some(key), Some(pick)) = (rest.strip_prefix(b"["), picks.get(count)) {
        let end = memchr::memchr(b']', key).unwrap_or(key.len());
        let meets = match pick {
            Pick::Any => true,
            // An empty key is some number.
            Pick::Name { text, index } => key[..end] == **text || (end == 0 && index.is_some()),
        };
        if !meets {
            return None;
        }
        count += 1;
        rest = key.get(end + 1..).unwrap_or_default();
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_by(name: &str, point: &[&str], names: Names) -> usize {
        let pick = |text: &&str| match *text {
            "*" => Pick::Any,
            text => Pick::Name { text: text.as_bytes().into(), index: text.parse().ok() },
        };
        taken_of_field(name.as_bytes(), &point.iter().map(pick).collect::<Vec<_>>(), names)
    }

    #[test]
    fn keys_in_brackets_are_steps() {
        let table: [(&str, &[&str], usize); 17] = [
            ("id", &["id"], 1),
            ("id[]", &["id"], 1),
            ("id[0]", &["id"], 1),
            ("id[a][b]", &["id"], 1),
            ("id[a][b]", &["id", "a"], 2),
            ("id[a][b]", &["id", "a", "b"], 3),
            ("id[a][b]", &["id", "b"], 0),
            ("id[a]", &["id", "a", "b"], 2),
            ("id[a]", &["*", "a"], 2),
            ("id[a]", &["id", "*"], 2),
            ("id[]", &["id", "3"], 2),
            ("id[]", &["id", "a"], 0),
            ("id[a][b]", &["id[a]"], 1),
            ("id[a]", &["id[a]"], 1),
            ("idx[a]", &["id"], 0),
            ("x[id]", &["id"], 0),
            ("a.b[c]", &["a", "b", "c"], 3),
        ];
        for (name, point, expected) in table {
            for names in [Names::Sure, Names::Possible] {
                assert_eq!(taken_by(name, point, names), expected, "{name} {point:?} {names:?}");
            }
        }
    }

    #[test]
    fn what_only_some_servers_take_for_a_name_is_possible() {
        for (name, point) in [
            ("id[a", "id"),
            ("id[a]b", "id"),
            ("id[a][", "id"),
            ("id[[a]]", "id"),
            ("user.id", "user_id"),
            ("user[id", "user_id"),
            (" user id", "user_id"),
            (" id", "id"),
        ] {
            assert_eq!(taken_by(name, &[point], Names::Possible), 1, "{name}");
            assert_eq!(taken_by(name, &[point], Names::Sure), 0, "{name}");
        }
        assert_eq!(taken_by("user-id", &["user_id"], Names::Possible), 0);
    }
}
