//! One repository of a registry: the requests of the OCI Distribution specification 1.1 that moving a version takes.
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LINK, LOCATION};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use verdict_core::digest::Digest;
use verdict_core::oci::{self, Descriptor, Index};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::statement;

use super::error::RemoteError;
use super::reference::{Named, Reference, Repository, Tag};
use super::wire::{Answer, Call, Wire, persist};
use crate::attached::{self, Attached};
use crate::layout::the_image;

/// The media types of what a version may be stored as.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
/// A page of a list of names, in bytes.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// How many pages of a list are read.
const PAGES_MAX: usize = 64;
/// How many names of a list are kept.
const NAMES_MAX: usize = 20_000;
/// How often the list of referrers under a tag is read and written again, when others write it too.
const MERGES_MAX: usize = 8;

/// The image that a reference means.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
}

/// What refers to an image.
pub(crate) struct Referrers {
    /// Whether the registry lists them itself; if not, it is done under a tag.
    pub(crate) by_registry: bool,
    /// What may be a statement. Some registries list the type of its config, which says nothing.
    pub(crate) candidates: Vec<Descriptor>,
}

impl Referrers {
    /// Whether a manifest is listed.
    pub(crate) fn list(&self, digest: Digest) -> bool {
        self.candidates.iter().any(|candidate| candidate.digest == digest)
    }
}

