//! Writes, one by one, in batches and in transactions: what is asked, and what the model says comes of it.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::condition::{Cond, Path, Printer, condition};
use super::table::{Model, Schema, TABLE, Units, key_value, only, read_units};
use super::update::{Right, Update, select, update};
use super::value::{Item, V, item_json, item_size, value};
use super::{REPORTS, Want, validation};

/// A way in which a key is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoil {
    Not,
    Type,
    Lacking,
    Extra,
    Empty,
}

#[derive(Clone, Debug)]
pub(super) struct KeyRef {
    at: [usize; 2],
    spoil: Spoil,
}

/// An attribute of an item to be put.
#[derive(Clone, Debug)]
pub(super) enum Attribute {
    /// One that an index of its name can take.
    Key(usize),
    Any(V),
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Put(Vec<(&'static str, Attribute)>),
    Update(Update),
    Delete,
    Check,
}

#[derive(Clone, Debug)]
pub(super) struct Write {
    key: KeyRef,
    action: Action,
    condition: Option<Cond>,
    on_failure: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Single {
    write: Write,
    returns: usize,
    report: u8,
    metrics: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Many {
    writes: Vec<Write>,
    report: u8,
    metrics: bool,
    token: bool,
}

const RETURNS: [&str; 5] = ["NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"];
const COPIED: &str =
    "The update expression attempted to update the secondary index key to unsupported type";

impl KeyRef {
    pub(super) fn item(&self, schema: &Schema) -> Item {
        let value =
            |(key, at): (&super::table::Key, usize)| (key.name.to_owned(), key_value(key.tag, at));
        let mut item: Item = schema.keys.iter().zip(self.at).map(value).collect();
        let last = schema.keys[schema.keys.len() - 1].clone();
        match self.spoil {
            Spoil::Not => {}
            Spoil::Type => drop(item.insert(last.name.into(), V::Bool(true))),
            Spoil::Lacking => drop(item.remove(last.name)),
            Spoil::Extra => drop(item.insert("extra".into(), V::Null)),
            Spoil::Empty if last.tag == "S" => drop(item.insert(last.name.into(), V::S("".into()))),
            Spoil::Empty if last.tag == "B" => drop(item.insert(last.name.into(), V::B(vec![]))),
            Spoil::Empty => {}
        }
        item
    }
}

/// What a write comes to.
enum Outcome {
    Done {
        old: Option<Item>,
        new: Option<Item>,
    },
    Refused(Option<Item>),
    Invalid(Vec<String>),
}

impl Write {
    /// The item or key.
    fn target(&self, schema: &Schema) -> Item {
        let mut item = self.key.item(schema);
        let Action::Put(attributes) = &self.action else {
            return item;
        };
        for (name, attribute) in attributes {
            let mut keys = schema.indexes.iter().flat_map(|index| &index.keys);
            let tag = keys
                .find(|key| key.name == *name)
                .map_or("S", |key| key.tag);
            let value = match attribute {
                Attribute::Key(at) => key_value(tag, *at),
                Attribute::Any(value) => value.clone(),
            };
            item.insert((*name).to_owned(), value);
        }
        item
    }

    fn holder(&self) -> &'static str {
        if matches!(self.action, Action::Put(_)) {
            "Item"
        } else {
            "Key"
        }
    }

    /// The members that a single write and a transaction's have in common.
    fn request(&self, schema: &Schema) -> Map<String, Json> {
        let mut request = Map::new();
        let mut printer = Printer::default();
        request.insert("TableName".into(), json!(TABLE));
        request.insert(self.holder().into(), item_json(&self.target(schema)));
        if let Action::Update(update) = &self.action
            && !update.is_empty()
        {
            request.insert("UpdateExpression".into(), json!(update.print(&mut printer)));
        }
        if let Some(condition) = &self.condition {
            let text = condition.print(&mut printer);
            request.insert("ConditionExpression".into(), json!(text));
        }
        if self.on_failure {
            request.insert(
                "ReturnValuesOnConditionCheckFailure".into(),
                json!("ALL_OLD"),
            );
        }
        printer.finish(&mut request);
        request
    }

    /// What is wrong with the expressions, the first wrong one's.
    fn static_faults(&self) -> Vec<String> {
        let invalid = |kind: &str, faults: Vec<String>| -> Vec<String> {
            faults
                .iter()
                .map(|f| format!("Invalid {kind}Expression: {f}"))
                .collect()
        };
        if let Action::Update(update) = &self.action {
            let faults = update.faults();
            if !faults.is_empty() {
                return invalid("Update", faults);
            }
        }
        let mut faults = Vec::new();
        if let Some(condition) = &self.condition {
            condition.faults(&mut faults);
        }
        invalid("Condition", faults)
    }

    /// What is wrong with the key, or with what the request alone tells of index keys.
    fn admission(&self, schema: &Schema, single: bool) -> Vec<String> {
        let target = self.target(schema);
        match &self.action {
            Action::Put(_) => match schema.put_fault(&target) {
                Some(fault) => vec![fault],
                None => schema.index_faults(&target),
            },
            Action::Update(update) => match schema.key_fault(&target) {
                Some(fault) => vec![fault],
                None => update_faults(schema, update, single),
            },
            Action::Delete | Action::Check => schema.key_fault(&target).into_iter().collect(),
        }
    }

    fn outcome(&self, model: &Model, single: bool) -> Outcome {
        let schema = &model.schema;
        let faults = self.admission(schema, single);
        if !faults.is_empty() {
            return Outcome::Invalid(faults);
        }
        let target = self.target(schema);
        let old = model.find(&target).cloned();
        let seen = old.clone().unwrap_or_default();
        if self.condition.as_ref().is_some_and(|c| !c.holds(&seen)) {
            return Outcome::Refused(old.filter(|_| self.on_failure));
        }
        let new = match &self.action {
            Action::Put(_) => Some(target),
            Action::Delete => None,
            Action::Check => old.clone(),
            Action::Update(update) => match update.apply(old.as_ref(), &target) {
                Err(faults) => {
                    return Outcome::Invalid(faults.into_iter().map(str::to_owned).collect());
                }
                Ok(_) if old.is_none() && !update.creates() => None,
                Ok(new) => {
                    let faults = schema.index_faults(&new).into_iter();
                    let faults: Vec<_> = faults.map(copied).collect();
                    if !faults.is_empty() {
                        return Outcome::Invalid(faults);
                    }
                    Some(new)
                }
            },
        };
        Outcome::Done { old, new }
    }
}

fn copied(fault: String) -> String {
    if fault.contains("Type mismatch") {
        COPIED.to_owned()
    } else {
        fault
    }
}

/// What an update does to keys, as far as the request alone tells.
fn update_faults(schema: &Schema, update: &Update, single: bool) -> Vec<String> {
    let is_key = |path: &&Path| schema.keys.iter().any(|key| key.name == path.root);
    let keys: Vec<_> = update.targets().into_iter().filter(is_key).collect();
    if !keys.is_empty() {
        let message = |path: &Path| {
            format!(
                "One or more parameter values were invalid: Cannot update attribute {}. This attribute is part of \
                 the key",
                path.root
            )
        };
        return keys.into_iter().map(message).collect();
    }
    if !single {
        return Vec::new();
    }
    let set = update.set.iter().filter_map(|(path, right)| match right {
        Right::Only(super::update::Source::Value(value)) => Some((path, value.tag())),
        Right::Plus(..) | Right::Minus(..) => Some((path, "N")),
        Right::Append(..) => Some((path, "L")),
        Right::Only(_) => None,
    });
    let add = update.add.iter().map(|(path, value)| (path, value.tag()));
    let typed: Vec<_> = set.chain(add).collect();
    let mut faults = Vec::new();
    for index in &schema.indexes {
        for key in &index.keys {
            let wrong = typed
                .iter()
                .find(|(path, tag)| path.root == key.name && *tag != key.tag);
            if let Some((_, tag)) = wrong {
                faults.push(format!(
                    "One or more parameter values were invalid: Type mismatch for Index Key {} Expected: {} Actual: \
                     {tag} IndexName: {}",
                    key.name, key.tag, index.name
                ));
            }
        }
    }
    faults
}

fn metrics(schema: &Schema, item: &Item) -> Json {
    json!({
        "ItemCollectionKey": item_json(&only(&schema.keys[..1], item)),
        "SizeEstimateRangeGB": [0.0, 1.0]
    })
}

impl Single {
    pub(super) fn operation(&self) -> &'static str {
        match self.write.action {
            Action::Put(_) => "PutItem",
            Action::Update(_) => "UpdateItem",
            Action::Delete | Action::Check => "DeleteItem",
        }
    }

    pub(super) fn request(&self, model: &Model) -> Json {
        let mut request = self.write.request(&model.schema);
        request.insert("ReturnValues".into(), json!(RETURNS[self.returns]));
        request.insert(
            "ReturnConsumedCapacity".into(),
            json!(REPORTS[usize::from(self.report)]),
        );
        if self.metrics {
            request.insert("ReturnItemCollectionMetrics".into(), json!("SIZE"));
        }
        Json::Object(request)
    }

    pub(super) fn want(&self, model: &mut Model) -> Want {
        let enveloped = self.operation() != "DeleteItem";
        let wrap = |message: String| match enveloped {
            true => format!("1 validation error detected: {message}"),
            false => message,
        };
        let updates = matches!(self.write.action, Action::Update(_));
        if !updates && self.returns > 1 {
            return validation(vec![wrap(
                "ReturnValues can only be ALL_OLD or NONE".into(),
            )]);
        }
        let faults = self.write.static_faults();
        if !faults.is_empty() {
            return validation(faults.into_iter().map(wrap).collect());
        }
        let (old, new) = match self.write.outcome(model, true) {
            Outcome::Invalid(faults) => return validation(faults),
            Outcome::Refused(item) => {
                let item = item.map(|item| ("Item".to_owned(), item_json(&item)));
                return Want::Error {
                    kind: "ConditionalCheckFailedException",
                    messages: vec!["The conditional request failed".into()],
                    extra: item.into_iter().collect(),
                };
            }
            Outcome::Done { old, new } => (old, new),
        };
        let target = self.write.target(&model.schema);
        let mut answer = Map::new();
        let attributes = match (self.returns, &self.write.action) {
            (1, _) => old.clone(),
            (3, _) => new.clone(),
            (2, Action::Update(update)) => old.as_ref().map(|i| select(update.targets(), i)),
            (4, Action::Update(update)) => new.as_ref().map(|i| select(update.targets(), i)),
            _ => None,
        };
        let attributes = attributes.filter(|item| !item.is_empty());
        if let Some(item) = attributes {
            answer.insert("Attributes".into(), item_json(&item));
        }
        if self.metrics && model.schema.has_collections() {
            let metrics = metrics(&model.schema, &target);
            answer.insert("ItemCollectionMetrics".into(), metrics);
        }
        if self.report > 0 {
            let units = Units::of_write(&model.schema, old.as_ref(), new.as_ref());
            answer.insert("ConsumedCapacity".into(), units.json(self.report, None));
        }
        model.replace(&target, new);
        Want::Ok(Json::Object(answer))
    }
}

impl Many {
    fn finish(&self, model: &Model, answer: &mut Map<String, Json>, units: Json) {
        let mut collections: Vec<Json> = Vec::new();
        for write in &self.writes {
            let metrics = metrics(&model.schema, &write.target(&model.schema));
            if !matches!(write.action, Action::Check) && !collections.contains(&metrics) {
                collections.push(metrics);
            }
        }
        if self.metrics && model.schema.has_collections() && !collections.is_empty() {
            answer.insert(
                "ItemCollectionMetrics".into(),
                json!({ TABLE: collections }),
            );
        }
        if self.report > 0 {
            answer.insert("ConsumedCapacity".into(), json!([units]));
        }
    }

    fn options(&self, request: &mut Map<String, Json>) {
        request.insert(
            "ReturnConsumedCapacity".into(),
            json!(REPORTS[usize::from(self.report)]),
        );
        if self.metrics {
            request.insert("ReturnItemCollectionMetrics".into(), json!("SIZE"));
        }
    }

    // --- BatchWriteItem ---------------------------------------------------------------------------------

    pub(super) fn batch(&self, model: &Model) -> Json {
        let element = |write: &Write| {
            let target = item_json(&write.target(&model.schema));
            match write.action {
                Action::Put(_) => json!({"PutRequest": {"Item": target}}),
                _ => json!({"DeleteRequest": {"Key": target}}),
            }
        };
        let list: Vec<_> = self.writes.iter().map(element).collect();
        let mut request = Map::new();
        request.insert("RequestItems".into(), json!({ TABLE: list }));
        self.options(&mut request);
        Json::Object(request)
    }

    pub(super) fn want_batch(&self, model: &mut Model) -> Want {
        let schema = model.schema.clone();
        let mut faults = Vec::new();
        let mut keys = Vec::new();
        for write in &self.writes {
            let target = write.target(&schema);
            let puts = matches!(write.action, Action::Put(_));
            let key = only(&schema.keys, &target);
            let wrong = match (puts, schema.key_fault(if puts { &key } else { &target })) {
                (_, Some(fault)) => vec![fault],
                (true, None) => schema.index_faults(&target),
                (false, None) => Vec::new(),
            };
            if wrong.is_empty() && keys.contains(&key) {
                faults.push("Provided list of item keys contains duplicates".to_owned());
            }
            faults.extend(wrong);
            keys.push(key);
        }
        if !faults.is_empty() {
            return validation(faults);
        }
        let mut units = Units::default();
        for write in &self.writes {
            let target = write.target(&schema);
            let new = matches!(write.action, Action::Put(_)).then(|| target.clone());
            units.add(
                &Units::of_write(&schema, model.find(&target), new.as_ref()),
                1.0,
            );
            model.replace(&target, new);
        }
        let mut answer = Map::new();
        answer.insert("UnprocessedItems".into(), json!({}));
        self.finish(model, &mut answer, units.json(self.report, None));
        Want::Ok(Json::Object(answer))
    }

    // --- TransactWriteItems -----------------------------------------------------------------------------

    /// `turn` makes the token this request's own.
    pub(super) fn transaction(&self, model: &Model, turn: usize) -> Json {
        let element = |write: &Write| {
            let mut action = write.request(&model.schema);
            let name = match write.action {
                Action::Put(_) => "Put",
                Action::Delete => "Delete",
                Action::Update(_) => {
                    action
                        .entry("UpdateExpression")
                        .or_insert(json!("REMOVE nothing"));
                    "Update"
                }
                Action::Check => {
                    let any = "attribute_not_exists(nothing)";
                    action.entry("ConditionExpression").or_insert(json!(any));
                    "ConditionCheck"
                }
            };
            json!({ name: action })
        };
        let list: Vec<_> = self.writes.iter().map(element).collect();
        let mut request = Map::new();
        request.insert("TransactItems".into(), json!(list));
        if self.token {
            request.insert("ClientRequestToken".into(), json!(format!("token-{turn}")));
        }
        self.options(&mut request);
        Json::Object(request)
    }

    pub(super) fn has_token(&self) -> bool {
        self.token
    }

    /// What is wanted, and what a replay of the same token answers.
    pub(super) fn want_transaction(&self, model: &mut Model) -> (Want, Option<Want>) {
        let schema = model.schema.clone();
        let faults: Vec<_> = self.writes.iter().flat_map(Write::static_faults).collect();
        if !faults.is_empty() {
            return (validation(faults), None);
        }
        let mut keys = Vec::new();
        let mut twice = false;
        let mut empty = Vec::new();
        for write in &self.writes {
            let target = write.target(&schema);
            let key = only(&schema.keys, &target);
            let sound = schema.key_fault(&key);
            twice |= keys.contains(&key);
            keys.extend(sound.is_none().then_some(key));
            let faults = write.admission(&schema, false).into_iter();
            empty.extend(faults.filter(|f| f.contains("cannot contain an empty")));
        }
        if twice {
            let message = "Transaction request cannot include multiple operations on one item";
            return (validation(vec![message.into()]), None);
        }
        if !empty.is_empty() {
            return (validation(empty), None);
        }
        let mut done = Vec::new();
        let mut reasons = Vec::new();
        let mut candidates: Vec<Vec<String>> = Vec::new();
        let mut invalid = false;
        for write in &self.writes {
            let (reason, messages) = match write.outcome_in_transaction(model) {
                _ if invalid => (json!({"Code": "None"}), vec![]),
                Outcome::Done { old, new } => {
                    done.push((write, old, new));
                    (json!({"Code": "None"}), vec![])
                }
                Outcome::Refused(item) => {
                    let mut reason = json!({"Code": "ConditionalCheckFailed",
                        "Message": "The conditional request failed"});
                    if let Some(item) = item {
                        reason["Item"] = item_json(&item);
                    }
                    (reason, vec![])
                }
                Outcome::Invalid(faults) => {
                    invalid = true;
                    (json!({"Code": "ValidationError"}), faults)
                }
            };
            reasons.push(reason);
            candidates.push(messages);
        }
        if done.len() < self.writes.len() {
            return (Want::Cancelled(reasons, candidates), None);
        }
        let mut units = Units::default();
        let mut replay = Units::default();
        for (write, old, new) in &done {
            units.add(&Units::of_write(&schema, old.as_ref(), new.as_ref()), 2.0);
            let image = item_size_of(old).max(item_size_of(new));
            replay.table += 2.0 * read_units(image, true);
            if !matches!(write.action, Action::Check) {
                model.replace(&write.target(&schema), new.clone());
            }
        }
        let answer = |units: Json| {
            let mut answer = Map::new();
            self.finish(model, &mut answer, units);
            Want::Ok(Json::Object(answer))
        };
        let first = answer(units.json(self.report, Some("Write")));
        let again = answer(replay.json(self.report, Some("Read")));
        (first, Some(again))
    }
}

fn item_size_of(item: &Option<Item>) -> usize {
    item.as_ref().map_or(0, item_size)
}

impl Write {
    /// An update without an expression is none in a transaction: there it removes what is not there.
    fn outcome_in_transaction(&self, model: &Model) -> Outcome {
        let mut write = self.clone();
        if let Action::Update(update) = &mut write.action
            && update.is_empty()
        {
            update.remove.push(Path::of("nothing"));
        }
        write.outcome(model, false)
    }
}

// --- what is generated ----------------------------------------------------------------------------------

pub(super) fn key() -> BoxedStrategy<KeyRef> {
    let spoil = prop_oneof![
        60 => Just(Spoil::Not),
        1 => Just(Spoil::Type),
        1 => Just(Spoil::Lacking),
        1 => Just(Spoil::Extra),
        1 => Just(Spoil::Empty),
    ];
    (0usize..3, 0usize..4, spoil)
        .prop_map(|(pk, sk, spoil)| KeyRef {
            at: [pk, sk],
            spoil,
        })
        .boxed()
}

fn put() -> BoxedStrategy<Action> {
    let plain = (
        prop::sample::select(vec!["a", "b", "c", "x y"]),
        value().prop_map(Attribute::Any),
    );
    let indexed = (
        prop::sample::select(vec!["g", "h", "l"]),
        prop_oneof![
            25 => (0usize..4).prop_map(Attribute::Key),
            1 => value().prop_map(Attribute::Any),
        ],
    );
    let attribute = prop_oneof![2 => plain, 1 => indexed];
    prop::collection::vec(attribute, 0..6)
        .prop_map(Action::Put)
        .boxed()
}

fn write(action: BoxedStrategy<Action>) -> BoxedStrategy<Write> {
    let condition = prop_oneof![3 => Just(None), 1 => condition().prop_map(Some)];
    (key(), action, condition, any::<bool>())
        .prop_map(|(key, action, condition, on_failure)| Write {
            key,
            action,
            condition,
            on_failure,
        })
        .boxed()
}

pub(super) fn single() -> BoxedStrategy<Single> {
    let action = prop_oneof![
        3 => put(),
        3 => update().prop_map(Action::Update),
        1 => Just(Action::Delete),
    ];
    (write(action.boxed()), 0usize..5, 0u8..3, any::<bool>())
        .prop_map(|(write, returns, report, metrics)| {
            let updates = matches!(write.action, Action::Update(_));
            Single {
                returns: if updates || returns == 4 {
                    returns
                } else {
                    returns % 2
                },
                write,
                report,
                metrics,
            }
        })
        .boxed()
}

fn many(action: BoxedStrategy<Action>) -> BoxedStrategy<Many> {
    let writes = prop::collection::vec(write(action), 1..6);
    (writes, 0u8..3, any::<bool>(), any::<bool>())
        .prop_map(|(writes, report, metrics, token)| Many {
            writes,
            report,
            metrics,
            token,
        })
        .boxed()
}

pub(super) fn batch() -> BoxedStrategy<Many> {
    many(prop_oneof![3 => put(), 1 => Just(Action::Delete)].boxed()).boxed()
}

pub(super) fn transaction() -> BoxedStrategy<Many> {
    many(
        prop_oneof![
            3 => put(),
            3 => update().prop_map(Action::Update),
            1 => Just(Action::Delete),
            1 => Just(Action::Check),
        ]
        .boxed(),
    )
    .boxed()
}
