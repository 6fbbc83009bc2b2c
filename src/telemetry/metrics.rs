//! Metrics: counters and histograms that cost an atomic operation to raise, and the text that Prometheus
//! reads (exposition format 0.0.4), written by hand.
//!
//! Nothing here reads a clock: who drives something measures it. docs/metrics.md says what each one means.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Sets of labels kept of one metric; past it, new ones are counted together under [`OTHERS`]. Tables come
/// and go, memory must not only come.
const LABEL_SETS_MAX: usize = 4_096;
const OTHERS: &str = "(others)";

/// Seconds that a request or a group of writes may take.
const WORK_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Seconds from a write in one region to its being durable in another.
const REPLICATION_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
];
/// Bytes of a batch as it was sent.
const BATCH_BYTES: &[f64] = &[
    256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
];
const GROUP_JOBS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Only ever rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many observations were at most how large.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds: the last takes the rest.
    buckets: Vec<AtomicU64>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Histogram {
    pub fn new(bounds: &'static [f64]) -> Self {
        Histogram {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    fn work_seconds() -> Self {
        Histogram::new(WORK_SECONDS)
    }

    fn replication_seconds() -> Self {
        Histogram::new(REPLICATION_SECONDS)
    }

    fn batch_bytes() -> Self {
        Histogram::new(BATCH_BYTES)
    }

    pub fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // The closure always gives a value, so this always ends with one.
        let _ = self
            .sum
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

/// One metric for every set of labels.
#[derive(Debug)]
pub struct Family<T> {
    make: fn() -> T,
    members: RwLock<BTreeMap<Vec<String>, Arc<T>>>,
}

impl<T> Family<T> {
    pub fn new(make: fn() -> T) -> Self {
        Family {
            make,
            members: RwLock::default(),
        }
    }

    /// The one with these labels, in the order that the page gives them.
    pub fn with(&self, labels: &[&str]) -> Arc<T> {
        let mut key: Vec<String> = labels.iter().map(|l| (*l).to_string()).collect();
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = members.get(&key) {
            return Arc::clone(member);
        }
        if members.len() >= LABEL_SETS_MAX {
            key = vec![OTHERS.to_string(); labels.len()];
        }
        drop(members);
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let member = members
            .entry(key)
            .or_insert_with(|| Arc::new((self.make)()));
        Arc::clone(member)
    }

    fn all(&self) -> Vec<(Vec<String>, Arc<T>)> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        let pair = |(labels, member): (&Vec<String>, &Arc<T>)| (labels.clone(), Arc::clone(member));
        members.iter().map(pair).collect()
    }
}

/// What is counted while a region runs. What can be read from its store or its links when asked is not here.
#[derive(Debug)]
pub struct Metrics {
    /// By operation and HTTP status.
    pub requests: Family<Counter>,
    /// By operation and exception.
    pub errors: Family<Counter>,
    /// By operation.
    pub request_seconds: Family<Histogram>,
    /// By operation: refused because capacity or the queue was used up.
    pub throttled: Family<Counter>,
    /// By reason, before the writer took them.
    pub writes_refused: Family<Counter>,
    /// From the first job of a group to its being durable.
    pub group_seconds: Histogram,
    pub group_jobs: Histogram,
    /// Groups that were refused whole because the disk was full.
    pub groups_refused: Counter,
    /// When a group was last refused because the disk was full, by the region's monotonic clock in
    /// microseconds; 0 = never.
    pub store_full_us: AtomicU64,
    /// By the region that made the commits, and by table.
    pub replication_seconds: Family<Histogram>,
    /// From a peer's batch being handed to the writer to its being durable.
    pub apply_seconds: Histogram,
    /// By peer.
    pub batch_bytes: Family<Histogram>,
    /// By table: items that this region expired.
    pub expired: Family<Counter>,
    /// By table: versions that lost a race here.
    pub conflicts: Family<Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            requests: Family::new(Counter::default),
            errors: Family::new(Counter::default),
            request_seconds: Family::new(Histogram::work_seconds),
            throttled: Family::new(Counter::default),
            writes_refused: Family::new(Counter::default),
            group_seconds: Histogram::work_seconds(),
            group_jobs: Histogram::new(GROUP_JOBS),
            groups_refused: Counter::default(),
            store_full_us: AtomicU64::new(0),
            replication_seconds: Family::new(Histogram::replication_seconds),
            apply_seconds: Histogram::work_seconds(),
            batch_bytes: Family::new(Histogram::batch_bytes),
            expired: Family::new(Counter::default),
            conflicts: Family::new(Counter::default),
        }
    }
}

