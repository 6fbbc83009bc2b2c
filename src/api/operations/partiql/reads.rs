//! SELECT: pages of Query or Scan, or one item.

use crate::api::Backend;
use crate::api::capacity::{Consumed, Report};
use crate::api::operations::items::pages::PageRead;
use crate::api::params;
use crate::api::projection::{Projection, refuse_paths_into_keys};
use crate::expression::{Condition, KeyCondition, Path};
use crate::item::Item;
use crate::partiql::{self, Access, Column, Select};
use crate::replica::ApiError;
use crate::replica::catalog::{IndexDef, TableDef};
use crate::replica::request::PageRequest;
use crate::store::ReadTxn;

use super::statement;

/// A page over several partitions has at most this many items.
const SEVERAL_MAX: usize = 10;
/// A page over several partitions ends when this many bytes were read.
const BYTES_MAX: usize = 1024 * 1024;

/// Where a page of a SELECT starts: in which of the partitions it names, and after which key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Resume {
    pub(super) partition: u16,
    pub(super) key: Option<Item>,
}

/// One page of a SELECT, its items as the select clause asks.
pub(super) struct Selected {
    pub(super) items: Vec<Item>,
    pub(super) consumed: Consumed,
    pub(super) next: Option<Resume>,
}

/// The partitions to read, `None` standing for all there is, and how.
struct Walk {
    conditions: Vec<Option<KeyCondition>>,
    filter: Option<Condition>,
    forward: bool,
    /// Each condition names at most one item.
    single: bool,
    limit: Option<usize>,
}

/// Reads one page, from `resume` on.
pub(super) fn select(
    backend: &dyn Backend,
    txn: &dyn ReadTxn,
    table: &TableDef,
    select: &Select,
    consistent: bool,
    limit: Option<usize>,
    resume: Resume,
) -> Result<Selected, ApiError> {
    let mut read = page_read(table, select, consistent);
    let index = read.index(table)?;
    let walk = walk(table, index, select, limit)?;
    refuse_paths_into_keys(read.projection.paths(), table)?;
    refuse_paths_into_keys(walk.filter.iter().flat_map(Condition::paths), table)?;
    read.request.filter = walk.filter;
    read.request.forward = walk.forward;

    let mut selected = Selected {
        items: Vec::new(),
        consumed: Consumed::new(&table.name),
        next: None,
    };
    let (mut scanned, mut bytes) = (0, 0);
    let mut start = resume.key;
    let partitions = (0u16..).zip(walk.conditions);
    for (partition, condition) in partitions.skip(usize::from(resume.partition)) {
        let left = walk.limit.map(|limit| limit.saturating_sub(scanned));
        if left == Some(0) || bytes >= BYTES_MAX {
            selected.next = Some(Resume {
                partition,
                key: None,
            });
            break;
        }
        read.request.condition = condition;
        read.request.limit = left;
        read.request.start = start.take();
        let page = read.collect(backend, txn, table, index, &mut selected.consumed)?;
        scanned += page.scanned;
        bytes += page.scanned_bytes;
        let items = page.items.iter();
        selected
            .items
            .extend(items.map(|item| project(select.columns.as_deref(), item)));
        if let Some(key) = page.last_key.filter(|_| !walk.single) {
            selected.next = Some(Resume {
                partition,
                key: Some(key),
            });
            break;
        }
    }
    Ok(selected)
}

fn page_read(table: &TableDef, select: &Select, consistent: bool) -> PageRead {
    let paths = |columns: &Vec<Column>| columns.iter().map(|c| c.path.clone()).collect();
    let projection = match &select.columns {
        None => Projection::All,
        Some(columns) => Projection::Paths(paths(columns)),
    };
    PageRead {
        request: PageRequest {
            table: table.name.clone(),
            index: select.index.clone(),
            condition: None,
            filter: None,
            forward: true,
            limit: None,
            start: None,
            segment: None,
        },
        select: None,
        projection,
        consistent,
        report: Report::None,
    }
}

fn walk(
    table: &TableDef,
    index: Option<&IndexDef>,
    select: &Select,
    limit: Option<usize>,
) -> Result<Walk, ApiError> {
    let keys = index.map_or(&table.keys, |index| &index.keys);
    let access = partiql::plan(select.filter.clone(), &select.order, keys);
    match access.map_err(statement::error)? {
        Access::Scan { filter } => Ok(Walk {
            conditions: vec![None],
            filter,
            forward: true,
            single: false,
            limit,
        }),
        Access::Query {
            partitions,
            whole_keys,
            several,
            filter,
            forward,
        } => {
            refuse_unprojected(table, index, filter.as_ref())?;
            let short = limit.map_or(SEVERAL_MAX, |limit| limit.min(SEVERAL_MAX));
            Ok(Walk {
                conditions: partitions.into_iter().map(Some).collect(),
                filter,
                forward,
                single: whole_keys && index.is_none(),
                limit: if several { Some(short) } else { limit },
            })
        }
    }
}

/// A filter beside a key condition asks only for what the index holds.
fn refuse_unprojected(
    table: &TableDef,
    index: Option<&IndexDef>,
    filter: Option<&Condition>,
) -> Result<(), ApiError> {
    let (Some(index), Some(filter)) = (index, filter) else {
        return Ok(());
    };
    let paths: Vec<Path> = filter.paths().into_iter().cloned().collect();
    let missing = Projection::Paths(paths).missing_from(table, index);
    if missing.is_empty() {
        return Ok(());
    }
    Err(params::invalid_parameter(format!(
        "Secondary index {} does not project one or more filter attributes: [{}]",
        index.name,
        missing.join(", ")
    )))
}

/// What the select clause asks of an item. A nested path comes back under its last part.
pub(super) fn project(columns: Option<&[Column]>, item: &Item) -> Item {
    let Some(columns) = columns else {
        return item.clone();
    };
    columns
        .iter()
        .filter_map(|column| Some((column.name.clone(), column.path.get(item)?.clone())))
        .collect()
}

/// The key of the one item that a SELECT of a batch or transaction names. None when it names no single
/// item, or asks for more than its key.
pub(super) fn only_key(table: &TableDef, select: &Select) -> Option<Item> {
    let (key, rest) = partiql::split_key(select.filter.clone(), &table.keys).ok()?;
    let plain = rest.is_none() && select.index.is_none() && select.order.is_empty();
    plain.then_some(key)
}
