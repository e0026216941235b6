//! Resolving a request allocates nothing once the scratch has grown.
#![allow(unsafe_code, reason = "a counting global allocator")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use common::*;
use weir_policy::*;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // the counter may be gone while the thread ends
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to the system allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn resolve_allocates_nothing_in_the_steady_state() {
    let contains = BTreeMap::from([("bot".to_owned(), Mode::Off)]);
    let mapped = Some(ModeByHeader { header: "user-agent".into(), contains });
    let context = ContextSource { mode_by_header: mapped, ..context(Some(Mode::SafeBlocking), None) };
    let set = RuleMode::Set(Mode::Block);
    let mask = RuleKind::Mask { point: PointSelector::parse_text("query.q").unwrap() };
    let source = PolicySource {
        servers: vec![server("s", context, vec![location("/a", None, None)])],
        rules: vec![
            rule(1, set, "S/a/*/b.c?q=1"),
            rule(2, set, "/a/**"),
            when(rule(3, set, ""), Point::Header("x".into()), Test::Iequal, "v"),
            when(rule(4, set, ""), Point::Uri, Test::Iequal, "/x"),
            when(rule(5, set, ""), Point::Query("p q".into()), Test::Absent, ""),
            when(rule(6, set, ""), Point::Instance, Test::Equal, "1"),
            RuleSource { kind: mask.clone(), ..rule(7, set, "/a/**") },
            RuleSource { kind: mask, ..rule(8, set, "") },
        ],
        lists: lists(),
        ..PolicySource::default()
    };
    let policy = policy(&source);
    let headers: [(&[u8], &[u8]); 2] = [(b"X", b"V"), (b"User-Agent", b"robot")];
    let requests = [
        get("S:80", "/a/x/b.c?q=1"),
        get("www.s", "//%61/./y?p+q=%20&p+q=2"),
        RequestFacts { headers: &headers, ..get("s", "/z") },
    ];
    let clients = [ORDINARY, GRAY, DENIED, ALLOWED, "2001:db8::1"].map(|client| client.parse().unwrap());
    let mut scratch = Scratch::default();
    let mut run = || {
        let before = ALLOCATIONS.get();
        let (mut modes, mut effects) = (0, 0);
        for client in clients {
            for facts in &requests {
                modes += policy.resolve(&mut scratch, facts, client, NOW).mode as u64;
                effects += policy.effects(&scratch).of(RuleType::Mask).len();
            }
        }
        (ALLOCATIONS.get() - before, modes, effects)
    };
    let (warm_up, modes, effects) = run();
    assert!(warm_up > 0 && effects > 0, "the counter counts");
    for _ in 0..3 {
        assert_eq!(run(), (0, modes, effects));
    }
}
