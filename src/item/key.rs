//! Key schemas and order-preserving key bytes (values-and-keys.md section 3).

use serde::{Deserialize, Serialize};

use super::number::SORT_BYTES;
use super::{Item, Number, Value};

/// The most bytes of all partition key values together.
pub const PARTITION_SIZE_MAX: usize = 2_048;
/// The most bytes of all sort key values together.
pub const SORT_SIZE_MAX: usize = 1_024;

/// The scalar types a key attribute may have.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode,
)]
pub enum KeyType {
    S,
    N,
    B,
}

impl KeyType {
    /// The wire name: `S`, `N` or `B`.
    pub fn name(self) -> &'static str {
        match self {
            KeyType::S => "S",
            KeyType::N => "N",
            KeyType::B => "B",
        }
    }

    /// Whether the value is of this type.
    pub fn matches(self, value: &Value) -> bool {
        self.name() == value.type_name()
    }
}

/// One attribute of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct KeyAttribute {
    pub name: String,
    pub kind: KeyType,
}

/// The key of a table or an index. Tables and LSIs have exactly one partition attribute and at most one
/// sort attribute; a GSI may have up to four of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct KeySchema {
    pub partition: Vec<KeyAttribute>,
    pub sort: Vec<KeyAttribute>,
}

/// The bytes an item is stored under, the same in every region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyBytes {
    /// Type-tagged and canonical: equal exactly for equal key values.
    pub partition: Vec<u8>,
    /// Ordered as DynamoDB orders sort keys; empty where the schema has none.
    pub sort: Vec<u8>,
}

/// Why a key could not be taken from an item. `Display` is DynamoDB's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A `Key` parameter lacks an attribute, has one too many, or one of the wrong type.
    #[error("The provided key element does not match the schema")]
    SchemaMismatch,
    #[error("One or more parameter values were invalid: Missing the key {0} in the item")]
    Missing(String),
    #[error(
        "One or more parameter values were invalid: Type mismatch for key {name} expected: {expected} actual: {actual}"
    )]
    TypeMismatch {
        name: String,
        expected: &'static str,
        actual: &'static str,
    },
    #[error(
        "One or more parameter values were invalid: Type mismatch for Index Key {name} Expected: {expected} Actual: {actual} IndexName: {index}"
    )]
    IndexTypeMismatch {
        name: String,
        expected: &'static str,
        actual: &'static str,
        index: String,
    },
    /// `what` is `string` or `binary`.
    #[error(
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty {what} value. Key: {name}"
    )]
    Empty { name: String, what: &'static str },
    #[error(
        "One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty {what} value. IndexName: {index}, IndexKey: {name}"
    )]
    IndexEmpty {
        name: String,
        what: &'static str,
        index: String,
    },
    #[error(
        "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes"
    )]
    PartitionTooLong,
    #[error(
        "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
    )]
    SortTooLong,
}

impl KeySchema {
    /// The schema of a table: one partition attribute and perhaps a sort attribute.
    pub fn simple(partition: (&str, KeyType), sort: Option<(&str, KeyType)>) -> Self {
        let attribute = |(name, kind): (&str, KeyType)| KeyAttribute {
            name: name.to_owned(),
            kind,
        };
        KeySchema {
            partition: vec![attribute(partition)],
            sort: sort.map(attribute).into_iter().collect(),
        }
    }

