//! What a policy author imports: from a serde type to a decision.
//!
//! Three nouns: a [`Decision`] is what a rule says, with its [`Reason`]s; a [`Failure`] says that a question cannot be
//! answered, and whose fault that is. A rule is a plain function, and [`policy!`] makes a component of one or more:
//!
//! ```
//! use verdict_sdk::{Decision, Reason};
//!
//! #[derive(serde::Deserialize)]
//! struct Application {
//!     amount: u64,
//!     income: u64,
//! }
//!
//! fn eligible(application: Application) -> Decision {
//!     if application.amount <= application.income.saturating_mul(5) {
//!         return Decision::allow();
//!     }
//!     Decision::deny().because(
//!         Reason::new("income-too-low", "the amount is over five incomes").reference("art-18").on("/income"),
//!     )
//! }
//!
//! verdict_sdk::policy! { "eligible" => eligible }
//!
//! # fn main() -> Result<(), verdict_sdk::Failure> {
//! let decision = verdict_sdk::testing::with_input(r#"{"amount": 90000, "income": 10000}"#, || decide("eligible"))?;
//! assert_eq!(decision.json(), Some("false"));
//! # Ok(())
//! # }
//! ```
//!
//! An input of another form is a failure `invalid-input` that names the place. A rule that needs little of a large
//! input takes no argument and reads single fields with [`input::text`], [`input::read`] and so on: nothing is parsed,
//! and the decision's read set, which its record keeps, is just those fields. What the manifest grants is read the same
//! way: [`data`], [`decision_time`], [`diagnostics`]. An import that a policy does not use is not in its component.
//!
//! On other targets than Wasm, where unit tests run, the documents are those of [`testing`].

#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

#[cfg(target_family = "wasm")]
mod allocator;
mod decision;
mod documents;
mod json;
mod pointer;
mod rule;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod value;

pub use decision::{Decision, Failure, Reason};
pub use documents::{data, input};
pub use pointer::Pointer;
pub use rule::{IntoDecision, Rule};
pub use value::Value;

/// The contract as Rust: what `policy!` and this crate bind to. Not for authors.
#[doc(hidden)]
#[allow(
    missing_docs,
    unreachable_pub,
    reason = "generated; the contract is documented where it is written, in wit/"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "policy-with-all-capabilities",
        pub_export_macro: true,
        default_bindings_module: "verdict_sdk::bindings",
        ownership: Borrowing { duplicate_if_necessary: false },
        additional_derives: [Eq, PartialEq],
    });
}

#[cfg(target_family = "wasm")]
use bindings::verdict::policy as host;
#[cfg(not(target_family = "wasm"))]
use testing::host;

/// The time of the decision; granted by `decision_time = true` in the manifest.
pub mod decision_time {
    use alloc::string::String;

    /// RFC 3339 in UTC with millisecond precision, such as `2026-01-31T12:00:00.000Z`. It stands still during a
    /// decision, and a replay sees the same.
    #[must_use]
    pub fn now() -> String {
        crate::host::decision_time::now()
    }
}

/// Messages for operators; granted by `diagnostics = true` in the manifest.
pub mod diagnostics {
    /// Writes one message, a stable code and free text. It is never part of the answer. More than the manifest's
    /// `log_bytes` in one decision is a fault.
    pub fn log(code: &str, message: &str) {
        crate::host::diagnostics::log(code, message);
    }
}

/// Makes a component of functions: `policy! { "rule" => function, … }`, once in a crate.
///
/// A function takes nothing, or one `serde::Deserialize` type as which the whole input is read; it returns a
/// [`Decision`], a `bool`, or a `Result` of one of these and [`Failure`]. The names are those of the manifest.
///
/// The macro defines `decide(rule)`, which unit tests call.
#[macro_export]
macro_rules! policy {
    ($($rule:literal => $function:path),+ $(,)?) => {
        /// Answers one rule of this policy.
        pub fn decide(rule: &str) -> ::core::result::Result<$crate::Decision, $crate::Failure> {
            match rule {
                $($rule => $crate::Rule::decide(&$function),)+
                unknown => $crate::__private::unknown_rule(unknown),
            }
        }

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Policy;

            impl $crate::bindings::exports::verdict::policy::decision::Guest for Policy {
                fn decide(rule: $crate::__private::String) -> $crate::__private::WitResult {
                    $crate::__private::into_wit(decide(&rule))
                }
            }

            $crate::bindings::export!(Policy with_types_in $crate::bindings);
        };
    };
}

/// What the expansion of `policy!` needs.
#[doc(hidden)]
pub mod __private {
    pub use alloc::string::String;

    use crate::bindings::exports::verdict::policy::decision::{Answer, Failure as WitFailure};
    use crate::{Decision, Failure};

    /// What the component returns.
    pub type WitResult = Result<Answer, WitFailure>;

    /// The answer to a rule that the manifest names and the policy lacks.
    ///
    /// # Errors
    /// Always.
    pub fn unknown_rule(rule: &str) -> Result<Decision, Failure> {
        Err(Failure::unknown_rule(rule))
    }

    /// From the author's types to the contract's.
    ///
    /// # Errors
    /// The failure that was given.
    pub fn into_wit(result: Result<Decision, Failure>) -> WitResult {
        result.map(Decision::into_wit).map_err(Failure::into_wit)
    }
}
