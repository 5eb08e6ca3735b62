//! Kubernetes admission: six rules on pods, with the semantics of the Gatekeeper library's policies of the same names,
//! and one that changes pods.
//!
//! The input is `{"request": …, "parameters": …}`: the request of an `AdmissionReview`, and the `spec.parameters` of a
//! constraint. A review that comes from a cluster has none: then they are those of the rule in the tenant's data, at
//! `/admission_parameters/RULE`, if any are there. The answer is `{"allow": …}` with one reason for each violation, which points at the
//! field. A policy reads the operation and the pod's `spec`, no more: what else is in the review stays unread.
//!
//! As there: an `UPDATE` passes all rules but `allowed-repos`, since a running pod cannot change these fields; init and
//! ephemeral containers count like others; `exemptImages` are names, or prefixes that end in `*`; which objects a rule
//! is asked about (a constraint's `match`) is decided by the caller. Stricter than there: a parameter that a rule needs
//! and does not get (`ranges`, `repos`) allows nothing, and `null` is absence.
//!
//! `default-seccomp-profile` denies nothing; its answer may have a `patch` (JSON Patch), for a mutating webhook.

mod defaults;
mod pod;
mod rules;
mod users;

use pod::{Parameters, Place, Spec, containers};
use verdict_sdk::{Decision, Failure, Pointer, Reason, Value, data, input};

verdict_sdk::policy! {
    "privileged-containers" => privileged_containers,
    "host-namespaces" => host_namespaces,
    "host-filesystem" => host_filesystem,
    "users" => users,
    "allow-privilege-escalation" => allow_privilege_escalation,
    "allowed-repos" => allowed_repos,
    "default-seccomp-profile" => default_seccomp_profile,
}

fn privileged_containers() -> Result<Decision, Failure> {
    unless_update("privileged-containers", &rules::privileged_containers)
}

fn host_namespaces() -> Result<Decision, Failure> {
    unless_update("host-namespaces", &|spec, _| rules::host_namespaces(spec))
}

fn host_filesystem() -> Result<Decision, Failure> {
    unless_update("host-filesystem", &rules::host_filesystem)
}

fn users() -> Result<Decision, Failure> {
    unless_update("users", &|spec, parameters| {
        let is_pod = input::read("/request/kind/kind").as_text() == Some("Pod");
        users::users(spec, parameters, is_pod)
    })
}

fn allow_privilege_escalation() -> Result<Decision, Failure> {
    unless_update("allow-privilege-escalation", &rules::allow_privilege_escalation)
}

fn allowed_repos() -> Result<Decision, Failure> {
    judge("allowed-repos", &rules::allowed_repos)
}

fn default_seccomp_profile() -> Result<Decision, Failure> {
    reviewed()?;
    defaults::seccomp_profile()
}

/// From a pod and the parameters to violations.
type Violations<'a> = &'a dyn Fn(&Spec, &Parameters) -> Vec<Reason>;

fn unless_update(rule: &str, violations: Violations<'_>) -> Result<Decision, Failure> {
    if input::read("/request/operation").as_text() == Some("UPDATE") {
        return Ok(Decision::object(true));
    }
    judge(rule, violations)
}

fn judge(rule: &str, violations: Violations<'_>) -> Result<Decision, Failure> {
    reviewed()?;
    let spec = input::parse_optional("/request/object/spec")?.unwrap_or_default();
    let reasons = violations(&spec, &parameters(rule)?);
    Ok(Decision::object(reasons.is_empty()).because_all(reasons))
}

fn reviewed() -> Result<(), Failure> {
    if matches!(input::read("/request"), Value::Object(_)) {
        return Ok(());
    }
    Err(Failure::invalid_input("no-request", "`request` must be that of an AdmissionReview").at("/request"))
}

/// The parameters of the question, else those of the tenant.
fn parameters(rule: &str) -> Result<Parameters, Failure> {
    if let Some(parameters) = input::parse_optional("/parameters")? {
        return Ok(parameters);
    }
    let place = Pointer::to("admission_parameters").child(rule);
    Ok(data::parse_optional(&place)?.unwrap_or_default())
}

/// A violation of a container: its reason says the place and names the container.
fn of_container(code: &str, message: &str, place: &Place<'_>, field: &str) -> Reason {
    let name = place.container.name.as_deref().unwrap_or_default();
    Reason::new(code, ["container `", name, "`: ", message].concat()).on([&place.pointer(), field].concat())
}

/// The violations of those containers whose image no exemption matches.
fn of_each<R>(spec: &Spec, parameters: &Parameters, check: impl Fn(&Place<'_>) -> R) -> Vec<Reason>
where
    R: IntoIterator<Item = Reason>,
{
    containers(spec).filter(|place| !parameters.exempts(place.container)).flat_map(|it| check(&it)).collect()
}
