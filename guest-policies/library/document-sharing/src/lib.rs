//! Document sharing in the manner of Google Drive, after the gdrive example of the Cedar paper (OOPSLA 2024).
//!
//! Users are in groups; documents and folders are in folders; a document or folder is shared with users and groups,
//! and with it all that is inside; users own documents and folders; a document may be public. The input carries the
//! entities by name and asks about one principal and one resource (`schemas/question.input.json`). The rules are the
//! example's actions: `read`, `write`, `share`, `change-owner` and `create-document`.
//!
//! A rule reads the principal and then climbs from the resource to its folders until something answers: of fifty
//! entities it reads a few, and its record says which. A resource that is not there is denied. The climb visits a folder
//! once, so that a cycle ends. [`hierarchy`] makes random inputs, so that the same work can be timed on other engines.

#[cfg(not(target_family = "wasm"))]
pub mod hierarchy;
mod model;

use model::{Node, User};
use verdict_sdk::{Decision, Failure, Pointer, Reason, input};

verdict_sdk::policy! {
    "read" => read,
    "write" => write,
    "share" => share,
    "change-owner" => change_owner,
    "create-document" => create_document,
}

struct Question {
    name: String,
    principal: User,
    resource: String,
}

impl Question {
    fn from_input() -> Result<Self, Failure> {
        let name = input::text("/principal")?;
        let principal = input::parse_optional(&Pointer::to("users").child(&name))?.unwrap_or_default();
        Ok(Self { name, principal, resource: input::text("/resource")? })
    }

    fn owns_document(&self) -> Option<Reason> {
        let owns = self.principal.owned_documents.contains(&self.resource);
        owns.then(|| owner().on(Pointer::to("users").child(&self.name).child("owned_documents")))
    }

    fn owns_folder(&self, folder: &str) -> Option<Reason> {
        let owns = self.principal.owned_folders.iter().any(|it| it == folder);
        owns.then(|| owner().on(Pointer::to("users").child(&self.name).child("owned_folders")))
    }

    fn views(&self, node: &Node, place: &Pointer) -> Option<Reason> {
        let viewers = place.clone().child("viewers");
        if node.viewers.users.contains(&self.name) {
            return Some(Reason::new("viewer", "shared with the user").on(viewers.child("users")));
        }
        let by_group = node.viewers.groups.iter().any(|group| self.principal.groups.contains(group));
        by_group.then(|| Reason::new("viewer", "shared with a group of the user").on(viewers.child("groups")))
    }
}

fn read() -> Result<Decision, Failure> {
    let question = Question::from_input()?;
    let place = Pointer::to("documents").child(&question.resource);
    let Some(document) = input::parse_optional::<Node>(&place)? else { return Ok(decision(None)) };
    if document.public {
        let public = Reason::new("public", "the document is public").on(place.child("public"));
        return Ok(decision(Some(public)));
    }
    if let Some(reason) = question.owns_document().or_else(|| question.views(&document, &place)) {
        return Ok(decision(Some(reason)));
    }
    climb(document, |name, folder, place| {
        question.owns_folder(name).or_else(|| question.views(folder, place))
    })
}

fn write() -> Result<Decision, Failure> {
    owned()
}

fn share() -> Result<Decision, Failure> {
    owned()
}

/// The document is the principal's, or in a folder of the principal's.
fn owned() -> Result<Decision, Failure> {
    let question = Question::from_input()?;
    let place = Pointer::to("documents").child(&question.resource);
    let Some(document) = input::parse_optional::<Node>(&place)? else { return Ok(decision(None)) };
    match question.owns_document() {
        Some(reason) => Ok(decision(Some(reason))),
        None => climb(document, |name, _, _| question.owns_folder(name)),
    }
}

fn change_owner() -> Result<Decision, Failure> {
    Ok(decision(Question::from_input()?.owns_document()))
}

fn create_document() -> Result<Decision, Failure> {
    let question = Question::from_input()?;
    Ok(decision(question.owns_folder(&question.resource)))
}

/// Asks every folder that the document is in, at any height, until one gives a reason.
fn climb(document: Node, ask: impl Fn(&str, &Node, &Pointer) -> Option<Reason>) -> Result<Decision, Failure> {
    let mut seen = document.parents;
    let mut next = 0;
    while let Some(name) = seen.get(next) {
        next += 1;
        let place = Pointer::to("folders").child(name);
        let folder: Node = input::parse(&place)?;
        if let Some(reason) = ask(name, &folder, &place) {
            return Ok(decision(Some(reason)));
        }
        for parent in folder.parents {
            if !seen.contains(&parent) {
                seen.push(parent);
            }
        }
    }
    Ok(decision(None))
}

fn owner() -> Reason {
    Reason::new("owner", "the user owns it, or a folder that it is in")
}

fn decision(reason: Option<Reason>) -> Decision {
    match reason {
        Some(reason) => Decision::allow().because(reason),
        None => Decision::deny()
            .because(Reason::new("no-access", "nothing gives the user this access").on("/principal")),
    }
}
