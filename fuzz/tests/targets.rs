//! Runs every target: a bounded number of cases by default, more with `WEIR_FUZZ_CASES`, some with `WEIR_FUZZ_ONLY`.

use weir_fuzz::TARGETS;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")))
}

/// Cases to run again, as a failure names them: one, or several from the first to the last.
fn cases_to_run_again() -> Option<std::ops::Range<u64>> {
    let text = std::env::var("WEIR_FUZZ_ONLY").ok()?;
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    match (first.parse(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => Some(first..last + 1),
        _ => panic!("WEIR_FUZZ_ONLY={text:?} is neither NUMBER nor FIRST-LAST"),
    }
}

#[track_caller]
fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    match cases_to_run_again() {
        Some(cases) => target.run(cases),
        None => target.run(0..target.quick_cases * number("WEIR_FUZZ_CASES").unwrap_or(1)),
    }
}

/// One test for each target, so that they run side by side and fail by name.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn no_target_is_left_out() {
            let tested = [$(stringify!($name)),*];
            let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(all, tested);
        }
    };
}

targets! {
    request_head
    response_head
    chunked_body
    path_readings
    proxy_header
    form_body
    multipart_body
    json_body
    xml_body
    graphql_body
    compressed_body
    utf_7_body
    request_values
    config_file
    rules_file
    ip_lists_file
    rules_document
    ip_lists_document
    batch_line
    pem_file
}
