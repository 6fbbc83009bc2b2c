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
pub(super) fn check_paths(kind: ExpressionKind, paths: &[Path]) -> Result<(), ExpressionError> {
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
         path one: {}, path two: {}",
        path_text(first),
        path_text(second)
    ))
}

fn relation(first: &Path, second: &Path) -> Relation {
    if first.root != second.root {
        return Relation::Apart;
    }
    for pair in first.steps.iter().zip(&second.steps) {
        match pair {
            (Step::Field(_), Step::Index(_)) | (Step::Index(_), Step::Field(_)) => return Relation::Conflict,
            (one, two) if one != two => return Relation::Apart,
            _ => {}
        }
    }
    Relation::Overlap
}

/// A path as messages show it: `[a, b, [0]]`.
pub(super) fn path_text(path: &Path) -> String {
    let mut text = format!("[{}", path.root);
    for step in &path.steps {
        match step {
            Step::Field(name) => text.push_str(&format!(", {name}")),
            Step::Index(index) => text.push_str(&format!(", [{index}]")),
        }
    }
    text.push(']');
    text
}
