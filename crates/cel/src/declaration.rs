//! Declarations: what is known of a variable's JSON before it is there.
//!
//! A declaration gives an expression its static types, says how JSON is read (an integer in a `number` field is a `double`, a text in a `date-time` field is
//! a `timestamp`), and bounds the size of everything, from which costs are estimated. Sizes follow upstream's `DeclType`: what has no
//! declared bound is bounded by the size of a request.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{types::Type, words::is_reserved};

/// Largest request, from which bounds of what declares none follow.
pub const MAX_REQUEST_BYTES: u64 = 3 * 1024 * 1024;
/// `""`.
const MIN_STRING: u64 = 2;
/// `0`.
const MIN_NUMBER: u64 = 1;
/// `true`.
const MIN_BOOL: u64 = 4;
/// `"0s"`.
const MIN_DURATION: u64 = 3;
/// Longest duration.
const MAX_DURATION: u64 = 32;
/// `"2006-01-02"`.
const DATE: u64 = 12;
/// `"2006-01-02T15:04:05Z"`.
const MIN_DATE_TIME: u64 = 21;
/// With a fraction and an offset.
const MAX_DATE_TIME: u64 = 37;

/// What is known of a value.
#[derive(Clone, Debug)]
pub struct Declaration {
    shape: Shape,
    /// Code points, items or entries at most; 0 of what has no size.
    max_elements: u64,
    /// Bytes of the shortest JSON.
    min_bytes: u64,
}

#[derive(Clone, Debug)]
enum Shape {
    Dyn,
    Scalar(Type),
    List(Arc<Declaration>, ListType),
    Map(Arc<Declaration>),
    Object(Arc<ObjectType>),
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// One value as a whole.
    #[default]
    Atomic,
    /// Each item once.
    Set,
    /// Items found by these fields (their names in JSON).
    Map(Vec<Arc<str>>),
}

/// An object with declared fields.
#[derive(Clone)]
pub struct ObjectType {
    name: Arc<str>,
    fields: BTreeMap<Arc<str>, Field>,
    /// Any field exists, with any value: objects that mutating policies make.
    open: bool,
}

/// A field of an object.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name in JSON; in expressions it may be escaped.
    pub json_name: Arc<str>,
    /// Of its value.
    pub declaration: Declaration,
    /// Whether it is always there; only estimates of sizes care.
    pub required: bool,
}

impl Field {
    /// An optional field that is called the same in JSON and in expressions.
    pub fn new(name: &str, declaration: Declaration) -> (Arc<str>, Self) {
        let json_name: Arc<str> = Arc::from(name);
        let field = Self {
            json_name: Arc::clone(&json_name),
            declaration,
            required: false,
        };
        (json_name, field)
    }
}

impl Declaration {
    fn scalar_of(ty: Type, min_bytes: u64, max_elements: u64) -> Self {
        Self {
            shape: Shape::Scalar(ty),
            max_elements,
            min_bytes,
        }
    }

    /// Anything: `x-kubernetes-preserve-unknown-fields`, or no schema at all.
    pub fn dynamic() -> Self {
        Self {
            shape: Shape::Dyn,
            max_elements: 0,
            min_bytes: 1,
        }
    }

    /// `x-kubernetes-int-or-string`, as a text of so many code points.
    pub fn int_or_string(max_length: Option<u64>) -> Self {
        Self {
            shape: Shape::Dyn,
            max_elements: max_length.map_or(MAX_REQUEST_BYTES - 2, |max| max.saturating_mul(4)),
            min_bytes: MIN_NUMBER,
        }
    }

    /// A value of a type that says all: what is not read from JSON, `authorizer` for one.
    pub fn of_type(ty: Type) -> Self {
        Self::scalar_of(ty, 1, 0)
    }

    /// `boolean`.
    pub fn bool() -> Self {
        Self::scalar_of(Type::Bool, MIN_BOOL, 0)
    }

    /// `integer`.
    pub fn int() -> Self {
        Self::scalar_of(Type::Int, MIN_NUMBER, 0)
    }

    /// `number`.
    pub fn double() -> Self {
        Self::scalar_of(Type::Double, MIN_NUMBER, 0)
    }

    /// `string` of so many code points; a code point may take four bytes.
    pub fn string(max_length: Option<u64>) -> Self {
        let max = max_length.map_or(MAX_REQUEST_BYTES - 2, |max| max.saturating_mul(4));
        Self::scalar_of(Type::String, MIN_STRING, max)
    }

