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

const LOGIC: &str = "and or xor";
const PREFIX: &str = "not exists any all some binary distinct distinctrow interval";
const COMPARE: &str = "like rlike regexp ilike in between is glob similar sounds match escape";
const CALCULATE: &str = "div mod collate";
const CONSTANT: &str = "null true false unknown";
const UNION: &str = "union except intersect minus";
const CASE: &str = "case when then else end";
const CLAUSE: &str = "having limit order group procedure into where offset fetch window for";
const INNER: &str = "from as by asc desc on using join left inner outer cross natural analyse outfile dumpfile set \
                     values row top to rollup with at zone";

/// Functions that no other language has by this name, or that only an attacker calls.
const TELLING_FUNCTIONS: &str = "\
    benchmark current_database current_schema current_user database db_name dblink dblink_connect elt extractvalue \
    find_in_set fn geometrycollection get_host_address group_concat gtid_subset has_table_privilege host_name \
    httpuritype json_array_length json_depth json_extract json_keys json_length json_type jsonb_array_length ifnull \
    linestring lo_import load_extension load_file make_set multipoint name_const pg_ls_dir pg_read_file pg_sleep \
    pg_sleep_for polygon query_to_xml randomblob receive_message regexp_like row_count schema_name session_user sleep \
    sqlite_compileoption_get sqlite_compileoption_used sqlite_version st_latfromgeohash st_longfromgeohash \
    string_agg suser_name suser_sname sys_context sys_eval sys_exec sysdate system_user to_char unhex unistr \
    updatexml user_name utl_inaddr.get_host_address utl_http.request utl_inaddr.get_host_name \
    dbms_pipe.receive_message dbms_lock.sleep dbms_ldap.init version xmltype zeroblob";

/// Functions that databases share with other languages.
const COMMON_FUNCTIONS: &str = "\
    abs ascii avg bin cast ceil char char_length charindex chr coalesce concat concat_ws conv convert count date_add exp \
    floor greatest hex if iif instr isnull lcase least left length len locate lower lpad ltrim max md5 mid min mod now \
    nullif nvl oct ord position pow quote rand random repeat replace reverse right round row rpad rtrim schema sha sha1 \
    sha2 space sqrt strcmp stuff substr substring sum to_number trim ucase unicode upper user hextoraw decode";

pub(super) fn kind(word: &[u8]) -> Kind {
    const LISTS: [(&str, Kind); 9] = [
        (LOGIC, Kind::Logic),
        (PREFIX, Kind::Prefix),
        (COMPARE, Kind::Compare),
        (CALCULATE, Kind::Calculate),
        (CONSTANT, Kind::Constant),
        (UNION, Kind::Union),
        (CASE, Kind::Case),
        (CLAUSE, Kind::Clause),
        (INNER, Kind::Inner),
    ];
    if word.eq_ignore_ascii_case(b"select") {
        return Kind::Select;
    }
    LISTS.iter().find(|(list, _)| is_one_of(list, word)).map_or(Kind::Name, |(_, kind)| *kind)
}

pub(super) fn is_telling_function(word: &[u8]) -> bool {
    is_one_of(TELLING_FUNCTIONS, word)
}

pub(super) fn is_common_function(word: &[u8]) -> bool {
    is_one_of(COMMON_FUNCTIONS, word)
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
