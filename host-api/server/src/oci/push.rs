//! Pushing: blobs in one piece, in chunks or from another repository, then the manifest that names them.

use axum::body::Body;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Response;
use hyper::body::{Bytes, Incoming};
use verdict::core::digest::Digest;
use verdict::core::name::PolicyName;
use verdict::registry::repository::{Blob, MANIFEST_BYTES_MAX, Reference, Upload};

use super::body::{After, Pieces};
use super::error::{Code, OciError};
use super::pull::answer;
use super::query::Query;
use super::{Asked, CONTENT_DIGEST, Oci, range, route};

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// How much of an upload is here, as the specification writes it. It has no form for nothing; `0-0` is what every
/// registry says.
pub(crate) fn received(bytes: u64) -> String {
    format!("0-{}", bytes.saturating_sub(1))
}

fn location(upload: &Upload) -> String {
    format!("/v2/{}/blobs/uploads/{}", upload.repository(), upload.id())
}

fn under_way(status: StatusCode, upload: &Upload, bytes: u64) -> Response {
    let headers = [
        (header::LOCATION, location(upload)),
        (header::RANGE, received(bytes)),
        (UPLOAD_UUID, upload.id().to_string()),
    ];
    answer(status, headers, Body::empty())
}

fn created(repository: &PolicyName, blob: &Blob) -> Response {
    let headers = [
        (header::LOCATION, format!("/v2/{repository}/blobs/{}", blob.digest())),
        (CONTENT_DIGEST, blob.digest().to_string()),
    ];
    answer(StatusCode::CREATED, headers, Body::empty())
}

impl Oci {
    /// `POST /v2/<name>/blobs/uploads/`: begins an upload, mounts a blob, or takes one whole.
    pub(crate) async fn begin(
        &self,
        asked: &Asked,
        repository: &PolicyName,
        body: Incoming,
    ) -> Result<Response, OciError> {
        let query = Query::of(&asked.parts.uri);
        if query.one("digest-algorithm").is_some_and(|algorithm| algorithm != "sha256") {
            return Err(OciError::bad(Code::DigestInvalid, "only sha256 digests are taken"));
        }
        if let Some(digest) = query.one("mount") {
            let mounted = self.mount(asked, repository, route::digest(digest)?, query.one("from")).await?;
            if let Some(blob) = mounted {
                return Ok(created(repository, &blob));
            }
        } else if let Some(digest) = query.one("digest") {
            return self.whole(asked, repository, route::digest(digest)?, body).await;
        }
        let upload = self.registry.begin(repository, asked.change()).await?;
        Ok(under_way(StatusCode::ACCEPTED, &upload, 0))
    }

    /// None where there is nothing that this caller may mount: the client then uploads, whatever the reason.
    async fn mount(
        &self,
        asked: &Asked,
        repository: &PolicyName,
        digest: Digest,
        from: Option<&str>,
    ) -> Result<Option<Blob>, OciError> {
        let from = match from {
            None => None,
            Some(from) => {
                let named = from.split_once('/').and_then(|(tenant, name)| PolicyName::of(tenant, name).ok());
                match named {
                    Some(from) if asked.may_see(from.tenant()).await? => Some(from),
                    _ => return Ok(None),
                }
            }
        };
        Ok(self.registry.mount(repository, from.as_ref(), digest, asked.change()).await?)
    }

    /// A blob in the body of the `POST`.
    async fn whole(
        &self,
        asked: &Asked,
        repository: &PolicyName,
        digest: Digest,
        body: Incoming,
    ) -> Result<Response, OciError> {
        let _place = self.place()?;
        let mut pieces = Pieces::new(body, self.patience);
        let (first, after) = pieces.next().await;
        let blob = match after {
            After::Broken(error) => return Err(error),
            After::End => self.registry.put_blob(repository, digest, first, asked.change()).await?,
            After::More => {
                let upload = self.registry.begin(repository, asked.change()).await?;
                let taken = async {
                    let end = self.registry.append(&upload, 0, first).await?;
                    self.append(&upload, end, &mut pieces, None).await
                };
                if let Err(error) = taken.await {
                    // The client does not know of this upload, so nobody could go on with it.
                    let _ = self.registry.cancel(&upload, asked.change()).await;
                    return Err(error);
                }
                self.registry.finish(&upload, digest, asked.change()).await?
            }
        };
        Ok(created(repository, &blob))
    }

    /// `GET` of an upload's location: how far it has come.
    pub(crate) async fn state(&self, upload: &Upload) -> Result<Response, OciError> {
        let bytes = self.registry.offset(upload).await?;
        Ok(under_way(StatusCode::NO_CONTENT, upload, bytes))
    }

    /// `DELETE` of an upload's location.
    pub(crate) async fn cancel(&self, asked: &Asked, upload: &Upload) -> Result<Response, OciError> {
        self.registry.cancel(upload, asked.change()).await?;
        Ok(answer(StatusCode::NO_CONTENT, [], Body::empty()))
    }

