//! The OpenAPI document: what each route's own description leaves out because it is the same for all of them.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema as _;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem, Paths};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, Object, ObjectBuilder, OpenApi, OpenApiBuilder, Ref,
    RefOr, Required, ResponseBuilder, Schema, Type,
};

use super::problem::{self, ProblemView};

/// The document, as it is checked in; a test compares it with the table.
const TEXT: &str = include_str!("../../openapi.json");
/// What the credential is called.
const SECURITY: &str = "bearer";

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "api", operation_id = "read_openapi",
    responses((status = 200, description = "what there is", body = Object)))]
pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], TEXT).into_response()
}

/// What is said before the routes.
pub(super) fn head() -> OpenApi {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let bearer =
        bearer.description(Some("a token of the server's file, an API key, or a JSON Web Token")).build();
    let mut schemas = Vec::new();
    ProblemView::schemas(&mut schemas);
    let components = ComponentsBuilder::new()
        .schema_from::<ProblemView>()
        .schemas_from_iter(schemas)
        .security_scheme(SECURITY, SecurityScheme::Http(bearer))
        .build();
    let description = "Verdict over HTTP. Lists have `items` and `next`, which goes back as `after`. What fails is a \
                       problem (RFC 9457). Every answer has `X-Request-ID`: the one of the request, or a new one.";
    let info = InfoBuilder::new().title("Verdict").version("1").description(Some(description)).build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// Completes the description of routes: names in the path, headers, problems, and the action that the access policy is
/// asked about; none where everybody may.
pub(super) fn complete(paths: &mut Paths, action: Option<&str>) {
    for (path, item) in &mut paths.paths {
        for (method, operation) in operations(item) {
            name(operation, path);
            headers(operation, method, action);
            let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            let problem =
                ResponseBuilder::new().description("a problem").content(problem::MEDIA_TYPE, problem);
            // Other protocols say otherwise what went wrong.
            operation.responses.responses.entry("default".into()).or_insert(RefOr::T(problem.build()));
            let secured = action.map(|_| SecurityRequirement::new(SECURITY, Vec::<String>::new()));
            operation.security = Some(secured.into_iter().collect());
            operation.extensions =
                action.map(|action| ExtensionsBuilder::new().add("x-verdict-action", action).build());
        }
    }
}

/// Writes paths as OpenAPI has them, which knows no names for several parts.
pub(super) fn plain(openapi: &mut OpenApi) {
    let paths = std::mem::take(&mut openapi.paths.paths);
    openapi.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let all = [("get", get), ("put", put), ("post", post), ("delete", delete), ("patch", patch)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// The names in a path.
fn name(operation: &mut Operation, path: &str) {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let names = names.map(|name| name.trim_start_matches('*'));
    for name in names {
        let description = match name {
            "tenant" => "the tenant, a DNS label",
            "policy" => "the policy's name inside its tenant",
            "version" => "the version, as Semantic Versioning 2.0.0 has it",
            "channel" => "the channel",
            "digest" => "the digest: `sha256:` and 64 hexadecimal digits",
            "rule" => "the rule",
            "path" => "the file's path inside the log",
            _ => "the id",
        };
        parameter(operation, name, ParameterIn::Path, description);
    }
}

fn headers(operation: &mut Operation, method: &str, action: Option<&str>) {
    // A question has an id of its own, which does the same, and a preview leaves nothing.
    if method == "post" && !matches!(action, Some("decision.decide" | "policy.preview")) {
        let description = "a text of the client's own: the same request under it is carried out once";
        parameter(operation, "Idempotency-Key", ParameterIn::Header, description);
    }
    if ["put", "patch", "delete"].contains(&method) {
        let description = "the `ETag` of what the client has seen: what has changed since is not overwritten";
        parameter(operation, "If-Match", ParameterIn::Header, description);
    }
}

fn parameter(operation: &mut Operation, name: &str, place: ParameterIn, description: &str) {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(text()))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
}

fn text() -> Schema {
    let text: Object = ObjectBuilder::new().schema_type(Type::String).build();
    Schema::Object(text)
}
