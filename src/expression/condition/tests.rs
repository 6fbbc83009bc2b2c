//! Messages and trees, as measured on DynamoDB and by its emulators' tests.

use std::collections::BTreeMap;

use super::*;
use crate::expression::{Path, Step};
use crate::item::Number;
use proptest::prelude::*;

fn number(text: &str) -> Value {
    Value::N(Number::parse(text).unwrap())
}

fn values(pairs: &[(&str, Value)]) -> Option<BTreeMap<String, Value>> {
    Some(
        pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.clone()))
            .collect(),
    )
}

/// Values are called after their types; `#a` is `a`.
fn placeholders() -> Placeholders {
    let values = values(&[
        (":s", Value::S("a".into())),
        (":s2", Value::S("b".into())),
        (":b", Value::B(b"a".to_vec())),
        (":b2", Value::B(b"b".to_vec())),
        (":n", number("5")),
        (":n2", number("3")),
        (":t", Value::S("SS".into())),
        (":l", Value::L(vec![])),
        (":m", Value::M(BTreeMap::new())),
        (":bool", Value::Bool(true)),
        (":null", Value::Null),
        (":ss", Value::Ss(["a".to_owned()].into())),
    ]);
    let names = BTreeMap::from([
        ("#a".to_owned(), "a".to_owned()),
        ("#d".to_owned(), "x.y".to_owned()),
    ]);
    Placeholders::new(Some(names), values).unwrap()
}

fn parse(source: &str) -> Result<Condition, ExpressionError> {
    parse_condition(ExpressionKind::Filter, source, &mut placeholders())
}

fn detail(source: &str) -> String {
    let message = parse(source).expect_err(source).0;
    message
        .strip_prefix("Invalid FilterExpression: ")
        .expect("the kind is named")
        .to_owned()
}

fn path(root: &str) -> Operand {
    Operand::Path(Path {
        root: root.into(),
        steps: vec![],
    })
}

fn less(left: &str, right: &str) -> Box<Condition> {
    Box::new(Condition::Compare {
        left: path(left),
        op: Comparator::Lt,
        right: path(right),
    })
}

#[test]
fn not_binds_tighter_than_and_than_or() {
    let expected = Condition::Or(
        less("p", "q"),
        Box::new(Condition::And(
            Box::new(Condition::Not(less("r", "s"))),
            less("t", "u"),
        )),
    );
    for source in [
        "p<q or not r<s and t<u",
        "p<q OR ((NOT (r<s)) And t<u)",
        "(p)<(q) oR (not (r<s) AND (t<u))",
    ] {
        assert_eq!(parse(source).unwrap(), expected, "{source}");
    }
    let left = Condition::And(
        Box::new(Condition::And(less("p", "q"), less("r", "s"))),
        less("t", "u"),
    );
    assert_eq!(parse("p<q and r<s and t<u").unwrap(), left);
    assert_eq!(
        parse("not not p<q").unwrap(),
        Condition::Not(Box::new(Condition::Not(less("p", "q"))))
    );
}

#[test]
fn operands_functions_and_paths() {
    let deep = Path {
        root: "p".into(),
        steps: vec![
            Step::Field("x.y".into()),
            Step::Index(12),
            Step::Field("r".into()),
        ],
    };
    assert_eq!(
        parse("attribute_exists (p.#d[12].r)").unwrap(),
        Condition::Exists(deep.clone())
    );
    assert_eq!(
        parse("attribute_not_exists(((p).#d[12]).r)").unwrap(),
        Condition::NotExists(deep)
    );
    assert_eq!(
        parse("size(p) BETWEEN :n2 AND (:n)").unwrap(),
        Condition::Between {
            value: Operand::Size(Box::new(path("p"))),
            low: Operand::Value(number("3")),
            high: Operand::Value(number("5")),
        }
    );
    assert_eq!(
        parse("(p) in (q, :s, size(r))").unwrap(),
        Condition::In {
            value: path("p"),
            list: vec![
                path("q"),
                Operand::Value(Value::S("a".into())),
                Operand::Size(Box::new(path("r")))
            ],
        }
    );
    assert_eq!(
        parse("attribute_type(:n, :t)").unwrap(),
        Condition::HasType(Operand::Value(number("5")), "SS".into())
    );
    assert!(parse("begins_with(p, q) and contains(p, :l) and ((size(p)) < q.r)").is_ok());
    assert!(parse(":s < :s and p <> :l and q = :m and r in (:l, :n)").is_ok());
}

