//! What there is to say of the server itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use verdict::Host;

use super::answer::json_of;
use super::call::Call;
use super::default::DefaultDecision;
use super::query::Query;
use super::refused::Refused;
use crate::routes::App;

/// What OPA calls plugins here: whether policies came, and whether decisions can be recorded.
fn plugins(host: &Host) -> BTreeMap<&'static str, bool> {
    let has_policies = !host.policies().is_empty();
    BTreeMap::from([
        ("bundle", has_policies && host.unreachable().is_none()),
        ("decision_logs", host.health().is_ok()),
    ])
}

/// `GET /health`: whether policies can be asked; with `bundles`, whether there are any; with `plugins`, whether what
/// brings them and what records decisions is well.
pub(super) fn health(app: &Arc<App>, query: &Query) -> Response {
    let wrong = match app.host() {
        Err(error) => Some(error.message().to_owned()),
        Ok(host) if host.health().is_err() => Some("decisions cannot be recorded".into()),
        Ok(host) if query.bundles && host.policies().is_empty() => {
            Some("one or more bundles are not activated".into())
        }
        Ok(host) if query.plugins => {
            let is_wrong = |(name, is_well): (&str, bool)| {
                !is_well && !query.excluded.iter().any(|excluded| excluded == name)
            };
            plugins(host).into_iter().any(is_wrong).then(|| "one or more plugins are not up".into())
        }
        Ok(_) => None,
    };
    match wrong {
        None => json_of(StatusCode::OK, &json!({}), query),
        Some(error) => json_of(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error }), query),
    }
}

/// `GET /v1/status`: each policy of the tenant as a bundle.
pub(super) fn status(call: &Call) -> Result<Response, Refused> {
    let host = call.host()?;
    let mut bundles = serde_json::Map::new();
    for status in host.policies() {
        if status.name.tenant() == &call.tenant && status.weight.is_some() {
            let revision = format!("{}@{}", status.version, status.component);
            let name = status.name.to_string();
            bundles
                .entry(name.clone())
                .or_insert_with(|| json!({ "name": name, "active_revision": revision }));
        }
    }
    let state = |is_well| if is_well { "OK" } else { "ERROR" };
    let plugins: BTreeMap<_, Value> =
        plugins(host).into_iter().map(|(name, is_well)| (name, json!({ "state": state(is_well) }))).collect();
    let result = json!({ "labels": labels(), "bundles": bundles, "plugins": plugins });
    Ok(json_of(StatusCode::OK, &json!({ "result": result }), &call.query))
}

/// `GET /v1/config`: what OPA's own configuration has of what is configured here.
pub(super) fn config(call: &Call) -> Response {
    let chosen = call.app.opa_default.as_ref().filter(|default| default.tenant() == &call.tenant);
    let place = chosen.map_or_else(DefaultDecision::nothing, DefaultDecision::place);
    let result = json!({ "default_decision": format!("/{}", place.parts().join("/")), "labels": labels() });
    json_of(StatusCode::OK, &json!({ "result": result }), &call.query)
}

fn labels() -> Value {
    json!({ "version": env!("CARGO_PKG_VERSION") })
}
