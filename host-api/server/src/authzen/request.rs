//! What a request says. Its parts keep their text: no number and no order of members is changed on the way to the policy.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::search::Kind;
use crate::error::ApiError;

/// The most evaluations of one request.
const EVALUATIONS_MAX: usize = 1_000;

/// The members of a request, and of one of its evaluations. Others are ignored (10.1.1).
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Members<'a> {
    #[serde(borrow, deserialize_with = "given")]
    subject: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    action: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    resource: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    context: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    evaluations: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    options: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    page: Option<&'a RawValue>,
}

/// The members of a subject, a resource or an action.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entity<'a> {
    #[serde(borrow, deserialize_with = "given")]
    r#type: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    id: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    name: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    properties: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options<'a> {
    #[serde(borrow, deserialize_with = "given")]
    evaluations_semantic: Option<&'a RawValue>,
}

/// When to stop (7.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Semantic {
    /// Not before the end.
    ExecuteAll,
    /// At what is denied first.
    DenyOnFirstDeny,
    /// At what is permitted first.
    PermitOnFirstPermit,
}

/// As it is, if it is there: `null` is no way of leaving something out.
pub(super) fn given<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads an object; serde would take an array for one.
pub(super) fn object<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, ApiError> {
    if !text.trim_start().starts_with('{') {
        return Err(ApiError::bad_request(format!("{what} must be an object")));
    }
    serde_json::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("{what} cannot be read: {error}")))
}

/// Reads a string.
pub(super) fn string(what: &str, value: &RawValue) -> Result<String, ApiError> {
    serde_json::from_str(value.get()).map_err(|_| ApiError::bad_request(format!("{what} must be a string")))
}

impl<'a> Members<'a> {
    /// Reads a request.
    pub(super) fn read(text: &'a str) -> Result<Self, ApiError> {
        object("the body", text)
    }

    /// Reads one of the evaluations of a request.
    pub(super) fn item(text: &'a str) -> Result<Self, ApiError> {
        object("an evaluation", text)
    }

    /// The evaluations; none if there is only the request itself (7.1).
    pub(super) fn items(&self) -> Result<Vec<&'a RawValue>, ApiError> {
        let Some(list) = self.evaluations else { return Ok(Vec::new()) };
        let items: Vec<&RawValue> = serde_json::from_str(list.get())
            .map_err(|_| ApiError::bad_request("`evaluations` must be an array of objects"))?;
        if items.len() > EVALUATIONS_MAX {
            let message = format!("`evaluations` has {}; at most {EVALUATIONS_MAX} are taken", items.len());
            return Err(ApiError::bad_request(message));
        }
        Ok(items)
    }

    /// Defaults may be incomplete, as long as they are not needed; they must be objects.
    pub(super) fn check_defaults(&self) -> Result<(), ApiError> {
        let all = [("subject", self.subject), ("action", self.action), ("resource", self.resource)];
        for (name, value) in all.into_iter().chain([("context", self.context)]) {
            optional_object(name, value)?;
        }
        Ok(())
    }

    pub(super) fn semantic(&self) -> Result<Semantic, ApiError> {
        let Some(options) = self.options else { return Ok(Semantic::ExecuteAll) };
        let options: Options<'_> = object("`options`", options.get())?;
        let Some(semantic) = options.evaluations_semantic else { return Ok(Semantic::ExecuteAll) };
        match semantic.get() {
            r#""execute_all""# => Ok(Semantic::ExecuteAll),
            r#""deny_on_first_deny""# => Ok(Semantic::DenyOnFirstDeny),
            r#""permit_on_first_permit""# => Ok(Semantic::PermitOnFirstPermit),
            _ => Err(ApiError::bad_request(
                "`options.evaluations_semantic` must be `execute_all`, `deny_on_first_deny` or `permit_on_first_permit`",
            )),
        }
    }

    /// The policy's input of an evaluation: what it says itself, else what the request says for all (7.1.1). A member is
    /// taken whole, from the one or the other.
    pub(super) fn evaluation(&self, defaults: &Self) -> Result<String, ApiError> {
        Ok(input(&[
            ("subject", Some(identified("subject", self.subject.or(defaults.subject))?)),
            ("action", Some(named(self.action.or(defaults.action))?)),
            ("resource", Some(identified("resource", self.resource.or(defaults.resource))?)),
            ("context", optional_object("context", self.context.or(defaults.context))?),
        ]))
    }

    /// The policy's input of a search, without its page. Of what is searched for there is no id: it is to be ignored
    /// where somebody gives one (8.4.1, 8.5.1), and so is an action where actions are searched for (8.6.1).
    pub(super) fn search(&self, kind: Kind) -> Result<String, ApiError> {
        let searched;
        let (subject, resource) = match kind {
            Kind::Subject => {
                searched = anonymous("subject", self.subject)?;
                (searched.as_str(), identified("resource", self.resource)?)
            }
            Kind::Resource => {
                searched = anonymous("resource", self.resource)?;
                (identified("subject", self.subject)?, searched.as_str())
            }
            Kind::Action => (identified("subject", self.subject)?, identified("resource", self.resource)?),
        };
        let action = if kind == Kind::Action { None } else { Some(named(self.action)?) };
        let context = optional_object("context", self.context)?;
        Ok(input(&[
            ("subject", Some(subject)),
            ("action", action),
            ("resource", Some(resource)),
            ("context", context),
        ]))
    }

    /// The type of what is searched for; none for actions, which have none.
    pub(super) fn searched_type(&self, kind: Kind) -> Result<Option<String>, ApiError> {
        let (name, searched) = match kind {
            Kind::Subject => ("subject", self.subject),
            Kind::Resource => ("resource", self.resource),
            Kind::Action => return Ok(None),
        };
        let (_, entity) = entity(name, searched)?;
        text(name, "type", entity.r#type).map(|value| serde_json::from_str(value.get()).ok())
    }

    pub(super) fn page(&self) -> Option<&'a RawValue> {
        self.page
    }
}

