//! What every route can reach, and the routes of what this host itself has: policies, log, health.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use utoipa::ToSchema;
use verdict::Host;
use verdict::core::name::{PolicyName, Tenant};
use verdict::core::time::Timestamp;
use verdict::engine::Instances;
use verdict::registry::catalogue::Catalogue;
use verdict::registry::publish::Publisher;
use verdict::registry::repository::Registry;

use crate::access::{Access, Action, Origin, Principal, now};
use crate::api::{Answer, Asked, Contents, Problem};
use crate::authzen::AuthZen;
use crate::error::{ApiError, json};
use crate::listen::{Condition, Options};
use crate::observe::Tracing;
use crate::opa::{self, DefaultDecision};
use crate::still::Still;
use crate::tenancy::Tenancy;

/// How many contents of data are taken at a time; each has up to 4 MiB in memory.
const BODIES_MAX: usize = 32;
/// How many previews run at a time; each compiles, and has up to 24 MiB in memory before.
const PREVIEWS_MAX: usize = 2;

/// What every route can reach.
pub(crate) struct App {
    /// None where only a registry is served.
    host: Option<Host>,
    pub(crate) access: Access,
    pub(crate) authzen: AuthZen,
    registry: Option<Registry>,
    publisher: Option<Publisher>,
    pub(crate) contents: Contents,
    /// Answers about policies that were given.
    pub(crate) policies: Still<PolicyName, Answer>,
    pub(crate) bodies: Semaphore,
    /// How long to wait for the next byte of what is sent in pieces.
    pub(crate) patience: Duration,
    pub(crate) body_bytes_max: usize,
    /// What Envoy asks where it names no policy.
    pub(crate) ext_authz: Option<PolicyName>,
    pub(crate) tenancy: Tenancy,
    pub(crate) long_evaluations: Arc<Semaphore>,
    pub(crate) long_evaluations_max: usize,
    pub(crate) previews: Arc<Semaphore>,
    /// How the listeners are.
    pub(crate) condition: Arc<Condition>,
    /// The threads that all connections share; none where there is no server.
    shared: Option<Handle>,
    /// What `POST /` asks.
    pub(crate) opa_default: Option<DefaultDecision>,
    /// Where traces go.
    pub(crate) tracing: Option<Arc<Tracing>>,
    /// When it began.
    pub(crate) began: Timestamp,
    stopping: watch::Sender<bool>,
}

impl App {
    pub(crate) fn new(host: Option<Host>, options: &Options) -> Self {
        Self {
            host,
            access: options.access.clone(),
            authzen: options.authzen.clone(),
            registry: options.served_registry(),
            publisher: options.publisher.clone(),
            contents: Contents::default(),
            policies: Still::default(),
            bodies: Semaphore::new(BODIES_MAX),
            patience: options.request_timeout,
            body_bytes_max: options.body_bytes_max,
            ext_authz: options.ext_authz.clone(),
            tenancy: Tenancy::new(options.budgets.clone()),
            long_evaluations: Arc::new(Semaphore::new(options.long_evaluations_max)),
            long_evaluations_max: options.long_evaluations_max,
            previews: Arc::new(Semaphore::new(PREVIEWS_MAX)),
            condition: Arc::default(),
            shared: Handle::try_current().ok(),
            opa_default: options.opa_default.clone(),
            tracing: None,
            began: now(),
            stopping: watch::Sender::new(false),
        }
    }

    /// With listeners that are there already, and with what exports traces.
    pub(crate) fn with(self, condition: &Arc<Condition>, tracing: Option<Arc<Tracing>>) -> Self {
        Self { condition: Arc::clone(condition), tracing, ..self }
    }

    /// The threads that all connections share.
    pub(crate) fn shared(&self) -> Handle {
        self.shared.clone().unwrap_or_else(Handle::current)
    }

    /// What decides.
    pub(crate) fn host(&self) -> Result<&Host, ApiError> {
        let nothing = || ApiError::not_found("this server keeps a registry and decides nothing");
        self.host.as_ref().ok_or_else(nothing)
    }

    /// Where policies, versions and documents are.
    pub(crate) fn catalogue(&self) -> Result<&Catalogue, Problem> {
        let nothing = || Problem::not_found("this server keeps no registry; start it with one");
        Ok(self.registry.as_ref().ok_or_else(nothing)?.catalogue())
    }

    /// What checks signed documents before they are put.
    pub(crate) fn publisher(&self) -> Result<&Publisher, Problem> {
        let nothing = || {
            let detail = "this server takes no signed documents: it does not know the root keys that trust begins with";
            Problem::new(StatusCode::CONFLICT, "no-roots", detail)
        };
        self.publisher.as_ref().ok_or_else(nothing)
    }

    /// Who asks for a decision about a policy, and may; refused where its tenant has used its budget up.
    pub(crate) async fn decider(
        &self,
        headers: &HeaderMap,
        origin: Origin,
        policy: &PolicyName,
    ) -> Result<Arc<Principal>, ApiError> {
        let known = self.access.decider(headers, origin, policy.tenant());
        // In a box: whoever is known at once should not have to move the room for it.
        let found = async {
            let principal = self.access.principal(headers, origin).await?;
            let name = policy.to_string();
            let action = Action::new("decision.decide", Some(policy.tenant()), &name);
            self.access.check(&principal, &action).await.map(|()| principal)
        };
        let principal = match known {
            Some(known) => known,
            None => Box::pin(found).await?,
        };
        // Not before it is known who asks: how busy a tenant is, is its own business.
        self.tenancy.check(policy.tenant())?;
        Ok(principal)
    }