/// An index whose entries keep the members that we do not know.
#[derive(Serialize, Deserialize)]
struct LooseIndex {
    #[serde(default)]
    manifests: Vec<Value>,
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

/// Requests to one repository.
pub(crate) struct Session {
    wire: Wire,
    repository: Repository,
}

impl Session {
    pub(crate) fn new(wire: Wire, repository: Repository) -> Self {
        Self { wire, repository }
    }

    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repository.path())
    }

    /// The image of a tag or digest: an image manifest, or the only one of an index, as some tools store it.
    pub(crate) async fn image(&self, named: &Named) -> Result<Option<Found>, RemoteError> {
        let Some((found, media_type)) = self.manifest(named).await? else { return Ok(None) };
        if media_type != oci::INDEX_MEDIA_TYPE {
            return Ok(Some(found));
        }
        let what = Reference::to_string(&self.reference(named));
        let index: Index = parse(&found.bytes, oci::MANIFEST_BYTES_MAX, &what)?;
        let image = the_image(&index, &what)?;
        let inner = self.manifest(&Named::Digest(image.digest)).await?;
        Ok(Some(inner.ok_or_else(|| self.missing(&Named::Digest(image.digest)))?.0))
    }

    /// The digest of what a tag or digest names.
    pub(crate) async fn digest(&self, named: &Named) -> Result<Option<Digest>, RemoteError> {
        Ok(self.image(named).await?.map(|found| found.digest))
    }

    fn reference(&self, named: &Named) -> Reference {
        match named {
            Named::Tag(tag) => self.repository.tagged(tag.clone()),
            Named::Digest(digest) => self.repository.digested(*digest),
        }
    }

    pub(crate) fn missing(&self, named: &Named) -> RemoteError {
        let what = format!("{}{named}", self.repository.path());
        RemoteError::Missing { host: self.wire.host().clone(), what }
    }

    async fn manifest(&self, named: &Named) -> Result<Option<(Found, String)>, RemoteError> {
        let mut call = Call::new(Method::GET, self.path(&format!("manifests/{}", path_of(named))));
        call.accept = Some(MANIFESTS);
        call.bytes_max = oci::MANIFEST_BYTES_MAX;
        let answer = self.wire.send(call.clone()).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.wire.complaint(&call, &answer)),
        }
        let digest = Digest::of(&answer.body);
        let expected = match named {
            Named::Digest(digest) => Some(*digest),
            // It may have changed on the way; whether it is the right one, signatures say.
            Named::Tag(_) => stated_digest(&answer.headers),
        };
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(self.mismatch(expected, digest).into());
        }
        let media_type = media_type(&answer);
        Ok(Some((Found { digest, bytes: answer.body }, media_type)))
    }

    fn mismatch(&self, expected: Digest, found: Digest) -> Refusal {
        let message = format!("`{}` sent {found} for {expected}", self.repository);
        Refusal::new(RefusalCode::DigestMismatch, message)
    }

    /// Stores a manifest; whether the registry lists it among the referrers of its subject.
    pub(crate) async fn put_manifest(
        &self,
        named: &Named,
        media_type: &'static str,
        bytes: Bytes,
    ) -> Result<bool, RemoteError> {
        let mut call = Call::new(Method::PUT, self.path(&format!("manifests/{}", path_of(named))));
        call.content = Some((media_type, bytes));
        let answer = self.wire.send(call.clone()).await?;
        if answer.status != StatusCode::CREATED && answer.status != StatusCode::OK {
            return Err(self.wire.complaint(&call, &answer));
        }
        Ok(answer.headers.contains_key("oci-subject"))
    }

    /// Whether the manifest of this digest is stored.
    pub(crate) async fn has_manifest(&self, digest: Digest) -> Result<bool, RemoteError> {
        let mut call = Call::new(Method::HEAD, self.path(&format!("manifests/{digest}")));
        call.accept = Some(MANIFESTS);
        self.exists(call).await
    }

    /// Whether the blob of this digest is stored.
    pub(crate) async fn has_blob(&self, digest: Digest) -> Result<bool, RemoteError> {
        self.exists(Call::new(Method::HEAD, self.path(&format!("blobs/{digest}")))).await
    }

    async fn exists(&self, call: Call) -> Result<bool, RemoteError> {
        let answer = self.wire.send(call.clone()).await?;
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.wire.complaint(&call, &answer)),
        }
    }

    /// A blob, checked against its descriptor; its size is to be checked before.
    pub(crate) async fn blob(&self, descriptor: &Descriptor) -> Result<Bytes, RemoteError> {
        let mut call = Call::new(Method::GET, self.path(&format!("blobs/{}", descriptor.digest)));
        call.is_blob = true;
        // An empty answer to an empty blob is read like any.
        call.bytes_max = usize::try_from(descriptor.size).unwrap_or(usize::MAX).max(1);
        let answer = self.wire.send(call.clone()).await?;
        match answer.status {
            StatusCode::OK if descriptor.describes(&answer.body) => Ok(answer.body),
            StatusCode::OK => Err(self.mismatch(descriptor.digest, Digest::of(&answer.body)).into()),
            StatusCode::NOT_FOUND => {
                let what = format!("{}@{}", self.repository.path(), descriptor.digest);
                Err(RemoteError::Missing { host: self.wire.host().clone(), what })
            }
            _ => Err(self.wire.complaint(&call, &answer)),
        }
    }

    /// Stores a blob. What is interrupted begins anew: what an upload got of it so far is not known.
    pub(crate) async fn put_blob(&self, digest: Digest, bytes: Bytes) -> Result<(), RemoteError> {
        persist(|| self.upload(digest, bytes.clone())).await
    }

    /// Two requests: one opens the upload, one sends everything.
    async fn upload(&self, digest: Digest, bytes: Bytes) -> Result<(), RemoteError> {
        let location = match self.open_upload(&self.path("blobs/uploads/")).await? {
            Upload::Open(location) => location,
            Upload::Done => return Ok(()),
        };
        let separator = if location.contains('?') { '&' } else { '?' };
        let mut call = Call::new(Method::PUT, format!("{location}{separator}digest={digest}"));
        call.is_blob = true;
        call.content = Some(("application/octet-stream", bytes));
        let answer = self.wire.send_once(&call).await?;
        if answer.status == StatusCode::CREATED { Ok(()) } else { Err(self.wire.complaint(&call, &answer)) }
    }

    /// Takes a blob over from another repository of the same registry; whether the registry did it.
    pub(crate) async fn mount(&self, digest: Digest, from: &Repository) -> Result<bool, RemoteError> {
        let path = self.path(&format!("blobs/uploads/?mount={digest}&from={}", from.path()));
        // A registry that does not opens an upload instead, which it forgets when nothing comes.
        Ok(matches!(persist(|| self.open_upload(&path)).await?, Upload::Done))
    }

    async fn open_upload(&self, path: &str) -> Result<Upload, RemoteError> {
        let call = Call::new(Method::POST, path);
        let answer = self.wire.send_once(&call).await?;
        match answer.status {
            StatusCode::CREATED => Ok(Upload::Done),
            StatusCode::ACCEPTED => {
                let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok());
                let location = location.and_then(|location| answer.url.join(location).ok());
                let location =
                    location.ok_or_else(|| self.wire.unreachable("it opens an upload nowhere".into()))?;
                Ok(Upload::Open(location.into()))
            }
            _ => Err(self.wire.complaint(&call, &answer)),
        }
    }

    /// What refers to an image: from the registry, or where it has no list, from the tag. It is not asked to filter:
    /// what it takes something for need not be what that is.
    pub(crate) async fn referrers(&self, image: Digest) -> Result<Referrers, RemoteError> {
        let mut next = Some(self.path(&format!("referrers/{image}")));
        let mut entries = Vec::new();
        for page in 0..PAGES_MAX {
            let Some(url) = next.take() else { break };
            let mut call = Call::new(Method::GET, url);
            call.accept = Some(oci::INDEX_MEDIA_TYPE);
            call.bytes_max = PAGE_BYTES_MAX;
            let answer = self.wire.send(call.clone()).await?;
            match answer.status.as_u16() {
                200 => {}
                // What registries without this list answer.
                400 | 404 | 405 | 406 | 501 if page == 0 => return self.tagged_referrers(image).await,
                _ => return Err(self.wire.complaint(&call, &answer)),
            }
            let index: LooseIndex = parse(&answer.body, PAGE_BYTES_MAX, &call.url)?;
            entries.extend(index.manifests);
            next = next_page(&self.wire, &answer)?;
        }
        no_more(&self.wire, next.as_deref())?;
        let candidates = candidates(entries, &self.repository.digested(image))?;
        Ok(Referrers { by_registry: true, candidates })
    }

    async fn tagged_referrers(&self, image: Digest) -> Result<Referrers, RemoteError> {
        let entries = self.referrers_index(image).await?.manifests;
        let candidates = candidates(entries, &self.repository.digested(image))?;
        Ok(Referrers { by_registry: false, candidates })
    }

    async fn referrers_index(&self, image: Digest) -> Result<LooseIndex, RemoteError> {
        let named = Named::Tag(Tag::of_referrers(image));
        match self.manifest(&named).await? {
            Some((found, _)) => {
                let what = self.reference(&named).to_string();
                Ok(parse(&found.bytes, oci::MANIFEST_BYTES_MAX, &what)?)
            }
            None => {
                let others = [("schemaVersion", Value::from(2)), ("mediaType", oci::INDEX_MEDIA_TYPE.into())];
                let others = others.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
                Ok(LooseIndex { manifests: Vec::new(), others })
            }
        }
    }

    /// Lists statements under the tag, beside what others list there. Two who do so at once can write over each other:
    /// so it is read again afterwards, and done again where an entry is gone.
    pub(crate) async fn list_under_tag(
        &self,
        image: Digest,
        statements: &[Descriptor],
    ) -> Result<(), RemoteError> {
        let pauses = ExponentialBuilder::new().with_min_delay(Duration::from_millis(50)).with_jitter();
        let mut pauses = pauses.with_max_times(MERGES_MAX).build();
        loop {
            let mut index = self.referrers_index(image).await?;
            let listed = |descriptor: &Descriptor| {
                let digest = descriptor.digest.to_string();
                index
                    .manifests
                    .iter()
                    .any(|entry| entry.get("digest").and_then(Value::as_str) == Some(&digest))
            };
            let new: Vec<_> = statements.iter().filter(|statement| !listed(statement)).collect();
            if new.is_empty() {
                return Ok(());
            }
            // Only after having looked once more: the last one may have stayed.
            let Some(pause) = pauses.next() else { return Err(self.unlisted(image, new.len())) };
            let new = new.into_iter().filter_map(|statement| serde_json::to_value(statement).ok());
            index.manifests.extend(new);
            let bytes = serde_json::to_vec(&index).unwrap_or_default();
            if bytes.len() > oci::MANIFEST_BYTES_MAX {
                let message = format!("`{}` lists too many referrers of {image}", self.repository);
                return Err(Refusal::new(RefusalCode::TooLarge, message).into());
            }
            let named = Named::Tag(Tag::of_referrers(image));
            self.put_manifest(&named, oci::INDEX_MEDIA_TYPE, bytes.into()).await?;
            // Those who collide do not go on in step.
            tokio::time::sleep(pause).await;
        }
    }

    /// The statements about an image, as they are attached to it.
    pub(crate) async fn attached(&self, image: Digest) -> Result<Vec<Attached>, RemoteError> {
        let mut attached = Vec::new();
        for listed in self.referrers(image).await?.candidates {
            let named = Named::Digest(listed.digest);
            let (found, _) = self.manifest(&named).await?.ok_or_else(|| self.missing(&named))?;
            let what = self.reference(&named).to_string();
            let is_statement = listed.artifact_type.as_deref() == Some(statement::MEDIA_TYPE)
                || attached::is_statement(&found.bytes);
            if is_statement {
                attached.push(Attached::parse(&listed, found.bytes.into(), image, &what)?);
            }
        }
        Ok(attached)
    }

    pub(crate) fn unlisted(&self, image: Digest, missing: usize) -> RemoteError {
        RemoteError::Unlisted { host: self.wire.host().clone(), image, missing }
    }

    /// Every tag of the repository, sorted.
    pub(crate) async fn tags(&self) -> Result<Option<Vec<Tag>>, RemoteError> {
        #[derive(Deserialize)]
        struct Page {
            // Registries write null for none.
            tags: Option<Vec<String>>,
        }
        let path = self.path("tags/list?n=1000");
        let names = names(&self.wire, path, |page: Page| page.tags.unwrap_or_default()).await?;
        let Some(names) = names else { return Ok(None) };
        let mut tags: Vec<Tag> = names.iter().filter_map(|name| name.parse().ok()).collect();
        tags.sort();
        tags.dedup();
        Ok(Some(tags))
    }
}

