//! A shared list of todos, asked through AuthZEN: the scenario of the OpenID working group's interoperability tests.
//!
//! The input is an AuthZEN request, as it came. The rule `evaluation` says whether a subject may do an action on a
//! resource; `search-subject`, `search-resource` and `search-action` say who, on what, and which. All four ask the same
//! function (`roles.rs`), so that whatever a search finds is what an evaluation allows.
//!
//! Users with their roles, and todos with their owners, are the tenant's data (`todo_users`, `todos`; `data.json` is an
//! example). A subject is named by the key of a user or by the user's own `id`, an address. Who owns a todo, the
//! resource's property `ownerID` says, or else the data; drafts of AuthZEN had it beside the resource's `id`. Whoever is
//! not in the data is denied; data that is not there at all is a failure.
//!
//! `search-resource` pages by itself, as there may be more todos than one answer can hold: at most a hundred a page, and
//! the token is the last key that was looked at. The other two leave that to the host, as what they find is short.

mod roles;

use roles::{ACTIONS, Wish, granting};
use serde::{Deserialize, Serialize};
use verdict_sdk::{Decision, Failure, Pointer, Reason, Value, data, input};

verdict_sdk::policy! {
    "evaluation" => evaluation,
    "search-subject" => search_subject,
    "search-resource" => search_resource,
    "search-action" => search_action,
}

/// The most that one page has.
const PAGE_MAX: usize = 100;
/// What a token begins with, so that that of an empty first page is not empty.
const AFTER: &str = "after:";
const USERS: &str = "/todo_users";
const ITEMS: &str = "/todos";

#[derive(Deserialize)]
struct User {
    id: String,
    roles: Vec<String>,
}

#[derive(Deserialize)]
struct Todo {
    #[serde(rename = "ownerID")]
    owner: String,
}

#[derive(Serialize)]
struct Verdict<'a> {
    allow: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Granted<'a>>,
}

#[derive(Serialize)]
struct Granted<'a> {
    role: &'a str,
}

#[derive(Serialize)]
struct Found<T> {
    results: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<Page>,
}

#[derive(Serialize)]
struct Page {
    next_token: String,
}

#[derive(Serialize)]
struct Entity {
    r#type: &'static str,
    id: String,
}

#[derive(Serialize)]
struct Action {
    name: &'static str,
}

fn evaluation() -> Result<Decision, Failure> {
    let (action, kind) = (input::text("/action/name")?, input::text("/resource/type")?);
    let Some(user) = subject()? else {
        let reason = Reason::new("unknown-subject", "no user is known by this id").on("/subject/id");
        return Ok(Decision::value(&Verdict { allow: false, context: None })?.because(reason));
    };
    let owner = owner(&kind)?;
    let wish = Wish { action: &action, kind: &kind, owner: owner.as_deref() };
    match granting(&user.id, &user.roles, &wish) {
        Some(role) => {
            let reason = Reason::new("granted", ["granted by the role `", role, "`"].concat());
            let verdict = Verdict { allow: true, context: Some(Granted { role }) };
            Ok(Decision::value(&verdict)?.because(reason.on("/subject/id").on("/action/name")))
        }
        None => {
            let reason = Reason::new("not-granted", "none of the user's roles lets them do this");
            let verdict = Verdict { allow: false, context: None };
            Ok(Decision::value(&verdict)?.because(reason.on("/subject/id").on("/action/name")))
        }
    }
}

