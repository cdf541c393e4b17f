//! Ownership seen through `scale`: who owns the replicas of a workload owns those of its Scale, and the other way round
//! (upstream's `scalehandler.go`).

use serde_json::Value;

use super::{
    managers::{Manager, Managers, Owned},
    set::FieldSet,
};

const SCALE_VERSION: &str = "autoscaling/v1";

fn replicas() -> FieldSet {
    FieldSet::of_paths(&["spec.replicas"])
}

/// The `managedFields` of a Scale: those of its parent that own the replicas.
///
/// `path` says where the parent has them: `spec.replicas`.
pub fn of_scale(parent: &[Value], path: &str) -> Vec<Value> {
    let (there, replicas) = (FieldSet::of_paths(&[path]), replicas());
    let mut scale = Managers::default();
    let parent = Managers::decode(parent).unwrap_or_default();
    for (manager, owned) in parent.iter() {
        if !owned.fields.set().intersection(&there).is_empty() {
            let owned = Owned {
                fields: replicas.clone().into(),
                api_version: SCALE_VERSION.to_owned(),
                time: owned.time.clone(),
            };
            scale.restate(manager.in_version(SCALE_VERSION), owned);
        }
    }
    scale.encode()
}

/// The `managedFields` of the parent after a write of its Scale: whoever owned the replicas has lost them to those who own them
/// there. Upstream keeps no time of these, and knows updates of a Scale from those of its parent by the version: whoever updated the parent has
/// two entries then, the one with the replicas first, and of the two the next write keeps the last.
pub fn of_parent(parent: &[Value], scale: &[Value], api_version: &str, path: &str) -> Vec<Value> {
    let (there, replicas) = (FieldSet::of_paths(&[path]), replicas());
    let mut parent = Managers::decode(parent).unwrap_or_default();
    let nobody = Manager::update("", "", "");
    parent.retain_fields(|owned| owned.fields.subtract(&there), &nobody);
    let scale = Managers::decode(scale).unwrap_or_default();
    for (manager, owned) in scale.iter() {
        if owned.fields.set().intersection(&replicas).is_empty() {
            continue;
        }
        let before = parent.get(manager);
        let owned = Owned {
            fields: before
                .map_or_else(|| there.clone(), |others| others.fields.set().union(&there))
                .into(),
            api_version: api_version.to_owned(),
            time: before.map(|b| b.time.clone()).unwrap_or_default(),
        };
        parent.restate(manager.clone(), owned);
    }
    parent.encode()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn replicas_move_between_the_two() {
        let parent = [
            json!({"manager": "m", "operation": "Update", "apiVersion": "apps/v1", "time": "2024-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:paused": {}}}}),
        ];
        let scale = of_scale(&parent, "spec.replicas");
        assert_eq!(
            scale,
            [
                json!({"manager": "m", "operation": "Update", "apiVersion": "autoscaling/v1", "time": "2024-01-01T00:00:00Z",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}})
            ]
        );
        let scaled = [
            json!({"manager": "s", "operation": "Apply", "apiVersion": "autoscaling/v1", "subresource": "scale",
            "time": "2024-01-02T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}),
        ];
        assert_eq!(
            of_parent(&parent, &scaled, "apps/v1", "spec.replicas"),
            [
                json!({"manager": "s", "operation": "Apply", "apiVersion": "apps/v1", "subresource": "scale",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}),
                json!({"manager": "m", "operation": "Update", "apiVersion": "apps/v1", "time": "2024-01-01T00:00:00Z",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:paused": {}}}}),
            ]
        );
        // What only passes through comes back as an entry of its own, but for those who apply.
        let applied = json!({"manager": "a", "operation": "Apply", "apiVersion": "apps/v1",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:paused": {}}}});
        let both = [applied.clone(), parent[0].clone()];
        let back = of_parent(
            &both,
            &of_scale(&both, "spec.replicas"),
            "apps/v1",
            "spec.replicas",
        );
        assert_eq!(
            back,
            [
                applied,
                json!({"manager": "m", "operation": "Update", "apiVersion": "apps/v1",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}),
                json!({"manager": "m", "operation": "Update", "apiVersion": "apps/v1", "time": "2024-01-01T00:00:00Z",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:paused": {}}}}),
            ]
        );
    }
}
