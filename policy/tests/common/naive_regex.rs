//! Regexes as trees, printed in the dialect of conditions and matched by trying everything.

use std::collections::BTreeSet;

use proptest::prelude::*;

#[derive(Debug, Clone)]
pub enum Naive {
    Byte(u8),
    Dot,
    Class(Vec<u8>, bool),
    Beginning,
    End,
    Sequence(Vec<Self>),
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    Repeat(Box<Self>, usize, Option<usize>),
}

/// A byte of the text, or one of the two marks around it.
type Letter = u16;
const BEGINNING: Letter = 256;
const END: Letter = 257;

impl Naive {
    /// Whether it occurs in a text that isn't empty.
    pub fn occurs_in(&self, text: &[u8]) -> bool {
        let marked: Vec<Letter> =
            [BEGINNING].into_iter().chain(text.iter().map(|&byte| byte.into())).chain([END]).collect();
        !text.is_empty() && (0..=marked.len()).any(|start| !self.ends(&marked, start).is_empty())
    }

    /// Where a match that starts here can end.
    fn ends(&self, text: &[Letter], start: usize) -> BTreeSet<usize> {
        let one = |fits: &dyn Fn(Letter) -> bool| {
            text.get(start).filter(|letter| fits(**letter)).map(|_| start + 1).into_iter().collect()
        };
        match self {
            Self::Byte(byte) => one(&|letter| letter == Letter::from(*byte)),
            Self::Dot => one(&|letter| letter < BEGINNING),
            Self::Class(bytes, negated) => {
                one(&|letter| letter < BEGINNING && bytes.contains(&(letter as u8)) != *negated)
            }
            Self::Beginning => one(&|letter| letter == BEGINNING),
            Self::End => one(&|letter| letter == END),
            Self::Sequence(parts) => parts.iter().fold(BTreeSet::from([start]), |ends, part| {
                ends.into_iter().flat_map(|end| part.ends(text, end)).collect()
            }),
            Self::Any(parts) => parts.iter().flat_map(|part| part.ends(text, start)).collect(),
            Self::All(parts) => (start..=text.len())
                .filter(|end| parts.iter().all(|part| part.ends(text, start).contains(end)))
                .collect(),
            Self::Not(inner) => {
                let inner = inner.ends(text, start);
                (start..=text.len()).filter(|end| !inner.contains(end)).collect()
            }
            Self::Repeat(inner, min, max) => {
                let mut reached = BTreeSet::from([start]);
                let mut all = BTreeSet::new();
                // more rounds than there are letters reach nothing new
                let most = max.unwrap_or(min + text.len() + 1);
                for round in 0..=most {
                    if round >= *min {
                        all.extend(&reached);
                    }
                    reached = reached.into_iter().flat_map(|end| inner.ends(text, end)).collect();
                }
                all
            }
        }
    }

    /// In the dialect; everything that could be taken apart stands in parentheses.
    pub fn written(&self) -> String {
        let joined = |parts: &[Self], by: &str| {
            format!("({})", parts.iter().map(Self::written).collect::<Vec<_>>().join(by))
        };
        match self {
            Self::Byte(byte) => {
                let character = char::from(*byte);
                if ".$^{[(|)*+?\\&~]".contains(character) {
                    format!("[{}{character}]", if "^\\]".contains(character) { "\\" } else { "" })
                } else {
                    character.to_string()
                }
            }
            Self::Dot => ".".to_owned(),
            Self::Class(bytes, negated) => {
                let members: String = bytes.iter().map(|&byte| char::from(byte)).collect();
                format!("[{}{members}]", if *negated { "^" } else { "" })
            }
            Self::Beginning => "^".to_owned(),
            Self::End => "$".to_owned(),
            Self::Sequence(parts) => joined(parts, ""),
            Self::Any(parts) => joined(parts, "|"),
            Self::All(parts) => joined(parts, "&"),
            Self::Not(inner) => format!("(~({}))", inner.written()),
            Self::Repeat(inner, min, max) => {
                let count = match (min, max) {
                    (0, None) => "*".to_owned(),
                    (1, None) => "+".to_owned(),
                    (0, Some(1)) => "?".to_owned(),
                    (min, None) => format!("{{{min},}}"),
                    (min, Some(max)) => format!("{{{min},{max}}}"),
                };
                format!("({}){count}", inner.written())
            }
        }
    }

    /// Letters in either case.
    pub fn in_any_case(&self) -> Self {
        let both = |bytes: &[u8]| {
            bytes.iter().flat_map(|byte| [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()]).collect()
        };
        let all = |parts: &[Self]| parts.iter().map(Self::in_any_case).collect();
        match self {
            Self::Byte(byte) => Self::Class(both(&[*byte]), false),
            Self::Class(bytes, negated) => Self::Class(both(bytes), *negated),
            Self::Sequence(parts) => Self::Sequence(all(parts)),
            Self::Any(parts) => Self::Any(all(parts)),
            Self::All(parts) => Self::All(all(parts)),
            Self::Not(inner) => Self::Not(Box::new(inner.in_any_case())),
            Self::Repeat(inner, min, max) => Self::Repeat(Box::new(inner.in_any_case()), *min, *max),
            other => other.clone(),
        }
    }
}

fn leaf() -> impl Strategy<Value = Naive> {
    prop_oneof![
        4 => prop::sample::select(b"abAB/1.".to_vec()).prop_map(Naive::Byte),
        2 => Just(Naive::Dot),
        1 => (prop::collection::vec(prop::sample::select(b"abA/".to_vec()), 1..3), any::<bool>())
            .prop_map(|(bytes, negated)| Naive::Class(bytes, negated)),
    ]
}

fn count() -> impl Strategy<Value = (usize, Option<usize>)> {
    prop::sample::select(vec![(0, None), (1, None), (0, Some(1)), (2, None), (1, Some(3)), (2, Some(2))])
}

/// Regexes with everything that the dialect has.
pub fn regex() -> impl Strategy<Value = Naive> {
    let leaf = prop_oneof![6 => leaf(), 1 => Just(Naive::Beginning), 1 => Just(Naive::End)];
    let inner = leaf.prop_recursive(3, 10, 3, |inner| {
        let several = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            4 => several().prop_map(Naive::Sequence),
            2 => several().prop_map(Naive::Any),
            2 => (inner.clone(), count()).prop_map(|(inner, (min, max))| Naive::Repeat(Box::new(inner), min, max)),
            1 => several().prop_map(Naive::All),
            1 => inner.clone().prop_map(|inner| Naive::Not(Box::new(inner))),
        ]
    });
    anchored(inner)
}

/// Regexes that all dialects read alike: marks at the ends alone.
pub fn plain_regex() -> impl Strategy<Value = Naive> {
    let inner = leaf().prop_recursive(2, 8, 3, |inner| {
        let several = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            3 => several().prop_map(Naive::Sequence),
            1 => several().prop_map(Naive::Any),
            1 => (inner.clone(), count()).prop_map(|(inner, (min, max))| Naive::Repeat(Box::new(inner), min, max)),
        ]
    });
    anchored(inner)
}

fn anchored(inner: impl Strategy<Value = Naive>) -> impl Strategy<Value = Naive> {
    (any::<bool>(), inner, any::<bool>()).prop_map(|(from_start, inner, to_end)| {
        let start = from_start.then_some(Naive::Beginning);
        let end = to_end.then_some(Naive::End);
        Naive::Sequence(start.into_iter().chain([inner]).chain(end).collect())
    })
}
