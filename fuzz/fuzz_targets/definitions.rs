//! Definitions as `pg_dump` words them, and a script of roles.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgbackup::{plain_text, roles, schema, sql_text, units};

fuzz_target!(|text: &str| {
    let _ = sql_text::first_name(text);
    let _ = sql_text::copied_table(text);
    let _ = sql_text::copied_columns(text);
    let _ = sql_text::table_columns(text);
    let _ = schema::column_set(text);
    let _ = roles::plan(text, &["postgres".to_owned()]);
    let _ = units::parse_bytes(text);
    assert!(!plain_text::one_line(text).contains(plain_text::steers));
});
