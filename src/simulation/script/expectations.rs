//! `[[expect]]`: what must be, where and when.

use serde_json::Value as Json;

use super::fields::{Fields, Node, Read, flaw, list, plain, start};
use super::read::Known;
use super::steps::admit;
use super::{Expectation, Expected, State, Table, value};
use crate::simulation::expect::FIGURES;

const STATES: [&str; 3] = ["item", "has", "absent"];
/// What needs `conflicts` beside it.
const OF_CONFLICTS: [&str; 3] = ["lost", "lost_by", "won"];
const CONVERGED: &str = "converged";

/// The expectations of one table of the file, each with where it is written.
pub fn expectations(node: &Node<'_>, known: &Known<'_>) -> Read<Vec<(usize, Expectation)>> {
    let mut fields = Fields::of(node, "an expectation")?;
    let at_us = fields.span_us("at")?;
    let at = fields.take("at").map_or(fields.at, start);
    let within_us = fields.span_us("within")?.unwrap_or(0);
    let regions = regions(&mut fields, known)?;
    let whats = whats(&mut fields, known)?;
    let (line, whole) = (known.line(fields.at), fields.at);
    if let Some(figure) = fields.present(&FIGURES).first() {
        return flaw(
            whole,
            format!("'{figure}' stands in an [[expect]] of its own"),
        );
    }
    fields.finish()?;
    if whats.is_empty() {
        let reason = "an expectation has 'item', 'has', 'absent', 'count', 'conflicts', 'converged' or a figure";
        return flaw(whole, reason);
    }
    let expectation = |what| Expectation {
        line,
        at_us,
        within_us,
        regions: regions.clone(),
        what,
    };
    let all = whats.into_iter();
    Ok(all.map(|what| (at, expectation(what))).collect())
}

/// All, unless some are named.
fn regions(fields: &mut Fields<'_, '_>, known: &Known<'_>) -> Read<Vec<usize>> {
    if let Some(node) = fields.take("region") {
        return Ok(vec![known.region(node)?]);
    }
    match fields.take("regions") {
        Some(node) => named(node, known),
        None => Ok((0..known.regions.len()).collect()),
    }
}

fn named(node: &Node<'_>, known: &Known<'_>) -> Read<Vec<usize>> {
    let regions = list(node)?;
    if regions.is_empty() {
        return flaw(start(node), "at least one region is needed here");
    }
    regions.iter().map(|node| known.region(node)).collect()
}

fn whats(fields: &mut Fields<'_, '_>, known: &Known<'_>) -> Read<Vec<Expected>> {
    let mut whats = Vec::new();
    if let Some(node) = fields.take(CONVERGED) {
        if !plain::<bool>(node)? {
            return flaw(
                start(node),
                "that regions differ is expected of their items",
            );
        }
        whats.push(Expected::Converged);
    }
    let of_table = fields.present(&["key", "item", "has", "absent", "count", "conflicts"]);
    let of_conflicts = fields.present(&OF_CONFLICTS);
    if of_table.is_empty() && of_conflicts.is_empty() {
        return Ok(whats);
    }
    let node = fields.need("table")?;
    let index = known.table(node)?;
    let Some(table) = known.tables.get(index) else {
        return flaw(start(node), "there is no such table");
    };
    let key = match fields.take("key") {
        None => None,
        Some(node) => {
            let key = value::attributes(node)?;
            admit(node, table, &key, true)?;
            Some(key)
        }
    };
    whats.extend(item(fields, index, table, &key)?);
    if let Some(count) = fields.plain("count")? {
        let table = index;
        whats.push(Expected::Count { table, count });
    }
    if fields.present(&["conflicts"]).is_empty() && !of_conflicts.is_empty() {
        let reason = format!(
            "'{}' needs 'conflicts' beside it",
            of_conflicts.join("', '")
        );
        return flaw(fields.at, reason);
    }
    whats.extend(conflicts(fields, known, index, key)?);
    Ok(whats)
}

fn item(
    fields: &mut Fields<'_, '_>,
    index: usize,
    table: &Table,
    key: &Option<Json>,
) -> Read<Option<Expected>> {
    let state = match fields.present(&STATES).as_slice() {
        [] => return Ok(None),
        [state] => *state,
        _ => {
            return flaw(
                fields.at,
                "only one of 'item', 'has' and 'absent' is possible",
            );
        }
    };
    let Some(key) = key.clone() else {
        let of_key: Vec<&str> = table.keys.names().collect();
        let hint = format!("key = {{ {} = .. }}", of_key.join(" = .., "));
        return flaw(
            fields.at,
            format!("'{state}' needs a 'key'\n  hint: {hint}"),
        );
    };
    let node = fields.need(state)?;
    let state = match state {
        "item" => State::Is(value::attributes(node)?),
        "has" => State::Has(value::attributes(node)?),
        _ if plain::<bool>(node)? => State::Absent,
        _ => return flaw(start(node), "that there is an item is 'has = { }'"),
    };
    let table = index;
    Ok(Some(Expected::Item { table, key, state }))
}

fn conflicts(
    fields: &mut Fields<'_, '_>,
    known: &Known<'_>,
    table: usize,
    key: Option<Json>,
) -> Read<Option<Expected>> {
    let Some(node) = fields.take("conflicts") else {
        return Ok(None);
    };
    let count: u64 = plain(node)?;
    let lost = match fields.take("lost") {
        None => Vec::new(),
        Some(node) if node.get_ref().is_table() => vec![value::attributes(node)?],
        Some(node) => list(node)?
            .iter()
            .map(value::attributes)
            .collect::<Read<Vec<_>>>()?,
    };
    if u64::try_from(lost.len()).is_ok_and(|lost| lost > count) {
        return flaw(start(node), "more lost than there are conflicts");
    }
    let lost_by = match fields.take("lost_by") {
        None => Vec::new(),
        Some(node) if node.get_ref().is_str() => vec![known.region(node)?],
        Some(node) => named(node, known)?,
    };
    let won = fields.take("won").map(value::attributes).transpose()?;
    Ok(Some(Expected::Conflicts {
        table,
        key,
        count,
        lost,
        lost_by,
        won,
    }))
}
