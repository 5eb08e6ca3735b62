//! Policies: what is said of them, and in which channels they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use verdict::core::name::{ChannelName, PolicyName};
use verdict::core::time::Timestamp;
use verdict::registry::catalogue::{Catalogue, PolicyEntry, PolicyFilter, PolicyState, PolicyText};

use super::answer::{Answer, Answered};
use super::body::{self, Asking, Json};
use super::gate::Asked;
use super::page::Items;
use super::problem::Problem;
use super::tenants;
use crate::routes::App;

/// Whether versions may be added to a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PolicyState)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StateView {
    /// They may.
    Open,
    /// They may not.
    Archived,
}

/// What became of a policy: computed from its channels, and nothing that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PolicyStatus {
    /// No channel has a version of it.
    Draft,
    /// Channels other than `production` have.
    Testing,
    /// Channel `production` has.
    Active,
    /// It takes no more versions.
    Archived,
}

/// A policy.
#[derive(Serialize, ToSchema)]
#[schema(as = Policy)]
pub(crate) struct PolicyView {
    /// Its name, with its tenant's.
    #[schema(value_type = String, examples("bank/loan"))]
    name: PolicyName,
    /// What it is for.
    description: String,
    /// What it is one of.
    category: String,
    /// Whatever its owners keep with it.
    metadata: Map<String, Value>,
    /// Whether versions may be added.
    state: StateView,
    /// What became of it.
    status: PolicyStatus,
    /// The channels that have a state.
    #[schema(value_type = Vec<String>)]
    channels: BTreeSet<ChannelName>,
    /// Since when it is there.
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    updated: Timestamp,
}

/// A policy that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPolicy {
    /// Its name inside the tenant.
    #[schema(examples("loan"))]
    name: String,
    /// What it is for. At most 4,096 bytes.
    #[serde(default)]
    description: String,
    /// What it is one of. At most 255 bytes.
    #[serde(default)]
    category: String,
    /// Whatever its owners keep with it. At most 64 KiB.
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// What is to be changed of a policy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyPatch {
    /// What it is for.
    description: Option<String>,
    /// What it is one of.
    category: Option<String>,
    /// Whatever its owners keep with it: the whole of it.
    metadata: Option<Map<String, Value>>,
    /// Whether versions may be added.
    state: Option<StateView>,
}

/// Which policies are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only those of this state.
    #[param(inline)]
    state: Option<StateView>,
    /// Only those of this category.
    category: Option<String>,
    /// How many, 1 to 1,000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before.
    after: Option<String>,
}

impl From<PolicyState> for StateView {
    fn from(state: PolicyState) -> Self {
        match state {
            PolicyState::Open => Self::Open,
            PolicyState::Archived => Self::Archived,
        }
    }
}

impl From<StateView> for PolicyState {
    fn from(state: StateView) -> Self {
        match state {
            StateView::Open => Self::Open,
            StateView::Archived => Self::Archived,
        }
    }
}

impl PolicyView {
    fn new(entry: PolicyEntry, channels: BTreeSet<ChannelName>) -> Self {
        let PolicyEntry { name, text, state, created, updated, .. } = entry;
        let status = match state {
            PolicyState::Archived => PolicyStatus::Archived,
            _ if channels.contains(&ChannelName::production()) => PolicyStatus::Active,
            _ if channels.is_empty() => PolicyStatus::Draft,
            PolicyState::Open => PolicyStatus::Testing,
        };
        let PolicyText { description, category, metadata } = text;
        Self {
            name,
            description,
            category,
            metadata,
            state: state.into(),
            status,
            channels,
            created,
            updated,
        }
    }
}

async fn found(catalogue: &Catalogue, policy: &PolicyName) -> Result<PolicyEntry, Problem> {
    let missing = || Problem::not_found(format!("there is no policy `{policy}`"));
    catalogue.policy(policy).await?.ok_or_else(missing)
}

/// Passes when the policy is there.
pub(super) async fn require(catalogue: &Catalogue, policy: &PolicyName) -> Result<(), Problem> {
    found(catalogue, policy).await.map(drop)
}

/// A policy of a page, with the channels of all on it.
fn of_page(channels: &mut BTreeMap<PolicyName, BTreeSet<ChannelName>>, entry: PolicyEntry) -> PolicyView {
    let channels = channels.remove(&entry.name).unwrap_or_default();
    PolicyView::new(entry, channels)
}

async fn channels(
    catalogue: &Catalogue,
    page: &[PolicyEntry],
) -> Result<BTreeMap<PolicyName, BTreeSet<ChannelName>>, Problem> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    if let (Some(first), Some(last)) = (page.first(), page.last()) {
        let (first, last) = (&first.name, last.name.name());
        for (policy, channel) in catalogue.channels_of_policies(first.tenant(), first.name(), last).await? {
            found.entry(policy).or_default().insert(channel);
        }
    }
    Ok(found)
}

