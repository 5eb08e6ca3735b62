//! The small policy of the figures `decide.rust.*`: administrators may do everything, owners may do everything with
//! what they own, editors may also read and write. Four fields of some 80 bytes are read, by one host call.

use verdict_sdk::{Decision, Reason, Value, input};

verdict_sdk::policy! { "allow" => allow }

fn allow() -> Decision {
    let fields = input::read_many(&["/user", "/role", "/owner", "/action"]);
    let [user, role, owner, action] = fields.as_slice() else { return denied() };
    let (role, action) = (role.as_text(), action.as_text());
    if role == Some("admin") {
        return Decision::allow()
            .because(Reason::new("admin", "administrators may do everything").on("/role"));
    }
    if matches!((user, owner), (Value::Text(user), Value::Text(owner)) if user == owner) {
        return Decision::allow().because(Reason::new("owner", "the user owns it").on("/owner"));
    }
    if role == Some("editor") && matches!(action, Some("read" | "write")) {
        return Decision::allow().because(Reason::new("editor", "editors may read and write").on("/role"));
    }
    denied()
}

fn denied() -> Decision {
    Decision::deny().because(Reason::new("no-rule", "no rule allows it"))
}
