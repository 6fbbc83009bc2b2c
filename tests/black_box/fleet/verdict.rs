//! What must be true once a storm is over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::load::Ledger;
use super::weather::Weather;
use super::{FLEET, Fleet, TABLE, good};
use crate::common::{meridian, post};

/// The indexes of the table: the attributes that an item needs to be in it, and those it has there (all, where
/// none are named).
const INDEXES: [(&str, &[&str], &[&str]); 3] = [
    ("by_step", &["step"], &[]),
    ("by_tag", &["tag"], &[]),
    ("by_v", &["v"], &["pk", "sk", "v"]),
];

/// Of what is wrong, so much is shown.
const SHOWN: usize = 5;

/// By (pk, sk).
type Items = BTreeMap<(String, String), Value>;

/// What a storm was.
pub struct Summary {
    pub items: usize,
    pub acknowledged: BTreeMap<String, u64>,
    pub refused: u64,
    pub conflicts: usize,
    pub events: usize,
    /// From the end of the last fault to everything being everywhere.
    pub settled_in: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} events, {} items, {} versions that lost a race",
            self.events, self.items, self.conflicts
        )?;
        writeln!(
            f,
            "whole and equal {:.1} s after the last fault",
            self.settled_in.as_secs_f64()
        )?;
        write!(
            f,
            "acknowledged {:?}, unheard or refused {}",
            self.acknowledged, self.refused
        )
    }
}

/// Looks at everything, stops the regions and looks again.
pub async fn judge(
    fleet: Fleet,
    ledger: Ledger,
    weather: Weather,
    settled_in: Duration,
) -> Summary {
    let items = all_equal(&fleet).await;
    let mut losers = weather.losers;
    for region in FLEET {
        losers.extend(fleet.cluster.losers(region, TABLE).await);
    }
    nothing_lost(&ledger, &items, &losers);
    let status = fleet.cluster.status().await;
    for (region, status) in &status {
        let none = json!({"repaired": 0, "reported": 0, "suspects": 0});
        assert_eq!(status["repairs"], none, "{region}");
    }
    let folders = FLEET.map(|region| fleet.folder(region));
    let data = fleet.cluster.stop();
    for folder in folders {
        meridian(&["check".as_ref(), "--data".as_ref(), folder.as_os_str()])
            .await
            .success();
    }
    drop(data);
    Summary {
        items: items.len(),
        acknowledged: ledger.acknowledged,
        refused: ledger.refused,
        conflicts: losers.len(),
        events: weather.events,
        settled_in,
    }
}

/// Every region has the same items, and every index of every region has exactly them.
async fn all_equal(fleet: &Fleet) -> Items {
    let items = scan(fleet, FLEET[0], None).await;
    for region in FLEET {
        same(
            &scan(fleet, region, None).await,
            &items,
            region,
            "the table",
        );
        for (index, needs, has) in INDEXES {
            let found = scan(fleet, region, Some(index)).await;
            same(&found, &projected(&items, needs, has), region, index);
        }
    }
    items
}

fn projected(items: &Items, needs: &[&str], has: &[&str]) -> Items {
    let in_index = |item: &&Value| needs.iter().all(|name| !item[name].is_null());
    let project = |item: &Value| match has {
        [] => item.clone(),
        has => has
            .iter()
            .map(|name| ((*name).to_owned(), item[name].clone()))
            .collect(),
    };
    let fit = items.iter().filter(|(_, item)| in_index(item));
    fit.map(|(key, item)| (key.clone(), project(item)))
        .collect()
}

#[track_caller]
fn same(found: &Items, wanted: &Items, region: &str, what: &str) {
    let keys: BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
    let pairs = keys
        .into_iter()
        .map(|key| (key, found.get(key), wanted.get(key)));
    let wrong: Vec<_> = pairs.filter(|(_, found, wanted)| found != wanted).collect();
    assert!(
        wrong.is_empty(),
        "{what} of {region} is wrong at {} keys: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(SHOWN)]
    );
}

async fn scan(fleet: &Fleet, region: &str, index: Option<&str>) -> Items {
    let (mut items, mut start) = (Items::new(), Value::Null);
    loop {
        let mut body = json!({ "TableName": TABLE });
        if let Some(index) = index {
            body["IndexName"] = index.into();
        }
        if !start.is_null() {
            body["ExclusiveStartKey"] = start;
        }
        let mut page = good(&post(fleet.address(region), region, "Scan", body.to_string()).await);
        let text =
            |item: &Value, name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
        for mut item in page["Items"]
            .as_array_mut()
            .map(std::mem::take)
            .unwrap_or_default()
        {
            sort_set(&mut item);
            let key = (text(&item, "pk"), text(&item, "sk"));
            assert_eq!(
                items.insert(key, item),
                None,
                "twice in {index:?} of {region}"
            );
        }
        start = page["LastEvaluatedKey"].take();
        if start.is_null() {
            return items;
        }
    }
}

/// A set has no order.
fn sort_set(item: &mut Value) {
    if let Some(Value::Array(seen)) = item.pointer_mut("/seen/SS") {
        seen.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
}

/// What was acknowledged is there, or gave way to something later, or is in a conflict log.
fn nothing_lost(ledger: &Ledger, items: &Items, losers: &[Value]) {
    for (key, fits) in &ledger.own {
        let found = items.get(key).and_then(|item| item["v"]["S"].as_str());
        let found = found.map(str::to_owned);
        assert!(
            fits.contains(&found),
            "{key:?} is {found:?}, it can only be {fits:?}"
        );
    }
    let strangers: Vec<_> = (items.keys())
        .filter(|key| key.0 != "hot" && !ledger.own.contains_key(*key))
        .collect();
    assert!(strangers.is_empty(), "nobody wrote {strangers:?}");
    let mut seen = BTreeSet::new();
    for item in items.values().chain(losers) {
        let sk = item["sk"]["S"].as_str().unwrap_or_default();
        for version in item["seen"]["SS"].as_array().into_iter().flatten() {
            seen.insert((
                sk.to_owned(),
                version.as_str().unwrap_or_default().to_owned(),
            ));
        }
    }
    let lost: Vec<_> = ledger.hot.difference(&seen).collect();
    assert!(
        lost.is_empty(),
        "acknowledged, not there and in no conflict log: {lost:?}"
    );
}
