//! Searches (8): a rule of the policy's own finds what is searched for, and the host sees to the form and the pages.
//!
//! The rule's value is `{"results": […]}`, with a `context` if it likes. A policy that pages by itself adds
//! `"page": {"next_token": …}`, its token being empty on the last page; of one that does not, the host gives out as many
//! results at a time as the caller wants. A rule that says nothing (undefined) has found nothing.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use verdict::Decision;
use verdict::core::digest::Digest;
use verdict::core::outcome::Answer;

use super::answer::{answered, context, written};
use super::page::{Begin, Page, canonical};
use super::question::Question;
use super::request::{Members, given};
use crate::ask;
use crate::error::ApiError;
use crate::routes::App;

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Subject,
    Resource,
    Action,
}

impl Kind {
    /// The rule that answers, as a manifest names it.
    pub(super) const fn rule(self) -> &'static str {
        match self {
            Self::Subject => "search-subject",
            Self::Resource => "search-resource",
            Self::Action => "search-action",
        }
    }
}

/// What a rule answers.
#[derive(Default, Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    page: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    context: Option<&'a RawValue>,
}

/// The page that a rule says it answers.
#[derive(Deserialize)]
struct OwnPage<'a> {
    next_token: String,
    #[serde(default)]
    total: Option<u64>,
    #[serde(borrow, default, deserialize_with = "given")]
    properties: Option<&'a RawValue>,
}

/// The page as the caller is told (8.2.2).
#[derive(Serialize)]
struct Said<'a> {
    next_token: &'a str,
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<&'a RawValue>,
}

impl Said<'_> {
    fn text(&self) -> Result<String, ApiError> {
        written(serde_json::to_string(self).map_err(std::io::Error::from))
    }
}

/// A subject, a resource or an action that was found.
#[derive(Deserialize)]
struct Entity<'a> {
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

/// The results of one page.
struct Paged<'a> {
    results: Vec<&'a RawValue>,
    /// None where the caller wants no pages, and all is here.
    page: Option<String>,
}

/// Subject Search, Resource Search and Action Search.
pub(super) async fn search(app: &Arc<App>, question: &Question, kind: Kind) -> Result<Vec<u8>, ApiError> {
    let members = Members::read(question.text()?)?;
    let request = members.search(kind)?;
    let searched_type = members.searched_type(kind)?;
    let page = Page::read(members.page(), identity(question, kind, &request))?;
    let input = match page.input() {
        Some(page) => with_page(&request, &page),
        None => request,
    };
    let decision = ask::ask(app, question.ask(Some(kind.rule()), input.into_bytes())).await?;
    respond(&decision, kind, searched_type.as_deref(), page)
}

/// The request is an object, and not an empty one.
fn with_page(request: &str, page: &str) -> String {
    format!("{},\"page\":{page}}}", request.strip_suffix('}').unwrap_or(request))
}

/// What a token belongs to: the policy, and all of the request but its page.
fn identity(question: &Question, kind: Kind, request: &str) -> Digest {
    let channel = question.channel.as_ref().map(ToString::to_string).unwrap_or_default();
    Digest::of(format!("{}\n{channel}\n{}\n{}", question.policy, kind.rule(), canonical(request)).as_bytes())
}

fn respond(
    decision: &Decision,
    kind: Kind,
    searched_type: Option<&str>,
    page: Page,
) -> Result<Vec<u8>, ApiError> {
    let answer = answered(decision)?;
    let found = found(answer)?;
    if !found.results.iter().all(|result| is_of(result, kind, searched_type)) {
        return Err(malformed("a result is not of what was searched for"));
    }
    let own = found.context;
    let paged = match found.page {
        Some(own) => of_policy(found.results, own, page)?,
        None => of_host(found.results, page)?,
    };
    let mut out = Vec::with_capacity(256 + paged.results.iter().map(|it| it.get().len() + 1).sum::<usize>());
    written(write(&mut out, &paged, |out| context(out, own, decision, answer)))?;
    Ok(out)
}

fn found(answer: &Answer) -> Result<Found<'_>, ApiError> {
    let Some(value) = &answer.value else { return Ok(Found::default()) };
    if !value.trim_start().starts_with('{') {
        return Err(malformed("it is no object"));
    }
    serde_json::from_str(value).map_err(|error| malformed(&error.to_string()))
}

fn is_of(result: &RawValue, kind: Kind, searched_type: Option<&str>) -> bool {
    if !result.get().starts_with('{') {
        return false;
    }
    match (kind, serde_json::from_str::<Entity<'_>>(result.get())) {
        (_, Err(_)) => false,
        (Kind::Action, Ok(action)) => action.name.is_some(),
        (_, Ok(entity)) => entity.id.is_some() && entity.r#type.as_deref() == searched_type,
    }
}

