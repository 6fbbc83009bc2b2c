//! Billing mode and throughput of a table and its GSIs, as UpdateTable changes them, and the history that
//! DescribeTable tells of them (api.md section 4).

use serde_json::{Value, json};

use super::index_updates::IndexUpdates;
use super::settings::{NEITHER_UNIT, Settings, recorded, set};
use super::{ApiError, date, invalid, maxima, overrides, warm};
use crate::clock::calendar;
use crate::replica::catalog::{IndexKind, TableDef};

/// The name under which the history is recorded, for the table and by index.
const HISTORY: &str = "ProvisionedThroughput";
const INCREASED: &str = "LastIncrease";
const DECREASED: &str = "LastDecrease";
const DECREASES: &str = "Decreases";
/// Since when a table is, or last was, PAY_PER_REQUEST; absent where it was created so and stayed.
const ON_DEMAND_SINCE: &str = "LastUpdateToPayPerRequest";

const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;
/// Decreases of a UTC day that need no pause.
const DECREASES_FREE: u64 = 4;

/// When a change happens, and whether AWS's pauses between decreases hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now_ms: u64,
    pub(super) limited: bool,
}

fn key(index: Option<&str>) -> String {
    index.map_or_else(|| HISTORY.to_owned(), |index| format!("{HISTORY}/{index}"))
}

fn number(history: &Option<Value>, name: &str) -> Option<u64> {
    history.as_ref()?.get(name)?.as_u64()
}

/// How often throughput was decreased on the day of `now_ms`.
fn decreases(history: &Option<Value>, now_ms: u64) -> u64 {
    let last = number(history, DECREASED).unwrap_or(0);
    if last / DAY_MS == now_ms / DAY_MS {
        number(history, DECREASES).unwrap_or(0)
    } else {
        0
    }
}

/// Notes a change of throughput in the history of the table or an index.
fn note(
    def: &mut TableDef,
    index: Option<&str>,
    (old, new): ((u64, u64), (u64, u64)),
    at: Moment,
) -> Result<(), ApiError> {
    let key = key(index);
    let history = recorded(def, &key);
    let mut new_history = json!({});
    let increased = if new.0 > old.0 || new.1 > old.1 {
        Some(at.now_ms)
    } else {
        number(&history, INCREASED)
    };
    if let Some(increased) = increased {
        new_history[INCREASED] = json!(increased);
    }
    let mut count = decreases(&history, at.now_ms);
    let mut decreased = number(&history, DECREASED);
    if new.0 < old.0 || new.1 < old.1 {
        if let Some(last) = decreased
            && at.limited
            && count >= DECREASES_FREE
            && at.now_ms < last + HOUR_MS
        {
            return Err(too_often(count, last));
        }
        count += 1;
        decreased = Some(at.now_ms);
    }
    if let Some(decreased) = decreased {
        new_history[DECREASED] = json!(decreased);
        new_history[DECREASES] = json!(count);
    }
    set(def, &key, new_history);
    Ok(())
}

fn too_often(count: u64, last: u64) -> ApiError {
    let (last, next) = (in_words(last), in_words(last + HOUR_MS));
    ApiError::LimitExceeded(format!(
        "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day. \
         After the first 4 decreases, each subsequent decrease in the same UTC day can be performed at most once \
         every 3600 seconds. Number of decreases today: {count}. Last decrease at {last}. \
         Next decrease can be made at {next}"
    ))
}

/// `Friday, October 9, 2026 at 1:21:34 AM Coordinated Universal Time`.
fn in_words(ms: u64) -> String {
    const DAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (days, seconds) = (ms / DAY_MS, ms % DAY_MS / 1000);
    let (year, month, day) = calendar::civil(days);
    let pick = |names: &[&'static str], at: u64| {
        usize::try_from(at)
            .ok()
            .and_then(|at| names.get(at).copied())
            .unwrap_or_default()
    };
    let weekday = pick(&DAYS, days % 7);
    let month = pick(&MONTHS, month.saturating_sub(1));
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let half = if hour < 12 { "AM" } else { "PM" };
    let hour = (hour + 11) % 12 + 1;
    format!(
        "{weekday}, {month} {day}, {year} at {hour}:{minute:02}:{second:02} {half} Coordinated Universal Time"
    )
}

/// A ProvisionedThroughputDescription. `read` is the region's own, where it has one.
pub(super) fn describe(
    def: &TableDef,
    index: Option<&str>,
    units: Option<(u64, u64)>,
    read: Option<u64>,
    now_ms: u64,
) -> Value {
    let history = recorded(def, &key(index));
    let (base, write) = units.unwrap_or((0, 0));
    let mut shown = json!({
        "NumberOfDecreasesToday": decreases(&history, now_ms),
        "ReadCapacityUnits": read.filter(|_| units.is_some()).unwrap_or(base),
        "WriteCapacityUnits": write,
    });
    for (name, member) in [
        (INCREASED, "LastIncreaseDateTime"),
        (DECREASED, "LastDecreaseDateTime"),
    ] {
        if let Some(at) = number(&history, name) {
            shown[member] = date(at);
        }
    }
    shown
}

