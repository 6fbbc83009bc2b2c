//! Pages of Query and Scan, on a table or an index (api.md section 3).

use std::ops::{Bound, ControlFlow};

use super::catalog::{IndexDef, IndexKind, TableDef};
use super::error::ApiError;
use super::keys::{self, HASH_LEN, INDEX_PREFIX_LEN, TABLE_PREFIX_LEN};
use super::mutation::ItemKey;
use super::read::damaged;
use super::record::Record;
use super::request::{Page, PageRequest};
use super::work;
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
    if let Some(index) = target.index
        && work::is_building(txn, def.uid, index.id)?
    {
        let kind = match index.kind {
            IndexKind::Global => "global",
            IndexKind::Local => "local",
        };
        return Err(ApiError::Validation(format!(
            "Cannot read from backfilling {kind} secondary index: {}",
            index.name
        )));
    }
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
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(key)) => {
                last = Some(key);
                ControlFlow::Break(())
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

    /// Counts and filters one row. The key of the last one of a full page: where the next would start.
    fn visit(
        &self,
        request: &PageRequest,
        stored: &[u8],
        page: &mut Page,
    ) -> Result<Option<Item>, StoreError> {
        let image = match self.index {
            Some(_) => stored,
            None => match Record::decode(stored)?.image {
                Some(image) => image,
                None => return Ok(None),
            },
        };
        let item = codec::decode(image).map_err(damaged)?;
        page.scanned += 1;
        page.scanned_bytes += size::item_size(&item);
        let ends = is_full(page, request) && !self.is_lone(request);
        let last = ends.then(|| self.start_key(&item));
        if request
            .filter
            .as_ref()
            .is_none_or(|filter| filter.matches(&item))
        {
            page.items.push(item);
        }
        Ok(last)
    }

    /// A partition without a sort key holds one item. DynamoDB refuses to start a Query after it, so no
    /// page of such a Query may end in a key to start after.
    fn is_lone(&self, request: &PageRequest) -> bool {
        request.condition.is_some() && self.index.is_none() && self.schema().sort.is_empty()
    }

    /// The attributes of an item that a page may start after: of the table's key and of the index's.
    fn start_key(&self, item: &Item) -> Item {
        let mut key = self.def.keys.key_of(item);
        if let Some(index) = self.index {
            key.extend(index.keys.key_of(item));
        }
        key
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
        let partition = schema
            .partition_of(&condition.partition)
            .ok_or_else(wrong_type)?;
        let prefix = self.partition_prefix(&partition);
        let (low, high) = sort_bounds(schema, &condition.sort)?;
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

fn wrong_type() -> ApiError {
    ApiError::validation(
        "One or more parameter values were invalid: Condition parameter type does not match schema type",
    )
}

/// The sort bytes that satisfy predicates on the leading sort attributes, of which all but the last are
/// equalities.
fn sort_bounds(schema: &KeySchema, predicates: &[KeyPredicate]) -> Result<SortBounds, ApiError> {
    match predicates.split_last() {
        None => Ok((Bound::Unbounded, Bound::Unbounded)),
        Some((predicate, _)) if schema.sort.len() == 1 => single_bounds(predicate),
        Some((predicate, leading)) => part_bounds(schema, leading, predicate),
    }
}

/// Where the sort key is one attribute, its bytes are the whole.
fn single_bounds(predicate: &KeyPredicate) -> Result<SortBounds, ApiError> {
    let bytes = |value: &Value| key::sort_bytes(value).ok_or_else(wrong_type);
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
            (Bound::Included(prefix.clone()), end_of(&prefix))
        }
    })
}

