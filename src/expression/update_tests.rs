//! Tests of [`super`], apart only for length.

use super::*;
use crate::expression::touched_values;
use proptest::prelude::*;

fn n(number: i64) -> Value {
    Value::N(Number::from(number))
}

fn s(text: &str) -> Value {
    Value::S(text.into())
}

fn list(numbers: &[i64]) -> Value {
    Value::L(numbers.iter().copied().map(n).collect())
}

fn map(fields: &[(&str, Value)]) -> Value {
    Value::M(
        fields
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect(),
    )
}

fn numbers(numbers: &[i64]) -> Value {
    Value::Ns(numbers.iter().copied().map(Number::from).collect())
}

/// `a.b[0]` as in expressions.
fn path(text: &str) -> Path {
    let mut parts = text.split(['.', '[']);
    let root = parts.next().unwrap_or_default().to_string();
    let step = |part: &str| match part.strip_suffix(']') {
        Some(index) => Step::Index(index.parse().unwrap()),
        None => Step::Field(part.to_string()),
    };
    Path {
        root,
        steps: parts.map(step).collect(),
    }
}

fn key() -> Item {
    Item::from([("p".into(), s("k"))])
}

fn item(fields: &[(&str, Value)]) -> Item {
    let fields = fields
        .iter()
        .map(|(name, value)| (name.to_string(), value.clone()));
    key().into_iter().chain(fields).collect()
}

fn read(text: &str) -> SetOperand {
    SetOperand::Path(path(text))
}

fn set(target: &str, value: Value) -> (Path, SetValue) {
    (path(target), SetValue::Operand(SetOperand::Value(value)))
}

fn copy(target: &str, source: &str) -> (Path, SetValue) {
    (path(target), SetValue::Operand(read(source)))
}

fn sets(set: Vec<(Path, SetValue)>) -> Update {
    Update {
        set,
        ..Update::default()
    }
}

fn removes(paths: &[&str]) -> Update {
    Update {
        remove: paths.iter().map(|text| path(text)).collect(),
        ..Update::default()
    }
}

fn adds(target: &str, value: Value) -> Update {
    Update {
        add: vec![(path(target), value)],
        ..Update::default()
    }
}

fn deletes(target: &str, value: Value) -> Update {
    Update {
        delete: vec![(path(target), value)],
        ..Update::default()
    }
}

fn after(update: &Update, before: &Item) -> Item {
    update.apply(before, &key()).unwrap().0
}

fn refusal(update: &Update, before: &Item) -> String {
    update.apply(before, &key()).unwrap_err().0
}

#[test]
fn right_hand_sides_read_the_item_before() {
    let before = item(&[("a", n(1)), ("b", n(2))]);
    let swap = sets(vec![copy("a", "b"), copy("b", "a")]);
    assert_eq!(after(&swap, &before), item(&[("a", n(2)), ("b", n(1))]));
    let moved = Update {
        remove: vec![path("a")],
        ..sets(vec![copy("c", "a")])
    };
    assert_eq!(after(&moved, &before), item(&[("b", n(2)), ("c", n(1))]));
    let unseen = sets(vec![set("x", n(1)), copy("y", "x")]);
    assert_eq!(refusal(&unseen, &before), MISSING_ATTRIBUTE);
    let keyed = after(&sets(vec![copy("y", "p")]), &Item::new());
    assert_eq!(keyed.get("y"), keyed.get("p"));
}

#[test]
fn arithmetic_needs_numbers() {
    let before = item(&[("a", n(42)), ("t", s("x"))]);
    let plus = |source: &str| {
        sets(vec![(
            path("r"),
            SetValue::Plus(read(source), SetOperand::Value(n(7))),
        )])
    };
    assert_eq!(after(&plus("a"), &before).get("r"), Some(&n(49)));
    assert_eq!(refusal(&plus("t"), &before), INCORRECT_TYPE);
    assert_eq!(refusal(&plus("q"), &before), MISSING_ATTRIBUTE);
    let grouped = SetOperand::Group(Box::new(SetValue::Minus(
        read("a"),
        SetOperand::Value(n(2)),
    )));
    let minus = sets(vec![(
        path("r"),
        SetValue::Minus(SetOperand::Value(n(7)), grouped),
    )]);
    assert_eq!(after(&minus, &before).get("r"), Some(&n(-33)));
}

