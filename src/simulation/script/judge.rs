//! Holds what is found against what is expected, and says both in words.

use serde_json::{Value as Json, json};

use super::value::{has, item, resolve, show};
use super::{
    Ask, Clash, Cluster, Expectation, Expected, Lost, Reply, Request, Script, Side, State,
};
use crate::item::Item;

/// What was found in place of what was expected; nothing where it was that.
pub type Found = Option<String>;

/// What is expected of an answer.
pub fn wanted(ask: &Ask, start_us: u64) -> String {
    let answer = &ask.answer;
    let mut parts = vec![answer.error.clone().unwrap_or_else(|| "success".to_owned())];
    if let Some(reasons) = &answer.reasons {
        parts.push(format!("for {}", reasons.join(", ")));
    }
    if let Some(count) = answer.count {
        parts.push(format!("with {count} items"));
    }
    let shown = |json: &Json| show(&item(&resolve(json, start_us)));
    if let Some(item) = &answer.item {
        parts.push(format!("with {}", shown(item)));
    }
    if let Some(items) = &answer.items {
        let items: Vec<String> = items.iter().map(shown).collect();
        parts.push(format!("with [{}]", items.join(", ")));
    }
    parts.join(" ")
}

/// Whether an answer is as expected.
pub fn answer(ask: &Ask, reply: &Reply, start_us: u64) -> Found {
    let expected = &ask.answer;
    if reply.error() != expected.error.as_deref() {
        return Some(outcome(reply));
    }
    if let Some(wanted) = &expected.reasons {
        let reasons = reply.body.get("CancellationReasons");
        let reasons = reasons.and_then(Json::as_array).into_iter().flatten();
        let codes: Vec<&str> = reasons
            .map(|reason| reason.get("Code").and_then(Json::as_str).unwrap_or("?"))
            .collect();
        if codes != *wanted {
            return Some(format!("the reasons {}", codes.join(", ")));
        }
    }
    let found = items_of(reply);
    if expected
        .count
        .is_some_and(|count| count != found.len() as u64)
    {
        return Some(format!("{} items", found.len()));
    }
    let same = |wanted: &Json, found: &Item| item(&resolve(wanted, start_us)) == *found;
    if let Some(wanted) = &expected.item
        && !found.first().is_some_and(|found| same(wanted, found))
    {
        return Some(found.first().map_or("no item".into(), show));
    }
    if let Some(wanted) = &expected.items
        && !(wanted.len() == found.len() && wanted.iter().zip(&found).all(|(w, f)| same(w, f)))
    {
        let found: Vec<String> = found.iter().map(show).collect();
        return Some(format!("[{}]", found.join(", ")));
    }
    None
}

/// The items that an answer has, or the attributes of one, or the item of a failed condition.
fn items_of(reply: &Reply) -> Vec<Item> {
    if let Some(items) = reply.body.get("Items").and_then(Json::as_array) {
        return items.iter().map(item).collect();
    }
    let one = reply
        .body
        .get("Item")
        .or_else(|| reply.body.get("Attributes"));
    one.map(item).into_iter().collect()
}

/// An answer in few words.
pub fn outcome(reply: &Reply) -> String {
    let Some(error) = reply.error() else {
        return "success".to_owned();
    };
    let message = ["message", "Message"];
    let message = message.iter().find_map(|name| reply.body.get(*name));
    match message.and_then(Json::as_str) {
        Some(message) => format!("{error}: {message}"),
        None => error.to_owned(),
    }
}

