//! What the server knows of one resource: a row of facts and a [`Strategy`].
//!
//! One file a kind under `kinds/<group>/`, holding its defaults, validation and strategy in that order; one row in
//! [`crate::kinds::TABLE`]. Built-in and custom resources meet the registry through the same row, [`crate::ServedResource`].

use apimachinery::{
    Object,
    field::ErrorList,
    gvk::{GroupVersionKind, GroupVersionResource},
};

/// Whether objects live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They do not.
    Cluster,
}

/// One served resource in one version. Discovery, routing and the registry are driven by these rows.
#[derive(Debug)]
pub struct Resource {
    /// Plural name and where it is served.
    pub gvr: GroupVersionResource,
    /// The kind of its objects.
    pub gvk: GroupVersionKind,
    /// Singular name.
    pub singular: &'static str,
    /// Where its objects live.
    pub scope: Scope,
    /// `po` for pods.
    pub short_names: &'static [&'static str],
    /// `all`.
    pub categories: &'static [&'static str],
    /// `create delete deletecollection get list patch update watch`, as discovery lists them; empty for pure subresources.
    pub verbs: &'static [&'static str],
    /// `status`, `scale`, `exec`, …
    pub subresources: &'static [Subresource],
    /// Where and in which version objects are kept; `None` where nothing is kept (reviews, bindings).
    pub storage: Option<Storage>,
    /// Defaults, validation, lifecycle.
    pub strategy: &'static dyn Strategy,
}

/// How the objects of a resource are kept.
///
/// Two rows may share a prefix: two versions of a resource, or one resource served by two groups (events). They then share a hub.
#[derive(Debug)]
pub struct Storage {
    /// Below `/registry/`, as upstream's keys have it: `pods`, but `minions` for nodes.
    pub prefix: &'static str,
    /// The version kept, where it is not the row's own. The registry defaults in the row's version, turns the object into the
    /// hub's, and calls everything else of [`Strategy`] on that; answers go the other way.
    pub hub: Option<Hub>,
}

impl Storage {
    /// Kept as served.
    pub const fn plain(prefix: &'static str) -> Self {
        Self { prefix, hub: None }
    }
}

/// The version in which another version's objects are kept, and the way there and back.
#[derive(Debug)]
pub struct Hub {
    /// The kind kept.
    pub gvk: GroupVersionKind,
    /// From the row's version, `apiVersion` and `kind` included. Loses nothing.
    pub to_hub: fn(&mut Object),
    /// Back.
    pub from_hub: fn(&mut Object),
}

/// The lists of verbs that discovery shows, sorted as it sorts them.
pub mod verbs {
    /// What a stored resource offers.
    pub const ALL: &[&str] = &[
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    /// A resource that only answers.
    pub const CREATE: &[&str] = &["create"];
    /// `status`, `scale`.
    pub const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];
    /// `exec`, `attach`, `portforward`.
    pub const CONNECT: &[&str] = &["create", "get"];
    /// `proxy`.
    pub const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
}

/// A subresource as discovery lists it.
#[derive(Debug)]
pub struct Subresource {
    /// Name after the slash.
    pub name: &'static str,
    /// The kind it takes and gives, which may be of another group (`autoscaling/v1 Scale`).
    pub gvk: GroupVersionKind,
    /// `get patch update`.
    pub verbs: &'static [&'static str],
}

impl Subresource {
    /// `status`, of the resource's own kind.
    pub const fn status(gvk: GroupVersionKind) -> Self {
        Self {
            name: "status",
            gvk,
            verbs: verbs::GET_PATCH_UPDATE,
        }
    }

    /// `scale`; see [`crate::scale`].
    pub const fn scale() -> Self {
        Self {
            name: "scale",
            gvk: GroupVersionKind::new("autoscaling", "v1", "Scale"),
            verbs: verbs::GET_PATCH_UPDATE,
        }
    }
}