    /// Whether the registry can be read, where there is one.
    pub(crate) async fn has_registry(&self) -> bool {
        match &self.registry {
            Some(registry) => registry.catalogue().event_head().await.is_ok(),
            None => true,
        }
    }

    /// Whether a decision can be made and recorded, and the registry be read: what `/health/ready` says.
    pub(crate) async fn is_ready(&self) -> bool {
        let decides = |host: &Host| !host.policies().is_empty() && host.health().is_ok();
        !self.condition.is_leaving() && self.host.as_ref().is_none_or(decides) && self.has_registry().await
    }

    /// How many evaluations with a large fuel limit are under way.
    pub(crate) fn long_evaluations_under_way(&self) -> usize {
        self.long_evaluations_max.saturating_sub(self.long_evaluations.available_permits())
    }

    /// What holds until when: the documents that the policies rest on, those that access rests on, and the certificate.
    pub(crate) fn ends(&self) -> Vec<(&'static str, Timestamp)> {
        let own = self.host.iter().flat_map(Host::standing);
        let own = own.map(|standing| (standing.document, standing.until));
        let certificate = self.condition.certificate_ends().map(|end| ("certificate", end));
        own.chain(self.access.ends()).chain(certificate).collect()
    }

    /// Tells those who wait for news that there will be none.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns when the server stops.
    pub(crate) async fn stopped(&self) {
        // An error says that it is gone altogether.
        let _ = self.stopping.subscribe().wait_for(|is_stopping| *is_stopping).await;
    }
}

pub(crate) fn tenant(text: &str) -> Result<Tenant, ApiError> {
    text.parse().map_err(|error: verdict::core::name::NameError| ApiError::bad_request(error.to_string()))
}

/// Whether the server is there.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `live`.
    #[schema(value_type = String)]
    status: &'static str,
}

/// Whether the server is there.
#[utoipa::path(get, path = "/health/live", tag = "health", operation_id = "live",
    responses((status = 200, description = "it is", body = Health)))]
pub(crate) async fn live() -> Response {
    json(StatusCode::OK, &Health { status: "live" })
}

/// Ready means that a decision can be made and recorded, and that the registry can be read where there is one.
#[utoipa::path(get, path = "/health/ready", tag = "health", operation_id = "ready",
    responses((status = 200, description = "it is ready", body = Object),
        (status = 503, description = "it is not", body = Object)))]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
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
        /// Whether the server is about to stop.
        leaving: bool,
        /// Whether the certificate of TLS was changed, and could not be read again: the one before is shown.
        old_certificate: bool,
        /// Whether the settings were changed, and could not be read again: those before count.
        old_config: bool,
    }
    #[derive(Serialize)]
    struct RegistryReady {
        ready: bool,
        leaving: bool,
        old_certificate: bool,
        old_config: bool,
    }
    let registry = app.has_registry().await;
    let (leaving, old_certificate) = (app.condition.is_leaving(), app.condition.has_old_certificate());
    let old_config = app.condition.old_config_since().is_some();
    let status = |ready| if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let Ok(host) = app.host() else {
        let ready = registry && !leaving;
        return json(status(ready), &RegistryReady { ready, leaving, old_certificate, old_config });
    };
    let policies = host.policies().len();
    let body = Ready {
        ready: policies > 0 && host.health().is_ok() && registry && !leaving,
        policies,
        quarantined: host.quarantine().len(),
        recording: host.is_recording(),
        log: host.log().name(),
        unsynced: host.unsynced(),
        registry_unreachable: host.unreachable().is_some(),
        leaving,
        old_certificate,
        old_config,
    };
    json(status(body.ready), &body)
}

/// What this host has loaded, and what it refused. A caller of one tenant is told of its own policies; what was
/// refused has no tenant that could be believed.
#[utoipa::path(get, path = "/v1/policies", tag = "host", operation_id = "read_host",
    responses((status = 200, description = "what is loaded", body = Object)))]
pub(crate) async fn policies(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct Listing {
        /// As OPA lists them.
        result: Vec<serde_json::Value>,
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
    let (host, principal) = (app.host()?, &asked.principal);
    let seen = |status: &verdict::PolicyStatus| principal.is_for(status.name.tenant());
    let told = principal.tenant().is_none();
    let verified = host.verification_counts();
    let shadows = host.shadow_counts();
    let policies: Vec<_> = host.policies().into_iter().filter(seen).collect();
    let listing = Listing {
        result: opa::listed(&policies),
        policies: policies.into_iter().map(policy).collect(),
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

/// The static files of a log, as C2SP tlog-tiles has them, and `key`, the log's verifier key. Hash tiles and checkpoints
/// are public: they betray nothing, and a monitor needs no account.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/log/{*path}", tag = "log", operation_id = "read_log",
    responses((status = 200, description = "the file", body = Vec<u8>, content_type = "application/octet-stream")))]
pub(crate) async fn log_resource(
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

/// The entries of a log, for auditors.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/log/tile/entries/{*path}", tag = "log",
    operation_id = "read_log_entries",
    responses((status = 200, description = "the tile", body = Vec<u8>, content_type = "application/octet-stream")))]
pub(crate) async fn log_entries(
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