enum Upload {
    /// Where the bytes go.
    Open(String),
    /// The registry has them already.
    Done,
}

/// Every repository of a registry, sorted; none, where it does not tell.
pub(crate) async fn repositories(wire: &Wire) -> Result<Option<Vec<Repository>>, RemoteError> {
    #[derive(Deserialize)]
    struct Page {
        repositories: Option<Vec<String>>,
    }
    let path = "/v2/_catalog?n=1000".to_owned();
    let names = names(wire, path, |page: Page| page.repositories.unwrap_or_default()).await?;
    Ok(names.map(|names| {
        let mut repositories: Vec<_> =
            names.iter().filter_map(|name| Repository::of(wire.host(), name).ok()).collect();
        repositories.sort();
        repositories.dedup();
        repositories
    }))
}

/// A list that comes in pages.
async fn names<P: serde::de::DeserializeOwned>(
    wire: &Wire,
    path: String,
    names_of: impl Fn(P) -> Vec<String>,
) -> Result<Option<Vec<String>>, RemoteError> {
    let mut names = Vec::new();
    let mut next = Some(path);
    for page in 0..PAGES_MAX {
        let Some(url) = next.take() else { break };
        let mut call = Call::new(Method::GET, url);
        call.bytes_max = PAGE_BYTES_MAX;
        let answer = wire.send(call.clone()).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if page == 0 => return Ok(None),
            _ => return Err(wire.complaint(&call, &answer)),
        }
        names.extend(names_of(parse(&answer.body, PAGE_BYTES_MAX, &call.url)?));
        next = next_page(wire, &answer)?;
        if names.len() > NAMES_MAX {
            let message = format!("`{}` lists more than {NAMES_MAX} names", wire.host());
            return Err(Refusal::new(RefusalCode::TooLarge, message).into());
        }
    }
    no_more(wire, next.as_deref())?;
    Ok(Some(names))
}

