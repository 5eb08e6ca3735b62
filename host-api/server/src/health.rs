//! How this server does in detail: what is loaded, what was refused, and what is wrong, each with what to do.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use verdict::core::time::Timestamp;
use verdict::{Host, PolicyStatus, Quarantined, Readings};

use crate::access::{Principal, now};
use crate::api::{Answer, Asked};
use crate::error::ApiError;
use crate::routes::App;

/// What ends sooner than this is about to end: milliseconds. Three days, so that a weekend does not hide it.
const SOON_MS: i64 = 72 * 60 * 60 * 1_000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Wrong {
    code: &'static str,
    /// Since when; not said where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// For those who look after the whole server: it may name files, documents and addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What to do.
    remedy: &'static str,
}

impl Wrong {
    fn new(code: &'static str, since: Option<Timestamp>, detail: impl Into<String>) -> Self {
        Self { code, since, detail: Some(detail.into()), remedy: remedy(code) }
    }
}

/// What to do about each.
fn remedy(code: &str) -> &'static str {
    match code {
        "log-failed" => {
            "nothing is decided that cannot be recorded: make room on the disk, or mend it, and start the server again; \
             what was answered before is in the log"
        }
        "access-log-failed" => {
            "no change is allowed that cannot be recorded: make room on the disk, or mend it, and start the server again"
        }
        "registry-unreachable" => {
            "what is loaded goes on for as long as its documents hold: see to the network, or to the registry that is \
             followed"
        }
        "catalogue-unreachable" => {
            "nothing can be administered: see to the database of the registry that is served"
        }
        "reading-failed" => "what was loaded before goes on: mend what the detail names, and send SIGHUP",
        "access-reading-failed" => {
            "the access policy that was loaded before goes on: mend what the detail names, and send SIGHUP"
        }
        "expired" => "it does not hold any more: sign the next version and put it where this one is",
        "expires-soon" => "sign the next version, with a later end, and put it where this one is",
        "old-certificate" => "the certificate before goes on: mend the files that the server's log names",
        "quarantined" => "what was refused does not answer: see `quarantined` for each with its reason",
        "no-policies" => "nothing can be asked: put a signed policy where this server looks, and send SIGHUP",
        _ => "the server is about to stop: ask another",
    }
}

/// How this server does: what is loaded, refused and wrong, since when, and what to do; the log; the budgets in force. A
/// caller of one tenant is told of its own policies and budget, and what is wrong without the details.
#[utoipa::path(get, path = "/health/details", tag = "health", operation_id = "read_health",
    responses((status = 200, description = "how it does", body = Object)))]
pub(crate) async fn details(State(app): State<Arc<App>>, asked: Asked) -> Result<Answer, ApiError> {
    let principal = &asked.principal;
    let is_for_all = principal.tenant().is_none();
    let mut wrong = wrong(&app, principal).await;
    if !is_for_all {
        wrong.iter_mut().for_each(|wrong| wrong.detail = None);
    }
    let status = match (app.is_ready().await, wrong.is_empty()) {
        (false, _) => "unready",
        (true, false) => "degraded",
        (true, true) => "ready",
    };
    let mut body = json!({
        "status": status, "version": env!("CARGO_PKG_VERSION"), "began": app.began, "wrong": wrong,
        "budgets": budgets(&app, principal),
    });
    let Some(members) = body.as_object_mut() else { return Ok(Answer::ok(&body)) };
    if let Ok(host) = app.host() {
        let policies = host.policies().into_iter().filter(|policy| principal.is_for(policy.name.tenant()));
        members.insert("policies".into(), policies.map(policy).collect());
    }
    if is_for_all {
        members.extend(whole(&app));
    }
    Ok(Answer::ok(&body))
}

/// What is no tenant's own.
fn whole(app: &App) -> Vec<(String, Value)> {
    let traffic = &app.condition.traffic;
    let ((connections, connections_max), (requests, requests_max)) =
        (traffic.connections(), traffic.requests());
    let mut members = vec![(
        "under_way".to_owned(),
        json!({
            "connections": connections, "connections_max": connections_max,
            "requests": requests, "requests_max": requests_max,
            "long_evaluations": app.long_evaluations_under_way(),
            "long_evaluations_max": app.long_evaluations_max,
        }),
    )];
    let documents =
        app.ends().into_iter().map(|(document, until)| json!({"document": document, "until": until}));
    members.push(("documents".into(), documents.collect()));
    if let Some(readings) = app.access.readings() {
        members.push(("access".into(), json!({ "readings": told(&readings) })));
    }
    let Ok(host) = app.host() else { return members };
    members.push(("quarantined".into(), host.quarantine().into_iter().map(quarantined).collect()));
    members.push(("readings".into(), told(&host.readings())));
    let mut log = json!({ "mode": host.log().name(), "healthy": host.health().is_ok() });
    if let (Some(stats), Some(log)) = (host.log_stats(), log.as_object_mut()) {
        log.insert("entries".into(), stats.entries.into());
        log.insert("unsynced".into(), stats.unsynced.into());
        log.insert("queued_bytes".into(), stats.queued_bytes.into());
        log.insert("failed".into(), stats.failed.into());
    }
    members.push(("log".into(), log));
    members
}

