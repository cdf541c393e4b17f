//! `Schema`: what is known of a kind's shape, for built-in kinds and custom ones alike.
//!
//! An arena of [`Type`]s, addressed by [`TypeId`] and read through the copyable handle [`TypeRef`]. Decoding, pruning, defaulting,
//! strategic merge, server-side apply and protobuf are each written once over these handles.
//!
//! Two families of objects meet here. Those of built-in kinds mirror upstream's Go structs ([`ObjectType::go`]): a value that has
//! been through one has lost unknown fields and what `omitempty` drops, and shows zero values where it does not; [`Field::omit`] and
//! [`Field::pointer`] say which. Custom kinds keep what they are given, as their OpenAPI schema allows.
//!
//! Names are `Arc<str>`: a thousand custom kinds share those of `metadata`.

use std::{
    cmp::Ordering,
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use serde_json::Value;

use crate::gvk::GroupVersionKind;

/// Index of a type in its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(u32);

/// Types without inner structure, each with its own wire formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// Text.
    String,
    /// `true` or `false`.
    Bool,
    /// 32 bits, signed.
    Int32,
    /// 64 bits, signed.
    Int64,
    /// Floating point.
    Double,
    /// Base64 in JSON.
    Bytes,
    /// `resource.Quantity`.
    Quantity,
    /// A number or a text.
    IntOrString,
    /// `meta/v1.Time`: RFC 3339 to the second.
    Time,
    /// `meta/v1.MicroTime`: RFC 3339 to the microsecond.
    MicroTime,
    /// `meta/v1.Duration`: `1h2m`.
    Duration,
    /// `runtime.RawExtension`: any object, kept as it is.
    RawExtension,
    /// `meta/v1.FieldsV1`: a set of fields as JSON.
    FieldsV1,
    /// Any JSON at all.
    Json,
}

