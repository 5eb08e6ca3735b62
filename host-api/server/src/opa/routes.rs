//! Every route of OPA's API, with what it does: at the root, and below each tenant.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ObjectBuilder, Required, ResponseBuilder, Type};
use utoipa_axum::router::UtoipaMethodRouter;

use super::call::Call;
use super::query::Query;
use super::refused::Refused;
use super::{about, batch, data, policies};
use crate::routes::App;

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    ReadData,
    AskData,
    AskPlainly,
    AskDefault,
    AskBatch,
    WriteData,
    ListPolicies,
    ReadPolicy,
    WritePolicy,
    Query,
    Compile,
    Health,
    Status,
    Config,
}

/// A method of a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    method: &'static str,
    path: &'static str,
    does: Does,
    id: &'static str,
    summary: &'static str,
}

macro_rules! routes {
    ($($method:literal $path:literal $does:ident $id:literal $summary:literal;)*) => {
        const ROUTES: &[Route] = &[$(Route {
            method: $method, path: $path, does: Does::$does, id: $id, summary: $summary,
        },)*];
    };
}

routes! {
    "get" "/v1/data" ReadData "read_root" "All policies' rules and all data.";
    "get" "/v1/data/{*path}" ReadData "read_document" "What a policy says without an input or with one of the query, or a value of the data.";
    "post" "/v1/data" AskData "ask_root" "All policies' rules and all data, about an input.";
    "post" "/v1/data/{*path}" AskData "ask_document" "What a policy says about an input, or a value of the data.";
    "put" "/v1/data" WriteData "put_root" "Refused: data is signed by people.";
    "put" "/v1/data/{*path}" WriteData "put_document" "Refused: data is signed by people.";
    "patch" "/v1/data" WriteData "patch_root" "Refused: data is signed by people.";
    "patch" "/v1/data/{*path}" WriteData "patch_document" "Refused: data is signed by people.";
    "delete" "/v1/data/{*path}" WriteData "delete_document" "Refused: data is signed by people.";
    "post" "/v0/data" AskPlainly "ask_root_plainly" "As `/v1/data`; the body is the input, and the answer is the value.";
    "post" "/v0/data/{*path}" AskPlainly "ask_document_plainly" "As `/v1/data/{path}`; the body is the input, and the answer is the value.";
    "post" "/" AskDefault "ask_default" "What the decision of `--opa-default` is about an input, which is the body.";
    "post" "/v1/batch/data" AskBatch "ask_root_batch" "All policies' rules about many inputs.";
    "post" "/v1/batch/data/{*path}" AskBatch "ask_document_batch" "What a policy says about many inputs.";
    "get" "/v1/policies" ListPolicies "list_modules" "The tenant's policies.";
    "get" "/v1/policies/{*path}" ReadPolicy "read_module" "One policy.";
    "put" "/v1/policies/{*path}" WritePolicy "put_module" "Refused: policies are signed by their authors.";
    "delete" "/v1/policies/{*path}" WritePolicy "delete_module" "Refused: policies are signed by their authors.";
    "get" "/v1/query" Query "query_by_parameter" "Refused: there is no Rego here to query by.";
    "post" "/v1/query" Query "query" "Refused: there is no Rego here to query by.";
    "post" "/v1/compile" Compile "compile" "Refused: components cannot be evaluated partially.";
    "post" "/v1/compile/{*path}" Compile "compile_filters" "Refused: components cannot be evaluated partially.";
    "get" "/health" Health "health" "Whether policies can be asked.";
    "get" "/v1/status" Status "read_status" "What is loaded.";
    "get" "/v1/config" Config "read_config" "What is configured.";
}

