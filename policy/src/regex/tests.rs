//! The dialect, sentence by sentence.

use super::*;

/// Whether the regex matches the value: alone, and among others in one buffer.
fn matches(regex: &str, value: &str) -> bool {
    let bytes: Vec<u8> = value.chars().map(|character| character as u8).collect();
    let compiled = Regex::new(regex, false).unwrap_or_else(|refusal| panic!("{regex}: {refusal:?}"));
    let run = |tagged: bool, values: &[(u32, &[u8])]| {
        let mut builder = MatcherBuilder::default();
        builder.add(7, compiled.clone(), 42);
        builder.add(8, Regex::new("other", false).unwrap(), 43);
        let matcher = builder.build(tagged).unwrap_or_else(|failure| panic!("{regex}: {failure:?}"));
        let mut scanner = Scanner::default();
        scanner.fit(1, matcher.database().into_iter());
        let (mut buffer, mut numbers) = (Buffer::default(), Vec::new());
        for (point, value) in values {
            matcher.add_value(*point, value, &mut buffer);
        }
        matcher.matches(&mut scanner, &mut buffer, &mut numbers);
        assert!(!numbers.contains(&43));
        !numbers.is_empty()
    };
    let alone = run(false, &[(7, &bytes)]);
    assert_eq!(run(true, &[(7, &bytes)]), alone, "{regex:?} on {value:?}, tagged");
    assert_eq!(
        run(true, &[(8, b"x\0\x01\xff"), (7, &bytes), (9, b"y")]),
        alone,
        "{regex:?} on {value:?}, beside others"
    );
    assert!(
        !run(true, &[(8, &bytes)]) || bytes.windows(5).any(|window| window == b"other"),
        "of its own point"
    );
    alone
}

#[test]
fn regexes_match_as_the_dialect_says() {
    let table = [
        ("a", "xay", true),
        ("a", "xy", false),
        ("^a", "ab", true),
        ("^a", "ba", false),
        ("a$", "ba", true),
        ("a$", "ab", false),
        ("a$", "a\n", false),
        ("^a$", "a", true),
        ("^a$", "aa", false),
        (".", "\n", true),
        ("^.*$", "", false),
        ("^.?$", "", false),
        ("^.{0,}$", "", false),
        ("^.*$", "x", true),
        ("a*", "b", true),
        ("a*", "", false),
        ("[.]example[.]com$", "www.example.com", true),
        ("[.]example[.]com$", "www.exampleXcom", false),
        ("[\\\\]", "a\\b", true),
        ("[]a-]", "", false),
        ("[a-]", "-", true),
        ("[\\]]", "]", true),
        ("[^a-z]", "abc", false),
        ("[^a-z]", "abC", true),
        ("[^a]", "\0", true),
        ("^(44[.]33|10[.]0)$", "10.0", true),
        ("^(44[.]33|10[.]0)$", "10.0.1", false),
        ("a|^b", "ba", true),
        ("x|^b", "ab", false),
        ("(^|/)b", "b", true),
        ("(^|/)b", "a/b", true),
        ("(^|/)b", "ab", false),
        ("a^b", "ab", false),
        ("b($|/)", "ab", true),
        ("b($|/)", "bc", false),
        ("$a", "a", false),
        ("(^a)*b", "ab", true),
        ("(^a?)+b", "b", true),
        ("^a{2}$", "aa", true),
        ("^a{2}$", "aaa", false),
        ("^a{2,}$", "aaaa", true),
        ("^a{2,3}$", "aaaa", false),
        ("^(ab){1,2}$", "abab", true),
        ("caf\u{e9}", "le caf\u{e9}", true),
        ("^..$", "\u{e9}\u{ff}", true),
        ("^(~(44[.]33[.]22[.]11))$", "44.33.22.11", false),
        ("^(~(44[.]33[.]22[.]11))$", "44.33.22.12", true),
        ("^(~(44[.]33[.]22[.]11))$", "44.33.22.111", true),
        ("^(~(44[.]33[.]22[.]11))$", "", false),
        ("^Mozilla(~(.*bot.*))$", "Mozilla/5.0 (X11)", true),
        ("^Mozilla(~(.*bot.*))$", "Mozilla/5.0 (compatible; bot/1)", false),
        ("^Mozilla(~(.*bot.*))$", "Opera", false),
        ("^(.*a.*&.*b.*)$", "b-a", true),
        ("^(.*a.*&.*b.*)$", "a-c", false),
        ("^(.*a.*&~.*b.*)$", "ac", true),
        ("^(.*a.*&~.*b.*)$", "abc", false),
        // unanchored, a part of the value is enough
        ("~(a)", "a", true),
        ("a.&.b", "xaby", true),
        ("a.&.b", "xa-b", false),
        // `&` binds tighter than `|`, `~` tighter than `&`
        ("^(a|.b&c.)$", "cb", true),
        ("^(a|.b&c.)$", "a", true),
        ("^(a|.b&c.)$", "xb", false),
        ("^(~a|b)$", "a", false),
        ("^(~a|a)$", "a", true),
        ("^(~ab)$", "ab", false),
        ("^(~ab)$", "b", true),
        ("^(~(.*))$", "x", false),
        // too large to be written out: matched by what they leave out
        ("^(~(.*(sqlmap|nikto|nmap|acunetix).*))$", "curl", true),
        ("^(~(.*(sqlmap|nikto|nmap|acunetix).*))$", "a nmap b", false),
        ("^(~(.*(sqlmap|nikto|nmap|acunetix).*))$", "", false),
    ];
    for (regex, value, expected) in table {
        if regex == "[]a-]" {
            assert!(Regex::new(regex, false).is_err());
            continue;
        }
        assert_eq!(matches(regex, value), expected, "{regex:?} on {value:?}");
    }
}

