//! The model's table: a list of items, and what indexes, pages and capacity units of it are
//! (values-and-keys.md sections 3, 5 and 6; api.md section 3).

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::value::{Item, V, item_size};

pub(super) const TABLE: &str = "table";

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) tag: &'static str,
}

#[derive(Clone, Debug)]
pub(super) enum Projection {
    All,
    KeysOnly,
    Include,
}

/// What `Projection::Include` names.
pub(super) const INCLUDED: &str = "a";

#[derive(Clone, Debug)]
pub(super) struct Index {
    pub(super) name: &'static str,
    pub(super) global: bool,
    pub(super) keys: Vec<Key>,
    pub(super) projection: Projection,
}

#[derive(Clone, Debug)]
pub(super) struct Schema {
    pub(super) keys: Vec<Key>,
    pub(super) indexes: Vec<Index>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) schema: Schema,
    pub(super) items: Vec<Item>,
}

/// Values that keys of a type have, in order.
pub(super) fn key_value(tag: &str, at: usize) -> V {
    match tag {
        "S" => V::S(["a", "ab", "b", "é"][at % 4].to_owned()),
        "N" => V::N([-2, 0, 3, 10][at % 4]),
        _ => V::B([&[0u8][..], &[1], &[1, 0], &[255]][at % 4].to_vec()),
    }
}

pub(super) fn only(keys: &[Key], item: &Item) -> Item {
    let present = |key: &Key| Some((key.name.to_owned(), item.get(key.name)?.clone()));
    keys.iter().filter_map(present).collect()
}

impl Index {
    /// What the index holds of an item.
    pub(super) fn entry(&self, table: &[Key], item: &Item) -> Option<Item> {
        if self.keys.iter().any(|key| !item.contains_key(key.name)) {
            return None;
        }
        let mut entry = match self.projection {
            Projection::All => return Some(item.clone()),
            Projection::KeysOnly => Item::new(),
            Projection::Include => only(
                &[Key {
                    name: INCLUDED,
                    tag: "",
                }],
                item,
            ),
        };
        entry.extend(only(table, item));
        entry.extend(only(&self.keys, item));
        Some(entry)
    }

    pub(super) fn holds(&self, table: &[Key], attribute: &str) -> bool {
        let key = |key: &Key| key.name == attribute;
        match self.projection {
            Projection::All => true,
            Projection::Include if attribute == INCLUDED => true,
            _ => table.iter().any(key) || self.keys.iter().any(key),
        }
    }
}

impl Schema {
    pub(super) fn create(&self) -> Json {
        let schema = |keys: &[Key]| -> Json {
            let kinds = ["HASH", "RANGE"];
            let element =
                |(key, kind): (&Key, &str)| json!({"AttributeName": key.name, "KeyType": kind});
            keys.iter().zip(kinds).map(element).collect()
        };
        let mut attributes = BTreeMap::new();
        for key in self
            .keys
            .iter()
            .chain(self.indexes.iter().flat_map(|i| &i.keys))
        {
            attributes.insert(
                key.name,
                json!({"AttributeName": key.name, "AttributeType": key.tag}),
            );
        }
        let index = |index: &Index| {
            let projection = match index.projection {
                Projection::All => json!({"ProjectionType": "ALL"}),
                Projection::KeysOnly => json!({"ProjectionType": "KEYS_ONLY"}),
                Projection::Include => {
                    json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": [INCLUDED]})
                }
            };
            json!({"IndexName": index.name, "KeySchema": schema(&index.keys), "Projection": projection})
        };
        let mut request = Map::new();
        request.insert("TableName".into(), json!(TABLE));
        request.insert("BillingMode".into(), json!("PAY_PER_REQUEST"));
        request.insert("KeySchema".into(), schema(&self.keys));
        request.insert(
            "AttributeDefinitions".into(),
            attributes.into_values().collect(),
        );
        for (member, global) in [
            ("GlobalSecondaryIndexes", true),
            ("LocalSecondaryIndexes", false),
        ] {
            let list: Vec<_> = self
                .indexes
                .iter()
                .filter(|i| i.global == global)
                .map(index)
                .collect();
            if !list.is_empty() {
                request.insert(member.into(), json!(list));
            }
        }
        Json::Object(request)
    }

