//! Definitions as the reference server judged them.

use serde_json::json;

use super::*;

fn definition(change: impl FnOnce(&mut Value)) -> Object {
    let mut definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "conversion": {"strategy": "None"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
        "status": {"storedVersions": ["v1"]},
    });
    change(&mut definition);
    definition.as_object().unwrap().clone()
}

fn with_schema(schema: Value) -> Object {
    definition(|d| d["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema)
}

fn complaints(definition: &Object) -> Vec<String> {
    validate(definition)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn good_ones() {
    assert_eq!(complaints(&definition(|_| {})), [""; 0]);
    assert_eq!(
        complaints(&with_schema(json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}}},
            "spec": {"type": "object", "properties": {
                "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
                    "items": {"type": "object", "required": ["n"], "properties": {"n": {"type": "string"}}}},
                "default": {"type": "object", "default": {"a": 1}, "properties": {"a": {"type": "integer"}}}}}}}))),
        [""; 0]
    );
}

#[test]
fn recorded_wording() {
    let no_schemas = r#"[{"Name":"v1","Served":true,"Storage":false,"Deprecated":false,"DeprecationWarning":null,"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null}]"#;
    for (definition, expected) in [
        (
            definition(|d| d["metadata"]["name"] = "other.example.com".into()),
            vec![r#"metadata.name: Invalid value: "other.example.com": must be spec.names.plural+"."+spec.group"#.to_owned()],
        ),
        (
            definition(|d| {
                d["spec"]["versions"] = json!([]);
                d["status"]["storedVersions"] = json!(null);
            }),
            vec![
                "spec.versions: Invalid value: []: must have exactly one version marked as storage version".to_owned(),
                "status.storedVersions: Invalid value: null: must have at least one stored version".to_owned(),
            ],
        ),
        (
            definition(|d| {
                d["spec"]["versions"][0]["storage"] = false.into();
                d["status"]["storedVersions"] = json!(null);
            }),
            vec![
                format!("spec.versions: Invalid value: {no_schemas}: must have exactly one version marked as storage version"),
                "status.storedVersions: Invalid value: null: must have at least one stored version".to_owned(),
            ],
        ),
        (
            definition(|d| {
                d["spec"]["versions"][0].as_object_mut().unwrap().remove("schema");
            }),
            vec!["spec.versions[0].schema.openAPIV3Schema: Required value".to_owned()],
        ),
        (
            definition(|d| d["spec"]["scope"] = "Planet".into()),
            vec![r#"spec.scope: Unsupported value: "Planet": supported values: "Cluster", "Namespaced""#.to_owned()],
        ),
        (
            definition(|d| d["spec"]["preserveUnknownFields"] = true.into()),
            vec!["spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead".to_owned()],
        ),
        (
            definition(|d| d["spec"]["conversion"] = json!({"strategy": "Webhook"})),
            vec![
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook".to_owned(),
                "spec.conversion.conversionReviewVersions: Required value".to_owned(),
            ],
        ),
        (
            definition(|d| d["spec"]["conversion"] = json!({"strategy": "Nope"})),
            vec![r#"spec.conversion.strategy: Unsupported value: "Nope": supported values: "None", "Webhook""#.to_owned()],
        ),
        (
            definition(|d| d["spec"]["group"] = "x.k8s.io".into()),
            vec![
                r#"metadata.name: Invalid value: "widgets.example.com": must be spec.names.plural+"."+spec.group"#.to_owned(),
                r#"metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111"#.to_owned(),
            ],
        ),
    ] {
        assert_eq!(complaints(&definition), expected);
    }
}

#[test]
fn schemas() {
    let at = "spec.validation.openAPIV3Schema";
    for (schema, expected) in [
        (
            json!({"properties": {"a": {"type": "string"}}}),
            vec!["type: Required value: must not be empty at the root"],
        ),
        (
            json!({"type": "object", "properties": {"a": {}}}),
            vec![
                "properties[a].type: Required value: must not be empty for specified object fields",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            vec!["properties[a].items: Required value: must be specified"],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            vec!["additionalProperties: Forbidden: must not be used at the root"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "string"}}}}),
            vec![
                "properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "anyOf": [{"type": "string", "description": "x"}]}}}),
            vec![
                "properties[a].anyOf[0].description: Forbidden: must be empty to be structural",
                "properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
            ],
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"b": {"minimum": 1}}}]}),
            vec![
                "properties[b]: Required value: because it is defined in spec.validation.openAPIV3Schema.anyOf[0].properties[b]",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "$ref": "#/x"}}}),
            vec!["properties[a].$ref: Forbidden: $ref is not supported"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": true, "items": {"type": "string"}}}}),
            vec![
                "properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "strin"}}}),
            vec![
                r#"properties[a].type: Unsupported value: "strin": supported values: "array", "boolean", "integer", "number", "object", "string""#,
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object", "properties": {"n": {"type": "string"}}}}}}),
            vec![
                "properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": {"type": "object", "properties": {"n": {"type": "string"}}}}}}),
            vec![
                "properties[a].items.properties[n].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "x-kubernetes-list-type": "nope"}}}),
            vec![
                r#"properties[a].type: Invalid value: "string": must be array if x-kubernetes-list-type is specified"#,
                r#"properties[a].x-kubernetes-list-type: Unsupported value: "nope": supported values: "atomic", "set", "map""#,
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}),
            vec![
                r#"properties[a].default: Invalid value: "string":  in body must be of type integer: "string""#,
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "object", "default": {"z": 1}, "properties": {"b": {"type": "string"}}}}}),
            vec![r#"properties[a].default: Invalid value: {"z":1}: must not have unknown fields"#],
        ),
        (
            json!({"type": "object", "default": {"z": 1}}),
            vec![
                r#"default: Invalid value: {"z":1}: must not have unknown fields"#,
                "default.apiVersion: Required value",
                "default.kind: Required value",
            ],
        ),
        (
            json!({"type": "object", "default": {"apiVersion": "a/v1", "kind": "A"}}),
            vec![],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "a("}}}),
            vec![],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            vec![
                "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "x-kubernetes-embedded-resource": true}}}),
            vec![
                "properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
                r#"properties[a].type: Invalid value: "string": must be object if x-kubernetes-embedded-resource is true"#,
            ],
        ),
        (
            json!({"type": "object", "nullable": true}),
            vec!["nullable: Forbidden: nullable cannot be true at the root"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "object", "x-kubernetes-validations": [{"rule": ""}, {"rule": "true", "message": "a\nb"}, {"rule": "true", "reason": "Nope"}, {"rule": "true", "fieldPath": ".nope"}]}}}),
            vec![
                "properties[a].x-kubernetes-validations[0].rule: Required value: rule is not specified",
                r#"properties[a].x-kubernetes-validations[1].message: Invalid value: "a\nb": must not contain line breaks"#,
                r#"properties[a].x-kubernetes-validations[2].reason: Unsupported value: "Nope": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired""#,
                r#"properties[a].x-kubernetes-validations[3].fieldPath: Invalid value: ".nope": must be a valid path"#,
            ],
        ),
    ] {
        let found = complaints(&with_schema(schema.clone()));
        if schema["properties"]["a"]["pattern"] == "a(" {
            assert_eq!(found.len(), 1);
            assert!(found[0].ends_with("must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `a(`"), "{found:?}");
            continue;
        }
        let expected: Vec<String> = expected.iter().map(|e| format!("{at}.{e}")).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn versions_with_different_schemas_speak_for_themselves() {
    let definition = definition(|d| {
        d["spec"]["versions"] = json!([
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
            {"name": "v2", "served": true, "schema": {"openAPIV3Schema": {"type": "string"}},
                "additionalPrinterColumns": [{"name": "", "type": "x", "jsonPath": "spec"}],
                "selectableFields": [{"jsonPath": ".spec.a"}],
                "subresources": {"scale": {"specReplicasPath": ".x", "statusReplicasPath": ""}}}]);
    });
    assert_eq!(
        complaints(&definition),
        [
            r#"spec.versions[1].schema.openAPIV3Schema.type: Invalid value: "string": must be object at the root"#,
            r#"spec.versions[1].subresources.scale.specReplicasPath: Invalid value: ".x": should be a json path under .spec"#,
            "spec.versions[1].subresources.scale.statusReplicasPath: Required value",
            "spec.versions[1].additionalPrinterColumns[0].name: Required value",
            r#"spec.versions[1].additionalPrinterColumns[0].type: Invalid value: "x": must be one of boolean,date,integer,number,string"#,
            r#"spec.versions[1].additionalPrinterColumns[0].JSONPath: Invalid value: "spec": must be a simple json path starting with ."#,
            r#"spec.versions[1].selectableFields[0].jsonPath: Invalid value: ".spec.a": is an invalid path: does not refer to a valid field"#,
        ]
    );
}

#[test]
fn updates() {
    let established = |d: &mut Value| {
        d["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    };
    let old = definition(established);
    let new = definition(|d| {
        established(d);
        d["spec"]["scope"] = "Cluster".into();
        d["spec"]["names"]["kind"] = "Gadget".into();
        d["spec"]["names"]["plural"] = "gadgets".into();
        d["status"]["storedVersions"] = json!(["v0", "v1"]);
    });
    let complaints: Vec<String> = validate_update(&new, &old)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        complaints,
        [
            r#"spec.scope: Invalid value: "Cluster": field is immutable"#,
            r#"spec.names.kind: Invalid value: "Gadget": field is immutable"#,
            r#"spec.names.plural: Invalid value: "gadgets": field is immutable"#,
            r#"status.storedVersions[0]: Invalid value: "v0": missing from spec.versions; v0 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v0 and removes v0 from status.storedVersions"#,
        ]
    );
}

#[test]
fn unknown_formats_are_warned_of() {
    let definition = with_schema(
        json!({"type": "object", "properties": {"a": {"type": "string", "format": "nope"}}}),
    );
    assert_eq!(
        warnings(&definition, None),
        [r#"unrecognized format "nope""#]
    );
    assert_eq!(warnings(&definition, Some(&definition)), [""; 0]);
}

#[test]
fn rules_are_compiled() {
    let spec = "spec.validation.openAPIV3Schema.properties[spec]";
    let shown = |rule: &str| {
        format!(
            r#"{{"Rule":"{rule}","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}}"#
        )
    };
    for (rule, expected) in [
        (
            json!({"rule": "self.x =="}),
            vec![format!(
                "{spec}.x-kubernetes-validations[0].rule: Invalid value: {}: compilation failed: ERROR: <input>:1:10: Syntax error: mismatched input '<EOF>' expecting {{'[', '{{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}}\n | self.x ==\n | .........^",
                shown("self.x ==")
            )],
        ),
        (
            json!({"rule": "1"}),
            vec![format!(
                "{spec}.x-kubernetes-validations[0].rule: Invalid value: {}: cel expression must evaluate to a bool",
                shown("1")
            )],
        ),
        (
            json!({"rule": "self.nope == 1"}),
            vec![format!(
                "{spec}.x-kubernetes-validations[0].rule: Invalid value: {}: compilation failed: ERROR: <input>:1:5: undefined field 'nope'\n | self.nope == 1\n | ....^",
                shown("self.nope == 1")
            )],
        ),
        (
            json!({"rule": "true", "messageExpression": "1"}),
            vec![format!(
                r#"{spec}.x-kubernetes-validations[0].messageExpression: Invalid value: {{"Rule":"true","Message":"","MessageExpression":"1","Reason":null,"FieldPath":"","OptionalOldSelf":null}}: messageExpression must evaluate to a string"#
            )],
        ),
        (
            json!({"rule": "oldSelf.hasValue()", "optionalOldSelf": true}),
            vec![],
        ),
        (
            json!({"rule": "true", "optionalOldSelf": true}),
            vec![format!(
                "{spec}.x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"
            )],
        ),
        (json!({"rule": "self.x > 1 || self == oldSelf"}), vec![]),
    ] {
        let schema = json!({"type": "object", "properties": {"spec": {
            "type": "object", "properties": {"x": {"type": "integer"}}, "x-kubernetes-validations": [rule]}}});
        assert_eq!(complaints(&with_schema(schema)), expected);
    }
}

#[test]
fn rules_may_not_cost_too_much() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"l": {
        "type": "array", "items": {"type": "array", "items": {"type": "string"}},
        "x-kubernetes-validations": [{"rule": "self.all(a, a.all(b, self.all(c, c.all(d, b != d))))"}]}}}}});
    let at = "spec.validation.openAPIV3Schema";
    let hint = "exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    assert_eq!(
        complaints(&with_schema(schema)),
        [
            format!(
                "{at}.properties[spec].properties[l].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost {hint}"
            ),
            format!(
                "{at}.properties[spec].properties[l].x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            format!(
                "{at}: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema {hint}"
            ),
        ]
    );
}

#[test]
fn old_values_must_be_found() {
    let schema = json!({"type": "object", "properties": {"l": {"type": "array", "maxItems": 10, "items": {
        "type": "string", "maxLength": 10, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}});
    assert_eq!(
        complaints(&with_schema(schema)),
        [
            r#"spec.validation.openAPIV3Schema.properties[l].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot be used on the uncorrelatable portion of the schema within spec.validation.openAPIV3Schema.properties[l]"#
        ]
    );
}
