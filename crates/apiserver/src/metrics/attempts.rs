//! Attempts, counted and timed by what came of them: one of a few words that are known beforehand.

use std::{sync::OnceLock, time::Duration};

use base::metrics::{Counter, CounterSeries, Histogram, HistogramSeries, exponential};

/// Upstream's bounds for authentication, authorization and impersonation: a millisecond to sixteen seconds.
pub(crate) const SECONDS: &[f64] = &exponential::<15>(0.001, 2.0);

/// A counter and a histogram with one label, the outcome. A series is found once, and there from its first attempt on.
pub(crate) struct Attempts<const N: usize> {
    outcomes: [&'static str; N],
    count: Counter,
    seconds: Histogram,
    series: [OnceLock<(CounterSeries, HistogramSeries)>; N],
}

impl<const N: usize> Attempts<N> {
    /// Of families whose one label is the outcome.
    pub(crate) fn new(outcomes: [&'static str; N], count: Counter, seconds: Histogram) -> Self {
        Self {
            outcomes,
            count,
            seconds,
            series: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    /// One attempt, which took so long.
    pub(crate) fn record(&self, outcome: &'static str, elapsed: Duration) {
        let known = self.outcomes.iter().position(|one| *one == outcome);
        debug_assert!(known.is_some(), "{outcome} is none of the outcomes");
        let Some(series) = known.and_then(|index| self.series.get(index)) else {
            return;
        };
        let (count, seconds) = series.get_or_init(|| {
            (
                self.count.series(&[outcome]),
                self.seconds.series(&[outcome]),
            )
        });
        count.increment();
        seconds.observe(elapsed.as_secs_f64());
    }
}
