//! A capacity of a device, and by what policy requests take parts of it: from a list of values, or from a range in steps.

use apimachinery::{
    field::{ErrorList, FieldError, Path},
    quantity::Quantity,
};
use serde_json::Value;

use super::lists;
use crate::fields::quantity;

const MAX_VALUES: usize = 10;

/// Only a device that several claims share has a policy.
pub(super) fn validate(errors: &mut ErrorList, path: &Path, capacity: &Value, is_shared: bool) {
    let policy = &capacity["requestPolicy"];
    let path = path.child("requestPolicy");
    if !policy.is_object() {
        return;
    }
    if !is_shared {
        let detail = "allowMultipleAllocations must be true";
        errors.push(FieldError::forbidden(&path, detail));
        return;
    }
    let values = policy["validValues"].as_array().filter(|v| !v.is_empty());
    let range = Some(&policy["validRange"]).filter(|r| r.is_object());
    let default = quantity(&policy["default"]);
    let Some(total) = quantity(&capacity["value"]) else {
        return;
    };
    match (values, range, default) {
        (Some(_), Some(_), _) => errors.push(FieldError::forbidden(
            &path,
            "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time",
        )),
        (Some(values), None, Some(default)) => {
            valid_values(errors, &path.child("validValues"), values, default, total);
        }
        (None, Some(range), Some(default)) => {
            valid_range(errors, &path.child("validRange"), range, default, total);
        }
        (Some(_), None, None) => errors.push(FieldError::required(
            &path.child("default"),
            "required when validValues is defined",
        )),
        (None, Some(_), None) => errors.push(FieldError::required(
            &path.child("default"),
            "required when validRange is defined",
        )),
        (None, None, _) => {}
    }
}

fn invalid(path: &Path, value: Quantity, detail: String) -> FieldError {
    FieldError::invalid(path, value.to_string(), detail)
}

fn valid_values(
    errors: &mut ErrorList,
    path: &Path,
    values: &[Value],
    default: Quantity,
    total: Quantity,
) {
    let amounts: Vec<Quantity> = values.iter().filter_map(quantity).collect();
    for (index, pair) in amounts.windows(2).enumerate() {
        if pair[0] > pair[1] {
            let detail = "values must be sorted in ascending order".to_owned();
            errors.push(invalid(&path.index(index + 1), pair[1], detail));
        }
    }
    let short = lists::slice(errors, path, values, MAX_VALUES, |errors, at, value| {
        if let Some(amount) = quantity(value).filter(|amount| *amount > total) {
            let detail = format!("option is larger than capacity value: {total}");
            errors.push(invalid(at, amount, detail));
        }
    });
    if short {
        let keys: Vec<String> = amounts.iter().map(|a| a.value().to_string()).collect();
        lists::unique(errors, path, keys.iter().map(String::as_str));
    }
    if !short || !amounts.contains(&default) {
        let detail = "default value is not valid according to the requestPolicy".to_owned();
        errors.push(invalid(path, default, detail));
    }
}

fn valid_range(
    errors: &mut ErrorList,
    path: &Path,
    range: &Value,
    default: Quantity,
    total: Quantity,
) {
    let bound = |name: &str| quantity(&range[name]);
    let (at_min, at_max, at_step) = (path.child("min"), path.child("max"), path.child("step"));
    let Some(min) = bound("min") else {
        errors.push(FieldError::required(
            &at_min,
            "required when validRange is defined",
        ));
        return;
    };
    let max = bound("max");
    let mut complain = |wrong: bool, at: &Path, value: Quantity, detail: String| {
        if wrong {
            errors.push(invalid(at, value, detail));
        }
    };
    let larger = |what: &str| format!("{what} is larger than capacity value: {total}");
    complain(min > total, &at_min, min, larger("min"));
    let detail = format!("default is less than min: {min}");
    complain(default < min, &at_min, default, detail);
    if let Some(max) = max {
        complain(
            min > max,
            &at_max,
            min,
            format!("min is larger than max: {max}"),
        );
        complain(max > total, &at_max, max, larger("max"));
        let detail = format!("default is more than max: {max}");
        complain(default > max, &at_max, default, detail);
    }
    let Some(step) = bound("step") else {
        return;
    };
    let next = min + step;
    complain(
        next > total,
        &at_step,
        step,
        larger(&format!("one step {next}")),
    );
    for value in [Some(default), max].into_iter().flatten() {
        let distance = value.value().saturating_sub(min.value());
        // A step of nothing reaches nothing; upstream divides by it.
        let misses = distance.checked_rem(step.value()) != Some(0);
        let detail = format!("value is not a multiple of a given step ({step}) from ({min})");
        complain(misses, &at_step, value, detail);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaints(policy: Value) -> Vec<String> {
        let mut errors = Vec::new();
        let capacity = json!({"value": "10Gi", "requestPolicy": policy});
        validate(&mut errors, &Path::new("c"), &capacity, true);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn policies() {
        let good =
            json!({"default": "2Gi", "validRange": {"min": "1Gi", "max": "9Gi", "step": "1Gi"}});
        assert_eq!(complaints(good), [""; 0]);
        assert_eq!(
            complaints(json!({"default": "1Gi", "validValues": ["1Gi", "2Gi"]})),
            [""; 0]
        );
        assert_eq!(
            complaints(json!({"validValues": ["1Gi"]})),
            ["c.requestPolicy.default: Required value: required when validValues is defined"]
        );
        assert_eq!(
            complaints(json!({"default": "3Gi", "validValues": ["2Gi", "1Gi", "11Gi"]})),
            [
                "c.requestPolicy.validValues[1]: Invalid value: \"1Gi\": values must be sorted in ascending order",
                "c.requestPolicy.validValues[2]: Invalid value: \"11Gi\": option is larger than capacity value: 10Gi",
                "c.requestPolicy.validValues: Invalid value: \"3Gi\": default value is not valid according to the requestPolicy",
            ]
        );
        assert_eq!(
            complaints(json!({"default": "1536Mi", "validRange": {"min": "1Gi", "step": "1Gi"}})),
            [
                "c.requestPolicy.validRange.step: Invalid value: \"1536Mi\": value is not a multiple of a given step (1Gi) from (1Gi)"
            ]
        );
    }
}
