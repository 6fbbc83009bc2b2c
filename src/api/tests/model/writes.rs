//! Writes, one by one, in batches and in transactions: what is asked, and what the model says comes of it.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::condition::{Cond, Path, Printer, condition};
use super::table::{Model, Schema, TABLE, Units, key_value, only};
use super::update::{Right, Update, select, update};
use super::value::{Item, V, item_json, value};
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
    pub(super) action: Action,
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
    pub(super) writes: Vec<Write>,
    pub(super) report: u8,
    pub(super) metrics: bool,
    pub(super) token: bool,
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
pub(super) enum Outcome {
    Done {
        old: Option<Item>,
        new: Option<Item>,
    },
    Refused(Option<Item>),
    Invalid(Vec<String>),
}

impl Write {
    /// The item or key.
    pub(super) fn target(&self, schema: &Schema) -> Item {
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
    pub(super) fn request(&self, schema: &Schema) -> Map<String, Json> {
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
    pub(super) fn static_faults(&self) -> Vec<String> {
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
    pub(super) fn admission(&self, schema: &Schema, single: bool) -> Vec<String> {
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

pub(super) fn metrics(schema: &Schema, item: &Item) -> Json {
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

impl Write {
    /// An update without an expression is none in a transaction: there it removes what is not there.
    pub(super) fn outcome_in_transaction(&self, model: &Model) -> Outcome {
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
