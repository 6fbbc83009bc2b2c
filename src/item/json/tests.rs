use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::item::value::tests::{any_item, nested_lists};
use crate::item::{Item, Number, Value};

fn serialization(json: Json) -> String {
    match value_from_json(json) {
        Err(ValueError::Serialization(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn validation(json: Json) -> String {
    match value_from_json(json) {
        Err(ValueError::Validation(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn read(json: Json) -> Value {
    value_from_json(json).unwrap()
}

const EMPTY: &str =
    "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
const SEVERAL: &str = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes";

#[test]
fn every_type_is_read() {
    assert_eq!(read(json!({"S": ""})), Value::S(String::new()));
    assert_eq!(read(json!({"N": "1e3"})), Value::N(Number::from(1000)));
    assert_eq!(read(json!({"B": "YWI="})), Value::B(b"ab".to_vec()));
    assert_eq!(read(json!({"B": ""})), Value::B(vec![]));
    assert_eq!(read(json!({"NULL": true})), Value::Null);
    assert_eq!(
        read(json!({"SS": ["b", "a", ""]})),
        read(json!({"SS": ["", "a", "b"]}))
    );
    assert_eq!(
        read(json!({"NS": ["1", "2"]})),
        Value::Ns([1.into(), 2.into()].into())
    );
    assert_eq!(
        read(json!({"BS": ["", "Yg=="]})),
        Value::Bs([vec![], b"b".to_vec()].into())
    );
    assert_eq!(read(json!({"L": []})), Value::L(vec![]));
    assert_eq!(read(json!({"M": {}})), Value::M([].into()));
    let nested = json!({"M": {"k": {"L": [{"N": "1"}, {"S": "a"}]}}});
    let list = Value::L(vec![Value::N(1.into()), Value::S("a".into())]);
    assert_eq!(read(nested), Value::M([("k".to_owned(), list)].into()));
    assert_eq!(
        read(json!({"S": "a", "N": null, "Other": 5})),
        Value::S("a".into())
    );
}

#[test]
fn words_are_taken_for_booleans() {
    for word in ["true", "TRUE", "1", "Yes"] {
        assert_eq!(read(json!({"BOOL": word})), Value::Bool(true));
    }
    for word in ["false", "0", "no"] {
        assert_eq!(read(json!({"BOOL": word})), Value::Bool(false));
    }
    assert_eq!(read(json!({"NULL": "true"})), Value::Null);
    assert_eq!(
        serialization(json!({"BOOL": "maybe"})),
        "Unexpected token received from parser"
    );
    assert_eq!(
        serialization(json!({"BOOL": 1})),
        "NUMBER_VALUE cannot be converted to Boolean"
    );
}

#[test]
fn wrong_json_types_have_their_messages() {
    let structure = "Start of structure or map found where not expected";
    for (json, text) in [
        (
            json!({"N": 1}),
            "NUMBER_VALUE cannot be converted to String",
        ),
        (
            json!({"S": 1.5}),
            "DECIMAL_VALUE cannot be converted to String",
        ),
        (
            json!({"S": true}),
            "TRUE_VALUE cannot be converted to String",
        ),
        (
            json!({"N": false}),
            "FALSE_VALUE cannot be converted to String",
        ),
        (json!({"S": {}}), structure),
        (
            json!({"S": []}),
            "Unrecognized collection type class java.lang.String",
        ),
        (
            json!({"B": 1}),
            "only base-64-encoded strings are convertible to bytes",
        ),
        (
            json!({"B": "abc"}),
            "Base64 encoded length is expected a multiple of 4 bytes but found: 3",
        ),
        (
            json!({"B": "YWJ="}),
            "Invalid last non-pad Base64 character dectected",
        ),
        (json!({"SS": "a"}), "Unexpected field type"),
        (json!({"SS": {}}), structure),
        (
            json!({"SS": [1]}),
            "NUMBER_VALUE cannot be converted to String",
        ),
        (
            json!({"BS": [1]}),
            "only base-64-encoded strings are convertible to bytes",
        ),
        (json!({"L": "a"}), "Unexpected field type"),
        (json!({"L": {}}), structure),
        (json!({"L": ["a"]}), "Unexpected value type in payload"),
        (
            json!({"L": [[]]}),
            "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue",
        ),
        (json!({"M": "a"}), "Unexpected field type"),
        (
            json!({"M": []}),
            "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>",
        ),
        (json!({"M": {"a": 1}}), "Unexpected value type in payload"),
    ] {
        assert_eq!(serialization(json.clone()), text, "{json}");
    }
}

#[test]
fn wrong_values_have_their_messages() {
    let invalid = "One or more parameter values were invalid: ";
    for (json, text) in [
        (json!({}), EMPTY.to_owned()),
        (json!({"Q": "a"}), EMPTY.to_owned()),
        (json!({"S": null}), EMPTY.to_owned()),
        (json!({"M": {"a": {}}}), EMPTY.to_owned()),
        (json!({"L": [null]}), EMPTY.to_owned()),
        (json!({"S": "a", "N": "1"}), SEVERAL.to_owned()),
        (
            json!({"N": ""}),
            "The parameter cannot be converted to a numeric value".to_owned(),
        ),
        (
            json!({"N": "b"}),
            "The parameter cannot be converted to a numeric value: b".to_owned(),
        ),
        (
            json!({"NULL": false}),
            format!("{invalid}Null attribute value types must have the value of true"),
        ),
        (
            json!({"SS": []}),
            format!("{invalid}An string set  may not be empty"),
        ),
        (
            json!({"NS": []}),
            format!("{invalid}An number set  may not be empty"),
        ),
        (
            json!({"BS": []}),
            format!("{invalid}Binary sets should not be empty"),
        ),
        (
            json!({"SS": ["a", "a"]}),
            format!("{invalid}Input collection [a, a] contains duplicates."),
        ),
        (
            json!({"NS": ["1", "1.0"]}),
            "Input collection contains duplicates".to_owned(),
        ),
        (
            json!({"BS": ["Yg==", "Yg=="]}),
            format!("{invalid}Input collection [Yg==, Yg==]of type BS contains duplicates."),
        ),
    ] {
        assert_eq!(validation(json.clone()), text, "{json}");
    }
}

#[test]
fn checks_come_in_order() {
    let number = "The parameter cannot be converted to a numeric value: x";
    assert_eq!(
        validation(json!({"N": "x", "NULL": false, "SS": []})),
        number
    );
    assert!(validation(json!({"SS": [], "NULL": false})).contains("Null attribute"));
    assert!(validation(json!({"SS": ["a", "a"], "NS": []})).contains("number set"));
    assert_eq!(validation(json!({"SS": ["a", "a"], "NS": ["x"]})), number);
    assert_eq!(validation(json!({"S": "a", "L": [{"N": "x"}]})), number);
    // The types of the whole document come before any rule.
    let error = item_from_json(json!({"a": {"N": "x"}, "b": {"S": 1}})).unwrap_err();
    let text = "NUMBER_VALUE cannot be converted to String".to_owned();
    assert_eq!(error, ValueError::Serialization(text));
}

fn nested_json(levels: usize) -> Json {
    (1..levels).fold(json!({"L": []}), |inner, level| match level % 2 {
        0 => json!({"L": [inner]}),
        _ => json!({"M": {"k": inner}}),
    })
}

#[test]
fn the_33rd_level_is_refused() {
    assert!(value_from_json(nested_json(32)).is_ok());
    for levels in [33, 34, 500] {
        assert_eq!(
            validation(nested_json(levels)),
            "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
        );
    }
    let mut out = Vec::new();
    write_value(&nested_lists(32), &mut out);
    assert!(value_from_json(serde_json::from_slice(&out).unwrap()).is_ok());
}

#[test]
fn items_are_maps_of_named_values() {
    let item = item_from_json(json!({"a": {"S": "x"}})).unwrap();
    assert_eq!(item, Item::from([("a".to_owned(), Value::S("x".into()))]));
    let error = |json| item_from_json(json).unwrap_err();
    assert_eq!(
        error(json!("x")),
        ValueError::Serialization("Unexpected field type".into())
    );
    assert!(matches!(error(json!([])), ValueError::Serialization(_)));
    assert!(matches!(
        error(json!({"": {"S": "x"}})),
        ValueError::Validation(_)
    ));
    let long = |bytes: usize| json!({"x".repeat(bytes): {"S": "x"}});
    assert!(item_from_json(long(65_535)).is_ok());
    assert!(matches!(error(long(65_536)), ValueError::Validation(_)));
}

#[test]
fn strings_are_escaped_as_json_asks() {
    let mut out = Vec::new();
    write_string("a\"\\\n\r\t\u{8}\u{c}\u{1}\u{1f}é\u{2028}😀/", &mut out);
    let expected = "\"a\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u001fé\u{2028}😀/\"";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

proptest! {
    #[test]
    fn written_items_read_back(item in any_item()) {
        let mut out = Vec::new();
        write_item(&item, &mut out);
        prop_assert_eq!(item_from_json(serde_json::from_slice(&out).unwrap()), Ok(item));
    }

    #[test]
    fn any_string_is_valid_json(text in any::<String>()) {
        let mut out = Vec::new();
        write_string(&text, &mut out);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}
