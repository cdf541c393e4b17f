//! What a plugin says.

/// Why a pod cannot be scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// Whether removing other pods could change it; if not, preemption need not try.
    pub(crate) resolvable: bool,
    /// Sentences for people, counted over the nodes in `FailedScheduling` events.
    pub(crate) reasons: Vec<String>,
    /// The plugin that says so; filled in by the framework.
    pub(crate) plugin: &'static str,
}

/// A plugin's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing against it.
    Success,
    /// This plugin has no part in this pod.
    Skip,
    /// No.
    Reject(Rejection),
    /// The plugin itself failed; the pod is tried again after a back-off.
    Error(String),
}

impl Verdict {
    /// No; but it may fit when other pods go.
    pub(crate) fn unschedulable(reasons: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Reject(Rejection::new(true, reasons))
    }

    /// No, whatever other pods do.
    pub(crate) fn unresolvable(reason: impl Into<String>) -> Self {
        Self::Reject(Rejection::new(false, [reason]))
    }
}

impl Rejection {
    pub(crate) fn new(
        resolvable: bool,
        reasons: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            resolvable,
            reasons: reasons.into_iter().map(Into::into).collect(),
            plugin: "",
        }
    }

    /// Says whose it is.
    pub(crate) fn by(mut self, plugin: &'static str) -> Self {
        self.plugin = plugin;
        self
    }
}
