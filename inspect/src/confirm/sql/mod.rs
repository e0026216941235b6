//! The SQL grammar: does a value go on with SQL behind the literal or the number that the application put it into?
//!
//! Natural language puts names next to each other; an expression has an operator between any two operands. So a value is
//! read as an expression from where a literal of the query would end, and whatever breaks the grammar before the value
//! or a comment ends it is no injection. Of what follows the grammar, only shapes that a query needs count.

mod lexer;
mod statement;
mod words;

use crate::reading;
use lexer::{Lexer, Token};
use words::Kind;

/// How much of a value is read from one start, in bytes.
const READ_BYTES_MAX: usize = 1024;

/// The farthest from its start that a value's first literal ends.
const LITERAL_BYTES_MAX: usize = 256;

/// The most bytes behind the first quote of a longer text.
const TAIL_BYTES_MAX: usize = 96;

/// The most bytes of a literal left open behind an apostrophe: the query closes it.
const APOSTROPHE_TEXT_BYTES_MAX: usize = 6;

/// What stood before the expression.
#[derive(Debug, Clone, Copy)]
enum Context<'a> {
    /// The value stands in the query as it is: a number or a name.
    Bare,
    /// A quote in the value has ended a literal; what lies before it, the quote, and whether it may be an apostrophe.
    Quoted { before: &'a [u8], quote: u8, apostrophe: bool },
}

/// Whether the value goes on with SQL, from its start or from its first quotes on.
pub(super) fn is_injection(value: &[u8]) -> bool {
    let injects = |context, text| parse(context, text).is_some_and(|seen| seen.injects(context));
    if !is_search_for_phrases(value) && injects(Context::Bare, head(value)) {
        return true;
    }
    let first = |quote| memchr::memchr(quote, &value[..value.len().min(LITERAL_BYTES_MAX)]);
    QUOTES.into_iter().filter_map(first).any(|start| ends_literal(value, start))
}

/// Whether a value is what a search may ask for: several words in quotes that are to be found in a row, more of these with a
/// word between, and perhaps where: `"where to stay" or "what to eat" in lisbon`. Nothing in it is compared.
fn is_search_for_phrases(value: &[u8]) -> bool {
    let mut parts = head(value).split(|byte| *byte == b'"');
    if value.len() > READ_BYTES_MAX || !parts.next().is_some_and(|before| before.trim_ascii().is_empty()) {
        return false;
    }
    loop {
        let (Some(phrase), Some(between)) = (parts.next(), parts.next()) else { return false };
        if !is_phrase(phrase) {
            return false;
        }
        let between = between.trim_ascii();
        let is_last = parts.clone().next().is_none();
        if is_last {
            return between.is_empty() || is_place(between);
        }
        if !between.is_empty() && words::kind(between) != Kind::Logic {
            return false;
        }
    }
}

/// Whether a text in quotes is of several words.
fn is_phrase(text: &[u8]) -> bool {
    let is_word_byte = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    text.contains(&b' ') && text.first().is_some_and(is_word_byte) && text.last().is_some_and(is_word_byte)
}

/// Whether a text is `in` and names behind it.
fn is_place(text: &[u8]) -> bool {
    let mut names = text.split(u8::is_ascii_whitespace);
    let is_name = |word: &[u8]| {
        word.iter().all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
            && (word.is_empty() || words::kind(word) == Kind::Name)
    };
    names.next().is_some_and(|word| word.eq_ignore_ascii_case(b"in")) && names.all(is_name)
}

/// Whether the value goes on with SQL behind the quote at `start`, one that [`is_injection`] has not looked at: a later
/// quote ends a literal only where those of its kind before it are in pairs, and one far from the start only where little
/// follows it.
pub(super) fn is_injection_behind(value: &[u8], start: usize) -> bool {
    let Some(quote) = value.get(start).filter(|byte| QUOTES.contains(byte)) else { return false };
    let first = memchr::memchr(*quote, value) == Some(start);
    let counts = if first {
        start >= LITERAL_BYTES_MAX && value.len() - start <= TAIL_BYTES_MAX
    } else {
        are_in_pairs(value, start)
    };
    counts && ends_literal(value, start)
}

/// Whether the quotes before the one at `start`, of its kind, are in pairs. Those inside of words are none: `It's 'so'`.
pub(super) fn are_in_pairs(value: &[u8], start: usize) -> bool {
    let Some(quote) = value.get(start) else { return true };
    reading::note(start);
    let before = memchr::memchr_iter(*quote, &value[..start]);
    before.filter(|position| !is_inside_word(value, *position)).count().is_multiple_of(2)
}

