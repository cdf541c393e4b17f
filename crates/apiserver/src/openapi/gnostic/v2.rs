//! OpenAPI 2.0 in gnostic's messages: `openapi.v2.Document`.

use serde_json::Value;

use super::{
    Message,
    Shape::{
        self, Any, Double, Each, Entries, Flag, Inside, Integer, OneOf, OrReference, SchemaOrFlag,
        Text,
    },
};

/// The document, from its JSON.
pub(in crate::openapi) fn encode(document: &Value) -> Vec<u8> {
    super::encode(&DOCUMENT, document)
}

static DOCUMENT: Message = Message {
    fields: &[
        (1, "swagger", Text),
        (2, "info", Shape::Message(&INFO)),
        (3, "host", Text),
        (4, "basePath", Text),
        (5, "schemes", Each(&Text)),
        (6, "consumes", Each(&Text)),
        (7, "produces", Each(&Text)),
        (8, "paths", Shape::Message(&PATHS)),
        (9, "definitions", Inside(1, &Entries(&SCHEMA_SHAPE))),
        (10, "parameters", Inside(1, &Entries(&PARAMETER))),
        (
            11,
            "responses",
            Inside(1, &Entries(&Shape::Message(&RESPONSE))),
        ),
        (12, "security", Each(&REQUIREMENT)),
        (
            13,
            "securityDefinitions",
            Inside(1, &Entries(&SECURITY_SCHEME)),
        ),
        (14, "tags", Each(&Shape::Message(&TAG))),
        (15, "externalDocs", Shape::Message(&EXTERNAL_DOCS)),
    ],
    extensions: 16,
};

static INFO: Message = Message {
    fields: &[
        (1, "title", Text),
        (2, "version", Text),
        (3, "description", Text),
        (4, "termsOfService", Text),
        (5, "contact", Shape::Message(&CONTACT)),
        (6, "license", Shape::Message(&LICENSE)),
    ],
    extensions: 7,
};

static CONTACT: Message = Message {
    fields: &[(1, "name", Text), (2, "url", Text), (3, "email", Text)],
    extensions: 4,
};

static LICENSE: Message = Message {
    fields: &[(1, "name", Text), (2, "url", Text)],
    extensions: 3,
};

static TAG: Message = Message {
    fields: &[
        (1, "name", Text),
        (2, "description", Text),
        (3, "externalDocs", Shape::Message(&EXTERNAL_DOCS)),
    ],
    extensions: 4,
};

static EXTERNAL_DOCS: Message = Message {
    fields: &[(1, "description", Text), (2, "url", Text)],
    extensions: 3,
};

static REQUIREMENT: Shape = Inside(1, &Entries(&Inside(1, &Each(&Text))));

/// All its keys are paths, but for the extensions.
static PATHS: Message = Message {
    fields: &[(2, "", Entries(&Shape::Message(&PATH_ITEM)))],
    extensions: 1,
};

static PATH_ITEM: Message = Message {
    fields: &[
        (1, "$ref", Text),
        (2, "get", Shape::Message(&OPERATION)),
        (3, "put", Shape::Message(&OPERATION)),
        (4, "post", Shape::Message(&OPERATION)),
        (5, "delete", Shape::Message(&OPERATION)),
        (6, "options", Shape::Message(&OPERATION)),
        (7, "head", Shape::Message(&OPERATION)),
        (8, "patch", Shape::Message(&OPERATION)),
        (9, "parameters", Each(&OrReference(&PARAMETER, &REFERENCE))),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        (1, "tags", Each(&Text)),
        (2, "summary", Text),
        (3, "description", Text),
        (4, "externalDocs", Shape::Message(&EXTERNAL_DOCS)),
        (5, "operationId", Text),
        (6, "produces", Each(&Text)),
        (7, "consumes", Each(&Text)),
        (8, "parameters", Each(&OrReference(&PARAMETER, &REFERENCE))),
        (9, "responses", Shape::Message(&RESPONSES)),
        (10, "schemes", Each(&Text)),
        (11, "deprecated", Flag),
        (12, "security", Each(&REQUIREMENT)),
    ],
    extensions: 13,
};