/// What happens to a value on its way into the store, in the order of the methods.
///
/// Pure and synchronous. [`Strategy::default`] sees the version of the row, everything else the version kept ([`Storage::hub`]). Before
/// `prepare_for_create` the registry has filled name, namespace, uid and creationTimestamp. Metadata (name, uid, timestamps, generation of names, finalizers,
/// owner references) is the registry's: it checks `metadata` by itself before it calls `validate`.
pub trait Strategy: Send + Sync + std::fmt::Debug {
    /// Fills what the client left out, beyond the constant defaults that stand in the facts.
    fn default(&self, _object: &mut Object) {}
    /// Whether defaulting gives an object, as it was sent, the labels of the pods it describes: not a copy, but the same ones.
    fn shares_labels(&self, _sent: &Object) -> bool {
        false
    }
    /// After [`Strategy::prepare_for_create`] of such an object: what was added to the labels of its pods is among its own.
    fn share_labels(&self, _object: &mut Object) {}
    /// Fills times that the client left out with `now`, in RFC 3339. Asked once for each write.
    fn default_times(&self, _object: &mut Object, _now: &str) {}
    /// Clears what a client may not set at creation (mostly `status`) and sets `metadata.generation`.
    fn prepare_for_create(&self, _object: &mut Object) {}
    /// Takes over from `old` what an update may not change silently (mostly `status`), raises `metadata.generation` when the
    /// desired state changed.
    fn prepare_for_update(&self, _new: &mut Object, _old: &Object) {}
    /// Complaints that stand before those about the metadata, of new and of changed objects.
    fn validate_before_metadata(&self, _object: &Object) -> ErrorList {
        Vec::new()
    }
    /// Whether an object that comes without a name, and with nothing to generate one from, gets a UUID for one.
    fn names_the_nameless(&self) -> bool {
        false
    }
    /// All complaints about a new object, in upstream's order.
    fn validate(&self, _object: &Object) -> ErrorList {
        Vec::new()
    }
    /// All complaints about `new` in the light of `old`.
    fn validate_update(&self, _new: &Object, _old: &Object) -> ErrorList {
        Vec::new()
    }
    /// The same; the client is warned of what is wrong and excused because it was wrong before.
    fn judge_update(&self, new: &Object, old: &Object, _excused: &mut Vec<String>) -> ErrorList {
        self.validate_update(new, old)
    }
    /// Whether the kind's own rules judge the metadata of new objects. If not, only what holds for all kinds is asked, and that last.
    fn judges_new_metadata(&self) -> bool {
        true
    }
    /// Whether the complaints about the metadata of an update stand twice in the answer. Upstream checks it once for all kinds and
    /// once more in the rules of most; clients see both.
    fn repeats_metadata_rules(&self) -> bool {
        true
    }

