//! `ItemCollectionMetrics`: sizes of item collections, on tables with a local index (api.md section 2).

use std::collections::BTreeMap;

use super::body::write_list;
use crate::api::capacity::write_string;
use crate::item::{Item, json};
use crate::replica::catalog::{IndexKind, TableDef};

/// Only tables with a local index have item collections.
pub(crate) fn has_collections(table: &TableDef) -> bool {
    table
        .indexes
        .iter()
        .any(|index| index.kind == IndexKind::Local)
}

/// The collections that the writes of one request touched, by table.
#[derive(Default)]
pub(crate) struct Collections {
    tables: BTreeMap<String, Vec<Item>>,
}

/// The partition key of an item, as an item.
fn collection_key(table: &TableDef, item: &Item) -> Item {
    let names = table.keys.partition.iter().map(|key| &key.name);
    names
        .filter_map(|name| item.get_key_value(name))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

/// Writes the metrics of the collection that `item` (or key) is in. Ours never report more than the
/// smallest estimate: collections have no limit here.
pub(crate) fn write_collection(table: &TableDef, item: &Item, out: &mut Vec<u8>) {
    write_metrics(&collection_key(table, item), out);
}

fn write_metrics(key: &Item, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"ItemCollectionKey\":");
    json::write_item(key, out);
    out.extend_from_slice(b",\"SizeEstimateRangeGB\":[0.0,1.0]}");
}

impl Collections {
    /// Notes that `item` (or key) of `table` was written.
    pub(crate) fn add(&mut self, table: &TableDef, item: &Item) {
        if has_collections(table) {
            let key = collection_key(table, item);
            let keys = self.tables.entry(table.name.clone()).or_default();
            if !keys.contains(&key) {
                keys.push(key);
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
            write_list(out, keys, |out, key| write_metrics(key, out));
        }
        out.push(b'}');
    }
}
