//! `status` for a person: what is wrong first, then who is behind whom, then each region.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};

use super::CliError;

/// Every region's notices, with the region's name in each: what `status --json` has as `notices`.
pub fn notices(regions: &[Value]) -> Vec<Value> {
    let mut all = Vec::new();
    for region in regions {
        let name = text(region, "name");
        if let Some(error) = region.get("error").and_then(Value::as_str) {
            all.push(json!({
                "region": name, "level": "error", "code": "down", "text": error, "stops": true,
                "hint": "start it; its log on standard error says why it ended",
            }));
        }
        for notice in list(region, "notices") {
            let mut notice = notice.clone();
            if let Some(members) = notice.as_object_mut() {
                members.insert("region".into(), name.into());
            }
            all.push(notice);
        }
        all.extend(told_elsewhere(region, name));
    }
    all
}

/// What parts of the report say of themselves: one line each.
fn told_elsewhere(region: &Value, name: &str) -> Vec<Value> {
    let notice = |code: &str, text: String, hint: &str| json!({"region": name, "level": "error", "code": code, "text": text, "hint": hint});
    let mut all = Vec::new();
    if let Some(reason) = region.get("rebuilding").and_then(Value::as_str) {
        let hint = "wait, and use another region meanwhile";
        all.push(notice(
            "rebuilding",
            format!("it is being rebuilt: {reason}"),
            hint,
        ));
    }
    all
}

/// How far each region is behind each: by receiver, then by who made the commits. What `status --json` has
/// as `lag`.
pub fn lag(regions: &[Value]) -> BTreeMap<String, BTreeMap<String, Value>> {
    let mut matrix: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for origin in regions {
        for link in list(origin, "links") {
            let cell = json!({
                "commits": link.get("behind"),
                "seconds": link.get("behind_s"),
                "bytes": link.get("behind_bytes"),
                "connected": link.get("connected"),
            });
            let row = matrix.entry(text(link, "peer").to_owned()).or_default();
            row.insert(text(origin, "name").to_owned(), cell);
        }
    }
    matrix
}

pub fn print(out: &mut impl Write, cluster: &str, regions: &[Value]) -> Result<(), CliError> {
    writeln!(out, "cluster {cluster}{}", members(regions))?;
    print_notices(out, &notices(regions))?;
    print_lag(out, regions)?;
    for region in regions {
        print_region(out, region)?;
    }
    Ok(())
}

/// The members that are not simply there, at the newest epoch that any region knows.
fn members(regions: &[Value]) -> String {
    let epoch = |region: &&Value| region.get("epoch").and_then(Value::as_u64);
    let Some(newest) = regions.iter().max_by_key(epoch) else {
        return String::new();
    };
    let others = list(newest, "members")
        .iter()
        .filter(|member| text(member, "state") != "active");
    let others: Vec<String> = others
        .map(|member| format!("{} is {}", text(member, "name"), text(member, "state")))
        .collect();
    match epoch(&newest) {
        None | Some(0..=1) if others.is_empty() => String::new(),
        None => String::new(),
        Some(epoch) if others.is_empty() => format!(" (members of epoch {epoch})"),
        Some(epoch) => format!(" (members of epoch {epoch}: {})", others.join(", ")),
    }
}

fn print_notices(out: &mut impl Write, notices: &[Value]) -> Result<(), CliError> {
    if notices.is_empty() {
        writeln!(out, "all is well")?;
    }
    for notice in notices {
        let (level, region) = (text(notice, "level"), text(notice, "region"));
        // Words from elsewhere may have lines of their own.
        let words = text(notice, "text").replace('\n', "\n  ");
        writeln!(out, "{level}: {region}: {words}")?;
        writeln!(out, "  hint: {}", text(notice, "hint"))?;
    }
    Ok(())
}

