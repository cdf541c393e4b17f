//! How many seats a level has been asking for: average, deviation and maximum over a period, and a smoothed figure over many.

const NANOS: f64 = 1e9;

/// What a level asked for during a period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Harvest {
    pub(super) average: f64,
    pub(super) deviation: f64,
    pub(super) high_watermark: f64,
}

/// Integrates demand over time.
#[derive(Clone, Debug)]
pub(super) struct Integrator {
    since: u64,
    at: u64,
    value: f64,
    area: f64,
    area_of_squares: f64,
    max: f64,
}

impl Integrator {
    pub(super) fn new(now: u64) -> Self {
        Self {
            since: now,
            at: now,
            value: 0.0,
            area: 0.0,
            area_of_squares: 0.0,
            max: 0.0,
        }
    }

    /// From now on it is this.
    pub(super) fn set(&mut self, value: u32, now: u64) {
        self.settle(now);
        self.value = f64::from(value);
        self.max = self.max.max(self.value);
    }

    fn settle(&mut self, now: u64) {
        let seconds = now.saturating_sub(self.at) as f64 / NANOS;
        self.at = self.at.max(now);
        self.area += seconds * self.value;
        self.area_of_squares += seconds * self.value * self.value;
    }

    /// The figures of the period that ends now; the next begins.
    pub(super) fn harvest(&mut self, now: u64) -> Harvest {
        self.settle(now);
        let seconds = now.saturating_sub(self.since) as f64 / NANOS;
        let harvest = if seconds > 0.0 {
            let average = self.area / seconds;
            let variance = self.area_of_squares / seconds - average * average;
            Harvest {
                average,
                deviation: variance.max(0.0).sqrt(),
                high_watermark: self.max,
            }
        } else {
            Harvest {
                average: self.value,
                deviation: 0.0,
                high_watermark: self.max,
            }
        };
        self.since = self.at;
        self.area = 0.0;
        self.area_of_squares = 0.0;
        self.max = self.value;
        harvest
    }
}

/// For how long a ratio was where: a histogram with an observation at the end of every nanosecond, as upstream has it.
#[derive(Clone, Debug)]
pub(super) struct TimeHistogram {
    bounds: &'static [f64],
    at: u64,
    ratio: f64,
    bucket: usize,
    /// The nanoseconds in each bucket; the last is beyond all bounds.
    nanos: Box<[u64]>,
    sum: f64,
}

impl TimeHistogram {
    pub(super) fn new(bounds: &'static [f64], now: u64) -> Self {
        let mut new = Self {
            bounds,
            at: now,
            ratio: 0.0,
            bucket: 0,
            nanos: vec![0; bounds.len() + 1].into(),
            sum: 0.0,
        };
        new.set(0.0, now);
        new
    }

    /// From now on it is this.
    pub(super) fn set(&mut self, ratio: f64, now: u64) {
        self.settle(now);
        self.ratio = ratio;
        self.bucket = self.bounds.partition_point(|bound| *bound < ratio);
    }

    fn settle(&mut self, now: u64) {
        let nanos = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        self.nanos[self.bucket] += nanos;
        self.sum += nanos as f64 * self.ratio;
    }

    /// The bounds, the nanoseconds in each bucket, and the sum of what was observed, up to now.
    pub(super) fn read(&mut self, now: u64) -> (&'static [f64], Vec<u64>, f64) {
        self.settle(now);
        (self.bounds, self.nanos.to_vec(), self.sum)
    }
}

/// How much of the old figure stays at each adjustment when demand falls; rising demand counts at once. Upstream's coefficient: at ten
/// seconds a period, half of it is forgotten in five minutes.
const SMOOTHING: f64 = 0.977;

/// The latest figures of a level, and the smoothed one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Demand {
    pub(super) last: Harvest,
    pub(super) smoothed: f64,
}

impl Demand {
    /// A period has ended.
    pub(super) fn update(&mut self, harvest: Harvest) {
        let envelope = (harvest.average + harvest.deviation).min(harvest.high_watermark);
        self.smoothed = envelope.max(SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * envelope);
        self.last = harvest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_weighed_by_time() {
        let second = NANOS as u64;
        let mut demand = Integrator::new(0);
        demand.set(4, second);
        demand.set(0, 3 * second);
        let harvest = demand.harvest(4 * second);
        assert!((harvest.average - 2.0).abs() < 1e-9);
        assert!((harvest.deviation - 2.0).abs() < 1e-9);
        assert_eq!(harvest.high_watermark, 4.0);
        assert_eq!(demand.harvest(5 * second), Harvest::default());
    }

    #[test]
    fn ratios_are_observed_every_nanosecond() {
        let mut ratios = TimeHistogram::new(&[0.0, 0.5], 10);
        ratios.set(0.5, 15);
        ratios.set(2.0, 18);
        let (_, nanos, sum) = ratios.read(20);
        assert_eq!(nanos, [5, 3, 2]);
        assert!((sum - 5.5).abs() < 1e-9);
        assert_eq!(ratios.read(21).1, [5, 3, 3]);
    }

    #[test]
    fn rises_count_at_once_and_falls_slowly() {
        let mut demand = Demand::default();
        demand.update(Harvest {
            average: 10.0,
            deviation: 5.0,
            high_watermark: 12.0,
        });
        assert_eq!(demand.smoothed, 12.0);
        demand.update(Harvest::default());
        assert!((demand.smoothed - 11.724).abs() < 1e-9);
    }
}