async fn view(catalogue: &Catalogue, entry: PolicyEntry) -> Result<PolicyView, Problem> {
    let mut channels = channels(catalogue, std::slice::from_ref(&entry)).await?;
    Ok(of_page(&mut channels, entry))
}

/// A tenant's policies, by name.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies", tag = "policies", operation_id = "list_policies",
    params(Which), responses((status = 200, description = "a page of policies", body = Items<PolicyView>)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(which): Asking<Which>,
) -> Answered {
    let (catalogue, tenant) = (app.catalogue()?, asked.place.tenant()?);
    let Which { state, category, limit, after } = which;
    let filter = PolicyFilter { state: state.map(Into::into), category };
    let page = catalogue.policies(tenant, &filter, after.as_deref(), body::limit(limit)?).await?;
    if page.items.is_empty() {
        tenants::require(catalogue, tenant).await?;
    }
    let mut channels = channels(catalogue, &page.items).await?;
    let next = page.items.last().filter(|_| page.more).map(|entry| entry.name.name().to_owned());
    let views = page.items.into_iter().map(|entry| of_page(&mut channels, entry)).collect();
    Ok(Answer::ok(&Items::new(views, next)))
}

/// One policy.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies/{policy}", tag = "policies", operation_id = "read_policy",
    responses((status = 200, description = "the policy", body = PolicyView)))]
pub(super) async fn read(State(app): State<Arc<App>>, asked: Asked) -> Answered {
    let (catalogue, name) = (app.catalogue()?, asked.place.policy()?);
    let generation = catalogue.generation();
    if let Some(answer) = generation.and_then(|generation| app.policies.find(generation, name)) {
        return Ok(answer.unless_seen(&asked));
    }
    let entry = found(catalogue, name).await?;
    let etag = entry.etag;
    let answer = Answer::ok(&view(catalogue, entry).await?).of_row(etag);
    if let Some(generation) = generation {
        app.policies.keep(generation, name.clone(), answer.clone());
    }
    Ok(answer.unless_seen(&asked))
}

/// Makes a policy.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies", tag = "policies", operation_id = "create_policy",
    request_body = NewPolicy, responses((status = 201, description = "it is made", body = PolicyView)))]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    asked: Asked,
    Json(new): Json<NewPolicy>,
) -> Answered {
    let NewPolicy { name, description, category, metadata } = new;
    let name = PolicyName::of(asked.place.tenant()?.as_str(), &name).map_err(Problem::from)?;
    let text = PolicyText { description, category, metadata };
    let (created, updated) = (asked.now, asked.now);
    let mut change = asked.change(app.catalogue()?).await?;
    let etag = change.write.create_policy(&name, &text).await?;
    let location = format!("/v1/tenants/{}/policies/{}", name.tenant(), name.name());
    let entry = PolicyEntry { name, text, state: PolicyState::Open, created, updated, etag };
    let answer = Answer::json(StatusCode::CREATED, &PolicyView::new(entry, BTreeSet::new()));
    change.end(answer.of_row(etag).with(header::LOCATION, location)).await
}

/// Changes what is said of a policy, archives it, or opens it again.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/policies/{policy}", tag = "policies",
    operation_id = "change_policy", request_body = PolicyPatch,
    responses((status = 200, description = "it is changed", body = PolicyView)))]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    asked: Asked,
    Json(patch): Json<PolicyPatch>,
) -> Answered {
    let (catalogue, policy, seen) = (app.catalogue()?, asked.place.policy()?.clone(), asked.seen()?);
    let updated = asked.now;
    let mut change = asked.change(catalogue).await?;
    // Nobody else writes while this change is under way.
    let mut entry = found(catalogue, &policy).await?;
    let before = entry.clone();
    let PolicyPatch { description, category, metadata, state } = patch;
    entry.text.description = description.unwrap_or(entry.text.description);
    entry.text.category = category.unwrap_or(entry.text.category);
    entry.text.metadata = metadata.unwrap_or(entry.text.metadata);
    entry.state = state.map_or(entry.state, Into::into);
    // The first of the two checks what the caller has seen; a patch without effect does, too.
    let has_other_text = entry.text != before.text;
    if has_other_text {
        entry.etag = change.write.change_policy(&policy, &entry.text, seen).await?;
    }
    let seen = if has_other_text { None } else { seen };
    entry.etag = change.write.set_policy_state(&policy, entry.state, seen).await?;
    if entry.etag != before.etag {
        entry.updated = updated;
    }
    let etag = entry.etag;
    let answer = Answer::ok(&view(catalogue, entry).await?);
    change.end(answer.of_row(etag)).await
}