    pub(super) fn index(&self, at: Option<usize>) -> Option<&Index> {
        match at {
            Some(at) if !self.indexes.is_empty() => self.indexes.get(at % self.indexes.len()),
            _ => None,
        }
    }

    pub(super) fn has_collections(&self) -> bool {
        self.indexes.iter().any(|index| !index.global)
    }

    /// The first attribute of an item that an index cannot take, and what is said of it.
    pub(super) fn index_faults(&self, item: &Item) -> Vec<String> {
        let mut faults = Vec::new();
        for index in &self.indexes {
            for key in &index.keys {
                let Some(value) = item.get(key.name) else {
                    continue;
                };
                if value.tag() != key.tag {
                    faults.push(format!(
                        "One or more parameter values were invalid: Type mismatch for Index Key {} Expected: {} \
                         Actual: {} IndexName: {}",
                        key.name,
                        key.tag,
                        value.tag(),
                        index.name
                    ));
                } else if let Some(what) = emptiness(value) {
                    faults.push(format!(
                        "One or more parameter values are not valid. A value specified for a secondary index key is \
                         not supported. The AttributeValue for a key attribute cannot contain an empty {what} value. \
                         IndexName: {}, IndexKey: {}",
                        index.name, key.name
                    ));
                }
            }
            let limits = [
                (
                    2048,
                    "Size of hashkey has exceeded the maximum size limit of2048 bytes",
                ),
                (
                    1024,
                    "Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
                ),
            ];
            for (key, (limit, message)) in index.keys.iter().zip(limits) {
                if item.get(key.name).is_some_and(|value| value.size() > limit) {
                    faults.push(format!(
                        "One or more parameter values were invalid: {message}"
                    ));
                }
            }
        }
        faults
    }

    /// What is wrong with the key in an item to be put.
    pub(super) fn put_fault(&self, item: &Item) -> Option<String> {
        for key in &self.keys {
            let Some(value) = item.get(key.name) else {
                return Some(format!(
                    "One or more parameter values were invalid: Missing the key {} in the item",
                    key.name
                ));
            };
            if value.tag() != key.tag {
                return Some(format!(
                    "One or more parameter values were invalid: Type mismatch for key {} expected: {} actual: {}",
                    key.name,
                    key.tag,
                    value.tag()
                ));
            }
        }
        self.empty_key(item)
    }

    /// What is wrong with a `Key`.
    pub(super) fn key_fault(&self, given: &Item) -> Option<String> {
        let typed = |key: &Key| given.get(key.name).is_some_and(|v| v.tag() == key.tag);
        if given.len() != self.keys.len() || !self.keys.iter().all(typed) {
            return Some("The provided key element does not match the schema".into());
        }
        self.empty_key(given)
    }

    fn empty_key(&self, item: &Item) -> Option<String> {
        let what = |key: &Key| emptiness(item.get(key.name)?);
        let key = self.keys.iter().find(|key| what(key).is_some())?;
        Some(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
             empty {} value. Key: {}",
            what(key)?,
            key.name
        ))
    }
}

fn emptiness(value: &V) -> Option<&'static str> {
    match value {
        V::S(s) if s.is_empty() => Some("string"),
        V::B(b) if b.is_empty() => Some("binary"),
        _ => None,
    }
}

impl Model {
    pub(super) fn find(&self, key: &Item) -> Option<&Item> {
        let key = only(&self.schema.keys, key);
        self.items
            .iter()
            .find(|item| only(&self.schema.keys, item) == key)
    }

    /// Puts `new` in the place of what has its key, or removes that.
    pub(super) fn replace(&mut self, key: &Item, new: Option<Item>) {
        let key = only(&self.schema.keys, key);
        self.items
            .retain(|item| only(&self.schema.keys, item) != key);
        self.items.extend(new);
    }
}

// --- capacity -------------------------------------------------------------------------------------------

#[derive(Clone, Debug, Default)]
pub(super) struct Units {
    pub(super) table: f64,
    pub(super) indexes: BTreeMap<&'static str, (bool, f64)>,
}

fn ceil(bytes: usize, unit: usize) -> f64 {
    bytes.div_ceil(unit).max(1) as f64
}

pub(super) fn read_units(bytes: usize, consistent: bool) -> f64 {
    ceil(bytes, 4096) / if consistent { 1.0 } else { 2.0 }
}

