//! What this server does, as Prometheus asks for it: OpenMetrics text,
//! <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>.
//!
//! Nothing is counted for this alone: what is told is read, at each scrape, where it is kept anyway. A caller of one
//! tenant is told of its own.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use verdict::core::name::Tenant;
use verdict::{DecisionCacheCounts, Host};

use crate::api::{Asked, Problem};
use crate::error::ApiError;
use crate::routes::App;
use crate::tenancy::{Account, EVALUATION_SECONDS};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What this server has done since it began, for Prometheus: decisions, faults, fuel and time of evaluations by tenant,
/// what was refused, the decision cache, what is loaded, and the state of the log.
#[utoipa::path(get, path = "/metrics", tag = "host", operation_id = "read_metrics",
    responses((status = 200, description = "the metrics", body = String,
        content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, ApiError> {
    let accounts = app.tenancy.all();
    let accounts = accounts.into_iter().filter(|(tenant, _)| asked.principal.is_for(tenant)).collect();
    let is_for_all = asked.principal.tenant().is_none();
    let host = app.host()?.clone();
    let mut registry = Registry::with_prefix("verdict");
    registry.register_collector(Box::new(Scrape { accounts, host, is_for_all, asked }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        ApiError::of(Problem::internal())
    })?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))], text).into_response())
}

/// One scrape.
struct Scrape {
    accounts: Vec<(Tenant, Arc<Account>)>,
    host: Host,
    is_for_all: bool,
    asked: Asked,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("accounts", &self.accounts.len()).finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.decisions(&mut encoder)?;
        self.budgets(&mut encoder)?;
        self.cache(&mut encoder)?;
        if self.is_for_all { self.host(&mut encoder) } else { Ok(()) }
    }
}

/// A family's name, what it says, and what it is.
type Family = (&'static str, &'static str, MetricType);

/// Labels and a value.
type Row<'a, const N: usize> = ([(&'static str, &'a str); N], u64);

fn family<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, kind): Family,
    rows: impl IntoIterator<Item = Row<'a, N>>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    rows.into_iter().try_for_each(|(labels, value)| sample(metric.encode_family(&labels)?, kind, value))
}

fn single(encoder: &mut DescriptorEncoder<'_>, (name, help, kind): Family, value: u64) -> fmt::Result {
    sample(encoder.encode_descriptor(name, help, None, kind)?, kind, value)
}

fn sample(mut metric: MetricEncoder<'_>, kind: MetricType, value: u64) -> fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, _, f64>(&value, None),
        _ => metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX)),
    }
}

impl Scrape {
    fn decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let usage: Vec<_> =
            self.accounts.iter().map(|(tenant, account)| (tenant.as_str(), account.usage())).collect();
        let outcomes = usage.iter().flat_map(|(tenant, usage)| {
            let faults = usage.faults.values().sum::<u64>();
            let denied = usage.decisions.saturating_sub(usage.allowed).saturating_sub(faults);
            [("allow", usage.allowed), ("deny", denied), ("fault", faults)]
                .map(|(outcome, count)| ([("tenant", *tenant), ("outcome", outcome)], count))
        });
        family(encoder, ("decisions", "Decisions, by what came of them", MetricType::Counter), outcomes)?;
        let faults = usage.iter().flat_map(|(tenant, usage)| {
            usage.faults.iter().map(|(code, count)| ([("tenant", *tenant), ("code", *code)], *count))
        });
        family(encoder, ("faults", "Faults, by their code", MetricType::Counter), faults)?;
        let fuel = usage.iter().map(|(tenant, usage)| ([("tenant", *tenant)], usage.fuel));
        family(encoder, ("fuel", "Units of fuel; a fault counts its limit", MetricType::Counter), fuel)?;
        let refused = usage.iter().flat_map(|(tenant, usage)| {
            usage.refused.iter().map(|(bound, count)| ([("tenant", *tenant), ("bound", *bound)], *count))
        });
        let help = "Questions that were refused, by the bound of the tenant's budget that they met";
        family(encoder, ("refused", help, MetricType::Counter), refused)
    }

    fn budgets(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let now = |which: fn((u32, u32)) -> u32| {
            let rows = self.accounts.iter();
            rows.map(move |(tenant, account)| {
                ([("tenant", tenant.as_str())], u64::from(which(account.now())))
            })
        };
        family(encoder, ("running", "Evaluations under way", MetricType::Gauge), now(|now| now.0))?;
        family(encoder, ("waiting", "Questions in a tenant's queue", MetricType::Gauge), now(|now| now.1))?;
        let help = "The time of evaluations, without recording";
        let mut metric =
            encoder.encode_descriptor("evaluation_seconds", help, None, MetricType::Histogram)?;
        for (tenant, account) in &self.accounts {
            let (counts, sum) = account.times();
            let ends = EVALUATION_SECONDS.iter().copied().chain([f64::MAX]);
            let buckets: Vec<_> = ends.zip(counts.iter().copied()).collect();
            let labels = [("tenant", tenant.as_str())];
            let mut one = metric.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), counts.iter().sum(), &buckets, None)?;
        }
        Ok(())
    }

    fn cache(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (_, tenants) = self.host.cache_counts();
        let tenants: Vec<_> =
            tenants.iter().filter(|(tenant, _)| self.asked.principal.is_for(tenant)).collect();
        let each = |of: fn(&DecisionCacheCounts) -> u64| {
            tenants.iter().map(move |(tenant, counts)| ([("tenant", tenant.as_str())], of(counts)))
        };
        let hits = each(|counts| counts.hits);
        family(encoder, ("cache_hits", "Decisions out of the cache", MetricType::Counter), hits)?;
        let misses = each(|counts| counts.misses);
        family(encoder, ("cache_misses", "Answers that were not in the cache", MetricType::Counter), misses)?;
        let bypasses = tenants.iter().flat_map(|(tenant, counts)| {
            let named = |(reason, count): (&verdict::Bypass, &u64)| {
                ([("tenant", tenant.as_str()), ("reason", reason.name())], *count)
            };
            counts.bypasses.iter().map(named).collect::<Vec<_>>()
        });
        family(encoder, ("cache_bypasses", "Outcomes that are not cached", MetricType::Counter), bypasses)?;
        let bytes = each(|counts| counts.bytes);
        family(encoder, ("cache_bytes", "Bytes of the cache, by estimate", MetricType::Gauge), bytes)
    }

    /// What is no tenant's own.
    fn host(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (shadows, verified) = (self.host.shadow_counts(), self.host.verification_counts());
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let gauges = [
            ("policies", "Versions of policies that are loaded", count(self.host.policies().len())),
            ("quarantined", "Artifacts and documents that were refused", count(self.host.quarantine().len())),
            ("log_unsynced_records", "Records that a loss of power would take", self.host.unsynced()),
            ("log_healthy", "Whether decisions can be recorded", u64::from(self.host.health().is_ok())),
            ("registry_reachable", "Whether the registry that is followed can be read", {
                u64::from(self.host.unreachable().is_none())
            }),
        ];
        for (name, help, value) in gauges {
            single(encoder, (name, help, MetricType::Gauge), value)?;
        }
        let counters = [
            ("shadows_recorded", "Decisions of shadows", shadows.0),
            ("shadows_left_out", "Questions that no shadow was asked, since too many waited", shadows.1),
            ("resets_compared", "Evaluations that were made again in a new instance", verified.compared),
            ("resets_differed", "Those of them that came out otherwise", verified.differed),
        ];
        for (name, help, value) in counters {
            single(encoder, (name, help, MetricType::Counter), value)?;
        }
        Ok(())
    }
}
