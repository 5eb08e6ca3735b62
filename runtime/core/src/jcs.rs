//! The JSON Canonicalization Scheme, RFC 8785: one text for one value, wherever bytes are signed or hashed.

use serde::Serialize;

/// The value has no canonical text.
#[derive(Debug, thiserror::Error)]
#[error("there is no canonical JSON for it: {0}")]
pub struct JcsError(#[from] serde_json::Error);

/// The canonical text of `value`. Numbers are IEEE 754 doubles there, so an integer beyond 2^53 loses digits.
///
/// # Errors
/// When `value` has a number that is not finite, or a map with keys that are not text.
pub fn canonical(value: &impl Serialize) -> Result<String, JcsError> {
    Ok(serde_json_canonicalizer::to_string(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sorts_members_by_utf_16_and_writes_numbers_as_ecmascript_does() {
        let value = json!({"\u{20ac}": 1e21, "\r": -0.0, "\u{1f600}": 0.000001, "\u{fb33}": 1e-7, "1": [1.0, "\u{7}/"]});
        let text =
            "{\"\\r\":0,\"1\":[1,\"\\u0007/\"],\"\u{20ac}\":1e+21,\"\u{1f600}\":0.000001,\"\u{fb33}\":1e-7}";
        assert_eq!(canonical(&value).unwrap(), text);
    }
}
