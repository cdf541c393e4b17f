//! Which address families a Service has: decided, or refused, before addresses are taken for it (KEP-563).
//!
//! Upstream does this when a write begins, before the rules of Services are asked: what is wrong with addresses and families is told alone.

use api::{fields::Fields, kinds::core::service};
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use super::Family;

const SINGLE_STACK: &str = "SingleStack";
const PREFER_DUAL_STACK: &str = "PreferDualStack";
const REQUIRE_DUAL_STACK: &str = "RequireDualStack";

/// Fills in the policy and the families that the client left open. `configured` are those of the cluster, the default one first.
pub(super) fn init(
    service: &mut Object,
    old: Option<&Object>,
    configured: &[Family],
) -> Result<(), ErrorList> {
    let Some(default) = configured.first() else {
        return Ok(());
    };
    let empty = Object::new();
    let spec = service.object("spec").unwrap_or(&empty);
    let before = old.and_then(|old| old.object("spec"));
    if spec.text("type") == "ExternalName"
        || before.is_some_and(|before| stays_preferring(spec, before))
    {
        return Ok(());
    }
    let selectorless =
        spec.text("clusterIP") == "None" && spec.object("selector").is_none_or(Object::is_empty);
    let policy = match spec.text_opt("ipFamilyPolicy") {
        Some(given) => given,
        None => match before.and_then(|before| before.text_opt("ipFamilyPolicy")) {
            Some(kept) => kept,
            // Whoever writes the endpoints of such a Service may write both families.
            None if selectorless => REQUIRE_DUAL_STACK,
            None => SINGLE_STACK,
        },
    }
    .to_owned();
    let errors = service::validate_cluster_ips_related_fields(service, old);
    if !errors.is_empty() {
        return Err(errors);
    }
    let spec = service.object("spec").unwrap_or(&empty);
    let mut wanted = Wanted {
        policy,
        addresses: spec.texts("clusterIPs").map(str::to_owned).collect(),
        families: spec.texts("ipFamilies").map(str::to_owned).collect(),
    };
    let mut errors = before.map_or_else(ErrorList::new, |before| wanted.change_from(before));
    errors.extend(wanted.too_many());
    errors.extend(wanted.infer(configured));
    if !errors.is_empty() {
        return Err(errors);
    }
    if !selectorless {
        let errors = wanted.unconfigured(configured);
        if !errors.is_empty() {
            return Err(errors);
        }
    }
    if wanted.families.is_empty() {
        wanted.families.push(default.name().to_owned());
    }
    let may_be_dual = selectorless || configured.len() > 1;
    if wanted.policy != SINGLE_STACK && wanted.families.len() == 1 && may_be_dual {
        let other = Family::parse(&wanted.families[0]).map(Family::other);
        wanted
            .families
            .extend(other.map(|other| other.name().to_owned()));
    }
    wanted.write(service);
    Ok(())
}

/// A Service that prefers two families is left as it is when the cluster gains or loses one.
fn stays_preferring(spec: &Object, before: &Object) -> bool {
    let prefers = |spec: &Object| spec.text("ipFamilyPolicy") == PREFER_DUAL_STACK;
    let policy_before = before.text_opt("ipFamilyPolicy");
    prefers(spec)
        && policy_before.is_none_or(|_| prefers(before))
        && spec.text("type") == before.text("type")
        && matches!(spec.text("type"), "ClusterIP" | "NodePort" | "LoadBalancer")
        && same(spec, before, "clusterIPs")
        && same(spec, before, "ipFamilies")
}

fn same(a: &Object, b: &Object, list: &str) -> bool {
    a.texts(list).eq(b.texts(list))
}

fn policy_path() -> Path {
    Path::new("spec").child("ipFamilyPolicy")
}

/// What a Service is to have.
struct Wanted {
    policy: String,
    addresses: Vec<String>,
    families: Vec<String>,
}

impl Wanted {
    /// An update to one family gives up the second address and family; no other update may.
    fn change_from(&mut self, before: &Object) -> ErrorList {
        let texts = |list| -> Vec<&str> { before.texts(list).collect() };
        let (addresses, families) = (texts("clusterIPs"), texts("ipFamilies"));
        if self.policy == SINGLE_STACK {
            for (list, before) in [
                (&mut self.addresses, addresses),
                (&mut self.families, families),
            ] {
                if *list == before {
                    list.truncate(1);
                }
            }
            return ErrorList::new();
        }
        let reduced =
            |list: &[String], before: &[&str]| !list.is_empty() && list.len() < before.len();
        let released = [
            (reduced(&self.addresses, &addresses), "cluster IP"),
            (reduced(&self.families, &families), "IP family"),
        ];
        self.refuse(released.map(|(is_so, what)| {
            is_so.then(|| format!("must be 'SingleStack' to release the secondary {what}"))
        }))
    }

    /// One family has no two addresses.
    fn too_many(&self) -> ErrorList {
        let single = self.policy == SINGLE_STACK;
        let given = [
            (self.addresses.len(), "cluster IPs"),
            (self.families.len(), "IP families"),
        ];
        self.refuse(given.map(|(count, what)| {
            (single && count == 2).then(|| {
                format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified")
            })
        }))
    }

