//! Rules compiled: their programs, the declaration of `self`, and what they may cost.

use cel::{Declaration, Environment, Program, Type};

use super::Rule;
use crate::{
    field_path::{self, Notation},
    schema::{JsonType, ListType, SchemaRef, Structural},
};

/// What `self` is called in complaints about types.
const SELF_TYPE: &str = "selfType";
const SELF: &str = "self";
const OLD_SELF: &str = "oldSelf";

/// The rules of a node.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// Of `self`; none if expressions cannot see such a value.
    pub(crate) declaration: Option<Declaration>,
    /// In the order of the schema; empty if there is no declaration.
    pub(crate) rules: Box<[CompiledRule]>,
}

/// One.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    /// Nothing where the rule is blank; else the program, or why there is none.
    pub(crate) program: Option<Result<Program, String>>,
    /// Whether it is a transition rule.
    pub(crate) uses_old_self: bool,
    /// Of `messageExpression`.
    pub(crate) message: Option<Result<Program, String>>,
    /// `fieldPath` as it stands in complaints.
    pub(crate) field_path: String,
}

/// Compiles the rules of a node.
pub(crate) fn compile(schema: &Structural, rules: &[Rule], is_root: bool) -> Compiled {
    let Some(declaration) = cel::declaration(&View(schema), SELF_TYPE, is_root) else {
        return Compiled {
            declaration: None,
            rules: Box::default(),
        };
    };
    let new = Environment::new().declare(SELF, declaration.clone());
    let transition = new.clone().declare(OLD_SELF, declaration.clone());
    let optional = new.clone().declare(
        OLD_SELF,
        Declaration::of_type(Type::optional(declaration.ty())),
    );
    let rules = rules
        .iter()
        .map(|rule| {
            let environment = if rule.optional_old_self == Some(true) {
                &optional
            } else {
                &transition
            };
            compile_rule(schema, rule, environment, &new)
        })
        .collect();
    Compiled {
        declaration: Some(declaration),
        rules,
    }
}

fn compile_rule(
    schema: &Structural,
    rule: &Rule,
    environment: &Environment,
    without_old: &Environment,
) -> CompiledRule {
    let mut compiled = CompiledRule {
        program: None,
        uses_old_self: false,
        message: None,
        field_path: String::new(),
    };
    if rule.rule.trim().is_empty() {
        return compiled;
    }
    let program = environment
        .compile(&rule.rule)
        .map_err(|errors| errors.describe())
        .and_then(|program| match program.result_type() {
            Type::Bool => Ok(program),
            _ => Err("cel expression must evaluate to a bool".to_owned()),
        });
    let failed = program.is_err();
    compiled.uses_old_self = !failed && uses_old_self(&rule.rule, without_old);
    compiled.program = Some(program);
    if failed {
        return compiled;
    }
    if !rule.message_expression.is_empty() {
        let message = environment
            .compile(&rule.message_expression)
            .map_err(|errors| errors.describe_message())
            .and_then(|program| match program.result_type() {
                Type::String => Ok(program),
                _ => Err("messageExpression must evaluate to a string".to_owned()),
            });
        compiled.message = Some(message);
    }
    if let Ok(found) = field_path::resolve(&rule.field_path, schema, Notation::Brackets) {
        compiled.field_path = found.path.as_str().to_owned();
    }
    compiled
}

/// Whether an expression refers to `oldSelf`: it does if it is not well formed without it.
fn uses_old_self(source: &str, without_old: &Environment) -> bool {
    source.contains(OLD_SELF) && without_old.compile(source).is_err()
}

/// A node as crate `cel` reads schemas.
struct View<'s>(&'s Structural);

impl<'s> View<'s> {
    fn of(schema: &'s SchemaRef) -> Self {
        Self(schema)
    }
}

impl cel::Schema for View<'_> {
    fn type_name(&self) -> &str {
        self.0.json_type.name()
    }

    fn format(&self) -> &str {
        let format = self.0.values.as_ref().and_then(|v| v.format);
        format.map(|f| f.written()).unwrap_or_default()
    }

    fn items(&self) -> Option<Self> {
        self.0.items.as_ref().map(Self::of)
    }

    fn properties(&self) -> Vec<(&str, Self)> {
        let properties = self.0.properties.iter();
        properties
            .map(|(name, schema)| (&**name, Self::of(schema)))
            .collect()
    }

    fn additional_properties(&self) -> Option<Self> {
        self.0.additional.schema().map(Self::of)
    }

    fn bound(&self, keyword: &str) -> Option<u64> {
        let values = self.0.values.as_ref()?;
        let bound = match keyword {
            "maxLength" => values.max_length,
            "maxItems" => values.max_items,
            "maxProperties" => values.max_properties,
            _ => None,
        };
        bound.map(|bound| u64::try_from(bound).unwrap_or(0))
    }

    fn is_required(&self, property: &str) -> bool {
        let values = self.0.values.as_ref();
        values.is_some_and(|v| v.required.iter().any(|name| &**name == property))
    }

    fn enum_texts(&self) -> Vec<&str> {
        let values = self.0.values.as_ref();
        values
            .into_iter()
            .flat_map(|v| &v.enumeration)
            .filter_map(|value| value.as_str())
            .collect()
    }

    fn extension(&self, name: &str) -> bool {
        match name {
            "x-kubernetes-int-or-string" => self.0.int_or_string,
            "x-kubernetes-embedded-resource" => self.0.embedded,
            "x-kubernetes-preserve-unknown-fields" => self.0.preserve_unknown,
            _ => false,
        }
    }

    fn list_type(&self) -> &str {
        match self.0.list_type {
            Some(ListType::Set) => "set",
            Some(ListType::Map) => "map",
            Some(ListType::Atomic) => "atomic",
            None => "",
        }
    }

    fn list_map_keys(&self) -> Vec<&str> {
        self.0.list_map_keys.iter().map(|key| &**key).collect()
    }
}

/// How often a node can occur at most in one object of which only the request's size is known.
pub(crate) fn max_cardinality(declaration: &Declaration) -> u64 {
    cel::MAX_REQUEST_BYTES / (declaration.min_bytes() + 1)
}

/// How many values a node has at most for each of its own: none if it is not bounded.
pub(crate) fn max_elements(schema: &Structural) -> Option<u64> {
    let values = schema.values.as_ref();
    let bound = |bound: Option<i64>| bound.map(|b| u64::try_from(b).unwrap_or(0));
    match schema.json_type {
        JsonType::Object if schema.additional.is_set() => {
            bound(values.and_then(|v| v.max_properties))
        }
        JsonType::Array => bound(values.and_then(|v| v.max_items)),
        _ => Some(1),
    }
}
