//! A policy and a request as files and a command: a failing case that can be run.

use std::fmt::Write;

use weir_policy::*;

/// The config, the rules, the lists, and the call of `weir explain`.
pub fn as_toml(source: &PolicySource, facts: &RequestFacts<'_>, client: &str) -> String {
    let mut text =
        String::from("# weir.toml\nrules.file = \"rules.toml\"\nip_lists.file = \"ip-lists.toml\"\n");
    let _ = writeln!(text, "[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:8080\"");
    let _ = writeln!(text, "[[origin]]\nname = \"app\"\naddresses = [\"127.0.0.1:9000\"]");
    let _ = writeln!(text, "[http]\nacl_access_phase = {}", source.acl_access_phase);
    write_context(&source.http, &mut text);
    for server in &source.servers {
        let _ = writeln!(
            text,
            "[[server]]\nname = {:?}\norigin = \"app\"\nhosts = {:?}",
            server.name, server.hosts
        );
        let _ = writeln!(text, "default = {}", server.default);
        write_context(&server.context, &mut text);
        for location in &server.locations {
            let _ = writeln!(
                text,
                "[[server.location]]\npath = '{}'\nmatch = \"{}\"",
                location.path,
                location.kind.as_str()
            );
            write_context(&location.context, &mut text);
        }
    }
    #[derive(serde::Serialize)]
    struct Rules<'a> {
        general_mode: RuleMode,
        rule: &'a [RuleSource],
    }
    let rules = Rules { general_mode: source.general_mode, rule: &source.rules };
    let _ = writeln!(
        text,
        "\n# rules.toml\n{}",
        toml::to_string(&rules).unwrap_or_else(|error| error.to_string())
    );
    let _ = writeln!(text, "# ip-lists.toml");
    for entry in &source.lists {
        let _ = writeln!(
            text,
            "[[entry]]\nlist = \"{}\"\naddress = \"{}\"\napplications = {:?}{}",
            entry.list.as_str(),
            entry.address,
            entry.applications,
            entry
                .expires
                .map_or_else(String::new, |expires| format!(" # expires at {expires}, asked at 100"))
        );
    }
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let _ = write!(text, "\n# {}\nweir explain --config weir.toml --client {client}", show(facts.proto));
    let _ = write!(text, " -X {}", show(facts.method));
    for (name, value) in facts.headers {
        let _ = write!(text, " -H '{}: {}'", show(name), show(value));
    }
    let query = facts.query.map_or_else(String::new, |query| format!("?{}", show(query)));
    let _ = writeln!(text, " '{}://{}{}{query}'", show(facts.scheme), show(facts.host), show(facts.path));
    text
}

fn write_context(context: &ContextSource, text: &mut String) {
    if let Some(mode) = context.mode {
        let _ = writeln!(text, "mode = \"{mode}\"");
    }
    if let Some(policy) = context.mode_allow_override {
        let _ = writeln!(text, "mode_allow_override = \"{}\"", policy.as_str());
    }
    if let Some(application) = context.application {
        let _ = writeln!(text, "application = {application}");
    }
    if let Some(disable_acl) = context.disable_acl {
        let _ = writeln!(text, "disable_acl = {disable_acl}");
    }
    if let Some(map) = &context.mode_by_header {
        let pairs: Vec<String> =
            map.contains.iter().map(|(contains, mode)| format!("{contains:?} = \"{mode}\"")).collect();
        let _ = writeln!(
            text,
            "mode_by_header = {{ header = {:?}, contains = {{ {} }} }}",
            map.header,
            pairs.join(", ")
        );
    }
}
