//! Projections, and the rule that document paths of one expression must not meet
//! (expressions.md section 7).

use super::check::{check_reserved, resolve_path};
use super::parser::{self};
use super::{ExpressionError, ExpressionKind, Path, Placeholders, Step};

/// Parses and checks a ProjectionExpression.
pub fn parse_projection(
    source: &str,
    placeholders: &mut Placeholders,
) -> Result<Vec<Path>, ExpressionError> {
    let kind = ExpressionKind::Projection;
    let raw = parser::projection(source)?;
    for path in &raw {
        check_reserved(kind, path)?;
    }
    let mut paths = Vec::with_capacity(raw.len());
    for path in &raw {
        paths.push(resolve_path(kind, path, placeholders)?);
    }
    check_paths(kind, &paths)?;
    Ok(paths)
}

/// How two document paths stand to each other, whatever the item holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Apart,
    /// Identical, or one contains the other.
    Overlap,
    /// One takes for a map what the other takes for a list.
    Conflict,
}

/// Refuses paths that overlap or conflict. An overlap anywhere is reported before any conflict.
pub(crate) fn check_paths(kind: ExpressionKind, paths: &[Path]) -> Result<(), ExpressionError> {
    let mut conflict = None;
    for (index, second) in paths.iter().enumerate() {
        for first in paths.iter().take(index) {
            match relation(first, second) {
                Relation::Apart => {}
                Relation::Overlap => return Err(meeting(kind, "overlap", first, second)),
                Relation::Conflict => {
                    conflict.get_or_insert((first, second));
                }
            }
        }
    }
    match conflict {
        Some((first, second)) => Err(meeting(kind, "conflict", first, second)),
        None => Ok(()),
    }
}

fn meeting(kind: ExpressionKind, how: &str, first: &Path, second: &Path) -> ExpressionError {
    kind.invalid(format!(
        "Two document paths {how} with each other; must remove or rewrite one of these paths; \
         path one: {first}, path two: {second}"
    ))
}

fn relation(first: &Path, second: &Path) -> Relation {
    if first.root != second.root {
        return Relation::Apart;
    }
    for pair in first.steps.iter().zip(&second.steps) {
        match pair {
            (Step::Field(_), Step::Index(_)) | (Step::Index(_), Step::Field(_)) => {
                return Relation::Conflict;
            }
            (one, two) if one != two => return Relation::Apart,
            _ => {}
        }
    }
    Relation::Overlap
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn parse(source: &str) -> Result<Vec<Path>, ExpressionError> {
        let names = BTreeMap::from([
            ("#b".to_owned(), "b".to_owned()),
            ("#0".to_owned(), "[0]".to_owned()),
        ]);
        parse_projection(source, &mut Placeholders::new(Some(names), None).unwrap())
    }

    fn detail(source: &str) -> String {
        let message = parse(source).expect_err(source).0;
        message
            .strip_prefix("Invalid ProjectionExpression: ")
            .expect("the kind is named")
            .to_owned()
    }

    #[test]
    fn paths_with_commas_between() {
        let texts: Vec<String> = parse(" a.#b[0] ,  #0.c, d ")
            .unwrap()
            .iter()
            .map(Path::to_string)
            .collect();
        assert_eq!(texts, ["[a, b, [0]]", "[[0], c]", "[d]"]);
        assert!(parse(&"x".repeat(4096)).is_ok());
    }

    #[test]
    fn bad_syntax_and_names_are_refused() {
        for (source, token, near) in [
            ("a,", "<EOF>", ","),
            (",a", ",", ",a"),
            ("a,,b", ",", ",,b"),
            ("!!", "!", "!!"),
            ("a[-1]", "-", "[-1"),
            ("a[]", "]", "[]"),
            ("a, (b)", "(", ", (b"),
        ] {
            assert_eq!(
                detail(source),
                format!("Syntax error; token: \"{token}\", near: \"{near}\""),
                "{source}"
            );
        }
        assert_eq!(detail(""), "The expression can not be empty;");
        assert_eq!(
            detail("a, #x, and"),
            "Attribute name is a reserved keyword; reserved keyword: and"
        );
        assert!(detail("a, #x").ends_with("is not defined; attribute name: #x"));
        assert!(detail(&format!("a{}", ".b".repeat(32))).ends_with("nesting levels: 33"));
        assert!(detail("a[99999999999999]").ends_with("index: [99999999999999]"));
    }

    #[test]
    fn paths_must_not_meet() {
        for (source, how, first, second) in [
            ("a, a", "overlap", "[a]", "[a]"),
            ("a, a.b[0]", "overlap", "[a]", "[a, b, [0]]"),
            ("a.b.d.e, a.#b", "overlap", "[a, b, d, e]", "[a, b]"),
            ("a[1], a[1]", "overlap", "[a, [1]]", "[a, [1]]"),
            ("a.b, a[1]", "conflict", "[a, b]", "[a, [1]]"),
            ("a[1], a.b", "conflict", "[a, [1]]", "[a, b]"),
            ("a.#0, a[0]", "conflict", "[a, [0]]", "[a, [0]]"),
            ("a.b, a[1], c, c", "overlap", "[c]", "[c]"),
        ] {
            let expected = format!(
                "Two document paths {how} with each other; must remove or rewrite one of these paths; \
                 path one: {first}, path two: {second}"
            );
            assert_eq!(detail(source), expected, "{source}");
        }
        for source in [
            "a, b",
            "a.b, a.c",
            "a.b.d, a.b.e",
            "a[1], a[2]",
            "a.b, a.c[2]",
        ] {
            assert!(parse(source).is_ok(), "{source}");
        }
    }
}