    /// The key attributes, partition before sort.
    pub fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        self.partition.iter().chain(&self.sort)
    }

    /// The names of the key attributes, partition before sort.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes().map(|a| a.name.as_str())
    }

    /// Whether the attribute is part of this key.
    pub fn contains(&self, name: &str) -> bool {
        self.names().any(|n| n == name)
    }

    /// Just the key attributes of the item; those it lacks are left out.
    pub fn key_of(&self, item: &Item) -> Item {
        let present = |a: &KeyAttribute| item.get_key_value(&a.name);
        self.attributes()
            .filter_map(present)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// The key bytes of an item that was admitted before.
    pub fn bytes(&self, item: &Item) -> Result<KeyBytes, KeyError> {
        let partition = self.values(&self.partition, item)?;
        let sort = self.values(&self.sort, item)?;
        Ok(self.encode(&partition, &sort))
    }

    /// The key bytes of a `Key` parameter: exactly the key attributes, of their types, neither empty nor
    /// too long.
    pub fn admit_key(&self, key: &Item) -> Result<KeyBytes, KeyError> {
        if key.len() != self.attributes().count() {
            return Err(KeyError::SchemaMismatch);
        }
        let partition = self
            .values(&self.partition, key)
            .map_err(|_| KeyError::SchemaMismatch)?;
        let sort = self
            .values(&self.sort, key)
            .map_err(|_| KeyError::SchemaMismatch)?;
        self.refuse_empty(&partition, &sort)?;
        refuse_long(&partition, &sort)?;
        Ok(self.encode(&partition, &sort))
    }

    /// The key bytes of an item to be put: the key attributes present, of their types, neither empty nor
    /// too long.
    pub fn admit_item(&self, item: &Item) -> Result<KeyBytes, KeyError> {
        let partition = self.values(&self.partition, item)?;
        let sort = self.values(&self.sort, item)?;
        self.refuse_empty(&partition, &sort)?;
        refuse_long(&partition, &sort)?;
        Ok(self.encode(&partition, &sort))
    }

    /// The key bytes of an item's entry in an index with this schema. `None` when the item has no entry
    /// because it lacks a key attribute; attributes that are there must be valid all the same.
    pub fn admit_index(&self, index_name: &str, item: &Item) -> Result<Option<KeyBytes>, KeyError> {
        if !self.admits_index(index_name, item)? {
            return Ok(None);
        }
        self.bytes(item).map(Some)
    }

    /// Whether an item has an entry in an index with this schema, as [`KeySchema::admit_index`] tells.
    pub fn admits_index(&self, index_name: &str, item: &Item) -> Result<bool, KeyError> {
        for attribute in self.attributes() {
            let Some(value) = item.get(&attribute.name) else {
                continue;
            };
            let names = || (attribute.name.clone(), index_name.to_owned());
            if !attribute.kind.matches(value) {
                let (expected, actual) = (attribute.kind.name(), value.type_name());
                let (name, index) = names();
                return Err(KeyError::IndexTypeMismatch {
                    name,
                    expected,
                    actual,
                    index,
                });
            }
            if let Some(what) = emptiness(value) {
                let (name, index) = names();
                return Err(KeyError::IndexEmpty { name, what, index });
            }
        }
        let present = |attributes: &[KeyAttribute]| -> usize {
            attributes
                .iter()
                .filter_map(|a| item.get(&a.name))
                .map(scalar_len)
                .sum()
        };
        if present(&self.partition) > PARTITION_SIZE_MAX {
            return Err(KeyError::PartitionTooLong);
        }
        if present(&self.sort) > SORT_SIZE_MAX {
            return Err(KeyError::SortTooLong);
        }
        Ok(self.names().all(|name| item.contains_key(name)))
    }

    /// Holds the values of a key condition against the rules on emptiness and length. Values stand for
    /// the leading attributes of either half, in schema order.
    pub fn admit_condition(&self, partition: &[&Value], sort: &[&Value]) -> Result<(), KeyError> {
        self.refuse_empty(partition, sort)?;
        refuse_long(partition, sort)
    }

    /// The partition bytes of these values, one per partition attribute in schema order. `None` when
    /// their number or types are not the schema's.
    pub fn partition_of(&self, values: &[Value]) -> Option<Vec<u8>> {
        let typed = values
            .iter()
            .zip(&self.partition)
            .all(|(v, a)| a.kind.matches(v));
        (typed && values.len() == self.partition.len())
            .then(|| partition_bytes_of(&values.iter().collect::<Vec<_>>()))
    }

    /// What the sort bytes of all items begin with whose leading sort attributes have these values. With
    /// `open`, the last value is itself only the beginning of that attribute's (`begins_with`). `None`
    /// when there are more values than attributes or their types are not the schema's.
    pub fn sort_prefix(&self, values: &[Value], open: bool) -> Option<Vec<u8>> {
        let typed = values
            .iter()
            .zip(&self.sort)
            .all(|(v, a)| a.kind.matches(v));
        if !typed || values.len() > self.sort.len() {
            return None;
        }
        if self.sort.len() == 1 {
            return values.first().map_or(Some(Vec::new()), sort_bytes);
        }
        let mut bytes = Vec::new();
        for (position, value) in values.iter().enumerate() {
            let last = position + 1 == values.len();
            write_part(value, open && last, &mut bytes);
        }
        Some(bytes)
    }

    /// The key attributes that these bytes were made of; `None` for bytes that this schema never makes.
    pub fn key_item(&self, partition: &[u8], sort: &[u8]) -> Option<Item> {
        let mut key = Item::new();
        let mut rest = partition;
        for attribute in &self.partition {
            rest = rest.strip_prefix(attribute.kind.name().as_bytes())?;
            let value = take_value(attribute.kind, self.partition.len() > 1, &mut rest)?;
            key.insert(attribute.name.clone(), value);
        }
        let mut tail = sort;
        for attribute in &self.sort {
            let value = take_value(attribute.kind, self.sort.len() > 1, &mut tail)?;
            key.insert(attribute.name.clone(), value);
        }
        (rest.is_empty() && tail.is_empty()).then_some(key)
    }

    /// The values of these key attributes, present and of their types.
    fn values<'i>(
        &self,
        attributes: &[KeyAttribute],
        item: &'i Item,
    ) -> Result<Vec<&'i Value>, KeyError> {
        let mut values = Vec::with_capacity(attributes.len());
        for KeyAttribute { name, kind } in attributes {
            let value = item
                .get(name)
                .ok_or_else(|| KeyError::Missing(name.clone()))?;
            if !kind.matches(value) {
                let (expected, actual) = (kind.name(), value.type_name());
                return Err(KeyError::TypeMismatch {
                    name: name.clone(),
                    expected,
                    actual,
                });
            }
            values.push(value);
        }
        Ok(values)
    }

    fn refuse_empty(&self, partition: &[&Value], sort: &[&Value]) -> Result<(), KeyError> {
        let named = self
            .partition
            .iter()
            .zip(partition)
            .chain(self.sort.iter().zip(sort));
        for (attribute, value) in named {
            if let Some(what) = emptiness(value) {
                return Err(KeyError::Empty {
                    name: attribute.name.clone(),
                    what,
                });
            }
        }
        Ok(())
    }

    fn encode(&self, partition: &[&Value], sort: &[&Value]) -> KeyBytes {
        let sort = match sort {
            [only] => sort_bytes(only).unwrap_or_default(),
            several => {
                let mut bytes = Vec::new();
                several
                    .iter()
                    .for_each(|value| write_part(value, false, &mut bytes));
                bytes
            }
        };
        KeyBytes {
            partition: partition_bytes_of(partition),
            sort,
        }
    }
}

