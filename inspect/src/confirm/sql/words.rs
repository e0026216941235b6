//! Words of SQL, by what they do in an expression.

/// What a word is to the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `and`, `or`, `xor`.
    Logic,
    /// `not` and other words before an operand.
    Prefix,
    /// `like`, `in`, `between` and others that compare.
    Compare,
    /// `div`, `mod`, `collate`.
    Calculate,
    /// `null`, `true`, `false`.
    Constant,
    /// `select`.
    Select,
    /// `union`, `except`, `intersect`.
    Union,
    /// `case`, `when`, `then`, `else`, `end`.
    Case,
    /// `having`, `limit`, `order by` and others that go on behind a condition.
    Clause,
    /// A word inside of clauses and lists: `from`, `as`, `by`, `asc`.
    Inner,
    /// Any other name.
    Name,
}

/// The words that are more than names, in order.
static KINDS: [(&str, Kind); 77] = [
    ("all", Kind::Prefix),
    ("analyse", Kind::Inner),
    ("and", Kind::Logic),
    ("any", Kind::Prefix),
    ("as", Kind::Inner),
    ("asc", Kind::Inner),
    ("at", Kind::Inner),
    ("between", Kind::Compare),
    ("binary", Kind::Prefix),
    ("by", Kind::Inner),
    ("case", Kind::Case),
    ("collate", Kind::Calculate),
    ("cross", Kind::Inner),
    ("desc", Kind::Inner),
    ("distinct", Kind::Prefix),
    ("distinctrow", Kind::Prefix),
    ("div", Kind::Calculate),
    ("dumpfile", Kind::Inner),
    ("else", Kind::Case),
    ("end", Kind::Case),
    ("escape", Kind::Compare),
    ("except", Kind::Union),
    ("exists", Kind::Prefix),
    ("false", Kind::Constant),
    ("fetch", Kind::Clause),
    ("for", Kind::Clause),
    ("from", Kind::Inner),
    ("glob", Kind::Compare),
    ("group", Kind::Clause),
    ("having", Kind::Clause),
    ("ilike", Kind::Compare),
    ("in", Kind::Compare),
    ("inner", Kind::Inner),
    ("intersect", Kind::Union),
    ("interval", Kind::Prefix),
    ("into", Kind::Clause),
    ("is", Kind::Compare),
    ("join", Kind::Inner),
    ("left", Kind::Inner),
    ("like", Kind::Compare),
    ("limit", Kind::Clause),
    ("match", Kind::Compare),
    ("minus", Kind::Union),
    ("mod", Kind::Calculate),
    ("natural", Kind::Inner),
    ("not", Kind::Prefix),
    ("null", Kind::Constant),
    ("offset", Kind::Clause),
    ("on", Kind::Inner),
    ("or", Kind::Logic),
    ("order", Kind::Clause),
    ("outer", Kind::Inner),
    ("outfile", Kind::Inner),
    ("procedure", Kind::Clause),
    ("regexp", Kind::Compare),
    ("rlike", Kind::Compare),
    ("rollup", Kind::Inner),
    ("row", Kind::Inner),
    ("select", Kind::Select),
    ("set", Kind::Inner),
    ("similar", Kind::Compare),
    ("some", Kind::Prefix),
    ("sounds", Kind::Compare),
    ("then", Kind::Case),
    ("to", Kind::Inner),
    ("top", Kind::Inner),
    ("true", Kind::Constant),
    ("union", Kind::Union),
    ("unknown", Kind::Constant),
    ("using", Kind::Inner),
    ("values", Kind::Inner),
    ("when", Kind::Case),
    ("where", Kind::Clause),
    ("window", Kind::Clause),
    ("with", Kind::Inner),
    ("xor", Kind::Logic),
    ("zone", Kind::Inner),
];

