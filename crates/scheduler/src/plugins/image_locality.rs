//! ImageLocality: better a node that has the pod's images already; large images count more.

use std::sync::Arc;

use crate::{
    framework::{CycleState, MAX_NODE_SCORE, Plugin, PreScore, Score, Verdict},
    node_info::NodeInfo,
    pod_info::PodInfo,
    snapshot::Snapshot,
};

pub(super) struct ImageLocality;

const MEBIBYTE: i64 = 1024 * 1024;
/// Images that together are smaller are not worth a thought.
const MIN_BYTES: i64 = 23 * MEBIBYTE;
/// For each container, images of this size or more count fully.
const MAX_BYTES_PER_CONTAINER: i64 = 1000 * MEBIBYTE;

/// Of each image of the pod that some node has: its name, and its share of the cluster's nodes.
#[derive(Clone)]
struct ImageSpread(Vec<(String, f64)>);

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }
    fn pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl PreScore for ImageLocality {
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        _: &[Arc<NodeInfo>],
        nodes: &Snapshot,
    ) -> Verdict {
        let total = nodes.nodes().len().max(1) as f64;
        let spread: Vec<(String, f64)> = images(pod)
            .filter_map(|image| match nodes.nodes_with_image(&image) {
                0 => None,
                having => Some((image, having as f64 / total)),
            })
            .collect();
        if spread.is_empty() {
            return Verdict::Skip;
        }
        state.write(self.name(), ImageSpread(spread));
        Verdict::Success
    }
}

impl Score for ImageLocality {
    fn score(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let Some(ImageSpread(images)) = state.read::<ImageSpread>(self.name()) else {
            return 0;
        };
        let bytes: i64 = images
            .iter()
            .filter_map(|(image, share)| Some((*node.images.get(image)? as f64 * share) as i64))
            .sum();
        let containers = i64::try_from(containers(pod)).unwrap_or(i64::MAX);
        let maximum = MAX_BYTES_PER_CONTAINER.saturating_mul(containers);
        if maximum <= MIN_BYTES {
            return 0;
        }
        MAX_NODE_SCORE * (bytes.clamp(MIN_BYTES, maximum) - MIN_BYTES) / (maximum - MIN_BYTES)
    }
}

fn containers(pod: &PodInfo) -> usize {
    pod.spec().containers.len() + pod.spec().init_containers.as_ref().map_or(0, Vec::len)
}

/// Names with their tag, as nodes report them.
fn images(pod: &PodInfo) -> impl Iterator<Item = String> {
    let spec = pod.spec();
    spec.init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
        .filter_map(|container| {
            let image = container.image.as_deref()?;
            let last = image.rsplit('/').next().unwrap_or(image);
            Some(if last.contains([':', '@']) {
                image.to_owned()
            } else {
                format!("{image}:latest")
            })
        })
}