impl Units {
    /// What a write of one item costs.
    pub(super) fn of_write(schema: &Schema, old: Option<&Item>, new: Option<&Item>) -> Units {
        let size = |item: Option<&Item>| item.map_or(0, item_size);
        let mut units = Units {
            table: ceil(size(old).max(size(new)), 1024),
            ..Units::default()
        };
        for index in &schema.indexes {
            let entry = |item: Option<&Item>| item.and_then(|i| index.entry(&schema.keys, i));
            let cost = |entry: &Item| ceil(item_size(entry), 1024);
            let cost = match (entry(old), entry(new)) {
                (Some(a), Some(b)) if a == b => continue,
                (Some(a), Some(b)) if only(&index.keys, &a) == only(&index.keys, &b) => {
                    cost(&a).max(cost(&b))
                }
                (Some(a), Some(b)) => cost(&a) + cost(&b),
                (Some(one), None) | (None, Some(one)) => cost(&one),
                (None, None) => continue,
            };
            units.indexes.insert(index.name, (index.global, cost));
        }
        units
    }

    pub(super) fn add(&mut self, other: &Units, table_factor: f64) {
        self.table += other.table * table_factor;
        for (name, (global, units)) in &other.indexes {
            self.indexes.entry(name).or_insert((*global, 0.0)).1 += units;
        }
    }

    /// The ConsumedCapacity structure; `report`: 0 nothing, 1 TOTAL, 2 INDEXES.
    pub(super) fn json(&self, report: u8, direction: Option<&str>) -> Json {
        let shown = |units: f64| {
            let mut shown = Map::new();
            shown.insert("CapacityUnits".into(), json!(units));
            if let Some(direction) = direction {
                shown.insert(format!("{direction}CapacityUnits"), json!(units));
            }
            shown
        };
        let total = self.table + self.indexes.values().map(|(_, u)| u).sum::<f64>();
        let mut out = shown(total);
        out.insert("TableName".into(), json!(TABLE));
        if report == 2 {
            out.insert("Table".into(), Json::Object(shown(self.table)));
            for (member, global) in [
                ("GlobalSecondaryIndexes", true),
                ("LocalSecondaryIndexes", false),
            ] {
                let some = self.indexes.iter().filter(|(_, (g, _))| *g == global);
                let some: Map<_, _> = some
                    .map(|(name, (_, units))| ((*name).to_owned(), Json::Object(shown(*units))))
                    .collect();
                if !some.is_empty() {
                    out.insert(member.into(), Json::Object(some));
                }
            }
        }
        Json::Object(out)
    }
}

// --- what is generated ----------------------------------------------------------------------------------

fn tag() -> BoxedStrategy<&'static str> {
    prop::sample::select(vec!["S", "N", "B"]).boxed()
}

fn projection() -> BoxedStrategy<Projection> {
    prop_oneof![
        Just(Projection::All),
        Just(Projection::KeysOnly),
        Just(Projection::Include)
    ]
    .boxed()
}

pub(super) fn schema() -> BoxedStrategy<Schema> {
    let tags = (tag(), tag(), tag(), tag(), tag());
    let projections = (projection(), projection(), projection());
    (tags, projections, any::<[bool; 5]>())
        .prop_map(|(tags, projections, [sorted, one, two, local, twice])| {
            let [pk, sk, g, h, l] = [
                ("pk", tags.0),
                ("sk", tags.1),
                ("g", tags.2),
                ("h", tags.3),
                ("l", tags.4),
            ]
            .map(|(name, tag)| Key { name, tag });
            let mut keys = vec![pk.clone()];
            if sorted {
                keys.push(sk);
            }
            let mut indexes = Vec::new();
            let mut index = |name, global, keys, projection| {
                indexes.push(Index {
                    name,
                    global,
                    keys,
                    projection,
                });
            };
            if one {
                index("one", true, vec![g.clone()], projections.0);
            }
            if two {
                index(
                    "two",
                    true,
                    vec![h, if twice { pk.clone() } else { g }],
                    projections.1,
                );
            }
            if local && sorted {
                index("local", false, vec![pk, l], projections.2);
            }
            Schema { keys, indexes }
        })
        .boxed()
}
