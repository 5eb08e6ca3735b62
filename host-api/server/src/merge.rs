//! The input that the items of a batch share, merged into each of theirs. It is done on text: a number keeps its digits.
//!
//! Only the members of the two objects are put together: what an item has stands as it is, and of what is shared an item
//! gets those members that it does not have. Nothing inside of members is merged, and `null` is a value like any other.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::ApiError;

/// An object that is merged into others.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    text: &'a str,
    /// The names of its members, and each member as text.
    members: Vec<(Cow<'a, str>, String)>,
}

/// The members of an object, in order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// The name of a member, which mostly stands in the text as it is.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Shared<'a> {
    /// Reads the object.
    ///
    /// # Errors
    /// 400 where it is something else.
    pub(crate) fn read(text: &'a RawValue) -> Result<Self, ApiError> {
        let malformed = |error| {
            let message = format!("the `input` of a batch is an object whose members its items get: {error}");
            ApiError::bad_request(message)
        };
        let Members(members) = serde_json::from_str(text.get()).map_err(malformed)?;
        let written = |(name, value): (Cow<'a, str>, &RawValue)| {
            let text = format!("{}:{}", serde_json::to_string(&name)?, value.get());
            Ok((name, text))
        };
        let members = members.into_iter().map(written).collect::<Result<_, _>>().map_err(malformed)?;
        Ok(Self { text: text.get(), members })
    }

    /// Its length as text, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// An item's input: its own members as they are, after those that it does not have; all of it where there are none.
    ///
    /// # Errors
    /// 400 where the item's own input is no object.
    pub(crate) fn merged(&self, own: Option<&RawValue>) -> Result<Vec<u8>, ApiError> {
        let Some(own) = own else { return Ok(self.text.as_bytes().to_vec()) };
        let malformed = |error| {
            let message =
                format!("`input` is an object where the batch has one that is merged into it: {error}");
            ApiError::bad_request(message)
        };
        let Members(members) = serde_json::from_str(own.get()).map_err(malformed)?;
        let mut merged = Vec::with_capacity(self.text.len() + own.get().len());
        merged.push(b'{');
        // Both may have as many members as a body has room for.
        let names: HashSet<&str> = members.iter().map(|(name, _)| &**name).collect();
        for (name, text) in &self.members {
            if !names.contains(&**name) {
                merged.extend_from_slice(text.as_bytes());
                merged.push(b',');
            }
        }
        if members.is_empty() {
            let _ = merged.pop_if(|last| *last == b',');
            merged.push(b'}');
        } else {
            // It begins with the brace that is there already.
            merged.extend_from_slice(own.get().as_bytes().get(1..).unwrap_or_default());
        }
        Ok(merged)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    fn merged(shared: &str, own: Option<&str>) -> String {
        let merged = Shared::read(raw(shared)).unwrap().merged(own.map(raw)).unwrap();
        String::from_utf8(merged).unwrap()
    }

    #[test]
    fn an_item_gets_what_it_does_not_have_and_numbers_keep_their_digits() {
        let shared = r#"{ "user" : "bob", "n": 1.10e400 , "deep": {"a": 1} }"#;
        assert_eq!(
            merged(shared, Some(r#"{"action": 10000000000000000000000.50}"#)),
            r#"{"user":"bob","n":1.10e400,"deep":{"a": 1},"action": 10000000000000000000000.50}"#
        );
        assert_eq!(
            merged(shared, Some(r#"{"n": null, "deep": {"b": 2}}"#)),
            r#"{"user":"bob","n": null, "deep": {"b": 2}}"#
        );
    }

    #[test]
    fn an_empty_object_gets_everything_and_gives_nothing() {
        assert_eq!(merged(r#"{"a":1,"b":2}"#, Some("{ }")), r#"{"a":1,"b":2}"#);
        assert_eq!(merged(r#"{ "a": 1 }"#, None), r#"{ "a": 1 }"#);
        assert_eq!(merged("{}", Some(r#"{"a":1}"#)), r#"{"a":1}"#);
        assert_eq!(merged("{}", Some("{}")), "{}");
        assert_eq!(merged(r#"{"a":1}"#, Some(r#"{"a":2}"#)), r#"{"a":2}"#);
    }

    #[test]
    fn a_name_is_the_same_however_it_is_written() {
        assert_eq!(merged(r#"{"a\u0062":1}"#, Some(r#"{"\u0061b":2}"#)), r#"{"\u0061b":2}"#);
        assert_eq!(merged(r#"{"\"\n":1}"#, Some(r#"{"x":2}"#)), r#"{"\"\n":1,"x":2}"#);
    }

    #[test]
    fn a_name_that_stands_twice_is_left_for_the_host_to_refuse() {
        assert_eq!(merged(r#"{"a":1,"a":2}"#, Some(r#"{"b":3}"#)), r#"{"a":1,"a":2,"b":3}"#);
        assert_eq!(merged(r#"{"a":1}"#, Some(r#"{"b":3,"b":4}"#)), r#"{"a":1,"b":3,"b":4}"#);
    }

    #[test]
    fn what_is_no_object_is_not_merged() {
        for other in ["null", "[]", "7", "\"text\"", "true"] {
            assert!(Shared::read(raw(other)).is_err(), "{other}");
            assert!(Shared::read(raw("{}")).unwrap().merged(Some(raw(other))).is_err(), "{other}");
        }
    }
}