impl Scalar {
    /// All, with the name that facts tables use.
    pub const ALL: [(&'static str, Scalar); 14] = [
        ("string", Self::String),
        ("bool", Self::Bool),
        ("int32", Self::Int32),
        ("int64", Self::Int64),
        ("float64", Self::Double),
        ("bytes", Self::Bytes),
        ("quantity", Self::Quantity),
        ("int-or-string", Self::IntOrString),
        ("time", Self::Time),
        ("micro-time", Self::MicroTime),
        ("duration", Self::Duration),
        ("raw", Self::RawExtension),
        ("fields-v1", Self::FieldsV1),
        ("json", Self::Json),
    ];
}

/// A node of the arena.
#[derive(Debug)]
pub enum Type {
    /// A leaf.
    Scalar(Scalar),
    /// A map from strings.
    Map(MapType),
    /// A list.
    List(ListType),
    /// Named fields.
    Object(ObjectType),
    /// Either of two shapes, told apart by the JSON at hand.
    Either(Either),
}

impl Type {
    /// Whether it has defaults, or refers to a type that is known to have some.
    fn has_defaults(&self, known: &[bool]) -> bool {
        let known = |id: TypeId| known[id.0 as usize];
        match self {
            Self::Scalar(_) => false,
            Self::Map(map) => known(map.values),
            Self::List(list) => known(list.items),
            Self::Object(object) => {
                let mut fields = object.fields.iter();
                fields.any(|field| field.default.is_some() || known(field.ty))
                    || object.additional.is_some_and(known)
            }
            Self::Either(
                Either::ObjectOrList(inner)
                | Either::ObjectOrBool(inner)
                | Either::ObjectOrStrings(inner),
            ) => known(*inner),
        }
    }
}

/// A map from strings to values of one type.
#[derive(Debug)]
pub struct MapType {
    /// Of its values.
    pub values: TypeId,
    /// Owned as a whole by one manager (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// Whether the values are messages that wrap a list: in protobuf, upstream's named list types (`ExtraValue`) are messages.
    pub wrapped_values: bool,
}

/// A list.
#[derive(Debug)]
pub struct ListType {
    /// Of its items.
    pub items: TypeId,
    /// How items are told apart.
    pub semantics: ListSemantics,
    /// Whether the list is a message of its own in protobuf (`Verbs`).
    pub wrapped: bool,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListSemantics {
    /// Owned as a whole.
    Atomic,
    /// Items are their own keys.
    Set,
    /// Items are objects with these keys.
    Map(Arc<[Arc<str>]>),
}

/// Shapes told apart by their JSON; they occur in custom resource definitions alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either {
    /// `JSONSchemaPropsOrArray`: an object or a list of them.
    ObjectOrList(TypeId),
    /// `JSONSchemaPropsOrBool`: an object or a flag.
    ObjectOrBool(TypeId),
    /// `JSONSchemaPropsOrStringArray`: an object or a list of strings.
    ObjectOrStrings(TypeId),
}

/// An object with named fields.
#[derive(Debug, Default)]
pub struct ObjectType {
    /// Full name, `io.k8s.api.core.v1.Pod`; empty if it has none.
    pub name: Arc<str>,
    /// In the order of upstream's Go struct. Fields of inlined structs stand here too, marked [`Field::inlined`].
    fields: Vec<Field>,
    /// Indices into `fields`, sorted by name; before each how the name begins, which decides most comparisons without a walk to the field. Every name
    /// of every object that is decoded, owned or merged is looked up here.
    by_name: Vec<(Beginning, u16)>,
    /// Indices of the fields that protobuf has, sorted by number.
    by_tag: Vec<u16>,
    /// Structs that are inlined in JSON but messages of their own in protobuf.
    pub inlines: Vec<Inline>,
    /// Behaves as a Go struct: unknown fields are lost, zero values come and go by [`Field::omit`].
    pub go: bool,
    /// Owned as a whole by one manager.
    pub atomic: bool,
    /// Unknown fields are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown: bool,
    /// Of no type: lists and scalars may stand here as well. Who owns them owns them whole.
    pub untyped: bool,
    /// An object with `apiVersion`, `kind` and `metadata` of its own (`x-kubernetes-embedded-resource`).
    pub embedded_resource: bool,
    /// Of fields that have no name here (`additionalProperties` beside `properties`).
    pub additional: Option<TypeId>,
    /// Fields of which one is set; told to clients alone.
    pub union: Option<Union>,
}

/// Fields of which one is set (`x-kubernetes-unions`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Union {
    /// The field that says which one it is.
    pub discriminator: Option<Arc<str>>,
    /// Those that are told apart, sorted.
    pub fields: Box<[Arc<str>]>,
}

/// How a name begins, which is all of it for most.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    /// The first bytes as numbers in whose order names stand, filled up with zeros.
    bytes: [u64; 2],
    /// Of the name; one more than fits for all that do not fit.
    length: u8,
}

impl Beginning {
    const BYTES: usize = 16;

    fn of(name: &str) -> Self {
        let mut bytes = [0; Self::BYTES];
        let fits = name.len().min(Self::BYTES);
        bytes[..fits].copy_from_slice(&name.as_bytes()[..fits]);
        let bytes = u128::from_be_bytes(bytes);
        Self {
            bytes: [(bytes >> 64) as u64, bytes as u64],
            length: name.len().min(Self::BYTES + 1) as u8,
        }
    }

    /// The order of two names. `whole` compares them, if how they begin does not tell.
    fn compare(&self, other: &Self, whole: impl FnOnce() -> Ordering) -> Ordering {
        let fit = usize::from(self.length.max(other.length)) <= Self::BYTES;
        self.bytes.cmp(&other.bytes).then_with(|| match fit {
            true => self.length.cmp(&other.length),
            false => whole(),
        })
    }
}

/// See [`ObjectType::inlines`].
#[derive(Clone, Copy, Debug)]
pub struct Inline {
    /// Protobuf field number.
    pub tag: u32,
    /// The inlined struct.
    pub ty: TypeId,
}

/// When a Go struct's field stays out of its JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Omit {
    /// Never: its zero value is written.
    Never,
    /// `omitempty`: when false, 0, empty or nil; structs are never empty.
    #[default]
    Empty,
    /// `omitzero`: also when it is a struct of zero values.
    Zero,
}

