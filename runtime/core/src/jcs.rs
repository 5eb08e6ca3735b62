//! The JSON Canonicalization Scheme, RFC 8785: one text for one value, wherever bytes are signed or hashed.

use std::cell::Cell;

use serde::Serialize;

/// What a thread keeps to write texts in. Bytes.
const ROOM_BYTES_MAX: usize = 64 << 10;

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

/// As [`canonical`], at a fraction of its cost, for the shapes that every decision writes: structs whose members are
/// declared in the order of their names, without maps and without numbers but integers up to 2^53. For these the
/// plain writer writes the canonical form; a debug build compares the two each time.
///
/// # Errors
/// When the value has no form in JSON.
pub fn ordered(value: &impl Serialize) -> Result<String, JcsError> {
    thread_local! {
        // Written here and then copied: a text that grows where it is written is moved several times.
        static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut room = ROOM.take();
    room.clear();
    serde_json::to_writer(&mut room, value)?;
    let text = str::from_utf8(&room).map_err(<serde_json::Error as serde::ser::Error>::custom)?.to_owned();
    if room.capacity() <= ROOM_BYTES_MAX {
        ROOM.set(room);
    }
    debug_assert_eq!(canonical(value).ok().as_deref(), Some(text.as_str()), "not in canonical order");
    Ok(text)
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

    proptest::proptest! {
        #[test]
        fn the_plain_writer_is_canonical_for_reasons_with_any_text(
            texts in proptest::collection::vec(proptest::prelude::any::<String>(), 5),
        ) {
            let [code, message, pointer, reference, rule] = <[String; 5]>::try_from(texts).unwrap();
            let reason = crate::outcome::Reason {
                code, message, pointers: vec![pointer], reference: Some(reference), rule: Some(rule),
            };
            proptest::prop_assert_eq!(serde_json::to_string(&reason).unwrap(), canonical(&reason).unwrap());
        }
    }

    #[test]
    fn the_plain_writer_escapes_every_control_character_as_rfc_8785_does() {
        let text: String = (0..=0x9f).filter_map(char::from_u32).collect();
        assert_eq!(ordered(&text).unwrap(), canonical(&text).unwrap());
    }
}
