//! What a new pod gets that does not say it itself.

use serde::Serialize;
use verdict_sdk::{Decision, Failure, Value, input};

/// What a pod gets, as Kubernetes writes the places of fields.
const PLACE: &str = "spec.securityContext.seccompProfile";

#[derive(Serialize)]
struct Changed {
    allow: bool,
    patch: [Addition; 1],
    audit_annotations: Annotations,
}

#[derive(Serialize)]
struct Addition {
    op: &'static str,
    path: &'static str,
    value: Added,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Added {
    Profile(Profile),
    Context {
        #[serde(rename = "seccompProfile")]
        profile: Profile,
    },
}

#[derive(Serialize)]
struct Profile {
    r#type: &'static str,
}

#[derive(Serialize)]
struct Annotations {
    defaulted: &'static str,
}

/// The container runtime's own profile, which forbids what containers do not need. Only for new pods: those that run
/// cannot be changed. Not for Windows, which has no such thing, and where the API server refuses it.
pub(crate) fn seccomp_profile() -> Result<Decision, Failure> {
    let mut read = input::read_many(&[
        "/request/object/spec",
        "/request/object/spec/os/name",
        "/request/object/spec/securityContext",
        "/request/object/spec/securityContext/seccompProfile",
    ])
    .into_iter();
    let mut next = || read.next().unwrap_or(Value::Absent);
    let (spec, os, context, profile) = (next(), next(), next(), next());
    let is_free = |value: &Value| matches!(value, Value::Absent | Value::Null);
    let has_room = matches!(spec, Value::Object(_)) && is_free(&profile);
    if !is_new_pod() || !has_room || os.as_text() == Some("windows") {
        return Ok(Decision::object(true));
    }
    let profile = Profile { r#type: "RuntimeDefault" };
    let (path, value) = if is_free(&context) {
        ("/spec/securityContext", Added::Context { profile })
    } else {
        ("/spec/securityContext/seccompProfile", Added::Profile(profile))
    };
    Decision::value(&Changed {
        allow: true,
        patch: [Addition { op: "add", path, value }],
        audit_annotations: Annotations { defaulted: PLACE },
    })
}

fn is_new_pod() -> bool {
    let pointers =
        ["/request/operation", "/request/kind/group", "/request/kind/kind", "/request/subResource"];
    let read = input::read_many(&pointers);
    let expected = ["CREATE", "", "Pod", ""];
    read.iter().zip(expected).all(|(value, expected)| value.as_text().unwrap_or_default() == expected)
}