#[test]
fn if_not_exists_and_list_append_nest() {
    let fallback = SetOperand::IfNotExists(path("l"), Box::new(SetOperand::Value(list(&[]))));
    let append =
        SetOperand::ListAppend(Box::new(fallback), Box::new(SetOperand::Value(list(&[9]))));
    let update = sets(vec![(path("l"), SetValue::Operand(append))]);
    assert_eq!(after(&update, &Item::new()), item(&[("l", list(&[9]))]));
    assert_eq!(
        after(&update, &item(&[("l", list(&[1]))])),
        item(&[("l", list(&[1, 9]))])
    );
    assert_eq!(refusal(&update, &item(&[("l", n(1))])), INCORRECT_TYPE);
    let null = SetOperand::IfNotExists(path("z"), Box::new(SetOperand::Value(n(1))));
    let update = sets(vec![(path("r"), SetValue::Operand(null))]);
    assert_eq!(
        after(&update, &item(&[("z", Value::Null)])).get("r"),
        Some(&Value::Null)
    );
}

#[test]
fn elements_beyond_the_end_are_appended_by_index() {
    let before = item(&[("a", list(&[1, 2, 3]))]);
    let update = sets(vec![
        set("a[84]", n(84)),
        set("a[3]", n(4)),
        set("a[17]", n(17)),
        set("a[0]", n(0)),
    ]);
    assert_eq!(
        after(&update, &before),
        item(&[("a", list(&[0, 2, 3, 4, 17, 84]))])
    );
    let update = Update {
        remove: vec![path("a[0]"), path("a[3]")],
        ..sets(vec![set("a[9]", n(9))])
    };
    assert_eq!(after(&update, &before), item(&[("a", list(&[2, 3, 9]))]));
}

#[test]
fn indexes_refer_to_the_old_list() {
    let before = item(&[("a", list(&[2, 3, 4, 5, 6, 7]))]);
    let update = Update {
        remove: vec![path("a[1]")],
        ..sets(vec![set("a[3]", n(17))])
    };
    assert_eq!(
        after(&update, &before),
        item(&[("a", list(&[2, 4, 17, 6, 7]))])
    );
    let nested = item(&[(
        "a",
        Value::L(vec![n(0), map(&[("l", list(&[1, 2])), ("x", n(1))])]),
    )]);
    let update = removes(&["a[0]", "a[1].l[0]", "a[1].x"]);
    assert_eq!(
        after(&update, &nested),
        item(&[("a", Value::L(vec![map(&[("l", list(&[2]))])]))])
    );
}

#[test]
fn parents_must_exist_and_be_containers() {
    let before = item(&[
        ("a", s("hello")),
        ("b", Value::L(vec![s("hi")])),
        ("m", map(&[])),
    ]);
    for target in ["a.c", "b.c", "c.c", "a[0]", "c[0]", "m[0]", "m.x.y"] {
        assert_eq!(
            refusal(&sets(vec![set(target, n(1))]), &before),
            INVALID_PATH,
            "{target}"
        );
        assert_eq!(
            refusal(&removes(&[target]), &before),
            INVALID_PATH,
            "{target}"
        );
        assert_eq!(
            refusal(&adds(target, n(1)), &before),
            INVALID_PATH,
            "{target}"
        );
        assert_eq!(
            refusal(&deletes(target, numbers(&[1])), &before),
            INVALID_PATH,
            "{target}"
        );
    }
    assert_eq!(
        refusal(&sets(vec![set("c.c", n(1))]), &Item::new()),
        INVALID_PATH
    );
    assert_eq!(after(&removes(&["x.y", "x[0]"]), &Item::new()), key());
    assert_eq!(after(&removes(&["m.y", "b[7]", "c"]), &before), before);
    assert_eq!(
        after(&removes(&["b[0]"]), &before).get("b"),
        Some(&list(&[]))
    );
}

#[test]
fn add_sums_and_unites() {
    let before = item(&[("a", n(7)), ("s", numbers(&[1, 2])), ("l", list(&[1]))]);
    assert_eq!(after(&adds("a", n(2)), &before).get("a"), Some(&n(9)));
    assert_eq!(after(&adds("q", n(2)), &before).get("q"), Some(&n(2)));
    assert_eq!(
        after(&adds("s", numbers(&[2, 3])), &before).get("s"),
        Some(&numbers(&[1, 2, 3]))
    );
    assert_eq!(refusal(&adds("s", n(1)), &before), INCORRECT_TYPE);
    assert_eq!(refusal(&adds("l", list(&[1])), &before), INCORRECT_TYPE);
    let legacy = |update| Update {
        legacy: true,
        ..update
    };
    assert_eq!(
        after(&legacy(adds("l", list(&[1]))), &before).get("l"),
        Some(&list(&[1, 1]))
    );
    assert_eq!(refusal(&legacy(adds("l", n(1))), &before), TYPE_MISMATCH);
}