#[test]
fn bytes_of_the_frame_in_a_value_are_bytes_like_others() {
    for value in ["\0", "\u{1}", "\u{2}", "a\0b\u{1}c"] {
        assert!(matches("^[^x]*$", value), "{value:?}");
        assert!(!matches("x", value));
    }
    assert!(matches("^\0\u{1}\u{2}$", "\0\u{1}\u{2}"));
    assert!(!matches("^\0\u{1}\u{2}$", "\0\u{1}\u{3}"));
    assert!(!matches("^\u{1}$", "\0"));
}

#[test]
fn what_other_dialects_have_is_refused_with_the_words_of_this_one() {
    let table = [
        ("", "a regex"),
        ("\\.", "`[.]`"),
        ("\\d+", "`[0-9]`"),
        ("\\w", "`[0-9A-Za-z_]`"),
        ("a\\b", "beside the word"),
        ("\\Aa", "`^`"),
        ("a\\z", "`$`"),
        ("a\\", "`[\\\\]`"),
        ("[\\d]", "`0-9` there"),
        ("[\\n]", "the character itself"),
        ("a\\nb", "the character itself"),
        ("\\x41", "the character itself"),
        ("(a)\\1", "once more, as in `(aa|bb)`"),
        ("(a)\\k<x>", "once more"),
        ("(?P<x>a)", "they keep nothing"),
        ("a(?=b)", "without `b`, `^(.*a.*&(~(.*b.*)))$`"),
        ("(?<!a)b", "what may stand there"),
        ("(a)(?(1)b|c)", "what it may stand for"),
        ("(?#x)a", "without it"),
        ("a++b", "without its second `+`"),
        ("(*FAIL)", "without it"),
        ("\\p{L}", "as in `[A-Za-z]`"),
        ("[[:alpha:]]", "`[A-Za-z]`"),
        ("(?:a)", "plain parentheses"),
        ("a(?i)b", "both cases, as in `[aA]`"),
        ("a*?", "without its `?`"),
        ("a**", "parentheses"),
        ("*a", "`[*]`"),
        ("a{", "`[{]`"),
        ("a{2,1}", "smaller number first"),
        ("a{1001}", "at most 1000"),
        ("(a", "`[(]`"),
        ("a)", "`[)]`"),
        ("[a", "`[[]`"),
        ("[]", "`[\\]]`"),
        ("[z-a]", "smaller character first"),
        ("a~b", "parentheses around"),
        ("\u{20ac}", "`\\u00E2\\u0082\\u00AC` in double quotes"),
        ("((a{100}){100}){100}", "smaller repeats"),
        ("^x(~(.*(a.{12}|b.{11}c).*))$", "several conditions"),
    ];
    for (regex, expected) in table {
        let refusal = Regex::new(regex, false).expect_err(regex);
        assert!(refusal.expected.contains(expected), "{regex}: {refusal:?}");
    }
    assert!(
        matches("^(.*a.*&(~(.*b.*)))$", "xa") && !matches("^(.*a.*&(~(.*b.*)))$", "bxa"),
        "what is advised"
    );
    assert!(Regex::new(&"a".repeat(4_001), false).is_err());
    assert!(Regex::new(&"(".repeat(3_000), false).is_err());
}

