//! GET /metrics and GET /health: what watches a region from outside. docs/metrics.md lists the metrics.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::status::{LinkReport, Status};
use crate::replica::{buckets, log, read, stable};
use crate::replication::Traffic;
use crate::store::{Db, ReadTxn, StoreError};
use crate::telemetry::{Page, exact};

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// The answer, where the request is for one of these pages and from no browser.
pub(super) fn answer<B>(status: &Status, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    if request.method() != Method::GET || request.headers().contains_key(ORIGIN) {
        return None;
    }
    let (code, kind, body) = match request.uri().path() {
        "/metrics" => match status.metrics_page() {
            Ok(page) => (StatusCode::OK, PROMETHEUS, page),
            Err(error) => failed(&error),
        },
        "/health" => match status.health() {
            Ok((code, body)) => (code, JSON, body),
            Err(error) => failed(&error),
        },
        _ => return None,
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Some(response)
}

fn failed(error: &StoreError) -> (StatusCode, &'static str, String) {
    let body = format!(
        "{}\n",
        json!({"status": "failing", "reason": error.to_string()})
    );
    (StatusCode::SERVICE_UNAVAILABLE, JSON, body)
}

impl Status {
    /// 200 while the region serves reads and writes; 503 and why while it does not.
    fn health(&self) -> Result<(StatusCode, String), StoreError> {
        let txn = self.store.begin_read()?;
        let notices = self.notices(&*txn, &self.links(&*txn)?)?;
        let name = &self.info.name;
        let (code, body) = match notices.iter().find(|notice| notice.stops) {
            None => (StatusCode::OK, json!({"region": name, "status": "serving"})),
            Some(notice) => {
                let body = json!({
                    "region": name, "status": notice.code, "reason": notice.text, "hint": notice.hint,
                });
                (StatusCode::SERVICE_UNAVAILABLE, body)
            }
        };
        Ok((code, format!("{body}\n")))
    }

    fn metrics_page(&self) -> Result<String, StoreError> {
        let txn = self.store.begin_read()?;
        let mut page = Page::default();
        self.region_metrics(&mut page);
        self.link_metrics(&mut page, &self.links(&*txn)?);
        self.log_metrics(&mut page, &*txn)?;
        self.silence_metrics(&mut page);
        self.table_metrics(&mut page, &*txn)?;
        self.store_metrics(&mut page)?;
        self.work_metrics(&mut page);
        self.request_metrics(&mut page);
        Ok(page.into_text())
    }

    fn region_metrics(&self, page: &mut Page) {
        let info = "meridian_info";
        page.begin(info, "gauge", "1; who this is, in its labels.");
        let labels = [
            ("region", self.info.name.as_str()),
            ("cluster", self.cluster.as_str()),
            ("version", env!("CARGO_PKG_VERSION")),
        ];
        page.sample(info, &labels, 1.0);
        let up = std::time::Duration::from_micros(self.clock.now().mono_us).as_secs_f64();
        page.gauge("meridian_uptime_seconds", "Since the process began.", up);
        if let Some(expires_s) = self.certificate.expires_s() {
            page.gauge(
                "meridian_certificate_expiry_timestamp_seconds",
                "When the certificate or its authority expires, whichever is first, since 1970.",
                exact(expires_s),
            );
        }
        if let Some(lag) = self.stable_lag() {
            page.gauge(
                "meridian_stable_lag_seconds",
                "How long ago the newest moment was of which every region has every commit.",
                lag.as_secs_f64(),
            );
        }
    }

    fn link_metrics(&self, page: &mut Page, links: &[LinkReport]) {
        let mut gauge =
            |name: &str, label: &str, help: &str, of: &dyn Fn(&LinkReport) -> Option<f64>| {
                page.begin(name, "gauge", help);
                for link in links {
                    if let Some(value) = of(link) {
                        page.sample(name, &[(label, &link.peer)], value);
                    }
                }
            };
        let flag = |on: bool| if on { 1.0 } else { 0.0 };
        gauge(
            "meridian_link_connected",
            "peer",
            "1 when both sides have accepted each other.",
            &|link| Some(flag(link.connected)),
        );
        gauge(
            "meridian_link_refused",
            "peer",
            "1 when one side refused the other and they are not connected since.",
            &|link| Some(flag(link.refusal.is_some() && !link.connected)),
        );
        gauge(
            "meridian_link_lag_commits",
            "peer",
            "Commits of this region that the peer has not acknowledged as durable.",
            &|link| Some(exact(link.behind)),
        );
        gauge(
            "meridian_link_lag_seconds",
            "peer",
            "How long ago the first of those commits was made.",
            &|link| Some(link.behind_s),
        );
        gauge(
            "meridian_link_lag_bytes",
            "peer",
            "Bytes of those commits; of more than 10000 in one log, the first 10000.",
            &|link| Some(exact(link.behind_bytes)),
        );
        gauge(
            "meridian_link_queued_bytes",
            "peer",
            "Bytes in frames that wait to be sent to the peer.",
            &|link| Some(exact(link.queued_bytes as u64)),
        );
        gauge(
            "meridian_link_rtt_seconds",
            "peer",
            "Round trip as commits experience it, injected delay included.",
            &|link| link.rtt_ms.map(|ms| ms / 1_000.0),
        );
        gauge(
            "meridian_link_last_heard_seconds",
            "peer",
            "Since the last frame from the peer.",
            &|link| link.last_heard_ms.map(|ms| exact(ms) / 1_000.0),
        );
        gauge(
            "meridian_clock_offset_seconds",
            "peer",
            "How far the peer's clock is ahead of this region's.",
            &|link| link.offset_ms.map(|ms| ms / 1_000.0),
        );
        gauge(
            "meridian_clock_offset_error_seconds",
            "peer",
            "How wrong that may be.",
            &|link| link.offset_error_ms.map(|ms| ms / 1_000.0),
        );
        gauge(
            "meridian_pending_replication_count",
            "receiving_region",
            "AWS's PendingReplicationCount: commits of this region that the receiving region lacks.",
            &|link| Some(exact(link.behind)),
        );
        self.traffic_metrics(page, links);
    }

    fn traffic_metrics(&self, page: &mut Page, links: &[LinkReport]) {
        let mut counter = |name: &str, help: &str, of: &dyn Fn(&Traffic) -> u64| {
            page.begin(name, "counter", help);
            for link in links {
                page.sample(name, &[("peer", &link.peer)], exact(of(&link.traffic)));
            }
        };
        counter(
            "meridian_link_commits_sent_total",
            "Commits sent to the peer; what is sent again counts again.",
            &|t| t.commits_sent,
        );
        counter(
            "meridian_link_raw_bytes_total",
            "Bytes of batches and copies for the peer before compression.",
            &|t| t.raw_bytes,
        );
        counter(
            "meridian_link_sent_bytes_total",
            "The same as sent: compressed where that is worth it.",
            &|t| t.sent_bytes,
        );
        counter(
            "meridian_link_stalls_total",
            "How often the peer's acknowledgements stayed away and all was sent again.",
            &|t| t.stalls,
        );
        let name = "meridian_link_commits_received_total";
        page.begin(name, "counter", "Commits taken in from the peer.");
        for link in links {
            let received = [
                ("origin", link.traffic.commits_own),
                ("relay", link.traffic.commits_relayed),
            ];
            for (via, commits) in received {
                page.sample(name, &[("peer", &link.peer), ("via", via)], exact(commits));
            }
        }
        page.histograms(
            "meridian_link_batch_bytes",
            "Batches of commits by what they take as sent.",
            (&["peer"], &[]),
            &self.metrics.batch_bytes,
        );
    }

    /// Commits that wait because they are from the future.
    fn held_metrics(&self, page: &mut Page) {
        let report = self.clock_report();
        let held = report["held"].as_array().into_iter().flatten();
        let held: Vec<(String, f64, f64)> = held
            .map(|held| {
                let origin = held["origin"].as_str().unwrap_or_default().to_string();
                let (commits, lead_ms) = (held["commits"].as_f64(), held["lead_ms"].as_f64());
                (origin, commits.unwrap_or(0.0), lead_ms.unwrap_or(0.0) / 1e3)
            })
            .collect();
        let name = "meridian_held_commits";
        page.begin(name, "gauge", "Commits that wait until it is their time.");
        for (origin, commits, _) in &held {
            page.sample(name, &[("origin", origin)], *commits);
        }
        let name = "meridian_held_lead_seconds";
        page.begin(name, "gauge", "How far the first of them is in the future.");
        for (origin, _, lead) in &held {
            page.sample(name, &[("origin", origin)], *lead);
        }
    }

    fn log_metrics(&self, page: &mut Page, txn: &dyn ReadTxn) -> Result<(), StoreError> {
        let applied = self.frontier(&log::frontier(txn)?);
        let name = "meridian_commits_total";
        page.begin(
            name,
            "counter",
            "Commits applied here, by the region that made them.",
        );
        for (origin, seq) in applied {
            page.sample(name, &[("origin", &origin)], exact(seq));
        }
        let held = txn.size(Db::Log)?;
        page.gauge(
            "meridian_log_commits",
            "Commits held in the log, of all origins.",
            exact(held.entries),
        );
        let found = buckets::repairs(txn)?;
        page.gauge(
            "meridian_repaired_items",
            "Items that were lost here and put right; any is a bug or a bad disk.",
            exact(found.repaired),
        );
        page.gauge(
            "meridian_reported_items",
            "Items found to differ and left as they are; any is a bug or a bad disk.",
            exact(found.reported),
        );
        page.gauge(
            "meridian_suspect_ranges",
            "Ranges whose fingerprints do not fit what is stored; any is a bug or a bad disk.",
            exact(found.suspects as u64),
        );
        self.held_metrics(page);
        let fenced = self.clock_report()["fenced"] == true;
        page.gauge(
            "meridian_fenced",
            "1 while local writes are refused because this region's clock is ahead.",
            if fenced { 1.0 } else { 0.0 },
        );
        page.gauge("meridian_log_bytes", "What they take.", exact(held.bytes));
        page.gauge(
            "meridian_tombstones_waiting",
            "Deleted items that are remembered until every region has the deletion.",
            exact(stable::waiting(txn)?),
        );
        Ok(())
    }

    fn table_metrics(&self, page: &mut Page, txn: &dyn ReadTxn) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        for def in read::tables(txn, self.info.id)? {
            let counts = read::counts(txn, &def)?;
            rows.push((def.name.clone(), counts.items, counts.bytes));
        }
        let name = "meridian_table_items";
        page.begin(
            name,
            "gauge",
            "Items in this region's replica of the table.",
        );
        for (table, items, _) in &rows {
            page.sample(name, &[("table", table)], exact(*items));
        }
        let name = "meridian_table_bytes";
        page.begin(name, "gauge", "Their size as DynamoDB counts it.");
        for (table, _, bytes) in &rows {
            page.sample(name, &[("table", table)], exact(*bytes));
        }
        Ok(())
    }

    fn store_metrics(&self, page: &mut Page) -> Result<(), StoreError> {
        let Some(usage) = self.store.usage()? else {
            return Ok(());
        };
        let gauges = [
            (
                "meridian_store_map_bytes",
                "The most that the data file may grow to.",
                usage.map_bytes,
            ),
            (
                "meridian_store_used_bytes",
                "The data file up to its highest page in use.",
                usage.used_bytes,
            ),
            (
                "meridian_store_free_bytes",
                "Pages below that which are free for use again.",
                usage.free_bytes,
            ),
            (
                "meridian_store_readers",
                "Slots of readers that were ever taken.",
                usage.readers,
            ),
            (
                "meridian_store_oldest_reader_commits",
                "Commits since the oldest read began that still goes on; pages freed since wait for it.",
                usage.oldest_reader_commits,
            ),
        ];
        for (name, help, value) in gauges {
            page.gauge(name, help, exact(value));
        }
        Ok(())
    }

    fn work_metrics(&self, page: &mut Page) {
        let metrics = &self.metrics;
        page.histogram(
            "meridian_group_seconds",
            "From the beginning of a group of writes to its being durable.",
            &metrics.group_seconds,
        );
        page.histogram(
            "meridian_group_jobs",
            "Client writes and peers' batches that one durable commit covers.",
            &metrics.group_jobs,
        );
        let name = "meridian_groups_refused_total";
        page.begin(name, "counter", "Groups refused because the disk was full.");
        page.sample(name, &[], exact(metrics.groups_refused.get()));
        page.histogram(
            "meridian_apply_seconds",
            "From a peer's batch being handed to the writer to its being durable.",
            &metrics.apply_seconds,
        );
        let receiver = [("receiving_region", self.info.name.as_str())];
        page.histograms(
            "meridian_replication_latency_seconds",
            "AWS's ReplicationLatency: from a write in the source region, by its clock, to its being durable here.",
            (&["source_region", "table"], &receiver),
            &metrics.replication_seconds,
        );
        page.counters(
            "meridian_conflicts_total",
            "Versions that lost a race, found here.",
            &["table"],
            &metrics.conflicts,
        );
        page.counters(
            "meridian_ttl_deleted_items_total",
            "AWS's TimeToLiveDeletedItemCount: items that this region expired.",
            &["table"],
            &metrics.expired,
        );
    }

    fn request_metrics(&self, page: &mut Page) {
        let metrics = &self.metrics;
        page.counters(
            "meridian_requests_total",
            "Requests answered.",
            &["operation", "status"],
            &metrics.requests,
        );
        page.counters(
            "meridian_request_errors_total",
            "Requests answered with an exception.",
            &["operation", "exception"],
            &metrics.errors,
        );
        page.histograms(
            "meridian_request_seconds",
            "From a request's being read to its answer's being ready.",
            (&["operation"], &[]),
            &metrics.request_seconds,
        );
        page.counters(
            "meridian_throttled_requests_total",
            "Requests refused because capacity or the queue of writes was used up.",
            &["operation"],
            &metrics.throttled,
        );
        page.counters(
            "meridian_writes_refused_total",
            "Writes that were not even queued.",
            &["reason"],
            &metrics.writes_refused,
        );
    }
}