/// A list that is cut off would look like a whole one.
fn no_more(wire: &Wire, next: Option<&str>) -> Result<(), Refusal> {
    if next.is_none() {
        return Ok(());
    }
    let message = format!("`{}` lists more than {PAGES_MAX} pages", wire.host());
    Err(Refusal::new(RefusalCode::TooLarge, message))
}

/// Where a list goes on, of RFC 8288: `<URL>; rel="next"`.
fn next_page(wire: &Wire, answer: &Answer) -> Result<Option<String>, RemoteError> {
    let Some(link) = answer.headers.get(LINK) else { return Ok(None) };
    let malformed = || wire.unreachable("it says malformedly where a list goes on".into());
    let link = link.to_str().map_err(|_| malformed())?;
    let (url, parameters) =
        link.trim().strip_prefix('<').and_then(|link| link.split_once('>')).ok_or_else(malformed)?;
    if !parameters.replace([' ', '"'], "").to_ascii_lowercase().contains("rel=next") {
        return Ok(None);
    }
    Ok(Some(answer.url.join(url).map_err(|_| malformed())?.into()))
}

fn path_of(named: &Named) -> String {
    match named {
        Named::Tag(tag) => tag.to_string(),
        Named::Digest(digest) => digest.to_string(),
    }
}

/// The digest that a registry says what it sends has; none, if it is of a kind that we do not know.
fn stated_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

