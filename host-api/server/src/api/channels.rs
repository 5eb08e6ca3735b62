//! Channels: which versions answer.

use std::sync::Arc;

use axum::extract::State;
use semver::Version;
use serde::Deserialize;
use utoipa::ToSchema;
use verdict::core::digest::Digest;
use verdict::core::name::{ChannelName, PolicyName};
use verdict::core::pointer::Pointer;
use verdict::core::trust::{Guard, Sticky};
use verdict::registry::catalogue::DocumentName;
use verdict::registry::publish::Activation;

use super::answer::Answered;
use super::body::{Asking, Json, Paging, Signed};
use super::documents::{self, DocumentView, PublishedView};
use super::gate::Asked;
use super::page::Items;
use super::policies;
use super::problem::Problem;
use crate::routes::App;

/// How long a state holds that the server signs, where nobody says otherwise.
const DAYS: u32 = 90;

/// What is to answer in a channel.
#[derive(Deserialize, ToSchema)]
#[schema(as = Activation)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivationText {
    /// The versions that answer. The first is the one that a guard goes back to.
    #[schema(min_items = 1, max_items = 16)]
    versions: Vec<ShareText>,
    /// A version that is asked as well and never answers.
    #[schema(value_type = Option<String>)]
    shadow: Option<Version>,
    /// What makes the same question go to the same version: `{"pointer": "/member/of/the/input"}` or
    /// `{"caller": true}`.
    #[schema(value_type = Option<StickyText>)]
    sticky: Option<Sticky>,
    /// The digest of the data snapshot's content; the tenant's newest if nothing is said.
    #[schema(value_type = Option<String>)]
    data: Option<Digest>,
    /// When a split turns back by itself.
    #[schema(value_type = Option<GuardText>)]
    guard: Option<Guard>,
    /// How many days the state holds.
    #[serde(default = "days")]
    #[schema(minimum = 1, maximum = 3650, default = 90)]
    days: u32,
}

/// A version and its share of the questions.
#[derive(Deserialize, ToSchema)]
#[schema(as = Share)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShareText {
    /// The version.
    #[schema(value_type = String, examples("1.2.0"))]
    version: Version,
    /// Its share, of the sum of all weights.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    weight: u32,
}

/// What makes the same question go to the same version: one of the two.
#[derive(ToSchema)]
#[schema(as = Sticky)]
#[expect(dead_code, reason = "the schema of `Sticky`")]
pub(crate) struct StickyText {
    /// A member of the input.
    #[schema(value_type = Option<String>)]
    pointer: Option<Pointer>,
    /// Who asks; only `true`.
    caller: Option<bool>,
}

/// Bounds on the newest version of a split.
#[derive(ToSchema)]
#[schema(as = Guard)]
#[expect(dead_code, reason = "the schema of `Guard`")]
pub(crate) struct GuardText {
    /// The largest share of denials, 0 to 1.
    deny_rate_max: Option<f64>,
    /// The largest share of faults, 0 to 1.
    fault_rate_max: Option<f64>,
    /// The most fuel, as a multiple of what the other versions burn.
    fuel_ratio_max: Option<f64>,
    /// How many decisions are needed before it is judged.
    decisions_min: u64,
}

/// From where to promote.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promotion {
    /// The channel whose versions are to answer here, too.
    #[schema(value_type = String, examples("staging"))]
    from: ChannelName,
    /// How many days the state holds.
    #[serde(default = "days")]
    #[schema(minimum = 1, maximum = 3650, default = 90)]
    days: u32,
}

/// To where to go back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// The version; what answered before if nothing is said.
    #[schema(value_type = Option<String>)]
    to: Option<Version>,
    /// How many days the state holds.
    #[serde(default = "days")]
    #[schema(minimum = 1, maximum = 3650, default = 90)]
    days: u32,
}

const fn days() -> u32 {
    DAYS
}

const fn one() -> u32 {
    1
}

fn place(asked: &Asked) -> Result<(PolicyName, ChannelName), Problem> {
    Ok((asked.place.policy()?.clone(), asked.place.channel()?.clone()))
}

fn document(asked: &Asked) -> Result<DocumentName, Problem> {
    Ok(DocumentName::channel(asked.place.policy()?, asked.place.channel()?.as_str())?)
}