/// All its keys are codes, but for the extensions.
static RESPONSES: Message = Message {
    fields: &[(
        1,
        "",
        Entries(&OrReference(&Shape::Message(&RESPONSE), &REFERENCE)),
    )],
    extensions: 2,
};

static RESPONSE: Message = Message {
    fields: &[
        (1, "description", Text),
        (2, "schema", Inside(1, &SCHEMA_SHAPE)),
        (3, "headers", Inside(1, &Entries(&Shape::Message(&HEADER)))),
        (4, "examples", Inside(1, &Entries(&Any))),
    ],
    extensions: 5,
};

static HEADER: Message = Message {
    fields: &[
        (1, "type", Text),
        (2, "format", Text),
        (3, "items", Shape::Message(&ITEMS)),
        (4, "collectionFormat", Text),
        (5, "default", Any),
        (18, "description", Text),
    ],
    extensions: 19,
};

static ITEMS: Message = Message {
    fields: &[
        (1, "type", Text),
        (2, "format", Text),
        (3, "items", Shape::Message(&ITEMS)),
        (4, "collectionFormat", Text),
        (5, "default", Any),
        (16, "enum", Each(&Any)),
    ],
    extensions: 18,
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        (1, "description", Text),
        (2, "name", Text),
        (3, "in", Text),
        (4, "required", Flag),
        (5, "schema", Shape::Message(&SCHEMA)),
    ],
    extensions: 6,
};

/// Of the headers and of paths.
static PLAIN_PARAMETER: Message = Message {
    fields: &[
        (1, "required", Flag),
        (2, "in", Text),
        (3, "description", Text),
        (4, "name", Text),
        (5, "type", Text),
        (6, "format", Text),
        (7, "items", Shape::Message(&ITEMS)),
        (8, "collectionFormat", Text),
        (9, "default", Any),
        (10, "maximum", Double),
        (11, "exclusiveMaximum", Flag),
        (12, "minimum", Double),
        (13, "exclusiveMinimum", Flag),
        (14, "maxLength", Integer),
        (15, "minLength", Integer),
        (16, "pattern", Text),
        (17, "maxItems", Integer),
        (18, "minItems", Integer),
        (19, "uniqueItems", Flag),
        (20, "enum", Each(&Any)),
        (21, "multipleOf", Double),
    ],
    extensions: 22,
};

/// Of queries and forms, whose value may be empty.
static QUERY_PARAMETER: Message = Message {
    fields: &[
        (1, "required", Flag),
        (2, "in", Text),
        (3, "description", Text),
        (4, "name", Text),
        (5, "allowEmptyValue", Flag),
        (6, "type", Text),
        (7, "format", Text),
        (8, "items", Shape::Message(&ITEMS)),
        (9, "collectionFormat", Text),
        (10, "default", Any),
        (11, "maximum", Double),
        (12, "exclusiveMaximum", Flag),
        (13, "minimum", Double),
        (14, "exclusiveMinimum", Flag),
        (15, "maxLength", Integer),
        (16, "minLength", Integer),
        (17, "pattern", Text),
        (18, "maxItems", Integer),
        (19, "minItems", Integer),
        (20, "uniqueItems", Flag),
        (21, "enum", Each(&Any)),
        (22, "multipleOf", Double),
    ],
    extensions: 23,
};

static SCHEMA_SHAPE: Shape = Shape::Message(&SCHEMA);

static SCHEMA: Message = Message {
    fields: &[
        (1, "$ref", Text),
        (2, "format", Text),
        (3, "title", Text),
        (4, "description", Text),
        (5, "default", Any),
        (6, "multipleOf", Double),
        (7, "maximum", Double),
        (8, "exclusiveMaximum", Flag),
        (9, "minimum", Double),
        (10, "exclusiveMinimum", Flag),
        (11, "maxLength", Integer),
        (12, "minLength", Integer),
        (13, "pattern", Text),
        (14, "maxItems", Integer),
        (15, "minItems", Integer),
        (16, "uniqueItems", Flag),
        (17, "maxProperties", Integer),
        (18, "minProperties", Integer),
        (19, "required", Each(&Text)),
        (20, "enum", Each(&Any)),
        (21, "additionalProperties", SchemaOrFlag(&SCHEMA_SHAPE)),
        (22, "type", Inside(1, &Each(&Text))),
        (23, "items", Inside(1, &Each(&SCHEMA_SHAPE))),
        (24, "allOf", Each(&SCHEMA_SHAPE)),
        (25, "properties", Inside(1, &Entries(&SCHEMA_SHAPE))),
        (26, "discriminator", Text),
        (27, "readOnly", Flag),
        (29, "externalDocs", Shape::Message(&EXTERNAL_DOCS)),
        (30, "example", Any),
    ],
    extensions: 31,
};