/// `string` or `binary` when the value is an empty one of that type.
fn emptiness(value: &Value) -> Option<&'static str> {
    match value {
        Value::S(text) if text.is_empty() => Some("string"),
        Value::B(bytes) if bytes.is_empty() => Some("binary"),
        _ => None,
    }
}

fn refuse_long(partition: &[&Value], sort: &[&Value]) -> Result<(), KeyError> {
    let total = |values: &[&Value]| -> usize { values.iter().map(|v| scalar_len(v)).sum() };
    if total(partition) > PARTITION_SIZE_MAX {
        return Err(KeyError::PartitionTooLong);
    }
    if total(sort) > SORT_SIZE_MAX {
        return Err(KeyError::SortTooLong);
    }
    Ok(())
}

fn scalar_len(value: &Value) -> usize {
    super::size::value_size(value)
}

/// The canonical bytes of one partition key value behind a tag of its type; `None` unless it is a
/// string, number or binary.
pub fn partition_bytes(value: &Value) -> Option<Vec<u8>> {
    let tag = value.type_name().as_bytes();
    Some(match value {
        Value::S(text) => [tag, text.as_bytes()].concat(),
        Value::N(number) => [tag, &number.to_sort_bytes()].concat(),
        Value::B(bytes) => [tag, bytes].concat(),
        _ => return None,
    })
}

/// Bytes in the order of the values of one type; `None` unless it is a string, number or binary.
/// UTF-8 bytes order as code points do, and numbers have a fixed-length form.
pub fn sort_bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::S(text) => Some(text.as_bytes().to_vec()),
        Value::N(number) => Some(number.to_sort_bytes().to_vec()),
        Value::B(bytes) => Some(bytes.clone()),
        _ => None,
    }
}

fn partition_bytes_of(values: &[&Value]) -> Vec<u8> {
    if let [only] = values {
        return partition_bytes(only).unwrap_or_default();
    }
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend_from_slice(value.type_name().as_bytes());
        write_part(value, false, &mut bytes);
    }
    bytes
}

/// Appends one part of a key of several attributes. Strings and binaries are escaped (`00` → `00 FF`)
/// and end in `00 00`, so that no part's bytes run into the next's and a shorter one sorts first.
/// Numbers are of fixed length and need neither. An `open` part lacks its end.
fn write_part(value: &Value, open: bool, out: &mut Vec<u8>) {
    let raw = match value {
        Value::S(text) => text.as_bytes(),
        Value::B(bytes) => bytes,
        Value::N(number) => return out.extend_from_slice(&number.to_sort_bytes()),
        _ => return,
    };
    for byte in raw {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xFF);
        }
    }
    if !open {
        out.extend_from_slice(&[0, 0]);
    }
}

/// Takes one key value off the bytes: a part of several, or all that is there.
fn take_value(kind: KeyType, part: bool, bytes: &mut &[u8]) -> Option<Value> {
    if kind == KeyType::N {
        let (number, rest) = bytes.split_at_checked(SORT_BYTES)?;
        *bytes = rest;
        return Number::from_sort_bytes(number).map(Value::N);
    }
    let raw = if part {
        take_escaped(bytes)?
    } else {
        std::mem::take(bytes).to_vec()
    };
    match kind {
        KeyType::S => String::from_utf8(raw).ok().map(Value::S),
        _ => Some(Value::B(raw)),
    }
}

fn take_escaped(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut raw = Vec::new();
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if *byte != 0 {
            raw.push(*byte);
            continue;
        }
        let (mark, rest) = rest.split_first()?;
        *bytes = rest;
        match *mark {
            0 => return Some(raw),
            0xFF => raw.push(0),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
