use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::item::number::tests::any_number;

fn s(text: &str) -> Value {
    Value::S(text.to_owned())
}

fn n(text: &str) -> Value {
    Value::N(Number::parse(text).unwrap())
}

fn item(fields: &[(&str, Value)]) -> Item {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn table() -> KeySchema {
    KeySchema::simple(("pk", KeyType::S), Some(("sk", KeyType::N)))
}

fn attribute(name: &str, kind: KeyType) -> KeyAttribute {
    KeyAttribute {
        name: name.to_owned(),
        kind,
    }
}

fn message<T: std::fmt::Debug>(result: Result<T, KeyError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_key_parameter_is_exactly_the_key() {
    let good = item(&[("pk", s("a")), ("sk", n("1"))]);
    let bytes = table().admit_key(&good).unwrap();
    assert_eq!(bytes.partition, b"Sa");
    assert_eq!(bytes.sort, Number::from(1).to_sort_bytes());
    assert_eq!(table().bytes(&good), Ok(bytes.clone()));
    assert_eq!(
        table().key_item(&bytes.partition, &bytes.sort),
        Some(good.clone())
    );
    for bad in [
        item(&[]),
        item(&[("pk", s("a"))]),
        item(&[("pk", s("a")), ("sk", s("1"))]),
        item(&[("pk", s("a")), ("x", n("1"))]),
        item(&[("pk", s("a")), ("sk", n("1")), ("x", n("1"))]),
    ] {
        let expected = "The provided key element does not match the schema";
        assert_eq!(message(table().admit_key(&bad)), expected);
    }
    let empty = item(&[("pk", s("")), ("sk", n("1"))]);
    assert_eq!(
        message(table().admit_key(&empty)),
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: pk"
    );
}

#[test]
fn a_put_names_what_is_wrong_with_the_key() {
    assert_eq!(
        message(table().admit_item(&item(&[("pk", s("a")), ("x", n("1"))]))),
        "One or more parameter values were invalid: Missing the key sk in the item"
    );
    assert_eq!(
        message(table().admit_item(&item(&[("pk", n("1")), ("sk", n("1"))]))),
        "One or more parameter values were invalid: Type mismatch for key pk expected: S actual: N"
    );
    let put = item(&[("pk", s("a")), ("sk", n("1.0")), ("x", Value::Null)]);
    assert_eq!(
        table().admit_item(&put),
        table().admit_key(&table().key_of(&put))
    );
}

#[test]
fn keys_have_limits_of_length() {
    let schema = KeySchema::simple(("pk", KeyType::B), Some(("sk", KeyType::S)));
    let key = |p: usize, s: usize| {
        item(&[
            ("pk", Value::B(vec![0; p])),
            ("sk", Value::S("x".repeat(s))),
        ])
    };
    assert!(schema.admit_key(&key(2048, 1024)).is_ok());
    assert_eq!(
        message(schema.admit_item(&key(2049, 1))),
        "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes"
    );
    assert_eq!(
        message(schema.admit_key(&key(1, 1025))),
        "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
    );
    assert_eq!(
        message(schema.admit_key(&key(0, 1))),
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty binary value. Key: pk"
    );
    assert_eq!(
        schema.admit_condition(&[&Value::B(vec![0; 2049])], &[]),
        Err(KeyError::PartitionTooLong)
    );
    assert!(schema.admit_condition(&[&Value::B(vec![1])], &[]).is_ok());
}

#[test]
fn an_index_is_sparse_but_checks_what_is_there() {
    let index = table();
    assert_eq!(index.admit_index("i", &item(&[("pk", s("a"))])), Ok(None));
    assert_eq!(
        message(index.admit_index("i", &item(&[("sk", Value::Null)]))),
        "One or more parameter values were invalid: Type mismatch for Index Key sk Expected: N Actual: NULL IndexName: i"
    );
    assert_eq!(
        message(index.admit_index("i", &item(&[("pk", s(""))]))),
        "One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: i, IndexKey: pk"
    );
    let full = item(&[("pk", s("a")), ("sk", n("1")), ("x", Value::Null)]);
    assert_eq!(index.admit_index("i", &full), index.bytes(&full).map(Some));
    let long = item(&[("pk", Value::S("x".repeat(2049)))]);
    assert_eq!(
        index.admit_index("i", &long),
        Err(KeyError::PartitionTooLong)
    );
}

#[test]
fn partition_bytes_tell_types_apart() {
    assert_ne!(
        partition_bytes(&s("a")),
        partition_bytes(&Value::B(b"a".to_vec()))
    );
    assert_eq!(partition_bytes(&n("1e3")), partition_bytes(&n("1000.0")));
    assert_eq!(partition_bytes(&Value::Null), None);
    assert_eq!(sort_bytes(&Value::L(vec![])), None);
}

#[test]
fn prefixes_of_a_single_sort_key_are_raw() {
    let schema = KeySchema::simple(("pk", KeyType::S), Some(("sk", KeyType::S)));
    assert_eq!(
        schema.sort_prefix(&[s("a\0b")], true),
        Some(b"a\0b".to_vec())
    );
    assert_eq!(schema.sort_prefix(&[], false), Some(vec![]));
    assert_eq!(schema.sort_prefix(&[n("1")], false), None);
    assert_eq!(schema.sort_prefix(&[s("a"), s("b")], false), None);
    assert_eq!(schema.partition_of(&[s("a")]), Some(b"Sa".to_vec()));
    assert_eq!(schema.partition_of(&[n("1")]), None);
    assert_eq!(schema.partition_of(&[]), None);
}

/// A schema of three attributes on either side.
fn wide() -> KeySchema {
    let side = |prefix: &str| {
        let name = |suffix| format!("{prefix}{suffix}");
        vec![
            attribute(&name("s"), KeyType::S),
            attribute(&name("n"), KeyType::N),
            attribute(&name("b"), KeyType::B),
        ]
    };
    KeySchema {
        partition: side("p"),
        sort: side("r"),
    }
}

type Part = (String, Number, Vec<u8>);

fn any_part() -> impl Strategy<Value = Part> {
    let byte = prop_oneof![Just(0u8), Just(1), Just(0xFF), any::<u8>()];
    let text = "[\0\u{1}a-cé\u{10FFFF}]{1,4}";
    (text, any_number(), vec(byte, 1..4))
}

fn wide_item(partition: &Part, sort: &Part) -> Item {
    let side = |prefix: &str, part: &Part| {
        [
            (format!("{prefix}s"), Value::S(part.0.clone())),
            (format!("{prefix}n"), Value::N(part.1)),
            (format!("{prefix}b"), Value::B(part.2.clone())),
        ]
    };
    side("p", partition)
        .into_iter()
        .chain(side("r", sort))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn keys_of_several_attributes_order_as_tuples(a in any_part(), b in any_part()) {
        let (left, right) = (wide_item(&a, &a), wide_item(&a, &b));
        let (left, right) = (wide().bytes(&left).unwrap(), wide().bytes(&right).unwrap());
        prop_assert_eq!(left.sort.cmp(&right.sort), a.cmp(&b));
        prop_assert_eq!(&left.partition, &right.partition);
    }

    #[test]
    fn key_bytes_give_the_key_back(a in any_part(), b in any_part()) {
        let key = wide_item(&a, &b);
        let bytes = wide().admit_key(&key).unwrap();
        prop_assert_eq!(wide().key_item(&bytes.partition, &bytes.sort), Some(key));
    }

    #[test]
    fn prefixes_cover_exactly_their_keys(a in any_part(), b in any_part(), cut in 0usize..3) {
        let sort = wide().bytes(&wide_item(&a, &b)).unwrap().sort;
        let equal = wide().sort_prefix(&[Value::S(a.0.clone()), Value::N(a.1)], false).unwrap();
        prop_assert_eq!(sort.starts_with(&equal), a.0 == b.0 && a.1 == b.1);
        let beginning: String = b.0.chars().take(cut).collect();
        let open = wide().sort_prefix(&[Value::S(beginning)], true).unwrap();
        prop_assert!(sort.starts_with(&open));
        let open = wide().sort_prefix(&[Value::S(a.0.clone())], true).unwrap();
        prop_assert_eq!(sort.starts_with(&open), b.0.starts_with(&a.0));
    }

    #[test]
    fn any_bytes_give_a_key_or_none(partition in vec(any::<u8>(), 0..40), sort in vec(any::<u8>(), 0..40)) {
        for schema in [table(), wide()] {
            if let Some(key) = schema.key_item(&partition, &sort) {
                let bytes = schema.bytes(&key).unwrap();
                prop_assert_eq!((&bytes.partition, &bytes.sort), (&partition, &sort));
            }
        }
    }
}