static REFERENCE: Message = Message {
    fields: &[(1, "$ref", Text), (2, "description", Text)],
    extensions: 0,
};

/// What all security schemes are but for OAuth's: the third field is the place of a key.
static API_KEY: Message = Message {
    fields: &[
        (1, "type", Text),
        (2, "name", Text),
        (3, "in", Text),
        (4, "description", Text),
    ],
    extensions: 5,
};

static BASIC: Message = Message {
    fields: &[(1, "type", Text), (2, "description", Text)],
    extensions: 3,
};

/// A body, or one of the four others.
static PARAMETER: Shape = OneOf(|value| match value["in"].as_str().unwrap_or_default() {
    "body" => Some((1, &BODY)),
    "header" => Some((2, &HEADER_PARAMETER)),
    "formData" => Some((2, &FORM_PARAMETER)),
    "path" => Some((2, &PATH_PARAMETER)),
    _ => Some((2, &OTHER_PARAMETER)),
});
static BODY: Shape = Shape::Message(&BODY_PARAMETER);
static HEADER_PARAMETER: Shape = Inside(1, &Shape::Message(&PLAIN_PARAMETER));
static FORM_PARAMETER: Shape = Inside(2, &Shape::Message(&QUERY_PARAMETER));
static OTHER_PARAMETER: Shape = Inside(3, &Shape::Message(&QUERY_PARAMETER));
static PATH_PARAMETER: Shape = Inside(4, &Shape::Message(&PLAIN_PARAMETER));

static SECURITY_SCHEME: Shape = OneOf(|value| match value["type"].as_str() {
    Some("basic") => Some((1, &BASIC_SCHEME)),
    Some("apiKey") => Some((2, &API_KEY_SCHEME)),
    _ => None,
});
static BASIC_SCHEME: Shape = Shape::Message(&BASIC);
static API_KEY_SCHEME: Shape = Shape::Message(&API_KEY);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::tests::field, *};

    #[test]
    fn a_schema_is_a_message() {
        let document = json!({"definitions": {"A": {
            "type": "object", "required": ["a"], "x-kubernetes-list-type": "set", "additionalProperties": false,
        }}});
        let yaml = field(2, &[b"\"set\"\n"]);
        let extension = [field(1, &[b"x-kubernetes-list-type"]), field(2, &[&yaml])].concat();
        let schema = [
            field(19, &[b"a"]),
            // Not an absent choice, but the boolean one.
            field(21, &[b"\x10\x00"]),
            field(22, &[&field(1, &[b"object"])]),
            field(31, &[&extension]),
        ];
        let named = [field(1, &[b"A"]), field(2, &[&schema.concat()])].concat();
        let expected = field(9, &[&field(1, &[&named])]);
        assert_eq!(encode(&document), expected);
    }

    #[test]
    fn parameters_are_told_apart_by_their_place() {
        let of = |value: Value| {
            let mut out = Vec::new();
            OrReference(&PARAMETER, &REFERENCE).write(1, &value, &mut out);
            out
        };
        let body = [field(2, &[b"b"]), field(3, &[b"body"])].concat();
        let expected = field(1, &[&field(1, &[&field(1, &[&body])])]);
        assert_eq!(of(json!({"in": "body", "name": "b"})), expected);
        let path = field(2, &[&field(4, &[&field(2, &[b"path"])])]);
        assert_eq!(of(json!({"in": "path"})), field(1, &[&field(1, &[&path])]));
        let reference = field(2, &[&field(1, &[b"#/p"])]);
        assert_eq!(of(json!({"$ref": "#/p"})), field(1, &[&reference]));
    }
}
