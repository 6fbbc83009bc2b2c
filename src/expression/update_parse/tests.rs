//! Messages and trees, as measured on DynamoDB and by its emulators' tests.

use std::collections::BTreeMap;

use super::*;
use crate::item::Number;
use proptest::prelude::*;

fn number() -> Value {
    Value::N(Number::parse("1").unwrap())
}

fn placeholders() -> Placeholders {
    let values = [
        (":s", Value::S("a".into())),
        (":n", number()),
        (":b", Value::B(b"a".to_vec())),
        (":bool", Value::Bool(true)),
        (":null", Value::Null),
        (":l", Value::L(vec![])),
        (":m", Value::M(BTreeMap::new())),
        (":ss", Value::Ss(["a".to_owned()].into())),
    ];
    let values = values
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let names = [("#c", "c"), ("#d", "[3]")];
    let names = names
        .into_iter()
        .map(|(key, name)| (key.to_owned(), name.to_owned()))
        .collect();
    Placeholders::new(Some(names), Some(values)).unwrap()
}

fn parse(source: &str) -> Result<Update, ExpressionError> {
    parse_update(source, &mut placeholders())
}

fn detail(source: &str) -> String {
    let message = parse(source).expect_err(source).0;
    message
        .strip_prefix("Invalid UpdateExpression: ")
        .expect("the kind is named")
        .to_owned()
}

fn path(root: &str) -> Path {
    Path {
        root: root.into(),
        steps: vec![],
    }
}

fn operand(root: &str) -> SetOperand {
    SetOperand::Path(path(root))
}

#[test]
fn sections_come_in_any_order_and_case() {
    let update = parse("remove p, q.r ADD s :n Set t = :s, #c = t delete u :ss").unwrap();
    assert_eq!(update.remove.len(), 2);
    assert_eq!(update.add, [(path("s"), number())]);
    assert_eq!(update.delete.len(), 1);
    let value = SetOperand::Value(Value::S("a".into()));
    assert_eq!(
        update.set,
        [
            (path("t"), SetValue::Operand(value)),
            (path("c"), SetValue::Operand(operand("t")))
        ]
    );
}

#[test]
fn right_hand_sides() {
    let set = |source: &str| parse(source).expect(source).set.remove(0).1;
    let sum = SetValue::Plus(operand("p"), operand("q"));
    for source in ["set a = p + q", "set a = (p + q)", "set a = ((p)+(q))"] {
        assert_eq!(set(source), sum, "{source}");
    }
    assert_eq!(
        set("set a = (p + q) - r"),
        SetValue::Minus(SetOperand::Group(Box::new(sum)), operand("r"))
    );
    let default = SetOperand::IfNotExists(path("p"), Box::new(SetOperand::Value(Value::L(vec![]))));
    assert_eq!(
        set("set a = list_append(if_not_exists(p, :l), (q))"),
        SetValue::Operand(SetOperand::ListAppend(
            Box::new(default),
            Box::new(operand("q"))
        ))
    );
    assert!(parse("set a = if_not_exists(p, :n) + if_not_exists(q, if_not_exists(r, :n))").is_ok());
}

#[test]
fn syntax_errors() {
    for (source, token, near) in [
        ("INVALID SYNTAX HERE", "INVALID", "INVALID SYNTAX"),
        ("SET _123 = :n", "_", "SET _123"),
        ("SET", "<EOF>", "SET"),
        ("SET a = :n,", "<EOF>", ","),
        ("set a", "<EOF>", "a"),
        ("add a", "<EOF>", "a"),
        ("set a=set", "set", "=set"),
        ("remove a = b", "=", "a = b"),
        ("add a = b", "=", "a = b"),
        ("delete a b", "b", "a b"),
        ("add abort b", "b", "abort b"),
        ("remove a b", "b", "a b"),
        ("set :a = b", ":a", "set :a ="),
        ("set a = b / c", "/", "b / c"),
        ("set a = b + c + d", "+", "c + d"),
        ("set a[1] = 1", "1", "= 1"),
        ("set (a = (b + c))", "(", "set (a"),
        ("set a = (b.c).d + e", ".", ").d"),
        ("set a = if_not_exists(c, :n+:n)", "+", ":n+:n"),
        ("SET if_not_exists(a, b) = a", "(", "if_not_exists(a"),
        ("SET hi-there = :n", "-", "hi-there"),
        ("SET a = _f(b)", "_", "= _f"),
    ] {
        assert_eq!(
            detail(source),
            format!("Syntax error; token: \"{token}\", near: \"{near}\""),
            "{source}"
        );
    }
    assert_eq!(detail(""), "The expression can not be empty;");
}

#[test]
fn checks_come_in_dynamodbs_order() {
    let reserved = "Attribute name is a reserved keyword; reserved keyword";
    assert_eq!(
        detail(" set #x = :x set abOrt = true "),
        format!("{reserved}: abOrt")
    );
    assert_eq!(
        detail("set #x = dog(:x) set a = b"),
        "Invalid function name; function: dog"
    );
    for (source, section) in [
        ("set a = #x set c = :x", "SET"),
        ("remove #x set a = b remove e", "REMOVE"),
        ("add #x :n set a = b add e :f", "ADD"),
        ("delete #x :x set a = b delete #e :f", "DELETE"),
    ] {
        let expected =
            format!("The \"{section}\" section can only be used once in an update expression;");
        assert_eq!(detail(source), expected, "{source}");
    }
    assert!(detail("set a = if_not_exists(:x), b = #x").ends_with("attribute name: #x"));
    assert!(detail("set a = if_not_exists(:x), a = b").ends_with("attribute value: :x"));
    assert!(detail("set a = if_not_exists(b), a = b").starts_with("Two document paths overlap"));
    assert!(
        detail("set b = list_append(:s, a), d = if_not_exists(a) add a.b :s")
            .ends_with("operand type: STRING")
    );
}