/// Whether the quote at `position` is an apostrophe between two letters.
fn is_inside_word(value: &[u8], position: usize) -> bool {
    let is_letter =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
    value[position] == b'\'' && is_letter(value[..position].last()) && is_letter(value.get(position + 1))
}

const QUOTES: [u8; 3] = [b'\'', b'"', b'`'];

/// Whether the value goes on with SQL if the quote at `start` ends a literal.
fn ends_literal(value: &[u8], start: usize) -> bool {
    let from = start.saturating_sub(LITERAL_BYTES_MAX);
    let apostrophe = is_apostrophe(value, start);
    let context = Context::Quoted { before: &value[from..start], quote: value[start], apostrophe };
    parse(context, head(&value[start + 1..])).is_some_and(|seen| seen.injects(context))
}

/// Whether the quote at `start` is one that texts have too: behind a plural or a name that ends in `s`, or as the prime of
/// a variable, with a blank behind it; or one that opens a citation.
pub(super) fn is_apostrophe(value: &[u8], start: usize) -> bool {
    let (before, rest) = value.split_at(start);
    let last_word = before.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).take(3).count();
    opens_citation(before, rest)
        || rest.starts_with(b"'")
            && rest.get(1).is_some_and(u8::is_ascii_whitespace)
            && match last_word {
                0 => false,
                1 => true,
                _ => matches!(before.last(), Some(b's' | b'S')),
            }
}

/// Whether the quote at the start of `rest` opens what a text cites: behind a word and a blank, right before a word.
fn opens_citation(before: &[u8], rest: &[u8]) -> bool {
    let word = before.trim_ascii_end();
    word.len() < before.len()
        && word.last().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b',' | b';' | b':'))
        && rest.get(1).is_some_and(u8::is_ascii_alphabetic)
}

fn head(text: &[u8]) -> &[u8] {
    &text[..text.len().min(READ_BYTES_MAX)]
}

/// What an expression holds.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// `and`, `or` and so on behind an operand.
    logic: bool,
    /// The first thing behind the value that the application expects is a logical operator.
    logic_first: bool,
    /// The value begins with a logical operator.
    leading_logic: bool,
    compares: bool,
    /// `true`, `false` or `null`.
    constant: bool,
    /// Behind a logical operator a constant is compared with another one: `or 1=1`.
    tautology: bool,
    calculates: bool,
    telling_call: bool,
    common_call: bool,
    /// A variable of the system.
    system_variable: bool,
    select: bool,
    from: bool,
    union: bool,
    /// `case when .. then`.
    case: bool,
    /// A clause behind a condition, over a number or an expression.
    clause: bool,
    having: bool,
    stacked: bool,
    /// The rest of the query is cut off by a comment.
    comment_end: bool,
    cast: bool,
    /// A literal is left open, with so many bytes in it.
    open_text: Option<usize>,
    /// The last byte of the value: the mark of a literal that is left open with nothing in it.
    last_byte: Option<u8>,
    last_is_number: bool,
    /// How many bare names there are, and the bytes of the shortest.
    names: usize,
    shortest_name: usize,
    operands: usize,
    starts_with_value: bool,
}

impl Seen {
    fn injects(&self, context: Context<'_>) -> bool {
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
    fn select_counts(&self) -> bool {
        self.select && (self.from || self.names == 0 || self.telling_call || self.system_variable)
    }
}

/// Whether a sentence comes next: two names in a row and one more word.
fn words_follow(mut lexer: Lexer<'_>) -> bool {
    let mut is_name = || matches!(lexer.next(), Some(Token::Word(word)) if words::kind(word) == Kind::Name);
    is_name() && is_name() && matches!(lexer.next(), Some(Token::Word(_)))
}

/// Reads an expression; `None` where the grammar is broken.
fn parse(context: Context<'_>, text: &[u8]) -> Option<Seen> {
    let mut parser = Parser {
        lexer: Lexer::new(text),
        seen: Seen { shortest_name: usize::MAX, last_byte: text.last().copied(), ..Seen::default() },
        wants_operand: matches!(context, Context::Bare),
        after_open: false,
        alias_allowed: false,
        is_start: true,
        tautology: Tautology::No,
        is_bare: matches!(context, Context::Bare),
        depth: 0,
        is_list: false,
    };
    while let Some(token) = parser.lexer.next() {
        match parser.step(token)? {
            Step::On => {}
            Step::End => break,
        }
        parser.is_start = false;
    }
    let seen = parser.seen;
    // The query may go on where the value ends: `or 1=`.
    let condition = seen.logic && seen.compares && seen.names == 0;
    let complete = !parser.wants_operand || seen.comment_end || seen.open_text.is_some() || condition;
    complete.then_some(seen)
}

enum Step {
    On,
    End,
}

#[derive(Debug)]
struct Parser<'a> {
    lexer: Lexer<'a>,
    seen: Seen,
    /// Whether an operand has to come next, or else an operator.
    wants_operand: bool,
    /// Whether the last token was an opening bracket.
    after_open: bool,
    /// Whether a name may follow an operand as its alias: inside of a query.
    alias_allowed: bool,
    is_start: bool,
    /// How far a comparison of two constants has got.
    tautology: Tautology,
    is_bare: bool,
    /// How many brackets are open.
    depth: usize,
    /// Whether there was a comma outside of brackets.
    is_list: bool,
}