/// How strategic merge patch treats a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged item by item.
    pub merge: bool,
    /// Only keys that the patch names are kept.
    pub retain_keys: bool,
    /// Objects are replaced as a whole.
    pub replace: bool,
    /// What tells items apart; none for lists of scalars.
    pub merge_key: Option<Arc<str>>,
}

/// A named field.
#[derive(Clone, Debug)]
pub struct Field {
    /// In JSON.
    pub name: Arc<str>,
    /// Of its value.
    pub ty: TypeId,
    /// Protobuf field number; 0 if it is not in protobuf.
    pub tag: u32,
    /// Whether Go holds it by pointer, so that a zero value differs from none.
    pub pointer: bool,
    /// See [`Omit`].
    pub omit: Omit,
    /// Comes from an inlined struct; in protobuf it stands in there.
    pub inlined: bool,
    /// `required` of OpenAPI.
    pub required: bool,
    /// Whether `null` is a value (`nullable` of custom kinds).
    pub nullable: bool,
    /// Constant default.
    pub default: Option<Value>,
    /// Whether a zero value that Go leaves out is said to be the default: absent and zero are the same.
    pub zero_default: bool,
    /// Whether it is said to be owned field by field, or entry by entry (`x-kubernetes-map-type: granular`).
    pub granular: bool,
    /// Allowed values of a string, or of the strings in a list or map, sorted; empty for any.
    pub enum_values: Arc<[Arc<str>]>,
    /// Go's name of the scalar type where it has one of its own: `v1.PullPolicy`.
    pub go_type: Option<Arc<str>>,
    /// Go's name of the list or map type where the shape does not tell it: `v1.ResourceList`, `map[string]v1.ExtraValue`.
    pub go_container: Option<Arc<str>>,
    /// For strategic merge.
    pub patch: PatchStrategy,
}

impl Field {
    /// A plain one: optional, not in protobuf, no default.
    pub fn new(name: impl Into<Arc<str>>, ty: TypeId) -> Self {
        Self {
            name: name.into(),
            ty,
            tag: 0,
            pointer: false,
            omit: Omit::Empty,
            inlined: false,
            required: false,
            nullable: false,
            default: None,
            zero_default: false,
            granular: false,
            enum_values: Arc::from([]),
            go_type: None,
            go_container: None,
            patch: PatchStrategy::default(),
        }
    }
}

impl ObjectType {
    /// With these fields. A later field of the same name is dropped: in Go, the outer one wins.
    pub fn new(name: impl Into<Arc<str>>, fields: Vec<Field>) -> Self {
        let mut object = Self {
            name: name.into(),
            ..Self::default()
        };
        object.set_fields(fields);
        object
    }

    /// Replaces the fields.
    pub fn set_fields(&mut self, fields: Vec<Field>) {
        let name = |at: u16| &*fields[usize::from(at)].name;
        let mut by_name: Vec<_> = (0..u16::try_from(fields.len()).unwrap_or(u16::MAX))
            .map(|at| (Beginning::of(name(at)), at))
            .collect();
        by_name.sort_by(|(_, a), (_, b)| name(*a).cmp(name(*b)));
        by_name.dedup_by(|(_, a), (_, b)| name(*a) == name(*b));
        let mut by_tag: Vec<u16> = by_name.iter().map(|(_, at)| *at).collect();
        by_tag.retain(|i| {
            let field = &fields[usize::from(*i)];
            field.tag != 0 && !field.inlined
        });
        by_tag.sort_by_key(|i| fields[usize::from(*i)].tag);
        self.fields = fields;
        self.by_name = by_name;
        self.by_tag = by_tag;
    }

    /// Those that protobuf has in this message itself, by number.
    pub fn fields_by_tag(&self) -> impl Iterator<Item = &Field> {
        self.by_tag.iter().map(|i| &self.fields[usize::from(*i)])
    }