/// Where it is several, the bytes of the leading ones are a prefix of the whole, and a value's place is
/// the range of what begins with it.
fn part_bounds(
    schema: &KeySchema,
    leading: &[KeyPredicate],
    predicate: &KeyPredicate,
) -> Result<SortBounds, ApiError> {
    let equal = |p: &KeyPredicate| match p {
        KeyPredicate::Eq(value) => Ok(value.clone()),
        _ => Err(ApiError::validation("Query key condition not supported")),
    };
    let leading = leading.iter().map(equal).collect::<Result<Vec<_>, _>>()?;
    let prefix = |value: Option<&Value>, open: bool| {
        let mut values = leading.clone();
        values.extend(value.cloned());
        schema.sort_prefix(&values, open).ok_or_else(wrong_type)
    };
    let all = prefix(None, false)?;
    let within = |value: &Value| prefix(Some(value), false);
    let (start, end) = (Bound::Included(all.clone()), end_of(&all));
    Ok(match predicate {
        KeyPredicate::Eq(v) => (Bound::Included(within(v)?), end_of(&within(v)?)),
        KeyPredicate::Lt(v) => (start, Bound::Excluded(within(v)?)),
        KeyPredicate::Le(v) => (start, end_of(&within(v)?)),
        KeyPredicate::Gt(v) => match keys::after_prefix(&within(v)?) {
            Some(after) => (Bound::Included(after), end),
            None => (Bound::Excluded(within(v)?), Bound::Excluded(within(v)?)),
        },
        KeyPredicate::Ge(v) => (Bound::Included(within(v)?), end),
        KeyPredicate::Between(low, high) => (Bound::Included(within(low)?), end_of(&within(high)?)),
        KeyPredicate::BeginsWith(v) => {
            let open = prefix(Some(v), true)?;
            (Bound::Included(open.clone()), end_of(&open))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{KeyAttribute, KeyType, Number};
    use proptest::prelude::*;

    fn schema() -> KeySchema {
        let attribute = |name: &str, kind| KeyAttribute {
            name: name.to_owned(),
            kind,
        };
        KeySchema {
            partition: vec![attribute("pk", KeyType::S)],
            sort: vec![
                attribute("a", KeyType::S),
                attribute("b", KeyType::N),
                attribute("c", KeyType::B),
            ],
        }
    }

    fn values() -> impl Strategy<Value = [Value; 3]> {
        let text = proptest::string::string_regex("[a\u{0}\u{1}b]{1,3}").expect("a pattern");
        let bytes = prop::collection::vec(prop::sample::select(vec![0u8, 1, 0xfe, 0xff]), 1..4);
        (text, -2i64..3, bytes)
            .prop_map(|(a, b, c)| [Value::S(a), Value::N(Number::from(b)), Value::B(c)])
    }

    fn predicate(kind: usize, low: &Value, high: &Value) -> KeyPredicate {
        let v = low.clone();
        match kind {
            0 => KeyPredicate::Eq(v),
            1 => KeyPredicate::Lt(v),
            2 => KeyPredicate::Le(v),
            3 => KeyPredicate::Gt(v),
            4 => KeyPredicate::Ge(v),
            5 => KeyPredicate::Between(v, high.clone()),
            _ if matches!(v, Value::N(_)) => KeyPredicate::Ge(v),
            _ => KeyPredicate::BeginsWith(v),
        }
    }

    /// What the predicate means, on the attribute's own bytes.
    fn holds(predicate: &KeyPredicate, value: &Value) -> bool {
        let bytes = |v: &Value| key::sort_bytes(v).expect("a key value");
        let value = bytes(value);
        match predicate {
            KeyPredicate::Eq(v) => value == bytes(v),
            KeyPredicate::Lt(v) => value < bytes(v),
            KeyPredicate::Le(v) => value <= bytes(v),
            KeyPredicate::Gt(v) => value > bytes(v),
            KeyPredicate::Ge(v) => value >= bytes(v),
            KeyPredicate::Between(low, high) => bytes(low) <= value && value <= bytes(high),
            KeyPredicate::BeginsWith(v) => value.starts_with(&bytes(v)),
        }
    }

    proptest! {
        /// The bounds hold exactly the rows that satisfy every predicate, as rows of an index are stored.
        #[test]
        fn bounds_of_several_attributes_are_exact(
            row in values(),
            low in values(),
            high in values(),
            depth in 0usize..3,
            kind in 0usize..7,
        ) {
            let mut predicates: Vec<KeyPredicate> =
                low.iter().take(depth).cloned().map(KeyPredicate::Eq).collect();
            predicates.push(predicate(kind, &low[depth], &high[depth]));
            let names = ["a", "b", "c"].map(str::to_owned);
            let mut item: Item = names.into_iter().zip(row.clone()).collect();
            item.insert("pk".into(), Value::S("p".into()));
            let stored = |sort: &[u8]| {
                let mut row = Vec::new();
                keys::push_terminated(&mut row, sort);
                row
            };
            let sort = schema().bytes(&item).expect("a whole key").sort;
            let (low, high) = sort_bounds(&schema(), &predicates).expect("typed as the schema");
            let range = (low.as_ref().map(|b| stored(b)), high.as_ref().map(|b| stored(b)));
            let inside = std::ops::RangeBounds::contains(&range, &stored(&sort));
            let wanted = predicates.iter().zip(&row).all(|(p, v)| holds(p, v));
            prop_assert_eq!(inside, wanted);
        }
    }
}
