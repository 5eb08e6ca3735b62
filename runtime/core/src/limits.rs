//! What an evaluation may use. Every limit is mandatory: there is no value that means "off".

use serde::{Deserialize, Serialize};

macro_rules! limits {
    ($($(#[doc = $doc:literal])* $field:ident: $default:literal, at most $max:literal;)*) => {
        /// The limits of one evaluation. The effective ones are part of its record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Limits { $($(#[doc = $doc])* pub $field: u64,)* }

        impl Default for Limits {
            /// Safe for a public server.
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Limits {
            /// The limits of a policy that asks for `requested` under this ceiling: the smaller of each pair.
            pub fn lowered_by(&self, requested: &RequestedLimits) -> Self {
                Self { $($field: requested.$field.map_or(self.$field, |limit| limit.min(self.$field)),)* }
            }

            /// Checks an operator's ceiling.
            ///
            /// # Errors
            /// When a limit is zero or above what the host can enforce.
            pub fn checked(self) -> Result<Self, LimitError> {
                $(check(stringify!($field), self.$field, $max)?;)*
                Ok(self)
            }
        }

        /// The limits that a manifest asks for; what it leaves out is the operator's ceiling.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct RequestedLimits {
            $($(#[doc = $doc])* #[serde(skip_serializing_if = "Option::is_none", default)] pub $field: Option<u64>,)*
        }

        impl RequestedLimits {
            /// Checks what a manifest asks for.
            ///
            /// # Errors
            /// When a limit is zero or above what any host can enforce.
            pub fn checked(self) -> Result<Self, LimitError> {
                $(if let Some(limit) = self.$field { check(stringify!($field), limit, $max)?; })*
                Ok(self)
            }
        }
    };
}

// In the order of their names, which is the order that RFC 8785 writes them in.
limits! {
    /// Fuel units; see the fuel schedule of the semantics.
    fuel: 100_000_000, at most 1_000_000_000_000;
    /// Calls from the policy to the host; each pointer of `read-many` counts as one.
    host_calls: 10_000, at most 10_000_000;
    /// Bytes of the input document.
    input_bytes: 1_048_576, at most 268_435_456;
    /// Core instances in the component.
    instances: 64, at most 1_000;
    /// Bytes that the policy writes through `diagnostics`.
    log_bytes: 16_384, at most 1_048_576;
    /// Bytes of linear memory, all memories of the component together.
    memory_bytes: 16_777_216, at most 4_294_967_296;
    /// Bytes of value and reasons together.
    output_bytes: 262_144, at most 16_777_216;
    /// Bytes of native stack.
    stack_bytes: 524_288, at most 8_388_608;
    /// Elements of tables, all tables of the component together.
    table_elements: 20_000, at most 10_000_000;
    /// Milliseconds from the start of the evaluation.
    wall_clock_ms: 500, at most 60_000;
}

/// A limit is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limit `{name}` is {value}; it must be between 1 and {max}")]
pub struct LimitError {
    name: &'static str,
    value: u64,
    max: u64,
}

fn check(name: &'static str, value: u64, max: u64) -> Result<(), LimitError> {
    if (1..=max).contains(&value) { Ok(()) } else { Err(LimitError { name, value, max }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_can_ask_for_less_but_never_for_more() {
        let ceiling = Limits::default();
        let less = RequestedLimits { fuel: Some(5), ..Default::default() };
        let more = RequestedLimits { fuel: Some(u64::MAX), ..Default::default() };
        assert_eq!(ceiling.lowered_by(&less).fuel, 5);
        assert_eq!(ceiling.lowered_by(&more), ceiling);
    }

    #[test]
    fn no_limit_can_be_switched_off() {
        assert!(Limits { fuel: 0, ..Default::default() }.checked().is_err());
        assert!(Limits { wall_clock_ms: u64::MAX, ..Default::default() }.checked().is_err());
        assert!(RequestedLimits { memory_bytes: Some(0), ..Default::default() }.checked().is_err());
        assert!(Limits::default().checked().is_ok());
    }
}
