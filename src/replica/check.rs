//! Verifies a store: what is derived equals what a rebuild gives, and what is sealed opens (I4, I7).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::catalog::TableDef;
use super::read::TableCounts;
use super::{
    buckets, collection, conflict, index, keys, log, merge, read, stable, stream, ttl, work,
};
use crate::clock::RegionId;
use crate::item::codec;
use crate::store::{Db, Range, ReadTxn, StoreError};

/// What a check looked at, and every finding, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub tables: usize,
    pub items: usize,
    pub commits: usize,
    pub conflicts: usize,
    /// Records of streams.
    pub changes: usize,
    pub problems: Vec<String>,
}

/// Checks everything a region's store holds.
pub fn check(txn: &dyn ReadTxn, region: RegionId) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    for def in read::tables(txn, region)? {
        findings.tables += 1;
        check_table(txn, &def, &mut findings)?;
    }
    check_log(txn, &mut findings)?;
    let (conflicts, problems) = conflict::audit(txn)?;
    findings.conflicts = conflicts;
    findings.problems.extend(problems);
    let (changes, problems) = stream::check(txn)?;
    findings.changes = changes;
    findings.problems.extend(problems);
    Ok(findings)
}

fn check_table(
    txn: &dyn ReadTxn,
    def: &TableDef,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let mut expected = BTreeMap::new();
    let mut counts = BTreeMap::from([(0, TableCounts::default())]);
    counts.extend(def.indexes.iter().map(|i| (i.id, TableCounts::default())));
    let mut collections = BTreeMap::new();
    let builds = work::builds_of(txn, def.uid)?;
    let covers = |index: u32, row: &[u8]| builds.get(&index).is_none_or(|c| row <= c.as_slice());
    let gone = work::deleting_ids(txn, def.uid)?;
    let mut tombstones = BTreeSet::new();
    for (key, version, image) in read::versions(txn, def)? {
        let Some(image) = image else {
            let row = keys::item_row(def.uid, &key);
            tombstones.insert(stable::queue_row(&row, version));
            continue;
        };
        let item = match codec::decode(&image) {
            Ok(item) => item,
            Err(error) => {
                findings.problems.push(format!(
                    "table {}: an item of {:?} is unreadable: {error}",
                    def.name, version.dot
                ));
                continue;
            }
        };
        findings.items += 1;
        counts.entry(0).or_default().add(TableCounts::of(&item));
        let row = keys::item_row(def.uid, &key);
        for index in def.indexes.iter().filter(|i| covers(i.id, &row)) {
            if let Some((row, entry)) = index::expected_row(def, index, &key, &item) {
                let size = index::projected(def, index, &item).map(|e| TableCounts::of(&e));
                counts
                    .entry(index.id)
                    .or_default()
                    .add(size.unwrap_or_default());
                expected.insert(row, entry);
            }
        }
        if collection::has_collections(def) && covers(work::COLLECTIONS, &row) {
            let size: &mut u64 = collections.entry(key.partition).or_default();
            *size += collection::share(def, Some(&item));
        }
    }
    let mut stored: BTreeMap<_, _> = read::index_rows(txn, def)?.into_iter().collect();
    // Rows of deleted indexes are on their way out, and nobody reads them.
    for id in gone {
        let prefix = keys::index_prefix(def.uid, id);
        stored.retain(|row, _| !row.starts_with(&prefix));
    }
    let missing = expected
        .iter()
        .filter(|(row, entry)| stored.get(*row) != Some(entry))
        .count();
    let stale = stored
        .keys()
        .filter(|row| !expected.contains_key(*row))
        .count();
    if missing + stale > 0 {
        findings.problems.push(format!(
            "table {}: {missing} index entries missing or wrong, {stale} stale",
            def.name
        ));
    }
    let wrong = buckets::wrong(txn, def.uid)?;
    if wrong > 0 {
        findings.problems.push(format!(
            "table {}: the fingerprints of {wrong} ranges are not those of their items: items were changed or \
             lost on disk",
            def.name
        ));
    }
    let wrong = merge::audit::wrong(txn, def)?;
    if wrong > 0 {
        findings.problems.push(format!(
            "table {}: the marks of {wrong} items cannot be read, or do not make the items",
            def.name
        ));
    }
    let queued: BTreeSet<Vec<u8>> = stable::queued(txn, def.uid)?.into_iter().collect();
    if queued != tombstones {
        findings.problems.push(format!(
            "table {}: {} tombstones, and {} rows in their queue",
            def.name,
            tombstones.len(),
            queued.len()
        ));
    }
    if !ttl::is_rebuilding(txn, def.uid)? {
        let (held, rebuilt) = ttl::rows_and_rebuilt(txn, def)?;
        if held != rebuilt {
            findings.problems.push(format!(
                "table {}: {} rows say when items expire, where a rebuild has {}, or other ones",
                def.name,
                held.len(),
                rebuilt.len()
            ));
        }
    }
    for (index, counts) in counts {
        let kept = read::counts_of(txn, def.uid, index)?;
        if kept != counts {
            findings.problems.push(format!(
                "table {}: counts of index {index} (0 = the table) say {kept:?}, a recount {counts:?}",
                def.name
            ));
        }
    }
    check_collections(txn, def, &collections, findings)
}

fn check_collections(
    txn: &dyn ReadTxn,
    def: &TableDef,
    expected: &BTreeMap<Vec<u8>, u64>,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let prefix = keys::meta::collections_of(def.uid);
    let mut wrong = read::rows(txn, Db::Meta, &prefix, usize::MAX)?.len() != expected.len();
    for (partition, size) in expected {
        wrong |= collection::size_of(txn, def.uid, partition)? != *size;
    }
    if wrong {
        findings.problems.push(format!(
            "table {}: the sizes of its item collections are not those of a recount",
            def.name
        ));
    }
    Ok(())
}

fn check_log(txn: &dyn ReadTxn, findings: &mut Findings) -> Result<(), StoreError> {
    let mut ends = BTreeMap::new();
    let mut problems = Vec::new();
    let mut commits = 0;
    txn.scan(Db::Log, Range::ALL, &mut |row, sealed| {
        commits += 1;
        match (keys::parse_dot(row), log::open(sealed)) {
            (Some(dot), Ok(commit)) if commit.dot == dot => {
                let start = || stable::log_start(txn, dot.log).map(|start| start.saturating_sub(1));
                let end: u64 = match ends.insert(dot.log, dot.seq) {
                    Some(end) => end,
                    None => start().unwrap_or(0),
                };
                if dot.seq != end + 1 {
                    problems.push(format!("log {:?}: {} follows {end}", dot.log, dot.seq));
                }
            }
            (dot, Ok(commit)) => {
                problems.push(format!("log: {:?} is stored as {dot:?}", commit.dot))
            }
            (dot, Err(error)) => problems.push(format!("log: {dot:?}: {error}")),
        }
        ControlFlow::Continue(())
    })?;
    let frontier = log::frontier(txn)?;
    for (log, end) in ends {
        let seen = frontier.get(&log).copied().unwrap_or(0);
        if seen != end {
            problems.push(format!(
                "log {log:?} ends at {end}, the frontier says {seen}"
            ));
        }
    }
    findings.commits += commits;
    findings.problems.extend(problems);
    Ok(())
}