#[test]
fn delete_takes_from_sets_and_leaves_no_empty_one() {
    let before = item(&[
        ("a", n(7)),
        ("s", numbers(&[1, 2])),
        ("m", map(&[("s", numbers(&[1]))])),
    ]);
    assert_eq!(
        after(&deletes("s", numbers(&[2, 3])), &before).get("s"),
        Some(&numbers(&[1]))
    );
    assert_eq!(
        after(&deletes("s", numbers(&[1, 2])), &before).get("s"),
        None
    );
    assert_eq!(
        after(&deletes("m.s", numbers(&[1])), &before).get("m"),
        Some(&map(&[]))
    );
    assert_eq!(after(&deletes("q", numbers(&[1])), &before), before);
    assert_eq!(
        refusal(&deletes("a", numbers(&[1])), &before),
        INCORRECT_TYPE
    );
    let legacy = Update {
        legacy: true,
        ..deletes("a", numbers(&[1]))
    };
    assert_eq!(refusal(&legacy, &before), TYPE_MISMATCH);
}

#[test]
fn only_pure_removals_create_nothing() {
    assert!(Update::default().creates_item());
    assert!(sets(vec![set("a", n(1))]).creates_item());
    assert!(adds("a", n(1)).creates_item());
    assert!(!removes(&["a"]).creates_item());
    assert!(!deletes("a", numbers(&[1])).creates_item());
    assert_eq!(after(&Update::default(), &Item::new()), key());
}

#[test]
fn touched_fragments_are_read_literally() {
    let before = item(&[("a", map(&[("b", s("dog")), ("c", list(&[1, 2, 3]))]))]);
    let fragment = |update: &Update| {
        let (after, touched) = update.apply(&before, &key()).unwrap();
        (
            touched_values(&touched, &before),
            touched_values(&touched, &after),
        )
    };
    let c = |numbers: &[i64]| Item::from([("a".to_string(), map(&[("c", list(numbers))]))]);
    assert_eq!(
        fragment(&sets(vec![set("a.c[1]", n(7))])),
        (c(&[2]), c(&[7]))
    );
    assert_eq!(
        fragment(&sets(vec![set("a.c[100]", n(7))])),
        (Item::new(), Item::new())
    );
    assert_eq!(
        fragment(&removes(&["a.c[1]", "a.c[5]"])),
        (c(&[2]), c(&[3]))
    );
    assert_eq!(fragment(&removes(&["q"])), (Item::new(), Item::new()));
}

#[test]
fn growth_by_copying_is_bounded() {
    let mut deep = n(1);
    for _ in 0..NESTING_MAX {
        deep = map(&[("a", deep)]);
    }
    let before = item(&[("m", map(&[])), ("d", deep), ("s", s(&"x".repeat(300_000)))]);
    assert_eq!(
        after(&sets(vec![copy("e", "d")]), &before).get("e"),
        before.get("d")
    );
    assert_eq!(refusal(&sets(vec![copy("m.x", "d")]), &before), TOO_DEEP);
    assert_eq!(
        refusal(&sets(vec![copy("x", "s"), copy("y", "s")]), &before),
        TOO_LARGE
    );
}

proptest! {
    #[test]
    fn lists_follow_the_simple_model(
        old in prop::collection::vec(0i64..9, 0..8),
        writes in prop::collection::btree_map(0usize..12, 10i64..99, 0..6),
        gone in prop::collection::btree_set(0usize..12, 0..6),
    ) {
        let writes: BTreeMap<usize, i64> = writes.into_iter().filter(|(index, _)| !gone.contains(index)).collect();
        let update = Update {
            set: writes.iter().rev().map(|(index, value)| set(&format!("a[{index}]"), n(*value))).collect(),
            remove: gone.iter().map(|index| path(&format!("a[{index}]"))).collect(),
            ..Update::default()
        };
        let kept = old.iter().enumerate().filter(|(index, _)| !gone.contains(index));
        let kept = kept.map(|(index, value)| *writes.get(&index).unwrap_or(value));
        let appended = writes.range(old.len()..).map(|(_, value)| *value);
        let expected: Vec<i64> = kept.chain(appended).collect();
        prop_assert_eq!(after(&update, &item(&[("a", list(&old))])), item(&[("a", list(&expected))]));
    }
}
