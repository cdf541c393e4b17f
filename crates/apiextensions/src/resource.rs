//! What happens to a custom object on its way into the store: decoding, defaulting, validation, in upstream's order.
//!
//! The registry calls these on a [`Version`]; they hold no state. Rules in CEL come last, and only where nothing else is wrong that
//! would make them fail for the wrong reason.

use apimachinery::{
    Object,
    decode::{self, DecodeError, Decoded},
    field::{ErrorList, ErrorType, FieldError, Path},
};
use serde_json::Value;

use crate::{
    default,
    definition::Version,
    embedded, list_type,
    prune::{self, Unknown},
    rules, validate,
};

impl Version {
    /// Decodes a body: pruned, its metadata in canonical form, nulls dropped that mean nothing; without defaults.
    /// Findings are duplicate fields in the order of the text, then unknown ones, sorted.
    ///
    /// # Errors
    /// What is no JSON object, and metadata of the wrong type.
    pub fn decode(&self, body: &[u8]) -> Result<Decoded, DecodeError> {
        let (value, mut findings) = decode::untyped(body)?;
        let mut object = match value {
            Value::Object(object) => object,
            _ => Object::new(),
        };
        findings.extend(self.coerce(&mut object)?);
        Ok(Decoded {
            object,
            findings,
            kept_empty: false,
        })
    }

    /// The same of an object that is there already, after a patch or a conversion: returns what is unknown,
    /// `unknown field "spec.foo"`.
    ///
    /// # Errors
    /// Metadata of the wrong type.
    pub fn coerce(&self, object: &mut Object) -> Result<Vec<String>, DecodeError> {
        let mut paths = Vec::new();
        embedded::coerce_metadata(object, "", &mut paths).map_err(DecodeError::Type)?;
        let mut unknown = Unknown::default();
        prune::prune(object, &self.schema, Some(&mut unknown));
        paths.extend(unknown.into_sorted());
        prune::prune_nulls(object, &self.schema);
        let mut inner = Vec::new();
        embedded::coerce(object, &self.schema, &mut inner)
            .map_err(|error| DecodeError::Type(error.to_string()))?;
        inner.sort();
        paths.extend(inner);
        paths.truncate(Unknown::MAX);
        Ok(paths
            .into_iter()
            .map(|path| format!("unknown field \"{path}\""))
            .collect())
    }

    /// Fills in the defaults of the schema.
    pub fn default(&self, object: &mut Object) {
        default::apply(object, &self.schema);
    }

    /// All complaints about a new object, its metadata aside.
    pub fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = self.validate_type(object);
        if !errors.is_empty() {
            return errors;
        }
        errors.extend(validate::validate(
            &Path::default(),
            object,
            None,
            &self.schema,
        ));
        if let Some(scale) = &self.scale {
            errors.extend(scale.validate_spec(object));
            errors.extend(scale.validate_status(object));
        }
        errors.extend(embedded::validate(object, &self.schema));
        errors.extend(list_type::validate(object, &self.schema));
        self.ask_rules(errors, object, None, &mut Vec::new())
    }

    /// All complaints about an object that takes the place of `old`, its metadata aside. What did not change is excused; where it
    /// breaks rules, `excused` says so.
    pub fn validate_update(
        &self,
        object: &Object,
        old: &Object,
        excused: &mut Vec<String>,
    ) -> ErrorList {
        let mut errors = self.validate_type(object);
        if !errors.is_empty() {
            return errors;
        }
        errors.extend(validate::validate(
            &Path::default(),
            object,
            Some(old.into()),
            &self.schema,
        ));
        if let Some(scale) = &self.scale {
            errors.extend(scale.validate_spec(object));
            errors.extend(scale.validate_status(object));
        }
        errors.extend(embedded::validate(object, &self.schema));
        if list_type::validate(old, &self.schema).is_empty() {
            errors.extend(list_type::validate(object, &self.schema));
        }
        self.ask_rules(errors, object, Some(old), excused)
    }

    /// All complaints about a write through `status`, the metadata aside; `excused` as above.
    pub fn validate_status_update(
        &self,
        object: &Object,
        old: &Object,
        excused: &mut Vec<String>,
    ) -> ErrorList {
        let mut errors = self.validate_type(object);
        if !errors.is_empty() {
            return errors;
        }
        if let (Some(status), Some(schema)) = (object.get("status"), self.schema.property("status"))
        {
            let path = Path::new("status");
            errors.extend(validate::validate(
                &path,
                status,
                old.get("status").map(Into::into),
                schema,
            ));
        }
        if let Some(scale) = &self.scale {
            errors.extend(scale.validate_status(object));
        }
        let lists = list_type::validate(object, &self.schema);
        if !lists.is_empty() && list_type::validate(old, &self.schema).is_empty() {
            errors.extend(lists);
        }
        self.ask_rules(errors, object, Some(old), excused)
    }

    /// Rules come last, and only where no value is of a shape that they would stumble over.
    fn ask_rules(
        &self,
        mut errors: ErrorList,
        object: &Object,
        old: Option<&Object>,
        excused: &mut Vec<String>,
    ) -> ErrorList {
        if !self.schema.contains.rules {
            return errors;
        }
        match blocks_rules(&errors) {
            Some(blocked) => errors.push(blocked),
            None => {
                let judgement = rules::validate(object, old, &self.schema);
                errors.extend(judgement.errors);
                excused.extend(judgement.warnings);
            }
        }
        errors
    }

    fn validate_type(&self, object: &Object) -> ErrorList {
        let mut errors = ErrorList::new();
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        let gvk = self.gvk();
        if text("kind") != gvk.kind {
            errors.push(FieldError::invalid(
                &Path::new("kind"),
                text("kind"),
                format!("must be {}", gvk.kind),
            ));
        }
        let api_version = gvk.group_version().to_string();
        if text("apiVersion") != api_version {
            errors.push(FieldError::invalid(
                &Path::new("apiVersion"),
                text("apiVersion"),
                format!("must be {api_version}"),
            ));
        }
        errors
    }
}

/// Whether rules would meet a value that is not what its schema says. Upstream says so in place of running them.
fn blocks_rules(errors: &[FieldError]) -> Option<FieldError> {
    let blocking = |error: &FieldError| {
        matches!(
            error.kind,
            ErrorType::NotSupported
                | ErrorType::Required
                | ErrorType::TooLong
                | ErrorType::TooMany
                | ErrorType::TypeInvalid
        )
    };
    errors.iter().any(blocking).then(|| {
        FieldError::invalid(
            &Path::default(),
            Value::Null,
            "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        )
    })
}
