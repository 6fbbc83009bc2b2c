//! Verifies a store: what is derived equals what a rebuild gives, and what is sealed opens (I4, I7).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use super::catalog::TableDef;
use super::{conflict, index, keys, log, read, stable, stream, ttl};
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
    let (changes, problems) = stream::check(txn)?;
    findings.changes = changes;
    findings.problems.extend(problems);
    findings.conflicts = conflict::list(txn, None, usize::MAX)?.len();
    Ok(findings)
}

fn check_table(
    txn: &dyn ReadTxn,
    def: &TableDef,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let mut expected = BTreeMap::new();
    let mut counts = read::TableCounts::default();
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
        counts.items += 1;
        counts.bytes += crate::item::size::item_size(&item) as u64;
        for index in &def.indexes {
            if let Some((row, entry)) = index::expected_row(def, index, &key, &item) {
                expected.insert(row, entry);
            }
        }
    }
    let stored: BTreeMap<_, _> = read::index_rows(txn, def)?.into_iter().collect();
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
    let kept = read::counts(txn, def)?;
    if kept != counts {
        findings.problems.push(format!(
            "table {}: counts say {kept:?}, the items are {counts:?}",
            def.name
        ));
    }
    Ok(())
}

fn check_log(txn: &dyn ReadTxn, findings: &mut Findings) -> Result<(), StoreError> {
    let mut ends = BTreeMap::new();
    let mut problems = Vec::new();
    let mut commits = 0;
    let all = Range {
        from: Bound::Unbounded,
        to: Bound::Unbounded,
        reverse: false,
    };
    txn.scan(Db::Log, all, &mut |row, sealed| {
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
