//! What Kubernetes is told of a decision.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use verdict::Decision;
use verdict::core::outcome::{Answer, Fault, Reason};
use verdict::core::patch::{PatchLimits, apply_patch};

use crate::error::{ApiError, fault_status};

/// The version that is spoken.
pub(super) const VERSION: &str = "admission.k8s.io/v1";
/// The annotation with the decision's id.
const DECISION_ID: &str = "verdict-decision-id";
/// How much of a warning Kubernetes shows, in characters.
const WARNING_CHARS_MAX: usize = 256;
/// How much of all warnings together, in characters.
const WARNINGS_CHARS_MAX: usize = 4_096;
/// The longest message of a denial, in characters; all reasons are in its causes, too.
const MESSAGE_CHARS_MAX: usize = 4_096;
/// The longest name of an annotation, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// A review as it goes back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Review<'a> {
    api_version: &'a str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<String, String>,
}

/// A `Status` of Kubernetes, which its client is shown.
#[derive(Debug, Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Details::is_empty")]
    details: Details,
}

#[derive(Debug, Default, Serialize)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Debug, Serialize)]
struct Cause {
    reason: String,
    message: String,
}

impl Details {
    fn is_empty(&self) -> bool {
        self.causes.is_empty()
    }
}

/// The members of a policy's value that mean something here.
#[derive(Default, Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    patch: Option<&'a RawValue>,
    warnings: Option<Value>,
    audit_annotations: Option<Value>,
}

impl<'a> Review<'a> {
    fn new(api_version: &'a str, uid: &'a str, status: Option<Status>) -> Self {
        let response = Response {
            uid,
            allowed: status.is_none(),
            status,
            patch_type: None,
            patch: None,
            warnings: Vec::new(),
            audit_annotations: BTreeMap::new(),
        };
        Self { api_version, kind: "AdmissionReview", response }
    }

    /// The denial of what could not be decided.
    pub(super) fn of_error(api_version: &'a str, uid: &'a str, error: &ApiError) -> Self {
        let code = match error.status().as_u16() {
            // Nothing that who sends the object can mend: the webhook names another policy, rule or channel than there is.
            401..=409 => 500,
            code => code,
        };
        let message = format!("{}: {}", error.code(), error.message());
        Self::new(api_version, uid, Some(Status::new(code, &message)))
    }

    /// A decision about the object that is given as text.
    pub(super) fn of(uid: &'a str, object: Option<&str>, decision: &Decision) -> Self {
        let value = decision.result.as_ref().ok().and_then(|answer| answer.value.as_deref());
        // Of another value than an object, `allow` may be a part, but nothing else.
        let said: Said<'_> = value.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let patch = said.patch.map(RawValue::get).filter(|text| *text != "[]" && decision.allow);
        let (status, patch) = match (&decision.result, patch.map(|patch| coded(patch, object))) {
            (Err(fault), _) => (Some(Status::of_fault(fault, decision)), None),
            (Ok(answer), _) if !decision.allow => (Some(Status::of_denial(answer, decision)), None),
            (Ok(_), None) => (None, None),
            (Ok(_), Some(Ok(patch))) => (None, Some(patch)),
            (Ok(_), Some(Err(why))) => {
                let message = format!("the patch of policy `{}` cannot be used: {why}", decision.policy);
                (Some(Status::new(500, &message)), None)
            }
        };
        let mut review = Self::new(VERSION, uid, status);
        review.response.patch_type = patch.is_some().then_some("JSONPatch");
        review.response.patch = patch;
        review.response.warnings = warnings(said.warnings.as_ref());
        review.response.audit_annotations = annotations(said.audit_annotations.as_ref(), &decision.id);
        review
    }
}

impl Status {
    /// What is not a denial of the policy's.
    fn new(code: u16, message: &str) -> Self {
        let reason = match code {
            400 => "BadRequest",
            403 => "Forbidden",
            413 => "RequestEntityTooLarge",
            422 => "Invalid",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "InternalError",
        };
        let message = text(message, MESSAGE_CHARS_MAX);
        Self { code, reason, message, details: Details::default() }
    }

