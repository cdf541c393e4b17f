//! Quantities as integers.

use apimachinery::quantity::Quantity as Amount;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The amount of a resource in its unit, rounded up: thousandths of a CPU, and bytes or pieces of everything else. The API server has
/// validated the text; what cannot be read counts as nothing.
pub fn amount(resource: &str, quantity: &Quantity) -> i64 {
    let Ok(parsed) = quantity.0.parse::<Amount>() else {
        return 0;
    };
    if resource == "cpu" {
        parsed.milli_value()
    } else {
        parsed.value()
    }
}
