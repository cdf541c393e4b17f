//! Admission by webhooks: what a server outside the cluster's own says about a request.
//!
//! A [`hook::Hook`] is one entry of a configuration, compiled; [`hooks`] are all of one sort; [`review`] is what it is asked and answers; [`call`] asks it. The two plugins
//! differ in how: [`mutating`] ones one after the other, each seeing what those before it made of the object; [`validating`] ones all at
//! once.

mod call;
mod hook;
mod hooks;
mod mutating;
mod review;
#[cfg(test)]
mod tests;
mod validating;

pub(super) use call::versioned;
pub(super) use mutating::MutatingAdmissionWebhook;
pub(super) use validating::ValidatingAdmissionWebhook;
