//! The routes and what they share.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::sync::Semaphore;
use verdict::Host;
use verdict::core::name::Tenant;
use verdict::engine::Instances;
use verdict::registry::repository::Registry;

use crate::auth::{Caller, Tokens};
use crate::error::{ApiError, json};
use crate::{decide, listen::Options};

/// What every route can reach.
pub(crate) struct App {
    /// None where only a registry is served.
    host: Option<Host>,
    tokens: Option<Tokens>,
    registry: Option<Registry>,
    pub(crate) long_evaluations: Arc<Semaphore>,
}

impl App {
    pub(crate) fn new(host: Option<Host>, options: &Options) -> Self {
        let long_evaluations = Arc::new(Semaphore::new(options.long_evaluations_max));
        let (tokens, registry) = (options.tokens.clone(), options.registry.clone());
        Self { host, tokens, registry, long_evaluations }
    }

    /// What decides.
    pub(crate) fn host(&self) -> Result<&Host, ApiError> {
        let nothing = || ApiError::not_found("this server keeps a registry and decides nothing");
        self.host.as_ref().ok_or_else(nothing)
    }

    /// Who asks; none where nobody needs to say. Without tokens everybody who can connect may ask;
    /// [`crate::Server::bind`] sees to it that this is nobody from elsewhere.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Option<&Caller>, ApiError> {
        match &self.tokens {
            None => Ok(None),
            Some(tokens) => tokens.caller(headers).map(Some).ok_or_else(|| {
                let message = "give a token of the server's token file as `Authorization: Bearer TOKEN`";
                ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
            }),
        }
    }

    /// As [`caller`](Self::caller), who must be one of this tenant's.
    pub(crate) fn caller_in(
        &self,
        headers: &HeaderMap,
        tenant: &Tenant,
    ) -> Result<Option<&Caller>, ApiError> {
        match self.caller(headers)? {
            Some(caller) if !caller.may_see(tenant) => {
                Err(ApiError::not_found("there is nothing here for this token, which is for another tenant"))
            }
            caller => Ok(caller),
        }
    }
}

/// The router.
pub(crate) fn router(app: &Arc<App>, options: &Options) -> Router {
    let guarded = Router::new()
        .route("/v1/policies", get(policies))
        .route("/v1/tenants/{tenant}/policies/{name}/decide", post(decide::routed))
        .route("/v1/tenants/{tenant}/decisions/{id}", get(decide::decision))
        .route("/v1/tenants/{tenant}/decisions/{id}/receipt", get(decide::receipt))
        .route("/v1/tenants/{tenant}/log/tile/entries/{*path}", get(log_entries))
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), authenticate));
    // Hash tiles and checkpoints are public: they betray nothing, and a monitor needs no account.
    let public = Router::new()
        .route("/v1/tenants/{tenant}/log/{*path}", get(log_resource))
        .route("/health/live", get(|| async { json(StatusCode::OK, &Health { status: "live" }) }))
        .route("/health/ready", get(ready));
    guarded
        .merge(public)
        .fallback(|| async { ApiError::not_found("there is nothing here; the README lists the routes") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "this route takes another method",
            )
        })
        .layer(tower_http::limit::RequestBodyLimitLayer::new(options.body_bytes_max))
        .layer(axum::extract::DefaultBodyLimit::max(options.body_bytes_max))
        .with_state(Arc::clone(app))
}

async fn authenticate(
    State(app): State<Arc<App>>,
    parameters: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    let named = parameters.iter().find(|(name, _)| *name == "tenant");
    let known = app.caller(request.headers()).and_then(|caller| match named {
        Some((_, text)) => app.caller_in(request.headers(), &self::tenant(text)?),
        None => Ok(caller),
    });
    match known {
        Err(error) => error.into_response(),
        Ok(_) => next.run(request).await,
    }
}

