//! What is sent between regions, and what it would come to at AWS list prices.

use super::parts::{open, section, table};
use super::svg::{bytes, count, escape};
use crate::simulation::cost::Cost;
use crate::simulation::figures::{Figures, LinkFigures};

/// Millionths of a dollar as people read prices.
pub fn dollars(micros: u64) -> String {
    let dollars = micros as f64 / 1e6;
    match dollars {
        _ if micros == 0 => "$0".into(),
        _ if dollars < 0.01 => "< $0.01".into(),
        _ if dollars < 100.0 => format!("${dollars:.2}"),
        _ => format!("${}", count(dollars.round() as u64)),
    }
}

fn price(micros: Option<u64>) -> String {
    micros.map_or("not known".into(), dollars)
}

pub fn traffic(figures: &Figures) -> String {
    let total: u64 = figures.links.iter().map(LinkFigures::bytes).sum();
    let mut body = lanes(figures, total);
    body.push_str(&table(
        &[
            "from",
            "to",
            "#bytes",
            "#mean rate",
            "#commits",
            "#relayed",
            "#a month",
            "#at list prices",
        ],
        &figures
            .links
            .iter()
            .map(|link| link_row(figures, link))
            .collect::<Vec<_>>(),
    ));
    let rows = lane_rows(figures);
    let heads = [
        "from",
        "to",
        "lane",
        "#frames",
        "#bytes",
        "#mean rate",
        "#frames dropped",
    ];
    body.push_str(&format!(
        "<details{}><summary>Each link and lane</summary>{}</details>",
        open(&rows),
        table(&heads, &rows)
    ));
    let travel = &figures.travel;
    let again = travel.commits_sent.saturating_sub(travel.commits_needed);
    let note = format!(
        "{} in all, as replication frames, before QUIC and encryption. {} commits were sent for {} that were needed ({} again, or by \
         two ways); {:.1} % went through a third region. Dropped: sent into a cut or a connection that was down.",
        bytes(total),
        count(travel.commits_sent),
        count(travel.commits_needed),
        count(again),
        travel.relayed_permille as f64 / 10.0
    );
    section("Traffic between regions", &note, &body)
}

/// One bar: how the bytes fall to the lanes.
fn lanes(figures: &Figures, total: u64) -> String {
    let mut lanes: Vec<(String, u64)> = Vec::new();
    for traffic in figures.links.iter().flat_map(|link| &link.traffic) {
        match lanes.iter_mut().find(|(lane, _)| *lane == traffic.lane) {
            Some((_, sum)) => *sum += traffic.bytes,
            None => lanes.push((traffic.lane.clone(), traffic.bytes)),
        }
    }
    lanes.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
    let mut bar = String::new();
    let mut legend = String::new();
    for (at, (lane, sum)) in lanes.iter().enumerate() {
        let share = *sum as f64 * 100.0 / total.max(1) as f64;
        bar.push_str(&format!(
            "<span class=\"s{at}\" style=\"width:{share:.2}%\"></span>"
        ));
        legend.push_str(&format!(
            "<li><i class=\"s{at}\"></i>{} {} ({share:.1} %)</li>",
            escape(lane),
            bytes(*sum)
        ));
    }
    format!("<div class=\"stack\">{bar}</div><ul class=\"legend\">{legend}</ul>")
}

fn link_row(figures: &Figures, link: &LinkFigures) -> Vec<String> {
    let rate = link.bytes() as f64 * 1e6 / figures.virtual_us.max(1) as f64;
    vec![
        link.from.clone(),
        link.to.clone(),
        bytes(link.bytes()),
        format!("{}/s", bytes(rate as u64)),
        count(link.commits_sent),
        count(link.commits_relayed),
        bytes(link.bytes_per_month),
        price(link.transfer_microusd_per_month),
    ]
}

fn lane_rows(figures: &Figures) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for link in &figures.links {
        for traffic in &link.traffic {
            let rate = traffic.bytes as f64 * 1e6 / figures.virtual_us.max(1) as f64;
            rows.push(vec![
                link.from.clone(),
                link.to.clone(),
                traffic.lane.clone(),
                count(traffic.frames),
                bytes(traffic.bytes),
                format!("{}/s", bytes(rate as u64)),
                count(traffic.dropped_frames),
            ]);
        }
    }
    rows
}

pub fn costs(figures: &Figures) -> String {
    if figures.costs.is_empty() {
        return String::new();
    }
    let row = |cost: &Cost| {
        vec![
            cost.region.clone(),
            bytes(cost.bytes_sent_per_month),
            price(cost.transfer_microusd_per_month),
            count(cost.replicated_write_units_per_month),
            price(cost.dynamodb_writes_microusd_per_month),
        ]
    };
    let mut rows: Vec<Vec<String>> = figures.costs.iter().map(row).collect();
    let sum = |of: fn(&Cost) -> Option<u64>| figures.costs.iter().map(of).sum::<Option<u64>>();
    rows.push(vec![
        "all".into(),
        bytes(figures.costs.iter().map(|c| c.bytes_sent_per_month).sum()),
        price(sum(|c| c.transfer_microusd_per_month)),
        count(
            figures
                .costs
                .iter()
                .map(|c| c.replicated_write_units_per_month)
                .sum(),
        ),
        price(sum(|c| c.dynamodb_writes_microusd_per_month)),
    ]);
    let heads = [
        "region",
        "#sent to other regions",
        "#transfer",
        "#write units in DynamoDB",
        "#their price in DynamoDB",
    ];
    let note = format!(
        "As if the run went on for 730 hours. At AWS {}, for comparison: what replication's frames would cost between AWS \
         regions, and beside it what a DynamoDB global table would bill for the same writes on demand (its own transfer, reads \
         and storage come on top; so do Meridian's machines and disks). Prices that nobody checked are marked so in the program's \
         price table.",
        escape(&figures.prices)
    );
    section("What a month would come to", &note, &table(&heads, &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_as_exact_as_they_need_to_be() {
        assert_eq!(dollars(0), "$0");
        assert_eq!(dollars(9_000), "< $0.01");
        assert_eq!(dollars(1_234_567), "$1.23");
        assert_eq!(dollars(1_234_567_000), "$1\u{202f}235");
        assert_eq!(price(None), "not known");
    }
}
