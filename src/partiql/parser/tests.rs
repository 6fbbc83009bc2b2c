use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::expression::{Comparator, Operand, SetOperand, SetValue};
use crate::item::value::tests::{any_item, nested_lists};
use crate::item::{Item, Number};

fn s(text: &str) -> Value {
    Value::S(text.into())
}

fn n(number: i64) -> Value {
    Value::N(Number::from(number))
}

fn select(source: &str) -> Select {
    match parse(source, &[]) {
        Ok(Statement::Select(select)) => select,
        other => panic!("{source}: {other:?}"),
    }
}

fn updated(source: &str) -> UpdateStatement {
    match parse(source, &[]) {
        Ok(Statement::Update(update)) => update,
        other => panic!("{source}: {other:?}"),
    }
}

fn inserted(source: &str) -> Item {
    match parse(source, &[]) {
        Ok(Statement::Insert(insert)) => insert.item,
        other => panic!("{source}: {other:?}"),
    }
}

/// What is said of a statement, without the envelope of those that are none.
fn complaint(source: &str) -> String {
    match parse(source, &[]) {
        Err(PartiqlError::Malformed(detail)) => format!("! {detail}"),
        Err(PartiqlError::Invalid(message)) => message,
        Ok(statement) => panic!("{source}: {statement:?}"),
    }
}

fn equals(left: Operand, right: Value) -> Condition {
    Condition::Compare {
        left,
        op: Comparator::Eq,
        right: Operand::Value(right),
    }
}

fn at(name: &str) -> Operand {
    Operand::Path(Path::attribute(name))
}

#[test]
fn a_select_has_all_its_clauses() {
    let all = "select * From \"T\".\"I\" WHERE pk = 'a' and size(\"s\") = -2 order by sk DESC, pk;";
    let parsed = select(all);
    assert_eq!(
        (parsed.table.as_str(), parsed.index.as_deref()),
        ("T", Some("I"))
    );
    assert_eq!(parsed.columns, None);
    let size = Operand::Size(Box::new(at("s")));
    let both = Condition::And(
        Box::new(equals(at("pk"), s("a"))),
        Box::new(equals(size, n(-2))),
    );
    assert_eq!(parsed.filter, Some(both));
    let order: Vec<_> = parsed
        .order
        .iter()
        .map(|o| (o.attribute.as_str(), o.descending))
        .collect();
    assert_eq!(order, [("sk", true), ("pk", false)]);
}

#[test]
fn columns_are_named_by_their_last_part() {
    let parsed = select("SELECT a, m.k[1], \"m.z\", m['x'] FROM t")
        .columns
        .expect("columns");
    let names: Vec<_> = parsed.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a", "k[1]", "m.z", "x"]);
    assert_eq!(parsed[1].path.to_string(), "[m, k, [1]]");
    assert_eq!(
        complaint("SELECT a.z, b.z FROM t"),
        "Duplicate identifiers in select clause: z"
    );
}

#[test]
fn connectives_bind_as_they_should() {
    let condition = |text: &str| select(&format!("SELECT * FROM t WHERE {text}")).filter;
    for (plain, grouped) in [
        ("a=1 OR b=2 AND c=3", "a=1 OR (b=2 AND c=3)"),
        ("NOT a=1 AND b=2", "(NOT a=1) AND b=2"),
        ("NOT NOT a=1 OR b=2", "((NOT (NOT (a=1))) OR b=2)"),
        ("a=1 AND b=2 AND c=3", "(a=1 AND b=2) AND c=3"),
        ("a BETWEEN 1 AND 2 AND c=3", "(a BETWEEN 1 AND 2) AND (c=3)"),
        ("a NOT IN [1,2]", "NOT a IN (1,2)"),
        ("a NOT BETWEEN 1 AND 2", "NOT (a BETWEEN 1 AND 2)"),
        ("a IS NOT MISSING", "NOT attribute_not_exists(a)"),
        ("attribute_exists(a) = FALSE", "NOT ATTRIBUTE_EXISTS(a)"),
        ("attribute_exists(a) <> false", "attribute_exists(\"a\")"),
        ("a IS NULL", "attribute_type(a, 'NULL')"),
        ("a != 1", "a <> 1"),
    ] {
        assert_eq!(condition(plain), condition(grouped), "{plain}");
    }
}

