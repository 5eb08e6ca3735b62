//! Cedar: `is_authorized` with the entities in memory and their hierarchy closed, as in its own benchmark.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};
use serde_json::{Value, json};

use crate::{Result, Round, answers, middle, note, print};

/// How often each question is asked in a row. Ours is asked as often.
const REPEATS: usize = 8;

const POLICY: &str = include_str!("gdrive.cedar");

/// Reads the questions, one a line, and answers each once.
pub(crate) fn prepare(path: &str) -> Result<Round> {
    let policies: PolicySet = POLICY.parse()?;
    let mut hierarchies: BTreeMap<u64, Entities> = BTreeMap::new();
    let mut questions = Vec::new();
    for line in std::fs::read_to_string(path)?.lines() {
        let question: Value = serde_json::from_str(line)?;
        let number = question["hierarchy"].as_u64().ok_or("a question has the number of its hierarchy")?;
        if !hierarchies.contains_key(&number) {
            hierarchies.insert(number, entities(&question["input"])?);
        }
        questions.push((number, request(&question)?));
    }
    let authorizer = Authorizer::new();
    let mut all = Vec::new();
    for (number, request) in &questions {
        let response = authorizer.is_authorized(request, &policies, &hierarchies[number]);
        all.push(response.decision() == Decision::Allow);
    }
    answers("gdrive", &all);
    note("cedar-policy 4.14.1");
    Ok(Box::new(move || {
        let mut times = Vec::with_capacity(questions.len() * REPEATS);
        for (number, request) in &questions {
            let hierarchy = &hierarchies[number];
            times.extend((0..REPEATS).map(|_| evaluate(&authorizer, request, &policies, hierarchy)));
        }
        print("peer.cedar.gdrive.p50", middle(&mut times).as_secs_f64() * 1e6, "µs");
        Ok(())
    }))
}

fn evaluate(
    authorizer: &Authorizer,
    request: &Request,
    policies: &PolicySet,
    entities: &Entities,
) -> Duration {
    let started = Instant::now();
    let response = authorizer.is_authorized(black_box(request), policies, entities);
    let time = started.elapsed();
    black_box(response);
    time
}

fn request(question: &Value) -> Result<Request> {
    let input = &question["input"];
    let (action, kind) = match text(&question["rule"])? {
        "change-owner" => ("changeOwner", "Document"),
        "create-document" => ("createDocument", "Folder"),
        rule => (rule, "Document"),
    };
    let uid = |kind: &str, name: &str| -> Result<EntityUid> { Ok(format!(r#"{kind}::"{name}""#).parse()?) };
    let (principal, resource) =
        (uid("User", text(&input["principal"])?)?, uid(kind, text(&input["resource"])?)?);
    Ok(Request::new(principal, uid("Action", action)?, resource, Context::empty(), None)?)
}

/// The hierarchy of a question as entities. A view of a user is what is shared with the user; that of a group is in the
/// views of its members.
fn entities(input: &Value) -> Result<Entities> {
    let mut entities = Vec::new();
    let mut members: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (name, user) in object(&input["users"])? {
        let view = reference("View", &format!("User {name}"));
        for group in texts(&user["groups"])? {
            members.entry(group).or_default().push(view.clone());
        }
        entities.push(json!({
            "uid": reference("User", name),
            "attrs": {
                "documentsAndFoldersWithViewAccess": {"__entity": view},
                "ownedDocuments": values("Document", &user["owned_documents"])?,
                "ownedFolders": values("Folder", &user["owned_folders"])?,
            },
            "parents": references("Group", &user["groups"], "")?,
        }));
        entities.push(json!({"uid": view, "attrs": {}, "parents": []}));
    }
    for (name, views) in members {
        entities.push(json!({"uid": reference("Group", &name), "attrs": {}, "parents": []}));
        let view = reference("View", &format!("Group {name}"));
        entities.push(json!({"uid": view, "attrs": {}, "parents": views}));
    }
    for (kind, nodes) in [("Document", &input["documents"]), ("Folder", &input["folders"])] {
        for (name, node) in object(nodes)? {
            let public = (kind == "Document").then(|| ("isPublic".to_owned(), node["public"].clone()));
            let attributes: serde_json::Map<String, Value> = public.into_iter().collect();
            entities
                .push(json!({"uid": reference(kind, name), "attrs": attributes, "parents": parents(node)?}));
        }
    }
    Ok(Entities::from_json_value(entities.into(), None)?)
}

/// The folders that a document or folder is in, and the views.
fn parents(node: &Value) -> Result<Vec<Value>> {
    let mut parents = references("Folder", &node["parents"], "")?;
    parents.extend(references("View", &node["viewers"]["users"], "User ")?);
    parents.extend(references("View", &node["viewers"]["groups"], "Group ")?);
    Ok(parents)
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"type": kind, "id": name})
}

fn references(kind: &str, names: &Value, start: &str) -> Result<Vec<Value>> {
    Ok(texts(names)?.iter().map(|name| reference(kind, &format!("{start}{name}"))).collect())
}

fn values(kind: &str, names: &Value) -> Result<Vec<Value>> {
    Ok(references(kind, names, "")?.into_iter().map(|it| json!({"__entity": it})).collect())
}

fn object(value: &Value) -> Result<&serde_json::Map<String, Value>> {
    value.as_object().ok_or_else(|| format!("not an object: {value}").into())
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().ok_or_else(|| format!("not a string: {value}").into())
}

fn texts(value: &Value) -> Result<Vec<String>> {
    value.as_array().into_iter().flatten().map(|name| Ok(text(name)?.to_owned())).collect()
}
