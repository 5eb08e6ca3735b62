//! Reading JSON documents whose meaning must not depend on who reads them: signed ones and what they point at.
//!
//! A member that is there twice is an error at every depth, because readers differ in which of the two they take.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It has more bytes than are read.
    #[error("it has {bytes} bytes, more than the {bytes_max} that are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is read.
        bytes_max: usize,
    },
    /// It is not JSON, has a member twice, is nested too deeply, or is not of the expected shape.
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
}

/// Reads a document of at most `bytes_max` bytes.
///
/// # Errors
/// When it is larger, not JSON, nested deeper than 127, has a member twice, or is not a `T`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, JsonError> {
    if bytes.len() > bytes_max {
        return Err(JsonError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    // Two passes, because a member that `T` ignores, or keeps in a map, may be there twice as well.
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Unique.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(serde_json::from_slice(bytes)?)
}

/// Walks over any JSON value and keeps nothing.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            members.next_value_seed(Self)?;
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format_args!("member `{name}` is there twice")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<serde_json::Value, JsonError> {
        parse(text.as_bytes(), 10_000)
    }

    #[test]
    fn reads_every_kind_of_value() {
        let text = r#"{"a":[null,true,-1,1,1.5,"x",{"b":{}}],"c":""}"#;
        assert_eq!(read(text).unwrap(), serde_json::from_str::<serde_json::Value>(text).unwrap());
    }

    #[test]
    fn rejects_a_member_that_is_there_twice_at_any_depth() {
        // The last one hides the repetition behind an escape.
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"a":2}}]"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(read(text).unwrap_err().to_string().contains("`a` is there twice"), "{text}");
        }
    }

    #[test]
    fn rejects_what_is_too_large_too_deep_or_followed_by_more() {
        assert!(matches!(parse::<()>(b"null ", 4), Err(JsonError::TooLarge { bytes: 5, bytes_max: 4 })));
        assert!(read(&"[".repeat(5_000)).is_err());
        assert!(read("{} {}").is_err() && read("").is_err() && read("\u{feff}{}").is_err());
        assert!(parse::<serde_json::Value>(b"\"\xff\"", 10).is_err());
    }
}