    /// By protobuf number.
    pub fn field_of_tag(&self, tag: u32) -> Option<&Field> {
        let at = self
            .by_tag
            .binary_search_by_key(&tag, |i| self.fields[usize::from(*i)].tag)
            .ok()?;
        Some(&self.fields[usize::from(self.by_tag[at])])
    }

    /// In Go's order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Position of a field in [`ObjectType::fields`].
    pub fn position(&self, name: &str) -> Option<usize> {
        let wanted = Beginning::of(name);
        self.by_name
            .binary_search_by(|(begins, at)| {
                begins.compare(&wanted, || (*self.fields[usize::from(*at)].name).cmp(name))
            })
            .ok()
            .map(|at| usize::from(self.by_name[at].1))
    }

    /// By name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|at| &self.fields[at])
    }

    /// Last part of the name: Go's name of the struct.
    pub fn go_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }
}

/// The arena, with names for its types and kinds.
#[derive(Debug)]
pub struct Schema {
    types: Vec<Type>,
    names: HashMap<Arc<str>, TypeId>,
    kinds: HashMap<GroupVersionKind, TypeId>,
    /// Which types have defaults in them, themselves or further in; found when first asked for.
    with_defaults: OnceLock<Box<[bool]>>,
}

impl Default for Schema {
    fn default() -> Self {
        Self::new()
    }
}

impl Schema {
    /// With the scalars alone.
    pub fn new() -> Self {
        let types = Scalar::ALL
            .iter()
            .map(|(_, scalar)| Type::Scalar(*scalar))
            .collect();
        Self {
            types,
            names: HashMap::new(),
            kinds: HashMap::new(),
            with_defaults: OnceLock::new(),
        }
    }

    /// The scalar's type, which every schema has.
    pub fn scalar(scalar: Scalar) -> TypeId {
        let at = Scalar::ALL.iter().position(|(_, s)| *s == scalar);
        TypeId(u32::try_from(at.unwrap_or_default()).unwrap_or_default())
    }

    /// Adds a type.
    pub fn add(&mut self, ty: Type) -> TypeId {
        let id =
            TypeId(u32::try_from(self.types.len()).expect("a schema has fewer than 2^32 types"));
        if let Type::Object(object) = &ty
            && !object.name.is_empty()
        {
            self.names.insert(object.name.clone(), id);
        }
        self.with_defaults.take();
        self.types.push(ty);
        id
    }

    /// Adds an object to be filled by [`Schema::set`], so that types may refer to each other.
    pub fn declare(&mut self, name: &str) -> TypeId {
        match self.names.get(name) {
            Some(id) => *id,
            None => self.add(Type::Object(ObjectType::new(name, Vec::new()))),
        }
    }

    /// Gives a declared type its shape.
    pub fn set(&mut self, id: TypeId, ty: Type) {
        self.with_defaults.take();
        self.types[id.0 as usize] = ty;
    }

    /// Gives a type the fields of a Go struct that is atomic, and takes that from it.
    pub fn set_granular(&mut self, id: TypeId, of: TypeId) {
        let Type::Object(object) = &self.types[of.0 as usize] else {
            return;
        };
        let mut copy = ObjectType::new(object.name.clone(), object.fields.clone());
        copy.inlines.clone_from(&object.inlines);
        copy.go = object.go;
        self.set(id, Type::Object(copy));
    }

    /// Says which type a kind has.
    pub fn set_kind(&mut self, gvk: GroupVersionKind, id: TypeId) {
        self.kinds.insert(gvk, id);
    }

    fn with_defaults(&self) -> &[bool] {
        self.with_defaults.get_or_init(|| {
            let mut found = vec![false; self.types.len()].into_boxed_slice();
            // Types refer to each other in circles: until a round finds no more.
            loop {
                let before = found.clone();
                for (at, ty) in self.types.iter().enumerate() {
                    found[at] = found[at] || ty.has_defaults(&found);
                }
                if found == before {
                    return found;
                }
            }
        })
    }

