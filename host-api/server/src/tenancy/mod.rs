//! What each tenant uses, and what it may.
//!
//! Three nouns: a [`Budget`] is what a tenant may use, its [`Account`] what it does use, and a [`Turn`] is one
//! evaluation of it, for as long as that lasts. A tenant that asks for more than its budget is refused early, before
//! the body of its request is read, and waits in a queue of its own: what it wants is never in another's way.

mod account;
mod bucket;
mod budget;
mod usage;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::http::{HeaderName, HeaderValue, header};
use verdict::core::name::Tenant;

pub(crate) use account::{Account, Claim, Turn};
pub use budget::{Budget, BudgetError, Budgets};
pub(crate) use usage::{Refused, UsageView};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The accounts of the tenants whose policies were asked.
#[derive(Debug)]
pub(crate) struct Tenancy {
    // Written together with the accounts' own limits, while none is opened.
    budgets: ArcSwap<Budgets>,
    since: Instant,
    // Read with every question, written when a tenant is asked for the first time.
    accounts: ArcSwap<HashMap<Tenant, Arc<Account>>>,
    opening: Mutex<()>,
}

impl Tenancy {
    pub(crate) fn new(budgets: Budgets) -> Self {
        let budgets = ArcSwap::from_pointee(budgets);
        Self { budgets, since: Instant::now(), accounts: ArcSwap::default(), opening: Mutex::default() }
    }

    /// Gives every tenant another budget. What they used stays counted.
    pub(crate) fn replace(&self, budgets: Budgets) {
        let _none_is_opened = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        for (tenant, account) in self.accounts.load().iter() {
            account.limit(&budgets.of(tenant));
        }
        self.budgets.store(Arc::new(budgets));
    }

    /// The time by which rates are kept.
    pub(crate) fn now(&self) -> Duration {
        self.since.elapsed()
    }

    /// The account of a tenant that has policies here: only those are made, so that nobody fills the memory with names.
    pub(crate) fn account(&self, tenant: &Tenant) -> Arc<Account> {
        if let Some(account) = self.find(tenant) {
            return account;
        }
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = self.find(tenant) {
            return account;
        }
        let account = Arc::new(Account::new(&self.budgets.load().of(tenant), self.since));
        let mut accounts = HashMap::clone(&self.accounts.load());
        accounts.insert(tenant.clone(), Arc::clone(&account));
        self.accounts.store(Arc::new(accounts));
        account
    }

    /// The account of a tenant, if its policies were asked.
    pub(crate) fn find(&self, tenant: &Tenant) -> Option<Arc<Account>> {
        self.accounts.load().get(tenant).cloned()
    }

    /// Every account, in the order of names.
    pub(crate) fn all(&self) -> Vec<(Tenant, Arc<Account>)> {
        let accounts = self.accounts.load();
        let mut all: Vec<_> =
            accounts.iter().map(|(tenant, account)| (tenant.clone(), Arc::clone(account))).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }

    /// What each tenant may use that is not named, and those that are.
    pub(crate) fn budgets(&self) -> Arc<Budgets> {
        self.budgets.load_full()
    }

    /// Whether a tenant may ask now. What it asks is not known yet.
    ///
    /// # Errors
    /// As [`Account::enter`], for its rates.
    pub(crate) fn check(&self, tenant: &Tenant) -> Result<(), Over> {
        match self.find(tenant) {
            Some(account) => account.check(|| self.now()),
            None => Ok(()),
        }
    }
}

impl Over {
    /// When to ask again: seconds, at least one.
    pub(crate) fn wait_s(&self) -> u64 {
        self.wait.as_secs().saturating_add(u64::from(self.wait.subsec_nanos() > 0)).max(1)
    }

    /// What tells a client when to ask again: `Retry-After` (RFC 9110), `RateLimit` and `RateLimit-Policy`
    /// (draft-ietf-httpapi-ratelimit-headers).
    pub(crate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let (name, wait) = (self.what.name(), self.wait_s());
        let fields = [
            (header::RETRY_AFTER, wait.to_string()),
            (RATE_LIMIT, format!("\"{name}\";r=0;t={wait}")),
            (RATE_LIMIT_POLICY, self.what.policy(self.limit)),
        ];
        fields
            .into_iter()
            .filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?)))
            .collect()
    }
}

/// A tenant asks for more than its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over {
    pub(crate) what: Refused,
    /// The bound that was met.
    pub(crate) limit: u64,
    /// When to ask again.
    pub(crate) wait: Duration,
}
