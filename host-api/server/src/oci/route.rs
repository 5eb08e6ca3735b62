//! Which part of the API a path means. Names are two labels here, so nothing in a path needs decoding but the colon of
//! a digest, which some clients encode.

use axum::http::{Method, StatusCode};
use verdict::core::digest::Digest;
use verdict::core::name::PolicyName;
use verdict::registry::repository::{Reference, ReferenceError};
use verdict::registry::store::UploadId;

use super::error::{Code, OciError};

/// One endpoint of the specification with what the path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`: whether this is a registry.
    Base,
    /// `/v2/_catalog`: which repositories there are. Not of the specification; `crane catalog` asks for it.
    Catalog,
    Manifest(PolicyName, Reference),
    Blob(PolicyName, Digest),
    Uploads(PolicyName),
    Upload(PolicyName, UploadId),
    Tags(PolicyName),
    Referrers(PolicyName, Digest),
}

/// Whether a path is of this API at all.
pub(crate) fn is_here(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

impl Route {
    /// Reads a path that [`is_here`].
    pub(crate) fn parse(method: &Method, path: &str) -> Result<Self, OciError> {
        let asks = matches!(*method, Method::GET | Method::HEAD | Method::DELETE);
        let absent = |text: &str, code| {
            let absent = asks && is_of_another_algorithm(text);
            move |error| if absent { not_found(code) } else { error }
        };
        let rest = path.strip_prefix("/v2").unwrap_or(path);
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let segments: Vec<&str> = rest.split('/').collect();
        match segments.as_slice() {
            [""] => Ok(Self::Base),
            ["_catalog"] => Ok(Self::Catalog),
            [name @ .., "manifests", text] => {
                let reference = reference(text).map_err(absent(text, Code::ManifestUnknown));
                Ok(Self::Manifest(repository(name)?, reference?))
            }
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Ok(Self::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", id] => Ok(Self::Upload(repository(name)?, upload(id)?)),
            [name @ .., "blobs", text] => {
                let digest = digest(text).map_err(absent(text, Code::BlobUnknown));
                Ok(Self::Blob(repository(name)?, digest?))
            }
            [name @ .., "tags", "list"] => Ok(Self::Tags(repository(name)?)),
            [name @ .., "referrers", digest] => Ok(Self::Referrers(repository(name)?, self::digest(digest)?)),
            _ => {
                let message =
                    "there is nothing here; see the endpoints of the OCI Distribution specification";
                Err(OciError::new(StatusCode::NOT_FOUND, Code::Unsupported, message))
            }
        }
    }
}

/// Whether this is a digest that only a registry of more algorithms could have.
fn is_of_another_algorithm(text: &str) -> bool {
    let text = decoded(text);
    let Some((algorithm, encoded)) = text.split_once(':') else { return false };
    let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+._-=".contains(&byte));
    !algorithm.is_empty() && !encoded.is_empty() && word(algorithm) && word(encoded) && algorithm != "sha256"
}

fn not_found(code: Code) -> OciError {
    let message = "only sha256 digests are taken here, so there is nothing under another";
    OciError::new(StatusCode::NOT_FOUND, code, message)
}

fn repository(name: &[&str]) -> Result<PolicyName, OciError> {
    let name = match name {
        [tenant, policy] => PolicyName::of(tenant, policy).ok(),
        _ => None,
    };
    name.ok_or_else(|| {
        let message =
            "a repository is named `tenant/policy`, each lower-case letters, digits and inner hyphens";
        OciError::bad(Code::NameInvalid, message)
    })
}

fn decoded(text: &str) -> String {
    text.replace("%3A", ":").replace("%3a", ":")
}

fn reference(text: &str) -> Result<Reference, OciError> {
    decoded(text).parse().map_err(|error: ReferenceError| match error {
        ReferenceError::Digest => OciError::bad(Code::DigestInvalid, error.to_string()),
        ReferenceError::Tag => OciError::bad(Code::ManifestInvalid, error.to_string()),
    })
}

/// A digest of a path or of a parameter.
pub(crate) fn digest(text: &str) -> Result<Digest, OciError> {
    decoded(text).parse().map_err(|_| OciError::bad(Code::DigestInvalid, ReferenceError::Digest.to_string()))
}

fn upload(text: &str) -> Result<UploadId, OciError> {
    text.parse().map_err(|_| {
        let message = "this is not an upload; use the location that the registry gave";
        OciError::new(StatusCode::NOT_FOUND, Code::BlobUploadUnknown, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(path: &str) -> Result<Route, OciError> {
        Route::parse(&Method::GET, path)
    }

    #[test]
    fn reads_every_endpoint_of_the_specification() {
        let loan: PolicyName = "bank/loan".parse().unwrap();
        let digest = DIGEST.parse().unwrap();
        let id = "00112233445566778899aabbccddeeff";
        for (path, route) in [
            ("/v2".to_owned(), Route::Base),
            ("/v2/".to_owned(), Route::Base),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/bank/loan/tags/list".to_owned(), Route::Tags(loan.clone())),
            ("/v2/bank/loan/blobs/uploads/".to_owned(), Route::Uploads(loan.clone())),
            ("/v2/bank/loan/blobs/uploads".to_owned(), Route::Uploads(loan.clone())),
            (format!("/v2/bank/loan/blobs/uploads/{id}"), Route::Upload(loan.clone(), id.parse().unwrap())),
            (format!("/v2/bank/loan/blobs/{DIGEST}"), Route::Blob(loan.clone(), digest)),
            (
                format!("/v2/bank/loan/blobs/{}", DIGEST.replace(':', "%3A")),
                Route::Blob(loan.clone(), digest),
            ),
            (format!("/v2/bank/loan/referrers/{DIGEST}"), Route::Referrers(loan.clone(), digest)),
            (
                "/v2/bank/loan/manifests/1.0.0".to_owned(),
                Route::Manifest(loan.clone(), Reference::Tag("1.0.0".parse().unwrap())),
            ),
            (format!("/v2/bank/loan/manifests/{DIGEST}"), Route::Manifest(loan, Reference::Digest(digest))),
        ] {
            assert_eq!(parse(&path).unwrap(), route, "{path}");
        }
    }

    #[test]
    fn a_policy_may_be_named_like_a_part_of_the_api() {
        let name: PolicyName = "tags/manifests".parse().unwrap();
        assert_eq!(parse("/v2/tags/manifests/tags/list").unwrap(), Route::Tags(name.clone()));
        let latest = Reference::Tag("latest".parse().unwrap());
        assert_eq!(parse("/v2/tags/manifests/manifests/latest").unwrap(), Route::Manifest(name, latest));
        let name: PolicyName = "v2/v2".parse().unwrap();
        assert_eq!(parse("/v2/v2/v2/tags/list").unwrap(), Route::Tags(name));
        let name = "blobs/uploads".parse().unwrap();
        assert_eq!(parse("/v2/blobs/uploads/blobs/uploads/").unwrap(), Route::Uploads(name));
    }

    #[test]
    fn refuses_names_of_one_three_or_odd_parts() {
        for name in ["loan", "a/b/c", "a//b", "A/b", "../b", "a/b_c", "/a/b", "", "a/%62"] {
            let error = format!("{:?}", parse(&format!("/v2/{name}/tags/list")).unwrap_err());
            assert!(error.contains("NameInvalid"), "{name}: {error}");
        }
        let put = Route::parse(&Method::PUT, "/v2/a/b/manifests/sha512:00").unwrap_err();
        assert!(format!("{put:?}").contains("DigestInvalid"));
        for path in ["/v2/a/b/manifests/sha512:00", "/v2/a/b/blobs/sha512:00"] {
            assert!(format!("{:?}", parse(path).unwrap_err()).contains("Unknown"), "nothing is there");
        }
        for path in [
            "/v2/a/b/manifests/sha256:00",
            "/v2/a/b/manifests/.a",
            "/v2/a/b/blobs/latest",
            "/v2/a/b/referrers/x",
            "/v2/a/b/blobs/uploads/x",
            "/v2/a/b/c",
            "/v2/a/b/tags/all",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
        assert!(!is_here("/v2x") && !is_here("/v1/v2/") && is_here("/v2/"));
    }
}
