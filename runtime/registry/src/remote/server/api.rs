//! The administration of a server, as JSON: what goes to people, or to programs, as it comes.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::Value;
use verdict_core::name::{ChannelName, PolicyName};

use super::Server;
use crate::remote::error::RemoteError;
use crate::remote::wire::{Answer, Call};

const JSON_MEDIA_TYPE: &str = "application/json";
/// One thing, or a page of a list, in bytes.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// How many items of a list come at once, at most.
const PAGE_ITEMS: usize = 1_000;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl Server {
    /// What is at a path. Segments and values are taken as they are.
    ///
    /// # Errors
    /// When there is no such thing, or the server cannot be reached or says no.
    pub fn read_json(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Value, RemoteError> {
        let mut call = Call::new(Method::GET, self.address(segments, query));
        call.bytes_max = ANSWER_BYTES_MAX;
        let answer = self.send(call)?;
        self.parse(&answer, ANSWER_BYTES_MAX)
    }

    /// The first `count_max` items of a list, and whether there are more.
    ///
    /// # Errors
    /// As [`Self::read_json`].
    pub fn list_json(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
        count_max: usize,
    ) -> Result<(Vec<Value>, bool), RemoteError> {
        let mut items: Vec<Value> = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let limit = (count_max - items.len()).clamp(1, PAGE_ITEMS).to_string();
            let mut query: Vec<_> = query.to_vec();
            query.push(("limit", &limit));
            if let Some(next) = &next {
                query.retain(|(name, _)| *name != "after");
                query.push(("after", next));
            }
            let mut page = self.read_json(segments, &query)?;
            let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) else {
                return Err(self.malformed("answers a list without items"));
            };
            let is_empty = more.is_empty();
            items.extend(more);
            next = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if next.is_none() || is_empty || items.len() >= count_max {
                items.truncate(count_max);
                return Ok((items, next.is_some()));
            }
        }
    }

    /// Makes something new, once: also where the answer is lost and the request is sent again.
    ///
    /// # Errors
    /// As [`Self::read_json`].
    pub fn create_json(&self, segments: &[&str], body: &Value) -> Result<Value, RemoteError> {
        let answer = self.post(segments, JSON_MEDIA_TYPE, body.to_string().as_bytes())?;
        self.parse(&answer, ANSWER_BYTES_MAX)
    }

    /// Changes what `body` names.
    ///
    /// # Errors
    /// As [`Self::read_json`].
    pub fn change_json(&self, segments: &[&str], body: &Value) -> Result<Value, RemoteError> {
        let mut call = Call::new(Method::PATCH, self.address(segments, &[]));
        call.content = Some((JSON_MEDIA_TYPE, body.to_string().into()));
        call.bytes_max = ANSWER_BYTES_MAX;
        let answer = self.send(call)?;
        self.parse(&answer, ANSWER_BYTES_MAX)
    }

    /// Removes what is at a path.
    ///
    /// # Errors
    /// As [`Self::read_json`].
    pub fn remove(&self, segments: &[&str]) -> Result<(), RemoteError> {
        self.send(Call::new(Method::DELETE, self.address(segments, &[]))).map(drop)
    }

    /// Lets the server make the next state of a channel and sign it with its activation key: `verb` is `activate`,
    /// `promote` or `rollback`, and `body` what that takes. The signed state.
    ///
    /// # Errors
    /// As [`Self::read_json`].
    pub fn sign_channel(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        verb: &str,
        body: &Value,
    ) -> Result<Vec<u8>, RemoteError> {
        let (tenant, name) = (policy.tenant().as_str(), policy.name());
        let segments = ["v1", "tenants", tenant, "policies", name, "channels", channel.as_str(), verb];
        let published = self.create_json(&segments, body)?;
        let envelope = published.get("envelope").and_then(Value::as_str).and_then(super::decode);
        envelope.ok_or_else(|| self.malformed("answers without the state that it signed"))
    }

    /// Sends something new under a key of its own, by which a second sending is known as such.
    pub(super) fn post(
        &self,
        segments: &[&str],
        media_type: &'static str,
        bytes: &[u8],
    ) -> Result<Answer, RemoteError> {
        let mut call = Call::new(Method::POST, self.address(segments, &[]));
        call.content = Some((media_type, Bytes::copy_from_slice(bytes)));
        call.headers.push((IDEMPOTENCY_KEY, self.idempotency_key()?));
        call.bytes_max = ANSWER_BYTES_MAX;
        self.send(call)
    }

    fn idempotency_key(&self) -> Result<String, RemoteError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| {
            self.malformed(&format!("cannot be asked, for this machine has no randomness: {error}"))
        })?;
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