    /// Whether the rules of new objects' metadata, too, are asked on updates: then what is wrong with labels stands once more.
    fn repeats_creation_rules(&self) -> bool {
        false
    }
    /// Likewise of an update of the status.
    fn status_repeats_metadata_rules(&self) -> bool {
        self.repeats_metadata_rules()
    }
    /// Whether a finalizer needs a prefix unless it is one of the server's own; so it is for the kinds of upstream's core.
    fn demands_qualified_finalizers(&self) -> bool {
        true
    }
    /// Like [`Strategy::prepare_for_update`] for the `status` subresource: everything but `status` (and what upstream lets through) is taken from `old`.
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        let kept = |field: &str| matches!(field, "status" | "metadata");
        new.retain(|field, _| kept(field) || old.contains_key(field));
        for (field, before) in old.iter().filter(|(field, _)| !kept(field)) {
            if new.get(field) != Some(before) {
                new.insert(field.clone(), before.clone());
            }
        }
        if let (None, Some(before)) = (new.get("metadata"), old.get("metadata")) {
            new.insert("metadata".to_owned(), before.clone());
        }
    }
    /// Notes in a changed status when it changed. `now` is in RFC 3339.
    fn stamp_status(&self, _new: &mut Object, _old: &Object, _now: &str) {}
    /// For a subresource other than `status` through which the object itself is written (`ephemeralcontainers`, `resize`, `approval`):
    /// takes from `new` only what that subresource is for.
    fn prepare_for_subresource_update(&self, _name: &str, new: &mut Object, old: &Object) {
        self.prepare_for_update(new, old);
    }
    /// All complaints about a write through such a subresource.
    fn validate_subresource_update(&self, _name: &str, new: &Object, old: &Object) -> ErrorList {
        self.validate_update(new, old)
    }
    /// All complaints about a status update.
    fn validate_status_update(&self, _new: &Object, _old: &Object) -> ErrorList {
        Vec::new()
    }
    /// The same, with what is excused.
    fn judge_status_update(
        &self,
        new: &Object,
        old: &Object,
        _excused: &mut Vec<String>,
    ) -> ErrorList {
        self.validate_status_update(new, old)
    }
    /// Complaints about the name itself, as upstream's name function words them; DNS-1123 subdomain unless the kind differs.
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        if prefix {
            crate::names::dns1123_subdomain(&crate::names::mask_trailing_dash(name))
        } else {
            crate::names::dns1123_subdomain(name)
        }
    }
    /// Warnings for the client (`Warning:` headers) about deprecated or ineffective fields.
    fn warnings(&self, _new: &Object, _old: Option<&Object>) -> Vec<String> {
        Vec::new()
    }
    /// A warning on every request for the resource, because the resource itself is on its way out.
    fn deprecation(&self) -> Option<&str> {
        None
    }
    /// Whether PUT to an absent name creates.
    fn allow_create_on_update(&self) -> bool {
        false
    }
    /// Whether PUT without a resourceVersion is taken.
    fn allow_unconditional_update(&self) -> bool {
        true
    }
    /// For graceful deletion: the grace period in seconds for this object when the client asked for `requested`; `None` deletes at once.
    fn graceful_deletion_seconds(&self, _object: &Object, _requested: Option<i64>) -> Option<i64> {
        None
    }
    /// For kinds that stay until something of theirs is cleaned up: the object as its first deletion marks it. `None`: as every object.
    fn begin_deletion(&self, _object: &Object, _now: &str) -> Option<Object> {
        None
    }
    /// Propagation when the client names none: whether dependents are orphaned (upstream's `DefaultGarbageCollectionPolicy`).
    fn orphan_dependents_by_default(&self) -> bool {
        false
    }
    /// Whether the garbage collector looks after dependents of such objects at all; nothing waits for it where it does not.
    fn has_dependents(&self) -> bool {
        true
    }
    /// Whether it is stored as JSON, in which an empty list that shows is not none; all else is stored as protobuf, which does not tell.
    fn is_stored_as_json(&self) -> bool {
        false
    }
    /// Annotations by which a version shows what upstream's internal type has fields for: they are no part of the metadata alone.
    fn annotations_of_version(&self) -> &'static [&'static str] {
        &[]
    }
    /// A warning on deletes that say nothing of dependents, for kinds whose dependents stay then.
    fn delete_warning(&self) -> Option<&'static str> {
        None
    }
    /// What a write of the object itself leaves as it was, whatever it says: its status, where that has an endpoint of its own.
    fn resets(&self, has_status: bool) -> &'static [&'static str] {
        if has_status { &["status"] } else { &[] }
    }
    /// Likewise through a subresource that is not the status.
    fn subresource_resets(&self, _name: &str) -> &'static [&'static str] {
        &[]
    }
    /// What a status write leaves as it was, whatever it says (upstream's `GetResetFields`): nobody owns these through it.
    fn status_resets(&self) -> &'static [&'static str] {
        &["spec"]
    }
    /// Field selectors beyond `metadata.name` and `metadata.namespace`: label and value, for an index kept with the object. The labels and
    /// their order are the same for all objects.
    fn selectable_fields(&self, _object: &Object) -> Vec<(&str, String)> {
        Vec::new()
    }
    /// Where in an object [`Strategy::selectable_fields`] looks, so that nothing else need be read for them. Unless a kind says better, in the
    /// members of the top level that its labels begin with, and at the name.
    fn selectable_paths(&self) -> Vec<&str> {
        let fields = self.selectable_fields(&Object::new());
        let tops = fields
            .iter()
            .filter_map(|(field, _)| field.split('.').next());
        tops.chain(["metadata.name"]).collect()
    }
    /// The one of [`Strategy::selectable_fields`] by which a few of very many are asked for all the time: the watch cache keeps its objects by it, too.
    fn indexed_field(&self) -> Option<&'static str> {
        None
    }
    /// The field that a label of a field selector stands for, if it has had another name.
    fn field_of_label<'a>(&self, label: &'a str) -> &'a str {
        label
    }
    /// Whether a field selector on `field` is known, with upstream's error otherwise.
    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "metadata.name" | "metadata.namespace")
    }
    /// What a client is told who selects by another field.
    fn unknown_field_label(&self, _served: &GroupVersionKind, field: &str) -> String {
        if self.selectable_fields(&Object::new()).is_empty() {
            format!(
                "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            )
        } else {
            format!("field label not supported: {field}")
        }
    }
}
