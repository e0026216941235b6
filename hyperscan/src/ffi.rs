//! The part of Hyperscan's C interface (5.4) that is used here, declared by hand.
//!
//! Values and layouts are those of `hs_common.h`, `hs_compile.h` and `hs_runtime.h`.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

/// `hs_error_t`: the call did what it should.
pub(super) const SUCCESS: c_int = 0;
/// `hs_error_t`: the match callback asked to stop.
pub(super) const SCAN_TERMINATED: c_int = -3;

/// Pattern flag: letters match in either case.
pub(super) const FLAG_CASELESS: c_uint = 1;
/// Pattern flag: `.` matches a line feed as well.
pub(super) const FLAG_DOTALL: c_uint = 2;
/// Pattern flag: a scan reports the pattern once at most.
pub(super) const FLAG_SINGLEMATCH: c_uint = 8;
/// Pattern flag: the pattern may match the empty text.
pub(super) const FLAG_ALLOWEMPTY: c_uint = 16;
/// Database mode: whole buffers, no streams.
pub(super) const MODE_BLOCK: c_uint = 1;

/// An opaque compiled database.
#[repr(C)]
pub(super) struct HsDatabase {
    _private: [u8; 0],
}

/// Opaque working memory of one scan at a time.
#[repr(C)]
pub(super) struct HsScratch {
    _private: [u8; 0],
}

/// What went wrong with which expression.
#[repr(C)]
pub(super) struct HsCompileError {
    pub(super) message: *mut c_char,
    pub(super) expression: c_int,
}

/// The CPU that a database is compiled for.
#[repr(C)]
#[derive(Default)]
pub(super) struct HsPlatformInfo {
    pub(super) tune: c_uint,
    pub(super) cpu_features: c_ulonglong,
    pub(super) reserved1: c_ulonglong,
    pub(super) reserved2: c_ulonglong,
}

/// Called for each match; a return value other than 0 stops the scan.
pub(super) type MatchEventHandler = unsafe extern "C" fn(
    id: c_uint,
    from: c_ulonglong,
    to: c_ulonglong,
    flags: c_uint,
    context: *mut c_void,
) -> c_int;

unsafe extern "C" {
    pub(super) fn hs_version() -> *const c_char;
    pub(super) fn hs_valid_platform() -> c_int;
    pub(super) fn hs_populate_platform(platform: *mut HsPlatformInfo) -> c_int;
    pub(super) fn hs_compile_multi(
        expressions: *const *const c_char,
        flags: *const c_uint,
        ids: *const c_uint,
        elements: c_uint,
        mode: c_uint,
        platform: *const HsPlatformInfo,
        database: *mut *mut HsDatabase,
        error: *mut *mut HsCompileError,
    ) -> c_int;
    pub(super) fn hs_free_compile_error(error: *mut HsCompileError) -> c_int;
    pub(super) fn hs_free_database(database: *mut HsDatabase) -> c_int;
    pub(super) fn hs_database_size(database: *const HsDatabase, size: *mut usize) -> c_int;
    pub(super) fn hs_serialize_database(
        database: *const HsDatabase,
        bytes: *mut *mut c_char,
        length: *mut usize,
    ) -> c_int;
    pub(super) fn hs_deserialize_database(
        bytes: *const c_char,
        length: usize,
        database: *mut *mut HsDatabase,
    ) -> c_int;
    pub(super) fn hs_alloc_scratch(database: *const HsDatabase, scratch: *mut *mut HsScratch) -> c_int;
    pub(super) fn hs_free_scratch(scratch: *mut HsScratch) -> c_int;
    pub(super) fn hs_scan(
        database: *const HsDatabase,
        data: *const c_char,
        length: c_uint,
        flags: c_uint,
        scratch: *mut HsScratch,
        on_event: Option<MatchEventHandler>,
        context: *mut c_void,
    ) -> c_int;
    /// The C library's: Hyperscan allocates serialized bytes with `malloc` unless told otherwise.
    pub(super) fn free(pointer: *mut c_void);
}