/// An object with the members that are there, each as it came.
pub(super) fn input(members: &[(&str, Option<&str>)]) -> String {
    let bytes = members.iter().filter_map(|(_, text)| *text).map(|text| text.len() + 16).sum::<usize>();
    let mut input = String::with_capacity(bytes + 2);
    input.push('{');
    for (name, text) in members {
        if let Some(text) = text {
            let comma = if input.len() == 1 { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(input, "{comma}\"{name}\":{text}");
        }
    }
    input.push('}');
    input
}

fn optional_object<'a>(name: &str, value: Option<&'a RawValue>) -> Result<Option<&'a str>, ApiError> {
    match value.map(RawValue::get) {
        Some(text) if !text.starts_with('{') => {
            Err(ApiError::bad_request(format!("`{name}` must be an object")))
        }
        text => Ok(text),
    }
}

fn entity<'a>(name: &str, value: Option<&'a RawValue>) -> Result<(&'a str, Entity<'a>), ApiError> {
    let text = optional_object(name, value)?;
    let text = text.ok_or_else(|| ApiError::bad_request(format!("`{name}` is missing")))?;
    let entity: Entity<'_> = object(&format!("`{name}`"), text)?;
    optional_object(&format!("{name}.properties"), entity.properties)?;
    Ok((text, entity))
}

fn text<'a>(name: &str, member: &str, value: Option<&'a RawValue>) -> Result<&'a RawValue, ApiError> {
    let value = value.ok_or_else(|| ApiError::bad_request(format!("`{name}.{member}` is missing")))?;
    if !value.get().starts_with('"') {
        return Err(ApiError::bad_request(format!("`{name}.{member}` must be a string")));
    }
    Ok(value)
}

/// A subject or a resource that is known by type and id (5.1, 5.2).
fn identified<'a>(name: &str, value: Option<&'a RawValue>) -> Result<&'a str, ApiError> {
    let (whole, entity) = entity(name, value)?;
    text(name, "type", entity.r#type)?;
    text(name, "id", entity.id)?;
    Ok(whole)
}

/// An action (5.3).
fn named(value: Option<&RawValue>) -> Result<&str, ApiError> {
    let (whole, entity) = entity("action", value)?;
    text("action", "name", entity.name)?;
    Ok(whole)
}

/// What is searched for: a type, perhaps with properties.
fn anonymous(name: &str, value: Option<&RawValue>) -> Result<String, ApiError> {
    let (_, entity) = entity(name, value)?;
    let r#type = text(name, "type", entity.r#type)?.get();
    Ok(input(&[("type", Some(r#type)), ("properties", entity.properties.map(RawValue::get))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = r#"{"id": "a", "type": "user", "properties": {"n": 1e400}, "more": [1]}"#;

    fn evaluation(item: &str, defaults: &str) -> Result<String, String> {
        let (item, defaults) = (Members::item(item).unwrap(), Members::read(defaults).unwrap());
        item.evaluation(&defaults).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn members_keep_every_byte_and_come_in_one_order() {
        let text = format!(
            r#"{{"new": 1, "resource": {{"type":"r", "id":"1"}}, "action":{{"name":"x"}}, "subject": {SUBJECT}}}"#
        );
        let expected =
            format!(r#"{{"subject":{SUBJECT},"action":{{"name":"x"}},"resource":{{"type":"r", "id":"1"}}}}"#);
        assert_eq!(evaluation(&text, "{}"), Ok(expected.clone()));
        assert_eq!(evaluation("{}", &text), Ok(expected));
    }

    #[test]
    fn a_default_is_overridden_as_a_whole() {
        let defaults =
            r#"{"subject":{"type":"u","id":"1","properties":{}},"action":{"name":"x"},"context":{"a":1}}"#;
        let item = r#"{"resource":{"type":"r","id":"1"},"subject":{"type":"u","id":"2"},"context":{}}"#;
        let expected = r#"{"subject":{"type":"u","id":"2"},"action":{"name":"x"},"resource":{"type":"r","id":"1"},"context":{}}"#;
        assert_eq!(evaluation(item, defaults).as_deref(), Ok(expected));
        let refused = evaluation(r#"{"subject":{"type":"u"},"resource":{"type":"r","id":"1"}}"#, defaults);
        assert_eq!(refused, Err("`subject.id` is missing".into()));
    }

    #[test]
    fn what_is_searched_for_has_no_id() {
        let text = format!(
            r#"{{"subject": {SUBJECT}, "resource": {{"type": "r", "id": "1"}}, "action": {{"name": "x"}}}}"#
        );
        let members = Members::read(&text).unwrap();
        let subject = r#"{"subject":{"type":"user","properties":{"n": 1e400}},"action":{"name": "x"},"resource":{"type": "r", "id": "1"}}"#;
        assert_eq!(members.search(Kind::Subject).unwrap(), subject);
        let resource =
            format!(r#"{{"subject":{SUBJECT},"action":{{"name": "x"}},"resource":{{"type":"r"}}}}"#);
        assert_eq!(members.search(Kind::Resource).unwrap(), resource);
        let action = format!(r#"{{"subject":{SUBJECT},"resource":{{"type": "r", "id": "1"}}}}"#);
        assert_eq!(members.search(Kind::Action).unwrap(), action);
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused() {
        assert!(Members::read(r#"{"subject": 1, "subject": 2}"#).is_err());
        assert!(Members::read(r#"["subject"]"#).is_err());
    }
}
