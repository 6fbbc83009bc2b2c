//! Messages and trees, as measured on DynamoDB and by its emulators' tests.

use super::*;
use crate::item::{KeyType, Number};

fn number(text: &str) -> Value {
    Value::N(Number::parse(text).unwrap())
}

fn parse(source: &str) -> Result<Vec<KeyClause>, ExpressionError> {
    let values = [
        (":s".to_owned(), Value::S("x".into())),
        (":e".to_owned(), Value::S(String::new())),
        (":t".to_owned(), Value::S("S".into())),
        (":n".to_owned(), number("1")),
        (":n2".to_owned(), number("2")),
    ];
    parse_key_condition(
        source,
        &mut Placeholders::new(None, Some(values.into())).unwrap(),
    )
}

fn refusal(source: &str) -> String {
    parse(source).expect_err(source).0
}

fn schema() -> KeySchema {
    KeySchema::simple(("p", KeyType::S), Some(("c", KeyType::N)))
}

fn bind(source: &str, schema: &KeySchema) -> Result<KeyCondition, ExpressionError> {
    bind_key_condition(parse(source).expect(source), schema)
}

fn bind_refusal(source: &str) -> String {
    bind(source, &schema()).expect_err(source).0
}

#[test]
fn equality_and_every_range_bind_in_any_order() {
    let partition = vec![Value::S("x".into())];
    for (source, predicate) in [
        ("p=:s and c=:n", KeyPredicate::Eq(number("1"))),
        ("c<:n AND p=:s", KeyPredicate::Lt(number("1"))),
        (":s=p and :n<=c", KeyPredicate::Ge(number("1"))),
        (":s=p and :n<c", KeyPredicate::Gt(number("1"))),
        ("p=:s and :n>c", KeyPredicate::Lt(number("1"))),
        ("((c>=:n) AND (p=:s))", KeyPredicate::Ge(number("1"))),
        (
            "p=:s and c between :n and :n2",
            KeyPredicate::Between(number("1"), number("2")),
        ),
    ] {
        let expected = KeyCondition {
            partition: partition.clone(),
            sort: vec![predicate],
        };
        assert_eq!(bind(source, &schema()).unwrap(), expected, "{source}");
    }
    let alone = KeyCondition {
        partition: partition.clone(),
        sort: vec![],
    };
    assert_eq!(bind("p=:s", &schema()).unwrap(), alone);
    let schema = KeySchema::simple(("p", KeyType::S), Some(("c", KeyType::S)));
    let begins = KeyCondition {
        partition,
        sort: vec![KeyPredicate::BeginsWith(Value::S("x".into()))],
    };
    assert_eq!(
        bind("p=:s and begins_with(c, :s)", &schema).unwrap(),
        begins
    );
}

#[test]
fn operators_that_no_query_has_are_refused() {
    for (source, operator) in [
        ("a > b and size(b) > c or a > c", "OR"),
        ("a in (b, size(c), d)", "IN"),
        ("attribute_exists(a)", "attribute_exists"),
        ("attribute_not_exists(a)", "attribute_not_exists"),
        ("attribute_type(a, :t)", "attribute_type"),
        ("contains(a.d, b)", "contains"),
        ("not a > b", "NOT"),
        ("a <> b", "<>"),
        ("p=:s and not c=:n", "NOT"),
    ] {
        let expected = format!("Invalid operator used in KeyConditionExpression: {operator}");
        assert_eq!(refusal(source), expected, "{source}");
    }
}