#[test]
fn updates_come_in_both_orders_and_several_clauses() {
    let first = updated(
        "UPDATE t SET a=1, b.c = b.c - 1 REMOVE d SET e=set_add(e,<<'x'>>) WHERE k='x' RETURNING ALL NEW *",
    );
    let second = updated(
        "FROM t WHERE k='x' SET a=1 SET b.c = b.c-1 SET e = SET_ADD(e, <<'x'>>) REMOVE d RETURNING ALL NEW *",
    );
    assert_eq!(first, second);
    assert_eq!(first.returning, Some(Returning::AllNew));
    assert_eq!(
        first.update.add,
        [(Path::attribute("e"), Value::Ss(["x".into()].into()))]
    );
    let appended = updated("UPDATE t SET l = list_append(if_not_exists(l, []), [1]) WHERE k='x'");
    let SetValue::Operand(SetOperand::ListAppend(head, _)) = &appended.update.set[0].1 else {
        panic!("{appended:?}");
    };
    assert!(matches!(head.as_ref(), SetOperand::IfNotExists(..)));
}

#[test]
fn parameters_go_to_their_places() {
    let given = [s("a"), n(1), n(2)];
    let parsed = parse("SELECT * FROM t WHERE a = ? AND b IN [?]", &given);
    let Ok(Statement::Select(parsed)) = parsed else {
        panic!("{parsed:?}");
    };
    assert_eq!(
        parsed.filter,
        select("SELECT * FROM t WHERE a='a' AND b IN [1]").filter
    );
    assert_eq!(
        parse(
            "INSERT INTO t VALUE {'a': [?, {'b': ?}], 'c': ?, 'd': ?}",
            &given
        ),
        Err(invalid(
            "Number of parameters in request and statement don't match."
        ))
    );
    let whole = [Value::M(Item::from([("pk".into(), s("a"))]))];
    assert!(parse("INSERT INTO t VALUE ?", &whole).is_ok());
    assert!(parse("SELECT * FROM ?", &whole).is_err());
    assert!(parse("INSERT INTO t VALUE {'s': <<?>>}", &given).is_err());
}

#[test]
fn numbers_are_exact() {
    let item =
        inserted("INSERT INTO t VALUE {'a': 7.31E+6, 'b': -.73e1, 'c': 73100000e-1, 'd': +1}");
    assert_eq!(item["a"], n(7_310_000));
    assert_eq!(item["a"], item["c"]);
    assert_eq!(
        item["b"],
        Value::N(Number::parse("-7.3").expect("a number"))
    );
    let over =
        "Number overflow. Attempting to store a number with magnitude larger than supported range";
    for (value, where_) in [
        ("1e126", "root"),
        ("{'x': 1e126}", "root.x"),
        ("[1, {'y':[1e126]}]", "root[1].y[0]"),
    ] {
        let source = format!("INSERT INTO t VALUE {{'a': {value}}}");
        assert_eq!(complaint(&source), format!("{over} under {where_}"));
    }
    for number in ["1e2147483648", "1e99999999999", "1.5e-2147483647"] {
        assert_eq!(
            complaint(&format!("SELECT * FROM t WHERE a = {number}")),
            "! "
        );
    }
}