    /// `PATCH` of an upload's location: a chunk, at the place that it names or at the end.
    pub(crate) async fn chunk(
        &self,
        asked: &Asked,
        upload: &Upload,
        body: Incoming,
    ) -> Result<Response, OciError> {
        let end = self.take(asked, upload, body).await?;
        Ok(under_way(StatusCode::ACCEPTED, upload, end))
    }

    /// `PUT` of an upload's location: perhaps the last chunk, and the digest of the whole.
    pub(crate) async fn finish(
        &self,
        asked: &Asked,
        upload: &Upload,
        body: Incoming,
    ) -> Result<Response, OciError> {
        let query = Query::of(&asked.parts.uri);
        let missing =
            || OciError::bad(Code::DigestInvalid, "give the digest of the blob as `digest=sha256:…`");
        let digest = route::digest(query.one("digest").ok_or_else(missing)?)?;
        self.take(asked, upload, body).await?;
        let blob = self.registry.finish(upload, digest, asked.change()).await?;
        Ok(created(upload.repository(), &blob))
    }

    /// Takes a body into an upload; the new end. What comes before a body breaks off is kept.
    async fn take(&self, asked: &Asked, upload: &Upload, body: Incoming) -> Result<u64, OciError> {
        let _place = self.place()?;
        let headers = &asked.parts.headers;
        let offset = self.registry.offset(upload).await?;
        let place = range::sent(headers)?;
        if let Some(place) = &place {
            let bytes = place.end - place.start;
            if range::length(headers).is_some_and(|length| length != bytes) {
                return Err(OciError::bad(Code::SizeInvalid, "`Content-Range` and `Content-Length` differ"));
            }
            if place.start != offset {
                let message = format!("the upload continues at byte {offset}");
                return Err(OciError::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    Code::BlobUploadInvalid,
                    message,
                )
                .with(header::LOCATION, location(upload))
                .with(header::RANGE, received(offset)));
            }
        }
        let mut pieces = Pieces::new(body, self.patience);
        let end = self.append(upload, offset, &mut pieces, place.as_ref().map(|place| place.end)).await?;
        match place {
            Some(place) if end < place.end => {
                Err(OciError::bad(Code::SizeInvalid, "the body is shorter than `Content-Range` says"))
            }
            _ => Ok(end),
        }
    }

    /// Appends what is left of a body, up to an end that must not be passed; the new end. No piece is read before the
    /// one before it is durable, which slows down whoever sends faster.
    async fn append(
        &self,
        upload: &Upload,
        offset: u64,
        pieces: &mut Pieces,
        end_max: Option<u64>,
    ) -> Result<u64, OciError> {
        let mut end = offset;
        loop {
            let (mut piece, after) = pieces.next().await;
            let room = usize::try_from(end_max.map_or(u64::MAX, |max| max - end)).unwrap_or(usize::MAX);
            let surplus = piece.len() > room;
            piece.truncate(room);
            if !piece.is_empty() {
                end = self.registry.append(upload, end, piece).await?;
            }
            match after {
                _ if surplus => {
                    return Err(OciError::bad(
                        Code::SizeInvalid,
                        "the body is longer than `Content-Range` says",
                    ));
                }
                After::More => {}
                After::End => return Ok(end),
                After::Broken(error) => return Err(error),
            }
        }
    }

    /// `PUT /v2/<name>/manifests/<reference>`
    pub(crate) async fn put_manifest(
        &self,
        asked: &Asked,
        repository: &PolicyName,
        reference: &Reference,
        body: Incoming,
    ) -> Result<Response, OciError> {
        let too_large = || {
            let message = format!("a manifest may have {MANIFEST_BYTES_MAX} bytes");
            OciError::new(StatusCode::PAYLOAD_TOO_LARGE, Code::ManifestInvalid, message)
        };
        let headers = &asked.parts.headers;
        if range::length(headers).is_some_and(|length| length > MANIFEST_BYTES_MAX as u64) {
            return Err(too_large());
        }
        let _place = self.place()?;
        let bytes: Bytes =
            Pieces::new(body, self.patience).whole(MANIFEST_BYTES_MAX).await?.ok_or_else(too_large)?;
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.map(|text| text.split(';').next().unwrap_or(text).trim());
        let pushed =
            self.registry.put_manifest(repository, reference, media_type, bytes, asked.change()).await?;
        let mut head = vec![
            (header::LOCATION, format!("/v2/{repository}/manifests/{}", pushed.digest)),
            (CONTENT_DIGEST, pushed.digest.to_string()),
        ];
        head.extend(pushed.subject.map(|subject| (SUBJECT, subject.to_string())));
        Ok(answer(StatusCode::CREATED, head, Body::empty()))
    }
}
