//! The fingerprint of a database: what its dump holds, in numbers that do not depend on how or when it was dumped.
//!
//! `create` takes it of the new dump, a drill of a dump of the restored database, and equal fingerprints are the proof.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use anyhow::{Result, anyhow};
use regex::Regex;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::checksum;
use crate::copy_rows::RowSum;
use crate::digest::{Content, FileDigest};
use crate::schema;
use crate::sql_text;
use crate::toc::{Entry, Toc};

/// Raised with every change of what a fingerprint of the same dump comes to (`schema.rs`, `copy_rows.rs`, grouping).
pub const METHOD: u32 = 1;

/// Everything that must be equal in a database and in what is restored from its backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// [`METHOD`] of the pgbackup that took it. Fingerprints of different methods are not compared.
    pub method: u32,
    /// SHA-256 over all objects' comparable definitions (schema.rs).
    pub schema: String,
    pub large_objects: LargeObjects,
    #[serde(default)]
    pub tables: Vec<TableSum>,
    #[serde(default)]
    pub sequences: Vec<SequenceValue>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableSum {
    pub schema: String,
    pub name: String,
    /// Exact.
    pub rows: u64,
    /// Order-independent content hash (`copy_rows.rs`), 32 hex digits.
    pub hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SequenceValue {
    pub schema: String,
    pub name: String,
    pub value: i64,
    /// Whether the next value is behind `value` or `value` itself.
    pub called: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObjects {
    pub count: u64,
    pub bytes: u64,
    /// Sum of XXH3-128 over each object's id and content hash, 32 hex digits.
    pub hash: String,
}

/// A sequence's value in words.
pub fn described_value(value: i64, called: bool) -> String {
    if called { value.to_string() } else { format!("{value} (not given out yet)") }
}

impl Fingerprint {
    pub fn rows(&self) -> u64 {
        // Each is what a file says, which may be anything.
        self.tables.iter().fold(0, |sum, table| sum.saturating_add(table.rows))
    }

    /// Puts together what the table of contents and the files' digests say. Fails when they do not fit.
    pub fn assemble(toc: &Toc, digests: &[FileDigest]) -> Result<Self> {
        let mut rows = BTreeMap::new();
        let mut large_objects = LargeObjects::default();
        let mut object_sum = 0u128;
        for digest in digests {
            match &digest.content {
                Content::Rows(sum) => {
                    rows.insert(data_file_stem(&digest.name).to_owned(), *sum);
                }
                Content::LargeObject { oid, bytes, hash } => {
                    large_objects.count += 1;
                    large_objects.bytes += bytes;
                    let keyed = [&oid.to_be_bytes()[..], &hash.to_be_bytes()[..]].concat();
                    object_sum = object_sum.wrapping_add(xxh3_128(&keyed));
                }
                Content::Damaged(why) => return Err(anyhow!("{} is damaged: {why}", digest.name)),
                Content::Other => {}
            }
        }
        large_objects.hash = format!("{object_sum:032x}");
        let mut tables: BTreeMap<(String, String), RowSum> = BTreeMap::new();
        for entry in toc.entries.iter().filter(|entry| entry.kind == "TABLE DATA") {
            let sum = rows.remove(&entry.file_name).ok_or_else(|| {
                anyhow!(
                    "the data file {} of table {}.{} is missing",
                    entry.file_name,
                    entry.schema,
                    entry.name
                )
            })?;
            let table = tables.entry(loaded_into(entry)).or_default();
            table.rows += sum.rows;
            table.hash = table.hash.wrapping_add(sum.hash);
        }
        if let Some(name) = rows.keys().next() {
            return Err(anyhow!("the data file {name} belongs to no table"));
        }
        let sum = |((schema, name), sum): ((String, String), RowSum)| TableSum {
            schema,
            name,
            rows: sum.rows,
            hash: format!("{:032x}", sum.hash),
        };
        let tables = tables.into_iter().map(sum).collect();
        Ok(Fingerprint {
            method: METHOD,
            schema: schema_hash(toc),
            large_objects,
            tables,
            sequences: sequences(toc)?,
        })
    }
}

/// The table that an entry's rows are loaded into: its own or, where a row's partition depends on an oid (a hashed
/// enum), the root of the partitions. A restore may put such rows into other partitions; only their sum is the same.
fn loaded_into(entry: &Entry) -> (String, String) {
    let own = || (entry.schema.clone(), entry.name.clone());
    if !entry.definition.starts_with("-- load via partition root ") {
        return own();
    }
    sql_text::copied_table(&entry.copy_statement).map_or_else(own, |(schema, name, _)| (schema, name))
}

/// The tables whose rows are those of all their partitions.
pub fn partition_roots(toc: &Toc) -> BTreeSet<(String, String)> {
    let data = toc.entries.iter().filter(|entry| entry.kind == "TABLE DATA");
    data.map(|entry| (loaded_into(entry), entry))
        .filter(|(table, entry)| *table != (entry.schema.clone(), entry.name.clone()))
        .map(|(table, _)| table)
        .collect()
}

/// SHA-256 over all objects of a dump, in their comparable form.
pub fn schema_hash(toc: &Toc) -> String {
    let mut text = String::new();
    for object in schema::objects(toc) {
        for part in [&object.kind, &object.schema, &object.name, &object.definition] {
            text.push_str(part);
            text.push('\0');
        }
        text.push('\n');
    }
    checksum::sha256_hex(text.as_bytes())
}

/// `dump/7.dat.zst` → `7.dat`, as the table of contents names it.
fn data_file_stem(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.strip_suffix(".zst").or_else(|| name.strip_suffix(".gz")).unwrap_or(name)
}

fn sequences(toc: &Toc) -> Result<Vec<SequenceValue>> {
    let entries = toc.entries.iter().filter(|entry| entry.kind == schema::SEQUENCE_VALUE);
    let mut values = entries.map(sequence_value).collect::<Result<Vec<_>>>()?;
    values.sort();
    Ok(values)
}

/// The end of `SELECT pg_catalog.setval('public.cows_id_seq', 42, true);`.
static SETVAL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r", (-?[0-9]+), (true|false)\);\s*$").expect("the pattern is well-formed"));