/// Labels of one sample: name and value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// The text of one scrape.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Begins a metric; its samples follow. `kind` is `counter`, `gauge` or `histogram`.
    pub fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.0.push_str(name);
        if !labels.is_empty() {
            self.0.push('{');
            for (n, (label, value)) in labels.iter().enumerate() {
                let comma = if n > 0 { "," } else { "" };
                let _ = write!(self.0, "{comma}{label}=\"{}\"", escaped(value));
            }
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {}", number(value));
    }

    /// A gauge of one sample.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.begin(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// A counter with one sample for every set of labels.
    pub fn counters(&mut self, name: &str, help: &str, labels: &[&str], family: &Family<Counter>) {
        self.begin(name, "counter", help);
        for (values, counter) in family.all() {
            let pairs = pairs(labels, &values);
            self.sample(name, &pairs, exact(counter.get()));
        }
    }

    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.begin(name, "histogram", help);
        self.buckets(name, &[], histogram);
    }

    /// A histogram for every set of labels; `fixed` comes after the others.
    pub fn histograms(
        &mut self,
        name: &str,
        help: &str,
        (labels, fixed): (&[&str], Labels<'_>),
        family: &Family<Histogram>,
    ) {
        self.begin(name, "histogram", help);
        for (values, histogram) in family.all() {
            let mut pairs = pairs(labels, &values);
            pairs.extend_from_slice(fixed);
            self.buckets(name, &pairs, &histogram);
        }
    }

    fn buckets(&mut self, name: &str, labels: Labels<'_>, histogram: &Histogram) {
        let bounds = histogram.bounds.iter().map(|bound| number(*bound));
        let bounds = bounds.chain(["+Inf".to_string()]);
        let mut below = 0;
        for (bound, bucket) in bounds.zip(&histogram.buckets) {
            below += bucket.load(Ordering::Relaxed);
            let mut with_bound = labels.to_vec();
            with_bound.push(("le", &bound));
            self.sample(&format!("{name}_bucket"), &with_bound, exact(below));
        }
        let sum = f64::from_bits(histogram.sum.load(Ordering::Relaxed));
        self.sample(&format!("{name}_sum"), labels, sum);
        // The sum of the buckets that were shown, so that the two agree while others count.
        self.sample(&format!("{name}_count"), labels, exact(below));
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

fn pairs<'a>(labels: &[&'a str], values: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let values = values.iter().map(String::as_str);
    labels.iter().copied().zip(values).collect()
}

/// Counts as Prometheus has them: it knows only floating point, exact to 2^53.
#[allow(clippy::cast_precision_loss, reason = "the format has no integers")]
pub fn exact(n: u64) -> f64 {
    n as f64
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_string();
    }
    value.to_string()
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_prometheus_reads_it() {
        let mut page = Page::default();
        page.gauge("up", "Whether it\nis \\ up.", 1.0);
        let counters = Family::new(Counter::default);
        counters.with(&["Get\"Item\\\n", "200"]).add(3);
        page.counters(
            "requests_total",
            "Requests.",
            &["operation", "status"],
            &counters,
        );
        let histogram = Histogram::new(&[0.5, 1.0]);
        for value in [0.5, 0.75, 3.0] {
            histogram.observe(value);
        }
        page.histogram("seconds", "Time.", &histogram);
        let wanted = "\
# HELP up Whether it\\nis \\\\ up.
# TYPE up gauge
up 1
# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{operation=\"Get\\\"Item\\\\\\n\",status=\"200\"} 3
# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{le=\"0.5\"} 1
seconds_bucket{le=\"1\"} 2
seconds_bucket{le=\"+Inf\"} 3
seconds_sum 4.25
seconds_count 3
";
        assert_eq!(page.into_text(), wanted);
    }

    #[test]
    fn sets_of_labels_are_bounded() {
        let family = Family::new(Counter::default);
        for n in 0..LABEL_SETS_MAX + 10 {
            family.with(&[&n.to_string()]).add(1);
        }
        assert_eq!(family.all().len(), LABEL_SETS_MAX + 1);
        assert_eq!(family.with(&[OTHERS]).get(), 10);
    }
}