/// The steps of a comparison of two constants behind a logical operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tautology {
    No,
    Logic,
    Constant,
    Compare,
}

impl<'a> Parser<'a> {
    fn step(&mut self, token: Token<'a>) -> Option<Step> {
        let after_open = std::mem::take(&mut self.after_open);
        self.follow_tautology(token);
        if !matches!(token, Token::CommentToEnd | Token::Close) {
            self.seen.last_is_number = matches!(token, Token::Number);
        }
        match token {
            Token::Number | Token::Text => {
                self.seen.starts_with_value |= self.seen.operands == 0;
                self.operand()?;
            }
            Token::OpenText(length) => {
                self.operand()?;
                self.seen.open_text = Some(length);
                return Some(Step::End);
            }
            Token::Variable(name) => {
                self.seen.system_variable |= name.starts_with(b"@@") && name.len() > 4;
                self.operand()?;
            }
            Token::Word(word) if self.starts_query(word) => return Some(Step::End),
            Token::Word(word) => self.word(word)?,
            Token::Logic => self.logic()?,
            Token::Compare => {
                self.operator()?;
                self.seen.compares = true;
            }
            Token::Calculate if self.wants_operand => {
                // A sign before an operand, or the star of a list of columns.
                self.wants_operand = !self.is_star();
            }
            Token::Calculate => {
                self.operator()?;
                self.seen.calculates = true;
            }
            Token::Cast => {
                (!self.wants_operand).then_some(())?;
                self.seen.cast = true;
            }
            Token::Assign => self.operator()?,
            Token::Open => {
                if !self.wants_operand {
                    return None;
                }
                self.seen.starts_with_value |= self.seen.operands == 0;
                self.after_open = true;
                self.depth += 1;
            }
            Token::Close => {
                if self.wants_operand && !after_open {
                    return None;
                }
                self.depth = self.depth.saturating_sub(1);
                self.wants_operand = false;
            }
            Token::Comma => {
                self.operator()?;
                self.is_list |= self.depth == 0;
            }
            Token::Semicolon => {
                self.seen.stacked = statement::follows(self.lexer);
                if !self.seen.stacked && self.may_be_list_in_text() && words_follow(self.lexer) {
                    return None;
                }
                let cut_off = matches!(self.lexer.next(), Some(Token::CommentToEnd));
                self.seen.comment_end |= cut_off && self.seen.compares && !self.wants_operand;
                return Some(Step::End);
            }
            Token::CommentToEnd => {
                self.seen.comment_end = true;
                return Some(Step::End);
            }
            Token::Foreign => return None,
        }
        Some(Step::On)
    }

    /// Whether what was read may be a list of conditions in a text: nothing but constants, names and commas between them.
    const fn may_be_list_in_text(&self) -> bool {
        let seen = &self.seen;
        let queries = seen.select || seen.union || seen.case || seen.clause || seen.cast;
        let calls = seen.telling_call || seen.common_call || seen.system_variable;
        self.is_bare && self.is_list && !queries && !calls && !seen.comment_end
    }

    fn follow_tautology(&mut self, token: Token<'a>) {
        self.tautology = match (self.tautology, token) {
            (step, Token::Open) => step,
            (_, Token::Logic) => Tautology::Logic,
            (_, Token::Word(word)) if words::kind(word) == Kind::Logic => Tautology::Logic,
            (Tautology::Logic, Token::Number | Token::Text) => Tautology::Constant,
            (Tautology::Constant, Token::Compare) => Tautology::Compare,
            (Tautology::Compare, Token::Number | Token::Text) => {
                self.seen.tautology = true;
                Tautology::No
            }
            _ => Tautology::No,
        };
    }

