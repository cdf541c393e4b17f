//! Kinds of the users' own: CustomResourceDefinitions are followed, and what they define is served like what is built in.
//!
//! [`controller`] follows the definitions; [`names`], [`approval`] and [`conditions`] decide what is said of them; [`serving`] turns a definition into
//! resources of the registry, one a version; [`cleanup`] deletes the objects of one that goes.

mod approval;
mod cleanup;
mod conditions;
mod controller;
mod conversion;
mod custom;
mod finalizers;
mod names;
mod non_structural;
mod serving;
mod stored;
mod strategy;

use apimachinery::gvk::GroupResource;

pub(crate) use controller::CustomResources;
pub(crate) use custom::Custom;

/// The definitions themselves.
const DEFINITIONS: GroupResource =
    GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions");
