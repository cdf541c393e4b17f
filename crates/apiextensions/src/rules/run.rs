//! Rules asked of an object.
//!
//! One budget of cost for all; when it is used up, that is said and nothing more is asked. Complaints of rules that are no transition rules are
//! forgotten, and told as warnings, where the value did not change.

use apimachinery::{
    Object,
    field::{ErrorList, ErrorType, FieldError, Path},
};
use cel::{Activation, Budget, Declaration, EvalError, Map, Program};
use serde_json::Value;

use super::{Rule, compile::CompiledRule};
use crate::{
    correlate::{Correlated, CorrelatedItems, OldItems, ValueRef},
    schema::Structural,
};

/// The longest message that an expression may make, in bytes.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// What came of it.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Complaints, in upstream's order.
    pub errors: ErrorList,
    /// Complaints about what did not change.
    pub warnings: Vec<String>,
}

/// Asks all rules of a schema about an object, in the light of the one that it replaces.
pub fn validate(object: &Object, old: Option<&Object>, schema: &Structural) -> Judgement {
    let (value, old) = (ValueRef::Object(object), old.map(ValueRef::Object));
    let correlated = old.map(|old| Correlated {
        old,
        new: value,
        schema,
    });
    judge(&Frame::Root, value, old, correlated, schema, true)
}

/// Asks the rules of a schema about one value: of a default.
pub(crate) fn validate_value(
    path: &Path,
    value: &Value,
    old: Option<&Value>,
    schema: &Structural,
) -> ErrorList {
    let frame = Frame::Start(path);
    judge(
        &frame,
        value.into(),
        old.map(Into::into),
        None,
        schema,
        false,
    )
    .errors
}

fn judge(
    path: &Frame<'_>,
    value: ValueRef<'_>,
    old: Option<ValueRef<'_>>,
    current: Option<Correlated<'_>>,
    schema: &Structural,
    is_root: bool,
) -> Judgement {
    let mut run = Run {
        judgement: Judgement::default(),
        budget: Budget::default(),
        exhausted: false,
    };
    let ratchet = Ratchet {
        current,
        nearest: None,
    };
    run.value(schema, value, old, ratchet, path, is_root);
    run.judgement
}

/// Where the run is, as a list of frames on the stack: most paths are never told.
enum Frame<'a> {
    Root,
    Start(&'a Path),
    Field(&'a Frame<'a>, &'a str),
    Key(&'a Frame<'a>, &'a str),
    Index(&'a Frame<'a>, usize),
}

impl Frame<'_> {
    fn path(&self) -> Path {
        match self {
            Self::Root => Path::default(),
            Self::Start(path) => (*path).clone(),
            Self::Field(parent, name) => parent.path().child(name),
            Self::Key(parent, name) => parent.path().key(name),
            Self::Index(parent, index) => parent.path().index(*index),
        }
    }
}

/// What must not have changed for a complaint to be forgotten.
#[derive(Clone, Copy)]
struct Ratchet<'a> {
    /// The value itself, where it correlates.
    current: Option<Correlated<'a>>,
    /// The nearest around it that does.
    nearest: Option<Correlated<'a>>,
}

impl<'a> Ratchet<'a> {
    fn key(self, name: &str) -> Self {
        match self.current {
            None => self,
            // Types of the object itself are not seen to change.
            Some(_) if self.nearest.is_none() && matches!(name, "apiVersion" | "kind") => Self {
                current: None,
                nearest: None,
            },
            Some(current) => Self {
                current: current.key(name),
                nearest: Some(current),
            },
        }
    }

    fn item(self, items: Option<&CorrelatedItems<'a>>, index: usize) -> Self {
        match self.current {
            None => self,
            Some(current) => Self {
                current: items.and_then(|items| items.get(index)),
                nearest: Some(current),
            },
        }
    }

    fn forgives(self) -> bool {
        self.current
            .or(self.nearest)
            .is_some_and(Correlated::is_unchanged)
    }
}

/// A value as expressions see it.
fn wrapped<'v>(value: ValueRef<'v>, declaration: &'v Declaration) -> cel::Value<'v> {
    match value {
        ValueRef::Object(object) => cel::Value::Map(Map::Json {
            object,
            declaration: Some(declaration),
        }),
        ValueRef::Other(value) => cel::Value::from_json(value, Some(declaration)),
    }
}