#[test]
fn statements_that_are_none_are_refused() {
    let left_over = "! Unexpected token after expression";
    for source in [
        "SELECT * FROM t WHERE pk = 1 foo",
        "SELECT * FROM t WHERE pk = 1 e5",
        "INSERT INTO t VALUE {'pk': 1} foo",
        "UPDATE t SET a = 9 WHERE pk = 1 foo",
        "DELETE FROM t WHERE pk = 1 ORDER BY pk",
        "SELECT * FROM t WHERE pk = 1)",
        "SELECT * FROM t ORDER BY pk WHERE pk = 1",
        "INSERT INTO t x VALUE {'pk': 'x'}",
        "SELECT * FROM t; SELECT * FROM t",
    ] {
        assert_eq!(complaint(source), left_over, "{source}");
    }
    for source in [
        "SELECT * FROM t x WHERE a=1",
        "SELECT * FROM t AS x",
        "UPDATE t x SET a=3",
        "DELETE FROM t x",
    ] {
        assert_eq!(complaint(source), "Aliasing is not supported", "{source}");
    }
    for source in [
        "SLECT * FROM t",
        "",
        "CREATE TABLE x",
        "UPDATE a-b SET c=1",
        "INSERT t",
    ] {
        assert_eq!(
            complaint(source),
            "! Expected data manipulation",
            "{source}"
        );
    }
    assert_eq!(
        complaint("SELECT * FROM t WHERE (a = 1"),
        "! Expected RIGHT_PAREN"
    );
    assert_eq!(
        complaint("SELECT * FROM t WHERE key = 1"),
        "! Unexpected keyword"
    );
    assert_eq!(
        complaint("SELECT m.inner FROM t"),
        "! Invalid path dot component"
    );
    assert_eq!(
        complaint("SELECT * FROM t LIMIT 5"),
        "Unsupported clause: LIMIT at 1:17:5"
    );
    assert_eq!(
        complaint("SELECT COUNT(*) FROM t"),
        "Unexpected path component at 1:8:5"
    );
}

#[test]
fn functions_and_operands_are_checked() {
    let filter = |text: &str| complaint(&format!("SELECT * FROM t WHERE {text}"));
    for (text, message) in [
        ("EXISTS(ss)", "Unrecognized function: exists at 1:23:6"),
        (
            "set_add(a, <<1>>) = a",
            "Unrecognized function: set_add at 1:23:7",
        ),
        (
            "attribute_exists('a')",
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        (
            "attribute_exists()",
            "Incorrect number of operands for operator or function; operator or function: attribute_exists, number of operands: 0",
        ),
        (
            "a <= TRUE",
            "Incorrect operand type for operator or function; operator or function: <=, operand type: BOOL",
        ),
        (
            "a BETWEEN [] AND 1",
            "Incorrect operand type for operator or function; operator or function: BETWEEN, operand type: L",
        ),
        (
            "begins_with(a, 1)",
            "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
        ),
    ] {
        assert_eq!(filter(text), message, "{text}");
    }
    let set = |text: &str| complaint(&format!("UPDATE t SET {text} WHERE pk = 'x'"));
    for (text, message) in [
        (
            "t = set_add(ss, <<'x'>>)",
            "The first argument to SET_ADD must equal the assignment value at 1:18:7",
        ),
        (
            "ss = set_delete(ss, 'x')",
            "The second argument to SET_DELETE must be a value with type SET at 1:30:2",
        ),
        (
            "ss = set_add(ss)",
            "SET_ADD must have exactly two arguments at 1:19:7",
        ),
        ("ss = set_add(ss, <<>>)", "Empty bags are not supported"),
        (
            "ss = set_add(ss, <<'x', 'x'>>)",
            "One or more parameter values were invalid: Input collection [x, x] contains duplicates.",
        ),
        (
            "a = 1 SET a.b = 2",
            "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
        ),
    ] {
        assert_eq!(set(text), message, "{text}");
    }
    assert_eq!(
        complaint("INSERT INTO t VALUE {'pk': 'x', 's': set_add(<<'a'>>)}"),
        "Unsupported data type: set_add under key root at 1:38:7"
    );
    assert_eq!(
        complaint("DELETE FROM t WHERE a=1 RETURNING MODIFIED OLD *"),
        "Invalid returning clause: RETURNING MODIFIED OLD *. Only RETURNING ALL OLD * is allowed in DELETE statements."
    );
}

#[test]
fn nothing_nests_without_end() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(1000), close.repeat(1000));
    for source in [
        format!("INSERT INTO t VALUE {{'a': {}}}", deep("[", "]")),
        format!("INSERT INTO t VALUE {{'a': {}}}", deep("{'b':", "}")),
        format!("SELECT * FROM t WHERE {}", deep("(", ")")),
        format!("SELECT * FROM t WHERE {} a = 1", "NOT ".repeat(1000)),
        format!("SELECT * FROM t WHERE {} a = 1", "a=1 AND ".repeat(1000)),
        format!("SELECT a{} FROM t", "[0]".repeat(1000)),
        format!("SELECT {} FROM t", deep("size(", ")")),
        format!("UPDATE t SET a = {}", deep("list_append(", ",a)")),
        format!("UPDATE t SET a = 1{}", "+1".repeat(1000)),
        "x".repeat(9000),
    ] {
        assert!(parse(&source, &[]).is_err(), "{source}");
    }
    let levels = |count| {
        format!(
            "INSERT INTO t VALUE {{'a': {}}}",
            literal(&nested_lists(count))
        )
    };
    assert!(parse(&levels(32), &[]).is_ok());
    assert!(complaint(&levels(33)).starts_with("Nesting Levels"));
    let source = "INSERT INTO t VALUE {'a': [?]}";
    assert!(parse(source, &[nested_lists(31)]).is_ok());
    assert!(parse(source, &[nested_lists(32)]).is_err());
}