/// Looks at the regions of an expectation.
pub fn look(
    cluster: &mut dyn Cluster,
    script: &Script,
    expectation: &Expectation,
) -> Result<Found, Lost> {
    let start_us = cluster.started_us();
    let regions = &expectation.regions;
    let resolved = |json: &Json| item(&resolve(json, start_us));
    match &expectation.what {
        Expected::Item { table, key, state } => {
            let (table, key) = (table_name(script, *table), resolve(key, start_us));
            let right = |found: Option<&Item>| match (state, found) {
                (State::Absent, found) => found.is_none(),
                (_, None) => false,
                (State::Has(wanted), Some(found)) => has(found, &resolved(wanted)),
                (State::Is(wanted), Some(found)) => {
                    let mut whole = item(&key);
                    whole.extend(resolved(wanted));
                    whole == *found
                }
            };
            let body = json!({"TableName": table, "Key": key, "ConsistentRead": true});
            item_in(cluster, script, regions, &body, right)
        }
        Expected::Count { table, count } => {
            let table = table_name(script, *table);
            let mut wrong = Vec::new();
            for region in regions {
                let found = match scan(cluster, *region, table)? {
                    Ok(items) if items.len() as u64 == *count => continue,
                    Ok(items) => format!("{} items", items.len()),
                    Err(refused) => refused,
                };
                wrong.push(format!("in {} {found}", region_name(script, *region)));
            }
            Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
        }
        Expected::Conflicts {
            table,
            key,
            count,
            lost,
            lost_by,
            won,
        } => {
            let key = key.as_ref().map(&resolved);
            let clashes = clashes(cluster, script, regions, *table, key.as_ref())?;
            let lost: Vec<Item> = lost.iter().map(&resolved).collect();
            let won = won.as_ref().map(&resolved);
            let right = clashes.len() as u64 == *count
                && each_lost(&clashes, &lost)
                && each_by(&clashes, lost_by)
                && won.is_none_or(|won| clashes.iter().all(|c| side_has(&c.winner, &won)));
            Ok((!right).then(|| show_clashes(script, &clashes)))
        }
        Expected::Converged => same_everywhere(cluster, script, regions),
    }
}

fn item_in(
    cluster: &mut dyn Cluster,
    script: &Script,
    regions: &[usize],
    body: &Json,
    right: impl Fn(Option<&Item>) -> bool,
) -> Result<Found, Lost> {
    let request = |region: &usize| Request {
        region: *region,
        operation: "GetItem",
        body: body.clone(),
    };
    let replies = cluster.ask(regions.iter().map(request).collect())?;
    let mut wrong = Vec::new();
    for (region, reply) in regions.iter().zip(&replies) {
        let found = items_of(reply).into_iter().next();
        if reply.error().is_none() && right(found.as_ref()) {
            continue;
        }
        let found = match (reply.error(), found) {
            (Some(_), _) => outcome(reply),
            (None, None) => "no item".to_owned(),
            (None, Some(found)) => show(&found),
        };
        wrong.push(format!("in {} {found}", region_name(script, *region)));
    }
    Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
}

/// All items of a table in a region, or why they are not to be had.
fn scan(
    cluster: &mut dyn Cluster,
    region: usize,
    table: &str,
) -> Result<Result<Vec<Item>, String>, Lost> {
    let mut items = Vec::new();
    let mut body = json!({"TableName": table, "ConsistentRead": true});
    loop {
        let request = Request {
            region,
            operation: "Scan",
            body: body.clone(),
        };
        let Some(reply) = cluster.ask(vec![request])?.into_iter().next() else {
            return Ok(Err("no answer".into()));
        };
        if reply.error().is_some() {
            return Ok(Err(outcome(&reply)));
        }
        items.extend(items_of(&reply));
        match (reply.body.get("LastEvaluatedKey"), body.as_object_mut()) {
            (Some(key), Some(body)) => body.insert("ExclusiveStartKey".into(), key.clone()),
            _ => return Ok(Ok(items)),
        };
    }
}

/// Whether the regions have the same items in every table.
fn same_everywhere(
    cluster: &mut dyn Cluster,
    script: &Script,
    regions: &[usize],
) -> Result<Found, Lost> {
    for table in &script.tables {
        let mut first: Option<(usize, Vec<Item>)> = None;
        for region in regions {
            let name = region_name(script, *region);
            let mut items = match scan(cluster, *region, &table.name)? {
                Ok(items) => items,
                Err(refused) => return Ok(Some(format!("in {name} {refused}"))),
            };
            items.sort_by_key(|item| table.keys.bytes(item).ok());
            match &first {
                None => first = Some((*region, items)),
                Some((_, other)) if *other == items => {}
                Some((there, other)) => {
                    let differs = |a: &[Item], b: &[Item]| {
                        let only: Vec<String> =
                            a.iter().filter(|i| !b.contains(i)).map(show).collect();
                        format!("[{}]", only.join(", "))
                    };
                    let there = region_name(script, *there);
                    let (a, b) = (differs(other, &items), differs(&items, other));
                    let table = &table.name;
                    return Ok(Some(format!(
                        "of {table} only in {there} {a}, only in {name} {b}"
                    )));
                }
            }
        }
    }
    Ok(None)
}

