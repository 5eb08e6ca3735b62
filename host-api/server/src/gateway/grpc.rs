//! gRPC, at the same listeners as everything else: HTTP/2, by prior knowledge or over TLS.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, Response, StatusCode, Version, header::CONTENT_TYPE};
use tonic::{Code, Status};

use super::ext_authz;
use crate::access::Origin;
use crate::error::ApiError;
use crate::routes::App;

/// The most bytes of a question about health.
const HEALTH_BYTES_MAX: usize = 1 << 10;
/// `grpc.health.v1.HealthCheckResponse.ServingStatus`.
const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

/// Whether a request is a call.
pub(crate) fn is_call<B>(request: &Request<B>) -> bool {
    let is_grpc = |value: &axum::http::HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    request.version() == Version::HTTP_2 && request.headers().get(CONTENT_TYPE).is_some_and(is_grpc)
}

/// Answers a call.
pub(crate) async fn answer<B>(
    app: &Arc<App>,
    request: Request<B>,
    origin: Origin,
    patience: Duration,
) -> Response<tonic::body::Body>
where
    B: hyper::body::Body + Send + 'static,
    B::Error: Into<tower::BoxError> + Send,
{
    let answered = async {
        match request.uri().path() {
            ext_authz::CHECK => ext_authz::answer(app, request, origin).await,
            "/grpc.health.v1.Health/Check" => health(app, request).await,
            _ => Status::unimplemented("there is no such method").into_http(),
        }
    };
    let late = |_| Status::deadline_exceeded("the request took too long; ask again").into_http();
    tokio::time::timeout(patience, answered).await.unwrap_or_else(late)
}

/// Whether an error is about who asks: nothing that asking again, or somebody else, would change.
pub(super) fn is_of_access(error: &ApiError) -> bool {
    matches!(error.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
}

/// An error of access, as gRPC says it. What is another tenant's is forbidden.
pub(super) fn status(error: &ApiError) -> Status {
    let code = match error.status() {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Code::PermissionDenied,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::Internal,
    };
    Status::new(code, error.message())
}

/// `grpc.health.v1`: what `/health/ready` says. Clients that want to `Watch` get that there is no such method, and ask
/// again and again instead, as its definition tells them to.
async fn health<B>(app: &Arc<App>, request: Request<B>) -> Response<tonic::body::Body>
where
    B: hyper::body::Body + Send + 'static,
    B::Error: Into<tower::BoxError> + Send,
{
    let app = Arc::clone(app);
    let check = tower::service_fn(move |request: tonic::Request<HealthCheckRequest>| {
        let app = Arc::clone(&app);
        async move {
            // "" is the server as a whole.
            if !["", ext_authz::SERVICE].contains(&request.get_ref().service.as_str()) {
                return Err(Status::not_found("there is no such service"));
            }
            let status = if app.is_ready().await { SERVING } else { NOT_SERVING };
            Ok(tonic::Response::new(HealthCheckResponse { status }))
        }
    });
    let codec = tonic_prost::ProstCodec::<HealthCheckResponse, HealthCheckRequest>::default();
    tonic::server::Grpc::new(codec).max_decoding_message_size(HEALTH_BYTES_MAX).unary(check, request).await
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}