/// The page that the policy made.
fn of_policy<'a>(results: Vec<&'a RawValue>, own: &RawValue, page: Page) -> Result<Paged<'a>, ApiError> {
    let own: OwnPage<'_> = serde_json::from_str(own.get()).map_err(|error| malformed(&error.to_string()))?;
    if own.properties.is_some_and(|properties| !properties.get().starts_with('{')) {
        return Err(malformed("`page.properties` is no object"));
    }
    if page.limit().is_some_and(|limit| results.len() as u64 > limit) {
        return Err(malformed("it has more results than the page may have"));
    }
    let is_last = own.next_token.is_empty();
    let next = if is_last { String::new() } else { page.next(Begin::Policy(own.next_token)) };
    let said = Said { next_token: &next, count: results.len(), total: own.total, properties: own.properties };
    let page = Some(said.text()?);
    Ok(Paged { results, page })
}

/// The page that the host makes of all that was found.
fn of_host(results: Vec<&RawValue>, page: Page) -> Result<Paged<'_>, ApiError> {
    if !page.is_asked_for() {
        return Ok(Paged { results, page: None });
    }
    let total = results.len();
    let begin = match page.begin() {
        Some(Begin::After(count)) => (*count).min(total),
        _ => 0,
    };
    let limit = page.limit().map_or(total, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let end = begin.saturating_add(limit).min(total);
    let results = results.into_iter().take(end).skip(begin).collect::<Vec<_>>();
    let next = if end < total { page.next(Begin::After(end)) } else { String::new() };
    let said = Said { next_token: &next, count: results.len(), total: Some(total as u64), properties: None };
    let page = Some(said.text()?);
    Ok(Paged { results, page })
}

/// The page comes first, so that callers can show how much is to come (8.3).
fn write(
    out: &mut Vec<u8>,
    paged: &Paged<'_>,
    context: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    out.write_all(b"{")?;
    if let Some(page) = &paged.page {
        write!(out, "\"page\":{page},")?;
    }
    out.write_all(b"\"context\":")?;
    context(out)?;
    out.write_all(b",\"results\":[")?;
    for (number, result) in paged.results.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        write!(out, "{comma}{result}")?;
    }
    out.write_all(b"]}")
}

/// The policy's answer is not what a search has; nothing of it is given out.
fn malformed(why: &str) -> ApiError {
    let message = format!("the policy's answer is not that of a search: {why}");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "invalid-answer", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &str) -> Answer {
        Answer { value: Some(value.into()), reasons: Vec::new() }
    }

    fn page(text: &str) -> Page {
        Page::read(Some(serde_json::from_str(text).unwrap()), Digest::of(b"")).unwrap()
    }

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn only_entities_of_the_type_are_results() {
        assert!(is_of(raw(r#"{"type": "user", "id": "a", "properties": {}}"#), Kind::Subject, Some("user")));
        assert!(is_of(raw(r#"{"name": "read"}"#), Kind::Action, None));
        for text in [
            r#"{"type": "todo", "id": "a"}"#,
            r#"{"type": "user"}"#,
            r#"{"id": "a"}"#,
            r#"{"type": "user", "id": 7}"#,
            r#""a""#,
            r#"["user", "a", "b"]"#,
        ] {
            assert!(!is_of(raw(text), Kind::Resource, Some("user")), "{text}");
            assert!(!is_of(raw(text), Kind::Action, None), "{text}");
        }
    }

    #[test]
    fn an_answer_of_another_form_gives_nothing_out() {
        assert!(found(&said(r#"{"results": [1], "more": 2}"#)).is_ok());
        for value in ["true", "[[]]", "{}", r#"{"results": {}}"#, r#"{"results": null}"#] {
            assert!(found(&said(value)).is_err(), "{value}");
        }
        assert!(found(&Answer { value: None, reasons: Vec::new() }).unwrap().results.is_empty());
    }

    #[test]
    fn a_page_of_the_policys_own_must_be_one() {
        let results = || vec![raw("1"), raw("2")];
        let made = of_policy(
            results(),
            raw(r#"{"next_token": "", "total": 9, "properties": {"a": 1}}"#),
            page(r#"{"limit": 2}"#),
        );
        let expected = r#"{"next_token":"","count":2,"total":9,"properties":{"a": 1}}"#;
        assert_eq!(made.unwrap().page.as_deref(), Some(expected));
        for (own, asked) in [
            (r#"{"next_token": ""}"#, r#"{"limit": 1}"#),
            ("{}", "{}"),
            (r#"{"next_token": null}"#, "{}"),
            (r#"{"next_token": "", "total": -1}"#, "{}"),
            (r#"{"next_token": "", "properties": 7}"#, "{}"),
        ] {
            assert!(of_policy(results(), raw(own), page(asked)).is_err(), "{own} {asked}");
        }
    }
}
