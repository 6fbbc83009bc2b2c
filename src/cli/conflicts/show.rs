//! Conflicts as text, and what several regions say of one as one.

use std::io::Write;

use serde_json::{Value, json};

use crate::cli::CliError;
use crate::clock::calendar;

/// The counters of a region's answer.
pub fn counts_of(answer: &Value) -> Value {
    let names = ["recorded", "kept", "dropped", "restored", "tables", "links"];
    let count = |name: &str| answer.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .map(|name| (name.to_owned(), count(name)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A conflict as the first region says, with the list of those who saw it.
pub fn seen(conflict: &Value) -> Value {
    let mut seen = conflict.clone();
    if let Some(members) = seen.as_object_mut() {
        members.insert("seen".into(), json!([witness(conflict)]));
    }
    seen
}

fn witness(conflict: &Value) -> Value {
    let member = |name: &str| conflict.get(name).cloned().unwrap_or_default();
    json!({
        "region": member("detected_in"), "detected_us": member("detected_us"),
        "number": member("number"),
    })
}

/// Adds what another region says of the same conflict.
pub fn merge(all: &mut Value, conflict: &Value) {
    let Some(members) = all.as_object_mut() else {
        return;
    };
    for name in ["restored", "key"] {
        if members.get(name).is_none_or(Value::is_null)
            && let Some(value) = conflict.get(name)
        {
            members.insert(name.into(), value.clone());
        }
    }
    if let Some(seen) = members.get_mut("seen").and_then(Value::as_array_mut) {
        seen.push(witness(conflict));
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn key(conflict: &Value) -> String {
    match conflict.get("key") {
        None | Some(Value::Null) => "-".into(),
        Some(key) => key.to_string(),
    }
}

fn item(version: &Value) -> String {
    match version.get("item") {
        None | Some(Value::Null) => "(deleted)".into(),
        Some(item) => item.to_string(),
    }
}

fn side<'v>(conflict: &'v Value, side: &str) -> &'v Value {
    conflict.get(side).unwrap_or(&Value::Null)
}

/// A version in one line.
pub fn version(version: &Value) -> String {
    if version.is_null() {
        return "nothing".into();
    }
    let (region, kind) = (text(version, "region"), text(version, "kind"));
    format!(
        "{} ({kind} of {region} at {})",
        item(version),
        text(version, "stamp")
    )
}

/// Three lines for a list.
pub fn short(out: &mut impl Write, conflict: &Value) -> Result<(), CliError> {
    let id = text(conflict, "id");
    let restored = match conflict.get("restored") {
        None | Some(Value::Null) => String::new(),
        Some(by) => format!("  restored by {}", text(by, "region")),
    };
    writeln!(
        out,
        "{id}  {} {}{restored}",
        text(conflict, "table"),
        key(conflict)
    )?;
    for (word, which) in [("won", "winner"), ("lost", "loser")] {
        let version = side(conflict, which);
        writeln!(
            out,
            "  {word:<5} {:<16} {}",
            text(version, "region"),
            item(version)
        )?;
    }
    Ok(())
}

/// All that is known of one.
pub fn long(out: &mut impl Write, conflict: &Value) -> Result<(), CliError> {
    writeln!(out, "conflict  {}", text(conflict, "id"))?;
    writeln!(out, "table     {}", text(conflict, "table"))?;
    writeln!(out, "key       {}", key(conflict))?;
    for (word, which) in [("won", "winner"), ("lost", "loser")] {
        let version = side(conflict, which);
        let (region, kind, stamp) = (
            text(version, "region"),
            text(version, "kind"),
            text(version, "stamp"),
        );
        let (seq, at) = (number(version, "seq"), utc(number(version, "physical_us")));
        writeln!(
            out,
            "{word:<9} {kind} of {region}, {at}, stamp {stamp}, commit {seq}"
        )?;
        let item = match version.get("item") {
            None | Some(Value::Null) => "(deleted)".into(),
            Some(item) => super::pretty(item),
        };
        for line in item.lines() {
            writeln!(out, "          {line}")?;
        }
    }
    let none = Vec::new();
    for seen in conflict
        .get("seen")
        .and_then(Value::as_array)
        .unwrap_or(&none)
    {
        let at = utc(number(seen, "detected_us"));
        writeln!(out, "seen by   {:<16} {at}", text(seen, "region"))?;
    }
    match conflict.get("restored") {
        None | Some(Value::Null) => writeln!(out, "restored  no")?,
        Some(by) => {
            let at = utc(number(by, "physical_us"));
            writeln!(out, "restored  by {}, {at}", text(by, "region"))?;
        }
    }
    Ok(())
}

/// A region's counters; nothing where nothing was recorded.
pub fn counts(out: &mut impl Write, region: &str, counts: &Value) -> Result<(), CliError> {
    if number(counts, "recorded") == 0 {
        return Ok(());
    }
    let of = |name: &str| number(counts, name);
    writeln!(
        out,
        "{region}: {} recorded, {} kept, {} dropped, {} restored",
        of("recorded"),
        of("kept"),
        of("dropped"),
        of("restored")
    )?;
    let none = Vec::new();
    for table in counts
        .get("tables")
        .and_then(Value::as_array)
        .unwrap_or(&none)
    {
        writeln!(
            out,
            "  table {:<24} {:>8} recorded {:>8} kept {:>8} dropped",
            text(table, "table"),
            number(table, "recorded"),
            number(table, "kept"),
            number(table, "dropped")
        )?;
    }
    for link in counts
        .get("links")
        .and_then(Value::as_array)
        .unwrap_or(&none)
    {
        let (winner, loser) = (text(link, "winner"), text(link, "loser"));
        writeln!(
            out,
            "  {winner} beat {loser} {} times",
            number(link, "recorded")
        )?;
    }
    Ok(())
}

/// Microseconds since 1970 as a date and time.
fn utc(micros: u64) -> String {
    format!("{}Z", calendar::date_time(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400_000_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(1_798_761_599_999_000), "2026-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_two_regions_say_is_said_once() {
        let said = |region: &str, restored: Value| json!({"id": "1", "detected_in": region, "detected_us": 5, "number": 1, "restored": restored});
        let mut all = seen(&said("a", Value::Null));
        merge(&mut all, &said("b", json!({"region": "b"})));
        assert_eq!(all["restored"]["region"], "b");
        assert_eq!(all["seen"][1]["region"], "b");
        assert_eq!(all["seen"].as_array().map(Vec::len), Some(2));
    }
}
