//! Selectors of devices: expressions over `device`, in claims and classes. They must compile to a truth value, and not be too dear.

use std::sync::LazyLock;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use cel::{Declaration, Environment, Field, Type};

use super::lists;
use crate::{fields::Fields, kinds::admissionregistration::expressions::Wrong};

/// Longest expression, in bytes.
const MAX_EXPRESSION_BYTES: usize = 10 << 10;
/// Dearest expression, in the worst case.
const MAX_COST: u64 = 1_000_000;
/// How many selectors there may be.
const MAX_SELECTORS: usize = 32;
/// How many attributes and capacities a device may have, and how many domains they may come from.
const MAX_ATTRIBUTES: u64 = 32;

/// `device`: its driver, its attributes and capacities by domain and name.
static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    let by_domain = |values| {
        let by_name = Declaration::map(values, Some(MAX_ATTRIBUTES));
        Declaration::map(by_name, Some(MAX_ATTRIBUTES))
    };
    let quantity = Declaration::of_type(Type::Opaque("kubernetes.Quantity"));
    let fields = [
        Field::new("driver", Declaration::string(Some(63))),
        Field::new("allowMultipleAllocations", Declaration::bool()),
        Field::new("attributes", by_domain(Declaration::dynamic())),
        Field::new("capacity", by_domain(quantity)),
    ];
    Environment::new()
        .with_bindings()
        .declare("device", Declaration::object("DRADevice", fields))
});

/// The rules of `selectors`.
pub(super) fn validate(errors: &mut ErrorList, path: &Path, owner: &Object) {
    let path = path.child("selectors");
    let list = owner.list("selectors");
    lists::objects(
        errors,
        &path,
        list,
        MAX_SELECTORS,
        |errors, at, selector| {
            let at = at.child("cel");
            match selector.object("cel") {
                None => errors.push(FieldError::required(&at, "")),
                Some(cel) => expression(errors, &at.child("expression"), cel.text("expression")),
            }
        },
    );
}

fn expression(errors: &mut ErrorList, path: &Path, expression: &str) {
    if expression.len() > MAX_EXPRESSION_BYTES {
        errors.push(FieldError::too_long(path, MAX_EXPRESSION_BYTES));
        return;
    }
    let program = match ENVIRONMENT.compile(expression) {
        Ok(program) => program,
        Err(wrong) => {
            errors.push(Wrong::from(wrong).at(path, expression));
            return;
        }
    };
    let ty = program.result_type();
    if !matches!(ty, Type::Bool | Type::Dyn) {
        let found = ty.declared_name();
        errors.push(FieldError::invalid(
            path,
            expression,
            format!("must evaluate to bool or the unknown type, not {found}"),
        ));
    } else if program.estimate().max > MAX_COST {
        let detail = "too complex, exceeds cost limit";
        errors.push(FieldError::forbidden(path, detail));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaints(expression: &str) -> Vec<String> {
        let owner = json!({"selectors": [{"cel": {"expression": expression}}]});
        let mut errors = Vec::new();
        let owner = owner.as_object().expect("an object");
        validate(&mut errors, &Path::new("x"), owner);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn selectors_compile_to_a_truth_value() {
        for good in [
            "device.driver == 'a.example.com'",
            "device.attributes['a.example.com'].healthy",
            "device.capacity['a.example.com'].memory.isGreaterThan(quantity('1Gi'))",
            "cel.bind(a, device.attributes['a.example.com'], a.model == 'x' && semver('1.2.3').isLessThan(semver('2.0.0')))",
            "device.attributes.exists(domain, domain.startsWith('a.'))",
        ] {
            assert_eq!(complaints(good), [""; 0], "{good}");
        }
        assert_eq!(
            complaints("device.driver"),
            [
                "x.selectors[0].cel.expression: Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string"
            ]
        );
        assert!(complaints("device.nope")[0].contains("undefined field 'nope'"));
        let dear = "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, a + b + c != d))))";
        assert!(
            complaints(dear)[0].contains("too complex"),
            "{:?}",
            complaints(dear)
        );
    }
}
