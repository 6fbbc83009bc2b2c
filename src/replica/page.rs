//! Pages of Query and Scan, on a table or an index (api.md section 3).

use std::ops::{Bound, ControlFlow};

use super::catalog::{IndexDef, TableDef};
use super::error::ApiError;
use super::keys::{self, HASH_LEN, INDEX_PREFIX_LEN, TABLE_PREFIX_LEN};
use super::mutation::ItemKey;
use super::read::damaged;
use super::record::Record;
use super::request::{Page, PageRequest};
use crate::expression::{KeyCondition, KeyPredicate};
use crate::item::{Item, KeySchema, Value, codec, key, size};
use crate::store::{Db, Range, ReadTxn, StoreError};

/// A page ends when this many bytes were evaluated.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Longer than what follows the sort key in an index row, and greater than any of it.
const PAST_DIGEST: [u8; HASH_LEN + 1] = [0xff; HASH_LEN + 1];

/// What is walked: a table's items or an index's entries.
struct Target<'a> {
    def: &'a TableDef,
    index: Option<&'a IndexDef>,
}

/// Byte bounds of a walk, ends included or not.
struct Bounds {
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
}

/// Checks that a start key lies in the range the request names, without reading anything.
pub fn admit_start(def: &TableDef, request: &PageRequest) -> Result<(), ApiError> {
    prepare(def, request).map(drop)
}

/// What is walked, and from where to where.
fn prepare<'a>(def: &'a TableDef, request: &PageRequest) -> Result<(Target<'a>, Bounds), ApiError> {
    let index = match &request.index {
        None => None,
        Some(name) => Some(def.index(name).ok_or_else(|| {
            ApiError::Validation(format!(
                "The table does not have the specified index: {name}"
            ))
        })?),
    };
    let target = Target { def, index };
    let mut bounds = target.bounds(request)?;
    if let Some(start) = &request.start {
        target.resume(&mut bounds, start, request)?;
    }
    Ok((target, bounds))
}

