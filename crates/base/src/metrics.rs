//! Metrics in Prometheus' text format (0.0.4), the one that upstream's components serve.
//!
//! A [`Registry`] holds families; a family is a metric of one name with one set of label names. Values are atomics: counting takes a read lock
//! on the family's map and one atomic add. Series are never removed, so label values must come from a bounded set.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The media type of [`Registry::encode`].
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Writes samples of one family at the time of a scrape.
type Collect = Box<dyn Fn(&mut Sink<'_>) + Send + Sync>;

/// Begins a family's counts anew.
type Reset = Box<dyn Fn() + Send + Sync>;

/// The families of a component. Cheap to clone; clones are the same registry.
#[derive(Clone, Default)]
pub struct Registry(Arc<RwLock<BTreeMap<&'static str, Family>>>);

struct Family {
    help: &'static str,
    kind: &'static str,
    collect: Collect,
    /// Of what counts; a gauge, or what is found out at a scrape, says what is.
    reset: Option<Reset>,
}

/// Takes the samples of a family.
pub struct Sink<'a> {
    name: &'static str,
    out: &'a mut String,
}

impl Sink<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.suffixed("", labels, value);
    }

    /// One series of a histogram: how many observations were in each bucket, the last of which is beyond all `bounds`, and their sum.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[f64],
        counts: impl IntoIterator<Item = u64>,
        sum: f64,
    ) {
        let mut total = 0;
        for (index, count) in counts.into_iter().enumerate() {
            total += count;
            let bound = bounds
                .get(index)
                .map_or_else(|| "+Inf".to_owned(), f64::to_string);
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.suffixed("_bucket", &labels, total as f64);
        }
        self.suffixed("_sum", labels, sum);
        self.suffixed("_count", labels, total as f64);
    }

    fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        if !labels.is_empty() {
            self.out.push('{');
            for (index, (name, value)) in labels.iter().enumerate() {
                if index > 0 {
                    self.out.push(',');
                }
                self.out.push_str(name);
                self.out.push_str("=\"");
                for c in value.chars() {
                    match c {
                        '\\' => self.out.push_str("\\\\"),
                        '"' => self.out.push_str("\\\""),
                        '\n' => self.out.push_str("\\n"),
                        c => self.out.push(c),
                    }
                }
                self.out.push('"');
            }
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// A family of counters. The name ends in `_total`.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Counter {
        let counter = Counter(Vector::new(labels));
        let (series, counted) = (counter.0.clone(), counter.0.clone());
        self.add(
            name,
            Family {
                help,
                kind: "counter",
                collect: Box::new(move |sink| series.collect(sink)),
                reset: Some(Box::new(move || counted.reset())),
            },
        );
        counter
    }

    /// A family of gauges.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Gauge {
        let gauge = Gauge(Vector::new(labels));
        let series = gauge.0.clone();
        self.on_scrape(name, help, "gauge", move |sink| series.collect(sink));
        gauge
    }

    /// A family of histograms with these upper bounds, ascending.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        bounds: &'static [f64],
    ) -> Histogram {
        let histogram = Histogram {
            series: Arc::default(),
            labels,
            bounds,
        };
        let (series, counted) = (histogram.clone(), histogram.clone());
        self.add(
            name,
            Family {
                help,
                kind: "histogram",
                collect: Box::new(move |sink| series.collect(sink)),
                reset: Some(Box::new(move || counted.reset())),
            },
        );
        histogram
    }

    /// A family whose samples are found out when somebody asks. `kind` is `gauge` or `counter`.
    pub fn on_scrape(
        &self,
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        collect: impl Fn(&mut Sink<'_>) + Send + Sync + 'static,
    ) {
        let collect = Box::new(collect);
        self.add(
            name,
            Family {
                help,
                kind,
                collect,
                reset: None,
            },
        );
    }

    fn add(&self, name: &'static str, family: Family) {
        let mut families = self.0.write().unwrap_or_else(PoisonError::into_inner);
        families.insert(name, family);
    }

    /// Counters and histograms begin at nothing again, as when the process started. Their series stay, as who counts holds them.
    pub fn reset(&self) {
        let families = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for reset in families.values().filter_map(|family| family.reset.as_ref()) {
            reset();
        }
    }

    /// All families in order of name.
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        for (name, family) in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(out, "# HELP {name} {}", family.help);
            let _ = writeln!(out, "# TYPE {name} {}", family.kind);
            (family.collect)(&mut Sink {
                name,
                out: &mut out,
            });
        }
        out
    }
}