#[test]
fn syntax_errors_show_the_token_and_its_neighbours() {
    for (source, token, near) in [
        ("p", "<EOF>", "p"),
        ("p =  ", "<EOF>", "="),
        ("p != :n", "!", "p !="),
        ("!!", "!", "!!"),
        ("p in ()", ")", "()"),
        ("p in (q, r,)", ")", ",)"),
        ("p > between", "between", "> between"),
        ("p[:n] > q", ":n", "[:n]"),
        ("p[#a] > q", "#a", "[#a]"),
        ("p[-1] > q", "-", "[-1"),
        ("p[] > q", "]", "[] >"),
        ("_f > q", "_", "_f"),
        ("ü > q", "ü", "ü >"),
        ("size(p).q > r", ".", ").q"),
        ("p < q)", ")", "q)"),
        ("(p < q", "<EOF>", "q"),
        ("p between q or r", "or", "q or r"),
        ("contains (p, :n", "<EOF>", ":n"),
        ("p > :n.q", ".", ":n.q"),
        ("attribute_not_exists(", "<EOF>", "("),
        ("things are not gonna be ok", "are", "things are not"),
    ] {
        assert_eq!(
            detail(source),
            format!("Syntax error; token: \"{token}\", near: \"{near}\""),
            "{source}"
        );
    }
}

#[test]
fn size_and_emptiness_come_before_everything() {
    assert_eq!(detail(""), "The expression can not be empty;");
    assert_eq!(detail(" \t"), "The expression can not be empty;");
    let fits = format!("p{} = :n", " ".repeat(4090));
    assert_eq!(fits.len(), 4096);
    assert!(parse(&fits).is_ok());
    for long in [format!("{fits} "), "(".repeat(4097)] {
        let expected =
            "Expression size has exceeded the maximum allowed size; expression size: 4097";
        assert_eq!(detail(&long), expected);
    }
}

#[test]
fn one_spare_pair_of_parentheses_is_fine_two_are_not() {
    for source in [
        "(p < q)",
        "((p) < (q))",
        "((p<q) and r<s)",
        "(((size(p)) < q) and (r < s))",
        "p in ((q), (r))",
    ] {
        assert!(parse(source).is_ok(), "{source}");
    }
    for source in [
        "((p < q))",
        "p<q and r > ((s))",
        "(p)between(((q.c)).d)and(r)",
        "p > whatever((:things), ((q)))",
        "p=a AND ((p=q AND r=s)) AND t=u",
        "p=q AND ((r=s AND (t=u AND v=w)))",
        "p in (((q)))",
    ] {
        assert_eq!(
            detail(source),
            "The expression has redundant parentheses;",
            "{source}"
        );
    }
}

