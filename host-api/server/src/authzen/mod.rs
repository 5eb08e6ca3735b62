//! The Authorization API 1.0 of OpenID's AuthZEN working group: <https://openid.net/specs/authorization-api-1_0.html>.
//!
//! Three nouns: a `Question` is a request of a caller who may ask, its `Members` are its subject, action, resource and
//! context, byte by byte as they came, and an `Outcome` is what becomes of one of its evaluations. A policy gets the
//! members as its input, in this order and without anything else, so that what AuthZEN does not know changes nothing; a
//! search has its page besides.
//!
//! `decision` is true where a gateway would let pass, and nowhere else. Whatever failed is an error in words, or, inside
//! a batch, a denial that says so.

mod answer;
pub(crate) mod discovery;
mod evaluate;
mod page;
mod place;
mod question;
mod request;
pub(crate) mod routes;
mod schema;
mod search;

use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::api::Problem;

pub(crate) use place::is_here;
pub use place::{AuthZen, PublicUrl, UrlError};

/// The answer to what cannot be done, as the protocol has it: an error message (10.1.2).
pub(crate) fn refused(problem: &Problem) -> Response {
    // Its headers say when to come again, and how to say who one is.
    let (mut parts, _) = problem.answered("").into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Response::from_parts(parts, format!("{}: {}", problem.code(), problem.detail()).into())
}
