//! The ClusterRole aggregation controller: roles with an `aggregationRule` have the rules of all roles that it selects.

use std::sync::Arc;

use async_trait::async_trait;
use client::{Event, Informer, Object as _, ObjectKey, Patch, selects};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use serde_json::json;

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, run_workers},
};

pub(crate) const NAME: &str = "clusterrole-aggregation-controller";

struct ClusterRoleAggregation {
    ctx: ControllerContext,
    roles: Informer<ClusterRole>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(ClusterRoleAggregation {
        roles: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("ClusterRoleAggregator");
    // Any role may be part of any aggregate; there are few of the latter.
    let (roles, changed) = (controller.roles.store().clone(), queue.clone());
    on_events(
        &ctx,
        NAME,
        &controller.roles,
        move |event: Event<ClusterRole>| {
            if let Event::Updated { old, new } = &event
                && old.rules == new.rules
                && old.labels() == new.labels()
                && old.aggregation_rule == new.aggregation_rule
            {
                return;
            }
            for role in roles
                .list()
                .iter()
                .filter(|role| role.aggregation_rule.is_some())
            {
                changed.add(role.key());
            }
        },
    );
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.others,
        &queue,
        controller,
    );
}

/// The rules of all other roles that `role` selects, in order of names, each once.
fn aggregate(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    let selectors = role
        .aggregation_rule
        .iter()
        .flat_map(|rule| rule.cluster_role_selectors.iter().flatten());
    for selector in selectors {
        for part in all
            .iter()
            .filter(|part| part.name() != role.name() && selects(selector, part.labels()))
        {
            for rule in part.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}

#[async_trait]
impl Reconciler for ClusterRoleAggregation {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.roles.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(role) = self
            .roles
            .store()
            .get_key(key)
            .filter(|role| role.aggregation_rule.is_some())
        else {
            return Ok(Next::OnEvent);
        };
        let rules = aggregate(&role, &self.roles.store().list());
        if role.rules.clone().unwrap_or_default() != rules {
            let patch = Patch::Merge(json!({ "rules": rules }));
            self.ctx
                .client
                .api::<ClusterRole>("")
                .patch(role.name(), &patch)
                .await?;
        }
        Ok(Next::OnEvent)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::rbac::v1::AggregationRule,
        apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
    };

    use super::*;

    fn rule(verb: &str) -> PolicyRule {
        PolicyRule {
            verbs: vec![verb.to_owned()],
            ..PolicyRule::default()
        }
    }

    fn role(name: &str, label: &str, rules: &[&str]) -> Arc<ClusterRole> {
        Arc::new(ClusterRole {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some([(label.to_owned(), "true".to_owned())].into()),
                ..ObjectMeta::default()
            },
            rules: Some(rules.iter().map(|verb| rule(verb)).collect()),
            ..ClusterRole::default()
        })
    }

    #[test]
    fn rules_of_the_selected() {
        let mut admin = (*role("admin", "to-admin", &["stale"])).clone();
        let selector = |label: &str| LabelSelector {
            match_labels: Some([(label.to_owned(), "true".to_owned())].into()),
            match_expressions: None,
        };
        admin.aggregation_rule = Some(AggregationRule {
            cluster_role_selectors: Some(vec![selector("to-admin"), selector("to-all")]),
        });
        let all = [
            Arc::new(admin.clone()),
            role("edit", "to-admin", &["create", "get"]),
            role("other", "to-nobody", &["delete"]),
            role("view", "to-all", &["get", "list"]),
        ];
        assert_eq!(
            aggregate(&admin, &all),
            [rule("create"), rule("get"), rule("list")]
        );
    }
}
