//! A safe face for the Hyperscan regular-expression matcher: compile, store, restore, scan.
//!
//! Whatever compiles or scans patterns does it through this crate. It is `unsafe` inside, since Hyperscan is a C library.
#![allow(unsafe_code, reason = "Hyperscan is a C library")]

mod ffi;
mod shared;

use std::ffi::{CStr, CString, c_int, c_uint, c_ulonglong, c_void};
use std::fmt;
use std::ops::ControlFlow;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One pattern to compile. Its index in the list is the id that a scan reports.
#[derive(Debug, Clone, Copy)]
pub struct Pattern<'a> {
    /// The expression, in the PCRE subset that Hyperscan understands; bytes, no UTF-8 mode; `.` matches all.
    pub expression: &'a str,
    /// Letters match in either case.
    pub caseless: bool,
}

/// Why Hyperscan refused something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HyperscanError {
    /// This CPU lacks the instructions that the library needs (SSSE3).
    Platform,
    /// The pattern with this index does not compile, or all together do not (no index).
    Compile {
        /// The position of the pattern in the list, when one is to blame.
        index: Option<usize>,
        /// The library's words.
        message: String,
    },
    /// A call failed with this code of `hs_common.h`.
    Code {
        /// What was tried.
        action: &'static str,
        /// The library's `hs_error_t`.
        code: i32,
    },
}

impl fmt::Display for HyperscanError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => write!(formatter, "this CPU lacks SSSE3, which Hyperscan needs"),
            Self::Compile { message, .. } => write!(formatter, "{message}"),
            Self::Code { action, code } => write!(formatter, "Hyperscan could not {action}: error {code}"),
        }
    }
}

impl std::error::Error for HyperscanError {}

fn check(code: c_int, action: &'static str) -> Result<(), HyperscanError> {
    if code == ffi::SUCCESS { Ok(()) } else { Err(HyperscanError::Code { action, code }) }
}

/// The library's version with its build date, such as `5.4.0 2023-01-01`.
pub fn version() -> String {
    // SAFETY: hs_version returns a pointer to a static, NUL-terminated string and takes nothing.
    unsafe { CStr::from_ptr(ffi::hs_version()) }.to_string_lossy().into_owned()
}

/// What of this CPU a compiled database depends on: tuning family and instruction sets, as the library numbers them.
pub fn platform() -> Result<(u32, u64), HyperscanError> {
    let mut info = ffi::HsPlatformInfo::default();
    // SAFETY: `info` is a live, correctly laid out structure that the call fills.
    check(unsafe { ffi::hs_populate_platform(&raw mut info) }, "look at the CPU")?;
    Ok((info.tune, info.cpu_features))
}

/// What is reported once, and may be the empty text.
const ONE_REPORT: c_uint = ffi::FLAG_DOTALL | ffi::FLAG_SINGLEMATCH | ffi::FLAG_ALLOWEMPTY;

/// A compiled pattern set: immutable, usable from any number of threads with a [`Scratch`] each.
pub struct Database {
    handle: NonNull<ffi::HsDatabase>,
    /// Unique in the process, so that a scratch knows the database that it was made for.
    identity: u64,
}

