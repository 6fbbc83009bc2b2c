//! Reads: of items by key, and of pages.

use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::condition::{Cond, Path, Printer, bounds, condition, path, wrong_type};
use super::table::{Index, Model, Projection, TABLE, Units, key_value, only, read_units};
use super::update::{clashes, select};
use super::value::{Item, V, item_json, item_size};
use super::writes::{KeyRef, key};
use super::{REPORTS, Want, validation};

#[derive(Clone, Debug)]
pub(super) struct Gets {
    keys: Vec<KeyRef>,
    projection: Option<Vec<Path>>,
    consistent: bool,
    report: u8,
}

fn projected(projection: Option<&Vec<Path>>, item: &Item) -> Item {
    projection.map_or_else(|| item.clone(), |paths| select(paths, item))
}

fn projection_faults(projection: Option<&Vec<Path>>) -> Vec<String> {
    let mut faults = Vec::new();
    clashes(
        &projection.into_iter().flatten().collect::<Vec<_>>(),
        &mut faults,
    );
    let invalid = |fault: &String| format!("Invalid ProjectionExpression: {fault}");
    faults.iter().map(invalid).collect()
}

fn print_projection(
    projection: Option<&Vec<Path>>,
    printer: &mut Printer,
    out: &mut Map<String, Json>,
) {
    if let Some(paths) = projection {
        let paths: Vec<_> = paths.iter().map(|path| printer.path(path)).collect();
        out.insert("ProjectionExpression".into(), json!(paths.join(" , ")));
    }
}

impl Gets {
    fn report(&self) -> Json {
        json!(REPORTS[usize::from(self.report)])
    }

    fn members(&self) -> Map<String, Json> {
        let mut out = Map::new();
        let mut printer = Printer::default();
        print_projection(self.projection.as_ref(), &mut printer, &mut out);
        printer.finish(&mut out);
        out
    }

    // --- GetItem ----------------------------------------------------------------------------------------

    pub(super) fn get(&self, model: &Model) -> Json {
        let mut request = self.members();
        request.insert("TableName".into(), json!(TABLE));
        request.insert("Key".into(), item_json(&self.keys[0].item(&model.schema)));
        request.insert("ConsistentRead".into(), json!(self.consistent));
        request.insert("ReturnConsumedCapacity".into(), self.report());
        Json::Object(request)
    }

    pub(super) fn want_get(&self, model: &Model) -> Want {
        let faults = projection_faults(self.projection.as_ref());
        if !faults.is_empty() {
            return validation(faults);
        }
        let key = self.keys[0].item(&model.schema);
        if let Some(fault) = model.schema.key_fault(&key) {
            return validation(vec![fault]);
        }
        let item = model.find(&key);
        let mut answer = Map::new();
        if let Some(item) = item {
            let item = projected(self.projection.as_ref(), item);
            answer.insert("Item".into(), item_json(&item));
        }
        if self.report > 0 {
            let units = Units {
                table: read_units(item.map_or(0, item_size), self.consistent),
                ..Units::default()
            };
            answer.insert("ConsumedCapacity".into(), units.json(self.report, None));
        }
        Want::Ok(Json::Object(answer))
    }

    // --- BatchGetItem -----------------------------------------------------------------------------------

    pub(super) fn batch(&self, model: &Model) -> Json {
        let mut table = self.members();
        let keys = self
            .keys
            .iter()
            .map(|key| item_json(&key.item(&model.schema)));
        table.insert("Keys".into(), keys.collect());
        table.insert("ConsistentRead".into(), json!(self.consistent));
        json!({"RequestItems": {TABLE: table}, "ReturnConsumedCapacity": self.report()})
    }

