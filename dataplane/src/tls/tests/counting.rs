//! An allocator that counts what the current thread allocates, for tests that limit it.
#![allow(unsafe_code)] // an allocator can't be written without

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    // The thread may be ending, and its counters gone: then nobody asks for them any more.
    let _ = LIVE_BYTES.try_with(|live| live.set(live.get() + bytes));
    if bytes > 0 {
        let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches only thread-local cells.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What `work` allocated: how often, and how many bytes more are held after it than before.
pub(crate) fn allocations<T>(work: impl FnOnce() -> T) -> (usize, isize, T) {
    let (count, live) = (ALLOCATIONS.get(), LIVE_BYTES.get());
    let result = work();
    (ALLOCATIONS.get() - count, LIVE_BYTES.get() - live, result)
}
