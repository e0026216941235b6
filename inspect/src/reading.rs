//! Counts, in tests alone, the bytes that closer looks, decoders and readers of bodies read: work that grows faster than its
//! input shows in them.

/// Notes that `bytes` were read. Nothing is left of it outside of tests.
#[inline(always)]
pub(crate) fn note(bytes: usize) {
    #[cfg(test)]
    tests::BYTES_READ.with(|read| read.set(read.get() + bytes));
    let _ = bytes;
}

/// The bytes that this thread has noted since it was asked last.
#[cfg(test)]
pub(crate) fn take() -> usize {
    tests::BYTES_READ.take()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    thread_local! {
        pub(super) static BYTES_READ: Cell<usize> = const { Cell::new(0) };
    }
}
