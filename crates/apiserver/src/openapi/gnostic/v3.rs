//! OpenAPI 3.0 in gnostic's messages: `openapi.v3.Document`, with what of it Kubernetes' documents use.

use serde_json::Value;

use super::{
    Message,
    Shape::{
        self, Any, Double, Each, Entries, Flag, Inside, Integer, OrReference, Scalar, SchemaOrFlag,
        Text,
    },
};

/// The document, from its JSON.
pub(in crate::openapi) fn encode(document: &Value) -> Vec<u8> {
    super::encode(&DOCUMENT, document)
}

static DOCUMENT: Message = Message {
    fields: &[
        (1, "openapi", Text),
        (2, "info", Shape::Message(&INFO)),
        (4, "paths", Shape::Message(&PATHS)),
        (5, "components", Shape::Message(&COMPONENTS)),
        (6, "security", Each(&REQUIREMENT)),
        (8, "externalDocs", Shape::Message(&EXTERNAL_DOCS)),
    ],
    extensions: 9,
};

static INFO: Message = Message {
    fields: &[
        (1, "title", Text),
        (2, "description", Text),
        (3, "termsOfService", Text),
        (6, "version", Text),
    ],
    extensions: 7,
};

static EXTERNAL_DOCS: Message = Message {
    fields: &[(1, "description", Text), (2, "url", Text)],
    extensions: 3,
};

static REQUIREMENT: Shape = Inside(1, &Entries(&Inside(1, &Each(&Text))));

static COMPONENTS: Message = Message {
    fields: &[
        (1, "schemas", Inside(1, &Entries(&SCHEMA))),
        (
            6,
            "securitySchemes",
            Inside(
                1,
                &Entries(&OrReference(&Shape::Message(&SECURITY_SCHEME), &REFERENCE)),
            ),
        ),
    ],
    extensions: 10,
};

static SECURITY_SCHEME: Message = Message {
    fields: &[
        (1, "type", Text),
        (2, "description", Text),
        (3, "name", Text),
        (4, "in", Text),
        (5, "scheme", Text),
        (6, "bearerFormat", Text),
        (8, "openIdConnectUrl", Text),
    ],
    extensions: 9,
};

/// All its keys are paths, but for the extensions.
static PATHS: Message = Message {
    fields: &[(1, "", Entries(&Shape::Message(&PATH_ITEM)))],
    extensions: 2,
};

static PATH_ITEM: Message = Message {
    fields: &[
        (1, "$ref", Text),
        (2, "summary", Text),
        (3, "description", Text),
        (4, "get", Shape::Message(&OPERATION)),
        (5, "put", Shape::Message(&OPERATION)),
        (6, "post", Shape::Message(&OPERATION)),
        (7, "delete", Shape::Message(&OPERATION)),
        (8, "options", Shape::Message(&OPERATION)),
        (9, "head", Shape::Message(&OPERATION)),
        (10, "patch", Shape::Message(&OPERATION)),
        (11, "trace", Shape::Message(&OPERATION)),
        (13, "parameters", Each(&PARAMETER)),
    ],
    extensions: 14,
};

static OPERATION: Message = Message {
    fields: &[
        (1, "tags", Each(&Text)),
        (2, "summary", Text),
        (3, "description", Text),
        (4, "externalDocs", Shape::Message(&EXTERNAL_DOCS)),
        (5, "operationId", Text),
        (6, "parameters", Each(&PARAMETER)),
        (
            7,
            "requestBody",
            OrReference(&Shape::Message(&REQUEST_BODY), &REFERENCE),
        ),
        (8, "responses", Shape::Message(&RESPONSES)),
        (10, "deprecated", Flag),
        (11, "security", Each(&REQUIREMENT)),
    ],
    extensions: 13,
};

static PARAMETER: Shape = OrReference(&Shape::Message(&PLAIN_PARAMETER), &REFERENCE);