/// A value as a literal. There are none of binary.
fn literal(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::S(text) => format!("'{}'", text.replace('\'', "''")),
        Value::N(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::B(_) | Value::Bs(_) | Value::Null => "NULL".into(),
        Value::Ss(set) => {
            let members = set.iter().map(|text| literal(&s(text)));
            format!("<<{}>>", joined(members.collect()))
        }
        Value::Ns(set) => format!(
            "<<{}>>",
            joined(set.iter().map(Number::to_string).collect())
        ),
        Value::L(list) => format!("[{}]", joined(list.iter().map(literal).collect())),
        Value::M(map) => format!("{{{}}}", fields(map)),
    }
}

fn fields(map: &BTreeMap<String, Value>) -> String {
    let field =
        |(name, value): (&String, &Value)| format!("{}: {}", literal(&s(name)), literal(value));
    map.iter().map(field).collect::<Vec<_>>().join(", ")
}

/// The value with binaries, which have no literals, replaced.
fn spoken(value: Value) -> Value {
    match value {
        Value::B(_) | Value::Bs(_) => Value::Null,
        Value::L(list) => Value::L(list.into_iter().map(spoken).collect()),
        Value::M(map) => Value::M(map.into_iter().map(|(k, v)| (k, spoken(v))).collect()),
        other => other,
    }
}

/// Tokens that belong to statements, in no order.
fn soup() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "SELECT",
        "*",
        "FROM",
        "\"t\"",
        "WHERE",
        "INSERT INTO",
        "VALUE",
        "UPDATE",
        "SET",
        "REMOVE",
        "DELETE",
        "RETURNING",
        "ALL",
        "OLD",
        "ORDER BY",
        "AND",
        "OR",
        "NOT",
        "BETWEEN",
        "IN",
        "IS",
        "MISSING",
        "NULL",
        "EXISTS",
        "size",
        "begins_with",
        "list_append",
        "set_add",
        "pk",
        "a.b",
        "a[0]",
        "?",
        "'x'",
        "1",
        "-",
        "1e5",
        ".5",
        "=",
        "<",
        "<>",
        "<<",
        ">>",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        ".",
        ";",
        "--",
        "/*",
        "*/",
        "'",
        "\"",
        "+",
        "TRUE",
        "é",
    ]);
    prop::collection::vec(words, 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_statement_panics(text in "\\PC{0,80}", soup in soup(), mixed in any::<String>()) {
        let given = [s("p"), n(1)];
        for source in [
            text.as_str(),
            soup.as_str(),
            mixed.as_str(),
            &format!("SELECT * FROM t WHERE {soup}"),
            &format!("UPDATE t SET {soup}"),
            &format!("INSERT INTO t VALUE {{'a': {soup}}}"),
        ] {
            parse(source, &given).ok();
        }
    }

    #[test]
    fn literals_are_read_as_they_are_written(item in any_item()) {
        let item: Item = item.into_iter().map(|(name, value)| (name, spoken(value))).collect();
        let source = format!("INSERT INTO \"t\" VALUE {{{}}}", fields(&item));
        prop_assume!(source.chars().count() <= STATEMENT_MAX);
        let parsed = parse(&source, &[]);
        prop_assert_eq!(parsed, Ok(Statement::Insert(Insert { table: "t".into(), item })));
    }
}