fn policy(status: PolicyStatus) -> Value {
    json!({
        "policy": status.name, "version": status.version, "channel": status.channel, "sequence": status.sequence,
        "component": status.component, "data": status.data, "until": status.until, "reverted": status.is_reverted,
    })
}

fn quarantined(artifact: Quarantined) -> Value {
    let path = artifact.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let code = artifact.refusal.code;
    json!({ "artifact": path, "code": code, "message": artifact.refusal.message, "remedy": code.remedy() })
}

fn told(readings: &Readings) -> Value {
    json!({ "succeeded": readings.succeeded, "failed": readings.failed, "last": readings.last })
}

/// What is bounded: for everybody, or for the caller's tenant.
fn budgets(app: &App, principal: &Principal) -> Value {
    let budgets = app.tenancy.budgets();
    match principal.tenant() {
        Some(tenant) => json!({ "tenants": { (tenant.as_str()): budgets.of(tenant) } }),
        None => json!(*budgets),
    }
}

async fn wrong(app: &App, principal: &Principal) -> Vec<Wrong> {
    let condition = &app.condition;
    let mut wrong = Vec::new();
    if let Ok(host) = app.host() {
        of_host(host, principal, &mut wrong);
    }
    if !app.has_registry().await {
        wrong.push(Wrong::new("catalogue-unreachable", None, "the catalogue does not answer"));
    }
    if let Some((error, ago)) = app.access.log_failure() {
        wrong.push(Wrong::new("access-log-failed", before(ago), error.to_string()));
    }
    if let Some((since, why)) = app.access.readings().and_then(|readings| readings.failing) {
        wrong.push(Wrong::new("access-reading-failed", Some(since), why));
    }
    wrong.extend(app.ends().into_iter().filter_map(|(document, end)| ending(document, end, now())));
    if let Some(since) = condition.old_certificate_since() {
        wrong.push(Wrong::new("old-certificate", Some(since), "the files of the certificate cannot be used"));
    }
    if let Some(since) = condition.old_config_since() {
        wrong.push(Wrong::new("old-config", Some(since), "the settings have changed, and cannot be used"));
    }
    if let Some(since) = condition.leaving_since() {
        wrong.push(Wrong::new("leaving", Some(since), "the server was told to stop"));
    }
    wrong
}

fn of_host(host: &Host, principal: &Principal, wrong: &mut Vec<Wrong>) {
    if let Err(error) = host.health() {
        wrong.push(Wrong::new("log-failed", host.log_failed_for().and_then(before), error.to_string()));
    }
    if let Some(refusal) = host.unreachable() {
        wrong.push(Wrong::new("registry-unreachable", host.unreachable_since(), refusal.to_string()));
    }
    if let Some((since, why)) = host.readings().failing {
        wrong.push(Wrong::new("reading-failed", Some(since), why));
    }
    let policies = host.policies();
    if policies.is_empty() {
        wrong.push(Wrong::new("no-policies", None, "no policy is loaded"));
    }
    // What was refused has no tenant that could be believed.
    let refused = host.quarantine().len();
    if refused > 0 && principal.tenant().is_none() {
        wrong.push(Wrong::new("quarantined", None, format!("{refused} artifacts or documents were refused")));
    }
    let seen = policies.iter().filter(|policy| principal.is_for(policy.name.tenant()));
    if let Some(first) = seen.min_by_key(|policy| policy.until) {
        wrong.extend(ending(&format!("policy {}", first.name), first.until, now()));
    }
}

/// Something that has ended, or is about to.
fn ending(what: &str, end: Timestamp, now: Timestamp) -> Option<Wrong> {
    if end <= now {
        return Some(Wrong::new("expired", Some(end), format!("{what} ended at {end}")));
    }
    let since = Timestamp::from_millis(end.millis().saturating_sub(SOON_MS)).ok()?;
    (since <= now).then(|| Wrong::new("expires-soon", Some(since), format!("{what} ends at {end}")))
}

/// The moment that is so long ago.
fn before(ago: std::time::Duration) -> Option<Timestamp> {
    let ago = i64::try_from(ago.as_millis()).ok()?;
    Timestamp::from_millis(now().millis().saturating_sub(ago)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_within_three_days_is_told_with_the_moment_from_which_on_it_is() {
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        assert_eq!(ending("trust", at(SOON_MS + 2), at(1)), None);
        let soon = ending("trust", at(SOON_MS + 2), at(3)).unwrap();
        assert_eq!((soon.code, soon.since), ("expires-soon", Some(at(2))));
        let ended = ending("trust", at(SOON_MS), at(SOON_MS)).unwrap();
        assert_eq!((ended.code, ended.since), ("expired", Some(at(SOON_MS))));
    }
}