static PLAIN_PARAMETER: Message = Message {
    fields: &[
        (1, "name", Text),
        (2, "in", Text),
        (3, "description", Text),
        (4, "required", Flag),
        (5, "deprecated", Flag),
        (6, "allowEmptyValue", Flag),
        (7, "style", Text),
        (8, "explode", Flag),
        (9, "allowReserved", Flag),
        (
            10,
            "schema",
            OrReference(&Shape::Message(&PLAIN_SCHEMA), &REFERENCE),
        ),
        (11, "example", Any),
        (13, "content", CONTENT),
    ],
    extensions: 14,
};

static REQUEST_BODY: Message = Message {
    fields: &[
        (1, "description", Text),
        (2, "content", CONTENT),
        (3, "required", Flag),
    ],
    extensions: 4,
};

/// All its keys are codes, but for the extensions.
static RESPONSES: Message = Message {
    fields: &[(
        2,
        "",
        Entries(&OrReference(&Shape::Message(&RESPONSE), &REFERENCE)),
    )],
    extensions: 3,
};

static RESPONSE: Message = Message {
    fields: &[(1, "description", Text), (3, "content", CONTENT)],
    extensions: 5,
};

const CONTENT: Shape = Inside(1, &Entries(&Shape::Message(&MEDIA_TYPE)));

static MEDIA_TYPE: Message = Message {
    fields: &[
        (
            1,
            "schema",
            OrReference(&Shape::Message(&PLAIN_SCHEMA), &REFERENCE),
        ),
        (2, "example", Any),
    ],
    extensions: 5,
};

static SCHEMA: Shape = OrReference(&Shape::Message(&PLAIN_SCHEMA), &REFERENCE);

static PLAIN_SCHEMA: Message = Message {
    fields: &[
        (1, "nullable", Flag),
        (3, "readOnly", Flag),
        (4, "writeOnly", Flag),
        (6, "externalDocs", Shape::Message(&EXTERNAL_DOCS)),
        (7, "example", Any),
        (8, "deprecated", Flag),
        (9, "title", Text),
        (10, "multipleOf", Double),
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
        (21, "maxProperties", Integer),
        (22, "minProperties", Integer),
        (23, "required", Each(&Text)),
        (24, "enum", Each(&Any)),
        (25, "type", Text),
        (26, "allOf", Each(&SCHEMA)),
        (27, "oneOf", Each(&SCHEMA)),
        (28, "anyOf", Each(&SCHEMA)),
        (29, "not", Shape::Message(&PLAIN_SCHEMA)),
        (30, "items", Inside(1, &Each(&SCHEMA))),
        (31, "properties", Inside(1, &Entries(&SCHEMA))),
        (32, "additionalProperties", SchemaOrFlag(&SCHEMA)),
        (33, "default", Scalar),
        (34, "description", Text),
        (35, "format", Text),
    ],
    extensions: 36,
};

static REFERENCE: Message = Message {
    fields: &[
        (1, "$ref", Text),
        (2, "summary", Text),
        (3, "description", Text),
    ],
    extensions: 0,
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::tests::field, *};

    #[test]
    fn a_schema_is_a_message() {
        let document = json!({"components": {"schemas": {"A": {
            "type": "object", "default": false, "properties": {"b": {"allOf": [{"$ref": "#/B"}]}},
        }}}});
        let reference = field(2, &[&field(1, &[b"#/B"])]);
        let b = field(1, &[&field(26, &[&reference])]);
        let named = [field(1, &[b"b"]), field(2, &[&b])].concat();
        let schema = [
            field(25, &[b"object"]),
            field(31, &[&field(1, &[&named])]),
            // Not an absent choice, but the boolean one.
            field(33, &[b"\x10\x00"]),
        ];
        let a = field(1, &[&schema.concat()]);
        let named = [field(1, &[b"A"]), field(2, &[&a])].concat();
        let schemas = field(1, &[&field(1, &[&named])]);
        assert_eq!(encode(&document), field(5, &[&schemas]));
    }
}
