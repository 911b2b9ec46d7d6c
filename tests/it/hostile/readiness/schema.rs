//! Compares an answer with its schema in the OpenAPI document.

use serde_json::Value;

/// Asserts that a value is exactly what a schema of this document describes: no member less or more.
#[track_caller]
pub fn assert_documented(document: &Value, schema: &Value, value: &Value) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        let schema = document.pointer(pointer).expect("a schema");
        return assert_documented(document, schema, value);
    }
    match schema["type"].as_str() {
        Some("object") => {
            let properties = schema["properties"].as_object().expect("properties");
            let members = value.as_object().expect("an object");
            let required = schema["required"].as_array().expect("required members");
            assert!(members.keys().eq(properties.keys()), "{value} {schema}");
            assert_eq!(required.len(), properties.len(), "{schema}");
            for (name, member) in members {
                assert_documented(document, &properties[name], member);
            }
        }
        Some("array") => {
            for element in value.as_array().expect("an array") {
                assert_documented(document, &schema["items"], element);
            }
        }
        Some("string") => {
            assert!(value.is_string(), "{value} {schema}");
            if let Some(values) = schema["enum"].as_array() {
                assert!(values.contains(value), "{value} {schema}");
            }
        }
        _ => panic!("{schema}"),
    }
}

/// The schema of an answer.
pub fn of_answer<'a>(document: &'a Value, path: &str, status: u16) -> &'a Value {
    let answer = &document["paths"][path]["get"]["responses"][status.to_string()];
    &answer["content"]["application/json"]["schema"]
}