struct Run {
    judgement: Judgement,
    budget: Budget,
    exhausted: bool,
}

impl Run {
    fn value(
        &mut self,
        schema: &Structural,
        value: ValueRef<'_>,
        old: Option<ValueRef<'_>>,
        ratchet: Ratchet<'_>,
        path: &Frame<'_>,
        is_root: bool,
    ) {
        let nothing = ValueRef::Other(&Value::Null);
        if !schema.contains.rules || value == nothing {
            return;
        }
        let old = old.filter(|old| *old != nothing);
        self.rules(schema, value, old, ratchet, path, is_root);
        if self.exhausted {
            return;
        }
        match value {
            ValueRef::Object(object) => self.fields(schema, object, old, ratchet, path),
            ValueRef::Other(Value::Array(items)) => {
                self.items(schema, items, old, ratchet, path);
            }
            ValueRef::Other(_) => {}
        }
    }

    fn fields(
        &mut self,
        schema: &Structural,
        object: &Object,
        old: Option<ValueRef<'_>>,
        ratchet: Ratchet<'_>,
        path: &Frame<'_>,
    ) {
        let old = old.and_then(ValueRef::as_object);
        let old_of = |name: &str| old.and_then(|old| old.get(name)).map(ValueRef::from);
        // Upstream asks the rules of additional fields of all fields.
        if let Some(additional) = schema.additional.schema().filter(|s| s.contains.rules) {
            for (name, value) in object {
                let at = Frame::Key(path, name);
                let ratchet = ratchet.key(name);
                let root = additional.embedded;
                self.value(additional, value.into(), old_of(name), ratchet, &at, root);
                if self.exhausted {
                    return;
                }
            }
        }
        for (name, property) in &schema.properties {
            if !property.contains.rules {
                continue;
            }
            let Some(value) = object.get(&**name) else {
                continue;
            };
            let at = Frame::Field(path, name);
            let ratchet = ratchet.key(name);
            let root = property.embedded;
            self.value(property, value.into(), old_of(name), ratchet, &at, root);
            if self.exhausted {
                return;
            }
        }
    }

    fn items(
        &mut self,
        schema: &Structural,
        items: &[Value],
        old: Option<ValueRef<'_>>,
        ratchet: Ratchet<'_>,
        path: &Frame<'_>,
    ) {
        let Some(inner) = schema.items.as_deref().filter(|s| s.contains.rules) else {
            return;
        };
        let old = old
            .and_then(ValueRef::as_array)
            .map(|old| OldItems::new(schema, old));
        let correlated = ratchet.current.and_then(Correlated::items);
        for (index, value) in items.iter().enumerate() {
            let old = old.as_ref().and_then(|old| old.of(value));
            let old = old.map(ValueRef::from);
            let at = Frame::Index(path, index);
            let ratchet = ratchet.item(correlated.as_ref(), index);
            self.value(inner, value.into(), old, ratchet, &at, inner.embedded);
            if self.exhausted {
                return;
            }
        }
    }