/// Functions that no other language has by this name, or that only an attacker calls, in order.
static TELLING_FUNCTIONS: [&str; 74] = [
    "benchmark",
    "current_database",
    "current_schema",
    "current_user",
    "database",
    "db_name",
    "dblink",
    "dblink_connect",
    "dbms_ldap.init",
    "dbms_lock.sleep",
    "dbms_pipe.receive_message",
    "elt",
    "extractvalue",
    "find_in_set",
    "fn",
    "geometrycollection",
    "get_host_address",
    "group_concat",
    "gtid_subset",
    "has_table_privilege",
    "host_name",
    "httpuritype",
    "ifnull",
    "json_array_length",
    "json_depth",
    "json_extract",
    "json_keys",
    "json_length",
    "json_type",
    "jsonb_array_length",
    "linestring",
    "lo_import",
    "load_extension",
    "load_file",
    "make_set",
    "multipoint",
    "name_const",
    "pg_ls_dir",
    "pg_read_file",
    "pg_sleep",
    "pg_sleep_for",
    "polygon",
    "query_to_xml",
    "randomblob",
    "receive_message",
    "regexp_like",
    "row_count",
    "schema_name",
    "session_user",
    "sleep",
    "sqlite_compileoption_get",
    "sqlite_compileoption_used",
    "sqlite_version",
    "st_latfromgeohash",
    "st_longfromgeohash",
    "string_agg",
    "suser_name",
    "suser_sname",
    "sys_context",
    "sys_eval",
    "sys_exec",
    "sysdate",
    "system_user",
    "to_char",
    "unhex",
    "unistr",
    "updatexml",
    "user_name",
    "utl_http.request",
    "utl_inaddr.get_host_address",
    "utl_inaddr.get_host_name",
    "version",
    "xmltype",
    "zeroblob",
];

/// Functions that databases share with other languages, in order.
static COMMON_FUNCTIONS: [&str; 76] = [
    "abs",
    "ascii",
    "avg",
    "bin",
    "cast",
    "ceil",
    "char",
    "char_length",
    "charindex",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "conv",
    "convert",
    "count",
    "date_add",
    "decode",
    "exp",
    "floor",
    "greatest",
    "hex",
    "hextoraw",
    "if",
    "iif",
    "instr",
    "isnull",
    "lcase",
    "least",
    "left",
    "len",
    "length",
    "locate",
    "lower",
    "lpad",
    "ltrim",
    "max",
    "md5",
    "mid",
    "min",
    "mod",
    "now",
    "nullif",
    "nvl",
    "oct",
    "ord",
    "position",
    "pow",
    "quote",
    "rand",
    "random",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "row",
    "rpad",
    "rtrim",
    "schema",
    "sha",
    "sha1",
    "sha2",
    "space",
    "sqrt",
    "strcmp",
    "stuff",
    "substr",
    "substring",
    "sum",
    "to_number",
    "trim",
    "ucase",
    "unicode",
    "upper",
    "user",
];

/// The longest word of the tables, in bytes.
const WORD_BYTES_MAX: usize = 32;

/// Writes the word in lower case into `lower`, unless it is too long for the tables.
fn lower<'b>(word: &[u8], lower: &'b mut [u8; WORD_BYTES_MAX]) -> Option<&'b [u8]> {
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    Some(lower)
}

pub(super) fn kind(word: &[u8]) -> Kind {
    let mut buffer = [0; WORD_BYTES_MAX];
    let Some(word) = lower(word, &mut buffer) else { return Kind::Name };
    let found = KINDS.binary_search_by(|(known, _)| known.as_bytes().cmp(word));
    found.map_or(Kind::Name, |index| KINDS[index].1)
}

pub(super) fn is_telling_function(word: &[u8]) -> bool {
    is_in(&TELLING_FUNCTIONS, word)
}

pub(super) fn is_common_function(word: &[u8]) -> bool {
    is_in(&COMMON_FUNCTIONS, word)
}

fn is_in(table: &[&str], word: &[u8]) -> bool {
    let mut buffer = [0; WORD_BYTES_MAX];
    lower(word, &mut buffer)
        .is_some_and(|word| table.binary_search_by(|known| known.as_bytes().cmp(word)).is_ok())
}

/// Whether a database reads these letters, right behind the digits of a number, as a word of their own.
pub(super) fn is_after_number(word: &[u8]) -> bool {
    matches!(
        kind(word),
        Kind::Logic | Kind::Union | Kind::Compare | Kind::Calculate | Kind::Clause | Kind::Select
    ) || word.eq_ignore_ascii_case(b"from")
}

pub(super) fn is_one_of(list: &str, word: &[u8]) -> bool {
    list.split_ascii_whitespace().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order_and_their_words_are_found() {
        assert!(KINDS.is_sorted_by(|(one, _), (other, _)| one < other));
        assert!(TELLING_FUNCTIONS.is_sorted() && COMMON_FUNCTIONS.is_sorted());
        let words = KINDS.iter().map(|(word, _)| word).chain(&TELLING_FUNCTIONS).chain(&COMMON_FUNCTIONS);
        assert!(words.map(|word| word.len()).all(|length| length <= WORD_BYTES_MAX));
        assert_eq!((kind(b"SeLeCt"), kind(b"selects")), (Kind::Select, Kind::Name));
        assert!(is_telling_function(b"SLEEP") && is_common_function(b"concat") && !is_common_function(b""));
    }
}