fn search_subject() -> Result<Decision, Failure> {
    let (action, kind) = (input::text("/action/name")?, input::text("/resource/type")?);
    let mut results = Vec::new();
    if input::text("/subject/type")? == "user" {
        let owner = owner(&kind)?;
        let wish = Wish { action: &action, kind: &kind, owner: owner.as_deref() };
        for key in keys(USERS)? {
            let user: User = data::parse(&Pointer::to("todo_users").child(&key))?;
            if granting(&user.id, &user.roles, &wish).is_some() {
                results.push(Entity { r#type: "user", id: key });
            }
        }
    }
    Decision::value(&Found { results, page: None })
}

fn search_action() -> Result<Decision, Failure> {
    let kind = input::text("/resource/type")?;
    let (user, owner) = (subject()?, owner(&kind)?);
    let may = |name: &&'static str| {
        let wish = Wish { action: name, kind: &kind, owner: owner.as_deref() };
        user.as_ref().is_some_and(|user| granting(&user.id, &user.roles, &wish).is_some())
    };
    let results = ACTIONS.iter().copied().filter(|(name, _)| may(name)).map(|(name, _)| Action { name });
    Decision::value(&Found { results: results.collect(), page: None })
}

fn search_resource() -> Result<Decision, Failure> {
    let (action, kind) = (input::text("/action/name")?, input::text("/resource/type")?);
    let (kind, list) = match kind.as_str() {
        "todo" => ("todo", ITEMS),
        "user" => ("user", USERS),
        // Nothing of this type is known, so nobody may do anything on it.
        _ => return Decision::value(&Found::<Entity> { results: Vec::new(), page: None }),
    };
    let Some(user) = subject()? else {
        return Decision::value(&Found::<Entity> { results: Vec::new(), page: None });
    };
    let (after, most) = page();
    let mut keys = keys(list)?;
    keys.sort_unstable();
    let mut results = Vec::new();
    let mut next_token = String::new();
    for key in keys.into_iter().filter(|key| *key > after) {
        let owner = if kind == "todo" { owner_in_data(&key)? } else { None };
        let wish = Wish { action: &action, kind, owner: owner.as_deref() };
        if granting(&user.id, &user.roles, &wish).is_none() {
            continue;
        }
        if results.len() >= most {
            let last = results.last().map_or(after.as_str(), |it: &Entity| it.id.as_str());
            next_token = [AFTER, last].concat();
            break;
        }
        results.push(Entity { r#type: kind, id: key });
    }
    Decision::value(&Found { results, page: Some(Page { next_token }) })
}

/// The key after which the page begins, empty for the first, and the most that it may have.
fn page() -> (String, usize) {
    let mut values = input::read_many(&["/page/token", "/page/limit"]).into_iter();
    let after = match values.next() {
        Some(Value::Text(token)) => token.strip_prefix(AFTER).unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let most = values.next().and_then(|value| value.as_i64()?.try_into().ok()).unwrap_or(PAGE_MAX);
    (after, most.min(PAGE_MAX))
}

/// The user who is asked about.
fn subject() -> Result<Option<User>, Failure> {
    let id = input::text("/subject/id")?;
    if input::text("/subject/type")? != "user" {
        return Ok(None);
    }
    if let Some(user) = data::parse_optional(&Pointer::to("todo_users").child(&id))? {
        return Ok(Some(user));
    }
    for key in keys(USERS)? {
        let user: User = data::parse(&Pointer::to("todo_users").child(&key))?;
        if user.id == id {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

/// Who owns the resource, where somebody does.
fn owner(kind: &str) -> Result<Option<String>, Failure> {
    if kind != "todo" {
        return Ok(None);
    }
    let said = input::read_many(&["/resource/properties/ownerID", "/resource/ownerID"]);
    let said = said.into_iter().find_map(|value| value.as_text().map(ToOwned::to_owned));
    if said.is_some() {
        return Ok(said);
    }
    owner_in_data(&input::text("/resource/id")?)
}

fn owner_in_data(todo: &str) -> Result<Option<String>, Failure> {
    let todo: Option<Todo> = data::parse_optional(&Pointer::to("todos").child(todo))?;
    Ok(todo.map(|todo| todo.owner))
}

fn keys(list: &str) -> Result<Vec<String>, Failure> {
    let missing = || Failure::missing_data("missing-data", "the tenant's data has no such list").at(list);
    data::keys(list).ok_or_else(missing)
}
