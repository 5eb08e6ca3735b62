//! Role-based access: users have roles, roles have grants, a grant is an action on a type of object.
//!
//! The users and the grants are the tenant's data, in the shape of OPA's role-based example (`user_roles`,
//! `role_grants`); the question is `{"user", "action", "type"}`. `peer.rego` is the same policy for OPA, `data.json` data
//! for both, so that one benchmark can ask them the same questions. The role `admin` may do everything. A user who is
//! not in the data is denied; data that is not there at all is a failure, so that a wrong deployment is not taken for
//! a denial.
//!
//! Nothing is parsed: the rule reads three fields of the input, the user's roles, and the grants of those roles until
//! one fits. The read set of a decision is thus short, and its component small.

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
        if grants(role, &question) {
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
    let of_user = Pointer::to("user_roles").child(user);
    match data::read(&of_user) {
        Value::Array(count) => texts((0..count).map(|index| of_user.clone().index(index))),
        Value::Absent if matches!(data::read("/user_roles"), Value::Object(_)) => Ok(Vec::new()),
        _ => Err(Failure::missing_data("missing-data", "the roles of the user are not a list").at(of_user)),
    }
}

fn grants(role: &str, question: &Question) -> bool {
    let of_role = Pointer::to("role_grants").child(role);
    let Value::Array(count) = data::read(&of_role) else { return false };
    let pointers: Vec<Pointer> = (0..count)
        .map(|index| of_role.clone().index(index))
        .flat_map(|grant| [grant.clone().child("action"), grant.child("type")])
        .collect();
    let values = data::read_many(&pointers.iter().map(|pointer| &**pointer).collect::<Vec<&str>>());
    values.chunks(2).any(|grant| match grant {
        [action, kind] => {
            action.as_text() == Some(&question.action) && kind.as_text() == Some(&question.kind)
        }
        _ => false,
    })
}

fn texts(pointers: impl Iterator<Item = Pointer>) -> Result<Vec<String>, Failure> {
    let pointers: Vec<Pointer> = pointers.collect();
    let values = data::read_many(&pointers.iter().map(|pointer| &**pointer).collect::<Vec<&str>>());
    values
        .into_iter()
        .zip(pointers)
        .map(|(value, pointer)| match value {
            Value::Text(text) => Ok(text),
            _ => Err(Failure::missing_data("missing-data", "a role must be a string").at(pointer)),
        })
        .collect()
}
