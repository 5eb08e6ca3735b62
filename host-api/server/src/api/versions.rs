//! Versions of a policy and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use semver::Version;
use serde::Serialize;
use utoipa::ToSchema;
use verdict::core::digest::Digest;
use verdict::core::dsse::Envelope;
use verdict::core::name::{ChannelName, PolicyName};
use verdict::core::statement::APPROVAL_TYPE;
use verdict::core::time::Timestamp;
use verdict::core::trust::{ChannelState, SignedDocument};
use verdict::registry::catalogue::{
    Catalogue, DocumentEntry, DocumentName, Limit, VersionEntry, VersionState,
};

use super::answer::{Answer, Answered};
use super::body::{Asking, Paging};
use super::gate::Asked;
use super::page::Items;
use super::policies;
use super::problem::Problem;
use crate::routes::App;

/// How many states of a channel are looked back for versions that answered before.
const STATES_MAX: u32 = 50;

/// What became of a version: computed from statements and channels, and nothing that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VersionStatus {
    /// It was published, and nothing else.
    Draft,
    /// An approval is attached to it.
    Approved,
    /// It is in a channel other than `production`, or a shadow.
    Testing,
    /// It answers in channel `production`.
    Active,
    /// It was in a channel before.
    Retired,
    /// It must not be used any more.
    Revoked,
}

/// A channel that names a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Named {
    /// The channel.
    #[schema(value_type = String, examples("production"))]
    channel: ChannelName,
    /// Its share, of the sum of all weights; 0 for a shadow.
    weight: u32,
    /// Whether it is asked and never answers.
    shadow: bool,
}

/// A version of a policy.
#[derive(Serialize, ToSchema)]
#[schema(as = Version)]
pub(crate) struct VersionView {
    /// The policy.
    #[schema(value_type = String, examples("bank/loan"))]
    policy: PolicyName,
    /// The version.
    #[schema(value_type = String, examples("1.2.0"))]
    version: Version,
    /// The digest of the OCI image manifest.
    #[schema(value_type = String)]
    image: Digest,
    /// The digest of the author's statement.
    #[schema(value_type = String)]
    statement: Digest,
    /// The digest of the component.
    #[schema(value_type = String)]
    component: Digest,
    /// The version that it follows.
    #[schema(value_type = Option<String>)]
    predecessor: Option<Version>,
    /// `published` or `revoked`.
    #[schema(value_type = String)]
    state: &'static str,
    /// What became of it.
    status: VersionStatus,
    /// The channels that name it.
    channels: Vec<Named>,
    /// When it was published.
    #[schema(value_type = String, format = DateTime)]
    published: Timestamp,
    /// By whom.
    published_by: String,
    /// The number of the event that told of it.
    event: u64,
}

/// Which versions the channels of a policy name, and which they named before.
#[derive(Default)]
struct Channels {
    now: BTreeMap<Version, Vec<Named>>,
    before: BTreeSet<Version>,
}

impl Channels {
    async fn of(catalogue: &Catalogue, policy: &PolicyName) -> Result<Self, Problem> {
        let mut channels = Self::default();
        let mut after: Option<DocumentName> = None;
        loop {
            let page = catalogue.channels(policy, after.as_ref(), Limit::default()).await?;
            for newest in &page.items {
                channels.note(newest);
                let before = Some(newest.sequence);
                let history =
                    catalogue.document_history(&newest.name, before, Limit::new(STATES_MAX)).await?;
                let states = history.items.iter().filter_map(state);
                channels.before.extend(states.flat_map(|state| state.versions).map(|share| share.version));
            }
            after = page.items.last().map(|entry| entry.name.clone());
            if !page.more {
                return Ok(channels);
            }
        }
    }