/// Series by label values.
type SeriesMap<T> = RwLock<BTreeMap<Box<[Box<str>]>, Arc<T>>>;

/// Series of a family by label values.
#[derive(Clone)]
struct Vector {
    labels: &'static [&'static str],
    series: Arc<SeriesMap<AtomicU64>>,
}

impl Vector {
    fn new(labels: &'static [&'static str]) -> Self {
        let vector = Self {
            labels,
            series: Arc::default(),
        };
        if labels.is_empty() {
            // A metric without labels is there from the start.
            vector.with(&[], |_| {});
        }
        vector
    }

    fn with(&self, values: &[&str], act: impl FnOnce(&AtomicU64)) {
        debug_assert_eq!(values.len(), self.labels.len(), "one value for each label");
        with_series(&self.series, values, |value| act(value));
    }

    fn reset(&self) {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        for value in series.values() {
            value.store(0, Ordering::Relaxed);
        }
    }

    fn collect(&self, sink: &mut Sink<'_>) {
        for (values, value) in self
            .series
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            sink.sample(
                &pairs(self.labels, values),
                f64::from_bits(value.load(Ordering::Relaxed)),
            );
        }
    }
}

/// Finds or makes a series, and acts on it.
fn with_series<T: Default>(series: &SeriesMap<T>, values: &[&str], act: impl FnOnce(&T)) {
    act(&find_series(series, values));
}

/// Finds or makes a series.
fn find_series<T: Default>(series: &SeriesMap<T>, values: &[&str]) -> Arc<T> {
    let key: Box<[Box<str>]> = values.iter().map(|value| Box::from(*value)).collect();
    let found = series
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&key)
        .cloned();
    found.unwrap_or_else(|| {
        let mut series = series.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(series.entry(key).or_default())
    })
}

fn pairs<'a>(labels: &[&'a str], values: &'a [Box<str>]) -> Vec<(&'a str, &'a str)> {
    labels
        .iter()
        .copied()
        .zip(values.iter().map(|value| &**value))
        .collect()
}

fn add(cell: &AtomicU64, amount: f64) {
    let mut current = cell.load(Ordering::Relaxed);
    loop {
        let next = (f64::from_bits(current) + amount).to_bits();
        match cell.compare_exchange_weak(current, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(actual) => current = actual,
        }
    }
}

/// Counts up.
#[derive(Clone)]
pub struct Counter(Vector);

impl Counter {
    /// One more, of the series with these label values.
    pub fn increment(&self, values: &[&str]) {
        self.add(values, 1.0);
    }

    /// So many more; never negative.
    pub fn add(&self, values: &[&str], amount: f64) {
        self.0.with(values, |cell| add(cell, amount));
    }

    /// The series with these label values, to be kept by who counts often.
    pub fn series(&self, values: &[&str]) -> CounterSeries {
        CounterSeries(find_series(&self.0.series, values))
    }
}

/// Goes up and down.
#[derive(Clone)]
pub struct Gauge(Vector);

impl Gauge {
    /// The series with these label values, to be kept by who counts often.
    pub fn series(&self, values: &[&str]) -> GaugeSeries {
        GaugeSeries(find_series(&self.0.series, values))
    }

    /// Is so much now.
    pub fn set(&self, values: &[&str], value: f64) {
        self.0.with(values, |cell| {
            cell.store(value.to_bits(), Ordering::Relaxed)
        });
    }

    /// So much more, or less.
    pub fn add(&self, values: &[&str], amount: f64) {
        self.0.with(values, |cell| add(cell, amount));
    }
}

/// One series of a [`Counter`]: found once, counted with one atomic add.
#[derive(Clone)]
pub struct CounterSeries(Arc<AtomicU64>);

