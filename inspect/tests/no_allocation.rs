//! A clean request costs no allocation once the inspector's buffers have grown to the size of such requests.

// The global allocator's interface is unsafe by nature; this one only counts and passes on.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use weir_inspect::{
    Applied, AttackClass, DirectiveAction, DirectiveSource, Directives, Engine, EngineOptions, Pack, Parser,
    Part, RequestView, Selector,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: all calls go to the system's allocator unchanged; the counter is a plain cell of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HEADERS: &[(&[u8], &[u8])] = &[
    (b"host", b"shop.example"),
    (
        b"user-agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0 Safari/537.36",
    ),
    (b"accept", b"text/html,application/xhtml+xml;q=0.9,image/avif,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.7,de;q=0.3"),
    (b"referer", b"https://shop.example/list?page=2&sort=price%20asc#top"),
    (b"cookie", b"sid=8f14e45fceea167a5a36dedd4bea2543; theme=dark; cart=%7B%22items%22%3A%5B1%2C2%5D%7D"),
    (b"content-type", b"application/json"),
];

const REQUESTS: [RequestView<'_>; 3] = [
    RequestView {
        method: b"GET",
        path: b"/catalogue/summer%20shoes/42",
        query: Some(b"q=red+shoes+%26+boots&size=42&from=100%25"),
        headers: HEADERS,
        body: b"",
        body_complete: true,
    },
    RequestView {
        method: b"POST",
        path: b"/api/orders",
        query: None,
        headers: HEADERS,
        body: br#"{"user":{"name":"O'Reilly","note":"a \u00e9 \"quoted\" word"},"items":[{"id":1,"n":2.5},{"id":"x"}]}"#,
        body_complete: true,
    },
    RequestView {
        method: b"POST",
        path: b"/form",
        query: None,
        headers: &[(b"content-type", b"application/x-www-form-urlencoded")],
        body: b"name=Ann+Lee&text=I+would+select+a+plan%2C+or+two",
        body_complete: true,
    },
];

#[test]
fn clean_requests_do_not_allocate() {
    let engine = Engine::compile(Pack::embedded(), EngineOptions::default()).unwrap();
    let mut inspector = engine.inspector().unwrap();
    for request in &REQUESTS {
        let report = inspector.inspect(&engine, request);
        assert!(report.findings.is_empty() && !report.attack, "{:?}", report.findings);
    }
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        for request in &REQUESTS {
            let report = inspector.inspect(&engine, request);
            assert!(!report.attack);
        }
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    // The counter works: an attack's findings take memory.
    let attack = RequestView { query: Some(b"q=%3Cscript%3Ealert(1)%3C/script%3E"), ..REQUESTS[0] };
    assert!(inspector.inspect(&engine, &attack).attack);
    assert!(ALLOCATIONS.get() > before);
}

#[test]
fn directives_that_find_nothing_do_not_allocate() {
    let engine = Engine::compile(Pack::embedded(), EngineOptions::default()).unwrap();
    let detector = DirectiveAction::Detector {
        expression: Some("never[0-9]{3}there".to_owned()),
        class: Some(AttackClass::Rce),
        experimental: false,
    };
    let actions = [
        DirectiveAction::Patch(Some(AttackClass::Sqli)),
        detector,
        DirectiveAction::DropClass(Some(AttackClass::Xss)),
        DirectiveAction::Binary,
        DirectiveAction::Parser { parser: Parser::Base64, enabled: false },
        DirectiveAction::Mask,
        DirectiveAction::Measure(1 << 20),
    ];
    let source = |action| DirectiveSource {
        name: "rule-1".to_owned(),
        selector: Selector::new(Part::Body, [Some("json"), None]),
        action,
    };
    let directives = Directives::compile(&actions.map(source), &engine).unwrap();
    let active = [0, 1, 2, 3, 4, 5, 6];
    let applied = Applied {
        directives: &directives,
        active: &active,
        unseen_body_bytes: 0,
        unsure_segments: false,
        path_readings: &[],
        trace: false,
    };
    let mut inspector = engine.inspector().unwrap();
    let mut inspect = |request| {
        let report = inspector.inspect_applying(&engine, request, applied, &mut || false);
        assert!(report.hits.is_empty() && report.findings.is_empty());
    };
    REQUESTS.iter().for_each(&mut inspect);
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        REQUESTS.iter().for_each(&mut inspect);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
