//! Whether the leader leads: what `/healthz` asks as `leaderElection`, and what `leader_election_master_status` shows.
//!
//! A leader that cannot renew its lease stops by itself. One that is so stuck that it does not even notice is found here, and started anew by
//! whoever probes it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base::metrics::Registry;
use tokio::time::Instant;

/// So long after the lease has run out the leader may still be about to stop.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct State {
    lease: String,
    /// When the lease was renewed last, and for how long; nothing while another one leads.
    leads: Option<(Instant, Duration)>,
}

/// The state of one election, from within. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct LeaderHealthz(Arc<Mutex<State>>);

impl LeaderHealthz {
    /// Of the election for the lease of that name.
    pub fn new(lease: &str) -> Self {
        let state = State {
            lease: lease.to_owned(),
            leads: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether we lead.
    pub fn is_leader(&self) -> bool {
        self.state().leads.is_some()
    }

    /// An error if we lead and should have stopped long ago.
    pub fn check(&self) -> Result<(), String> {
        let state = self.state();
        match state.leads {
            Some((renewed, valid_for)) if renewed.elapsed() > valid_for + PATIENCE => Err(format!(
                "failed election to renew leadership on lease {}",
                state.lease
            )),
            _ => Ok(()),
        }
    }

    /// Shows it as upstream's metric.
    pub fn register(&self, registry: &Registry) {
        let healthz = self.clone();
        registry.on_scrape(
            "leader_election_master_status",
            "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. 'name' is the string used to identify the lease. Please make sure to group by name.",
            "gauge",
            move |sink| {
                let state = healthz.state();
                let leads = f64::from(u8::from(state.leads.is_some()));
                sink.sample(&[("name", &state.lease)], leads);
            },
        );
    }

    /// The lease is ours from now on for so long.
    pub(crate) fn renewed(&self, valid_for: Duration) {
        self.state().leads = Some((Instant::now(), valid_for));
    }

    /// The lease is not ours any more.
    pub(crate) fn lost(&self) {
        self.state().leads = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_does_not_renew_is_ill() {
        let healthz = LeaderHealthz::new("kube-scheduler");
        let registry = Registry::new();
        healthz.register(&registry);
        let status = |value: u8| {
            format!("\nleader_election_master_status{{name=\"kube-scheduler\"}} {value}\n")
        };
        assert!(healthz.check().is_ok() && !healthz.is_leader());
        assert!(registry.encode().contains(&status(0)));
        healthz.renewed(Duration::from_secs(15));
        assert!(registry.encode().contains(&status(1)));
        tokio::time::advance(Duration::from_secs(35)).await;
        assert!(healthz.check().is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            healthz.check().unwrap_err(),
            "failed election to renew leadership on lease kube-scheduler"
        );
        healthz.lost();
        assert!(healthz.check().is_ok() && !healthz.is_leader());
    }
}