// SAFETY: Hyperscan documents a database as immutable after compilation and shareable between threads; the handle is
// freed once, by the one owner's Drop.
unsafe impl Send for Database {}
// SAFETY: as above, all functions that take a shared database only read it.
unsafe impl Sync for Database {}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Database").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Database {
    /// Compiles all patterns into one database for this CPU. A scan reports every end of every match.
    ///
    /// # Errors
    ///
    /// What the library has against a pattern or against all together.
    pub fn compile(patterns: &[Pattern<'_>]) -> Result<Self, HyperscanError> {
        let flags =
            |pattern: &Pattern<'_>| ffi::FLAG_DOTALL | if pattern.caseless { ffi::FLAG_CASELESS } else { 0 };
        let flags = patterns.iter().map(flags).collect();
        Self::compile_with(patterns.iter().map(|pattern| pattern.expression), flags)
    }

    /// The same for expressions of which a scan is to say no more than which ones match: each is reported once. They may
    /// match the empty text.
    ///
    /// Where a database of the very same expressions is in use, it is shared: compiling takes long, and a change of rules
    /// mostly leaves their regexes as they are.
    ///
    /// # Errors
    ///
    /// As [`Database::compile`].
    pub fn compile_for_one_report(
        expressions: &[&str],
        caseless: &[bool],
    ) -> Result<Arc<Self>, HyperscanError> {
        let flags = |index: usize| {
            let is_caseless = caseless.get(index).copied().unwrap_or_default();
            ONE_REPORT | if is_caseless { ffi::FLAG_CASELESS } else { 0 }
        };
        Self::compile_shared(expressions, flags)
    }

    /// As [`Database::compile_for_one_report`], for expressions whose letters have a case; but of those from the
    /// `first_counted` on a scan reports every end of every match, so that matches can be counted.
    ///
    /// # Errors
    ///
    /// As [`Database::compile`].
    pub fn compile_for_counts(
        expressions: &[&str],
        first_counted: usize,
    ) -> Result<Arc<Self>, HyperscanError> {
        let flags = |index: usize| if index < first_counted { ONE_REPORT } else { ffi::FLAG_DOTALL };
        Self::compile_shared(expressions, flags)
    }

    fn compile_shared(
        expressions: &[&str],
        flags: impl Fn(usize) -> c_uint,
    ) -> Result<Arc<Self>, HyperscanError> {
        let flags: Vec<c_uint> = (0..expressions.len()).map(flags).collect();
        shared::database(expressions.iter().copied().zip(flags.iter().copied()), || {
            Self::compile_with(expressions.iter().copied(), flags.clone())
        })
    }

    fn compile_with<'a>(
        patterns: impl Iterator<Item = &'a str>,
        flags: Vec<c_uint>,
    ) -> Result<Self, HyperscanError> {
        // SAFETY: the call takes nothing and only reads the CPU's features.
        if unsafe { ffi::hs_valid_platform() } != ffi::SUCCESS {
            return Err(HyperscanError::Platform);
        }
        let mut expressions = Vec::with_capacity(flags.len());
        for (index, pattern) in patterns.enumerate() {
            expressions.push(CString::new(pattern).map_err(|_| HyperscanError::Compile {
                index: Some(index),
                message: "the pattern contains a NUL byte; write it as \\x00".to_owned(),
            })?);
        }
        let pointers: Vec<_> = expressions.iter().map(|expression| expression.as_ptr()).collect();
        let count = c_uint::try_from(pointers.len())
            .map_err(|_| HyperscanError::Compile { index: None, message: "too many patterns".to_owned() })?;
        let ids: Vec<c_uint> = (0..count).collect();
        let mut platform = ffi::HsPlatformInfo::default();
        let mut handle = ptr::null_mut();
        let mut error = ptr::null_mut();
        debug_assert_eq!(flags.len(), pointers.len());
        // SAFETY: the three arrays hold `count` elements each and outlive the call, as do the strings behind
        // `pointers`; `platform`, `handle` and `error` are live locals that the calls write.
        let code = unsafe {
            check(ffi::hs_populate_platform(&raw mut platform), "look at the CPU")?;
            ffi::hs_compile_multi(
                pointers.as_ptr(),
                flags.as_ptr(),
                ids.as_ptr(),
                count,
                ffi::MODE_BLOCK,
                &raw const platform,
                &raw mut handle,
                &raw mut error,
            )
        };
        if code != ffi::SUCCESS {
            return Err(compile_error(error, code));
        }
        Self::own(handle, "compile the patterns")
    }

    /// The database as bytes that [`Database::deserialize`] understands, on the same library and CPU.
    pub fn serialize(&self) -> Result<Vec<u8>, HyperscanError> {
        let mut bytes = ptr::null_mut();
        let mut length = 0;
        // SAFETY: the handle is live; on success the call points `bytes` to `length` bytes from `malloc`, which are
        // copied and then freed exactly once.
        unsafe {
            check(
                ffi::hs_serialize_database(self.handle.as_ptr(), &raw mut bytes, &raw mut length),
                "serialize the database",
            )?;
            let copy = std::slice::from_raw_parts(bytes.cast::<u8>(), length).to_vec();
            ffi::free(bytes.cast::<c_void>());
            Ok(copy)
        }
    }

    /// Restores a database. The library checks version, CPU and a CRC; it does not defend against forged bytes, so the
    /// caller gives only bytes whose digest it has checked.
    pub fn deserialize(bytes: &[u8]) -> Result<Self, HyperscanError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the pointer and length describe a live slice, and `handle` is a live local that the call writes.
        unsafe {
            let code = ffi::hs_deserialize_database(bytes.as_ptr().cast(), bytes.len(), &raw mut handle);
            check(code, "restore the database")?;
        }
        Self::own(handle, "restore the database")
    }

    /// A number that no other database of this process has.
    pub const fn identity(&self) -> u64 {
        self.identity
    }

    /// Bytes that the database takes in memory.
    pub fn size_bytes(&self) -> usize {
        let mut size = 0;
        // SAFETY: the handle is live and `size` is a live local that the call writes.
        let code = unsafe { ffi::hs_database_size(self.handle.as_ptr(), &raw mut size) };
        if code == ffi::SUCCESS { size } else { 0 }
    }

    fn own(handle: *mut ffi::HsDatabase, action: &'static str) -> Result<Self, HyperscanError> {
        static NEXT_IDENTITY: AtomicU64 = AtomicU64::new(1);
        let handle = NonNull::new(handle).ok_or(HyperscanError::Code { action, code: 0 })?;
        Ok(Self { handle, identity: NEXT_IDENTITY.fetch_add(1, Ordering::Relaxed) })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: the handle came from a successful compile or restore and is freed only here.
        unsafe { ffi::hs_free_database(self.handle.as_ptr()) };
    }
}