/// What a manifest is, by the manifest itself where it says so.
fn media_type(answer: &Answer) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Own {
        media_type: Option<String>,
    }
    let own = verdict_core::json::parse::<Own>(&answer.body, oci::MANIFEST_BYTES_MAX).ok();
    own.and_then(|own| own.media_type).unwrap_or_else(|| {
        let header = answer.headers.get(CONTENT_TYPE).and_then(|header| header.to_str().ok());
        header.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned()
    })
}

/// What may be a statement among the entries of a list. What others attached may be of any form.
fn candidates(entries: Vec<Value>, image: &Reference) -> Result<Vec<Descriptor>, Refusal> {
    let may_be = |entry: &Value| {
        let artifact_type = entry.get("artifactType").and_then(Value::as_str).unwrap_or_default();
        matches!(artifact_type, "" | oci::EMPTY_MEDIA_TYPE | statement::MEDIA_TYPE)
    };
    let mut candidates: Vec<Descriptor> = Vec::new();
    for entry in entries.into_iter().filter(may_be) {
        let descriptor = serde_json::from_value::<Descriptor>(entry).map_err(|error| {
            let message = format!("a statement about `{image}` is listed malformedly: {error}");
            Refusal::new(RefusalCode::MalformedArtifact, message)
        })?;
        if !candidates.iter().any(|candidate| candidate.digest == descriptor.digest) {
            candidates.push(descriptor);
        }
    }
    attached::check_count(candidates.len(), &image.to_string())?;
    Ok(candidates)
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], bytes_max: usize, what: &str) -> Result<T, Refusal> {
    crate::layout::parse(bytes, bytes_max, what)
}
