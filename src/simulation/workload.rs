//! What clients ask, as the requests that `api` would hand to the replica.

use std::borrow::Cow;

use super::merging::MergeAct;
use super::plan::{Operation, OperationKind};
use super::rng::Chance;
use super::skew::EPOCH_US;
use crate::expression::{Condition, Path, SetOperand, SetValue, Update};
use crate::item::{Item, KeyAttribute, KeySchema, KeyType, Number, Value, codec};
use crate::replica::catalog::{
    IndexDef, IndexKind, Merging, Projection, TableDef, TableUid, TimeToLive,
};
use crate::replica::mutation::{GroupId, ItemKey};
use crate::replica::request::{ItemWrite, TableChange, WriteAction, WriteRequest};

/// The one table.
pub const TABLE: &str = "world";
/// Its index.
pub const INDEX: &str = "by-shelf";
/// An index that comes and goes.
pub const SECOND: &str = "by-shelf-and-writer";
const KEY: &str = "k";
/// What the index is keyed by.
pub const SHELF: &str = "shelf";
/// The id of the operation that wrote the item.
const WRITER: &str = "writer";
/// How often the item was updated.
const UPDATES: &str = "updates";
/// When the item expires.
const EXPIRES: &str = "expires";
/// Nothing but bytes.
const PADDING: &str = "padding";

/// Creates the table with its index, and a stream if wanted.
pub fn create_table(streams: bool) -> WriteRequest {
    let index = IndexDef {
        id: 0,
        name: INDEX.into(),
        kind: IndexKind::Global,
        keys: KeySchema::simple((SHELF, KeyType::S), None),
        projection: Projection::All,
        throughput: None,
    };
    let attribute = |name: &str| KeyAttribute {
        name: name.into(),
        kind: KeyType::S,
    };
    let def = TableDef {
        name: TABLE.into(),
        uid: TableUid(0),
        group: GroupId(0),
        attributes: vec![attribute(KEY), attribute(SHELF)],
        keys: KeySchema::simple((KEY, KeyType::S), None),
        indexes: vec![index],
        created_us: 0,
        updated_us: 0,
        throughput: None,
        stream_view: streams.then(|| "NEW_AND_OLD_IMAGES".into()),
        stream_us: None,
        protected: GroupId(0),
        members: Vec::new(),
        ttl: TimeToLive::default(),
        recorded: Vec::new(),
        next_index: 0,
        merging: Merging::Items,
    };
    WriteRequest::CreateTable {
        def: Box::new(def),
        local: Box::default(),
    }
}

/// The table that merges, and its counter.
pub const MERGED: &str = "merged";
pub const COUNT: &str = "count";

/// Creates the table that merges.
pub fn create_merged() -> WriteRequest {
    let WriteRequest::CreateTable { mut def, local } = create_table(false) else {
        unreachable!("a table is created above");
    };
    def.name = MERGED.into();
    def.attributes.retain(|attribute| attribute.name == KEY);
    def.indexes.clear();
    def.merging = Merging::Attributes;
    WriteRequest::CreateTable { def, local }
}

/// The key attributes of a stored key.
pub fn merged_key(key: &ItemKey) -> Item {
    key_item(name_of(key))
}

/// An attribute that is assigned.
pub fn attribute(number: u32) -> String {
    format!("a{number}")
}

/// The attributes of an item that merges, but for its key.
pub fn merged_attributes() -> [String; 3] {
    [COUNT.to_owned(), attribute(0), attribute(1)]
}

pub fn signed(value: i64) -> Value {
    Value::N(Number::from(value))
}

fn merge(key: u32, act: MergeAct) -> ItemWrite {
    let key = key_item(format!("m{key}"));
    let assign = |name: String, value: i64| Update {
        set: vec![(
            path(&name),
            SetValue::Operand(SetOperand::Value(signed(value))),
        )],
        ..Update::default()
    };
    let id = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
    let update = match act {
        MergeAct::Put(at) => {
            let mut item = key;
            item.insert(COUNT.into(), signed(id(at) % 100));
            let write = item_write(WriteAction::Put { item }, None);
            return in_merged(write);
        }
        MergeAct::Delete => return in_merged(item_write(WriteAction::Delete { key }, None)),
        MergeAct::Count(by) => Update {
            add: vec![(path(COUNT), signed(by))],
            ..Update::default()
        },
        MergeAct::Assign(to, at) => assign(attribute(to), id(at)),
        MergeAct::Reset(to) => assign(COUNT.into(), to),
    };
    in_merged(item_write(WriteAction::Update { key, update }, None))
}

