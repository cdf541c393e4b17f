//! Keeps flow control in step with its objects: takes over what changed, says in each FlowSchema's `Dangling` condition whether its level exists,
//! moves seats between levels every ten seconds, and restores the server's own objects every minute.

use std::{sync::Arc, time::Duration};

use apimachinery::{Object, meta, status::Status};
use base::Clock;
use etcd::Revision;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{FLOW_SCHEMAS, FlowControl, PRIORITY_LEVELS, flow_schema::level_name};
use crate::{
    bootstrap::Bootstrap, health::Done, lookup, reader::ObjectReader, registry::ServerWriter,
};

/// How often seats move between levels.
const ADJUST_PERIOD: Duration = Duration::from_secs(10);
/// How often mandatory and suggested objects are looked after.
const MAINTAIN_PERIOD: Duration = Duration::from_secs(60);
/// Under which name conditions are written.
const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";

/// See the module.
pub struct Controller {
    /// Whose configuration it keeps.
    pub flow_control: Arc<FlowControl>,
    /// Where the objects are.
    pub reader: Arc<dyn ObjectReader>,
    /// Writes conditions.
    pub writer: ServerWriter,
    /// Restores the server's own objects.
    pub bootstrap: Arc<Bootstrap>,
    /// The time.
    pub clock: Clock,
    /// Set once the objects have been taken over.
    pub following: Done,
    /// Moves with every change of the store.
    pub revision: watch::Receiver<Revision>,
}

impl Controller {
    /// Runs until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let _ = cancel.run_until_cancelled(self.follow()).await;
    }

    async fn follow(mut self) {
        let mut seen = None;
        let mut adjust_at = self.after(ADJUST_PERIOD);
        let mut maintain_at = self.after(MAINTAIN_PERIOD);
        loop {
            let generations = (
                self.reader.generation(&FLOW_SCHEMAS),
                self.reader.generation(&PRIORITY_LEVELS),
            );
            let synced = self.reader.synced(&FLOW_SCHEMAS) && self.reader.synced(&PRIORITY_LEVELS);
            if synced && seen != Some(generations) {
                seen = Some(generations);
                self.flow_control.reload();
                self.following.set();
                self.write_conditions().await;
            }
            tokio::select! {
                changed = self.revision.changed() => if changed.is_err() { return },
                () = self.clock.sleep_until(adjust_at) => {
                    self.flow_control.adjust();
                    adjust_at = self.after(ADJUST_PERIOD);
                }
                () = self.clock.sleep_until(maintain_at) => {
                    if let Err(error) = self.bootstrap.maintain_flow_control().await {
                        tracing::warn!(%error, "the configuration of flow control is not maintained");
                    }
                    maintain_at = self.after(MAINTAIN_PERIOD);
                }
            }
        }
    }

    fn after(&self, period: Duration) -> jiff::Timestamp {
        let now = self.clock.now();
        now.checked_add(period).unwrap_or(now)
    }

    /// Every FlowSchema says whether its level exists.
    async fn write_conditions(&self) {
        let levels = self.reader.list(&PRIORITY_LEVELS, "");
        let exists = |name: &str| levels.iter().any(|level| meta::name(level) == name);
        let now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        for schema in self.reader.list(&FLOW_SCHEMAS, "") {
            let Some(changed) = with_condition(&schema, exists(level_name(&schema)), &now) else {
                continue;
            };
            let written = self
                .writer
                .apply_status_as(MANAGER, &FLOW_SCHEMAS, "", &applied(&changed))
                .await;
            match written {
                Ok(_) => {}
                // Another server was faster, or it is gone: its change wakes us again.
                Err(status) if lost_race(&status) => {}
                Err(status) => {
                    let name = meta::name(&schema);
                    tracing::warn!(schema = name, %status, "a FlowSchema's condition is not written");
                }
            }
        }
    }
}

fn lost_race(status: &Status) -> bool {
    status.is_conflict() || status.is_not_found()
}

/// What is applied of a schema: its one condition.
fn applied(schema: &Object) -> Object {
    let conditions: Vec<Value> = lookup::list(schema, &["status", "conditions"])
        .iter()
        .filter(|condition| condition["type"] == "Dangling")
        .cloned()
        .collect();
    let config = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": meta::name(schema)},
        "status": {"conditions": conditions},
    });
    config.as_object().cloned().unwrap_or_default()
}

/// The schema with its condition as it should be; none if it is.
fn with_condition(schema: &Object, level_exists: bool, now: &str) -> Option<Object> {
    let level = level_name(schema);
    let begin = "This FlowSchema references the PriorityLevelConfiguration object named";
    let (status, reason, message) = if level_exists {
        ("False", "Found", format!("{begin} {level:?} and it exists"))
    } else {
        let message = format!("{begin} {level:?} but there is no such object");
        ("True", "NotFound", message)
    };
    let is_it = |condition: &Value| condition["type"] == "Dangling";
    let conditions = lookup::list(schema, &["status", "conditions"]);
    let existing = conditions.iter().find(|condition| is_it(condition));
    let unchanged = existing.is_some_and(|c| c["status"] == status);
    if unchanged && existing.is_some_and(|c| c["reason"] == reason && c["message"] == message) {
        return None;
    }
    let since = match existing {
        Some(condition) if unchanged => condition["lastTransitionTime"].clone(),
        _ => now.into(),
    };
    let condition = json!({
        "type": "Dangling", "status": status, "lastTransitionTime": since, "reason": reason, "message": message,
    });
    let mut changed = schema.clone();
    let conditions = lookup::list_mut(&mut changed, &["status"], "conditions");
    conditions.retain(|condition| !is_it(condition));
    conditions.push(condition);
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_without_its_level_dangles() {
        let schema = json!({"spec": {"priorityLevelConfiguration": {"name": "p"}}});
        let schema = schema.as_object().unwrap();
        let dangling = with_condition(schema, false, "T1").unwrap();
        let message = "This FlowSchema references the PriorityLevelConfiguration object named \"p\" but there is no such object";
        let expected = json!([{
            "type": "Dangling", "status": "True", "lastTransitionTime": "T1", "reason": "NotFound", "message": message,
        }]);
        assert_eq!(dangling["status"]["conditions"], expected);
        assert_eq!(with_condition(&dangling, false, "T2"), None);
        let found = with_condition(&dangling, true, "T2").unwrap();
        assert_eq!(found["status"]["conditions"][0]["lastTransitionTime"], "T2");
        assert_eq!(with_condition(&found, true, "T3"), None);
    }
}
