//! Documents: what policies say, and what the tenant's data has.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;

use super::answer::{DataAnswer, Warning, json_of, text_of};
use super::body::{self, Input};
use super::call::Call;
use super::default::DefaultDecision;
use super::evaluate::evaluate;
use super::place::Place;
use super::refused::Refused;
use super::target::Target;

/// `GET /v1/data/{path}`.
pub(super) async fn read(call: &Call) -> Result<Response, Refused> {
    let target = Target::find(call, &call.tenant, &call.place).await?;
    let input = Input::of_query(call.query.input.as_deref())?;
    let found = evaluate(call, &target, &input).await?;
    Ok(json_of(StatusCode::OK, &DataAnswer::new(call, found), &call.query))
}

/// `POST /v1/data/{path}`.
pub(super) async fn ask(call: &Call, body: Body) -> Result<Response, Refused> {
    let target = Target::find(call, &call.tenant, &call.place).await?;
    let input = Input::of_body(&body::read(call, body).await?)?;
    let found = evaluate(call, &target, &input).await?;
    let warning = (!input.is_given).then_some(Warning::of_usage("'input' key missing from the request"));
    Ok(json_of(StatusCode::OK, &DataAnswer::new(call, found).warn(warning), &call.query))
}

/// `POST /v0/data/{path}`: the body is the input, and the answer is the value.
pub(super) async fn ask_plainly(call: &Call, body: Body) -> Result<Response, Refused> {
    plainly(call, &call.place, body).await
}

/// `POST /`: the same of the server's own choice.
pub(super) async fn ask_default(call: &Call, body: Body) -> Result<Response, Refused> {
    let chosen = call.app.opa_default.as_ref().filter(|default| default.tenant() == &call.tenant);
    let place = chosen.map_or_else(DefaultDecision::nothing, DefaultDecision::place);
    plainly(call, &place, body).await
}

async fn plainly(call: &Call, place: &Place, body: Body) -> Result<Response, Refused> {
    let target = Target::find(call, &call.tenant, place).await?;
    let input = Input::of_whole_body(&body::read(call, body).await?)?;
    let found = evaluate(call, &target, &input).await?;
    match found.value {
        Some(value) => Ok(text_of(StatusCode::OK, value.get().to_owned(), &call.query)),
        None => Err(Refused::undefined(place, target.has_rule())),
    }
}

/// `PUT`, `PATCH` and `DELETE` of `/v1/data/{path}`. As OPA says it of data that comes in a bundle: this is not the way.
pub(super) fn write(call: &Call) -> Refused {
    let tenant = &call.tenant;
    let path = call.place.parts().join("/");
    Refused::invalid(format!(
        "path {path} is owned by the signed data of tenant `{tenant}`, and no server has the key that signs it; sign \
         the next with `verdict data put {tenant} FILE --key KEY`, or where no registry is followed, change \
         `{tenant}.json` in the folder of `--data`"
    ))
}
