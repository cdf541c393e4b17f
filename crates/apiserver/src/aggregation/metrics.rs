//! `aggregator_unavailable_apiservice`: which APIServices are not available, by what their conditions say.

use std::sync::Arc;

use apimachinery::{Object, meta};
use base::metrics::Registry;

use super::API_SERVICES;
use crate::{lookup, reader::ObjectReader};

/// Shows it.
pub(crate) fn serve(reader: Arc<dyn ObjectReader>, metrics: &Registry) {
    metrics.on_scrape(
        "aggregator_unavailable_apiservice",
        "[ALPHA] Gauge of APIServices which are marked as unavailable broken down by APIService name.",
        "gauge",
        move |sink| {
            for service in reader.list(&API_SERVICES, "") {
                let unavailable = if is_available(&service) { 0.0 } else { 1.0 };
                sink.sample(&[("name", meta::name(&service))], unavailable);
            }
        },
    );
}

fn is_available(service: &Object) -> bool {
    lookup::objects(service, &["status", "conditions"]).any(|condition| {
        lookup::text(condition, &["type"]) == "Available"
            && lookup::text(condition, &["status"]) == "True"
    })
}
