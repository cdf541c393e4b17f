//! Why a pod's volumes are not there, worded as the events `FailedMount` and `FailedMapVolume` are.

use std::fmt;

use thiserror::Error;

use super::VolumeError;

/// What failed of a volume, by upstream's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The volume may not be on this node.
    NodeAffinity,
    /// Its source makes no sense here.
    NewMounter,
    /// Options where there can be none.
    MountOptions,
    /// Making it.
    SetUp,
    /// Its type has no block devices.
    FindMapper,
    /// Finding its device.
    SetUpDevice,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeAffinity => "MountVolume.NodeAffinity check failed",
            Self::NewMounter => "MountVolume.NewMounter initialization failed",
            Self::MountOptions => "MountVolume.MountOptionSupport check failed",
            Self::SetUp => "MountVolume.SetUp failed",
            Self::FindMapper => "MapVolume.FindMapperPluginBySpec failed",
            Self::SetUpDevice => "MapVolume.SetUpDevice failed",
        })
    }
}

/// What became of one volume.
#[derive(Debug, Error)]
pub enum Failure {
    /// It is not known what to make: a claim that is not bound, a type that is not here.
    #[error("{0}")]
    Unprocessed(String),
    /// It could not be made.
    #[error("{step} for volume {volume:?} : {source}")]
    Step {
        /// Where it failed.
        step: Step,
        /// The volume's name, in the pod or in the cluster.
        volume: String,
        /// Why.
        source: VolumeError,
    },
}

impl Failure {
    /// A volume that could not be made.
    pub fn of(step: Step, volume: &str, source: VolumeError) -> Self {
        Self::Step {
            step,
            volume: volume.to_owned(),
            source,
        }
    }
}

/// The volumes of a pod that are not there, by their names in the pod, with the reasons.
#[derive(Debug, Error)]
#[error("{}", .0.iter().map(|(_, failure)| failure.to_string()).collect::<Vec<_>>().join("; "))]
pub struct PodVolumeError(pub Vec<(String, Failure)>);

impl PodVolumeError {
    /// What is to be told: reason and message of each event.
    pub fn events(&self) -> Vec<(&'static str, String)> {
        let mut events = Vec::new();
        let (mut names, mut reasons) = (Vec::new(), Vec::new());
        for (name, failure) in &self.0 {
            match failure {
                Failure::Unprocessed(reason) => {
                    names.push(name.as_str());
                    reasons.push(reason.as_str());
                }
                Failure::Step { step, .. } => {
                    let reason = match step {
                        Step::FindMapper | Step::SetUpDevice => "FailedMapVolume",
                        _ => "FailedMount",
                    };
                    events.push((reason, failure.to_string()));
                }
            }
        }
        if !names.is_empty() {
            let (names, reasons) = (names.join(" "), reasons.join("; "));
            events.push((
                "FailedMount",
                format!(
                    "Unable to attach or mount volumes: unmounted volumes=[{names}], unattached volumes=[], failed to process volumes=[{names}]: {reasons}"
                ),
            ));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_that_are_not_known_share_an_event() {
        let unknown = |name: &str| (name.to_owned(), Failure::Unprocessed(format!("no {name}")));
        let broken = |step| {
            let error = VolumeError::Invalid("why".to_owned());
            ("c".to_owned(), Failure::of(step, "pv", error))
        };
        let error = PodVolumeError(vec![unknown("a"), broken(Step::SetUp), unknown("b")]);
        assert_eq!(
            error.events(),
            [
                ("FailedMount", "MountVolume.SetUp failed for volume \"pv\" : why".to_owned()),
                (
                    "FailedMount",
                    "Unable to attach or mount volumes: unmounted volumes=[a b], unattached volumes=[], failed to process volumes=[a b]: no a; no b".to_owned()
                ),
            ]
        );
        let mapped = PodVolumeError(vec![broken(Step::SetUpDevice)]);
        assert_eq!(mapped.events()[0].0, "FailedMapVolume");
    }
}
