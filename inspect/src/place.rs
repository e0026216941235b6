//! The kinds of places in a request that a value can come from, and sets of them.

/// Where in a request a value comes from: what a signature's `points` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The path as a whole or one segment of it.
    Path,
    /// The value of a query parameter.
    Query,
    /// A value inside the body.
    Body,
    /// The value of a cookie.
    Cookie,
    /// A header's value, but for those below.
    Header,
    /// The User-Agent header.
    UserAgent,
    /// A query value or the path inside the URL of a Referer or Origin header.
    Referer,
    /// The name of a query parameter, form field, JSON key or cookie.
    Name,
    /// The content of an uploaded file, or a body that is not text.
    File,
    /// The name of an uploaded file. What applies to bodies applies to it as well.
    FileName,
}

impl Place {
    /// The names that signature files use.
    pub(crate) const NAMES: [(&'static str, Self); 10] = [
        ("path", Self::Path),
        ("query", Self::Query),
        ("body", Self::Body),
        ("cookie", Self::Cookie),
        ("header", Self::Header),
        ("user-agent", Self::UserAgent),
        ("referer", Self::Referer),
        ("name", Self::Name),
        ("file", Self::File),
        ("file-name", Self::FileName),
    ];
}

/// A set of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlaceSet(u16);

impl PlaceSet {
    /// The places that a signature without `points` applies to: all but file contents.
    pub(crate) const TEXT: Self = Self(0xff);

    /// The set of the places in a list.
    pub(crate) fn of(places: &[Place]) -> Self {
        Self(places.iter().fold(0, |bits, place| bits | 1 << *place as u16))
    }

    /// Whether `place` is in the set.
    pub(crate) const fn contains(self, place: Place) -> bool {
        let bits = match place {
            Place::FileName => 1 << Place::FileName as u16 | 1 << Place::Body as u16,
            _ => 1 << place as u16,
        };
        self.0 & bits != 0
    }
}

/// Names of parameters, in lower case and without any marks: `return_url`, `returnUrl` and `Return-URL` are one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ParameterNames(Vec<Box<[u8]>>);

impl ParameterNames {
    pub(crate) fn add(&mut self, name: &str) {
        self.0.push(name.to_ascii_lowercase().into_bytes().into());
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn first(&self) -> Option<&[u8]> {
        self.0.first().map(|name| &**name)
    }

    /// Whether the name is one of them. Of a name with brackets the last that are not empty nor a number count:
    /// `user[next][0]`.
    pub(crate) fn contain(&self, name: &[u8]) -> bool {
        let mut parts = name.rsplit(|byte| matches!(byte, b'[' | b']' | b'.'));
        let is_index = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        let Some(last) = parts.find(|part| !is_index(part)) else { return false };
        let letters = || last.iter().filter(|byte| byte.is_ascii_alphanumeric());
        self.0.iter().any(|known| letters().map(u8::to_ascii_lowercase).eq(known.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_all_spellings() {
        let mut names = ParameterNames::default();
        names.add("returnurl");
        for name in [
            "returnUrl",
            "RETURN_URL",
            "return-url",
            "login[return_url]",
            "a.returnUrl",
            "returnurl[]",
            "returnurl[0]",
        ] {
            assert!(names.contain(name.as_bytes()), "{name}");
        }
        for name in ["", "[]", "return", "returnurls", "returnurl[a]", "my_returnurl"] {
            assert!(!names.contain(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn text_places_are_all_but_files() {
        assert!(PlaceSet::TEXT.contains(Place::Path) && PlaceSet::TEXT.contains(Place::Name));
        assert!(!PlaceSet::TEXT.contains(Place::File));
        let set = PlaceSet::of(&[Place::Query, Place::File]);
        assert!(set.contains(Place::Query) && set.contains(Place::File) && !set.contains(Place::Path));
    }
}