    /// Whether another query is put behind a whole condition: badly, but no text does that.
    fn starts_query(&self, word: &[u8]) -> bool {
        let condition = self.seen.logic && self.seen.compares && self.seen.names == 0 && !self.wants_operand;
        condition
            && match words::kind(word) {
                Kind::Select => true,
                Kind::Union => self.lexer.rest().trim_ascii().is_empty(),
                _ => false,
            }
    }

    fn operand(&mut self) -> Option<()> {
        self.wants_operand.then_some(())?;
        self.wants_operand = false;
        self.seen.operands += 1;
        Some(())
    }

    fn operator(&mut self) -> Option<()> {
        (!self.wants_operand).then_some(())?;
        self.wants_operand = true;
        Some(())
    }

    fn logic(&mut self) -> Option<()> {
        if self.wants_operand {
            self.seen.leading_logic = self.is_start;
            return self.is_start.then_some(());
        }
        let nothing_yet = !self.seen.compares && self.seen.names == 0;
        self.seen.logic_first |= nothing_yet && !self.seen.logic;
        self.seen.logic = true;
        self.operator()
    }

    /// Whether a star that stands for an operand follows what can have one, by what comes after it.
    fn is_star(&self) -> bool {
        let mut ahead = self.lexer;
        let next = ahead.next();
        self.seen.select && matches!(next, Some(Token::Close | Token::Comma | Token::Word(_)))
            || matches!(next, Some(Token::Close))
    }

    fn is_call(&self) -> bool {
        let mut ahead = self.lexer;
        matches!(ahead.next(), Some(Token::Open))
    }

    fn next_is(&mut self, list: &str) -> bool {
        let mut ahead = self.lexer;
        let found = matches!(ahead.next(), Some(Token::Word(word)) if words::is_one_of(list, word));
        if found {
            self.lexer = ahead;
        }
        found
    }

    fn word(&mut self, word: &'a [u8]) -> Option<()> {
        let kind = words::kind(word);
        if self.wants_operand
            && self.is_call()
            && !matches!(kind, Kind::Select | Kind::Prefix | Kind::Logic | Kind::Case)
        {
            return self.call(word);
        }
        match kind {
            Kind::Logic => self.logic()?,
            Kind::Prefix if self.wants_operand => {}
            Kind::Prefix => {
                // `a not like b`.
                let negates =
                    word.eq_ignore_ascii_case(b"not") && self.next_is("like rlike regexp in between ilike");
                negates.then_some(())?;
                self.operator()?;
                self.seen.compares = true;
            }
            Kind::Compare => {
                self.operator()?;
                self.seen.compares = true;
                // `sounds like`, `is not`, `similar to`.
                _ = self.next_is("not like to distinct");
            }
            Kind::Calculate => {
                self.operator()?;
                self.seen.calculates = true;
            }
            Kind::Constant => {
                self.operand()?;
                self.seen.constant = true;
            }
            Kind::Select => self.select()?,
            Kind::Union => self.union()?,
            Kind::Case => self.case(word)?,
            Kind::Clause => self.clause(word)?,
            Kind::Inner => self.inner(word)?,
            Kind::Name if self.wants_operand => {
                self.seen.names += 1;
                self.seen.shortest_name = self.seen.shortest_name.min(word.len());
                self.operand()?;
            }
            // An alias; nothing but a clause or a comma can follow it.
            Kind::Name => {
                std::mem::take(&mut self.alias_allowed).then_some(())?;
                self.seen.names += 1;
            }
        }
        Some(())
    }

    fn call(&mut self, word: &[u8]) -> Option<()> {
        self.seen.telling_call |= words::is_telling_function(word);
        self.seen.common_call |= words::is_common_function(word);
        if !words::is_common_function(word) && !words::is_telling_function(word) {
            self.seen.names += 1;
            self.seen.shortest_name = self.seen.shortest_name.min(word.len());
        }
        self.seen.operands += 1;
        // The bracket is taken as one that opens an operand.
        _ = self.lexer.next();
        self.after_open = true;
        self.depth += 1;
        Some(())
    }