    pub(super) fn want_batch(&self, model: &Model) -> Want {
        let faults = projection_faults(self.projection.as_ref());
        if !faults.is_empty() {
            return validation(faults);
        }
        let keys: Vec<_> = self
            .keys
            .iter()
            .map(|key| key.item(&model.schema))
            .collect();
        if (1..keys.len()).any(|at| keys[..at].contains(&keys[at])) {
            return validation(vec![
                "Provided list of item keys contains duplicates".into(),
            ]);
        }
        let faults = keys.iter().filter_map(|key| model.schema.key_fault(key));
        let faults: Vec<_> = faults.collect();
        if !faults.is_empty() {
            return validation(faults);
        }
        let mut units = Units::default();
        let mut items = Vec::new();
        for key in &keys {
            let item = model.find(key);
            units.table += read_units(item.map_or(0, item_size), self.consistent);
            items.extend(item.map(|i| item_json(&projected(self.projection.as_ref(), i))));
        }
        let mut answer = Map::new();
        answer.insert("Responses".into(), json!({ TABLE: items }));
        answer.insert("UnprocessedKeys".into(), json!({}));
        if self.report > 0 {
            answer.insert(
                "ConsumedCapacity".into(),
                json!([units.json(self.report, None)]),
            );
        }
        Want::Ok(Json::Object(answer))
    }

    // --- TransactGetItems -------------------------------------------------------------------------------

    pub(super) fn transaction(&self, model: &Model) -> Json {
        let element = |key: &KeyRef| {
            let mut get = self.members();
            get.insert("TableName".into(), json!(TABLE));
            get.insert("Key".into(), item_json(&key.item(&model.schema)));
            json!({ "Get": get })
        };
        let list: Vec<_> = self.keys.iter().map(element).collect();
        json!({"TransactItems": list, "ReturnConsumedCapacity": self.report()})
    }

    pub(super) fn want_transaction(&self, model: &Model) -> Want {
        let faults = projection_faults(self.projection.as_ref());
        if !faults.is_empty() {
            return validation(faults);
        }
        let schema = &model.schema;
        let keys: Vec<_> = self.keys.iter().map(|key| key.item(schema)).collect();
        let wrong: Vec<_> = keys.iter().map(|key| schema.key_fault(key)).collect();
        let mut top: Vec<String> = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            match &wrong[at] {
                None if keys[..at].contains(key) => top.push(
                    "Transaction request cannot include multiple operations on one item".into(),
                ),
                Some(fault) if fault.contains("empty") => top.push(fault.clone()),
                _ => {}
            }
        }
        if !top.is_empty() {
            return validation(top);
        }
        if let Some(first) = wrong.iter().position(Option::is_some) {
            let mut reasons = vec![json!({"Code": "None"}); keys.len()];
            reasons[first] = json!({"Code": "ValidationError"});
            let messages = |at: usize| -> Vec<String> {
                wrong[at]
                    .clone()
                    .filter(|_| at == first)
                    .into_iter()
                    .collect()
            };
            return Want::Cancelled(reasons, (0..keys.len()).map(messages).collect());
        }
        let mut units = Units::default();
        let mut responses = Vec::new();
        for key in &keys {
            let item = model.find(key);
            units.table += 2.0 * read_units(item.map_or(0, item_size), true);
            let mut response = json!({});
            let shown = item.map(|i| projected(self.projection.as_ref(), i));
            // Nothing selected of an item is no Item, but an item selected whole is.
            if let Some(shown) = shown.filter(|i| !i.is_empty()) {
                response["Item"] = item_json(&shown);
            }
            responses.push(response);
        }
        let mut answer = Map::new();
        answer.insert("Responses".into(), json!(responses));
        if self.report > 0 {
            let units = units.json(self.report, Some("Read"));
            answer.insert("ConsumedCapacity".into(), json!([units]));
        }
        Want::Ok(Json::Object(answer))
    }
}

// --- Query and Scan -------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
pub(super) struct SortKey {
    op: &'static str,
    low: usize,
    high: usize,
}

/// A Query, or with no hash a Scan; it is walked to its end, page by page.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    index: Option<usize>,
    hash: Option<usize>,
    sort: Option<SortKey>,
    filter: Option<Cond>,
    projection: Option<Vec<Path>>,
    limit: Option<usize>,
    forward: bool,
    consistent: bool,
    select: usize,
    report: u8,
}

