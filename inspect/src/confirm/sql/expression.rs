//! What an expression holds, and whether that is more than a text would say where it stands.

/// The most bytes of a literal left open behind an apostrophe: the query closes it.
const APOSTROPHE_TEXT_BYTES_MAX: usize = 6;

/// What stood before the expression.
#[derive(Debug, Clone, Copy)]
pub(super) enum Context<'a> {
    /// The value stands in the query as it is: a number or a name.
    Bare,
    /// A quote in the value has ended a literal; what lies before it, the quote, and whether it may be an apostrophe.
    Quoted { before: &'a [u8], quote: u8, apostrophe: bool },
}

/// What an expression holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// `and`, `or` and so on behind an operand.
    pub(super) logic: bool,
    /// The first thing behind the value that the application expects is a logical operator.
    pub(super) logic_first: bool,
    /// The value begins with a logical operator.
    pub(super) leading_logic: bool,
    pub(super) compares: bool,
    /// `true`, `false` or `null`.
    pub(super) constant: bool,
    /// Behind a logical operator a constant is compared with another one: `or 1=1`.
    pub(super) tautology: bool,
    pub(super) calculates: bool,
    pub(super) telling_call: bool,
    pub(super) common_call: bool,
    /// A variable of the system.
    pub(super) system_variable: bool,
    pub(super) select: bool,
    pub(super) from: bool,
    pub(super) union: bool,
    /// `case when .. then`.
    pub(super) case: bool,
    /// A clause behind a condition, over a number or an expression.
    pub(super) clause: bool,
    pub(super) having: bool,
    pub(super) stacked: bool,
    /// The rest of the query is cut off by a comment.
    pub(super) comment_end: bool,
    pub(super) cast: bool,
    /// A literal is left open, with so many bytes in it.
    pub(super) open_text: Option<usize>,
    /// The last byte of the value: the mark of a literal that is left open with nothing in it.
    pub(super) last_byte: Option<u8>,
    pub(super) last_is_number: bool,
    /// How many bare names there are, and the bytes of the shortest.
    pub(super) names: usize,
    pub(super) shortest_name: usize,
    pub(super) operands: usize,
    pub(super) starts_with_value: bool,
}

impl Seen {
    pub(super) fn injects(&self, context: Context<'_>) -> bool {
        let reads = self.telling_call || self.select_counts() || self.case || self.union;
        match context {
            Context::Quoted { apostrophe: true, .. }
                if !self.comment_end
                    && self.open_text.is_none_or(|length| length > APOSTROPHE_TEXT_BYTES_MAX)
                    && !self.stacked
                    && (self.names > 0 || !self.last_is_number || self.clause) =>
            {
                self.telling_call
            }
            Context::Quoted { before, quote, .. } => {
                let opens =
                    self.open_text.is_some_and(|length| length <= 3) && !self.names_marks(before, quote);
                let ends = self.comment_end || opens;
                let short = before.len() <= 16 && !before.contains(&b' ');
                reads
                    || self.stacked
                    || self.logic
                        && (self.compares
                            || self.common_call
                            || self.system_variable
                            || self.names == 0
                                && (ends
                                    || self.constant
                                    || before.is_empty() && self.operands == 1 && self.last_is_number)
                            || self.comment_end)
                    || self.common_call && (ends || self.open_text.is_some())
                    || self.system_variable
                    || self.clause && (self.comment_end || self.having && self.compares || before.len() <= 8)
                    || self.cast && self.compares
                    || (self.compares || self.calculates)
                        && self.names == 0
                        && ends
                        && short
                        && (quote == b'\'' || !before.is_empty() || self.operands > 1)
            }
            Context::Bare => {
                let constant = self.names == 0 || self.shortest_name >= 3;
                let condition = self.compares || self.telling_call || self.common_call || self.case;
                let condition = condition || self.constant && self.names == 0;
                let value_first = self.starts_with_value;
                self.logic && self.logic_first && value_first && constant && (condition || self.select)
                    || self.leading_logic && self.compares && self.names == 0 && self.operands > 1
                    || self.select_counts() && (value_first || self.telling_call || self.system_variable)
                    || self.telling_call && self.operands > 0 && (self.names == 0 || value_first || self.cast)
                    || self.union && (value_first || self.operands > 0)
                    || self.case && (self.compares && self.computes() || value_first)
                    || self.cast && self.compares && value_first
                    || self.tautology
                    || self.stacked && value_first
                    || self.clause && self.comment_end && value_first && self.last_is_number
            }
        }
    }

    /// Whether the value is a text that names two different marks: `when it holds ' or "`.
    fn names_marks(&self, before: &[u8], quote: u8) -> bool {
        let text = before.trim_ascii();
        self.operands == 1
            && self.open_text == Some(0)
            && self.last_byte != Some(quote)
            && before.last().is_some_and(u8::is_ascii_whitespace)
            && text.last().is_some_and(u8::is_ascii_alphabetic)
            && text.contains(&b' ')
    }

    /// Constants, calls or queries: texts compare things by their names.
    fn computes(&self) -> bool {
        self.names == 0 || self.common_call || self.telling_call || self.select || self.system_variable
    }

    /// A query inside the value that is more than the word.
    pub(super) fn select_counts(&self) -> bool {
        self.select && (self.from || self.names == 0 || self.telling_call || self.system_variable)
    }
}