    /// The handle of a type.
    pub fn get(&self, id: TypeId) -> TypeRef<'_> {
        TypeRef { schema: self, id }
    }

    /// By full name: `io.k8s.api.core.v1.Pod`.
    pub fn type_named(&self, name: &str) -> Option<TypeRef<'_>> {
        self.names.get(name).map(|id| self.get(*id))
    }

    /// Of a kind.
    pub fn type_of(&self, gvk: &GroupVersionKind) -> Option<TypeRef<'_>> {
        self.kinds.get(gvk).map(|id| self.get(*id))
    }

    /// All kinds, in no order.
    pub fn kinds(&self) -> impl Iterator<Item = (&GroupVersionKind, TypeRef<'_>)> {
        self.kinds.iter().map(|(gvk, id)| (gvk, self.get(*id)))
    }

    /// Copies a type of another schema with all that it refers to. For `ObjectMeta` in the schemas of custom kinds.
    pub fn import(&mut self, other: TypeRef<'_>) -> TypeId {
        let mut copied = HashMap::new();
        self.import_into(other, &mut copied)
    }

    fn import_into(&mut self, other: TypeRef<'_>, copied: &mut HashMap<TypeId, TypeId>) -> TypeId {
        if let Some(id) = copied.get(&other.id) {
            return *id;
        }
        if (other.id.0 as usize) < Scalar::ALL.len() {
            return other.id;
        }
        let id = self.add(Type::Scalar(Scalar::Json));
        copied.insert(other.id, id);
        let mut of = |schema: &mut Self, inner: TypeId| schema.import_into(other.at(inner), copied);
        let ty = match other.node() {
            Type::Scalar(scalar) => Type::Scalar(*scalar),
            Type::Map(map) => Type::Map(MapType {
                values: of(self, map.values),
                ..*map
            }),
            Type::List(list) => Type::List(ListType {
                items: of(self, list.items),
                semantics: list.semantics.clone(),
                wrapped: list.wrapped,
            }),
            Type::Either(Either::ObjectOrList(inner)) => {
                Type::Either(Either::ObjectOrList(of(self, *inner)))
            }
            Type::Either(Either::ObjectOrBool(inner)) => {
                Type::Either(Either::ObjectOrBool(of(self, *inner)))
            }
            Type::Either(Either::ObjectOrStrings(inner)) => {
                Type::Either(Either::ObjectOrStrings(of(self, *inner)))
            }
            Type::Object(object) => {
                let fields = object
                    .fields
                    .iter()
                    .map(|f| Field {
                        name: f.name.clone(),
                        ty: of(self, f.ty),
                        default: f.default.clone(),
                        enum_values: f.enum_values.clone(),
                        go_type: f.go_type.clone(),
                        go_container: f.go_container.clone(),
                        patch: f.patch.clone(),
                        ..*f
                    })
                    .collect();
                let mut copy = ObjectType::new(object.name.clone(), fields);
                copy.inlines = object
                    .inlines
                    .iter()
                    .map(|i| Inline {
                        tag: i.tag,
                        ty: of(self, i.ty),
                    })
                    .collect();
                copy.go = object.go;
                copy.atomic = object.atomic;
                copy.preserve_unknown = object.preserve_unknown;
                copy.untyped = object.untyped;
                copy.embedded_resource = object.embedded_resource;
                copy.additional = object.additional.map(|a| of(self, a));
                copy.union.clone_from(&object.union);
                self.names.insert(copy.name.clone(), id);
                Type::Object(copy)
            }
        };
        self.set(id, ty);
        id
    }
}

/// A type together with the schema that its inner types stand in.
#[derive(Clone, Copy)]
pub struct TypeRef<'s> {
    schema: &'s Schema,
    id: TypeId,
}

impl std::fmt::Debug for TypeRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.node() {
            Type::Object(object) => write!(f, "TypeRef({})", object.name),
            other => write!(f, "TypeRef({other:?})"),
        }
    }
}

impl<'s> TypeRef<'s> {
    /// Its index.
    pub fn id(self) -> TypeId {
        self.id
    }