    /// `string` that is one of these.
    pub fn string_enum<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let max = values.into_iter().map(str::len).max().unwrap_or_default();
        Self::scalar_of(Type::String, MIN_STRING, max as u64)
    }

    /// `format: byte`.
    pub fn bytes(max_length: Option<u64>) -> Self {
        Self::scalar_of(
            Type::Bytes,
            MIN_STRING,
            max_length.unwrap_or(MAX_REQUEST_BYTES - 2),
        )
    }

    /// `format: duration`.
    pub fn duration() -> Self {
        Self::scalar_of(Type::Duration, MIN_DURATION, MAX_DURATION)
    }

    /// `format: date`.
    pub fn date() -> Self {
        Self::scalar_of(Type::Timestamp, DATE, DATE)
    }

    /// `format: date-time`.
    pub fn date_time() -> Self {
        Self::scalar_of(Type::Timestamp, MIN_DATE_TIME, MAX_DATE_TIME)
    }

    /// `array`.
    pub fn list(items: Declaration, list_type: ListType, max_items: Option<u64>) -> Self {
        let max_elements =
            max_items.unwrap_or_else(|| (MAX_REQUEST_BYTES - 2) / (items.min_bytes + 1));
        Self {
            shape: Shape::List(Arc::new(items), list_type),
            max_elements,
            min_bytes: 2,
        }
    }

    /// `object` with `additionalProperties`.
    pub fn map(values: Declaration, max_properties: Option<u64>) -> Self {
        // A key of one letter takes its quotes, a colon, a comma.
        let max_elements =
            max_properties.unwrap_or_else(|| (MAX_REQUEST_BYTES - 2) / (values.min_bytes + 6));
        Self {
            shape: Shape::Map(Arc::new(values)),
            max_elements,
            min_bytes: 2,
        }
    }

    /// `object` with `properties`, under the names that expressions use (see [`crate::escape`]).
    pub fn object(name: &str, fields: impl IntoIterator<Item = (Arc<str>, Field)>) -> Self {
        let fields: BTreeMap<_, _> = fields.into_iter().collect();
        let min_bytes = fields
            .values()
            .filter(|field| field.required)
            .map(|field| field.json_name.len() as u64 + field.declaration.min_bytes + 4)
            .sum::<u64>();
        Self {
            shape: Shape::Object(Arc::new(ObjectType {
                name: Arc::from(name),
                fields,
                open: false,
            })),
            max_elements: 0,
            min_bytes: min_bytes.max(2),
        }
    }

    /// With another bound on its size.
    #[must_use]
    pub fn with_max_elements(mut self, max_elements: u64) -> Self {
        self.max_elements = max_elements;
        self
    }

    /// Bytes of the shortest JSON that fits it.
    pub fn min_bytes(&self) -> u64 {
        self.min_bytes
    }

    /// The static type.
    pub fn ty(&self) -> Type {
        match &self.shape {
            Shape::Dyn => Type::Dyn,
            Shape::Scalar(ty) => ty.clone(),
            Shape::List(items, _) => Type::list(items.ty()),
            Shape::Map(values) => Type::map(Type::String, values.ty()),
            Shape::Object(object) => Type::Object(Arc::clone(object)),
        }
    }

    pub(crate) fn scalar(&self) -> Option<&Type> {
        match &self.shape {
            Shape::Scalar(ty) => Some(ty),
            _ => None,
        }
    }

    pub(crate) fn object_type(&self) -> Option<&Arc<ObjectType>> {
        match &self.shape {
            Shape::Object(object) => Some(object),
            _ => None,
        }
    }

    pub(crate) fn items(&self) -> Option<&Declaration> {
        match &self.shape {
            Shape::List(items, _) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn values(&self) -> Option<&Declaration> {
        match &self.shape {
            Shape::Map(values) => Some(values),
            _ => None,
        }
    }

    pub(crate) fn list_type(&self) -> &ListType {
        match &self.shape {
            Shape::List(_, list_type) => list_type,
            _ => &ListType::Atomic,
        }
    }

    /// The bound on what a path of fields, `@items`, `@keys` and `@values` below this leads to.
    pub(crate) fn max_elements_at(&self, path: &[Arc<str>]) -> Option<u64> {
        let Some((step, rest)) = path.split_first() else {
            return Some(self.max_elements);
        };
        match (&self.shape, &**step) {
            (Shape::List(below, _), "@items") | (Shape::Map(below), "@values") => {
                below.max_elements_at(rest)
            }
            // Keys have no schema: as long as a request allows.
            // Upstream knows no bound of keys, and takes none for nothing.
            (Shape::Map(_), "@keys") => Some(0),
            (Shape::Object(object), name) => object.field(name)?.declaration.max_elements_at(rest),
            _ => None,
        }
    }
}

impl ObjectType {
    /// An object of which any field may be set.
    pub(crate) fn open(name: &str) -> Self {
        Self {
            name: Arc::from(name),
            fields: BTreeMap::new(),
            open: true,
        }
    }

    /// What the type is called in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The field that expressions call so: a reserved word may be written as it is, or as it is escaped.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let escaped = || is_reserved(name).then(|| self.fields.get(&*format!("__{name}__")));
        self.fields.get(name).or_else(|| escaped().flatten())
    }

    /// All declared fields.
    pub fn fields(&self) -> impl Iterator<Item = (&Arc<str>, &Field)> {
        self.fields.iter()
    }

    pub(crate) fn field_type(&self, name: &str) -> Option<Type> {
        match self.field(name) {
            Some(field) => Some(field.declaration.ty()),
            None => self.open.then_some(Type::Dyn),
        }
    }
}

impl PartialEq for ObjectType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ObjectType {}

impl fmt::Debug for ObjectType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
