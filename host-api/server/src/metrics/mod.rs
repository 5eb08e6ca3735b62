//! What this server does, as Prometheus asks for it: OpenMetrics text,
//! <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>.
//!
//! Nothing is counted for this alone: what is told is read, at each scrape, where it is kept anyway. A caller of one
//! tenant is told of its own.

mod whole;

use std::collections::BTreeMap;
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
use verdict::core::time::Timestamp;
use verdict::{DecisionCacheCounts, Host};

use crate::api::{Asked, Problem};
use crate::error::ApiError;
use crate::routes::App;
use crate::tenancy::Account;
use crate::times::Timed;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What this server has done since it began, for Prometheus: decisions, faults, fuel and time of evaluations by tenant,
/// what was refused, the decision cache, what is loaded and until when it holds, requests and connections, and the state
/// of the log.
#[utoipa::path(get, path = "/metrics", tag = "host", operation_id = "read_metrics",
    responses((status = 200, description = "the metrics", body = String,
        content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, ApiError> {
    let accounts = app.tenancy.all();
    let accounts = accounts.into_iter().filter(|(tenant, _)| asked.principal.is_for(tenant)).collect();
    let host = app.host()?.clone();
    let mut registry = Registry::with_prefix("verdict");
    registry.register_collector(Box::new(Scrape { app, accounts, host, asked }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        ApiError::of(Problem::internal())
    })?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))], text).into_response())
}

/// One scrape. What has labels has no more rows than there are tenants with policies here, times what the other labels
/// can be, which is fixed: codes of faults, bounds, reasons, protocols.
struct Scrape {
    app: Arc<App>,
    accounts: Vec<(Tenant, Arc<Account>)>,
    host: Host,
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
        self.ends_of_policies(&mut encoder)?;
        if self.asked.principal.tenant().is_some() {
            return Ok(());
        }
        self.loaded(&mut encoder)?;
        self.log(&mut encoder)?;
        self.documents(&mut encoder)?;
        self.traffic(&mut encoder)
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

/// Moments, as seconds since 1970.
fn moments<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&'static str, &'static str),
    rows: impl IntoIterator<Item = ([(&'static str, &'a str); N], Timestamp)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    rows.into_iter().try_for_each(|(labels, moment)| {
        let seconds = std::time::Duration::from_millis(moment.millis().try_into().unwrap_or_default());
        metric.encode_family(&labels)?.encode_gauge(&seconds.as_secs_f64())
    })
}

fn histogram<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&'static str, &'static str),
    rows: impl IntoIterator<Item = ([(&'static str, &'a str); 1], Timed)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    rows.into_iter().try_for_each(|(labels, timed)| {
        let (sum, count) = (timed.sum.as_secs_f64(), timed.count());
        metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &timed.ranges, None)
    })
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
        let bounds = self.accounts.iter().flat_map(|(tenant, account)| {
            let named = |(bound, value)| ([("tenant", tenant.as_str()), ("bound", bound)], value);
            account.bounds().into_iter().map(named).collect::<Vec<_>>()
        });
        let help = "What a tenant's budget allows, where it is bounded";
        family(encoder, ("budget", help, MetricType::Gauge), bounds)?;
        let times =
            self.accounts.iter().map(|(tenant, account)| ([("tenant", tenant.as_str())], account.times()));
        histogram(encoder, ("evaluation_seconds", "The time of evaluations, without recording"), times)
    }

    /// The first moment at which one of a tenant's policies does not hold any more.
    fn ends_of_policies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut ends = BTreeMap::new();
        for policy in self.host.policies() {
            if self.asked.principal.is_for(policy.name.tenant()) {
                let end = ends.entry(policy.name.tenant().clone()).or_insert(policy.until);
                *end = policy.until.min(*end);
            }
        }
        let rows = ends.iter().map(|(tenant, end)| ([("tenant", tenant.as_str())], *end));
        moments(
            encoder,
            ("policy_expires_timestamp_seconds", "When the first of a tenant's policies ends"),
            rows,
        )
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
}
