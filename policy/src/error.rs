//! Errors and warnings of the compiler, each with its place in the source.

use std::fmt;

/// Where in the source something stands. Indexes count from 0 in the order of the source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// The source as a whole.
    Policy,
    /// The http context.
    Http,
    /// A server.
    Server {
        /// Index among the servers.
        server: usize,
        /// Its name.
        name: String,
    },
    /// A location.
    Location {
        /// Index of its server among the servers.
        server: usize,
        /// The server's name.
        server_name: String,
        /// Index among the server's locations.
        location: usize,
        /// Its path.
        path: String,
    },
    /// A rule.
    Rule {
        /// Index among the rules.
        index: usize,
        /// Its id.
        id: u64,
    },
    /// Entries of the lists, none in particular.
    Lists,
    /// An entry of the address lists.
    Entry {
        /// Index among the entries about addresses.
        index: usize,
    },
    /// An entry about what addresses are.
    AttributeEntry {
        /// Index among those entries.
        index: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy => f.write_str("policy"),
            Self::Http => f.write_str("http"),
            Self::Server { name, .. } => write!(f, "server `{name}`"),
            Self::Location { server_name, path, .. } => {
                write!(f, "server `{server_name}`, location `{path}`")
            }
            Self::Rule { id, .. } => write!(f, "rule {id}"),
            Self::Lists => f.write_str("list entries"),
            Self::Entry { index } | Self::AttributeEntry { index } => write!(f, "list entry {}", index + 1),
        }
    }
}

/// Why a source can't be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// Where.
    pub place: Place,
    /// The key that is wrong, as written in the config: `hosts`, `path`, `uri`, `when[0].value`.
    pub key: String,
    /// What was found there and why it can't stay.
    pub problem: String,
    /// What would be right.
    pub expected: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, key, problem, expected } = self;
        write!(f, "{place}: `{key}`: {problem}; expected {expected}")
    }
}

impl std::error::Error for CompileError {}

/// Something that compiles and is probably not what was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What is odd, and what it leads to.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
