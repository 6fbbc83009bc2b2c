//! `ItemCollectionMetrics`: sizes of item collections, on tables with a local index (api.md section 2).

use std::collections::BTreeMap;

use super::body::write_list;
use crate::api::capacity::write_string;
use crate::item::{Item, json};
use crate::replica::catalog::TableDef;
pub(crate) use crate::replica::collection::has_collections;

/// Bytes of a GB, as DynamoDB means it.
const GB: u64 = 1024 * 1024 * 1024;

/// The collections that the writes of one request touched, by table.
#[derive(Default)]
pub(crate) struct Collections {
    tables: BTreeMap<String, Vec<(Item, u64)>>,
}

/// The partition key of an item, as an item.
fn collection_key(table: &TableDef, item: &Item) -> Item {
    let names = table.keys.partition.iter().map(|key| &key.name);
    names
        .filter_map(|name| item.get_key_value(name))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

/// Writes the metrics of the collection, `bytes` large, that `item` (or key) is in.
pub(crate) fn write_collection(table: &TableDef, item: &Item, bytes: u64, out: &mut Vec<u8>) {
    write_metrics(&collection_key(table, item), bytes, out);
}

/// The estimate is the whole GB below and above.
fn write_metrics(key: &Item, bytes: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"ItemCollectionKey\":");
    json::write_item(key, out);
    let below = bytes / GB;
    let range = format!(",\"SizeEstimateRangeGB\":[{below}.0,{}.0]}}", below + 1);
    out.extend_from_slice(range.as_bytes());
}

impl Collections {
    /// Notes that `item` (or key) of `table` was written, whose collection is `bytes` large now.
    pub(crate) fn add(&mut self, table: &TableDef, item: &Item, bytes: u64) {
        if has_collections(table) {
            let key = collection_key(table, item);
            let keys = self.tables.entry(table.name.clone()).or_default();
            if keys.iter().all(|(known, _)| *known != key) {
                keys.push((key, bytes));
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Writes the map from table to list.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (position, (name, keys)) in self.tables.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            write_string(name, out);
            out.push(b':');
            write_list(out, keys, |out, (key, bytes)| {
                write_metrics(key, *bytes, out);
            });
        }
        out.push(b'}');
    }
}
