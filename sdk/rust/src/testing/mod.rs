//! The host of unit tests: documents in memory, with the same reads as in a component.
//!
//! ```
//! use verdict_sdk::{input, testing};
//!
//! let user = testing::with_input(r#"{"user": "ann", "limit": 0.10}"#, || input::text("/user"));
//! assert_eq!(user.as_deref(), Ok("ann"));
//! ```
//!
//! Limits, grants and the check of the manifest are the real host's: `verdict test` runs the cases of a policy there.

mod cases;

pub use cases::run_cases;

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Value;

/// What a rule finds while a test runs it. The default has no input, no data and the start of 1970.
#[derive(Clone, Debug)]
pub struct Host {
    /// The input, JSON text.
    pub input: String,
    /// The data, JSON text.
    pub data: String,
    /// RFC 3339 in UTC with millisecond precision.
    pub decision_time: String,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            input: String::new(),
            data: String::new(),
            decision_time: "1970-01-01T00:00:00.000Z".to_owned(),
        }
    }
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
    static MESSAGES: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

/// Runs `test` with this input.
pub fn with_input<T>(input: &str, test: impl FnOnce() -> T) -> T {
    with(Host { input: input.to_owned(), ..Host::default() }, test)
}

/// Runs `test` with this host.
pub fn with<T>(host: Host, test: impl FnOnce() -> T) -> T {
    let outer = HOST.replace(host);
    let result = test();
    HOST.replace(outer);
    result
}

/// The diagnostics, code and message, that this thread's rules have written since the last call.
#[must_use]
pub fn messages() -> Vec<(String, String)> {
    MESSAGES.take()
}

/// The native side of the contract.
pub(crate) mod host {
    macro_rules! document {
        ($name:ident) => {
            pub(crate) mod $name {
                use super::super::{HOST, find, keys_of, value_of};
                use crate::Value;

                pub(crate) fn read(pointer: &str) -> Value {
                    HOST.with_borrow(|host| value_of(find(&host.$name, pointer)))
                }

                pub(crate) fn read_many(pointers: &[&str]) -> Vec<Value> {
                    pointers.iter().map(|pointer| read(pointer)).collect()
                }

                pub(crate) fn keys(pointer: &str) -> Option<Vec<String>> {
                    HOST.with_borrow(|host| keys_of(find(&host.$name, pointer)?))
                }

                pub(crate) fn json(pointer: &str) -> Option<String> {
                    HOST.with_borrow(|host| Some(find(&host.$name, pointer)?.to_owned()))
                }
            }
        };
    }

    document!(input);
    document!(data);

    pub(crate) mod decision_time {
        pub(crate) fn now() -> String {
            super::super::HOST.with_borrow(|host| host.decision_time.clone())
        }
    }

    pub(crate) mod diagnostics {
        pub(crate) fn log(code: &str, message: &str) {
            super::super::MESSAGES.with_borrow_mut(|all| all.push((code.to_owned(), message.to_owned())));
        }
    }
}

/// The members of an object in document order, as text.
struct Members<'a>(Vec<(String, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

fn find<'a>(document: &'a str, pointer: &str) -> Option<&'a str> {
    let mut at = document.trim();
    if at.is_empty() {
        return None;
    }
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        at = child(at, &name)?;
    }
    Some(at)
}

fn child<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    if json.starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
        return Some(elements.get(name.parse::<usize>().ok()?)?.get());
    }
    let Members(members) = serde_json::from_str(json).ok()?;
    members.into_iter().find_map(|(member, value)| (member == name).then_some(value))
}

fn keys_of(json: &str) -> Option<Vec<String>> {
    let Members(members) = serde_json::from_str(json).ok()?;
    Some(members.into_iter().map(|(name, _)| name).collect())
}

fn value_of(json: Option<&str>) -> Value {
    let Some(json) = json else { return Value::Absent };
    match json.as_bytes().first() {
        Some(b'n') => Value::Null,
        Some(b't') => Value::Boolean(true),
        Some(b'f') => Value::Boolean(false),
        Some(b'"') => serde_json::from_str(json).map_or(Value::Absent, Value::Text),
        Some(b'[') => {
            Value::Array(count(serde_json::from_str::<Vec<&RawValue>>(json).map_or(0, |it| it.len())))
        }
        Some(b'{') => Value::Object(count(keys_of(json).map_or(0, |it| it.len()))),
        _ => Value::Number(json.to_owned()),
    }
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}
