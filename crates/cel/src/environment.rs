//! What expressions of one place may use: variables, types, functions.
//!
//! [`Environment::new`] has the functions of Kubernetes 1.36's base environment; what only some places have is added.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    declaration::{Declaration, ObjectType},
    library::{authorizer, mutation},
    program::Program,
    source::CompileErrors,
    types::Type,
};

/// What expressions of one place may use. Made once, compiles any number of expressions.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<Arc<str>, Declaration>,
    /// Types that expressions may construct, by name.
    types: BTreeMap<Arc<str>, Type>,
    bindings: bool,
    mutation: bool,
}

impl Environment {
    /// Without variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more variable.
    #[must_use]
    pub fn declare(mut self, name: &str, declaration: Declaration) -> Self {
        self.add(name, declaration);
        self
    }

    /// Adds a variable, or replaces it.
    pub fn add(&mut self, name: &str, declaration: Declaration) {
        self.variables.insert(Arc::from(name), declaration);
    }

    /// With `authorizer`, and `authorizer.requestResource` under the name it has as a variable.
    #[must_use]
    pub fn with_authorizer(self) -> Self {
        self.declare("authorizer", Declaration::of_type(authorizer::AUTHORIZER))
            .declare(
                "authorizer.requestResource",
                Declaration::of_type(authorizer::RESOURCE_CHECK),
            )
    }

    /// With `cel.bind`, as the expressions of dynamic resource allocation have it.
    #[must_use]
    pub fn with_bindings(mut self) -> Self {
        self.bindings = true;
        self
    }

    /// With `Object{…}`, `JSONPatch{…}` and `jsonpatch.escapeKey`, as mutating policies have them.
    #[must_use]
    pub fn with_mutation(mut self) -> Self {
        self.mutation = true;
        self.types
            .insert(Arc::from(mutation::JSON_PATCH), mutation::json_patch());
        self
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// All that is wrong with it, in upstream's words.
    pub fn compile(&self, source: &str) -> Result<Program, CompileErrors> {
        Program::compile(self, source)
    }

    pub(crate) fn has_bindings(&self) -> bool {
        self.bindings
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Declaration> {
        self.variables.get(name)
    }

    pub(crate) fn variable_type(&self, name: &str) -> Option<Type> {
        self.variables.get(name).map(Declaration::ty)
    }

    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.mutation || !name.starts_with("jsonpatch.")
    }

    /// The type that an expression calls so.
    pub(crate) fn type_named(&self, name: &str) -> Option<Type> {
        let built_in = match name {
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "null_type" => Type::Null,
            "list" => Type::list(Type::Dyn),
            "map" => Type::map(Type::Dyn, Type::Dyn),
            "type" => Type::type_of(Type::Dyn),
            "dyn" => Type::Dyn,
            "optional_type" => Type::optional(Type::Dyn),
            "google.protobuf.Duration" => Type::Duration,
            "google.protobuf.Timestamp" => Type::Timestamp,
            _ if self.mutation && (name == "Object" || name.starts_with("Object.")) => {
                Type::Object(Arc::new(ObjectType::open(name)))
            }
            _ => {
                return self
                    .types
                    .get(name)
                    .cloned()
                    .or_else(|| crate::library::opaque_type(name));
            }
        };
        Some(built_in)
    }
}
