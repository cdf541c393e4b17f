//! All plugins of a server, one after the other; the first refusal ends the request.

use std::{sync::Arc, time::Instant};

use apimachinery::status::Status;

use super::{
    Admission, Plugin,
    metrics::{AdmissionMetrics, Durations, Phase},
};

/// In which phases a plugin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phases {
    Admit,
    Validate,
    Both,
}

/// A plugin in its place.
pub struct Link {
    plugin: Arc<dyn Plugin>,
    phases: Phases,
    /// None for what is no plugin upstream.
    durations: Option<Durations>,
}

impl Link {
    pub(super) fn new(plugin: Arc<dyn Plugin>, phases: Phases, metrics: &AdmissionMetrics) -> Self {
        Self {
            durations: Some(metrics.plugin(plugin.name())),
            plugin,
            phases,
        }
    }

    /// What is not counted.
    pub(super) fn uncounted(plugin: Arc<dyn Plugin>) -> Self {
        Self {
            plugin,
            phases: Phases::Both,
            durations: None,
        }
    }

    fn is_for(&self, phase: Phase, admission: &Admission<'_>) -> bool {
        let asked = match self.phases {
            Phases::Both => true,
            Phases::Admit => phase == Phase::Admit,
            Phases::Validate => phase == Phase::Validate,
        };
        asked && self.plugin.handles(admission.operation)
    }

    /// The plugin was asked between `start` and now, which is given back.
    fn observe(
        &self,
        phase: Phase,
        admission: &Admission<'_>,
        result: &Result<(), Status>,
        start: Instant,
    ) -> Instant {
        self.durations.as_ref().map_or(start, |durations| {
            durations.observe(phase, admission.operation, result.is_err(), start)
        })
    }
}

/// The plugins in their order.
#[derive(Clone, Default)]
pub struct Chain(Option<Arc<Links>>);

struct Links {
    links: Vec<Link>,
    steps: Durations,
}

impl Chain {
    /// Of these plugins, in this order.
    pub fn new(links: Vec<Link>, metrics: &AdmissionMetrics) -> Self {
        let steps = metrics.steps();
        Self(Some(Arc::new(Links { links, steps })))
    }

    /// The mutating phase: each may change the object, and sees what those before it made of it. When something from outside changed it,
    /// all are asked once more, as upstream: those within for what was added, those from outside if they wish.
    pub async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let Some(chain) = &self.0 else { return Ok(()) };
        let start = Instant::now();
        let mut result = chain.admit_once(admission, start).await;
        if result.is_ok() && admission.reinvocation.begin() {
            result = chain.admit_once(admission, Instant::now()).await;
        }
        let (phase, operation) = (Phase::Admit, admission.operation);
        chain
            .steps
            .observe(phase, operation, result.is_err(), start);
        result
    }

    /// The validating phase, after the strategy has validated.
    pub async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let Some(chain) = &self.0 else { return Ok(()) };
        let start = Instant::now();
        let result = chain.validate(admission, start).await;
        let (phase, operation) = (Phase::Validate, admission.operation);
        chain
            .steps
            .observe(phase, operation, result.is_err(), start);
        result
    }

    /// Names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let links = self.0.iter().flat_map(|chain| &chain.links);
        links.map(|link| link.plugin.name())
    }
}

impl Links {
    async fn admit_once(
        &self,
        admission: &mut Admission<'_>,
        mut start: Instant,
    ) -> Result<(), Status> {
        for link in &self.links {
            if link.is_for(Phase::Admit, admission) {
                let result = link.plugin.admit(admission).await;
                start = link.observe(Phase::Admit, admission, &result, start);
                result?;
            }
        }
        Ok(())
    }

    async fn validate(&self, admission: &Admission<'_>, mut start: Instant) -> Result<(), Status> {
        for link in &self.links {
            if link.is_for(Phase::Validate, admission) {
                let result = link.plugin.validate(admission).await;
                start = link.observe(Phase::Validate, admission, &result, start);
                result?;
            }
        }
        Ok(())
    }
}
