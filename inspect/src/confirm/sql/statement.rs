//! Statements behind a semicolon.

use super::lexer::{Lexer, Token};
use super::words::is_one_of;

const OBJECTS: &str = "table database user view schema function procedure index trigger login role sequence column \
                       extension assembly type temporary or unique rule event server tablespace";

/// Whether what follows a semicolon is a statement of a database that does something.
pub(super) fn follows(mut lexer: Lexer<'_>) -> bool {
    let mut whole = lexer;
    let mut first = lexer.next();
    while matches!(first, Some(Token::Semicolon)) {
        whole = lexer;
        first = lexer.next();
    }
    let Some(Token::Word(verb)) = first else { return false };
    let mut ahead = lexer;
    let next = ahead.next();
    let next_word = match next {
        Some(Token::Word(word)) => word,
        _ => b"",
    };
    let is = |list: &str| is_one_of(list, verb);
    let then = |list: &str| is_one_of(list, next_word);
    if is("drop truncate alter create") {
        return then(OBJECTS) && names_object(ahead)
            || is("truncate") && !next_word.is_empty() && ends(ahead);
    }
    if is("delete") {
        return then("from") && names_object(ahead);
    }
    if is("insert replace merge") {
        return then("into") && matches!(ahead.next(), Some(Token::Word(_)));
    }
    if is("update") {
        let set = matches!(ahead.next(), Some(Token::Word(word)) if is_one_of("set", word));
        return set && matches!((ahead.next(), ahead.next()), (Some(Token::Word(_)), Some(Token::Compare)));
    }
    if is("exec execute") {
        let procedure = next_word.iter().any(|byte| matches!(byte, b'_' | b'.')) || then("immediate");
        return matches!(next, Some(Token::Open | Token::Variable(_))) || procedure || comment_follows(ahead);
    }
    if is("declare set") {
        return matches!(next, Some(Token::Variable(_)));
    }
    if is("waitfor") {
        return then("delay time");
    }
    if is("if while") {
        return matches!(next, Some(Token::Open))
            && super::parse(super::Context::Bare, lexer.rest()).is_none_or(|seen| seen.compares);
    }
    if is("select") {
        let text = whole.rest();
        return super::parse(super::Context::Bare, text).is_some_and(|seen| seen.select_counts());
    }
    if is("begin") {
        return next_word.contains(&b'.') || then("declare transaction");
    }
    if is("call do") {
        return !next_word.is_empty() && matches!(ahead.next(), Some(Token::Open));
    }
    if is("copy") {
        return matches!(next, Some(Token::Open))
            || matches!(ahead.next(), Some(Token::Word(word)) if is_one_of("from to", word));
    }
    if is("grant revoke") {
        return matches!(ahead.next(), Some(Token::Word(word)) if is_one_of("on to from privileges", word))
            || matches!(ahead.next(), Some(Token::Word(word)) if is_one_of("on to from", word));
    }
    if is("prepare") {
        return matches!(ahead.next(), Some(Token::Word(word)) if is_one_of("from as", word));
    }
    is("shutdown") && (next.is_none() || ends(lexer) || then("with"))
        || is("attach detach backup restore") && then("database")
        || is("vacuum") && then("into full")
        || is("load") && then("data")
        || is("rename lock flush") && then("table tables")
        || is("handler") && matches!(ahead.next(), Some(Token::Word(word)) if is_one_of("open read", word))
        || is("show") && then("tables databases columns variables schemas grants processlist")
        || is("desc describe") && !next_word.is_empty() && ends(ahead)
        || is("kill") && matches!(next, Some(Token::Number)) && ends(ahead)
}

/// A name, perhaps behind `if exists`, that the statement goes on or ends behind as SQL does.
fn names_object(mut lexer: Lexer<'_>) -> bool {
    let mut token = lexer.next();
    while matches!(token, Some(Token::Word(word)) if is_one_of("if exists not replace table", word) || is_one_of(OBJECTS, word))
    {
        token = lexer.next();
    }
    let named = matches!(token, Some(Token::Word(_) | Token::Text | Token::Variable(_) | Token::OpenText(_)));
    named
        && {
            let mut ahead = lexer;
            match ahead.next() {
                None
                | Some(
                    Token::Semicolon
                    | Token::CommentToEnd
                    | Token::Open
                    | Token::Comma
                    | Token::Text
                    | Token::OpenText(_),
                ) => true,
                Some(Token::Word(word)) => is_one_of(
                    "where as add drop modify rename change cascade restrict set identified with returns begin on engine select",
                    word,
                ),
                _ => false,
            }
        }
}

fn ends(mut lexer: Lexer<'_>) -> bool {
    matches!(lexer.next(), None | Some(Token::Semicolon | Token::CommentToEnd))
}

fn comment_follows(mut lexer: Lexer<'_>) -> bool {
    matches!(lexer.next(), Some(Token::CommentToEnd))
}