fn print_lag(out: &mut impl Write, regions: &[Value]) -> Result<(), CliError> {
    if regions.len() < 2 {
        return Ok(());
    }
    let matrix = lag(regions);
    let names: Vec<&str> = regions.iter().map(|region| text(region, "name")).collect();
    let mut rows = Vec::new();
    for receiver in &names {
        let cells = names.iter().map(|origin| {
            let cell = matrix.get(*receiver).and_then(|row| row.get(*origin));
            cell_text(receiver == origin, cell)
        });
        rows.push(cells.collect::<Vec<String>>());
    }
    let longest = rows.iter().flatten().map(String::len);
    let width = longest.chain(names.iter().map(|name| name.len())).max();
    let width = width.unwrap_or(0) + 2;
    writeln!(
        out,
        "\nbehind (each row: what that region lacks of each column's commits)"
    )?;
    write!(out, "  {:width$}", "")?;
    for name in &names {
        write!(out, "{name:>width$}")?;
    }
    writeln!(out)?;
    for (receiver, cells) in names.iter().zip(rows) {
        write!(out, "  {receiver:width$}")?;
        for cell in cells {
            write!(out, "{cell:>width$}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// `-` for a region and itself, `?` where the one that made the commits does not answer.
fn cell_text(itself: bool, cell: Option<&Value>) -> String {
    let Some(cell) = cell else {
        return if itself { "-" } else { "?" }.to_owned();
    };
    let commits = cell.get("commits").and_then(Value::as_u64).unwrap_or(0);
    let seconds = cell.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
    let behind = match commits {
        0 => "0".to_owned(),
        _ => format!("{commits} / {}", span(seconds)),
    };
    match cell.get("connected").and_then(Value::as_bool) {
        Some(true) => behind,
        _ => format!("{behind} (cut)"),
    }
}

/// Seconds as a person says them.
fn span(seconds: f64) -> String {
    let minutes = seconds / 60.0;
    if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else if minutes < 100.0 {
        format!("{minutes:.0} min")
    } else {
        format!("{:.0} h", minutes / 60.0)
    }
}

/// Bytes as a person says them.
fn size(region: &Value, member: &str) -> String {
    let Some(bytes) = region.get(member).and_then(Value::as_u64) else {
        return "-".into();
    };
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

fn print_region(out: &mut impl Write, region: &Value) -> Result<(), CliError> {
    let (name, endpoint) = (text(region, "name"), text(region, "endpoint"));
    if region.get("error").is_some() {
        writeln!(out, "\n{name}  {endpoint}  DOWN")?;
        return Ok(());
    }
    let (pid, mut conflicts) = (number(region, "pid"), number(region, "conflicts"));
    let counts = region.get("conflict_counts").unwrap_or(&Value::Null);
    if counts.get("dropped").and_then(Value::as_u64).unwrap_or(0) > 0 {
        conflicts.push_str(&format!(" ({} dropped)", number(counts, "dropped")));
    }
    writeln!(
        out,
        "\n{name}  {endpoint}  pid {pid}  conflicts {conflicts}"
    )?;
    let store = region.get("store").unwrap_or(&Value::Null);
    let stable = region.get("stable_lag_ms").and_then(Value::as_f64);
    let stable = stable.map_or_else(|| "-".into(), |ms| format!("{} ago", span(ms / 1_000.0)));
    writeln!(
        out,
        "  backlog {}  tombstones {}  stable {stable}  store {}",
        size(region, "backlog_bytes"),
        number(region, "tombstones"),
        size(store, "used_bytes")
    )?;
    print_certificate(out, region)?;
    for table in list(region, "tables") {
        let (table, items) = (text(table, "name"), number(table, "items"));
        writeln!(out, "  table {table:<30} {items:>10} items")?;
    }
    for link in list(region, "links") {
        print_link(out, link)?;
    }
    Ok(())
}

/// Silent for the certificates of `up`, which never expire.
fn print_certificate(out: &mut impl Write, region: &Value) -> Result<(), CliError> {
    const FOR_EVER_DAYS: i64 = 100 * 365;
    let certificate = region.get("certificate").unwrap_or(&Value::Null);
    let days = certificate.get("days_left").and_then(Value::as_i64);
    if let Some(days) = days.filter(|days| *days < FOR_EVER_DAYS) {
        let until = text(certificate, "expires");
        writeln!(out, "  certificate until {until} ({days} days)")?;
    }
    Ok(())
}

fn print_link(out: &mut impl Write, link: &Value) -> Result<(), CliError> {
    let connected = link.get("connected").and_then(Value::as_bool);
    let state = match (connected.unwrap_or(false), text(link, "cut")) {
        (_, "both") => "cut",
        (_, "out") => "cut (outgoing)",
        (true, _) => "connected",
        (false, _) => "NOT CONNECTED",
    };
    let (behind, rtt) = (number(link, "behind"), number(link, "rtt_ms"));
    let peer = text(link, "peer");
    write!(
        out,
        "  to {peer:<18} {state:<15} behind {behind:>6} commits  rtt {rtt:>7} ms"
    )?;
    if link.get("offset_ms").is_some_and(Value::is_number) {
        let (offset, error) = (number(link, "offset_ms"), number(link, "offset_error_ms"));
        write!(out, "  clock {offset:>8} +-{error} ms")?;
    }
    writeln!(out)?;
    Ok(())
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    let list = value.get(member).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or("-")
}

fn number(value: &Value, member: &str) -> String {
    match value.get(member) {
        Some(Value::Number(n)) if n.is_f64() => format!("{:.1}", n.as_f64().unwrap_or_default()),
        Some(Value::Number(n)) => n.to_string(),
        _ => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str, peer: &str, behind: u64, seconds: f64, connected: bool) -> Value {
        json!({
            "name": name, "endpoint": "http://x", "pid": 7, "conflicts": 2, "tombstones": 5,
            "backlog_bytes": 20_000, "stable_lag_ms": 1_500, "notices": [],
            "links": [{
                "peer": peer, "connected": connected, "cut": "none", "behind": behind,
                "behind_s": seconds, "behind_bytes": 20_000, "rtt_ms": 70.04,
            }],
        })
    }

    fn printed(regions: &[Value]) -> String {
        let mut out = Vec::new();
        print(&mut out, "shop", regions).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_healthy_cluster_is_said_in_few_lines() {
        let regions = [
            region("us-east-1", "eu-west-1", 0, 0.0, true),
            region("eu-west-1", "us-east-1", 12, 3.44, true),
        ];
        let shown = printed(&regions);
        let wanted = "\
cluster shop
all is well

behind (each row: what that region lacks of each column's commits)
                 us-east-1   eu-west-1
  us-east-1              -  12 / 3.4 s
  eu-west-1              0           -

us-east-1  http://x  pid 7  conflicts 2
  backlog 20 kB  tombstones 5  stable 1.5 s ago  store -
  to eu-west-1          connected       behind      0 commits  rtt    70.0 ms
";
        assert!(shown.starts_with(wanted), "{shown}");
    }

    #[test]
    fn troubles_come_first_each_with_what_to_do() {
        let mut regions = [
            region("us-east-1", "eu-west-1", 3, 7_300.0, false),
            json!({"name": "eu-west-1", "endpoint": "http://y", "error": "no answer", "links": []}),
        ];
        regions[0]["notices"] = json!([{
            "level": "warning", "code": "certificate_expiring", "text": "expires", "hint": "renew it",
        }]);
        regions[0]["rebuilding"] = "half done".into();
        regions[0]["links"][0]["offset_ms"] = json!(1.25);
        regions[0]["links"][0]["offset_error_ms"] = json!(0.5);
        let shown = printed(&regions);
        for words in [
            "warning: us-east-1: expires\n  hint: renew it\n",
            "error: us-east-1: it is being rebuilt: half done\n  hint: ",
            "error: eu-west-1: no answer\n  hint: ",
            "3 / 2 h (cut)",
            "?",
            "eu-west-1  http://y  DOWN",
            "NOT CONNECTED",
            "clock      1.2 +-0.5 ms",
        ] {
            assert!(shown.contains(words), "no '{words}' in:\n{shown}");
        }
        assert!(!shown.contains("all is well"), "{shown}");
        let codes: Vec<Value> = notices(&regions)
            .iter()
            .map(|n| n["code"].clone())
            .collect();
        let wanted = ["certificate_expiring", "rebuilding", "down"];
        assert_eq!(codes, wanted);
        assert_eq!(lag(&regions)["eu-west-1"]["us-east-1"]["commits"], 3);
    }
}