#[test]
fn targets_must_not_meet_across_sections() {
    for (source, how, first, second) in [
        (
            "set d[1] = a, d.b = a, c[1].a = a, #c = if_not_exists(a)",
            "overlap",
            "[c, [1], a]",
            "[c]",
        ),
        (
            "set #c[3].#d = a, #c[3] = a",
            "overlap",
            "[c, [3], [3]]",
            "[c, [3]]",
        ),
        ("remove a set a = :n", "overlap", "[a]", "[a]"),
        (
            "set #c[3].#d = a, #c.#d[3] = if_not_exists(a)",
            "conflict",
            "[c, [3], [3]]",
            "[c, [3], [3]]",
        ),
        (
            "remove a.#c set a[1] = #d",
            "conflict",
            "[a, c]",
            "[a, [1]]",
        ),
    ] {
        let expected = format!(
            "Two document paths {how} with each other; must remove or rewrite one of these paths; \
             path one: {first}, path two: {second}"
        );
        assert_eq!(detail(source), expected, "{source}");
    }
    assert!(parse("remove a set b = a").is_ok());
}

#[test]
fn literals_of_impossible_types_are_refused() {
    for (source, operator, found) in [
        ("add a.b :s", "ADD", "STRING"),
        ("add a.b :null", "ADD", "NULL"),
        ("delete a.b :bool", "DELETE", "BOOLEAN"),
        ("add a.b :b", "ADD", "BINARY"),
        ("delete a.b :m", "DELETE", "MAP"),
        ("add a.b :l", "ADD", "LIST"),
        ("delete a.b :n", "DELETE", "NUMBER"),
    ] {
        let expected = "Incorrect operand type for operator or function; operator";
        assert_eq!(
            detail(source),
            format!("{expected}: {operator}, operand type: {found}"),
            "{source}"
        );
    }
    for (source, operator, found) in [
        ("set a = list_append(:s, a)", "list_append", "S"),
        ("set a = list_append(a, :n)", "list_append", "N"),
        ("set a = a + :s", "+", "S"),
        ("set a = :s - :b", "-", "S"),
        ("set a = a - :l", "-", "L"),
        ("set a = (a + :ss) - :n", "+", "SS"),
        ("set a = list_append(a, b) + :n", "+", "L"),
    ] {
        let expected = "Incorrect operand type for operator or function; operator or function";
        assert_eq!(
            detail(source),
            format!("{expected}: {operator}, operand type: {found}"),
            "{source}"
        );
    }
    assert!(parse("add a.b :n, c :ss delete d :ss").is_ok());
}

#[test]
fn functions_are_checked() {
    assert_eq!(
        detail("set a = LIST_APPEND(:l, :l)"),
        "Invalid function name; function: LIST_APPEND"
    );
    assert_eq!(
        detail("set a = list_append(c)"),
        "Incorrect number of operands for operator or function; operator or function: list_append, \
         number of operands: 1"
    );
    for source in [
        "set a = if_not_exists(:n, c)",
        "set a = if_not_exists(if_not_exists(a, b), c)",
    ] {
        let expected =
            "Operator or function requires a document path; operator or function: if_not_exists";
        assert_eq!(detail(source), expected, "{source}");
    }
    for (source, name) in [
        (
            "set a = list_append(list_append(:l, :l), :l)",
            "list_append",
        ),
        (
            "set a = if_not_exists(a, list_append(:l, :l))",
            "list_append",
        ),
        ("set a = size(b)", "size"),
    ] {
        let expected = "The function is not allowed to be used this way in an expression; function";
        assert_eq!(detail(source), format!("{expected}: {name}"), "{source}");
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a stack half the usual size needs a thread of its own"
)]
fn nesting_ends_in_an_error_on_a_small_stack() {
    let run = || {
        let deep = |open: &str, core: &str, close: &str, depth: usize| {
            format!(
                "set a = {}{core}{}",
                open.repeat(depth),
                close.repeat(depth)
            )
        };
        assert!(detail(&deep("(", "b", ")", 2000)).contains("redundant"));
        assert!(detail(&deep("(", "b", "", 4000)).starts_with("Syntax error; token: \"<EOF>\""));
        assert!(detail(&deep("(", "b", "+c)", 900)).ends_with("operator count: 301"));
        assert!(parse(&deep("(", "b", "+c)", 300)).is_ok());
        assert!(parse(&deep("if_not_exists(b,", "c", ")", 240)).is_ok());
        assert!(detail(&deep("size(", "b", ")", 600)).ends_with("function: size"));
        assert!(detail(&deep("f(", "b", ")", 1300)).ends_with("function: f"));
    };
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

const PIECES: [&str; 20] = [
    "set ",
    "remove ",
    "add ",
    "delete ",
    "a",
    "b.c",
    "d[0]",
    "#c",
    ":n",
    ":ss",
    "=",
    "+",
    "-",
    ",",
    "(",
    ")",
    "if_not_exists(",
    "list_append(",
    " ",
    "!",
];

proptest! {
    #[test]
    fn no_sequence_of_tokens_panics(picks in prop::collection::vec(0..PIECES.len(), 0..40)) {
        let source: String = picks.iter().filter_map(|pick| PIECES.get(*pick).copied()).collect();
        let _ = parse(&source);
    }
}
