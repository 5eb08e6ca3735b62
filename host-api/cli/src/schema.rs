//! JSON Schemas of inputs and outputs, without references to anything outside the schema.

use jsonschema::Validator;
use serde_json::Value;

/// Reads a schema.
///
/// # Errors
/// When it is not a JSON Schema, or refers to another document: a check must not depend on the network.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options().offline().build(schema).map_err(|error| error.to_string())
}

/// What is wrong with a value, each with its place; empty if it fits.
pub(crate) fn violations(schema: &Validator, value: &Value) -> Vec<String> {
    const SHOWN: usize = 5;
    let place = |error: &jsonschema::ValidationError<'_>| match error.instance_path().as_str() {
        "" => "the whole".to_owned(),
        pointer => format!("`{pointer}`"),
    };
    schema.iter_errors(value).take(SHOWN).map(|error| format!("{}: {error}", place(&error))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn says_where_a_value_does_not_fit() {
        let schema = compile(&json!({"properties": {"age": {"type": "integer"}}})).unwrap();
        assert!(violations(&schema, &json!({"age": 3})).is_empty());
        let found = violations(&schema, &json!({"age": "3"}));
        assert!(found.len() == 1 && found[0].starts_with("`/age`: "), "{found:?}");
    }

    #[test]
    fn rejects_references_to_other_documents() {
        for reference in ["https://example.org/schema.json", "file:///etc/passwd", "other.json"] {
            assert!(compile(&json!({"$ref": reference})).is_err(), "{reference}");
        }
        assert!(compile(&json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}})).is_ok());
    }
}