    fn note(&mut self, newest: &DocumentEntry) {
        let Some(state) = state(newest) else { return };
        let channel = state.channel;
        for share in state.versions {
            let named = Named { channel: channel.clone(), weight: share.weight, shadow: false };
            self.now.entry(share.version).or_default().push(named);
        }
        if let Some(shadow) = state.shadow {
            self.now.entry(shadow.version).or_default().push(Named { channel, weight: 0, shadow: true });
        }
    }
}

/// What a state says. Nothing goes by it but views: who signed it was checked when it was put, and hosts check again.
fn state(entry: &DocumentEntry) -> Option<ChannelState> {
    let envelope = Envelope::parse(&entry.envelope).ok()?;
    ChannelState::parse(envelope.payload()).ok()
}

async fn view(
    catalogue: &Catalogue,
    channels: &Channels,
    policy: &PolicyName,
    entry: VersionEntry,
) -> Result<VersionView, Problem> {
    let named = channels.now.get(&entry.content.version).cloned().unwrap_or_default();
    let answers = |named: &Named| !named.shadow && named.channel == ChannelName::production();
    let status = if entry.state == VersionState::Revoked {
        VersionStatus::Revoked
    } else if named.iter().any(answers) {
        VersionStatus::Active
    } else if !named.is_empty() {
        VersionStatus::Testing
    } else if channels.before.contains(&entry.content.version) {
        VersionStatus::Retired
    } else if is_approved(catalogue, policy, entry.content.image).await? {
        VersionStatus::Approved
    } else {
        VersionStatus::Draft
    };
    let VersionEntry { content, state, published, published_by, seq, .. } = entry;
    Ok(VersionView {
        policy: policy.clone(),
        version: content.version,
        image: content.image,
        statement: content.statement,
        component: content.component,
        predecessor: content.predecessor,
        state: state.as_str(),
        status,
        channels: named,
        published,
        published_by,
        event: seq,
    })
}

async fn is_approved(catalogue: &Catalogue, policy: &PolicyName, image: Digest) -> Result<bool, Problem> {
    let statements = catalogue.statements(policy, image, 0, Limit::default()).await?;
    Ok(statements.items.iter().any(|statement| statement.content.predicate_type == APPROVAL_TYPE))
}

/// The version in a path.
pub(super) async fn found(catalogue: &Catalogue, asked: &Asked) -> Result<VersionEntry, Problem> {
    let (policy, version) = (asked.place.policy()?, asked.place.version()?);
    let missing = || Problem::not_found(format!("there is no version {version} of `{policy}`"));
    catalogue.version(policy, version).await?.ok_or_else(missing)
}

/// The versions of a policy, the newest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies/{policy}/versions", tag = "versions",
    operation_id = "list_versions", params(Paging),
    responses((status = 200, description = "a page of versions", body = Items<VersionView>)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(paging): Asking<Paging>,
) -> Answered {
    let (catalogue, policy) = (app.catalogue()?, asked.place.policy()?);
    let page = catalogue.versions(policy, paging.after()?, paging.limit()?).await?;
    if page.items.is_empty() {
        policies::require(catalogue, policy).await?;
    }
    let channels = Channels::of(catalogue, policy).await?;
    let next = page.items.last().filter(|_| page.more).map(|entry| entry.seq.to_string());
    let mut views = Vec::with_capacity(page.items.len());
    for entry in page.items {
        views.push(view(catalogue, &channels, policy, entry).await?);
    }
    Ok(Answer::ok(&Items::new(views, next)))
}

/// One version.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies/{policy}/versions/{version}", tag = "versions",
    operation_id = "read_version", responses((status = 200, description = "the version", body = VersionView)))]
pub(super) async fn read(State(app): State<Arc<App>>, asked: Asked) -> Answered {
    let (catalogue, policy) = (app.catalogue()?, asked.place.policy()?);
    let entry = found(catalogue, &asked).await?;
    let etag = entry.etag;
    let channels = Channels::of(catalogue, policy).await?;
    let view = view(catalogue, &channels, policy, entry).await?;
    Ok(Answer::ok(&view).of_row(etag).unless_seen(&asked))
}