    /// The rules of one node about one value.
    fn rules<'v>(
        &mut self,
        schema: &'v Structural,
        value: ValueRef<'v>,
        old: Option<ValueRef<'v>>,
        ratchet: Ratchet<'_>,
        path: &Frame<'_>,
        is_root: bool,
    ) {
        let Some(rules) = &schema.rules else {
            return;
        };
        let shown_type = Value::from(schema.json_type.name());
        let compiled = rules.compiled(schema, is_root);
        let Some(declaration) = &compiled.declaration else {
            self.invalid(path, shown_type, "rule compiler initialization error: failed to convert to declType for CEL validation rules".to_owned());
            return;
        };
        let of = |value: ValueRef<'v>| wrapped(value, declaration);
        let new = Activation::new().with("self", of(value));
        let transition = old.map(|old| {
            Activation::new()
                .with("self", of(value))
                .with("oldSelf", of(old))
        });
        for (rule, compiled) in rules.list().iter().zip(&compiled.rules) {
            let program = match &compiled.program {
                None => continue,
                Some(Ok(program)) => program,
                Some(Err(error)) => {
                    self.invalid(
                        path,
                        shown_type.clone(),
                        format!("rule compile error: {error}"),
                    );
                    continue;
                }
            };
            let optional_old = rule.optional_old_self == Some(true);
            if compiled.uses_old_self && old.is_none() && !optional_old {
                continue;
            }
            let optional;
            let activation = if optional_old {
                let old = old.map(|old| std::sync::Arc::new(of(old)));
                optional = Activation::new()
                    .with("self", of(value))
                    .with("oldSelf", cel::Value::Optional(old));
                &optional
            } else {
                transition.as_ref().unwrap_or(&new)
            };
            match program.evaluate(activation, &mut self.budget) {
                Ok(result) if result.as_bool() == Some(true) => continue,
                Ok(_) => {}
                Err(error) => {
                    self.failure(rule, &error, &shown_type, path);
                    if self.exhausted {
                        return;
                    }
                    continue;
                }
            }
            let forgiven = !compiled.uses_old_self && ratchet.forgives();
            let error = self.complaint(rule, compiled, activation, value, schema, path);
            if forgiven {
                self.judgement.warnings.push(error.to_string());
            } else {
                self.judgement.errors.push(error);
            }
            if self.exhausted {
                return;
            }
        }
    }

    fn invalid(&mut self, path: &Frame<'_>, value: Value, detail: String) {
        let error = FieldError::invalid(&path.path(), value, detail);
        self.judgement.errors.push(error);
    }

    /// A rule that yields no value.
    fn failure(&mut self, rule: &Rule, error: &EvalError, shown: &Value, path: &Frame<'_>) {
        let of = rule.shown();
        let detail = match error {
            EvalError::OutOfBudget => {
                self.exhausted = true;
                OUT_OF_BUDGET.to_owned()
            }
            EvalError::CostLimitExceeded => {
                self.exhausted = true;
                format!(
                    "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {of}"
                )
            }
            EvalError::Failed(message) if message.starts_with("no such overload") => {
                format!(
                    "'{message}': call arguments did not match a supported operator, function or macro signature for rule: {of}"
                )
            }
            EvalError::Failed(message) => format!("{message} evaluating rule: {of}"),
        };
        self.invalid(path, shown.clone(), detail);
    }

    /// What is said of a value that breaks a rule.
    fn complaint<'a>(
        &mut self,
        rule: &Rule,
        compiled: &'a CompiledRule,
        activation: &Activation<'a>,
        value: ValueRef<'_>,
        schema: &Structural,
        path: &Frame<'_>,
    ) -> FieldError {
        let mut field = path.path();
        if !compiled.field_path.is_empty() {
            field = field.child(&compiled.field_path);
        }
        let detail = match &compiled.message {
            Some(Ok(program)) => match self.message(rule, program, activation) {
                Ok(message) => message.unwrap_or_else(|| rule.complaint()),
                Err(fatal) => {
                    self.exhausted = true;
                    return FieldError::invalid(&field, schema.json_type.name(), fatal);
                }
            },
            _ => rule.complaint(),
        };
        let value = match value {
            ValueRef::Object(_) | ValueRef::Other(Value::Array(_)) => None,
            ValueRef::Other(value) => Some(value.clone()),
        };
        let value = match schema.json_type.name() {
            "object" | "array" => None,
            _ => value,
        };
        let (kind, bad_value, detail) = match &*rule.reason {
            "FieldValueForbidden" => (ErrorType::Forbidden, None, detail),
            "FieldValueRequired" => (ErrorType::Required, None, detail),
            "FieldValueDuplicate" => (ErrorType::Duplicate, value, String::new()),
            _ => (ErrorType::Invalid, value, detail),
        };
        FieldError {
            kind,
            field,
            bad_value,
            detail,
        }
    }

    /// What `messageExpression` says; nothing if it says nothing fit to be told.
    fn message<'a>(
        &mut self,
        rule: &Rule,
        program: &'a Program,
        activation: &Activation<'a>,
    ) -> Result<Option<String>, String> {
        match program.evaluate(activation, &mut self.budget) {
            Ok(value) => {
                let text = value.as_str().unwrap_or_default().trim();
                let fit = !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n');
                Ok(fit.then(|| text.to_owned()))
            }
            Err(EvalError::OutOfBudget) => Err(
                "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_owned(),
            ),
            Err(EvalError::CostLimitExceeded) => Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {}",
                apimachinery::quote(&rule.message_expression)
            )),
            Err(EvalError::Failed(_)) => Ok(None),
        }
    }
}
