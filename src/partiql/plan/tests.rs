use super::super::{Statement, parse};
use super::*;
use crate::item::{KeyAttribute, KeyType, Number};

fn schema() -> KeySchema {
    KeySchema::simple(("pk", KeyType::S), Some(("sk", KeyType::N)))
}

fn planned(tail: &str, schema: &KeySchema) -> Result<Access, PartiqlError> {
    let statement = parse(&format!("SELECT * FROM t {tail}"), &[]);
    let Ok(Statement::Select(select)) = statement else {
        panic!("{tail}: {statement:?}");
    };
    plan(select.filter, &select.order, schema)
}

/// Partitions, sort predicates of the first, whether whole keys are named, whether a filter is left.
fn query(tail: &str) -> (Vec<Value>, Vec<KeyPredicate>, bool, bool) {
    match planned(tail, &schema()) {
        Ok(Access::Query {
            partitions,
            whole_keys,
            filter,
            ..
        }) => {
            let sort = partitions[0].sort.clone();
            let values = partitions.into_iter().flat_map(|p| p.partition).collect();
            (values, sort, whole_keys, filter.is_some())
        }
        other => panic!("{tail}: {other:?}"),
    }
}

fn s(text: &str) -> Value {
    Value::S(text.into())
}

fn n(number: i64) -> Value {
    Value::N(Number::from(number))
}

#[test]
fn keys_are_found_wherever_and_settle_what_they_can() {
    let one = vec![s("a")];
    let eq = vec![KeyPredicate::Eq(n(1))];
    assert_eq!(query("WHERE pk='a'"), (one.clone(), vec![], false, false));
    assert_eq!(
        query("WHERE sk=1 AND 'a'=pk"),
        (one.clone(), eq.clone(), true, false)
    );
    assert_eq!(
        query("WHERE (x=1 AND pk='a') AND sk=1"),
        (one.clone(), eq, true, true)
    );
    let range = vec![KeyPredicate::Gt(n(1))];
    assert_eq!(
        query("WHERE pk='a' AND sk>1 AND sk<5"),
        (one.clone(), range.clone(), false, true)
    );
    assert_eq!(
        query("WHERE pk='a' AND 1<sk"),
        (one.clone(), range, false, false)
    );
    let between = vec![KeyPredicate::Between(n(1), n(2))];
    assert_eq!(
        query("WHERE pk='a' AND sk BETWEEN 1 AND 2"),
        (one.clone(), between, false, false)
    );
    assert_eq!(
        query("WHERE pk='a' AND NOT sk=1"),
        (one.clone(), vec![], false, true)
    );
    assert_eq!(query("WHERE pk='a' AND pk='b'"), (one, vec![], false, true));
    let several = vec![s("b"), s("a")];
    assert_eq!(
        query("WHERE pk IN ['b','a','b']"),
        (several.clone(), vec![], false, false)
    );
    assert_eq!(
        query("WHERE pk IN ('b','a') ORDER BY pk").0,
        vec![s("a"), s("b")]
    );
    assert_eq!(query("WHERE pk IN ('a','b') ORDER BY pk DESC").0, several);
}

#[test]
fn all_else_is_a_scan() {
    for tail in [
        "",
        "WHERE sk=1",
        "WHERE pk='a' OR sk=1",
        "WHERE NOT pk='a'",
        "WHERE pk.x='a'",
        "WHERE pk IN [x]",
        "WHERE pk>'a'",
    ] {
        assert!(
            matches!(planned(tail, &schema()), Ok(Access::Scan { .. })),
            "{tail}"
        );
    }
}

#[test]
fn several_partition_attributes_must_all_be_named() {
    let attribute = |name: &str| KeyAttribute {
        name: name.into(),
        kind: KeyType::S,
    };
    let schema = KeySchema {
        partition: vec![attribute("p"), attribute("q")],
        sort: vec![attribute("a"), attribute("b")],
    };
    let found = planned("WHERE q='2' AND p='1' AND a='3' AND b>'4'", &schema);
    let Ok(Access::Query {
        partitions,
        filter: None,
        ..
    }) = found
    else {
        panic!("{found:?}");
    };
    assert_eq!(partitions[0].partition, [s("1"), s("2")]);
    assert_eq!(partitions[0].sort.len(), 2);
    assert!(matches!(
        planned("WHERE p='1'", &schema),
        Ok(Access::Scan { .. })
    ));
    let gap = planned("WHERE p='1' AND q='2' AND b='4'", &schema);
    assert!(matches!(
        gap,
        Ok(Access::Query {
            filter: Some(_),
            ..
        })
    ));
}

#[test]
fn order_is_that_of_the_sort_key() {
    let forward = |tail: &str| match planned(tail, &schema()) {
        Ok(Access::Query { forward, .. }) => Ok(forward),
        Err(error) => Err(error.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(forward("WHERE pk='a' ORDER BY sk DESC"), Ok(false));
    assert_eq!(forward("WHERE pk='a' ORDER BY pk, sk"), Ok(true));
    for (tail, message) in [
        ("ORDER BY sk", "Must have WHERE clause"),
        (
            "WHERE x=1 ORDER BY sk",
            "Must have at least one non-optional hash key",
        ),
        (
            "WHERE pk='a' ORDER BY x",
            "Variable reference x in ORDER BY",
        ),
    ] {
        assert!(
            forward(tail).expect_err(tail).starts_with(message),
            "{tail}"
        );
    }
}

#[test]
fn the_key_of_a_write_is_whole() {
    let split = |tail: &str| {
        let statement = parse(&format!("DELETE FROM t {tail}"), &[]);
        let Ok(Statement::Delete(delete)) = statement else {
            panic!("{tail}: {statement:?}");
        };
        split_key(delete.filter, &schema())
    };
    let (key, rest) = split("WHERE x=1 AND sk=2 AND pk='a'").expect("a key");
    assert_eq!(
        key,
        Item::from([("pk".into(), s("a")), ("sk".into(), n(2))])
    );
    assert!(rest.is_some());
    for tail in [
        "",
        "WHERE pk='a'",
        "WHERE pk='a' AND sk>1",
        "WHERE pk='a' OR sk=1",
        "WHERE pk IN ['a'] AND sk=1",
    ] {
        assert!(split(tail).is_err(), "{tail}");
    }
}

#[test]
fn key_values_have_the_types_of_the_schema() {
    for tail in ["WHERE pk=1", "WHERE pk='a' AND sk='x'", "WHERE pk=''"] {
        assert!(planned(tail, &schema()).is_err(), "{tail}");
    }
    let many = vec!["'x'"; 51].join(",");
    assert!(planned(&format!("WHERE pk IN [{many}]"), &schema()).is_err());
}