    fn of_denial(answer: &Answer, decision: &Decision) -> Self {
        let mut messages: Vec<&str> = answer.reasons.iter().map(|reason| reason.message.as_str()).collect();
        messages.retain(|message| !message.is_empty());
        let said = if messages.is_empty() {
            let undefined = if answer.value.is_none() { ", which says nothing about it" } else { "" };
            format!("denied by rule `{}` of policy `{}`{undefined}", decision.rule, decision.policy)
        } else {
            messages.join("; ")
        };
        let cause = |reason: &Reason| Cause { reason: reason.code.clone(), message: reason.message.clone() };
        let details = Details { causes: answer.reasons.iter().map(cause).collect() };
        Self { details, ..Self::new(403, &said) }
    }

    fn of_fault(fault: &Fault, decision: &Decision) -> Self {
        let Decision { policy, rule, id, .. } = decision;
        let (code, message) = (fault.code.code(), &fault.message);
        let message =
            format!("rule `{rule}` of policy `{policy}` has no answer: {code}: {message} (decision {id})");
        Self::new(fault_status(fault).as_u16(), &message)
    }
}

/// The patch as Kubernetes takes it, once it was tried on the object.
fn coded(patch: &str, object: Option<&str>) -> Result<String, String> {
    let Some(object) = object else { return Err("there is no object to change".into()) };
    apply_patch(object, patch, &PatchLimits::default()).map_err(|error| error.to_string())?;
    Ok(STANDARD.encode(patch))
}

/// As many warnings as Kubernetes shows, and as much of each.
fn warnings(said: Option<&Value>) -> Vec<String> {
    let said = said.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut left = WARNINGS_CHARS_MAX;
    said.map(|warning| text(warning, WARNING_CHARS_MAX))
        .take_while(|warning| {
            let chars = warning.chars().count();
            let fits = chars <= left;
            left = left.saturating_sub(chars);
            fits
        })
        .collect()
}

/// Text that fits into a header: Kubernetes shows no other.
fn text(said: &str, chars_max: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    said.chars().map(plain).take(chars_max).collect()
}

/// The annotations of the audit log. Kubernetes puts the webhook's name and `/` before each name, and drops those that are
/// then no qualified name; so they are dropped here.
fn annotations(said: Option<&Value>, decision: &str) -> BTreeMap<String, String> {
    let said = said.and_then(Value::as_object).into_iter().flatten();
    let mut all: BTreeMap<String, String> = said
        .filter(|(name, _)| is_name(name))
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    all.insert(DECISION_ID.into(), decision.into());
    all
}

fn is_name(text: &str) -> bool {
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= NAME_BYTES_MAX
        && is_end(text.bytes().next())
        && is_end(text.bytes().last())
        && text.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn warnings_are_as_long_as_kubernetes_shows_them() {
        let long = "é".repeat(300);
        let shown = warnings(Some(&json!(["a\nb", 7, long])));
        assert_eq!(shown, ["a b".to_owned(), "é".repeat(256)]);
        assert_eq!(warnings(Some(&json!(vec![long; 20]))).len(), 16);
        assert_eq!(warnings(Some(&json!("no list"))), [""; 0]);
    }

    #[test]
    fn annotations_have_names_that_kubernetes_takes() {
        let long = "n".repeat(64);
        let said = json!({ "ok_1.a": "yes", "a/b": "no", "-a": "no", "": "no", long: "no", "number": 1,
            "verdict-decision-id": "forged" });
        let expected =
            [("ok_1.a", "yes"), (DECISION_ID, "d-1")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(annotations(Some(&said), "d-1"), expected.into());
    }

    #[test]
    fn a_patch_must_be_one_and_fit_the_object() {
        let object = Some(r#"{"spec": {}}"#);
        let good = r#"[{"op": "add", "path": "/spec/a", "value": null}]"#;
        assert_eq!(coded(good, object).unwrap(), STANDARD.encode(good));
        for (patch, object) in [
            (good, None),
            (good, Some("null")),
            (r#"{"op": "add", "path": "/spec/a", "value": 1}"#, object),
            (r#"[{"op": "add", "path": "/spec/a"}]"#, object),
            (r#"[{"op": "put", "path": "/spec/a", "value": 1}]"#, object),
            (r#"[{"op": "add", "path": "spec/a", "value": 1}]"#, object),
            (r#"[{"op": "add", "path": "/other/a", "value": 1}]"#, object),
            ("[7]", object),
            ("null", object),
        ] {
            assert!(coded(patch, object).is_err(), "{patch}");
        }
    }
}