fn compile_error(error: *mut ffi::HsCompileError, code: c_int) -> HyperscanError {
    if error.is_null() {
        return HyperscanError::Code { action: "compile the patterns", code };
    }
    // SAFETY: a failed compile points `error` to a structure whose message is NUL-terminated; it is copied before the
    // structure is freed, once.
    unsafe {
        let message = CStr::from_ptr((*error).message).to_string_lossy().into_owned();
        let index = usize::try_from((*error).expression).ok();
        ffi::hs_free_compile_error(error);
        HyperscanError::Compile { index, message }
    }
}

/// Working memory for scans of one thread. It belongs to the databases that it was last fitted to.
pub struct Scratch {
    handle: NonNull<ffi::HsScratch>,
    /// Of those databases, in order.
    identities: Vec<u64>,
}

// SAFETY: a scratch may move between threads; it is only used through `&mut`, so by one thread at a time.
unsafe impl Send for Scratch {}

impl fmt::Debug for Scratch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scratch").field("identities", &self.identities).finish_non_exhaustive()
    }
}

impl Scratch {
    /// Allocates working memory for scans with `database`.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new(database: &Database) -> Result<Self, HyperscanError> {
        Self::for_all([database])?.ok_or(HyperscanError::Code { action: "allocate scratch", code: 0 })
    }

    /// The same for scans with any of several databases. `None` if there are none.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn for_all<'a>(
        databases: impl IntoIterator<Item = &'a Database>,
    ) -> Result<Option<Self>, HyperscanError> {
        let mut fitted: Option<Self> = None;
        for database in databases {
            let mut handle = fitted.as_ref().map_or(ptr::null_mut(), |scratch| scratch.handle.as_ptr());
            // SAFETY: the database is live. A null scratch asks the call to allocate a new one; another one is live and
            // owned here, and the call replaces it by a larger one if need be and then frees it.
            let code = unsafe { ffi::hs_alloc_scratch(database.handle.as_ptr(), &raw mut handle) };
            let found = NonNull::new(handle).ok_or(HyperscanError::Code { action: "allocate scratch", code });
            match (&mut fitted, found) {
                (Some(scratch), Ok(handle)) => scratch.handle = handle,
                (None, Ok(handle)) => fitted = Some(Self { handle, identities: Vec::new() }),
                (None, Err(error)) => return Err(error),
                // the library has freed it, or left it as it was: leaking it is the one safe thing to do
                (Some(_), Err(error)) => {
                    std::mem::forget(fitted);
                    return Err(error);
                }
            }
            check(code, "allocate scratch")?;
            if let Some(scratch) = &mut fitted {
                scratch.identities.push(database.identity);
            }
        }
        if let Some(scratch) = &mut fitted {
            scratch.identities.sort_unstable();
        }
        Ok(fitted)
    }

    /// Scans `data` (less than 4 GiB) and calls `on_match` with each pattern's index and the offset just after the
    /// match, until it breaks. The scratch fits itself to another database by allocating anew.
    pub fn scan<F>(
        &mut self,
        database: &Database,
        data: &[u8],
        on_match: &mut F,
    ) -> Result<(), HyperscanError>
    where
        F: FnMut(u32, usize) -> ControlFlow<()>,
    {
        if self.identities.binary_search(&database.identity).is_err() {
            *self = Self::new(database)?;
        }
        let length = c_uint::try_from(data.len())
            .map_err(|_| HyperscanError::Code { action: "scan 4 GiB or more", code: 0 })?;
        // SAFETY: database and scratch are live and belong together (checked above); the scratch is borrowed mutably,
        // so no other scan uses it; `data` describes a live slice; the context is the `F` that `trampoline::<F>`
        // expects and outlives the call.
        let code = unsafe {
            ffi::hs_scan(
                database.handle.as_ptr(),
                data.as_ptr().cast(),
                length,
                0,
                self.handle.as_ptr(),
                Some(trampoline::<F>),
                ptr::from_mut(on_match).cast::<c_void>(),
            )
        };
        if code == ffi::SCAN_TERMINATED { Ok(()) } else { check(code, "scan") }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: the handle came from a successful allocation and is freed only here.
        unsafe { ffi::hs_free_scratch(self.handle.as_ptr()) };
    }
}