/// What of regexes by point and number is met by values of these points, one by one and put together.
fn met(regexes: &[(u32, &str)], values: &[(u32, &str)]) -> Vec<u32> {
    let mut builder = MatcherBuilder::default();
    for ((point, regex), number) in regexes.iter().zip(0..) {
        builder.add(*point, Regex::new(regex, false).unwrap(), number);
    }
    let matcher = builder.build(true).unwrap();
    let mut scanner = Scanner::default();
    scanner.fit(1, matcher.database().into_iter());
    let (mut buffer, mut numbers) = (Buffer::default(), vec![99]);
    for (point, value) in values {
        matcher.add_value(*point, value.as_bytes(), &mut buffer);
    }
    matcher.matches(&mut scanner, &mut buffer, &mut numbers);
    assert!(scanner.scans < 2);
    assert_eq!(numbers.remove(0), 99);
    numbers
}

#[test]
fn of_several_values_one_is_enough_for_a_complement() {
    // each matches many a value in several ways, which count once
    let complement = "^(~(.*(sqlmap|nikto|nmap|map|acunetix|nikto$).*|nm.*|.*tix))$";
    let nothing_left_out = "^(~(.*a.{14}^x))$";
    assert!([complement, nothing_left_out].iter().all(|regex| is_asked_by_what_it_leaves_out(regex)));
    let regexes = [(3, complement), (4, complement), (3, "^nmap$"), (4, "curl"), (4, nothing_left_out)];
    let bad = [(3, "nmap nmap"), (4, "nikto"), (3, "nikto"), (4, "nmap"), (3, "a map"), (4, "acunetix")];
    let also = |more: &[(u32, &'static str)]| met(&regexes, &[&bad, more].concat());
    assert_eq!(also(&[]), [4]);
    assert_eq!(also(&[(3, "curl")]), [0, 4]);
    assert_eq!(also(&[(4, "curl"), (3, "nmap"), (4, "nmap")]), [1, 2, 3, 4]);
    assert_eq!(also(&[(3, ""), (4, ""), (5, "curl")]), [4], "an empty value meets nothing");
    assert_eq!(met(&regexes, &[(3, "nmap")]), [2]);
    assert!(met(&regexes, &[]).is_empty());
}

#[test]
fn complements_of_one_point_are_limited() {
    let build = |points: u32| {
        let mut builder = MatcherBuilder::default();
        for number in 0..=20 {
            let text = format!("^(~(.*(sqlmap|nikto|nmap|acunetix|tool{number}).*))$");
            builder.add(number % points, Regex::new(&text, false).unwrap(), number);
        }
        builder.build(true)
    };
    assert!(build(2).is_ok());
    let failure = build(1).unwrap_err();
    assert_eq!(failure.number, Some(20));
    assert!(failure.refusal.problem.contains("more than 20 regexes of one point"), "{failure:?}");
}

#[test]
fn letters_match_in_any_case_if_asked_for() {
    for (any, both) in [("^[a-c]X$", "^[a-cA-C][Xx]$"), ("^[^A]$", "^[^aA]$")] {
        let regex = Regex::new(any, true).unwrap();
        assert_eq!(regex.at_start, Regex::new(both, false).unwrap().at_start);
    }
}

#[test]
fn what_matches_nothing_or_everything_is_told() {
    let scope = |regex| Regex::new(regex, false).unwrap().scope();
    assert_eq!(
        ["a^", "^$a", "^(~(.*))$", "a&b"].map(scope),
        [Scope::Nothing, Scope::Some, Scope::Nothing, Scope::Nothing]
    );
    assert_eq!(["a*", "^", "(~(a))", "x|"].map(scope), [Scope::Everything; 4]);
    assert_eq!(["a", "^(~(a))$"].map(scope), [Scope::Some; 2]);
}
