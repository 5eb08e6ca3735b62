//! Reading the input and the data, whole or field by field.

use alloc::format;
use alloc::string::{String, ToString};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Value;

/// The two documents offer the same functions; they differ in whose fault it is when something is not there.
macro_rules! document {
    ($name:ident, $about:literal, $failure:path, $code:literal) => {
        #[doc = $about]
        ///
        /// Pointers are RFC 6901: `""` is the whole, `/user/roles/0` goes down, `~0` and `~1` stand for `~` and `/`. A
        /// malformed pointer, or one that is not granted, ends the decision with a fault.
        pub mod $name {
            use alloc::string::String;
            use alloc::vec::Vec;

            use serde::Deserialize;
            use serde::de::DeserializeOwned;

            use crate::{Failure, Value, host};

            /// The value at the pointer, without what is inside it; [`Value::Absent`] if nothing is there.
            #[must_use]
            pub fn read(pointer: &str) -> Value {
                host::$name::read(pointer)
            }

            /// Several values in one call, in the order of the pointers: cheaper than reading one after another.
            #[must_use]
            pub fn read_many(pointers: &[&str]) -> Vec<Value> {
                host::$name::read_many(pointers)
            }

            /// The member names of the object at the pointer, in document order; none if there is no object.
            #[must_use]
            pub fn keys(pointer: &str) -> Option<Vec<String>> {
                host::$name::keys(pointer)
            }

            /// The exact JSON text at the pointer; none if nothing is there.
            #[must_use]
            pub fn json(pointer: &str) -> Option<String> {
                host::$name::json(pointer)
            }

            /// What is at the pointer, as a type of the author's.
            ///
            /// # Errors
            /// A failure that names the place, if nothing is there or if it has another form.
            pub fn parse<T: DeserializeOwned>(pointer: &str) -> Result<T, Failure> {
                super::parse(json(pointer), pointer).map_err(|(message, at)| fail(message, at))
            }

            /// What is at the pointer, as a type of the author's; none if nothing or `null` is there.
            ///
            /// # Errors
            /// A failure that names the place, if what is there has another form.
            pub fn parse_optional<T: DeserializeOwned>(pointer: &str) -> Result<Option<T>, Failure> {
                match json(pointer) {
                    None => Ok(None),
                    json => super::parse(json, pointer).map_err(|(message, at)| fail(message, at)),
                }
            }

            /// A type of the author's from the text that [`json`] found at the pointer. It may borrow from the text what
            /// has no escapes (`#[serde(borrow)] Cow<'_, str>`): nothing is copied then.
            ///
            /// # Errors
            /// A failure that names the place, if what is there has another form.
            pub fn parse_text<'a, T: Deserialize<'a>>(text: &'a str, pointer: &str) -> Result<T, Failure> {
                super::parse_text(text, pointer).map_err(|(message, at)| fail(message, at))
            }

            /// The string at the pointer.
            ///
            /// # Errors
            /// A failure, if there is something else or nothing.
            pub fn text(pointer: &str) -> Result<String, Failure> {
                super::take(read(pointer), pointer, "a string", Value::into_text)
                    .map_err(|it| fail(it, pointer))
            }

            /// The boolean at the pointer.
            ///
            /// # Errors
            /// A failure, if there is something else or nothing.
            pub fn boolean(pointer: &str) -> Result<bool, Failure> {
                super::take(read(pointer), pointer, "a boolean", |it| it.as_bool())
                    .map_err(|it| fail(it, pointer))
            }

            /// The integer at the pointer, written without fraction and exponent.
            ///
            /// # Errors
            /// A failure, if there is something else, nothing, or a number that does not fit.
            pub fn integer(pointer: &str) -> Result<i64, Failure> {
                super::take(read(pointer), pointer, "an integer of 64 bits", |it| it.as_i64())
                    .map_err(|it| fail(it, pointer))
            }

            /// The number at the pointer, as the nearest double.
            ///
            /// # Errors
            /// A failure, if there is something else or nothing.
            pub fn float(pointer: &str) -> Result<f64, Failure> {
                super::take(read(pointer), pointer, "a number", |it| it.as_f64())
                    .map_err(|it| fail(it, pointer))
            }

            /// The number at the pointer as it is written, such as `0.10`: exact, for decimal arithmetic.
            ///
            /// # Errors
            /// A failure, if there is something else or nothing.
            pub fn decimal(pointer: &str) -> Result<String, Failure> {
                super::take(read(pointer), pointer, "a number", Value::into_decimal)
                    .map_err(|it| fail(it, pointer))
            }

            #[cold]
            fn fail(message: impl Into<String>, at: impl Into<String>) -> Failure {
                $failure($code, message).at(at)
            }
        }
    };
}

document!(
    input,
    "The question's document. What a rule reads of it, and what it found absent, is the decision's read set.",
    Failure::invalid_input,
    "invalid-input"
);
document!(
    data,
    "The tenant's data, as far as the manifest's `data` prefixes grant it: one object whose members are documents.",
    Failure::missing_data,
    "missing-data"
);

fn take<T>(
    value: Value,
    pointer: &str,
    wanted: &str,
    convert: impl FnOnce(Value) -> Option<T>,
) -> Result<T, String> {
    let kind = value.kind();
    convert(value).ok_or_else(|| format!("`{pointer}` must be {wanted}, there is {kind}"))
}

/// On failure, the message and the place in the document.
fn parse<T: DeserializeOwned>(json: Option<String>, pointer: &str) -> Result<T, (String, String)> {
    let Some(json) = json else {
        return Err((format!("nothing is at `{pointer}`"), pointer.to_string()));
    };
    parse_text(&json, pointer)
}

fn parse_text<'a, T: Deserialize<'a>>(text: &'a str, pointer: &str) -> Result<T, (String, String)> {
    crate::json::from_str(text).map_err(|error| (error.message, [pointer, &error.pointer].concat()))
}