fn in_merged(write: ItemWrite) -> ItemWrite {
    let table = MERGED.into();
    ItemWrite { table, ..write }
}

/// The key of a register.
pub fn register(key: u32) -> Item {
    key_item(format!("r{key}"))
}

/// The key of an item that expires.
pub fn expiring(key: u32) -> Item {
    key_item(format!("e{key}"))
}

/// Enables or disables Time To Live.
pub fn time_to_live(enabled: bool) -> WriteRequest {
    let attribute = EXPIRES.to_owned();
    WriteRequest::UpdateTable {
        table: TABLE.into(),
        change: TableChange::TimeToLive { enabled, attribute },
    }
}

/// The second at which an image expires, on the wall clock of whoever looks.
pub fn expiry_of(image: &[u8]) -> Option<u64> {
    match codec::pick(image, |name| name == EXPIRES)
        .ok()?
        .get(EXPIRES)?
    {
        Value::N(number) => u64::try_from(number.to_i64()?).ok(),
        _ => None,
    }
}

/// The key of a member of a cohort.
pub fn member(cohort: u32, member: u32) -> Item {
    key_item(format!("c{cohort}-{member}"))
}

fn key_item(name: String) -> Item {
    Item::from([(KEY.to_owned(), Value::S(name))])
}

/// A key as it is stored.
pub fn item_key(key: &Item) -> ItemKey {
    let bytes = KeySchema::simple((KEY, KeyType::S), None).bytes(key);
    bytes.expect("keys are made above").into()
}

/// The name in a stored key, for people.
pub fn name_of(key: &ItemKey) -> String {
    let text = key.partition.get(1..).unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// The id of the operation that wrote an image.
pub fn writer_of(image: &[u8]) -> Option<u64> {
    let item = codec::pick(image, |name| name == WRITER).ok()?;
    writer_in(&item)
}

/// The id of the operation that wrote an item.
pub fn writer_in(item: &Item) -> Option<u64> {
    match item.get(WRITER)? {
        Value::N(number) => u64::try_from(number.to_i64()?).ok(),
        _ => None,
    }
}

/// The keys an operation writes, or would.
pub fn written_keys(kind: &OperationKind) -> Vec<ItemKey> {
    match kind {
        OperationKind::Put { key, .. }
        | OperationKind::PutIfAbsent { key }
        | OperationKind::Update { key, .. }
        | OperationKind::Delete { key } => vec![item_key(&register(*key))],
        OperationKind::PutExpiring { key, .. } | OperationKind::Refresh { key, .. } => {
            vec![item_key(&expiring(*key))]
        }
        OperationKind::Merge { key, .. } => vec![item_key(&key_item(format!("m{key}")))],
        OperationKind::Transaction { cohort, order } => order
            .iter()
            .map(|m| item_key(&member(*cohort, *m)))
            .collect(),
        OperationKind::Read { .. }
        | OperationKind::ReadCohort { .. }
        | OperationKind::CreateIndex
        | OperationKind::DeleteIndex => Vec::new(),
    }
}

/// The request of a write; `None` for a read.
pub fn request(operation: &Operation) -> Option<WriteRequest> {
    let id = operation.id;
    let item = match &operation.kind {
        OperationKind::Put {
            key,
            index,
            padding,
        } => {
            let mut item = image(register(*key), id, *index);
            pad(&mut item, id, *padding);
            item_write(WriteAction::Put { item }, None)
        }
        OperationKind::PutIfAbsent { key } => {
            let mut item = image(register(*key), id, Some(id % 4));
            pad(&mut item, id, operation.bytes);
            item_write(
                WriteAction::Put { item },
                Some(Condition::NotExists(path(KEY))),
            )
        }
        OperationKind::Update { key, index } => {
            let (key, mut update) = (register(*key), update(id, *index));
            if operation.bytes > 0 {
                let padding = SetValue::Operand(SetOperand::Value(padding(id, operation.bytes)));
                update.set.push((path(PADDING), padding));
            }
            item_write(WriteAction::Update { key, update }, None)
        }
        OperationKind::PutExpiring { key, second } => {
            let mut item = image(expiring(*key), id, Some(id % 4));
            item.insert(EXPIRES.into(), number(wall_second(*second)));
            item_write(WriteAction::Put { item }, None)
        }
        OperationKind::Refresh { key, second } => {
            let mut update = update(id, Some(id % 4));
            let later = SetValue::Operand(SetOperand::Value(number(wall_second(*second))));
            update.set.push((path(EXPIRES), later));
            let key = expiring(*key);
            item_write(WriteAction::Update { key, update }, None)
        }
        OperationKind::Delete { key } => {
            let key = register(*key);
            item_write(WriteAction::Delete { key }, None)
        }
        OperationKind::Transaction { cohort, order } => {
            let put = |m: &u32| {
                let mut item = image(member(*cohort, *m), id, None);
                pad(&mut item, id, operation.bytes);
                item_write(WriteAction::Put { item }, None)
            };
            let writes = order.iter().map(put).collect();
            return Some(WriteRequest::Transaction {
                writes,
                token: None,
            });
        }
        OperationKind::Merge { key, act } => merge(*key, *act),
        OperationKind::CreateIndex => return Some(update_table(create_second())),
        OperationKind::DeleteIndex => {
            return Some(update_table(TableChange::DeleteIndex(SECOND.into())));
        }
        OperationKind::Read { .. } | OperationKind::ReadCohort { .. } => return None,
    };
    Some(WriteRequest::Item(item))
}

fn update_table(change: TableChange) -> WriteRequest {
    WriteRequest::UpdateTable {
        table: TABLE.into(),
        change,
    }
}

fn create_second() -> TableChange {
    let keys = KeySchema::simple((SHELF, KeyType::S), Some((WRITER, KeyType::N)));
    TableChange::CreateIndex {
        attributes: keys.attributes().cloned().collect(),
        index: IndexDef {
            id: 0,
            name: SECOND.into(),
            kind: IndexKind::Global,
            keys,
            projection: Projection::KeysOnly,
            throughput: None,
        },
    }
}

/// What an index should hold of an item: all of it, or the keys that the second has.
pub fn entry_of<'i>(index: &str, item: &'i Item) -> Option<Cow<'i, Item>> {
    item.get(SHELF)?;
    if index == INDEX {
        return Some(Cow::Borrowed(item));
    }
    let keys = [KEY, SHELF, WRITER].map(|name| Some((name.to_owned(), item.get(name)?.clone())));
    keys.into_iter().collect::<Option<Item>>().map(Cow::Owned)
}