/// The newest state of each of a policy's channels, by name.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies/{policy}/channels", tag = "channels",
    operation_id = "list_channels", params(Paging),
    responses((status = 200, description = "a page of states", body = Items<DocumentView>)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(paging): Asking<Paging>,
) -> Answered {
    let (catalogue, policy) = (app.catalogue()?, asked.place.policy()?);
    let after: Option<ChannelName> = paging.after()?;
    let after = after.map(|channel| DocumentName::channel(policy, channel.as_str())).transpose()?;
    let page = catalogue.channels(policy, after.as_ref(), paging.limit()?).await?;
    if page.items.is_empty() {
        policies::require(catalogue, policy).await?;
    }
    let channel = |scope: &str| scope.split_once('@').map_or("", |(_, channel)| channel).to_owned();
    Ok(documents::listed(page, |entry| channel(entry.name.scope())))
}

/// The newest state of a channel.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies/{policy}/channels/{channel}", tag = "channels",
    operation_id = "read_channel", responses((status = 200, description = "the state", body = DocumentView)))]
pub(super) async fn read(State(app): State<Arc<App>>, asked: Asked) -> Answered {
    documents::newest(app.catalogue()?, &asked, &document(&asked)?).await
}

/// The states of a channel, the newest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies/{policy}/channels/{channel}/states", tag = "channels",
    operation_id = "list_channel_states", params(Paging),
    responses((status = 200, description = "a page of states", body = Items<DocumentView>)))]
pub(super) async fn states(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(paging): Asking<Paging>,
) -> Answered {
    documents::history(app.catalogue()?, &document(&asked)?, &paging).await
}

/// Puts the next state of a channel, signed by as many releasers as the trust policy demands.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/policies/{policy}/channels/{channel}", tag = "channels",
    operation_id = "put_channel",
    request_body(content = Object, content_type = "application/vnd.dsse.envelope.v1+json"),
    responses((status = 200, description = "it is the newest", body = PublishedView),
        (status = 201, description = "it is the first", body = PublishedView)))]
pub(super) async fn put(State(app): State<Arc<App>>, asked: Asked, Signed(envelope): Signed) -> Answered {
    let (policy, channel) = place(&asked)?;
    let ready = app.publisher()?.channel(&policy, &channel, &envelope, asked.now).await;
    documents::publish(app.catalogue()?, asked, &ready.map_err(Problem::from)?, false).await
}

/// Lets versions answer in a channel: the server signs the next state with its activation key.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/channels/{channel}/activate", tag = "channels",
    operation_id = "activate", request_body = ActivationText,
    responses((status = 200, description = "it is the newest", body = PublishedView),
        (status = 201, description = "it is the first", body = PublishedView)))]
pub(super) async fn activate(
    State(app): State<Arc<App>>,
    asked: Asked,
    Json(text): Json<ActivationText>,
) -> Answered {
    let (policy, channel) = place(&asked)?;
    let ActivationText { versions, shadow, sticky, data, guard, days } = text;
    let versions = versions.into_iter().map(|share| (share.version, share.weight)).collect();
    let activation = Activation { versions, shadow, sticky, data, guard, days };
    let ready = app.publisher()?.activation(&policy, &channel, &activation, asked.now).await;
    documents::publish(app.catalogue()?, asked, &ready.map_err(Problem::from)?, true).await
}

/// Lets answer in a channel what answers in another.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/channels/{channel}/promote", tag = "channels",
    operation_id = "promote", request_body = Promotion,
    responses((status = 200, description = "it is the newest", body = PublishedView),
        (status = 201, description = "it is the first", body = PublishedView)))]
pub(super) async fn promote(
    State(app): State<Arc<App>>,
    asked: Asked,
    Json(Promotion { from, days }): Json<Promotion>,
) -> Answered {
    let (policy, to) = place(&asked)?;
    let ready = app.publisher()?.promotion(&policy, &to, &from, days, asked.now).await;
    documents::publish(app.catalogue()?, asked, &ready.map_err(Problem::from)?, true).await
}

/// Goes back to a version, or to what answered before.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/channels/{channel}/rollback", tag = "channels",
    operation_id = "rollback", request_body = Rollback,
    responses((status = 200, description = "it is the newest", body = PublishedView)))]
pub(super) async fn rollback(
    State(app): State<Arc<App>>,
    asked: Asked,
    Json(Rollback { to, days }): Json<Rollback>,
) -> Answered {
    let (policy, channel) = place(&asked)?;
    let ready = app.publisher()?.rollback(&policy, &channel, to.as_ref(), days, asked.now).await;
    documents::publish(app.catalogue()?, asked, &ready.map_err(Problem::from)?, true).await
}