/// One page: walks the range the request names, filters, and stops at its limit or 1 MB.
pub fn page(txn: &dyn ReadTxn, def: &TableDef, request: &PageRequest) -> Result<Page, ApiError> {
    let (target, bounds) = prepare(def, request)?;
    let mut page = Page::default();
    let mut last = None;
    let mut failure = None;
    let range = Range {
        from: bounds.from.as_ref().map(Vec::as_slice),
        to: bounds.to.as_ref().map(Vec::as_slice),
        reverse: !request.forward,
    };
    txn.scan(
        target.db(),
        range,
        &mut |_, stored| match target.visit(request, stored, &mut page) {
            Ok(Visited::Skipped) => ControlFlow::Continue(()),
            Ok(Visited::Evaluated(key)) => {
                if is_full(&page, request) {
                    last = Some(key);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    if let Some(error) = failure {
        return Err(error.into());
    }
    page.last_key = last;
    Ok(page)
}

fn is_full(page: &Page, request: &PageRequest) -> bool {
    request.limit.is_some_and(|limit| page.scanned >= limit) || page.scanned_bytes >= PAGE_BYTES_MAX
}

enum Visited {
    /// A tombstone, or outside the key condition.
    Skipped,
    /// Counted; its key is where a next page would start.
    Evaluated(Item),
}

impl Target<'_> {
    fn db(&self) -> Db {
        if self.index.is_some() {
            Db::Index
        } else {
            Db::Items
        }
    }

    fn schema(&self) -> &KeySchema {
        self.index.map_or(&self.def.keys, |i| &i.keys)
    }

    fn prefix(&self) -> Vec<u8> {
        match self.index {
            None => keys::table_prefix(self.def.uid),
            Some(index) => keys::index_prefix(self.def.uid, index.id),
        }
    }

    fn partition_prefix(&self, partition: &[u8]) -> Vec<u8> {
        match self.index {
            None => keys::partition_prefix(self.def.uid, partition),
            Some(index) => keys::index_partition_prefix(self.def.uid, index.id, partition),
        }
    }

    fn visit(
        &self,
        request: &PageRequest,
        stored: &[u8],
        page: &mut Page,
    ) -> Result<Visited, StoreError> {
        let image = match self.index {
            Some(_) => stored,
            None => match Record::decode(stored)?.image {
                Some(image) => image,
                None => return Ok(Visited::Skipped),
            },
        };
        let item = codec::decode(image).map_err(damaged)?;
        if self.schema().sort.len() > 1
            && let Some(condition) = &request.condition
            && !matches_sort(self.schema(), condition, &item)
        {
            return Ok(Visited::Skipped);
        }
        page.scanned += 1;
        page.scanned_bytes += size::item_size(&item);
        let mut key = self.def.keys.key_of(&item);
        if let Some(index) = self.index {
            key.extend(index.keys.key_of(&item));
        }
        if request
            .filter
            .as_ref()
            .is_none_or(|filter| filter.matches(&item))
        {
            page.items.push(item);
        }
        Ok(Visited::Evaluated(key))
    }

    fn bounds(&self, request: &PageRequest) -> Result<Bounds, ApiError> {
        if let Some(condition) = &request.condition {
            return self.query_bounds(condition);
        }
        let prefix = self.prefix();
        let Some((segment, total)) = request.segment else {
            return Ok(Bounds {
                to: end_of(&prefix),
                from: Bound::Included(prefix),
            });
        };
        let from = segment_start(&prefix, segment, total);
        let to = if segment + 1 >= total {
            end_of(&prefix)
        } else {
            Bound::Excluded(segment_start(&prefix, segment + 1, total))
        };
        Ok(Bounds {
            from: Bound::Included(from),
            to,
        })
    }

    fn query_bounds(&self, condition: &KeyCondition) -> Result<Bounds, ApiError> {
        let schema = self.schema();
        let key: Item = schema
            .partition
            .iter()
            .zip(&condition.partition)
            .map(|(a, v)| (a.name.clone(), v.clone()))
            .collect();
        let partition_only = KeySchema {
            partition: schema.partition.clone(),
            sort: Vec::new(),
        };
        let partition = partition_only
            .bytes(&key)
            .map_err(|e| ApiError::validation(e.to_string()))?
            .partition;
        let prefix = self.partition_prefix(&partition);
        let predicate = condition.sort.first().filter(|_| schema.sort.len() == 1);
        let Some(predicate) = predicate else {
            return Ok(Bounds {
                to: end_of(&prefix),
                from: Bound::Included(prefix),
            });
        };
        let (low, high) = sort_bounds(predicate)?;
        let from = match low {
            Bound::Unbounded => Bound::Included(prefix.clone()),
            Bound::Included(sort) => Bound::Included(self.sort_row(&prefix, &sort, false)),
            Bound::Excluded(sort) => Bound::Excluded(self.sort_row(&prefix, &sort, true)),
        };
        let to = match high {
            Bound::Unbounded => end_of(&prefix),
            Bound::Included(sort) => Bound::Included(self.sort_row(&prefix, &sort, true)),
            Bound::Excluded(sort) => Bound::Excluded(self.sort_row(&prefix, &sort, false)),
        };
        Ok(Bounds { from, to })
    }

    /// The row at which a sort key begins, or after which it ends.
    fn sort_row(&self, prefix: &[u8], sort: &[u8], past: bool) -> Vec<u8> {
        let mut row = prefix.to_vec();
        if self.index.is_none() {
            row.extend_from_slice(sort);
            return row;
        }
        keys::push_terminated(&mut row, sort);
        if past {
            row.extend_from_slice(&PAST_DIGEST);
        }
        row
    }

    /// Moves the bound to just after `start`, the key of the last item of the page before.
    fn resume(
        &self,
        bounds: &mut Bounds,
        start: &Item,
        request: &PageRequest,
    ) -> Result<(), ApiError> {
        let row = self
            .row_of(start)
            .ok_or_else(|| ApiError::validation("The provided starting key is invalid"))?;
        let above = match &bounds.from {
            Bound::Included(from) | Bound::Excluded(from) => row >= *from,
            Bound::Unbounded => true,
        };
        let below = match &bounds.to {
            Bound::Included(to) | Bound::Excluded(to) => row <= *to,
            Bound::Unbounded => true,
        };
        if !above || !below {
            return Err(ApiError::Validation(outside_message(request)));
        }
        if request.forward {
            bounds.from = Bound::Excluded(row);
        } else {
            bounds.to = Bound::Excluded(row);
        }
        Ok(())
    }

    fn row_of(&self, start: &Item) -> Option<Vec<u8>> {
        let base: ItemKey = self.def.keys.bytes(start).ok()?.into();
        match self.index {
            None => Some(keys::item_row(self.def.uid, &base)),
            Some(index) => {
                let bytes = index.keys.bytes(start).ok()?;
                Some(keys::index_row(self.def.uid, index.id, &bytes, &base))
            }
        }
    }
}

fn outside_message(request: &PageRequest) -> String {
    match request.segment {
        Some((segment, total)) => format!(
            "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey \
             with correct Segment. TotalSegments: {total} Segment: {segment}"
        ),
        None => {
            "The provided starting key is outside query boundaries based on provided conditions"
                .into()
        }
    }
}

fn end_of(prefix: &[u8]) -> Bound<Vec<u8>> {
    keys::after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded)
}

/// Where a segment's share of the hash space begins.
fn segment_start(prefix: &[u8], segment: u32, total: u32) -> Vec<u8> {
    debug_assert!(prefix.len() == TABLE_PREFIX_LEN || prefix.len() == INDEX_PREFIX_LEN);
    let start = (u128::from(segment) << 64) / u128::from(total.max(1));
    let mut row = prefix.to_vec();
    row.extend_from_slice(&u64::try_from(start).unwrap_or(u64::MAX).to_be_bytes());
    row
}

type SortBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn sort_bounds(predicate: &KeyPredicate) -> Result<SortBounds, ApiError> {
    let bytes = |value: &Value| {
        key::sort_bytes(value).ok_or_else(|| {
            ApiError::validation(
                "One or more parameter values were invalid: Condition parameter type does not match schema type",
            )
        })
    };
    Ok(match predicate {
        KeyPredicate::Eq(v) => (Bound::Included(bytes(v)?), Bound::Included(bytes(v)?)),
        KeyPredicate::Lt(v) => (Bound::Unbounded, Bound::Excluded(bytes(v)?)),
        KeyPredicate::Le(v) => (Bound::Unbounded, Bound::Included(bytes(v)?)),
        KeyPredicate::Gt(v) => (Bound::Excluded(bytes(v)?), Bound::Unbounded),
        KeyPredicate::Ge(v) => (Bound::Included(bytes(v)?), Bound::Unbounded),
        KeyPredicate::Between(low, high) => {
            (Bound::Included(bytes(low)?), Bound::Included(bytes(high)?))
        }
        KeyPredicate::BeginsWith(v) => {
            let prefix = bytes(v)?;
            let end = keys::after_prefix(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
            (Bound::Included(prefix), end)
        }
    })
}

/// Multi-attribute sort keys are judged attribute by attribute.
fn matches_sort(schema: &KeySchema, condition: &KeyCondition, item: &Item) -> bool {
    schema
        .sort
        .iter()
        .zip(&condition.sort)
        .all(|(attribute, predicate)| {
            let Some(bytes) = item.get(&attribute.name).and_then(key::sort_bytes) else {
                return false;
            };
            let Ok((low, high)) = sort_bounds(predicate) else {
                return false;
            };
            let above = match &low {
                Bound::Unbounded => true,
                Bound::Included(low) => bytes >= *low,
                Bound::Excluded(low) => bytes > *low,
            };
            let below = match &high {
                Bound::Unbounded => true,
                Bound::Included(high) => bytes <= *high,
                Bound::Excluded(high) => bytes < *high,
            };
            above && below
        })
}
