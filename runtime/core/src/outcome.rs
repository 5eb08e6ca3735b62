//! What a policy says, and what the host makes of it. A denial is an answer; a fault is never an answer.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pointer::Pointer;

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// JSON text, exactly as the policy wrote it; none means undefined.
    pub value: Option<String>,
    /// Why, in the policy's order.
    pub reasons: Vec<Reason>,
}

/// Why an answer is what it is. Its members stand in the order that RFC 8785 writes them in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable and for machines.
    pub code: String,
    /// For people.
    pub message: String,
    /// The input pointers that the reason rests on.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub pointers: Vec<String>,
    /// The key of one of the manifest's legal references.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reference: Option<String>,
    /// The rule or paragraph of the policy that spoke.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<String>,
}

impl Answer {
    /// Whether the answer allows: `true` exactly where `allow` points, by default at the value itself if it is a
    /// boolean, else at `/allow`. Undefined, and anything but `true`, denies.
    pub fn allows(&self, allow: Option<&Pointer>) -> bool {
        let Some(text) = &self.value else { return false };
        // Most policies answer with a bare boolean; it needs no parser.
        match (text.as_str(), allow) {
            ("true", None) => return true,
            ("false", _) => return false,
            _ => {}
        }
        let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return false };
        let pointer = allow.map_or("/allow", Pointer::as_str);
        match (&value, allow) {
            (serde_json::Value::Bool(value), None) => *value,
            _ => value.pointer(pointer) == Some(&serde_json::Value::Bool(true)),
        }
    }
}

/// Whose fault a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Party {
    /// Who asked the question.
    Caller,
    /// Who wrote the policy, or provides its data.
    Policy,
    /// Who runs the host.
    Host,
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident, $code:literal, $party:ident, replayable $replayable:literal;)*) => {
        /// The class of a fault; its code is stable.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FaultCode { $($(#[doc = $doc])* $name,)* }

        impl FaultCode {
            /// Every class, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Whose fault it is.
            pub const fn party(self) -> Party {
                match self { $(Self::$name => Party::$party,)* }
            }

            /// Whether another host must come to the same fault. Wall clock and native stack depend on the machine.
            pub const fn is_replayable(self) -> bool {
                match self { $(Self::$name => $replayable,)* }
            }

            /// The class with this code.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

faults! {
    /// The policy used its fuel up.
    OutOfFuel, "out-of-fuel", Policy, replayable true;
    /// The policy wanted more memory or table elements than its limit.
    OutOfMemory, "out-of-memory", Policy, replayable true;
    /// The wall clock ran out. Fuel bounds time, so this says that the machine was slow.
    Deadline, "deadline", Host, replayable false;
    /// The policy used its native stack up.
    StackOverflow, "stack-overflow", Policy, replayable false;
    /// The policy trapped: unreachable, out-of-bounds access, a malformed pointer, a read outside its grant.
    Trap, "trap", Policy, replayable true;
    /// The policy used up its host calls or log bytes.
    OutOfBudget, "out-of-budget", Policy, replayable true;
    /// The policy says that the input is not what this rule takes.
    InvalidInput, "invalid-input", Caller, replayable true;
    /// The policy's answer is too large, or its value is not JSON.
    InvalidOutput, "invalid-output", Policy, replayable true;
    /// The policy says that data is missing, or that it failed itself.
    PolicyError, "policy-error", Policy, replayable true;
    /// The host could not evaluate.
    Unavailable, "unavailable", Host, replayable false;
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for FaultCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for FaultCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::from_code(&code).ok_or_else(|| serde::de::Error::custom(format!("unknown fault code `{code}`")))
    }
}

/// A question that got no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The class.
    pub code: FaultCode,
    /// What happened, for people.
    pub message: String,
    /// The policy's own code, where it failed by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_code: Option<String>,
    /// The place in the input or the data, where the policy named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

impl Fault {
    /// A fault that the host found.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), policy_code: None, pointer: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(value: Option<&str>, pointer: Option<&str>) -> bool {
        let answer = Answer { value: value.map(Into::into), reasons: Vec::new() };
        answer.allows(pointer.map(|text| text.parse().unwrap()).as_ref())
    }

    #[test]
    fn only_true_allows() {
        assert!(allows(Some("true"), None));
        assert!(allows(Some(" true "), None));
        assert!(allows(Some(r#"{"allow":true}"#), None));
        assert!(allows(Some(r#"{"verdict":{"ok":true}}"#), Some("/verdict/ok")));
        assert!(allows(Some("true"), Some("")));
        for value in ["false", "null", "1", "\"true\"", "[true]", "{}", r#"{"allow":"true"}"#, "not json"] {
            assert!(!allows(Some(value), None), "{value}");
        }
        assert!(!allows(None, None));
        assert!(!allows(Some("true"), Some("/allow")));
        assert!(!allows(Some(r#"{"allow":true}"#), Some("")));
    }

    #[test]
    fn codes_are_stable_and_distinct() {
        for code in FaultCode::ALL {
            assert_eq!(FaultCode::from_code(code.code()), Some(*code));
        }
        let codes: std::collections::BTreeSet<_> = FaultCode::ALL.iter().map(|c| c.code()).collect();
        assert_eq!(codes.len(), FaultCode::ALL.len());
    }
}