const SELECTS: [&str; 5] = [
    "",
    "COUNT",
    "ALL_ATTRIBUTES",
    "ALL_PROJECTED_ATTRIBUTES",
    "SPECIFIC_ATTRIBUTES",
];

impl SortKey {
    fn values(&self, tag: &str) -> (V, V) {
        (key_value(tag, self.low), key_value(tag, self.high))
    }

    fn admits(&self, tag: &str, value: &V) -> bool {
        let (low, high) = self.values(tag);
        let order = value.order(&low);
        match self.op {
            "=" => value == &low,
            "<" => order == Some(Ordering::Less),
            "<=" => order != Some(Ordering::Greater),
            ">" => order == Some(Ordering::Greater),
            ">=" => order != Some(Ordering::Less),
            "BETWEEN" => {
                order != Some(Ordering::Less) && value.order(&high) != Some(Ordering::Greater)
            }
            _ => match (value, &low) {
                (V::S(s), V::S(p)) => s.starts_with(p.as_str()),
                (V::B(b), V::B(p)) => b.starts_with(p),
                _ => false,
            },
        }
    }
}

impl Pages {
    pub(super) fn operation(&self) -> &'static str {
        if self.hash.is_some() { "Query" } else { "Scan" }
    }

    pub(super) fn index<'m>(&self, model: &'m Model) -> Option<&'m Index> {
        model.schema.index(self.index)
    }

    /// The sort condition, where the schema has a sort key.
    fn sort<'s>(&'s self, model: &'s Model) -> Option<(&'s SortKey, &'s super::table::Key)> {
        let keys = self.index(model).map_or(&model.schema.keys, |i| &i.keys);
        self.hash.and(self.sort.as_ref().zip(keys.get(1)))
    }

    pub(super) fn request(&self, model: &Model, start: Option<&Item>) -> Json {
        let mut request = Map::new();
        let mut printer = Printer::default();
        request.insert("TableName".into(), json!(TABLE));
        let keys = self.index(model).map_or(&model.schema.keys, |i| &i.keys);
        if let Some(index) = self.index(model) {
            request.insert("IndexName".into(), json!(index.name));
        }
        if let Some(hash) = self.hash {
            let value = printer.value(&key_value(keys[0].tag, hash));
            let mut text = format!("{} = {value}", printer.name(keys[0].name));
            if let Some((sort, key)) = self.sort(model) {
                let (low, high) = sort.values(key.tag);
                let (name, low) = (printer.name(key.name), printer.value(&low));
                text += &match sort.op {
                    "BETWEEN" => format!(" AND {name} BETWEEN {low} AND {}", printer.value(&high)),
                    "begins_with" => format!(" AND begins_with({name}, {low})"),
                    op => format!(" and {name} {op} {low}"),
                };
            }
            request.insert("KeyConditionExpression".into(), json!(text));
            request.insert("ScanIndexForward".into(), json!(self.forward));
        }
        if let Some(filter) = &self.filter {
            let text = filter.print(&mut printer);
            request.insert("FilterExpression".into(), json!(text));
        }
        print_projection(self.projection.as_ref(), &mut printer, &mut request);
        printer.finish(&mut request);
        if let Some(limit) = self.limit {
            request.insert("Limit".into(), json!(limit));
        }
        if self.select > 0 {
            request.insert("Select".into(), json!(SELECTS[self.select]));
        }
        if let Some(start) = start {
            request.insert("ExclusiveStartKey".into(), item_json(start));
        }
        request.insert("ConsistentRead".into(), json!(self.consistent));
        request.insert(
            "ReturnConsumedCapacity".into(),
            json!(REPORTS[usize::from(self.report)]),
        );
        Json::Object(request)
    }

    /// What is wrong with Select by itself.
    fn select_fault(&self, model: &Model) -> Option<String> {
        let message = match self.select {
            4 if self.projection.is_none() => {
                let message = "Must specify the AttributesToGet or ProjectionExpression when choosing to get \
                     SPECIFIC_ATTRIBUTES";
                match self.hash {
                    Some(_) => format!("1 validation error detected: {message}"),
                    None => message.to_owned(),
                }
            }
            3 if self.index(model).is_none() => {
                "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName".into()
            }
            1..=3 if self.projection.is_some() => format!(
                "Cannot specify the ProjectionExpression when choosing to get {}",
                SELECTS[self.select]
            ),
            _ => return None,
        };
        Some(message)
    }

    fn expression_faults(&self, model: &Model) -> Vec<String> {
        let mut all = projection_faults(self.projection.as_ref());
        let mut faults = Vec::new();
        if let Some(filter) = &self.filter {
            filter.faults(&mut faults);
        }
        let invalid = |kind: &str, f: &String| format!("Invalid {kind}Expression: {f}");
        all.extend(faults.iter().map(|f| invalid("Filter", f)));
        let mut faults = Vec::new();
        if let Some((sort, key)) = self.sort(model) {
            let (low, high) = sort.values(key.tag);
            if sort.op == "BETWEEN" {
                bounds(&low, &high, &mut faults);
            }
            if sort.op == "begins_with" && key.tag == "N" {
                faults.push(wrong_type("begins_with", "N"));
            }
        }
        all.extend(faults.iter().map(|f| invalid("KeyCondition", f)));
        all
    }

    /// What of the projection the index does not hold.
    fn lacking(&self, model: &Model) -> Vec<String> {
        let mut lacking = Vec::new();
        if let Some(index) = self.index(model) {
            for path in self.projection.iter().flatten() {
                if !index.holds(&model.schema.keys, &path.root) && !lacking.contains(&path.root) {
                    lacking.push(path.root.clone());
                }
            }
        }
        lacking
    }

    fn index_faults(&self, model: &Model) -> Vec<String> {
        let mut faults = Vec::new();
        let index = self.index(model);
        if let Some(index) = index.filter(|index| index.global) {
            if self.consistent {
                let message = "Consistent reads are not supported on global secondary indexes";
                return vec![message.into()];
            }
            if self.select == 2 && !matches!(index.projection, Projection::All) {
                faults.push(format!(
                    "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global \
                     secondary index {} because its projection type is not ALL",
                    index.name
                ));
            }
            let lacking = self.lacking(model);
            if !lacking.is_empty() {
                faults.push(format!(
                    "One or more parameter values were invalid: Global secondary index {} does not project [{}]",
                    index.name,
                    lacking.join(", ")
                ));
            }
        }
        if let (Some(filter), Some(_)) = (&self.filter, self.hash) {
            let keys = index.map_or(&model.schema.keys, |i| &i.keys);
            for root in filter.roots() {
                if keys.iter().any(|key| key.name == root) {
                    faults.push(format!(
                        "Filter Expression can only contain non-primary key attributes: Primary key attribute: {root}"
                    ));
                }
            }
        }
        faults
    }

    /// What is wrong with the request; otherwise what its pages answer. `order` is what the index (or
    /// table) holds, in the order in which it is walked.
    pub(super) fn want(&self, model: &Model, order: &[Item]) -> Result<Vec<Want>, Want> {
        if let Some(fault) = self.select_fault(model) {
            return Err(validation(vec![fault]));
        }
        for faults in [self.expression_faults(model), self.index_faults(model)] {
            if !faults.is_empty() {
                return Err(validation(faults));
            }
        }
        let index = self.index(model);
        let keys = index.map_or(&model.schema.keys, |i| &i.keys);
        let inside = |entry: &&Item| {
            let hash = self
                .hash
                .is_none_or(|at| entry[keys[0].name] == key_value(keys[0].tag, at));
            let sort = self.sort(model);
            hash && sort.is_none_or(|(sort, key)| sort.admits(key.tag, &entry[key.name]))
        };
        let mut entries: Vec<&Item> = order.iter().filter(inside).collect();
        if !self.forward && self.hash.is_some() {
            entries.reverse();
        }
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut pages = Vec::new();
        loop {
            // A partition of one item ends with it; DynamoDB takes no start key there.
            let lone = self.hash.is_some() && index.is_none() && keys.len() == 1;
            let limit = if lone { usize::MAX } else { limit };
            let rest = entries.split_off(entries.len().min(limit));
            let full = entries.len() == limit;
            pages.push(self.page(model, &entries, full));
            if !full {
                return Ok(pages);
            }
            entries = rest;
        }
    }

    fn page(&self, model: &Model, entries: &[&Item], full: bool) -> Want {
        let index = self.index(model);
        let partial = index.filter(|i| !matches!(i.projection, Projection::All));
        let fetches = partial.is_some() && (self.select == 2 || !self.lacking(model).is_empty());
        let units = read_units(entries.iter().map(|e| item_size(e)).sum(), self.consistent);
        let mut consumed = Units::default();
        match index {
            None => consumed.table = units,
            Some(index) => drop(consumed.indexes.insert(index.name, (index.global, units))),
        }
        let mut items = Vec::new();
        for entry in entries {
            let seen = match fetches {
                true => model.find(entry).expect("an entry's item"),
                false => entry,
            };
            if fetches {
                consumed.table += read_units(item_size(seen), self.consistent);
            }
            if self.filter.as_ref().is_none_or(|f| f.holds(seen)) {
                items.push(item_json(&projected(self.projection.as_ref(), seen)));
            }
        }
        let mut answer = Map::new();
        answer.insert("Count".into(), json!(items.len()));
        answer.insert("ScannedCount".into(), json!(entries.len()));
        if self.select != 1 {
            answer.insert("Items".into(), json!(items));
        }
        if full && let Some(last) = entries.last() {
            let mut key = only(&model.schema.keys, last);
            key.extend(only(index.map_or(&[], |i| &i.keys), last));
            answer.insert("LastEvaluatedKey".into(), item_json(&key));
        }
        if self.report > 0 {
            answer.insert("ConsumedCapacity".into(), consumed.json(self.report, None));
        }
        Want::Ok(Json::Object(answer))
    }
}

