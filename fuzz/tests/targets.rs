//! Runs every target: a bounded number of cases by default, more with `WEIR_FUZZ_CASES`, one with `WEIR_FUZZ_ONLY`.

use weir_fuzz::TARGETS;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")))
}

#[track_caller]
fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    match number("WEIR_FUZZ_ONLY") {
        Some(case) => target.run(case..case + 1),
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
    config_file
}
