//! What is asked by `POST /`.

use std::str::FromStr;

use verdict::core::name::{NameError, PolicyName, RuleName, Tenant};

use super::place::Place;

/// The decision that `POST /` asks for: a policy, and perhaps one rule of it.
///
/// ```
/// let default: verdict_server::DefaultDecision = "bank/loan/eligible".parse()?;
/// assert_eq!(default.to_string(), "bank/loan/eligible");
/// assert!("loan".parse::<verdict_server::DefaultDecision>().is_err());
/// # Ok::<(), verdict_server::DefaultDecisionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultDecision {
    policy: PolicyName,
    rule: Option<RuleName>,
}

/// The text names no decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefaultDecisionError {
    /// It has too few parts.
    #[error("`{0}` is not a decision; expected TENANT/POLICY or TENANT/POLICY/RULE")]
    Malformed(String),
    /// One of its names is none.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for DefaultDecision {
    type Err = DefaultDecisionError;

    fn from_str(text: &str) -> Result<Self, DefaultDecisionError> {
        let mut parts = text.splitn(3, '/');
        let (Some(tenant), Some(policy)) = (parts.next(), parts.next()) else {
            return Err(DefaultDecisionError::Malformed(text.chars().take(160).collect()));
        };
        let rule = parts.next().map(str::parse).transpose()?;
        Ok(Self { policy: PolicyName::of(tenant, policy)?, rule })
    }
}

impl std::fmt::Display for DefaultDecision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.policy)?;
        self.rule.as_ref().map_or(Ok(()), |rule| write!(f, "/{rule}"))
    }
}

impl DefaultDecision {
    pub(super) fn tenant(&self) -> &Tenant {
        self.policy.tenant()
    }

    pub(super) fn place(&self) -> Place {
        let rule = self.rule.iter().map(ToString::to_string);
        let package = self.policy.name().replace('-', "_");
        Place::of(std::iter::once(package).chain(rule).collect())
    }

    /// What OPA asks where nothing else was chosen.
    pub(super) fn nothing() -> Place {
        Place::of(vec!["system".into(), "main".into()])
    }
}
