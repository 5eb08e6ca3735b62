//! A server as the place that documents are put into.

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use semver::Version;
use serde::Deserialize;
use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::dsse::{self, Envelope};
use verdict_core::name::{ChannelName, PolicyName, Tenant};
use verdict_core::refusal::Refusal;
use verdict_core::trust::{ChannelState, DATA_CONTENT_MEDIA_TYPE, SignedDocument as _};

use super::{Server, decode};
use crate::error::RegistryError;
use crate::remote::error::RemoteError;
use crate::remote::wire::Call;
use crate::source::{Documents, Publish};

/// A page of signed documents, in bytes: a hundred of the largest, in two forms.
const PAGE_BYTES_MAX: usize = 512 << 20;
/// How many documents come at once.
const PAGE_DOCUMENTS: usize = 100;

/// A page of documents, the newest first. Members that are not listed are for others.
#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    envelope: String,
}

impl Server {
    /// The newest `count_max` documents of a list, the oldest of them first; none, where there is no such list.
    fn newest_of(&self, segments: &[&str], count_max: usize) -> Result<Vec<Vec<u8>>, RemoteError> {
        let mut envelopes = Vec::new();
        let mut after: Option<String> = None;
        while envelopes.len() < count_max {
            let limit = (count_max - envelopes.len()).min(PAGE_DOCUMENTS).to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let mut call = Call::new(Method::GET, self.address(segments, &query));
            call.bytes_max = PAGE_BYTES_MAX;
            let page: Page = match self.send(call) {
                Ok(answer) => self.parse(&answer, PAGE_BYTES_MAX)?,
                Err(error) if is_missing(&error) => break,
                Err(error) => return Err(error),
            };
            let malformed = || self.malformed("lists a document that is no base64");
            for item in &page.items {
                envelopes.push(decode(&item.envelope).ok_or_else(malformed)?);
            }
            after = page.next;
            if after.is_none() || page.items.is_empty() {
                break;
            }
        }
        envelopes.truncate(count_max);
        envelopes.reverse();
        Ok(envelopes)
    }

    fn put(&self, segments: &[&str], media_type: &'static str, bytes: &[u8]) -> Result<(), RegistryError> {
        let mut call = Call::new(Method::PUT, self.address(segments, &[]));
        call.content = Some((media_type, Bytes::copy_from_slice(bytes)));
        call.is_blob = media_type == DATA_CONTENT_MEDIA_TYPE;
        Ok(self.send(call).map(drop)?)
    }
}

/// Whether a server says that there is no such thing.
fn is_missing(error: &RemoteError) -> bool {
    matches!(error, RemoteError::Problem { problem, .. } if problem.status == 404)
}

fn channel_of<'a>(policy: &'a PolicyName, channel: &'a ChannelName) -> [&'a str; 7] {
    let tenant = policy.tenant().as_str();
    ["v1", "tenants", tenant, "policies", policy.name(), "channels", channel.as_str()]
}

impl Publish for Server {
    fn place(&self) -> String {
        self.url().to_string()
    }

    fn newest(&self) -> Result<Documents, RegistryError> {
        Ok(self.read_documents()?)
    }

    fn candidates(
        &self,
        policy: &PolicyName,
        version: &Version,
    ) -> Result<Vec<Result<UnverifiedArtifact, Refusal>>, RegistryError> {
        /// Members that are not listed are for others.
        #[derive(Deserialize)]
        struct Known {
            image: Digest,
        }
        let version = version.to_string();
        let segments =
            ["v1", "tenants", policy.tenant().as_str(), "policies", policy.name(), "versions", &version];
        let known = match self.read_json(&segments, &[]) {
            Ok(known) => known,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let known: Known = serde_json::from_value(known)
            .map_err(|error| RegistryError::from(self.malformed(&format!("answers no version: {error}"))))?;
        match self.read_artifact(policy, &known.image) {
            Ok(artifact) => Ok(vec![Ok(artifact)]),
            Err(RemoteError::Refused(refusal)) => Ok(vec![Err(refusal)]),
            Err(error) => Err(error.into()),
        }
    }

    fn channels(&self) -> Result<Vec<(PolicyName, ChannelName)>, RegistryError> {
        let name = |envelope: &Vec<u8>| {
            let state = ChannelState::parse(Envelope::parse(envelope).ok()?.payload()).ok()?;
            Some((state.policy, state.channel))
        };
        let mut channels: Vec<_> = self.newest()?.channels.iter().filter_map(name).collect();
        channels.sort();
        Ok(channels)
    }

    fn channel_states(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        count_max: usize,
    ) -> Result<Vec<Vec<u8>>, RegistryError> {
        let segments = [&channel_of(policy, channel)[..], &["states"]].concat();
        Ok(self.newest_of(&segments, count_max)?)
    }

    fn data_snapshots(&self, tenant: &Tenant, count_max: usize) -> Result<Vec<Vec<u8>>, RegistryError> {
        Ok(self.newest_of(&["v1", "tenants", tenant.as_str(), "data", "snapshots"], count_max)?)
    }

    fn has_data(&self, tenant: &Tenant, content: &Digest) -> Result<bool, RegistryError> {
        let digest = content.to_string();
        let segments = ["v1", "tenants", tenant.as_str(), "data", "content", &digest];
        let call = Call::new(Method::HEAD, self.address(&segments, &[]));
        let answer = self.block(self.inner.wire.send(call.clone()))?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        Ok(self.good(&call, answer).map(|_| true)?)
    }

    fn put_trust(&self, _: u64, envelope: &[u8]) -> Result<(), RegistryError> {
        self.put(&["v1", "trust"], dsse::MEDIA_TYPE, envelope)
    }

    fn put_revocations(&self, envelope: &[u8]) -> Result<(), RegistryError> {
        self.put(&["v1", "revocations"], dsse::MEDIA_TYPE, envelope)
    }

    fn put_channel(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        _: u64,
        envelope: &[u8],
    ) -> Result<(), RegistryError> {
        self.put(&channel_of(policy, channel), dsse::MEDIA_TYPE, envelope)
    }

    fn put_data(
        &self,
        tenant: &Tenant,
        _: u64,
        envelope: &[u8],
        content: &[u8],
    ) -> Result<(), RegistryError> {
        let data = ["v1", "tenants", tenant.as_str(), "data"];
        let digest = Digest::of(content).to_string();
        self.put(&[&data[..], &["content", &digest]].concat(), DATA_CONTENT_MEDIA_TYPE, content)?;
        self.put(&data, dsse::MEDIA_TYPE, envelope)
    }

    fn attach_statement(
        &self,
        policy: &PolicyName,
        version: &Version,
        _: &Digest,
        envelope: &[u8],
    ) -> Result<(), RegistryError> {
        let (tenant, version) = (policy.tenant().as_str(), version.to_string());
        let segments =
            ["v1", "tenants", tenant, "policies", policy.name(), "versions", &version, "statements"];
        Ok(self.post(&segments, dsse::MEDIA_TYPE, envelope).map(drop)?)
    }
}
