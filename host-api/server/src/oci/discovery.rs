//! Discovery: tags, what is attached to a manifest, and which repositories there are.

use axum::http::{HeaderName, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use verdict::core::digest::Digest;
use verdict::core::name::{PolicyName, Tenant};
use verdict::core::oci::INDEX_MEDIA_TYPE;
use verdict::registry::catalogue::{Limit, ManifestEntry, Page, Tag};
use verdict::registry::repository::{Registry, RepositoryError};

use super::Asked;
use super::error::{Code, OciError};
use super::pull::answer;
use super::query::{Query, next};

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
/// What a list has at most where nobody asks for less.
const PAGE: u32 = 1_000;
/// A page of referrers is a manifest, and clients take 4 MiB of one.
const REFERRERS_BYTES_MAX: usize = 3 << 20;

/// `GET /v2/<name>/tags/list`
pub(crate) async fn tags(
    registry: &Registry,
    repository: &PolicyName,
    query: &Query,
) -> Result<Response, OciError> {
    let count = query.count()?.unwrap_or(PAGE);
    let last: Option<Tag> = match query.one("last").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => {
            let malformed = |_| OciError::bad(Code::Unsupported, "`last` is not a tag");
            Some(text.parse().map_err(malformed)?)
        }
    };
    let limit = Limit::new(count);
    let mut page = registry.tags(repository, last.as_ref(), limit).await?;
    if count == 0 {
        page = Page { items: Vec::new(), more: false };
    }
    let tags: Vec<&str> = page.items.iter().map(|entry| entry.tag.as_str()).collect();
    let body = json!({ "name": repository, "tags": tags });
    let more = page.items.last().filter(|_| page.more).map(|last| last.tag.as_str().to_owned());
    let path = format!("/v2/{repository}/tags/list");
    Ok(list(&body, more.map(|last| next(&path, &[("n", &limit.rows().to_string()), ("last", &last)]))))
}

fn list(body: &impl Serialize, link: Option<String>) -> Response {
    let mut response = crate::error::json(StatusCode::OK, body);
    if let Some(Ok(link)) = link.map(|link| link.parse()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// A descriptor in a list of referrers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: std::collections::BTreeMap<String, String>,
}

impl From<ManifestEntry> for Referrer {
    fn from(entry: ManifestEntry) -> Self {
        let ManifestEntry { digest, bytes: size, media_type, artifact_type, annotations, .. } = entry;
        Self { media_type, digest, size, artifact_type, annotations }
    }
}

/// `GET /v2/<name>/referrers/<digest>`: an index of what is attached to a manifest; an empty one where nothing is, or
/// where the caller may not see it.
pub(crate) async fn referrers(
    registry: &Registry,
    asked: &Asked,
    repository: &PolicyName,
    subject: Digest,
) -> Result<Response, OciError> {
    let query = Query::of(&asked.parts.uri);
    let filter = query.one("artifactType").filter(|text| !text.is_empty());
    let limit = Limit::new(query.count()?.unwrap_or(PAGE));
    let last = query.one("last").map(super::route::digest).transpose()?;
    let page = match asked.reading(repository).await {
        Ok(()) => registry.referrers(repository, subject, filter, last, limit).await?,
        Err(error) if error.is_not_found() => Page { items: Vec::new(), more: false },
        Err(error) => return Err(error),
    };
    let (descriptors, more) = fitting(page)?;
    let body = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX_MEDIA_TYPE}\",\"manifests\":[{}]}}",
        descriptors.join(",")
    );
    let mut head = vec![
        (header::CONTENT_TYPE, INDEX_MEDIA_TYPE.to_owned()),
        (header::CONTENT_LENGTH, body.len().to_string()),
    ];
    head.extend(filter.map(|_| (FILTERS, "artifactType".to_owned())));
    head.extend(more.map(|last| {
        let (count, last) = (limit.rows().to_string(), last.to_string());
        let mut parameters = vec![("n", count.as_str()), ("last", last.as_str())];
        parameters.extend(filter.map(|filter| ("artifactType", filter)));
        (header::LINK, next(&format!("/v2/{repository}/referrers/{subject}"), &parameters))
    }));
    Ok(answer(StatusCode::OK, head, body))
}

/// As many descriptors as fit into one answer, and the last of them where there are more.
fn fitting(page: Page<ManifestEntry>) -> Result<(Vec<String>, Option<Digest>), OciError> {
    let (mut texts, mut bytes, mut last, mut more) = (Vec::new(), 0, None, page.more);
    for entry in page.items {
        let digest = entry.digest;
        let text = serde_json::to_string(&Referrer::from(entry))
            .map_err(|error| OciError::bad(Code::Unknown, error.to_string()))?;
        if bytes + text.len() > REFERRERS_BYTES_MAX && !texts.is_empty() {
            more = true;
            break;
        }
        bytes += text.len();
        last = Some(digest);
        texts.push(text);
    }
    Ok((texts, last.filter(|_| more)))
}

/// `GET /v2/_catalog`: the repositories of the tenants that the caller may see.
pub(crate) async fn catalog(registry: &Registry, asked: &Asked) -> Result<Response, OciError> {
    let query = Query::of(&asked.parts.uri);
    let count = query.count()?.unwrap_or(PAGE);
    let limit = Limit::new(count);
    let last = query.one("last").and_then(|text| text.parse::<PolicyName>().ok());
    let mut names = repositories(registry, asked, last.as_ref(), limit).await?;
    let more = names.len() > limit.rows() && count > 0;
    names.truncate(if count == 0 { 0 } else { limit.rows() });
    let link = names
        .last()
        .filter(|_| more)
        .map(|last| next("/v2/_catalog", &[("n", &limit.rows().to_string()), ("last", &last.to_string())]));
    Ok(list(&json!({ "repositories": names }), link))
}

/// Those after one, and one more than asked for if there is one.
async fn repositories(
    registry: &Registry,
    asked: &Asked,
    last: Option<&PolicyName>,
    limit: Limit,
) -> Result<Vec<PolicyName>, OciError> {
    let catalogue = registry.catalogue();
    let (mut names, mut tenant) = (Vec::new(), last.map(|last| last.tenant().clone()));
    if let (Some(tenant), Some(last)) = (&tenant, last)
        && asked.may_see(tenant).await?
    {
        let page =
            catalogue.repositories(tenant, Some(last.name()), limit).await.map_err(RepositoryError::from)?;
        let more = page.more.then(|| page.items.last().cloned()).flatten();
        names.extend(page.items);
        // Which one comes next does not matter, only that one does.
        names.extend(more);
    }
    while names.len() <= limit.rows() {
        let page =
            catalogue.tenants(tenant.as_ref(), Limit::new(PAGE)).await.map_err(RepositoryError::from)?;
        for entry in &page.items {
            names.extend(of_tenant(registry, asked, &entry.name, limit).await?);
            if names.len() > limit.rows() {
                break;
            }
        }
        tenant = page.items.last().map(|entry| entry.name.clone());
        if !page.more {
            break;
        }
    }
    Ok(names)
}

async fn of_tenant(
    registry: &Registry,
    asked: &Asked,
    tenant: &Tenant,
    limit: Limit,
) -> Result<Vec<PolicyName>, OciError> {
    if !asked.may_see(tenant).await? {
        return Ok(Vec::new());
    }
    let page = registry.catalogue().repositories(tenant, None, limit).await.map_err(RepositoryError::from)?;
    let more = page.more.then(|| page.items.last().cloned()).flatten();
    Ok(page.items.into_iter().chain(more).collect())
}
