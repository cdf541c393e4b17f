//! What the expressions of policies and match conditions may use, and what they must come to. Validation compiles them to see whether
//! they are good; admission compiles them to evaluate them. Both do it here, so that what is stored can be run.

use std::sync::{Arc, LazyLock};

use apimachinery::field::{FieldError, Path};
use cel::{CompileErrors, Composed, Declaration, Environment, Field, ListType, Program, Type};

/// What is wrong with an expression, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is no good.
    #[error("{0}")]
    Expression(String),
    /// It is good, but cannot be made into a program: upstream takes this for its own fault.
    #[error("{0}")]
    Program(String),
}

impl Wrong {
    /// The complaint about an expression in a field.
    pub fn at(self, path: &Path, expression: &str) -> FieldError {
        match self {
            Self::Expression(detail) => FieldError::invalid(path, expression, detail),
            Self::Program(detail) => FieldError::internal(path, detail),
        }
    }
}

impl From<CompileErrors> for Wrong {
    fn from(errors: CompileErrors) -> Self {
        let detail = errors.describe();
        if errors.is_instantiation() {
            Self::Program(detail)
        } else {
            Self::Expression(detail)
        }
    }
}

/// What an expression must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// Whether something holds.
    Bool,
    /// A text.
    String,
    /// A text, or nothing.
    StringOrNull,
    /// Operations of a JSON patch.
    JsonPatch,
    /// A configuration to be merged into the object.
    Object,
}

impl Returns {
    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Bool => &["bool"],
            Self::String => &["string"],
            Self::StringOrNull => &["string", "null_type"],
            Self::JsonPatch => &["list(JSONPatch)"],
            Self::Object => &["Object"],
        }
    }

    /// The complaint about an expression of another type.
    fn check(self, ty: &Type) -> Result<(), Wrong> {
        let got = ty.declared_name();
        match self.types() {
            types if types.contains(&got.as_str()) => Ok(()),
            [only] => Err(Wrong::Expression(format!(
                "must evaluate to {only} but got {got}"
            ))),
            types => Err(Wrong::Expression(format!(
                "must evaluate to one of [{}] but got {got}",
                types.join(" ")
            ))),
        }
    }
}

/// What one expression may use beside `object`, `oldObject`, `request`, `namespaceObject`, and whatever its policy has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uses {
    /// `authorizer`.
    pub authorizer: bool,
    /// `Object{…}` and `JSONPatch{…}`.
    pub patches: bool,
}

/// The expressions of one policy or webhook.
#[derive(Debug)]
pub struct Expressions {
    base: Environment,
    /// `variables`, if the policy has any.
    variables: Option<Vec<(Arc<str>, Field)>>,
    composed: Vec<Composed>,
}

static REQUEST: LazyLock<Declaration> = LazyLock::new(request);
static NAMESPACE: LazyLock<Declaration> = LazyLock::new(namespace);

impl Expressions {
    /// With `params` if there are parameters, and with `variables` if there may be any.
    pub fn new(params: bool, variables: bool) -> Self {
        let anything = Declaration::dynamic();
        Self::about(anything, params.then(Declaration::dynamic), variables)
    }

    /// About objects of a certain type.
    pub fn about(object: Declaration, params: Option<Declaration>, variables: bool) -> Self {
        let mut base = Environment::new()
            .declare("object", object.clone())
            .declare("oldObject", object)
            .declare("request", REQUEST.clone())
            .declare("namespaceObject", NAMESPACE.clone());
        if let Some(params) = params {
            base.add("params", params);
        }
        Self {
            base,
            variables: variables.then(Vec::new),
            composed: Vec::new(),
        }
    }

    fn environment(&self, uses: Uses) -> Environment {
        let mut environment = self.base.clone();
        if let Some(variables) = &self.variables {
            let variables = Declaration::object("kubernetes.variables", variables.iter().cloned());
            environment.add("variables", variables);
        }
        if uses.authorizer {
            environment = environment.with_authorizer();
        }
        if uses.patches {
            environment = environment.with_mutation();
        }
        environment
    }