unsafe extern "C" fn trampoline<F>(
    id: c_uint,
    _from: c_ulonglong,
    to: c_ulonglong,
    _flags: c_uint,
    context: *mut c_void,
) -> c_int
where
    F: FnMut(u32, usize) -> ControlFlow<()>,
{
    // SAFETY: `Scratch::scan` passes a pointer to a live `F` that nothing else uses during the scan.
    let on_match = unsafe { &mut *context.cast::<F>() };
    let to = usize::try_from(to).unwrap_or(usize::MAX);
    c_int::from(on_match(id, to).is_break())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(scratch: &mut Scratch, database: &Database, data: &[u8]) -> Vec<(u32, usize)> {
        let mut found = Vec::new();
        scratch
            .scan(database, data, &mut |id, to| {
                found.push((id, to));
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }

    fn database(expressions: &[&str]) -> Database {
        let patterns: Vec<_> =
            expressions.iter().map(|expression| Pattern { expression, caseless: true }).collect();
        Database::compile(&patterns).unwrap()
    }

    #[test]
    fn a_scan_reports_pattern_and_end() {
        let database = database(&["union\\s+select", "passwd"]);
        let mut scratch = Scratch::new(&database).unwrap();
        assert_eq!(matches(&mut scratch, &database, b"x UNION  select /etc/passwd"), [(0, 15), (1, 27)]);
        assert_eq!(matches(&mut scratch, &database, b""), []);
    }

    #[test]
    fn some_expressions_of_a_database_are_counted() {
        let expressions = ["[ab]+;", "[ab]+;", "(?:.*a.*|.*[ab].*|a+);"];
        let counted = |first| Database::compile_for_counts(&expressions, first).unwrap();
        let database = counted(1);
        let mut scratch = Scratch::new(&database).unwrap();
        let mut found = matches(&mut scratch, &database, b"aa;-;b;");
        found.sort_unstable();
        assert_eq!(found, [(0, 3), (1, 3), (1, 7), (2, 3), (2, 5), (2, 7)]);
        assert_ne!(counted(2).identity(), database.identity());
        assert_eq!(counted(1).identity(), database.identity());
    }

    #[test]
    fn a_break_stops_the_scan() {
        let database = database(&["aaa"]);
        let mut scratch = Scratch::new(&database).unwrap();
        let mut count = 0;
        scratch
            .scan(&database, &[b'a'; 100], &mut |_, _| {
                count += 1;
                ControlFlow::Break(())
            })
            .unwrap();
        assert_eq!(count, 1);
    }

    #[test]
    fn a_scratch_of_another_database_is_fitted_first() {
        let small = database(&["abc"]);
        let large = database(&["foo.{1,200}bar", "(?:x[a-f]+y){3,9}", "[0-9]+zz\\b", "q.*w.*e"]);
        let mut scratch = Scratch::new(&small).unwrap();
        assert_eq!(matches(&mut scratch, &large, b"foo 12zz bar"), [(2, 8), (0, 12)]);
        assert_eq!(matches(&mut scratch, &small, b"abc"), [(0, 3)]);
    }

    #[test]
    fn a_restored_database_finds_the_same() {
        let bytes = database(&["select", "script"]).serialize().unwrap();
        let restored = Database::deserialize(&bytes).unwrap();
        let mut scratch = Scratch::new(&restored).unwrap();
        assert_eq!(matches(&mut scratch, &restored, b"<script>"), [(1, 7)]);
        assert!(Database::deserialize(&bytes[..bytes.len() / 2]).is_err());
    }

    #[test]
    fn a_broken_pattern_is_named_by_its_index() {
        let patterns = ["fine", "(unclosed"].map(|expression| Pattern { expression, caseless: false });
        let error = Database::compile(&patterns).unwrap_err();
        assert!(matches!(error, HyperscanError::Compile { index: Some(1), .. }), "{error}");
    }
}
