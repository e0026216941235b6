//! Ordinary texts that look like attacks: thousands, made from templates and words, none of which may be blocked.

use weir_inspect::{Engine, EngineOptions, Pack, RequestView};

/// Names with what databases and shells quote.
const NAMES: &[&str] = &[
    "O'Reilly",
    "D'Arcy",
    "Sinéad O'Connor",
    "N'Golo",
    "Jean-Luc",
    "Müller & Söhne",
    "Ben & Jerry's",
    "AT&T",
    "L'Oréal",
    "Дарья О'Нил",
    "欧阳'娜娜",
    "Dell'Acqua",
    "M&M's",
    "Toys \"R\" Us",
];

/// Words of SQL, of shells and of HTML as ordinary words.
const WORDS: &[&str] = &[
    "select", "union", "drop", "table", "insert", "update", "delete", "from", "where", "order", "group",
    "having", "like", "exec", "script", "alert", "prompt", "confirm", "cat", "more", "less", "sleep", "kill",
    "find", "sort", "who", "id", "passwd", "image", "object", "style", "base", "form", "null", "true",
    "sudo", "ping", "echo", "system", "include",
];

/// Sentences in six languages; `{name}`, `{word}`, `{other}` and `{number}` are put in.
const SENTENCES: &[&str] = &[
    "Please {word} a {other} from the list of {number}; {name} will order by phone.",
    "{name} said: \"{word} or {other}\", and I chose both.",
    "The {word} of the {other} isn't {name}'s; it's 5 > 3 and 2 < 4.",
    "It's {number}% off -- {word} and {other} included!",
    "We {word} {number} items (see {other}), then {name} & co. {word} them again...",
    "Don't {word} the {other}; {name} did -- and regretted it.",
    "1. {word}\n2. {other}\n3. {name}",
    "# {word}\n\n* {other} | {name}\n* `{word}` and `{other}`",
    "| {word} | {other} |\n|------|------|\n| {number} | {name} |",
    "{name} <{word}@shop.example> wrote:\n> {other}?\n> yes; {word}!",
    "Size {number}\" or {number}' wide, {word}/{other}, 2x4=8",
    "Kannst du mir \"{word}\" oder '{other}' schicken? Gruß, {name}",
    "Die {word} für {name}: {number} Stück; Lieferung am 3. oder 4. Mai -- danke!",
    "¿Puedes {word} la {other} de {name}? Son {number} o {number} euros; gracias.",
    "L'{other} dell'{word} costa {number} €; c'è {name} e un'altra {word}.",
    "Можно ли {word} или {other}? Это стоит {number} руб. -- {name}",
    "请问 {name} 的 {word} 和 {other} 是 {number} 元吗？谢谢；再见。",
    "f(x) = {number}x^2 + {number}; x > 0 and y < {number} => {word}",
    "{number}-{number}-{number} {word}, {number}:{number}, a/b, c\\d, {other}",
    "2026-03-14T09:26:53Z INFO {word}: {other} took {number} ms (user={name})",
    "the {word} tag and the {other} attribute of <b>{name}</b> & <i>{number}</i>",
    "{word}; {other}; {name}",
    "{word}, {other} and {number} more",
    "https://shop.example/{word}/{other}?page={number}&sort={word}#{other}",
    "utm_source={word}&utm_medium={other}&gclid=EAIaIQobChMI{number}",
    ".{word} {{ color: #{number}; margin: 0 auto !important }}",
    "{word},{other},{number},\"{name}\"",
    "query Q($id: ID!) { {word}(id: $id, first: {number}) { {other} name } }",
    "{\"{word}\": \"{other}\", \"n\": {number}, \"l\": [\"a\", null, true]}",
    "MDEyMzQ1Njc4OWFiY2RlZg=={number}",
    "9f1c2d34-{number}-4abc-8def-0123456789ab",
    "GA1.2.1846372519.{number}",
];

/// Commands of shells that are ordinary words or names too.
const COMMANDS: &[&str] = &[
    "alias", "at", "cat", "clear", "column", "copy", "cp", "cut", "date", "dir", "docker", "echo", "ed",
    "env", "eval", "exec", "expand", "export", "file", "find", "finger", "fold", "free", "git", "go",
    "groups", "head", "history", "host", "hostname", "id", "install", "ip", "java", "jobs", "join", "kill",
    "last", "less", "ls", "make", "man", "more", "mount", "mv", "net", "node", "passwd", "paste", "perf",
    "ping", "ps", "query", "reboot", "ren", "rev", "route", "service", "set", "sh", "shutdown", "sleep",
    "sort", "source", "split", "start", "stat", "strings", "tail", "tar", "tee", "test", "time", "timeout",
    "top", "touch", "tree", "type", "uptime", "ver", "view", "vim", "watch", "which", "who", "yes", "zip",
];

