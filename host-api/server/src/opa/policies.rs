//! Policies, as OPA lists modules of Rego. They are components, which come signed: nothing is written here.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use verdict::PolicyStatus;

use super::answer::json_of;
use super::call::Call;
use super::refused::Refused;

/// What there is to say of policies in OPA's form, each once. Of several versions that are loaded, the first that
/// answers.
pub(crate) fn listed(policies: &[PolicyStatus]) -> Vec<Value> {
    let mut listed: Vec<&PolicyStatus> = Vec::new();
    for status in policies.iter().filter(|status| status.weight.is_some()) {
        if listed.last().is_none_or(|last| last.name != status.name) {
            listed.push(status);
        }
    }
    listed.into_iter().map(module).collect()
}

/// A module whose tree has the package and the names of its rules, and whose source is a comment.
fn module(status: &PolicyStatus) -> Value {
    let rules =
        status.manifest.rules.iter().map(
            |rule| json!({ "head": { "name": rule.name, "ref": [{ "type": "var", "value": rule.name }] } }),
        );
    let package = status.name.name().replace('-', "_");
    json!({
        "id": status.name,
        "raw": format!("# {} {} is a component of WebAssembly, {}\n", status.name, status.version, status.component),
        "ast": {
            "package": { "path": [{ "type": "var", "value": "data" }, { "type": "string", "value": package }] },
            "rules": rules.collect::<Vec<_>>(),
        },
    })
}

fn of_tenant(call: &Call, tenant: &str) -> Result<Vec<Value>, Refused> {
    let mut policies = call.host()?.policies();
    policies.retain(|status| {
        status.name.tenant().as_str() == tenant && call.principal.is_for(status.name.tenant())
    });
    Ok(listed(&policies))
}

/// `GET /v1/policies`, of one tenant.
pub(super) fn list(call: &Call) -> Result<Response, Refused> {
    let listed = of_tenant(call, call.tenant.as_str())?;
    Ok(json_of(StatusCode::OK, &json!({ "result": listed }), &call.query))
}

/// `GET /v1/policies/{id}`: by its name, with or without its tenant's.
pub(super) fn read(call: &Call) -> Result<Response, Refused> {
    let id = call.place.parts().join("/");
    let whole = if id.contains('/') { id.clone() } else { format!("{}/{id}", call.tenant) };
    let tenant = whole.split('/').next().unwrap_or_default();
    let found = of_tenant(call, tenant)?.into_iter().find(|module| module["id"] == *whole);
    let found =
        found.ok_or_else(|| Refused::not_found(format!("storage_not_found_error: policy id {id:?}")))?;
    Ok(json_of(StatusCode::OK, &json!({ "result": found }), &call.query))
}

/// `PUT` and `DELETE` of `/v1/policies/{id}`.
pub(super) fn write(call: &Call) -> Refused {
    let id = call.place.parts().join("/");
    Refused::invalid(format!(
        "policy {id} is not written here: policies are components that their authors sign; build it with `verdict \
         build`, sign it with `verdict sign`, and bring it to the registry with `verdict push`, or to the folder that \
         is served"
    ))
}