#[test]
fn three_hundred_operators_are_the_most() {
    let nested = |depth: usize| format!("p<q {}{}", "or (p<q ".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(149)).is_ok());
    assert!(parse(&format!("{}p<q", "not ".repeat(299))).is_ok());
    assert!(parse(&format!("{}p<q{}", "not(".repeat(299), ")".repeat(299))).is_ok());
    let expected = "The expression contains too many operators; operator count: 301";
    for source in [
        nested(150),
        nested(454),
        format!("{}p<q", "not ".repeat(1000)),
    ] {
        assert_eq!(detail(&source), expected);
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a stack half the usual size needs a thread of its own"
)]
fn nesting_ends_in_an_error_on_a_small_stack() {
    let deep = |open: &str, core: &str, depth: usize| {
        format!("{}{core}{}", open.repeat(depth), ")".repeat(depth))
    };
    let run = move || {
        assert!(detail(&"(".repeat(4096)).starts_with("Syntax error"));
        assert!(detail(&deep("(", "p<q", 2046)).contains("redundant"));
        assert!(detail(&format!("{} < q", deep("(", "p", 2040))).contains("redundant"));
        assert_eq!(
            detail(&format!("p < {}", deep("f(", "q", 1355))),
            "Invalid function name; function: f"
        );
        assert!(
            detail(&format!("p < {}", deep("size(", "q", 680))).ends_with("size, operand type: N")
        );
        assert!(detail(&deep("contains(", "q", 400)).ends_with("function: contains"));
        assert!(detail(&format!("p < {}", deep("((", "q", 1000))).starts_with("Syntax error"));
    };
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn functions_are_checked_by_name_and_place() {
    for (source, name) in [
        ("p=#z and whatever((:s)) > q", "whatever"),
        ("attRIbute_exIsts((views), #zz)", "attRIbute_exIsts"),
        ("SIZE(p) > q", "SIZE"),
    ] {
        assert_eq!(
            detail(source),
            format!("Invalid function name; function: {name}"),
            "{source}"
        );
    }
    for (source, name) in [
        (
            "p=p and attribute_exists((views), (#zz)) > q",
            "attribute_exists",
        ),
        ("begins_with(p, q) > r", "begins_with"),
        ("size(contains(p, q)) > r", "contains"),
        ("size(p)", "size"),
        ("p between q and attribute_exists(r)", "attribute_exists"),
        ("p in (q, attribute_exists(r))", "attribute_exists"),
        ("if_not_exists(p, q) = r", "if_not_exists"),
        ("list_append(p, q)", "list_append"),
    ] {
        let expected = "The function is not allowed to be used this way in an expression; function";
        assert_eq!(detail(source), format!("{expected}: {name}"), "{source}");
    }
}

#[test]
fn reserved_words_come_before_undefined_placeholders() {
    for (source, word) in [
        ("attribute_exists(views, #zz)", "views"),
        (":zz < abOrT", "abOrT"),
        ("p.Name = q", "Name"),
    ] {
        let expected = format!("Attribute name is a reserved keyword; reserved keyword: {word}");
        assert_eq!(detail(source), expected, "{source}");
    }
    let undefined =
        "An expression attribute name used in the document path is not defined; attribute name";
    assert_eq!(
        detail("attribute_exists(#P.q, :zz) and p=p"),
        format!("{undefined}: #P")
    );
    assert_eq!(
        detail("(p)between(b.c[45].#x)and(:zz)"),
        format!("{undefined}: #x")
    );
    let undefined =
        "An expression attribute value used in expression is not defined; attribute value";
    assert_eq!(
        detail("begins_with(:hello, #x, #b)"),
        format!("{undefined}: :hello")
    );
    assert_eq!(
        detail("p = p and :zz < q"),
        detail("p = p"),
        "leaves are checked one after the other"
    );
}

#[test]
fn operands_are_counted() {
    for (source, name, count) in [
        ("attribute_exists(p, q) and r=r", "attribute_exists", 2),
        ("attribute_not_exists()", "attribute_not_exists", 0),
        ("attribute_type(p)", "attribute_type", 1),
        ("begins_with(p, size(q), r)", "begins_with", 3),
        ("contains(p)", "contains", 1),
        ("size(p, p) > q", "size", 2),
    ] {
        let expected =
            "Incorrect number of operands for operator or function; operator or function";
        assert_eq!(
            detail(source),
            format!("{expected}: {name}, number of operands: {count}"),
            "{source}"
        );
    }
    let list = |count| format!("p in ({})", vec![":n"; count].join(","));
    assert!(parse(&list(99)).is_ok());
    let expected = "The IN operator is provided with too many operands; number of operands: 101";
    assert_eq!(detail(&list(100)), expected);
}

#[test]
fn literals_of_impossible_types_are_refused() {
    for (source, name, found) in [
        ("p < :l", "<", "L"),
        (":bool >= p", ">=", "BOOL"),
        ("p between :l and :m", "BETWEEN", "L"),
        (
            "attribute_type(p, q)",
            "attribute_type",
            "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}",
        ),
        ("attribute_type(p, size(p))", "attribute_type", "N"),
        ("attribute_type(p, :bool)", "attribute_type", "BOOL"),
        ("begins_with(p, size(p))", "begins_with", "N"),
        ("begins_with(p, :n)", "begins_with", "N"),
        ("begins_with(:ss, p)", "begins_with", "SS"),
        ("contains(:n, p)", "contains", "N"),
        ("size(size(p)) > :n", "size", "N"),
        ("size(:null) > p", "size", "NULL"),
        ("attribute_not_exists(size(:n))", "size", "N"),
    ] {
        let expected = "Incorrect operand type for operator or function; operator or function";
        assert_eq!(
            detail(source),
            format!("{expected}: {name}, operand type: {found}"),
            "{source}"
        );
    }
    for (source, name) in [
        ("attribute_exists(:s)", "attribute_exists"),
        ("attribute_not_exists(size(:s))", "attribute_not_exists"),
    ] {
        let expected = "Operator or function requires a document path; operator or function";
        assert_eq!(detail(source), format!("{expected}: {name}"), "{source}");
    }
    assert_eq!(
        detail("attribute_type(p, :s)"),
        "Invalid attribute type name found; type: a, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}"
    );
}

#[test]
fn the_first_operand_must_be_distinct() {
    for (source, operator, first) in [
        ("p = q AND #a = a", "=", "[a]"),
        ("#a <> a", "<>", "[a]"),
        ("((a=a) OR (a=a))", "=", "[a]"),
        (
            "contains(ab.bc[1].a, ab.bc[1].#a)",
            "contains",
            "[ab, bc, [1], a]",
        ),
        ("attribute_type(a, a)", "attribute_type", "[a]"),
        ("a between b and #a", "BETWEEN", "[a]"),
        ("a in (b, c, a)", "IN", "[a]"),
    ] {
        let expected = "The first operand must be distinct from the remaining operands for this operator \
                        or function; operator";
        assert_eq!(
            detail(source),
            format!("{expected}: {operator}, first operand: {first}"),
            "{source}"
        );
    }
    assert!(parse("a between b and b").is_ok());
    assert!(parse("size(a) < a").is_ok());
}

#[test]
fn between_holds_literal_bounds_against_each_other() {
    let shown = "lower bound operand: AttributeValue: ";
    for (source, low, high) in [
        ("p between :n and :n2", "{N:5}", "{N:3}"),
        ("p between :s2 and :s", "{S:b}", "{S:a}"),
        ("p between :b2 and :b", "{B:Yg==}", "{B:YQ==}"),
    ] {
        let rule =
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound";
        let expected = format!("{rule}; {shown}{low}, upper bound operand: AttributeValue: {high}");
        assert_eq!(detail(source), expected, "{source}");
    }
    assert_eq!(
        detail("p between :s and :n"),
        format!(
            "The BETWEEN operator requires same data type for lower and upper bounds; \
             {shown}{{S:a}}, upper bound operand: AttributeValue: {{N:5}}"
        )
    );
    assert!(parse("p between :n and :n").is_ok());
    assert!(parse("p between :n and q").is_ok());
}

#[test]
fn paths_have_at_most_thirty_two_elements_and_indexes_fit_an_int() {
    assert!(parse(&format!("a{} = :n", ".b".repeat(31))).is_ok());
    assert_eq!(
        detail(&format!("a{} = :n", ".b".repeat(32))),
        "The document path has too many nesting levels; nesting levels: 33"
    );
    assert!(parse("a[2147483647] = :n").is_ok());
    for index in ["2147483648", "99999999999999", "99999999999999999999999999"] {
        let expected = format!("List index is not within the allowable range; index: [{index}]");
        assert_eq!(detail(&format!("a[{index}] = :n")), expected);
    }
}

const PIECES: [&str; 24] = [
    "(",
    ")",
    "(",
    ")",
    "a",
    "b.c",
    "d[0]",
    "#a",
    ":n",
    ":s",
    "=",
    "<",
    " and ",
    " or ",
    " not ",
    " between ",
    " in ",
    ",",
    "size(",
    "contains(",
    "attribute_exists(",
    "[",
    ".",
    "!",
];

proptest! {
    #[test]
    fn no_text_panics(source in "\\PC{0,80}") {
        let _ = parse(&source);
    }

    #[test]
    fn no_sequence_of_tokens_panics(picks in prop::collection::vec(0..PIECES.len(), 0..40)) {
        let source: String = picks.iter().filter_map(|pick| PIECES.get(*pick).copied()).collect();
        let _ = parse(&source);
    }
}
