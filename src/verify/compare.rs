//! What should be there against what is: tables, sequences, large objects.

use std::collections::{BTreeMap, BTreeSet};

use super::{Problem, TableResult, VerifyReport};
use crate::fingerprint::{Fingerprint, SequenceValue, TableSum, described_value};
use crate::units::plural;

/// Compares two fingerprints but for the schema. The tables of the last comparison are the ones that the report shows.
pub(super) fn compare(
    expected: &Fingerprint,
    found: &Fingerprint,
    place: &'static str,
    report: &mut VerifyReport,
) {
    let mut problems = Vec::new();
    report.tables = compare_tables(&expected.tables, &found.tables, &mut problems);
    problems.extend(compare_sequences(&expected.sequences, &found.sequences));
    let (wanted, got) = (&expected.large_objects, &found.large_objects);
    if wanted.count != got.count {
        problems
            .push(Problem::new("large objects", format!("{} expected, {} found", wanted.count, got.count)));
    } else if wanted != got {
        problems.push(Problem::new("large objects", "content differs"));
    }
    let mut compared = vec![
        plural(expected.tables.len() as u64, "table"),
        plural(expected.rows(), "row"),
        plural(expected.sequences.len() as u64, "sequence"),
    ];
    if wanted.count > 0 {
        compared.push(plural(wanted.count, "large object"));
    }
    report.check(place, compared.join(", "), problems);
}

fn compare_tables(
    expected: &[TableSum],
    found: &[TableSum],
    problems: &mut Vec<Problem>,
) -> Vec<TableResult> {
    let key = |table: &TableSum| (table.schema.clone(), table.name.clone());
    let by_name: BTreeMap<_, &TableSum> = found.iter().map(|table| (key(table), table)).collect();
    let wanted: BTreeSet<_> = expected.iter().map(key).collect();
    for table in found.iter().filter(|table| !wanted.contains(&key(table))) {
        problems.push(Problem::new(
            format!("table {}.{}", table.schema, table.name),
            "is there and should not be",
        ));
    }
    let result = |table: &TableSum| {
        let other = by_name.get(&key(table));
        let what = match other {
            None => Some("is missing".to_owned()),
            Some(other) if other.rows != table.rows => {
                Some(format!("{} rows expected, {} found", table.rows, other.rows))
            }
            Some(other) if other.hash != table.hash => Some(format!("content differs ({} rows)", table.rows)),
            Some(_) => None,
        };
        let name = format!("{}.{}", table.schema, table.name);
        let same = what.is_none();
        problems.extend(what.map(|what| Problem::new(format!("table {name}"), what)));
        TableResult { name, expected_rows: table.rows, found_rows: other.map(|other| other.rows), same }
    };
    expected.iter().map(result).collect()
}

fn compare_sequences(expected: &[SequenceValue], found: &[SequenceValue]) -> Vec<Problem> {
    let key = |value: &SequenceValue| (value.schema.clone(), value.name.clone());
    let by_name: BTreeMap<_, &SequenceValue> = found.iter().map(|value| (key(value), value)).collect();
    let wanted: BTreeSet<_> = expected.iter().map(key).collect();
    let mut problems = Vec::new();
    for value in expected {
        let subject = format!("sequence {}.{}", value.schema, value.name);
        match by_name.get(&key(value)) {
            None => problems.push(Problem::new(subject, "is missing")),
            Some(other) if (other.value, other.called) != (value.value, value.called) => {
                let [wanted, found] = [value, other].map(|value| described_value(value.value, value.called));
                problems.push(Problem::new(subject, format!("{wanted} expected, {found} found")));
            }
            Some(_) => {}
        }
    }
    let added = found.iter().filter(|value| !wanted.contains(&key(value)));
    let problem = |value: &SequenceValue| {
        Problem::new(format!("sequence {}.{}", value.schema, value.name), "is there and should not be")
    };
    problems.extend(added.map(problem));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, rows: u64, hash: &str) -> TableSum {
        TableSum { schema: "public".into(), name: name.into(), rows, hash: hash.into() }
    }

    #[test]
    fn every_difference_is_named() {
        let expected = [table("a", 1, "x"), table("b", 2, "x"), table("c", 3, "x"), table("d", 4, "x")];
        let found = [table("a", 1, "x"), table("b", 1, "x"), table("c", 3, "y"), table("e", 0, "x")];
        let mut problems = Vec::new();
        let results = compare_tables(&expected, &found, &mut problems);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "table public.e: is there and should not be",
                "table public.b: 2 rows expected, 1 found",
                "table public.c: content differs (3 rows)",
                "table public.d: is missing"
            ]
        );
        assert_eq!(results.iter().map(|result| result.same).collect::<Vec<_>>(), [true, false, false, false]);
    }

    #[test]
    fn sequences_differ_by_value_and_by_having_been_called() {
        let value = |value, called| SequenceValue { schema: "s".into(), name: "n".into(), value, called };
        assert!(compare_sequences(&[value(1, true)], &[value(1, true)]).is_empty());
        assert_eq!(compare_sequences(&[value(1, true)], &[value(1, false)]).len(), 1);
        assert_eq!(compare_sequences(&[value(1, true)], &[]).len(), 1);
        assert_eq!(compare_sequences(&[], &[value(1, true)]).len(), 1);
    }
}
