//! From a plain function to an answer.

use serde::de::DeserializeOwned;

use crate::{Decision, Failure, input};

/// A function that `policy!` takes. `Arguments` tells apart functions of nothing and functions of the input.
pub trait Rule<Arguments> {
    /// Reads what the function takes, and calls it.
    ///
    /// # Errors
    /// What the function returns, or `invalid-input` if the input is not what it takes.
    fn decide(&self) -> Result<Decision, Failure>;
}

impl<F, R> Rule<()> for F
where
    F: Fn() -> R,
    R: IntoDecision,
{
    fn decide(&self) -> Result<Decision, Failure> {
        self().into_decision()
    }
}

impl<F, I, R> Rule<(I,)> for F
where
    F: Fn(I) -> R,
    I: DeserializeOwned,
    R: IntoDecision,
{
    fn decide(&self) -> Result<Decision, Failure> {
        self(input::parse("")?).into_decision()
    }
}

/// What a rule may return.
pub trait IntoDecision {
    /// The decision, or why there is none.
    ///
    /// # Errors
    /// The failure that the rule returned.
    fn into_decision(self) -> Result<Decision, Failure>;
}

impl IntoDecision for Decision {
    fn into_decision(self) -> Result<Decision, Failure> {
        Ok(self)
    }
}

impl IntoDecision for bool {
    fn into_decision(self) -> Result<Decision, Failure> {
        Ok(self.into())
    }
}

impl<D: Into<Decision>> IntoDecision for Result<D, Failure> {
    fn into_decision(self) -> Result<Decision, Failure> {
        self.map(Into::into)
    }
}
