//! Whose answers are cached, as `verdict serve` is told.

use verdict::CacheConfig;
use verdict_core::name::PolicyName;

/// The decision cache.
#[derive(clap::Args)]
pub(crate) struct CacheArgs {
    /// Cache the answers of this policy: a question in which it would read nothing else is answered without asking it
    /// again, and recorded as any. Worth it where an evaluation costs more than a few microseconds; may be repeated
    #[arg(long, value_name = "TENANT/POLICY")]
    cache_policy: Vec<PolicyName>,
    /// Bytes for all cached answers; each tenant gets the same part
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20, requires = "cache_policy")]
    cache_bytes: u64,
    /// The most that one tenant gets of it
    #[arg(long, value_name = "BYTES", requires = "cache_policy")]
    cache_bytes_per_tenant: Option<u64>,
}

impl CacheArgs {
    /// None where nothing is cached.
    pub(crate) fn config(self) -> Option<CacheConfig> {
        let config = CacheConfig {
            policies: self.cache_policy.into_iter().collect(),
            bytes_max: self.cache_bytes,
            bytes_max_per_tenant: self.cache_bytes_per_tenant,
        };
        Some(config).filter(|config| !config.policies.is_empty())
    }
}
