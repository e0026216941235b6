//! The reference page, written from the same tables that files are read by.

use std::fmt::Write;

use super::schema::{Default, IP_LISTS_SECTIONS, Key, MAIN_SECTIONS, RULES_SECTIONS, Section};

const INTRODUCTION: &str = "\
# Configuration reference

This page is generated from the tables that the reader itself works with; a test keeps the two alike.

A config is one TOML file, `weir run --config weir.toml`, and the rules and lists files that it names. `weir check`
reads them all and prints every error with file, line, column and key, what was found, what is allowed and what to do;
[configs/full.toml](../configs/full.toml) has every key with its default.

- Relative paths start at the folder of the file that holds them.
- Sizes are text with a unit: `\"512B\"`, `\"64KiB\"`, `\"1MiB\"`, `\"2GiB\"`, `\"1TiB\"` (powers of 1024). Times likewise: `\"500us\"`,
  `\"250ms\"`, `\"30s\"`, `\"5m\"`, `\"2h\"`, `\"1d\"`. One whole number and one unit; `0` needs none.
- Unknown keys are errors, and so is a config or rules file above 64 MiB or a lists file above 256 MiB. Warnings are printed and change nothing.
- `\"on\"` and `\"off\"` may also be written `true` and `false` where the type says `\"on\" or \"off\"` and nothing else.
- Host names in origins' addresses are resolved when the config is loaded.
- The environment variable `WEIR_MODE` sets `[http].mode` and wins over the file, `mode_by_header` of `[http]` included;
  empty counts as unset.

Required: one `[[listener]]`, one `[[server]]`, one `[[origin]]`.
";

/// All keys with type, default and meaning, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    write_sections(&mut page, "The config file", &MAIN_SECTIONS);
    write_sections(&mut page, "The rules file", &RULES_SECTIONS);
    write_sections(&mut page, "The IP lists file", &IP_LISTS_SECTIONS);
    page
}

fn write_sections(page: &mut String, title: &str, sections: &[&Section]) {
    // Writing to a String can't fail.
    let _ = write!(page, "\n## {title}\n");
    for section in sections {
        let heading =
            if section.header.is_empty() { "Top".to_owned() } else { format!("`{}`", section.header) };
        let _ = write!(page, "\n### {heading}\n\n{}\n\n", section.about);
        page.push_str("| key | type and range | default | meaning |\n| --- | --- | --- | --- |\n");
        for key in section.all_keys() {
            write_key(page, key);
        }
    }
}

fn write_key(page: &mut String, key: &Key) {
    let default = match key.default {
        Default::Required(example) => format!("**required**, as `{example}`"),
        Default::Value(value) => format!("`{value}`"),
        Default::Absent(what, _) => what.to_owned(),
    };
    let cell = |text: &str| text.replace('|', "\\|");
    let kind = cell(&key.kind.describe());
    let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", key.name, cell(&default), cell(key.meaning));
}