/// Names of languages and tools that a shell runs.
const LANGUAGES: &[&str] =
    &["Bash", "Python", "Perl", "PHP", "Ruby", "Java", "Lua", "MySQL", "PowerShell", "awk", "grep"];

/// Sentences in six languages with `{command}` behind what separates commands.
const COMMAND_SENTENCES: &[&str] = &[
    "Deals; {command} 10",
    "Doors open; {command} 8 pm we begin",
    "Buy 2 & get 1; {command} 10 list",
    "2 eggs; {command} 3 onions; stir",
    "Name: Bob; {command} 15",
    "Stop & {command} 5",
    "Ready; {command} -- done!",
    "<p>Wine, beer &amp; {command}</p>",
    "<h2>Sale & {command}</h2><p>now</p>",
    "Angebot für alle; {command} 20 Stück für 5 Euro",
    "Promotion du jour; {command} 3 fois par an",
    "Oferta & {command} 2 por 1; mañana",
    "Offerta speciale; {command} 10 euro al giorno",
    "Скидки; {command} 10 дней",
    "We meet at noon; {command} \"again\" and eat",
    "A list & {command} more of it",
];

/// Sentences with `{language}`.
const LANGUAGE_SENTENCES: &[&str] = &[
    "Linux & {language}",
    "Skills: C++; HTML; {language}",
    "C++ && {language} || Go",
    "Meine Kenntnisse: C; {language}; SQL",
    "<li>HTML &amp; {language}</li>",
    "J'aime C & {language} 3",
];

/// Texts on their own, one a line; `␊` stands for a line feed.
const TEXTS: &str = include_str!("look_alikes.txt");

/// The texts, one after the other.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = TEXTS.lines().map(|line| line.replace('␊', "\n")).collect();
    for (index, sentence) in SENTENCES.iter().enumerate() {
        for (number, word) in WORDS.iter().enumerate() {
            for step in [1, 7, 17] {
                let other = WORDS[(number + index + step) % WORDS.len()];
                let name = NAMES[(number * step + index) % NAMES.len()];
                let text = sentence
                    .replace("{word}", word)
                    .replace("{other}", other)
                    .replace("{name}", name)
                    .replace("{number}", &(number * step + 3).to_string());
                texts.push(text);
            }
        }
    }
    for (sentences, key, words) in
        [(COMMAND_SENTENCES, "{command}", COMMANDS), (LANGUAGE_SENTENCES, "{language}", LANGUAGES)]
    {
        for sentence in sentences {
            texts.extend(words.iter().map(|word| sentence.replace(key, word)));
        }
    }
    texts
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |out, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out + &char::from(byte).to_string(),
        b' ' => out + "+",
        _ => out + &format!("%{byte:02X}"),
    })
}

#[test]
fn ordinary_texts_pass() {
    let engine = Engine::compile(Pack::embedded(), EngineOptions::default()).unwrap();
    let mut inspector = engine.inspector().unwrap();
    let mut blocked = Vec::new();
    let texts = texts();
    assert!(texts.len() > 3_000);
    for (index, text) in texts.iter().enumerate() {
        let form = format!("subject=hello&text={}", percent(text));
        let json = format!(
            "{{\"text\":\"{}\"}}",
            text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
        );
        let (content_type, body, query) = match index % 3 {
            0 => ("application/x-www-form-urlencoded", form, None),
            1 => ("application/json", json, None),
            _ => ("", String::new(), Some(format!("q={}", percent(text)))),
        };
        let headers: [(&[u8], &[u8]); 1] = [(b"content-type", content_type.as_bytes())];
        let request = RequestView {
            method: b"POST",
            path: b"/forum/post",
            query: query.as_deref().map(str::as_bytes),
            headers: &headers,
            body: body.as_bytes(),
            body_complete: true,
        };
        let report = inspector.inspect(&engine, &request);
        if report.attack {
            let signatures: Vec<&str> = report.findings.iter().map(|finding| &*finding.signature).collect();
            blocked.push(format!("{text:?}: {signatures:?}"));
        }
    }
    assert!(blocked.is_empty(), "{} of {} are blocked: {blocked:#?}", blocked.len(), texts.len());
}