fn item_write(action: WriteAction, condition: Option<Condition>) -> ItemWrite {
    ItemWrite {
        table: TABLE.into(),
        action,
        condition,
        return_old_on_failure: false,
    }
}

fn image(mut item: Item, id: u64, index: Option<u64>) -> Item {
    item.insert(WRITER.into(), number(id));
    if let Some(index) = index {
        item.insert(SHELF.into(), shelf(index));
    }
    item
}

fn pad(item: &mut Item, id: u64, bytes: usize) {
    if bytes > 0 {
        item.insert(PADDING.into(), padding(id, bytes));
    }
}

/// Bytes that differ from operation to operation; every second one could be told from the others, as much of
/// what real items are made of.
fn padding(id: u64, bytes: usize) -> Value {
    let mut rng = Chance::new(id).of("padding", &[]);
    let word = |_| {
        let [a, b, c, d, ..] = rng.draw().to_be_bytes();
        [a, 0, b, 0, c, 0, d, 0]
    };
    let words = (0..bytes.div_ceil(8)).flat_map(word);
    Value::B(words.take(bytes).collect())
}

/// Sets the writer, counts, and moves the item to another shelf or off the shelves.
fn update(id: u64, index: Option<u64>) -> Update {
    let set = |name: &str, value| (path(name), SetValue::Operand(SetOperand::Value(value)));
    let mut update = Update {
        set: vec![set(WRITER, number(id))],
        add: vec![(path(UPDATES), number(1))],
        ..Update::default()
    };
    match index {
        Some(index) => update.set.push(set(SHELF, shelf(index))),
        None => update.remove.push(path(SHELF)),
    }
    update
}

/// A second of true time as a clock without error shows it.
fn wall_second(second: u64) -> u64 {
    EPOCH_US / 1_000_000 + second
}

fn path(name: &str) -> Path {
    Path {
        root: name.into(),
        steps: Vec::new(),
    }
}

fn number(value: u64) -> Value {
    Value::N(Number::from(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn shelf(index: u64) -> Value {
    Value::S(format!("shelf-{index}"))
}
