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