pub(crate) fn tenant(text: &str) -> Result<Tenant, ApiError> {
    text.parse().map_err(|error: verdict::core::name::NameError| ApiError::bad_request(error.to_string()))
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// Ready means that a decision can be made and recorded, and that the registry can be read where there is one.
async fn ready(State(app): State<Arc<App>>) -> Response {
    #[derive(Serialize)]
    struct Ready {
        ready: bool,
        policies: usize,
        quarantined: usize,
        recording: bool,
        log: &'static str,
        /// Records that a loss of power would take now: answered for already only where the log is `buffered`.
        unsynced: u64,
        /// Whether the registry that is followed cannot be read: what is loaded goes on, and nothing new comes.
        registry_unreachable: bool,
    }
    #[derive(Serialize)]
    struct RegistryReady {
        ready: bool,
    }
    let registry = match &app.registry {
        Some(registry) => registry.catalogue().event_head().await.is_ok(),
        None => true,
    };
    let status = |ready| if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let Ok(host) = app.host() else { return json(status(registry), &RegistryReady { ready: registry }) };
    let policies = host.policies().len();
    let body = Ready {
        ready: policies > 0 && host.health().is_ok() && registry,
        policies,
        quarantined: host.quarantine().len(),
        recording: host.is_recording(),
        log: host.log().name(),
        unsynced: host.unsynced(),
        registry_unreachable: host.unreachable().is_some(),
    };
    json(status(body.ready), &body)
}

/// `GET /v1/policies`: what is loaded, and what was refused. A caller of one tenant is told of its own policies; what
/// was refused has no tenant that could be believed.
async fn policies(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct Listing {
        policies: Vec<serde_json::Value>,
        quarantined: Vec<serde_json::Value>,
        instances: serde_json::Value,
        shadows: serde_json::Value,
    }
    let policy = |status: verdict::PolicyStatus| {
        serde_json::json!({
            "policy": status.name, "version": status.version, "component": status.component,
            "channel": status.channel, "sequence": status.sequence, "weight": status.weight,
            "shadow": status.channel.is_some() && status.weight.is_none(), "reverted": status.is_reverted,
            "rules": status.manifest.rules.iter().map(|rule| &rule.name).collect::<Vec<_>>(),
            "description": status.manifest.description, "limits": status.limits, "data": status.data,
            "until": status.until,
            "instances": if status.new_instances_because.is_some() { "new" } else { "reset" },
            "new_instances_because": status.new_instances_because,
        })
    };
    let quarantined = |artifact: verdict::Quarantined| {
        let path = artifact.path.file_name().map(|name| name.to_string_lossy().into_owned());
        serde_json::json!({
            "artifact": path, "code": artifact.refusal.code, "message": artifact.refusal.message,
        })
    };
    let (host, caller) = (app.host()?, app.caller(&headers)?);
    let seen =
        |status: &verdict::PolicyStatus| caller.is_none_or(|caller| caller.may_see(status.name.tenant()));
    let told = caller.is_none_or(Caller::is_of_all);
    let verified = host.verification_counts();
    let shadows = host.shadow_counts();
    let listing = Listing {
        policies: host.policies().into_iter().filter(seen).map(policy).collect(),
        quarantined: host.quarantine().into_iter().filter(|_| told).map(quarantined).collect(),
        instances: serde_json::json!({
            "kind": instances_name(host.instances()), "compared": verified.compared, "differed": verified.differed,
        }),
        shadows: serde_json::json!({ "recorded": shadows.0, "left_out": shadows.1 }),
    };
    Ok(json(StatusCode::OK, &listing))
}

const fn instances_name(instances: Instances) -> &'static str {
    match instances {
        Instances::Protected => "protected",
        Instances::Copied => "copied",
        Instances::New => "new",
    }
}

/// `GET /v1/tenants/{tenant}/log/…`: the static files of C2SP tlog-tiles, and `key`, the log's verifier key.
async fn log_resource(
    State(app): State<Arc<App>>,
    Path((tenant, path)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let tenant = self::tenant(&tenant)?;
    if path == "key" {
        let key = app.host()?.verifier_key(&tenant)?;
        return key
            .map(|key| format!("{key}\n").into_response())
            .ok_or_else(|| ApiError::not_found("the log is off"));
    }
    log_file(&app, &tenant, &path)
}

/// Entries are for whoever may ask.
async fn log_entries(
    State(app): State<Arc<App>>,
    Path((tenant, path)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    log_file(&app, &self::tenant(&tenant)?, &format!("tile/entries/{path}"))
}

fn log_file(app: &App, tenant: &Tenant, path: &str) -> Result<Response, ApiError> {
    let Some(bytes) = app.host()?.log_resource(tenant, path)? else {
        return Err(ApiError::not_found("the log has no such file"));
    };
    // C2SP tlog-tiles: checkpoints change, tiles never do.
    let (content_type, cache) = if path == "checkpoint" {
        ("text/plain; charset=utf-8", "no-cache")
    } else {
        ("application/octet-stream", "public, max-age=31536000, immutable")
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
    ];
    Ok((headers, bytes).into_response())
}
