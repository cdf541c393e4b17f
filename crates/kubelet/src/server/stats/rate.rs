//! How fast a counter grows, from its last two readings.

use std::collections::HashMap;

/// The last reading of each counter; those that are read no more are forgotten by [`Rates::forget_unread`].
#[derive(Default)]
pub(super) struct Rates {
    readings: HashMap<String, Reading>,
    round: u64,
}

struct Reading {
    time_ns: i64,
    value: u64,
    rate: Option<u64>,
    round: u64,
}

/// Closer readings than this say too little; the rate before them holds.
const MIN_INTERVAL_NS: i64 = 100_000_000;

impl Rates {
    /// Begins a round of readings.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// Takes a reading in; its growth a second, once there are two.
    pub(super) fn read(&mut self, counter: &str, time_ns: i64, value: u64) -> Option<u64> {
        let round = self.round;
        let Some(last) = self.readings.get_mut(counter) else {
            let reading = Reading {
                time_ns,
                value,
                rate: None,
                round,
            };
            self.readings.insert(counter.to_owned(), reading);
            return None;
        };
        last.round = round;
        let elapsed = time_ns - last.time_ns;
        if elapsed >= MIN_INTERVAL_NS {
            // A smaller value is another run's: no rate yet.
            let grown = value.checked_sub(last.value).map(u128::from);
            let elapsed = u128::from(elapsed.unsigned_abs());
            last.rate = grown.and_then(|grown| u64::try_from(grown * 1_000_000_000 / elapsed).ok());
            (last.time_ns, last.value) = (time_ns, value);
        }
        last.rate
    }

    /// Ends a round.
    pub(super) fn forget_unread(&mut self) {
        let round = self.round;
        self.readings.retain(|_, reading| reading.round == round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_counters() {
        let mut rates = Rates::default();
        let second = 1_000_000_000;
        rates.begin();
        assert_eq!(rates.read("a", second, 100), None);
        rates.begin();
        assert_eq!(rates.read("a", 3 * second, 500), Some(200));
        assert_eq!(rates.read("a", 3 * second + 5, 900), Some(200), "too close");
        assert_eq!(rates.read("a", 4 * second, 10), None, "began anew");
        rates.begin();
        rates.forget_unread();
        assert_eq!(rates.read("a", 9 * second, 20), None, "forgotten");
    }
}
