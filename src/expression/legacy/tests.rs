use serde_json::json;

use super::*;
use crate::item::{Item, Number};

fn n(number: i64) -> Value {
    Value::N(Number::from(number))
}

fn item() -> Item {
    Item::from([
        ("a".into(), n(2)),
        ("b".into(), Value::S("hello".into())),
        (
            "s".into(),
            Value::Ns([Number::from(2), Number::from(4)].into()),
        ),
        ("l".into(), Value::L(vec![n(2), n(4)])),
        ("a.b".into(), Value::Null),
    ])
}

fn expected(json: Json) -> Result<bool, LegacyError> {
    expected_joined(json, None)
}

fn expected_joined(json: Json, operator: Option<&str>) -> Result<bool, LegacyError> {
    let condition = expected_to_condition(Some(&json), operator)?;
    Ok(condition.is_none_or(|condition| condition.matches(&item())))
}

fn refused(json: Json) -> String {
    match expected(json) {
        Err(LegacyError::Validation(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn misshapen(json: Json) -> String {
    match expected(json) {
        Err(LegacyError::Serialization(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn op(attribute: &str, operator: &str, list: Json) -> Json {
    json!({ attribute: { "ComparisonOperator": operator, "AttributeValueList": list } })
}

#[test]
fn comparisons_hold_or_not() {
    let holds = |attribute, operator, list| expected(op(attribute, operator, list)).unwrap();
    assert!(holds("a", "EQ", json!([{ "N": "2.0" }])));
    assert!(!holds("a", "EQ", json!([{ "S": "2" }])));
    assert!(holds("a", "NE", json!([{ "S": "2" }])));
    assert!(holds("q", "NE", json!([{ "N": "2" }])));
    assert!(holds("a", "LE", json!([{ "N": "2" }])));
    assert!(!holds("a", "LT", json!([{ "N": "2" }])));
    assert!(holds("b", "GT", json!([{ "S": "hel" }])));
    assert!(holds("b", "BEGINS_WITH", json!([{ "S": "hel" }])));
    assert!(!holds("a", "BEGINS_WITH", json!([{ "S": "2" }])));
    assert!(holds("a", "IN", json!([{ "N": "1" }, { "N": "2" }])));
    assert!(!holds("s", "IN", json!([{ "N": "2" }])));
    assert!(holds("a", "BETWEEN", json!([{ "N": "1" }, { "N": "2" }])));
    assert!(!holds("q", "BETWEEN", json!([{ "N": "1" }, { "N": "2" }])));
    assert!(holds("a.b", "NOT_NULL", json!([])));
    assert!(holds("q", "NULL", json!([])));
    assert!(expected(json!({ "q": { "ComparisonOperator": "NULL" } })).unwrap());
    assert!(
        expected(json!({ "a": { "ComparisonOperator": "GE", "Value": { "N": "2" } } })).unwrap()
    );
}

#[test]
fn not_contains_wants_the_attribute_to_exist() {
    let holds = |attribute, operator, list| expected(op(attribute, operator, list)).unwrap();
    for (attribute, part) in [
        ("b", json!([{ "S": "ell" }])),
        ("s", json!([{ "N": "4" }])),
        ("l", json!([{ "N": "4" }])),
    ] {
        assert!(holds(attribute, "CONTAINS", part.clone()));
        assert!(!holds(attribute, "NOT_CONTAINS", part));
    }
    assert!(holds("b", "NOT_CONTAINS", json!([{ "N": "1" }])));
    assert!(!holds("q", "CONTAINS", json!([{ "N": "1" }])));
    assert!(!holds("q", "NOT_CONTAINS", json!([{ "N": "1" }])));
}

#[test]
fn value_and_exists() {
    assert!(expected(json!({ "a": { "Value": { "N": "2" } } })).unwrap());
    assert!(expected(json!({ "a": { "Exists": true, "Value": { "N": "2" } } })).unwrap());
    assert!(expected(json!({ "a": { "Exists": "yes", "Value": { "N": "2" } } })).unwrap());
    assert!(!expected(json!({ "q": { "Value": { "N": "2" } } })).unwrap());
    assert!(expected(json!({ "q": { "Exists": false } })).unwrap());
    assert!(!expected(json!({ "a": { "Exists": false } })).unwrap());
}

#[test]
fn conditions_join() {
    let both = json!({ "a": { "Value": { "N": "9" } }, "b": { "Value": { "S": "hello" } }, "c": { "Exists": false } });
    assert!(!expected_joined(both.clone(), None).unwrap());
    assert!(!expected_joined(both.clone(), Some("AND")).unwrap());
    assert!(expected_joined(both.clone(), Some("OR")).unwrap());
    assert_eq!(expected_to_condition(Some(&json!({})), None), Ok(None));
    assert_eq!(expected_to_condition(None, None), Ok(None));
    let text = "One or more parameter values were invalid: ConditionalOperator cannot be used without Filter or Expected";
    let error = Err(LegacyError::Validation(text.into()));
    assert_eq!(expected_joined(json!({}), Some("OR")), error);
    assert_eq!(
        filter_to_condition(LegacyFilter::Scan, None, Some("AND")).map(|_| true),
        error
    );
    let text = "1 validation error detected: Value 'or' at 'conditionalOperator' failed to satisfy constraint: \
                Member must satisfy enum value set: [OR, AND]";
    assert_eq!(
        expected_joined(both, Some("or")),
        Err(LegacyError::Validation(text.into()))
    );
}

#[test]
fn very_many_conditions_make_a_shallow_tree() {
    let many: Map<String, Json> = (0..50_000)
        .map(|i| (format!("x{i}"), json!({ "Exists": false })))
        .collect();
    assert!(expected(Json::Object(many)).unwrap());
}

#[test]
fn expected_is_checked_in_detail() {
    let prefix = "One or more parameter values were invalid: ";
    let value = json!({ "S": "x" });
    let cases = [
        (
            json!({ "Value": value, "AttributeValueList": [value], "ComparisonOperator": "LT" }),
            "Value and AttributeValueList cannot be used together for Attribute: a",
        ),
        (
            json!({ "Exists": true, "ComparisonOperator": "LT" }),
            "Exists and ComparisonOperator cannot be used together for Attribute: a",
        ),
        (
            json!({ "ComparisonOperator": "LT" }),
            "Value or AttributeValueList must be used with ComparisonOperator: LT for Attribute: a",
        ),
        (
            json!({ "Exists": true, "AttributeValueList": [value] }),
            "AttributeValueList can only be used with a ComparisonOperator for Attribute: a",
        ),
        (
            json!({}),
            "Value must be provided when Exists is null for Attribute: a",
        ),
        (
            json!({ "Exists": true }),
            "Value must be provided when Exists is true for Attribute: a",
        ),
        (
            json!({ "Exists": false, "Value": value }),
            "Value cannot be used when Exists is false for Attribute: a",
        ),
    ];
    for (entry, text) in cases {
        assert_eq!(refused(json!({ "a": entry })), format!("{prefix}{text}"));
    }
}

#[test]
fn arguments_are_counted_and_typed() {
    let prefix = "One or more parameter values were invalid: ";
    let one = json!({ "N": "1" });
    let two = json!([one, one]);
    for operator in [
        "EQ",
        "NE",
        "LE",
        "CONTAINS",
        "BEGINS_WITH",
        "NULL",
        "NOT_NULL",
    ] {
        let text =
            format!("{prefix}Invalid number of argument(s) for the {operator} ComparisonOperator");
        assert_eq!(refused(op("a", operator, two.clone())), text);
    }
    for (operator, list) in [
        ("IN", json!([])),
        ("BETWEEN", json!([one])),
        ("EQ", json!([])),
    ] {
        let text =
            format!("{prefix}Invalid number of argument(s) for the {operator} ComparisonOperator");
        assert_eq!(refused(op("a", operator, list)), text);
    }
    let typed = [
        ("LT", "L", json!([])),
        ("BEGINS_WITH", "N", json!("1")),
        ("CONTAINS", "SS", json!(["x"])),
    ];
    for (operator, kind, value) in typed.into_iter().chain([("IN", "BOOL", json!(true))]) {
        let text = format!(
            "{prefix}ComparisonOperator {operator} is not valid for {kind} AttributeValue type"
        );
        assert_eq!(refused(op("a", operator, json!([{ kind: value }]))), text);
    }
    let mixed = format!("{prefix}AttributeValues inside AttributeValueList must be of same type");
    assert_eq!(
        refused(op("a", "IN", json!([{ "N": "1" }, { "S": "x" }]))),
        mixed
    );
    let reversed = "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound";
    assert_eq!(
        refused(op("a", "BETWEEN", json!([{ "N": "10" }, { "N": "9" }]))),
        reversed
    );
    assert!(
        expected(op(
            "l",
            "EQ",
            json!([{ "L": [{ "N": "2" }, { "N": "4" }] }])
        ))
        .unwrap()
    );
}

#[test]
fn operators_are_constrained() {
    let filter = json!({ "a": {}, "b": { "ComparisonOperator": "eq" } });
    let text = "2 validation errors detected: \
        Value null at 'queryFilter.a.member.comparisonOperator' failed to satisfy constraint: Member must not be null; \
        Value 'eq' at 'queryFilter.b.member.comparisonOperator' failed to satisfy constraint: \
        Member must satisfy enum value set: [IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]";
    let error = filter_to_condition(LegacyFilter::Query, Some(&filter), None);
    assert_eq!(error, Err(LegacyError::Validation(text.into())));
}

#[test]
fn shapes_come_before_rules() {
    assert_eq!(misshapen(json!("x")), "Unexpected field type");
    assert_eq!(
        misshapen(json!([])),
        "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.ExpectedAttributeValue>"
    );
    assert_eq!(
        misshapen(json!({ "a": 1 })),
        "Unexpected value type in payload"
    );
    assert_eq!(
        misshapen(json!({ "a": [] })),
        "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.ExpectedAttributeValue"
    );
    assert_eq!(
        misshapen(json!({ "a": { "Exists": 1 } })),
        "NUMBER_VALUE cannot be converted to Boolean"
    );
    assert_eq!(
        misshapen(json!({ "a": { "Exists": "maybe" } })),
        "Unexpected token received from parser"
    );
    assert_eq!(
        misshapen(json!({ "a": { "ComparisonOperator": 1.5 } })),
        "DECIMAL_VALUE cannot be converted to String"
    );
    assert_eq!(
        misshapen(json!({ "a": { "AttributeValueList": "x" } })),
        "Unexpected field type"
    );
    assert_eq!(
        misshapen(json!({ "a": { "AttributeValueList": {} } })),
        "Start of structure or map found where not expected"
    );
    assert_eq!(
        misshapen(json!({ "a": { "AttributeValueList": [1] } })),
        "Unexpected value type in payload"
    );
    assert_eq!(
        misshapen(json!({ "a": { "Value": 1 } })),
        "Unexpected field type"
    );
    assert_eq!(
        misshapen(json!({ "a": {}, "b": { "Value": [] } })),
        "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue"
    );
}

#[test]
fn key_conditions() {
    let both = json!({
        "p": { "ComparisonOperator": "EQ", "AttributeValueList": [{ "S": "x" }] },
        "c": { "ComparisonOperator": "BETWEEN", "AttributeValueList": [{ "N": "1" }, { "N": "2" }] },
    });
    let clauses = key_conditions_to_clauses(&both).unwrap();
    let between = KeyClause {
        attribute: "c".into(),
        predicate: Some(KeyPredicate::Between(n(1), n(2))),
    };
    assert!(clauses.len() == 2 && clauses.contains(&between));
    let refused = |json| match key_conditions_to_clauses(&json) {
        Err(LegacyError::Validation(message)) => message,
        other => panic!("{other:?}"),
    };
    for (operator, list) in [
        ("NE", json!([{ "S": "x" }])),
        ("NULL", json!([])),
        ("IN", json!([{ "S": "x" }])),
    ] {
        let clauses = key_conditions_to_clauses(&op("p", operator, list)).unwrap();
        assert!(clauses.iter().all(|clause| clause.predicate.is_none()));
    }
    assert_eq!(
        refused(json!({})),
        "Conditions can be of length 1 or 2 only"
    );
    assert!(
        refused(op("p", "DOG", json!([]))).contains("'keyConditions.p.member.comparisonOperator'")
    );
    let begins = "One or more parameter values were invalid: \
                  ComparisonOperator BEGINS_WITH is not valid for N AttributeValue type";
    assert_eq!(
        refused(op("p", "BEGINS_WITH", json!([{ "N": "1" }]))),
        begins
    );
}

#[test]
fn attribute_updates() {
    let update = attribute_updates_to_update(Some(&json!({
        "a.b": { "Value": { "N": "1" } },
        "b": { "Action": "DELETE" },
        "s": { "Action": "DELETE", "Value": { "NS": ["2", "4"] } },
        "l": { "Action": "ADD", "Value": { "L": [{ "N": "6" }] } },
        "a": { "Action": "ADD", "Value": { "N": "5" } },
    })));
    let (after, touched) = update.unwrap().apply(&item(), &Item::new()).unwrap();
    let expected = Item::from([
        ("a".into(), n(7)),
        ("a.b".into(), n(1)),
        ("l".into(), Value::L(vec![n(2), n(4), n(6)])),
    ]);
    assert_eq!(after, expected);
    assert_eq!(touched.len(), 5);
    assert!(
        attribute_updates_to_update(Some(&json!({})))
            .unwrap()
            .creates_item()
    );
    assert!(
        !attribute_updates_to_update(Some(&json!({ "a": { "Action": "DELETE" } })))
            .unwrap()
            .creates_item()
    );
}

#[test]
fn attribute_updates_are_checked() {
    let refused = |entry: Json| match attribute_updates_to_update(Some(&json!({ "a": entry }))) {
        Err(LegacyError::Validation(message)) => message,
        other => panic!("{other:?}"),
    };
    let prefix = "One or more parameter values were invalid: ";
    let valueless =
        format!("{prefix}Only DELETE action is allowed when no attribute value is specified");
    assert_eq!(refused(json!({})), valueless);
    assert_eq!(refused(json!({ "Action": "ADD" })), valueless);
    assert_eq!(
        refused(json!({ "Action": "DELETE", "Value": { "N": "1" } })),
        format!("{prefix}DELETE action with value is not supported for the type N")
    );
    assert_eq!(
        refused(json!({ "Action": "ADD", "Value": { "S": "1" } })),
        format!("{prefix}ADD action is not supported for the type S")
    );
    assert!(
        refused(json!({ "Action": "NONE", "Value": { "S": "1" } }))
            .starts_with("1 validation error detected: ")
    );
}