/// The BillingModeSummary; a table that was always provisioned has none.
pub(super) fn summary(def: &TableDef) -> Option<Value> {
    let since = recorded(def, ON_DEMAND_SINCE).and_then(|v| v.as_u64());
    let mode = match (def.throughput, since) {
        (Some(_), None) => return None,
        (Some(_), Some(_)) => "PROVISIONED",
        (None, _) => "PAY_PER_REQUEST",
    };
    let since = since.unwrap_or(def.created_us / 1000);
    Some(json!({"BillingMode": mode, "LastUpdateToPayPerRequestDateTime": date(since)}))
}

/// What the answer to UpdateTable shows: the throughput as it was, and when the change was asked for.
pub(super) fn as_asked(before: &TableDef, after: &TableDef) -> TableDef {
    let mut shown = after.clone();
    if before.throughput.is_none() || after.throughput.is_none() {
        return shown;
    }
    shown.throughput = before.throughput;
    for index in &mut shown.indexes {
        if let Some(old) = before.index(&index.name) {
            index.throughput = old.throughput;
        }
    }
    let owners: Vec<Option<&str>> = std::iter::once(None)
        .chain(after.indexes.iter().map(|i| Some(i.name.as_str())))
        .collect();
    for owner in owners {
        let (was, is) = (recorded(before, &key(owner)), recorded(after, &key(owner)));
        let Some(mut asked) = is.clone().filter(|_| was != is) else {
            continue;
        };
        for name in [INCREASED, DECREASED] {
            if number(&was, name) != number(&is, name)
                && let Some(at) = number(&is, name)
            {
                asked[name] = json!(at.saturating_sub(1));
            }
        }
        asked[DECREASES] = json!(decreases(&was, number(&is, DECREASED).unwrap_or(0)));
        set(&mut shown, &key(owner), asked);
    }
    shown
}

/// Applies billing mode, throughput and maxima of a request.
pub(super) fn change(
    settings: &Settings,
    indexes: Option<&IndexUpdates>,
    def: &mut TableDef,
    at: Moment,
) -> Result<(), ApiError> {
    let before = def.clone();
    let given = settings.throughput.as_ref().map(|t| t.units());
    let on_demand = match settings.billing.as_deref() {
        Some(mode) => mode == "PAY_PER_REQUEST",
        None => def.throughput.is_none(),
    };
    let switched = on_demand != def.throughput.is_none();
    match (on_demand, given) {
        (true, Some(_)) => return Err(invalid(NEITHER_UNIT)),
        (true, None) if switched => {
            def.throughput = None;
            def.indexes.iter_mut().for_each(|i| i.throughput = None);
            set(def, ON_DEMAND_SINCE, json!(at.now_ms));
        }
        (true, None) | (false, None) => {}
        (false, Some(units)) if def.throughput == Some(units) && indexes.is_none() => {
            return Err(unchanged(units));
        }
        (false, Some(units)) => {
            if let Some(old) = def.throughput.filter(|old| *old != units) {
                note(def, None, (old, units), at)?;
            }
            def.throughput = Some(units);
        }
    }
    if let Some(given) = &settings.on_demand {
        if !on_demand {
            maxima::refuse_provisioned(given, None)?;
        }
        maxima::merge(def, None, given);
    }
    if let Some(indexes) = indexes {
        indexes.set_throughput(def)?;
    }
    if switched && !on_demand {
        if recorded(def, ON_DEMAND_SINCE).is_none() {
            let since = def.created_us / 1000;
            set(def, ON_DEMAND_SINCE, json!(since));
        }
        maxima::clear(def);
        let global = def.indexes.iter().filter(|i| i.kind == IndexKind::Global);
        let bare: Vec<&str> = global
            .filter(|i| i.throughput.is_none())
            .map(|i| i.name.as_str())
            .collect();
        if !bare.is_empty() {
            return Err(invalid(format!(
                "ProvisionedThroughput must be specified for index: {}",
                bare.join(",")
            )));
        }
    }
    note_indexes(&before, def, at)?;
    warm::carry(&before, def);
    overrides::drop_changed(&before, def);
    Ok(())
}

fn note_indexes(before: &TableDef, def: &mut TableDef, at: Moment) -> Result<(), ApiError> {
    let moved: Vec<_> = def
        .indexes
        .iter()
        .filter_map(|i| {
            let old = before.index(&i.name)?.throughput?;
            let new = i.throughput.filter(|new| *new != old)?;
            Some((i.name.clone(), old, new))
        })
        .collect();
    for (name, old, new) in moved {
        note(def, Some(&name), (old, new), at)?;
    }
    Ok(())
}

fn unchanged((read, write): (u64, u64)) -> ApiError {
    ApiError::validation(format!(
        "The provisioned throughput for the table will not change. The requested value equals the current value. \
         Current ReadCapacityUnits provisioned for the table: {read}. Requested ReadCapacityUnits: {read}. \
         Current WriteCapacityUnits provisioned for the table: {write}. Requested WriteCapacityUnits: {write}. \
         Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_words() {
        // 2026-10-09T00:21:34Z, a Friday.
        assert_eq!(
            in_words(1_791_505_294_000),
            "Friday, October 9, 2026 at 12:21:34 AM Coordinated Universal Time"
        );
    }
}
