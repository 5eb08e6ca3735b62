//! The roles, and what they let a user do.

/// Every action, with the type of what it is done on.
pub(crate) const ACTIONS: [(&str, &str); 5] = [
    ("can_read_user", "user"),
    ("can_read_todos", "todo"),
    ("can_create_todo", "todo"),
    ("can_update_todo", "todo"),
    ("can_delete_todo", "todo"),
];

/// What somebody wants to do.
pub(crate) struct Wish<'a> {
    pub(crate) action: &'a str,
    /// The type of the resource.
    pub(crate) kind: &'a str,
    pub(crate) owner: Option<&'a str>,
}

/// The first of the user's roles that lets them do it.
pub(crate) fn granting<'a>(id: &str, roles: &'a [String], wish: &Wish<'_>) -> Option<&'a str> {
    if !ACTIONS.contains(&(wish.action, wish.kind)) {
        return None;
    }
    let owns = wish.owner == Some(id);
    roles.iter().map(String::as_str).find(|role| has(role, wish.action, owns))
}

fn has(role: &str, action: &str, owns: bool) -> bool {
    match action {
        "can_read_user" | "can_read_todos" => ["viewer", "editor", "admin", "evil_genius"].contains(&role),
        "can_create_todo" => is_editor(role),
        "can_update_todo" => role == "evil_genius" || owns && is_editor(role),
        "can_delete_todo" => role == "admin" || owns && is_editor(role),
        _ => false,
    }
}

/// Whether the role has all that an editor has.
fn is_editor(role: &str) -> bool {
    ["editor", "admin", "evil_genius"].contains(&role)
}