    /// Adds a variable, for the expressions after it.
    ///
    /// # Errors
    /// What is wrong with its expression, in upstream's words. The name is known nevertheless, of any type.
    pub fn add_variable(&mut self, name: &str, expression: &str) -> Result<(), Wrong> {
        let uses = Uses {
            authorizer: true,
            ..Uses::default()
        };
        let compiled = self.environment(uses).compile(expression);
        let ty = match &compiled {
            Ok(program) => Declaration::of_type(program.result_type().clone()),
            Err(_) => Declaration::dynamic(),
        };
        let known = self.variables.get_or_insert_default();
        known.push(field(name, ty, true));
        let program = compiled?;
        self.composed.push(Composed {
            name: Arc::from(name),
            program,
        });
        Ok(())
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, in upstream's words.
    pub fn compile(
        &self,
        expression: &str,
        uses: Uses,
        returns: Returns,
    ) -> Result<Program, Wrong> {
        let program = self.compile_any(expression, uses)?;
        returns.check(program.result_type())?;
        Ok(program)
    }

    /// Compiles an expression that may come to anything.
    ///
    /// # Errors
    /// What is wrong with it, in upstream's words.
    pub fn compile_any(&self, expression: &str, uses: Uses) -> Result<Program, Wrong> {
        Ok(self.environment(uses).compile(expression)?)
    }

    /// The variables that compiled, for evaluation.
    pub fn into_variables(self) -> Vec<Composed> {
        self.composed
    }
}

/// A field under its own name, whatever it is: these types are no schemas.
fn field(name: &str, declaration: Declaration, required: bool) -> (Arc<str>, Field) {
    let name: Arc<str> = Arc::from(name);
    let field = Field {
        json_name: Arc::clone(&name),
        declaration,
        required,
    };
    (name, field)
}

fn text(name: &str, required: bool) -> (Arc<str>, Field) {
    field(name, Declaration::string(None), required)
}

fn texts() -> Declaration {
    Declaration::list(Declaration::string(None), ListType::Atomic, None)
}

fn text_map() -> Declaration {
    Declaration::map(Declaration::string(None), None)
}

/// `request`: the AdmissionRequest without what stands beside it.
fn request() -> Declaration {
    let names = |ty: &str, last: &str| {
        let fields = ["group", "version", last].map(|name| text(name, true));
        Declaration::object(ty, fields)
    };
    let kind = names("kubernetes.GroupVersionKind", "kind");
    let resource = names("kubernetes.GroupVersionResource", "resource");
    let user = Declaration::object(
        "kubernetes.UserInfo",
        [
            text("username", false),
            text("uid", false),
            field("groups", texts(), false),
            field("extra", Declaration::map(texts(), None), false),
        ],
    );
    Declaration::object(
        "kubernetes.AdmissionRequest",
        [
            field("kind", kind.clone(), true),
            field("resource", resource.clone(), true),
            text("subResource", false),
            field("requestKind", kind, true),
            field("requestResource", resource, true),
            text("requestSubResource", false),
            text("name", true),
            text("namespace", false),
            text("operation", true),
            field("userInfo", user, true),
            field("dryRun", Declaration::bool(), false),
            field("options", Declaration::dynamic(), false),
        ],
    )
}

/// `namespaceObject`: a Namespace without what is nobody's business.
fn namespace() -> Declaration {
    let time = |name: &str| field(name, Declaration::of_type(Type::Timestamp), true);
    let number = |name: &str| field(name, Declaration::int(), true);
    let metadata = Declaration::object(
        "kubernetes.NamespaceMetadata",
        [
            text("name", true),
            text("generateName", true),
            text("namespace", true),
            field("labels", text_map(), true),
            field("annotations", text_map(), true),
            text("UID", true),
            time("creationTimestamp"),
            number("deletionGracePeriodSeconds"),
            time("deletionTimestamp"),
            number("generation"),
            text("resourceVersion", true),
            field("finalizers", texts(), true),
        ],
    );
    let spec = Declaration::object(
        "kubernetes.NamespaceSpec",
        [field("finalizers", texts(), true)],
    );
    let condition = Declaration::object(
        "kubernetes.NamespaceCondition",
        [
            text("status", true),
            text("type", true),
            time("lastTransitionTime"),
            text("message", true),
            text("reason", true),
        ],
    );
    let conditions = Declaration::list(condition, ListType::Atomic, None);
    let status = Declaration::object(
        "kubernetes.NamespaceStatus",
        [field("conditions", conditions, true), text("phase", true)],
    );
    Declaration::object(
        "kubernetes.Namespace",
        [
            field("metadata", metadata, true),
            field("spec", spec, true),
            field("status", status, true),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_scopes_are_checked_in_upstreams_words() {
        let mut expressions = Expressions::new(false, true);
        let authorizer = Uses {
            authorizer: true,
            patches: false,
        };
        let compile = |expressions: &Expressions, text: &str, uses, returns| {
            expressions.compile(text, uses, returns).map(drop)
        };
        let ok = [
            "object.metadata.name == 'x'",
            "request.namespace == 'x' && request.userInfo.username != ''",
            "namespaceObject.metadata.labels['a'] == 'b'",
            "authorizer.group('').resource('pods').check('get').allowed()",
        ];
        for text in ok {
            assert_eq!(
                compile(&expressions, text, authorizer, Returns::Bool),
                Ok(()),
                "{text}"
            );
        }
        let error = |text, returns| {
            compile(&expressions, text, Uses::default(), returns)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error("object.spec", Returns::Bool),
            "must evaluate to bool but got dyn"
        );
        assert_eq!(
            error("1", Returns::StringOrNull),
            "must evaluate to one of [string null_type] but got int"
        );
        assert!(error("params.x == 1", Returns::Bool).starts_with(
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params'"
        ));
        assert!(error("request.nope == ''", Returns::Bool).contains("undefined field 'nope'"));
        expressions.add_variable("n", "size(object.items)").unwrap();
        assert!(expressions.add_variable("bad", "1 +").is_err());
        let text = "variables.n < 3 && variables.bad";
        assert_eq!(
            compile(&expressions, text, Uses::default(), Returns::Bool),
            Ok(())
        );
        let patches = Uses {
            authorizer: true,
            patches: true,
        };
        let object = "Object{spec: Object.spec{replicas: 3}}";
        assert_eq!(
            compile(&expressions, object, patches, Returns::Object),
            Ok(())
        );
        let patch = "[JSONPatch{op: 'add', path: '/a', value: 1}]";
        assert_eq!(
            compile(&expressions, patch, patches, Returns::JsonPatch),
            Ok(())
        );
    }
}