    fn refuse(&self, details: [Option<String>; 2]) -> ErrorList {
        let details = details.into_iter().flatten();
        details
            .map(|detail| FieldError::invalid(&policy_path(), self.policy.as_str(), detail))
            .collect()
    }

    /// Families that are not named are those of the addresses.
    fn infer(&mut self, configured: &[Family]) -> ErrorList {
        let mut errors = ErrorList::new();
        for (index, address) in self.addresses.iter().enumerate() {
            if address == "None" {
                break;
            }
            if index < self.families.len() {
                continue;
            }
            let family = api::names::parse_ip_sloppy(address).map(|address| Family::of(&address));
            match family {
                Some(family) if configured.contains(&family) => {
                    self.families.push(family.name().to_owned());
                }
                _ => errors.push(FieldError::invalid(
                    &Path::new("spec").child("clusterIPs").index(index),
                    self.addresses.clone(),
                    format!(
                        "{} is not configured on this cluster",
                        family.map_or("unknown", Family::name)
                    ),
                )),
            }
        }
        errors
    }

    /// What is demanded of a cluster that does not have it.
    fn unconfigured(&self, configured: &[Family]) -> ErrorList {
        let mut errors = ErrorList::new();
        if self.policy == REQUIRE_DUAL_STACK && configured.len() < 2 {
            errors.push(FieldError::invalid(
                &policy_path(),
                self.policy.as_str(),
                "this cluster is not configured for dual-stack services",
            ));
        }
        let families = Path::new("spec").child("ipFamilies");
        for (index, name) in self.families.iter().enumerate() {
            if !Family::parse(name).is_some_and(|family| configured.contains(&family)) {
                errors.push(FieldError::invalid(
                    &families.index(index),
                    name.as_str(),
                    "not configured on this cluster",
                ));
            }
        }
        errors
    }

    fn write(self, service: &mut Object) {
        let spec = service.ensure_object("spec");
        spec.set("ipFamilyPolicy", self.policy);
        if !self.addresses.is_empty() {
            spec.set("clusterIPs", values(self.addresses));
        }
        spec.set("ipFamilies", values(self.families));
    }
}

fn values(texts: Vec<String>) -> Vec<Value> {
    texts.into_iter().map(Value::from).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decide(spec: Value, old: Option<Value>, configured: &[Family]) -> Result<Value, String> {
        let object = |spec: Value| json!({ "spec": spec }).as_object().cloned().unwrap();
        let mut service = object(spec);
        let old = old.map(object);
        match init(&mut service, old.as_ref(), configured) {
            Ok(()) => Ok(json!([
                service["spec"]["ipFamilyPolicy"],
                service["spec"]["ipFamilies"],
                service["spec"]["clusterIPs"]
            ])),
            Err(errors) => Err(errors[0].to_string()),
        }
    }

    const V4: &[Family] = &[Family::V4];
    const DUAL: &[Family] = &[Family::V4, Family::V6];

    #[test]
    fn what_is_left_open_follows_the_cluster_and_the_addresses() {
        let decided = |spec, configured| decide(spec, None, configured).unwrap();
        for (spec, configured, expected) in [
            (json!({}), V4, json!(["SingleStack", ["IPv4"], null])),
            (
                json!({"ipFamilyPolicy": "PreferDualStack"}),
                DUAL,
                json!(["PreferDualStack", ["IPv4", "IPv6"], null]),
            ),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None"]}),
                V4,
                json!(["RequireDualStack", ["IPv4", "IPv6"], ["None"]]),
            ),
            (
                json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]}),
                DUAL,
                json!(["SingleStack", ["IPv6"], ["fd00::1"]]),
            ),
        ] {
            assert_eq!(decided(spec.clone(), configured), expected, "{spec}");
        }
    }

    #[test]
    fn refusals_are_worded_as_upstream_words_them() {
        for (spec, expected) in [
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ),
            (
                json!({"ipFamilies": ["IPv6"]}),
                "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
            ),
            (
                json!({"ipFamilies": ["IPv4", "IPv6"]}),
                "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
            ),
            (
                json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]}),
                "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
            ),
            (
                json!({"clusterIPs": ["10.0.0.1"]}),
                "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not specified",
            ),
        ] {
            assert_eq!(decide(spec, None, V4).unwrap_err(), expected);
        }
    }

    #[test]
    fn an_update_gives_up_a_family_only_when_it_says_so() {
        let two = json!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"],
            "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]});
        let mut single = two.clone();
        single["ipFamilyPolicy"] = json!("SingleStack");
        assert_eq!(
            decide(single, Some(two.clone()), DUAL).unwrap(),
            json!(["SingleStack", ["IPv4"], ["10.0.0.1"]])
        );
        let mut less = two.clone();
        less["ipFamilies"] = json!(["IPv4"]);
        assert_eq!(
            decide(less, Some(two.clone()), DUAL).unwrap_err(),
            "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be 'SingleStack' to release the secondary IP family"
        );
        let kept = decide(two.clone(), Some(two), V4).unwrap();
        assert_eq!(kept[1], json!(["IPv4", "IPv6"]));
    }
}