    /// The schema it stands in.
    pub fn schema(self) -> &'s Schema {
        self.schema
    }

    /// Whether there are defaults in it, its own or further in.
    pub fn has_defaults(self) -> bool {
        self.schema.with_defaults()[self.id.0 as usize]
    }

    /// What it is.
    pub fn node(self) -> &'s Type {
        &self.schema.types[self.id.0 as usize]
    }

    /// Another type of the same schema.
    pub fn at(self, id: TypeId) -> TypeRef<'s> {
        TypeRef {
            schema: self.schema,
            id,
        }
    }

    /// As an object.
    pub fn object(self) -> Option<&'s ObjectType> {
        match self.node() {
            Type::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The embedded structs, outermost first, through which this one comes to a field: Go names them in its errors.
    pub fn embedding(self, name: &str) -> Vec<&'s str> {
        let mut structs = Vec::new();
        let mut at = self;
        while let Some(object) = at.object()
            && object.field(name).is_some_and(|field| field.inlined)
        {
            let inner = object.inlines.iter().map(|inline| at.at(inline.ty));
            let holds = |ty: &TypeRef<'_>| ty.object().is_some_and(|o| o.field(name).is_some());
            let Some(inner) = inner.into_iter().find(holds) else {
                break;
            };
            structs.extend(inner.object().map(ObjectType::go_name));
            at = inner;
        }
        structs
    }

    /// A field and its type; also the values of a map and of `additionalProperties`, which have no [`Field`].
    pub fn field(self, name: &str) -> Option<(Option<&'s Field>, TypeRef<'s>)> {
        match self.node() {
            Type::Object(object) => match object.field(name) {
                Some(field) => Some((Some(field), self.at(field.ty))),
                None => object.additional.map(|id| (None, self.at(id))),
            },
            Type::Map(map) => Some((None, self.at(map.values))),
            _ => None,
        }
    }

    /// Of a list's items.
    pub fn items(self) -> Option<TypeRef<'s>> {
        match self.node() {
            Type::List(list) => Some(self.at(list.items)),
            _ => None,
        }
    }

    /// How a list's items are told apart.
    pub fn list(self) -> Option<&'s ListType> {
        match self.node() {
            Type::List(list) => Some(list),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_however_alike_names_begin() {
        let names = [
            "terminationMessagePolicy",
            "",
            "terminationMessagePath",
            "ab",
            "abcdefgh",
            "a",
            "abcdefghi",
            "abcdefghijklmnop",
            "abcdefghijklmnopq",
            "a\0\0",
            "terminationGracePeriodSeconds",
            "über",
        ];
        let field = |name: &str| Field::new(name, Schema::scalar(Scalar::String));
        let object = ObjectType::new("T", names.map(field).into());
        for (at, name) in names.iter().enumerate() {
            assert_eq!(object.position(name), Some(at), "{name}");
        }
        for absent in [
            "b",
            "abc",
            "abcdefg",
            "abcdefghj",
            "abcdefghijklmno",
            "abcdefghijklmnopr",
            "terminat",
            "a\0",
            "a\0\0\0",
        ] {
            assert_eq!(object.position(absent), None, "{absent}");
        }
    }

    #[test]
    fn recursive_types_are_imported_once() {
        let mut a = Schema::new();
        let props = a.declare("Props");
        let items = a.add(Type::List(ListType {
            items: props,
            semantics: ListSemantics::Atomic,
            wrapped: false,
        }));
        let fields = vec![
            Field::new("title", Schema::scalar(Scalar::String)),
            Field::new("allOf", items),
        ];
        a.set(props, Type::Object(ObjectType::new("Props", fields)));
        let mut b = Schema::new();
        let copy = b.import(a.get(props));
        let copy = b.get(copy);
        let (_, list) = copy.field("allOf").unwrap();
        assert_eq!(list.items().unwrap().id(), copy.id());
        assert!(b.type_named("Props").is_some());
        assert!(matches!(
            copy.field("title").unwrap().1.node(),
            Type::Scalar(Scalar::String)
        ));
    }
}
