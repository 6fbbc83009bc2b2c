//! Projections: parts of an item under their original structure (expressions.md section 7).

use std::collections::BTreeMap;

use super::ast::{Path, Step};
use crate::item::{Item, Value};

/// What is wanted of one value: all of it, or parts.
#[derive(Default)]
struct Selection<'a> {
    whole: bool,
    fields: BTreeMap<&'a str, Selection<'a>>,
    elements: BTreeMap<usize, Selection<'a>>,
}

impl<'a> Selection<'a> {
    fn add(&mut self, steps: &'a [Step]) {
        match steps.split_first() {
            None => self.whole = true,
            Some((Step::Field(name), rest)) => self.fields.entry(name).or_default().add(rest),
            Some((Step::Index(index), rest)) => self.elements.entry(*index).or_default().add(rest),
        }
    }

    /// The selected parts of `value`; `None` when it has none of them.
    fn pick(&self, value: &Value) -> Option<Value> {
        if self.whole {
            return Some(value.clone());
        }
        match value {
            Value::M(map) => {
                let parts = |(name, inner): (&&str, &Selection)| {
                    Some(((*name).to_string(), inner.pick(map.get(*name)?)?))
                };
                let picked: BTreeMap<String, Value> =
                    self.fields.iter().filter_map(parts).collect();
                (!picked.is_empty()).then_some(Value::M(picked))
            }
            Value::L(list) => {
                let parts = |(index, inner): (&usize, &Selection)| inner.pick(list.get(*index)?);
                let picked: Vec<Value> = self.elements.iter().filter_map(parts).collect();
                (!picked.is_empty()).then_some(Value::L(picked))
            }
            _ => None,
        }
    }
}

/// The parts of `item` that `paths` select. Selected list elements move together in ascending order,
/// several paths into one element make one element, missing paths are skipped.
pub fn project(paths: &[Path], item: &Item) -> Item {
    let mut selections: BTreeMap<&str, Selection> = BTreeMap::new();
    for path in paths {
        selections.entry(&path.root).or_default().add(&path.steps);
    }
    let parts = |(name, selection): (&&str, &Selection)| {
        Some(((*name).to_string(), selection.pick(item.get(*name)?)?))
    };
    selections.iter().filter_map(parts).collect()
}

/// The fragments an update touched, for ReturnValues UPDATED_OLD (of the item before) and UPDATED_NEW
/// (of the item after).
///
/// List indexes are read literally on either item, as DynamoDB does: an element set beyond the end was
/// appended elsewhere and is not returned, and a removed element shows the one that moved into its place.
pub fn touched_values(paths: &[Path], item: &Item) -> Item {
    project(paths, item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Number;

    fn n(number: i64) -> Value {
        Value::N(Number::from(number))
    }

    fn map(fields: &[(&str, Value)]) -> Value {
        Value::M(
            fields
                .iter()
                .map(|(name, value)| (name.to_string(), value.clone()))
                .collect(),
        )
    }

    fn path(root: &str, steps: Vec<Step>) -> Path {
        Path {
            root: root.into(),
            steps,
        }
    }

    fn field(name: &str) -> Step {
        Step::Field(name.into())
    }

    fn item() -> Item {
        let pair = |x| map(&[("x", n(x)), ("y", n(x + 1))]);
        Item::from([
            ("p".into(), n(1)),
            (
                "a".into(),
                map(&[("b", n(2)), ("c", Value::L(vec![n(1), n(2), n(3)]))]),
            ),
            ("l".into(), Value::L(vec![pair(10), pair(20), pair(30)])),
        ])
    }

    #[test]
    fn elements_are_compacted_in_ascending_order() {
        let paths = [
            path("a", vec![field("c"), Step::Index(2)]),
            path("a", vec![field("c"), Step::Index(0)]),
        ];
        let expected = Item::from([("a".into(), map(&[("c", Value::L(vec![n(1), n(3)]))]))]);
        assert_eq!(project(&paths, &item()), expected);
    }

    #[test]
    fn paths_into_one_element_merge() {
        let at = |index, name| path("l", vec![Step::Index(index), field(name)]);
        let picked = project(&[at(1, "y"), at(1, "x"), at(2, "x"), at(9, "x")], &item());
        let list = Value::L(vec![
            map(&[("x", n(20)), ("y", n(21))]),
            map(&[("x", n(30))]),
        ]);
        assert_eq!(picked, Item::from([("l".into(), list)]));
    }

    #[test]
    fn missing_parts_leave_nothing_behind() {
        let paths = [
            path("q", vec![]),
            path("a", vec![field("z")]),
            path("a", vec![field("b"), field("z")]),
            path("l", vec![Step::Index(7)]),
            path("l", vec![field("x")]),
        ];
        assert_eq!(project(&paths, &item()), Item::new());
    }

    #[test]
    fn a_whole_attribute_wins_over_its_parts() {
        let paths = [path("a", vec![field("b")]), path("a", vec![])];
        assert_eq!(project(&paths, &item()).get("a"), item().get("a"));
        assert_eq!(project(&[], &item()), Item::new());
    }
}
