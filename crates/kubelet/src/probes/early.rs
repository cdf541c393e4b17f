//! How soon a container that has just started is asked again whether it is ready.
//!
//! Upstream's kubelet hears of a start up to a second later, when most programs listen already. This one hears of it within a
//! millisecond, and its first question finds a program that is still being loaded; to wait a whole period then would make every pod
//! later than upstream's. So the first failures are followed by quick attempts, ever slower, and told to nobody; from then on the
//! period holds. Commands are not asked so: each costs a process in the container.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

use super::ProbeType;

/// The first pause; each is twice the one before.
const FIRST: Duration = Duration::from_millis(10);
/// No pause is longer: all of them together last a little more than a second.
const LONGEST: Duration = Duration::from_millis(640);

/// The quick attempts that are left.
#[derive(Clone, Debug)]
pub(super) struct EarlyAttempts {
    pause: Option<Duration>,
}

impl EarlyAttempts {
    /// For a container that starts; `asked_before` says that its probe has passed under an earlier kubelet.
    pub(super) fn new(probe: &Probe, type_: ProbeType, asked_before: bool) -> Self {
        let quick = type_ == ProbeType::Readiness && probe.exec.is_none() && !asked_before;
        Self {
            pause: quick.then_some(FIRST),
        }
    }

    /// After a failure: how long to wait for the next quick attempt, if there is one.
    pub(super) fn after_failure(&mut self, period: Duration) -> Option<Duration> {
        let pause = self.pause.take()?;
        self.pause = Some(pause * 2).filter(|next| *next <= LONGEST);
        Some(pause.min(period))
    }

    /// It has answered: what follows is a matter of the period.
    pub(super) fn end(&mut self) {
        self.pause = None;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ExecAction;

    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let period = Duration::from_secs(1);
        let mut early = EarlyAttempts::new(&Probe::default(), ProbeType::Readiness, false);
        let pauses: Vec<u128> = std::iter::from_fn(|| early.after_failure(period))
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640]);

        let mut early = EarlyAttempts::new(&Probe::default(), ProbeType::Readiness, false);
        assert!(early.after_failure(period).is_some());
        early.end();
        assert_eq!(early.after_failure(period), None);
    }

    #[test]
    fn only_readiness_over_the_network_of_a_new_container() {
        let exec = Probe {
            exec: Some(ExecAction::default()),
            ..Probe::default()
        };
        for (probe, type_, asked_before) in [
            (exec, ProbeType::Readiness, false),
            (Probe::default(), ProbeType::Liveness, false),
            (Probe::default(), ProbeType::Startup, false),
            (Probe::default(), ProbeType::Readiness, true),
        ] {
            let mut early = EarlyAttempts::new(&probe, type_, asked_before);
            assert_eq!(early.after_failure(Duration::from_secs(10)), None);
        }
    }
}