    fn select(&mut self) -> Option<()> {
        self.wants_operand.then_some(())?;
        self.seen.select = true;
        self.alias_allowed = true;
        if self.next_is("all distinct distinctrow top") {
            let mut ahead = self.lexer;
            if matches!(ahead.next(), Some(Token::Number)) {
                let mut behind = ahead;
                if !matches!(behind.next(), Some(Token::Comma | Token::Close) | None) {
                    self.lexer = ahead;
                }
            }
        }
        Some(())
    }

    fn union(&mut self) -> Option<()> {
        if self.wants_operand && !self.is_start {
            return None;
        }
        _ = self.next_is("all distinct distinctrow");
        let mut ahead = self.lexer;
        loop {
            match ahead.next()? {
                Token::Open => {}
                Token::Word(word) if words::is_one_of("select values table", word) => break,
                _ => return None,
            }
        }
        self.lexer = ahead;
        _ = self.next_is("all distinct distinctrow row");
        self.seen.union = true;
        self.seen.select = true;
        self.alias_allowed = true;
        self.wants_operand = true;
        Some(())
    }

    fn case(&mut self, word: &[u8]) -> Option<()> {
        if word.eq_ignore_ascii_case(b"case") {
            return self.wants_operand.then_some(());
        }
        if word.eq_ignore_ascii_case(b"end") {
            (!self.wants_operand).then_some(())?;
            return Some(());
        }
        // `when` follows `case` or an operand; `then` and `else` follow an operand.
        let is_when = word.eq_ignore_ascii_case(b"when");
        (!self.wants_operand || is_when).then_some(())?;
        self.seen.case |= word.eq_ignore_ascii_case(b"then");
        self.wants_operand = true;
        Some(())
    }

    fn clause(&mut self, word: &[u8]) -> Option<()> {
        if self.wants_operand && !self.is_start {
            return None;
        }
        if words::is_one_of("order group", word) && !self.next_is("by")
            || word.eq_ignore_ascii_case(b"procedure") && !self.is_analyse()
            || word.eq_ignore_ascii_case(b"into")
                && !self.next_is("outfile dumpfile")
                && !self.goes_into_variable()
            || words::is_one_of("where fetch window for", word) && !self.seen.select
            || words::is_one_of("offset", word) && !self.seen.clause
        {
            return None;
        }
        self.seen.having |= word.eq_ignore_ascii_case(b"having");
        self.seen.clause |= !word.eq_ignore_ascii_case(b"where");
        self.alias_allowed = false;
        self.wants_operand = true;
        Some(())
    }

    fn is_analyse(&self) -> bool {
        let mut ahead = self.lexer;
        matches!(ahead.next(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(b"analyse"))
    }

    fn goes_into_variable(&self) -> bool {
        let mut ahead = self.lexer;
        matches!(ahead.next(), Some(Token::Variable(_)))
    }

    fn inner(&mut self, word: &[u8]) -> Option<()> {
        if word.eq_ignore_ascii_case(b"asc") || word.eq_ignore_ascii_case(b"desc") {
            return (self.seen.clause && !self.wants_operand).then_some(());
        }
        if word.eq_ignore_ascii_case(b"as") {
            (!self.wants_operand).then_some(())?;
            // `cast(a as int)`, `select a as b`: a name, perhaps of two words and with a length.
            let Some(Token::Word(_) | Token::Text | Token::Variable(_)) = self.lexer.next() else {
                return None;
            };
            _ = self.next_is("precision varying unsigned");
            if self.is_call() {
                _ = self.lexer.next();
                self.wants_operand = true;
                self.after_open = true;
                self.depth += 1;
            }
            return Some(());
        }
        if word.eq_ignore_ascii_case(b"from") {
            self.seen.from |= self.seen.select;
            self.alias_allowed = self.seen.select;
            return self.operator();
        }
        if word.eq_ignore_ascii_case(b"with") && self.seen.clause && self.next_is("rollup cube") {
            // It belongs to what it follows.
            self.seen.last_is_number = true;
            return (!self.wants_operand).then_some(());
        }
        if words::is_one_of("on using", word) {
            return self.operator();
        }
        if words::is_one_of("left right inner outer cross natural join", word) && self.seen.from {
            while self.next_is("join outer") {}
            self.alias_allowed = true;
            return self.operator();
        }
        if self.wants_operand && words::is_one_of("values row", word) {
            return Some(());
        }
        if self.wants_operand {
            self.seen.names += 1;
            self.seen.shortest_name = self.seen.shortest_name.min(word.len());
            return self.operand();
        }
        None
    }
}

#[cfg(test)]
mod tests;
