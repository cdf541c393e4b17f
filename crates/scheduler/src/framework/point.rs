//! The extension points by name: a configuration may switch a plugin on or off at each of them.

use super::Plugin;

/// An extension point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    PreEnqueue,
    QueueSort,
    PreFilter,
    Filter,
    PostFilter,
    PreScore,
    Score,
    Reserve,
    Permit,
    PreBind,
    Bind,
    PostBind,
}

impl Point {
    /// All of them, in the order of a pod's way.
    pub(crate) const ALL: [Self; 12] = [
        Self::PreEnqueue,
        Self::QueueSort,
        Self::PreFilter,
        Self::Filter,
        Self::PostFilter,
        Self::PreScore,
        Self::Score,
        Self::Reserve,
        Self::Permit,
        Self::PreBind,
        Self::Bind,
        Self::PostBind,
    ];

    /// Upstream's name of it in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PreEnqueue => "PreEnqueue",
            Self::QueueSort => "QueueSort",
            Self::PreFilter => "PreFilter",
            Self::Filter => "Filter",
            Self::PostFilter => "PostFilter",
            Self::PreScore => "PreScore",
            Self::Score => "Score",
            Self::Reserve => "Reserve",
            Self::Permit => "Permit",
            Self::PreBind => "PreBind",
            Self::Bind => "Bind",
            Self::PostBind => "PostBind",
        }
    }

    /// Whether a plugin has a say here.
    pub(crate) fn is_point_of(self, plugin: &dyn Plugin) -> bool {
        match self {
            Self::PreEnqueue => plugin.pre_enqueue().is_some(),
            Self::QueueSort => plugin.queue_sort().is_some(),
            Self::PreFilter => plugin.pre_filter().is_some(),
            Self::Filter => plugin.filter().is_some(),
            Self::PostFilter => plugin.post_filter().is_some(),
            Self::PreScore => plugin.pre_score().is_some(),
            Self::Score => plugin.score().is_some(),
            Self::Reserve => plugin.reserve().is_some(),
            Self::Permit => plugin.permit().is_some(),
            Self::PreBind => plugin.pre_bind().is_some(),
            Self::Bind => plugin.bind().is_some(),
            Self::PostBind => plugin.post_bind().is_some(),
        }
    }
}
