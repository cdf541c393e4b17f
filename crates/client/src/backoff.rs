//! Exponential backoff with jitter, as `wait.Backoff` of upstream.

use std::time::Duration;

/// Doubling (or otherwise growing) delays up to a bound.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    factor: f64,
    /// Each delay is stretched by a random part of this fraction.
    jitter: f64,
    attempts: u32,
}

impl Backoff {
    /// Delays of `base`, `2·base`, … up to `max`, without jitter.
    pub const fn exponential(base: Duration, max: Duration) -> Self {
        Self {
            base,
            max,
            factor: 2.0,
            jitter: 0.0,
            attempts: 0,
        }
    }

    /// What reflectors use: 0.8 s to 30 s, each stretched by up to as much again.
    pub const fn reflector() -> Self {
        Self::exponential(Duration::from_millis(800), Duration::from_secs(30)).with_jitter(1.0)
    }

    /// With jitter.
    pub const fn with_jitter(self, jitter: f64) -> Self {
        Self { jitter, ..self }
    }

    /// The next delay; each call lengthens the one after.
    pub fn next_delay(&mut self) -> Duration {
        let exponent = i32::try_from(self.attempts).unwrap_or(i32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let delay =
            (self.base.as_secs_f64() * self.factor.powi(exponent)).min(self.max.as_secs_f64());
        let stretch = if self.jitter > 0.0 {
            1.0 + self.jitter * random_fraction()
        } else {
            1.0
        };
        Duration::from_secs_f64(delay * stretch)
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// In `[0, 1)`. Jitter keeps many clients apart in time; nothing else hangs on it.
fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound() {
        let mut backoff = Backoff::exponential(Duration::from_millis(5), Duration::from_millis(30));
        let delays: Vec<_> = (0..5).map(|_| backoff.next_delay().as_millis()).collect();
        assert_eq!(delays, [5, 10, 20, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next_delay().as_millis(), 5);
    }

    #[test]
    fn jitter_only_stretches() {
        let mut backoff =
            Backoff::exponential(Duration::from_secs(1), Duration::from_secs(1)).with_jitter(0.5);
        for _ in 0..50 {
            let delay = backoff.next_delay();
            assert!(delay >= Duration::from_secs(1) && delay < Duration::from_millis(1500));
        }
    }
}
