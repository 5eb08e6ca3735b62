//! Role-based access: users have roles, roles have grants, a grant is an action on a type of object.
//!
//! The users and the grants are the tenant's data, in the shape of OPA's role-based example (`user_roles`,
//! `role_grants`); the question is `{"user", "action", "type"}`. `peer.rego` is the same policy for OPA, `data.json` data
//! for both, so that one benchmark can ask them the same questions. The role `admin` may do everything. A user who is
//! not in the data is denied; data that is not there at all is a failure, so that a wrong deployment is not taken for
//! a denial.
//!
//! The rule reads three fields of the input, the user's roles, and the grants of those roles until one fits: the read
//! set of a decision is short, whatever the size of the data. Data of another form is a failure that names the place.

use std::borrow::Cow;

use serde::Deserialize;
use verdict_sdk::{Decision, Failure, Pointer, Reason, Value, data, input};

verdict_sdk::policy! { "allow" => allow }

const ADMIN: &str = "admin";

struct Question {
    user: String,
    action: String,
    kind: String,
}

fn allow() -> Result<Decision, Failure> {
    let question = question()?;
    let roles = roles(&question.user)?;
    if roles.iter().any(|role| role == ADMIN) {
        return Ok(Decision::allow().because(granted(ADMIN)));
    }
    for role in &roles {
        if grants(role, &question)? {
            return Ok(Decision::allow().because(granted(role)));
        }
    }
    let reason = match roles.len() {
        0 => Reason::new("no-role", "the user has no role").on("/user"),
        _ => Reason::new("not-granted", "none of the user's roles has this grant").on("/action").on("/type"),
    };
    Ok(Decision::deny().because(reason))
}

fn granted(role: &str) -> Reason {
    Reason::new("granted", ["granted by the role `", role, "`"].concat()).on("/user")
}

fn question() -> Result<Question, Failure> {
    let mut values = input::read_many(&["/user", "/action", "/type"]).into_iter();
    let mut text = |pointer| match values.next() {
        Some(Value::Text(text)) => Ok(text),
        _ => {
            Err(Failure::invalid_input("invalid-input", [pointer, " must be a string"].concat()).at(pointer))
        }
    };
    Ok(Question { user: text("/user")?, action: text("/action")?, kind: text("/type")? })
}

fn roles(user: &str) -> Result<Vec<String>, Failure> {
    match data::parse_optional(&Pointer::to("user_roles").child(user))? {
        Some(roles) => Ok(roles),
        None if matches!(data::read("/user_roles"), Value::Object(_)) => Ok(Vec::new()),
        None => Err(Failure::missing_data("missing-data", "there are no roles of users").at("/user_roles")),
    }
}

/// An action on a type of object. Most grants of most roles are only looked at, so they are not copied.
#[derive(Deserialize)]
struct Grant<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

fn grants(role: &str, question: &Question) -> Result<bool, Failure> {
    let of_role = Pointer::to("role_grants").child(role);
    let Some(text) = data::json(&of_role) else { return Ok(false) };
    let grants: Vec<Grant<'_>> = data::parse_text(&text, &of_role)?;
    Ok(grants.iter().any(|grant| grant.action == question.action && grant.kind == question.kind))
}