impl Route {
    /// The path without what a request puts into it.
    pub(super) fn stem(&self) -> &'static str {
        self.path.trim_end_matches("/{*path}")
    }

    /// What the access policy is asked about before anything else. What a caller may ask and read depends on the place, so
    /// that routes of data ask for themselves.
    pub(super) fn action_beforehand(&self) -> Option<&'static str> {
        match self.does {
            Does::ReadData | Does::AskData | Does::AskPlainly | Does::AskDefault | Does::AskBatch => None,
            Does::Query | Does::Compile => Some("decision.decide"),
            Does::WriteData => Some("data.read"),
            _ => Some("host.read"),
        }
    }

    /// What the access policy is asked about, as the document says; none where everybody may.
    fn action(&self) -> Option<&'static str> {
        match self.does {
            Does::Health => None,
            _ => Some(self.action_beforehand().unwrap_or("decision.decide")),
        }
    }

    async fn carry_out(&self, app: &Arc<App>, request: Request) -> Result<Response, Refused> {
        if self.does == Does::Health {
            return Ok(about::health(app, &Query::read(request.uri().query().unwrap_or_default())));
        }
        let (call, body) = Call::read(app, self, request).await?;
        match self.does {
            Does::ReadData => data::read(&call).await,
            Does::AskData => data::ask(&call, body).await,
            Does::AskPlainly => data::ask_plainly(&call, body).await,
            Does::AskDefault => data::ask_default(&call, body).await,
            Does::AskBatch => batch::ask(call, body).await,
            Does::WriteData => Err(data::write(&call)),
            Does::ListPolicies => policies::list(&call),
            Does::ReadPolicy => policies::read(&call),
            Does::WritePolicy => Err(policies::write(&call)),
            Does::Query => Err(Refused::not_implemented(
                "there is no Rego here to query by: ask a rule, by `POST /v1/data/{policy}/{rule}`, or many inputs at \
                 once, by `POST /v1/batch/data/{policy}/{rule}`",
            )),
            Does::Compile => Err(Refused::not_implemented(
                "policies are components of WebAssembly, which cannot be evaluated partially: ask a rule, by `POST \
                 /v1/data/{policy}/{rule}`",
            )),
            Does::Status => about::status(&call),
            Does::Config => Ok(about::config(&call)),
            Does::Health => Ok(about::health(app, &call.query)),
        }
    }

    /// The route at the root, or below a tenant.
    fn at(self, mount: &str) -> UtoipaMethodRouter<Arc<App>> {
        let path = format!("{mount}{}", self.path);
        let (method, filter) = match self.method {
            "get" => (HttpMethod::Get, MethodFilter::GET),
            "put" => (HttpMethod::Put, MethodFilter::PUT),
            "patch" => (HttpMethod::Patch, MethodFilter::PATCH),
            "delete" => (HttpMethod::Delete, MethodFilter::DELETE),
            _ => (HttpMethod::Post, MethodFilter::POST),
        };
        let handler = move |State(app): State<Arc<App>>, request: Request| async move {
            self.carry_out(&app, request).await.unwrap_or_else(IntoResponse::into_response)
        };
        let item = PathItem::new(method, self.operation(!mount.is_empty()));
        let paths = PathsBuilder::new().path(path, item).build();
        (Vec::new(), paths, on(filter, handler))
    }

    fn operation(&self, is_of_tenant: bool) -> Operation {
        let id = if is_of_tenant { format!("opa_tenant_{}", self.id) } else { format!("opa_{}", self.id) };
        let object = || ObjectBuilder::new().schema_type(Type::Object).build();
        let json = || ContentBuilder::new().schema(Some(object())).build();
        let mut operation = OperationBuilder::new()
            .tag("opa")
            .operation_id(Some(id))
            .summary(Some(self.summary))
            .extensions(
                self.action().map(|action| ExtensionsBuilder::new().add("x-verdict-action", action).build()),
            )
            .securities(Some(
                self.action().map(|_| SecurityRequirement::new("bearer", Vec::<String>::new())),
            ));
        for (status, description) in self.answers() {
            let response =
                ResponseBuilder::new().description(*description).content("application/json", json());
            operation = operation.response(status.as_str(), response.build());
        }
        let refused = ResponseBuilder::new()
            .description(
                "refused: an object with OPA's `code`, a `message`, and `errors` where there is more to say",
            )
            .content("application/json", json());
        operation = operation.response("default", refused.build());
        if self.takes_body() {
            operation = operation
                .request_body(Some(RequestBodyBuilder::new().content("application/json", json()).build()));
        }
        for (name, description) in self.names(is_of_tenant) {
            let text = ObjectBuilder::new().schema_type(Type::String).build();
            let parameter = ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some(description))
                .schema(Some(text));
            operation = operation.parameter(parameter.build());
        }
        operation.build()
    }

    fn names(&self, is_of_tenant: bool) -> Vec<(&'static str, &'static str)> {
        let mut names = Vec::new();
        if is_of_tenant {
            names.push(("tenant", "the tenant, a DNS label"));
        }
        if self.path.ends_with("{*path}") {
            let path = match self.does {
                Does::ReadPolicy | Does::WritePolicy => "the policy's name, with or without its tenant's",
                _ => "a policy, a rule of it and the way into its value, or the way into the data",
            };
            names.push(("path", path));
        }
        names
    }

    fn takes_body(&self) -> bool {
        matches!(self.does, Does::AskData | Does::AskPlainly | Does::AskDefault | Does::AskBatch)
    }

    fn answers(&self) -> &'static [(StatusCode, &'static str)] {
        const WRITTEN: &[(StatusCode, &str)] = &[(StatusCode::BAD_REQUEST, "what to do instead")];
        match self.does {
            Does::AskBatch => &[
                (StatusCode::OK, "all have an answer, in `responses`"),
                (StatusCode::MULTI_STATUS, "some have an answer, and each says its status"),
                (StatusCode::INTERNAL_SERVER_ERROR, "none has an answer"),
            ],
            Does::AskPlainly | Does::AskDefault => &[
                (StatusCode::OK, "the value, and nothing else"),
                (StatusCode::NOT_FOUND, "there is no value"),
            ],
            Does::ReadData | Does::AskData => {
                &[(StatusCode::OK, "`result` has the value; where that is undefined, there is none")]
            }
            Does::WriteData | Does::WritePolicy => WRITTEN,
            Does::Query | Does::Compile => &[(StatusCode::NOT_IMPLEMENTED, "what to do instead")],
            Does::Health => &[
                (StatusCode::OK, "they can: an empty object"),
                (StatusCode::INTERNAL_SERVER_ERROR, "they cannot: `error` says why"),
            ],
            _ => &[(StatusCode::OK, "`result` has it")],
        }
    }
}

/// Every route. At the root, policies are listed by a route that is older.
pub(crate) fn routes() -> impl Iterator<Item = UtoipaMethodRouter<Arc<App>>> {
    let at_root = ROUTES.iter().filter(|route| route.does != Does::ListPolicies).map(|route| route.at(""));
    at_root.chain(ROUTES.iter().map(|route| route.at("/v1/tenants/{tenant}/opa")))
}
