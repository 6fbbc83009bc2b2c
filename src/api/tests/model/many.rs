//! Writes together: BatchWriteItem and TransactWriteItems.

use serde_json::{Map, Value as Json, json};

use super::table::{Model, TABLE, Units, only, read_units};
use super::value::{Item, item_json, item_size};
use super::writes::{Action, Many, Outcome, Write, metrics};
use super::{REPORTS, Want, validation};

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
            keys.extend(sound.is_none_or(|f| f.contains("empty")).then_some(key));
            let faults = write.admission(&schema, false).into_iter();
            empty.extend(faults.filter(|f| f.contains("cannot contain an empty")));
        }
        if twice {
            let message = "Transaction request cannot include multiple operations on one item";
            empty.push(message.into());
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