#[test]
fn operands_are_one_key_attribute_and_literals() {
    for (source, operator) in [
        (":s between size(b) and size(a) and b > :s", "BETWEEN"),
        ("begins_with(:s, b) and a > :s", "begins_with"),
    ] {
        let expected =
            format!("{operator} operator must have the key attribute as its first operand");
        assert_eq!(refusal(source), condition(&expected).0, "{source}");
    }
    for source in [
        "size(b) > a AND a.b > b",
        "a > size(b.d)",
        "a between size(b) and size(a)",
        ":n < size(a)",
    ] {
        assert_eq!(
            refusal(source),
            "KeyConditionExpressions cannot contain nested operations",
            "{source}"
        );
    }
    for source in [
        "b > a.b",
        "b between c[1] and d",
        "a between b and size(a)",
        "begins_with(a, b)",
    ] {
        let expected = condition("Multiple attribute names used in one condition").0;
        assert_eq!(refusal(source), expected, "{source}");
    }
    for source in ["b.d > a AND c.d > e.f", "a.d > c", "b[0] > a", ":n < a.b"] {
        let expected = "Invalid KeyConditionExpression: KeyConditionExpressions cannot have conditions on \
                        nested attributes";
        assert_eq!(refusal(source), expected, "{source}");
    }
    for source in [":n > :n2 AND a < :n2", ":n > b AND :n < :n2"] {
        assert_eq!(
            refusal(source),
            condition("No key attribute specified").0,
            "{source}"
        );
    }
    for source in [
        "b > :n AND b < :n and c = :n and d = :n",
        "(a > :n and b > :n) and (b > :n and c > :n)",
    ] {
        assert_eq!(
            refusal(source),
            "KeyConditionExpressions must only contain one condition per key",
            "{source}"
        );
    }
}

#[test]
fn the_shared_checks_name_the_key_condition() {
    assert_eq!(
        refusal("p=:s and begins_with(c, :n)"),
        "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or \
         function: begins_with, operand type: N"
    );
    assert_eq!(
        refusal("dog(c, :n)"),
        "Invalid KeyConditionExpression: Invalid function name; function: dog"
    );
    assert!(refusal("p").starts_with("Invalid KeyConditionExpression: Syntax error; "));
    assert!(refusal("((c=:n) AND ((p=:s)))").contains("redundant parentheses"));
}

#[test]
fn clauses_are_held_against_the_schema() {
    let type_mismatch = "One or more parameter values were invalid: Condition parameter type does not match \
                         schema type";
    for (source, expected) in [
        ("c=:n", "Query condition missed key schema element: p"),
        (
            "p=:s and a<:n",
            "Query condition missed key schema element: c",
        ),
        (
            "p=:s and c<:n and a<:n",
            "Conditions can be of length 1 or 2 only",
        ),
        ("p<:s", "Query key condition not supported"),
        ("p=:n", type_mismatch),
        ("p=:s and c=:s", type_mismatch),
        ("p=:s and begins_with(c, :s)", type_mismatch),
        (
            "p=:e",
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot \
             contain an empty string value. Key: p",
        ),
    ] {
        assert_eq!(bind_refusal(source), expected, "{source}");
    }
    let hash_only = KeySchema::simple(("p", KeyType::S), None);
    assert_eq!(
        bind("p=:s and c=:n", &hash_only).unwrap_err().0,
        "Query key condition not supported"
    );
    let twice = parse("p=:s")
        .unwrap()
        .into_iter()
        .chain(parse("p=:s").unwrap())
        .collect();
    assert!(
        bind_key_condition(twice, &schema())
            .unwrap_err()
            .0
            .contains("one condition per key")
    );
}

#[test]
fn keys_of_several_attributes_take_a_range_only_on_the_last_sort_condition() {
    let attribute = |name: &str, kind| KeyAttribute {
        name: name.into(),
        kind,
    };
    let schema = KeySchema {
        partition: vec![attribute("p", KeyType::S), attribute("q", KeyType::N)],
        sort: vec![attribute("c", KeyType::N), attribute("d", KeyType::N)],
    };
    let expected = KeyCondition {
        partition: vec![Value::S("x".into()), number("1")],
        sort: vec![KeyPredicate::Eq(number("1")), KeyPredicate::Gt(number("2"))],
    };
    assert_eq!(
        bind("d > :n2 and q=:n and p=:s and c=:n", &schema).unwrap(),
        expected
    );
    let prior = "RANGE key attributes c must have equality conditions specified in the query \
                 because a condition is present on key attribute d";
    for (source, message) in [
        (
            "p=:s",
            "HASH key attributes q must have equality conditions specified in the query",
        ),
        (
            "p=:s and q>:n",
            "HASH key attributes q must have equality conditions specified in the query",
        ),
        ("p=:s and q=:n and d=:n", prior),
        ("p=:s and q=:n and c>:n and d=:n", prior),
    ] {
        assert_eq!(bind(source, &schema).unwrap_err().0, message, "{source}");
    }
}