/// The conflicts that the regions keep, each once.
fn clashes(
    cluster: &mut dyn Cluster,
    script: &Script,
    regions: &[usize],
    table: usize,
    key: Option<&Item>,
) -> Result<Vec<Clash>, Lost> {
    let mut all: Vec<Clash> = Vec::new();
    for region in regions {
        for clash in cluster.conflicts(*region, table_name(script, table))? {
            let known = all.iter().any(|other| other.id == clash.id);
            if !known && key.is_none_or(|key| *key == clash.key) {
                all.push(clash);
            }
        }
    }
    Ok(all)
}

fn side_has(side: &Side, wanted: &Item) -> bool {
    has(side.item.as_ref().unwrap_or(&Item::new()), wanted)
}

/// Whether each of `wanted` was lost in a conflict of its own.
fn each_lost(clashes: &[Clash], wanted: &[Item]) -> bool {
    let mut left: Vec<&Clash> = clashes.iter().collect();
    wanted.iter().all(|wanted| {
        let at = left.iter().position(|clash| side_has(&clash.loser, wanted));
        at.map(|at| left.swap_remove(at)).is_some()
    })
}

/// Whether each of these regions lost a conflict of its own.
fn each_by(clashes: &[Clash], wanted: &[usize]) -> bool {
    let mut left: Vec<usize> = clashes.iter().map(|clash| clash.loser.region).collect();
    wanted.iter().all(|wanted| {
        let at = left.iter().position(|region| region == wanted);
        at.map(|at| left.swap_remove(at)).is_some()
    })
}

fn show_clashes(script: &Script, clashes: &[Clash]) -> String {
    let side = |side: &Side| {
        let region = region_name(script, side.region);
        match &side.item {
            Some(item) => format!("{} of {region}", show(item)),
            None => format!("a deletion of {region}"),
        }
    };
    let shown: Vec<String> = clashes
        .iter()
        .map(|clash| format!("{} lost to {}", side(&clash.loser), side(&clash.winner)))
        .collect();
    match shown.len() {
        0 => "no conflicts".to_owned(),
        1 => format!("1 conflict: {}", shown.join("")),
        count => format!("{count} conflicts: {}", shown.join("; ")),
    }
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// An expectation in words.
pub fn describe(script: &Script, expectation: &Expectation, start_us: u64) -> String {
    let shown = |json: &Json| show(&item(&resolve(json, start_us)));
    let what = match &expectation.what {
        Expected::Item { table, key, state } => {
            let (table, key) = (table_name(script, *table), shown(key));
            match state {
                State::Is(wanted) => format!("{key} of {table} to be {}", shown(wanted)),
                State::Has(wanted) => format!("{key} of {table} to have {}", shown(wanted)),
                State::Absent => format!("{key} of {table} to be absent"),
            }
        }
        Expected::Count { table, count } => {
            let items = counted(*count, "item");
            format!("{items} in {}", table_name(script, *table))
        }
        Expected::Conflicts {
            table,
            key,
            count,
            lost,
            lost_by,
            won,
        } => {
            let mut text = counted(*count, "conflict");
            if let Some(key) = key {
                text.push_str(&format!(" of {}", shown(key)));
            }
            text.push_str(&format!(" in {}", table_name(script, *table)));
            if !lost.is_empty() {
                let lost: Vec<String> = lost.iter().map(&shown).collect();
                text.push_str(&format!(", that {} lost", lost.join(" and ")));
            }
            if !lost_by.is_empty() {
                let by: Vec<&str> = lost_by.iter().map(|r| region_name(script, *r)).collect();
                text.push_str(&format!(", written by {}", by.join(" and ")));
            }
            if let Some(won) = won {
                text.push_str(&format!(", and that {} won", shown(won)));
            }
            text
        }
        Expected::Converged => "the same items".to_owned(),
    };
    let regions = &expectation.regions;
    if regions.len() == script.regions.len() {
        return format!("{what}, in every region");
    }
    let names: Vec<&str> = regions.iter().map(|r| region_name(script, *r)).collect();
    format!("{what}, in {}", names.join(" and "))
}

pub fn region_name(script: &Script, region: usize) -> &str {
    script.regions.get(region).map_or("?", String::as_str)
}

fn table_name(script: &Script, table: usize) -> &str {
    script.tables.get(table).map_or("?", |t| t.name.as_str())
}
