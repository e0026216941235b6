use super::{is_injection, is_injection_behind};

/// Those of the texts for which the answer is not the expected one.
fn wrong<'a>(texts: &[&'a str], expected: bool) -> Vec<&'a str> {
    texts.iter().copied().filter(|text| is_injection(text.as_bytes()) != expected).collect()
}

#[test]
fn values_that_go_on_with_sql() {
    let texts = [
        "' or 1=1--",
        "1 or 1=1; drop table a",
        "\"x\" or \"a\"=\"a",
        "x' AND email IS NULL; --",
        "' or '1'='1",
        "1 or 1=1",
        "1) or (1=1",
        "1 and 1=2",
        "1' and '1'='2",
        "') or ('1'='1",
        "admin' or '1'='1'--",
        "' or not false#",
        "1 and iif(1=1,1,0)=1",
        "1' and left(user(),1)='r'--",
        "1 or pwd like 0x61",
        "'-0||'",
        "'|0#",
        "'or 1 or'",
        "'^0#",
        "1'or(1)=(1)#",
        "'or.1=.1#",
        "'or~1#",
        "1 union distinctrow select 1",
        "1 union-- x\nselect 1,2",
        "1 union values row(1,2)",
        "1 union table users",
        "1 rlike sleep(5)",
        "1';shutdown--",
        "1;copy t from '/etc/passwd'--",
        "'; select * from users--",
        "1;vacuum into '/tmp/x'",
        "(select 1)",
        "(select password from users limit 1)",
        "1 and password::int=1",
        "'+convert(int,db_name())+'",
        "1'and 1.e(1)=1.e(1)#",
        "1 or '{\"a\":1}'::jsonb @> '{\"a\":1}'",
        "1' or json_extract('{\"a\":1}','$.a')=1--",
        "1'-if(1,1,0)-'",
        "1' or 1 is not null--",
        "x' order by 3--",
        "1' group by users.id having 1=1--",
        "1/**/or/**/1=1",
        "1'/*!50000or*/1=1#",
        "1 and exists(select * from users)",
        "1*if(now()=sysdate(),sleep(15),0)",
        "-1 or 3*2<(0+5+123-123)",
        "' or username is not null or username = '",
        "1' union select 1,group_concat(table_name),3 from information_schema.tables--",
        "1;drop table users",
        "(case when 1=1 then sleep(5) else 1 end)",
        "1;select case when (1=1) then pg_sleep(5) else pg_sleep(0) end--",
        "x'||(select '' from dual)||'",
        "1 and 1=2 select version() --",
        "1' and 1=0 UnIon",
        "1 or true",
        "' or true; foo",
        "-1 or 1=1 limit 1 offset 1",
        "8-9 OR 1 = 1",
        "' or 1",
        "test' or 1=",
        "1,(select 1)",
        "1';exec xp_cmdshell('dir')--",
        "1;declare @x varchar(99)",
        "name or 1=1",
        "id=1 or (2=2)",
        "1 group by 1 with rollup--",
        "foo bar ' or not '",
        "1 or 1=1;aa bb cc",
        "' or 1=1;aa bb cc",
        "1 union select 1,2;aa bb cc",
        "\"a b\" or 1=1",
        "\"a b\" or \"a\"=\"a\"",
        "\"a b\" or \"a b\"=\"a b\"",
        "\"a b\" or \"a b\" is not null",
    ];
    assert_eq!(wrong(&texts, true), [""; 0]);
}

#[test]
fn texts_that_break_its_grammar_or_hold_nothing_of_a_query() {
    let texts = [
        "1 or 1 = 1, 1 and 0 = 0; please fill in the rest of the table",
        "\"where to stay\" or \"what to eat\" in lisbon",
        "rock or roll",
        "O'Reilly and Sons",
        "dogs' and 2 cats",
        "'yes' or 'no'",
        "dogs' or 'cats'",
        "1 and 2",
        "5 or count your days",
        "16\" or 18\"",
        "necklace length 16\" or 18\"",
        "5'-6'",
        "\"*\"",
        "it's = 'x'",
        "'+name+'",
        "0 < x and x < 1",
        "x > 3 and y < 4",
        "pick 1; select the other",
        "size 5; update the table",
        "I have 3; drop me a line",
        "1; delete from the list what you dislike",
        "1; show me",
        "(select one)",
        "select a plan from the list",
        "1 - 2",
        "1, 2, 3",
        "a = 'b'",
        "don't; drop table service is bad",
        "the '90s and 2 more",
        "5 union members",
        "union square",
        "class='' id=''",
        "\"a\" and \"b\"",
        "3 = three",
        "O'Brien = O'Neil",
        "2 between us",
        "1 in 3 people",
        "50% or more",
        "tea or coffee = bliss",
        "",
        "max(3)",
        "user()",
        "'tis the season",
        "1 or 2 = a few",
        "'quoted' -- Author",
        "5 or 6",
        "it is true or false",
        "' or so",
        "if it holds ' or \"",
        "'90 or 91 was it",
        "\"Meh\", he says; \"like it or not\", I do = we keep it.",
        "CASE WHEN x > 5 THEN 'big' ELSE 'small' END AS size -- how?",
    ];
    assert_eq!(wrong(&texts, false), [""; 0]);
}

#[test]
fn any_bytes_at_all_are_read_without_harm() {
    for text in [
        "'",
        "/*",
        "*/",
        "--",
        "'\\",
        "@",
        "@@",
        "@`",
        "0x",
        "1e",
        "1.",
        "[",
        "`",
        "::",
        "'/*!",
        "'||",
        "((((",
        "))))",
        ";;;;",
        "\u{e9}'\u{e9}",
    ] {
        for count in [1, 2, 700] {
            _ = is_injection(text.repeat(count).as_bytes());
        }
    }
}

#[test]
fn a_later_quote_ends_a_literal_only_behind_pairs() {
    let behind = |text: &str| is_injection_behind(text.as_bytes(), text.rfind("' or").unwrap());
    assert!(behind("it is 'so' and x' or 1=1--"));
    assert!(!behind("it is 'so' or 1=1--") && !behind("x' or 1=1--"));
}