// --- what is generated ----------------------------------------------------------------------------------

fn projection() -> BoxedStrategy<Option<Vec<Path>>> {
    let root = prop::sample::select(vec!["pk", "sk", "g", "l"]).prop_map(Path::of);
    let path = prop_oneof![4 => path(), 1 => root];
    prop_oneof![2 => Just(None), 1 => prop::collection::vec(path, 1..4).prop_map(Some)].boxed()
}

pub(super) fn gets() -> BoxedStrategy<Gets> {
    let keys = prop::collection::vec(key(), 1..5);
    (keys, projection(), any::<bool>(), 0u8..3)
        .prop_map(|(keys, projection, consistent, report)| Gets {
            keys,
            projection,
            consistent,
            report,
        })
        .boxed()
}

pub(super) fn pages() -> BoxedStrategy<Pages> {
    let ops = vec!["=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"];
    let sort = (prop::sample::select(ops), 0usize..4, 0usize..4)
        .prop_map(|(op, low, high)| SortKey { op, low, high });
    let keys = (
        prop::option::of(0usize..3),
        prop::option::weighted(0.7, 0usize..4),
        prop::option::of(sort),
    );
    let shape = (
        prop::option::weighted(0.3, condition()),
        projection(),
        prop::option::of(1usize..5),
        prop_oneof![5 => Just(0usize), 4 => 1usize..5],
    );
    (
        keys,
        shape,
        any::<bool>(),
        prop::bool::weighted(0.2),
        0u8..3,
    )
        .prop_map(
            |(
                (index, hash, sort),
                (filter, projection, limit, select),
                forward,
                consistent,
                report,
            )| Pages {
                index,
                hash,
                sort,
                filter,
                projection,
                limit,
                forward,
                consistent,
                select,
                report,
            },
        )
        .boxed()
}