impl CounterSeries {
    /// One more.
    pub fn increment(&self) {
        add(&self.0, 1.0);
    }

    /// So many more.
    pub fn add(&self, amount: f64) {
        add(&self.0, amount);
    }
}

/// One series of a [`Gauge`]: found once.
#[derive(Clone)]
pub struct GaugeSeries(Arc<AtomicU64>);

impl GaugeSeries {
    /// So much more, or less.
    pub fn add(&self, amount: f64) {
        add(&self.0, amount);
    }
}

/// One series of a [`Histogram`]: found once.
#[derive(Clone)]
pub struct HistogramSeries {
    buckets: Arc<Buckets>,
    bounds: &'static [f64],
}

impl HistogramSeries {
    /// Takes in one value.
    pub fn observe(&self, observed: f64) {
        self.buckets.observe(self.bounds, observed);
    }
}

impl Buckets {
    fn observe(&self, bounds: &[f64], observed: f64) {
        add(&self.sum, observed);
        let bucket = bounds.partition_point(|bound| *bound < observed);
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        drop(counts);
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        if counts.is_empty() {
            *counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        }
        counts[bucket].fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts values by size.
#[derive(Clone)]
pub struct Histogram {
    series: Arc<SeriesMap<Buckets>>,
    labels: &'static [&'static str],
    bounds: &'static [f64],
}

#[derive(Default)]
struct Buckets {
    /// By bound, the last beyond all; not cumulative. Made at the first observation.
    counts: RwLock<Box<[AtomicU64]>>,
    sum: AtomicU64,
}

impl Histogram {
    /// Takes in one value.
    pub fn observe(&self, values: &[&str], observed: f64) {
        with_series(&self.series, values, |buckets| {
            buckets.observe(self.bounds, observed);
        });
    }

    /// The series with these label values, to be kept by who observes often.
    pub fn series(&self, values: &[&str]) -> HistogramSeries {
        HistogramSeries {
            buckets: find_series(&self.series, values),
            bounds: self.bounds,
        }
    }

    fn reset(&self) {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        for buckets in series.values() {
            let counts = buckets
                .counts
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            for count in counts.iter() {
                count.store(0, Ordering::Relaxed);
            }
            buckets.sum.store(0, Ordering::Relaxed);
        }
    }

    fn collect(&self, sink: &mut Sink<'_>) {
        for (values, buckets) in self
            .series
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            let counts = buckets
                .counts
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            sink.histogram(
                &pairs(self.labels, values),
                self.bounds,
                counts.iter().map(|count| count.load(Ordering::Relaxed)),
                f64::from_bits(buckets.sum.load(Ordering::Relaxed)),
            );
        }
    }
}

/// Upper bounds that grow by `factor` from `start`.
pub const fn exponential<const N: usize>(start: f64, factor: f64) -> [f64; N] {
    let mut bounds = [start; N];
    let mut index = 1;
    while index < N {
        bounds[index] = bounds[index - 1] * factor;
        index += 1;
    }
    bounds
}

/// Upper bounds that are `width` apart.
pub const fn linear<const N: usize>(start: f64, width: f64) -> [f64; N] {
    let mut bounds = [start; N];
    let mut index = 1;
    while index < N {
        bounds[index] = bounds[index - 1] + width;
        index += 1;
    }
    bounds
}

