//! One text as each kind of expression, parsed and then run on an item; as JSON, each legacy parameter.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use meridian::expression::legacy::{self, LegacyFilter};
use meridian::expression::{
    Condition, ExpressionKind, Placeholders, Update, bind_key_condition, parse_condition,
    parse_key_condition, parse_projection, parse_update, project,
};
use meridian::item::{Item, KeySchema, KeyType, Value, json};

/// Has every type, under one letter each; the values of the placeholders `:a` to `:l` too.
static ITEM: LazyLock<Item> = LazyLock::new(|| {
    let text = r#"{"a":{"S":"text"},"b":{"N":"1.5"},"c":{"B":"AAEC"},"d":{"BOOL":true},"e":{"NULL":true},
        "f":{"SS":["x","y"]},"g":{"NS":["1","2"]},"h":{"BS":["AA==","AQ=="]},"i":{"L":[{"N":"1"},{"S":"x"},{"L":[]}]},
        "j":{"M":{"a":{"N":"2"},"b":{"L":[{"M":{}}]}}},"k":{"S":"N"},"l":{"N":"-9.9e125"}}"#;
    let value = serde_json::from_str(text).expect("JSON");
    json::item_from_json(value).expect("an item")
});

fn placeholders() -> Placeholders {
    let names = ITEM.keys().map(|name| (format!("#{name}"), name.clone()));
    let values = ITEM
        .iter()
        .map(|(name, value)| (format!(":{name}"), value.clone()));
    let (names, values): (BTreeMap<_, _>, BTreeMap<String, Value>) =
        (names.collect(), values.collect());
    Placeholders::new(Some(names), Some(values)).expect("well formed")
}

fn evaluate(condition: &Condition) {
    let _ = condition.matches(&ITEM);
    let _ = condition.matches(&Item::new());
    let _ = (condition.paths(), condition.attributes());
}

fn run(update: &Update) {
    let key: Item = ITEM
        .iter()
        .take(1)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let _ = (
        update.targets().count(),
        update.sources().count(),
        update.creates_item(),
    );
    for before in [&*ITEM, &Item::new()] {
        let _ = update.apply(before, &key);
    }
}

fn keys() -> KeySchema {
    KeySchema::simple(("a", KeyType::S), Some(("b", KeyType::N)))
}

fuzz_target!(|text: &str| {
    for kind in [ExpressionKind::Condition, ExpressionKind::Filter] {
        if let Ok(condition) = parse_condition(kind, text, &mut placeholders()) {
            evaluate(&condition);
        }
    }
    if let Ok(clauses) = parse_key_condition(text, &mut placeholders()) {
        let _ = bind_key_condition(clauses, &keys());
    }
    if let Ok(paths) = parse_projection(text, &mut placeholders()) {
        let _ = project(&paths, &ITEM);
    }
    if let Ok(update) = parse_update(text, &mut placeholders()) {
        run(&update);
    }
    let Ok(json) = serde_json::from_str(text) else {
        return;
    };
    for operator in [None, Some("AND"), Some("OR")] {
        if let Ok(Some(condition)) = legacy::expected_to_condition(Some(&json), operator) {
            evaluate(&condition);
        }
        for kind in [LegacyFilter::Query, LegacyFilter::Scan] {
            if let Ok(Some(condition)) = legacy::filter_to_condition(kind, Some(&json), operator) {
                evaluate(&condition);
            }
        }
    }
    if let Ok(clauses) = legacy::key_conditions_to_clauses(&json) {
        let _ = bind_key_condition(clauses, &keys());
    }
    if let Ok(update) = legacy::attribute_updates_to_update(Some(&json)) {
        run(&update);
    }
});
