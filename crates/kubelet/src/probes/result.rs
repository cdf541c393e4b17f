//! What probes found, by container id.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// What a probe amounts to after its thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeResult {
    /// Passed.
    Success,
    /// Failed.
    Failure,
    /// Not known yet.
    Unknown,
}

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeType {
    /// Until it passes, the other two wait.
    Startup,
    /// Restarts.
    Liveness,
    /// Takes out of Services.
    Readiness,
}

impl ProbeType {
    /// As events print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// All results. Cheap to clone; clones are the same. Bounded by the probed containers.
#[derive(Clone, Debug, Default)]
pub struct ProbeResults {
    results: Arc<Mutex<HashMap<(String, ProbeType), ProbeResult>>>,
}

impl ProbeResults {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, ProbeType), ProbeResult>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of a container's probe, if it is probed.
    pub fn get(&self, container_id: &str, probe: ProbeType) -> Option<ProbeResult> {
        self.lock().get(&(container_id.to_owned(), probe)).copied()
    }

    /// Sets a result; says whether it is new.
    pub fn set(&self, container_id: &str, probe: ProbeType, result: ProbeResult) -> bool {
        self.lock().insert((container_id.to_owned(), probe), result) != Some(result)
    }

    /// Forgets a container.
    pub fn remove(&self, container_id: &str, probe: ProbeType) {
        self.lock().remove(&(container_id.to_owned(), probe));
    }
}