/// The process' own metrics, as every Prometheus client names them. Elsewhere than on Linux there are none.
pub fn process(registry: &Registry) {
    registry.on_scrape(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        "gauge",
        |sink| {
            if let Some(kilobytes) = status_field("VmRSS:") {
                sink.sample(&[], kilobytes * 1024.0);
            }
        },
    );
    registry.on_scrape(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        "gauge",
        |sink| {
            if let Some(kilobytes) = status_field("VmSize:") {
                sink.sample(&[], kilobytes * 1024.0);
            }
        },
    );
    registry.on_scrape(
        "process_open_fds",
        "Number of open file descriptors.",
        "gauge",
        |sink| {
            if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
                sink.sample(&[], entries.count() as f64);
            }
        },
    );
    registry.on_scrape(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        "counter",
        |sink| {
            if let Some(seconds) = cpu_seconds() {
                sink.sample(&[], seconds);
            }
        },
    );
    for (name, help, limit) in [
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
            "Max open files",
        ),
        (
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            "Max address space",
        ),
    ] {
        registry.on_scrape(name, help, "gauge", move |sink| {
            if let Some(value) = soft_limit(limit) {
                sink.sample(&[], value);
            }
        });
    }
    for (name, help, field) in [
        (
            "process_network_receive_bytes_total",
            "Number of bytes received by the process over the network.",
            "InOctets",
        ),
        (
            "process_network_transmit_bytes_total",
            "Number of bytes sent by the process over the network.",
            "OutOctets",
        ),
    ] {
        registry.on_scrape(name, help, "counter", move |sink| {
            if let Some(value) = ip_field(field) {
                sink.sample(&[], value);
            }
        });
    }
    let start = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
    registry.on_scrape(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        "gauge",
        move |sink| sink.sample(&[], start),
    );
}

fn status_field(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// A soft limit of the process; one that does not bound is shown as the largest number there is, as by other clients.
fn soft_limit(name: &str) -> Option<f64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let values = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match values.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX as f64),
        number => number.parse().ok(),
    }
}

/// A figure of the network namespace's IP traffic: a line of names, and below it the line of their values.
fn ip_field(name: &str) -> Option<f64> {
    let table = std::fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = table
        .lines()
        .filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let position = names.split(' ').position(|field| field == name)?;
    values.split(' ').nth(position)?.parse().ok()
}

/// User and system time, in the kernel's fixed 100 ticks a second.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name may hold spaces; the fields are counted from its closing parenthesis.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_grow() {
        assert_eq!(exponential::<4>(0.001, 2.0), [0.001, 0.002, 0.004, 0.008]);
        assert_eq!(linear::<3>(50.0, 100.0), [50.0, 150.0, 250.0]);
    }

    #[test]
    fn the_process_tells_its_limits_and_traffic() {
        let registry = Registry::new();
        process(&registry);
        let shown = registry.encode();
        for name in [
            "process_max_fds",
            "process_virtual_memory_max_bytes",
            "process_network_receive_bytes_total",
            "process_cpu_seconds_total",
        ] {
            assert!(shown.contains(&format!("\n{name} ")), "{name}\n{shown}");
        }
    }

    #[test]
    fn what_counts_begins_anew() {
        let registry = Registry::new();
        let kept = registry.counter("a_total", "A.", &["x"]).series(&["y"]);
        let seconds = registry.histogram("b", "B.", &[], &[1.0]);
        registry.gauge("c", "C.", &[]).set(&[], 2.0);
        kept.add(3.0);
        seconds.observe(&[], 0.5);
        registry.reset();
        kept.increment();
        let shown = registry.encode();
        for line in ["a_total{x=\"y\"} 1", "b_sum 0", "b_count 0", "c 2"] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
    }

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let registry = Registry::new();
        let requests = registry.counter("requests_total", "Requests.", &["verb"]);
        requests.increment(&["GET"]);
        requests.add(&["a\"b"], 2.0);
        registry.gauge("inflight", "Now.", &[]).set(&[], 1.5);
        let seconds = registry.histogram("seconds", "Took.", &[], &[0.1, 1.0]);
        for observed in [0.05, 0.1, 0.5, 7.0] {
            seconds.observe(&[], observed);
        }
        assert_eq!(
            registry.encode(),
            "# HELP inflight Now.\n# TYPE inflight gauge\ninflight 1.5\n\
             # HELP requests_total Requests.\n# TYPE requests_total counter\n\
             requests_total{verb=\"GET\"} 1\nrequests_total{verb=\"a\\\"b\"} 2\n\
             # HELP seconds Took.\n# TYPE seconds histogram\nseconds_bucket{le=\"0.1\"} 2\n\
             seconds_bucket{le=\"1\"} 3\nseconds_bucket{le=\"+Inf\"} 4\nseconds_sum 7.65\nseconds_count 4\n"
        );
    }
}
