//! What a tenant may use of a server, as its operator says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{PartialSchema, ToSchema};
use verdict::core::name::Tenant;

/// What one tenant may use at a time, and in a second. What is left out is not bounded but by what the whole server
/// has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Questions a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_s: Option<u64>,
    /// Fuel a second. A fault is charged its whole limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel_per_s: Option<u64>,
    /// Evaluations at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Questions that wait for one of those; more are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Bytes of the memory limits of the policies that are being evaluated, together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// The budgets of all tenants: one for those that are not named, and their own for the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// What each tenant has that is not named.
    #[serde(default)]
    #[schema(inline)]
    pub default: Budget,
    /// What these have. What is left out in one is as in `default`.
    #[serde(default)]
    #[schema(inline, value_type = BTreeMap<String, Budget>)]
    pub tenants: BTreeMap<Tenant, Budget>,
}

/// The budgets cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` of {whose} is 0; leave it out where it shall not be bounded")]
pub struct BudgetError {
    name: &'static str,
    whose: String,
}

impl Budgets {
    /// The JSON Schema of budgets.
    pub fn schema() -> serde_json::Value {
        // Made of texts and numbers: it cannot fail.
        serde_json::to_value(<Self as PartialSchema>::schema()).unwrap_or_default()
    }

    /// The same, checked: a budget of nothing would be a way to switch a tenant off that nobody looks for.
    ///
    /// # Errors
    /// When a bound is 0 (but `queue`, where nobody may wait).
    pub fn checked(self) -> Result<Self, BudgetError> {
        self.default.check("the default")?;
        for (tenant, budget) in &self.tenants {
            budget.check(&format!("tenant `{tenant}`"))?;
        }
        Ok(self)
    }

    /// What a tenant may use.
    pub(crate) fn of(&self, tenant: &Tenant) -> Budget {
        let (own, default) = (self.tenants.get(tenant), &self.default);
        let own = own.cloned().unwrap_or_default();
        Budget {
            requests_per_s: own.requests_per_s.or(default.requests_per_s),
            fuel_per_s: own.fuel_per_s.or(default.fuel_per_s),
            concurrency: own.concurrency.or(default.concurrency),
            queue: own.queue.or(default.queue),
            memory_bytes: own.memory_bytes.or(default.memory_bytes),
        }
    }
}

impl Budget {
    fn check(&self, whose: &str) -> Result<(), BudgetError> {
        let bounds = [
            ("requests_per_s", self.requests_per_s),
            ("fuel_per_s", self.fuel_per_s),
            ("concurrency", self.concurrency.map(u64::from)),
            ("memory_bytes", self.memory_bytes),
        ];
        match bounds.into_iter().find(|(_, bound)| *bound == Some(0)) {
            Some((name, _)) => Err(BudgetError { name, whose: whose.into() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_own_budget_and_the_rest_of_the_default() {
        let tenant = |name: &str| name.parse::<Tenant>().unwrap();
        let own = Budget { fuel_per_s: Some(5), ..Budget::default() };
        let budgets = Budgets {
            default: Budget { fuel_per_s: Some(1), queue: Some(2), ..Budget::default() },
            tenants: [(tenant("bank"), own)].into(),
        };
        assert_eq!(
            (budgets.of(&tenant("bank")).fuel_per_s, budgets.of(&tenant("bank")).queue),
            (Some(5), Some(2))
        );
        assert_eq!(budgets.of(&tenant("other")).fuel_per_s, Some(1));
    }

    #[test]
    fn refuses_a_budget_of_nothing() {
        let nothing = Budget { concurrency: Some(0), ..Budget::default() };
        let budgets = Budgets { tenants: [("bank".parse().unwrap(), nothing)].into(), ..Budgets::default() };
        let message = budgets.checked().unwrap_err().to_string();
        assert!(message.contains("concurrency") && message.contains("bank"), "{message}");
        let nobody_waits = Budget { queue: Some(0), ..Budget::default() };
        assert!(Budgets { default: nobody_waits, ..Budgets::default() }.checked().is_ok());
    }
}