fn sequence_value(entry: &Entry) -> Result<SequenceValue> {
    let unreadable = || anyhow!("the value of sequence {}.{} cannot be read", entry.schema, entry.name);
    let (_, [value, called]) = SETVAL.captures(&entry.definition).ok_or_else(unreadable)?.extract();
    Ok(SequenceValue {
        schema: entry.schema.clone(),
        name: entry.name.clone(),
        value: value.parse().map_err(|_| unreadable())?,
        called: called == "true",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, name: &str, definition: &str, file_name: &str) -> Entry {
        Entry {
            kind: kind.into(),
            schema: "public".into(),
            name: name.into(),
            definition: definition.into(),
            file_name: file_name.into(),
            ..Entry::default()
        }
    }

    fn toc(entries: Vec<Entry>) -> Toc {
        Toc { database: "db".into(), server_version: String::new(), dump_version: String::new(), entries }
    }

    fn rows(name: &str, rows: u64) -> FileDigest {
        let content = Content::Rows(RowSum { rows, hash: 5 });
        FileDigest { name: name.into(), size: 1, sha256: String::new(), content }
    }

    #[test]
    fn tables_and_sequences_are_found() {
        let toc = toc(vec![
            entry("TABLE DATA", "cows", "", "7.dat"),
            entry(
                "SEQUENCE SET",
                "odd, seq",
                "SELECT pg_catalog.setval('public.\"odd, seq\"', -42, true);\n",
                "",
            ),
        ]);
        let print = Fingerprint::assemble(&toc, &[rows("dump/7.dat.zst", 3)]).unwrap();
        assert_eq!(print.tables[0].rows, 3);
        assert_eq!((print.sequences[0].value, print.sequences[0].called), (-42, true));
    }

    #[test]
    fn the_rows_of_all_tables_are_summed() {
        let tables = vec![entry("TABLE DATA", "cows", "", "7.dat"), entry("TABLE DATA", "milk", "", "8.dat")];
        let print = Fingerprint::assemble(&toc(tables), &[rows("dump/7.dat", 3), rows("dump/8.dat.gz", 4)]);
        assert_eq!(print.unwrap().rows(), 7);
    }

    #[test]
    fn large_objects_are_summed_in_any_order() {
        let object = |oid, bytes, hash| FileDigest {
            name: format!("dump/blob_{oid}.dat"),
            size: 1,
            sha256: String::new(),
            content: Content::LargeObject { oid, bytes, hash },
        };
        let sum =
            |objects: &[FileDigest]| Fingerprint::assemble(&toc(vec![]), objects).unwrap().large_objects;
        let (one, other) = (object(16_400, 10, 1), object(16_401, 5, 2));
        let both = sum(&[one.clone(), other.clone()]);
        assert_eq!((both.count, both.bytes), (2, 15));
        assert_eq!(both, sum(&[other, one.clone()]));
        assert_ne!(both.hash, sum(&[one, object(16_401, 5, 3)]).hash);
    }

    #[test]
    fn a_damaged_file_has_no_fingerprint() {
        let content = Content::Damaged("cut off".into());
        let damaged = FileDigest { content, ..rows("dump/7.dat", 3) };
        let error = Fingerprint::assemble(&toc(vec![]), &[damaged]).unwrap_err().to_string();
        assert_eq!(error, "dump/7.dat is damaged: cut off");
    }

    #[test]
    fn files_and_table_of_contents_must_fit() {
        let with_table = toc(vec![entry("TABLE DATA", "cows", "", "7.dat")]);
        let missing = Fingerprint::assemble(&with_table, &[]).unwrap_err();
        assert!(missing.to_string().contains("7.dat of table public.cows is missing"));
        assert!(Fingerprint::assemble(&toc(vec![]), &[rows("dump/7.dat", 3)]).is_err());
    }

    #[test]
    fn the_schema_hash_depends_on_names_and_definitions_only() {
        let one = entry("TABLE", "cows", "CREATE TABLE public.cows (id integer)", "");
        let mut moved = one.clone();
        moved.dump_id = 99;
        let mut changed = one.clone();
        changed.definition.push_str(" STRICT");
        assert_eq!(schema_hash(&toc(vec![one.clone()])), schema_hash(&toc(vec![moved])));
        assert_ne!(schema_hash(&toc(vec![one])), schema_hash(&toc(vec![changed])));
    }

    #[test]
    fn rows_that_may_change_their_partition_count_for_the_root() {
        let mut leaves =
            [entry("TABLE DATA", "leaf_0", "", "7.dat"), entry("TABLE DATA", "leaf_1", "", "8.dat")];
        for leaf in &mut leaves {
            leaf.definition = "-- load via partition root public.\"a.\"\"b \"\n".into();
            leaf.copy_statement = "COPY public.\"a.\"\"b \" (mood) FROM stdin;\n".into();
        }
        let toc = toc(leaves.to_vec());
        let digest = |name: &str, rows, hash| FileDigest {
            name: format!("dump/{name}.dat.zst"),
            size: 1,
            sha256: String::new(),
            content: Content::Rows(RowSum { rows, hash }),
        };
        let sums = |rows: [u64; 2]| {
            Fingerprint::assemble(
                &toc,
                &[digest("7", rows[0], u128::from(rows[0])), digest("8", rows[1], u128::from(rows[1]))],
            )
        };
        let fingerprint = sums([2, 3]).unwrap();
        assert_eq!(fingerprint, sums([5, 0]).unwrap());
        assert_eq!((fingerprint.tables.len(), fingerprint.tables[0].rows), (1, 5));
        assert!(partition_roots(&toc).contains(&("public".into(), "a.\"b ".into())));
    }
}
