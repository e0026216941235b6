//! Names of parameters, cookies and fields of forms, as servers take them apart: `id[]`, `id[0]` and `id[a][b]` are values
//! below `id`.

use crate::directives::selector::{Names, Pick};
use crate::directives::spelling::{Spelling, taken};

/// How much of a name is compared, in bytes. No name that a rule gives is as long.
const NAME_BYTES_MAX: usize = 4096;

/// At how many open brackets a name is divided into its start and keys. No name that a rule gives has as many.
const BRACKETS_MAX: usize = 64;

/// How many picks a field's name takes, of which there is at least one: those of its start, and of the keys in brackets
/// behind that. What is longer than is compared is never sure to be the name, and possibly is if its begin is.
pub(super) fn taken_of_field(name: &[u8], picks: &[Pick], names: Names) -> usize {
    let name = match (name.get(..NAME_BYTES_MAX), names) {
        (None, _) => name,
        (Some(_), Names::Sure) => return 0,
        // Any name may follow, and some servers leave out the blanks before it.
        (Some(start), Names::Possible) if start.trim_ascii_start().is_empty() => return picks.len(),
        (Some(start), Names::Possible) => start,
    };
    if names == Names::Possible && name.contains(&0) {
        let taken = taken_of_text(up_to_nul(name), picks, names);
        if taken > 0 {
            return taken;
        }
    }
    taken_of_text(name, picks, names)
}

fn taken_of_text(name: &[u8], picks: &[Pick], names: Names) -> usize {
    if names == Names::Possible
        && name.starts_with(b"[")
        && let Some(of_keys @ 1..) = taken_of_keys(name, picks, names)
    {
        return of_keys;
    }
    let blanks = name.len() - name.trim_ascii_start().len();
    for bracket in memchr::memchr_iter(b'[', name).take(BRACKETS_MAX) {
        let (start, keys) = name.split_at(bracket);
        let of_start = taken_at_start(start, blanks, picks, names);
        if of_start == 0 || (names == Names::Sure && !are_keys(keys)) {
            continue;
        }
        if let Some(of_keys) = taken_of_keys(keys, &picks[of_start..], names) {
            return of_start + of_keys;
        }
    }
    taken_at_start(name, blanks, picks, names)
}

/// What a name without keys takes, which begins with so many blanks.
fn taken_at_start(name: &[u8], blanks: usize, picks: &[Pick], names: Names) -> usize {
    match (taken(name, picks, Spelling::Exact), names) {
        (0, Names::Possible) => match taken(name, picks, Spelling::AnyField) {
            0 => taken(name[blanks..].trim_ascii_end(), picks, Spelling::AnyField),
            taken => taken,
        },
        (taken, _) => taken,
    }
}

/// What readers see of a name that take a NUL byte for its end.
pub(super) fn up_to_nul(name: &[u8]) -> &[u8] {
    let looked_at = &name[..name.len().min(NAME_BYTES_MAX)];
    memchr::memchr(0, looked_at).map_or(name, |end| &name[..end])
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
fn taken_of_keys(text: &[u8], picks: &[Pick], names: Names) -> Option<usize> {
    let spelling = match names {
        Names::Sure => Spelling::Exact,
        Names::Possible => Spelling::AnyCase,
    };
    let mut rest = text;
    let mut count = 0;
    while let (Some(key), Some(pick)) = (rest.strip_prefix(b"["), picks.get(count)) {
        let end = memchr::memchr(b']', key).unwrap_or(key.len());
        let meets = match pick {
            Pick::Any => true,
            // An empty key is some number.
            Pick::Name { text, index, .. } => {
                spelling.same(&key[..end], text) || (end == 0 && index.is_some())
            }
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
        let pick = |text: &&str| Pick::of(Some(*text).filter(|text| *text != "*"));
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
            ("id ", "id"),
            ("id\0x", "id"),
            ("[id]", "id"),
            ("ID", "id"),
            ("id", "Id"),
            ("user_id", "user.id"),
        ] {
            assert_eq!(taken_by(name, &[point], Names::Possible), 1, "{name}");
            assert_eq!(taken_by(name, &[point], Names::Sure), 0, "{name}");
        }
        assert_eq!(taken_by("user-id", &["user_id"], Names::Possible), 0);
        assert_eq!(taken_by("user_id", &["user", "id"], Names::Possible), 2);
        assert_eq!(taken_by("id[A]", &["id", "a"], Names::Possible), 2);
    }

    #[test]
    fn of_a_long_name_only_the_begin_is_compared() {
        let long = |begin: &str, filling: &str| format!("{begin}{}", filling.repeat(NAME_BYTES_MAX));
        for name in
            [long("id[", "a"), long("id", " "), long("id", "[a]"), long("", " ") + "id", long("", " ") + "x"]
        {
            assert!(taken_by(&name, &["id"], Names::Possible) > 0, "{}", &name[..8]);
            assert_eq!(taken_by(&name, &["id"], Names::Sure), 0, "{}", &name[..8]);
        }
        assert_eq!(taken_by(&long("", "x"), &["id"], Names::Possible), 0);
        assert_eq!(taken_by(&long(" ", "["), &["id"], Names::Possible), 0);
        assert_eq!(taken_by(&("[a]".repeat(BRACKETS_MAX) + "x[b]"), &["x"], Names::Possible), 0);
        let far = "a".repeat(NAME_BYTES_MAX) + "\0";
        assert_eq!(up_to_nul(far.as_bytes()).len(), far.len());
    }

    #[test]
    fn names_in_points_may_be_percent_encoded() {
        for names in [Names::Sure, Names::Possible] {
            assert_eq!(taken_by("a\n", &["a%0A"], names), 1);
            assert_eq!(taken_by("a%0A", &["a%0A"], names), 1);
            assert_eq!(taken_by("a%0A", &["a\n"], names), 0);
        }
    }
}
