//! Reads an expression by its grammar, and notes what it holds.

use super::expression::{Context, Seen};
use super::lexer::{Lexer, Token};
use super::words::Kind;
use super::{statement, words};

/// Whether a sentence comes next: two names in a row and one more word.
fn words_follow(mut lexer: Lexer<'_>) -> bool {
    let mut is_name = || matches!(lexer.next(), Some(Token::Word(word)) if words::kind(word) == Kind::Name);
    is_name() && is_name() && matches!(lexer.next(), Some(Token::Word(_)))
}

/// Reads an expression; `None` where the grammar is broken.
pub(super) fn parse(context: Context<'_>, text: &[u8]) -> Option<Seen> {
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
