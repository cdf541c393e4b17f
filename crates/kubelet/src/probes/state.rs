//! When a probe's answers amount to a result.

use k8s_openapi::api::core::v1::Probe;

use super::{ProbeResult, ProbeType};

/// Counts answers against thresholds.
#[derive(Clone, Debug)]
pub struct ProbeState {
    failure_threshold: u32,
    success_threshold: u32,
    last: Option<bool>,
    run: u32,
    result: ProbeResult,
}

impl ProbeState {
    /// At the start of a container: alive, not ready, not started.
    pub fn new(probe: &Probe, type_: ProbeType) -> Self {
        let threshold = |value: Option<i32>, default: u32| {
            value
                .and_then(|value| u32::try_from(value).ok())
                .filter(|value| *value > 0)
                .unwrap_or(default)
        };
        Self {
            failure_threshold: threshold(probe.failure_threshold, 3),
            success_threshold: threshold(probe.success_threshold, 1),
            last: None,
            run: 0,
            result: match type_ {
                ProbeType::Startup => ProbeResult::Unknown,
                ProbeType::Liveness => ProbeResult::Success,
                ProbeType::Readiness => ProbeResult::Failure,
            },
        }
    }

    /// The result now.
    pub fn result(&self) -> ProbeResult {
        self.result
    }

    /// Takes over from a kubelet before this one that the probe had passed.
    pub fn adopt(&mut self) {
        self.result = ProbeResult::Success;
    }

    /// Counts an answer; gives the result it leads to.
    pub fn answer(&mut self, success: bool) -> ProbeResult {
        if self.last == Some(success) {
            self.run += 1;
        } else {
            self.last = Some(success);
            self.run = 1;
        }
        match success {
            true if self.run >= self.success_threshold => self.result = ProbeResult::Success,
            false if self.run >= self.failure_threshold => self.result = ProbeResult::Failure,
            _ => {}
        }
        self.result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let probe = Probe {
            failure_threshold: Some(2),
            success_threshold: Some(2),
            ..Probe::default()
        };
        let mut state = ProbeState::new(&probe, ProbeType::Readiness);
        assert_eq!(state.result(), ProbeResult::Failure);
        for (answer, expected) in [
            (true, ProbeResult::Failure),
            (true, ProbeResult::Success),
            (false, ProbeResult::Success),
            (true, ProbeResult::Success),
            (false, ProbeResult::Success),
            (false, ProbeResult::Failure),
        ] {
            assert_eq!(state.answer(answer), expected);
        }
        assert_eq!(
            ProbeState::new(&probe, ProbeType::Liveness).result(),
            ProbeResult::Success
        );
        assert_eq!(
            ProbeState::new(&probe, ProbeType::Startup).result(),
            ProbeResult::Unknown
        );
    }
}
