//! The one way from a protocol to a policy: every question goes through here, whatever it was asked in.

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::StatusCode;
use verdict::{DecideError, Decision, Pending, Request};

use crate::error::ApiError;
use crate::observe;
use crate::routes::App;
use crate::tenancy::Claim;

/// Up to this fuel limit, some milliseconds, a policy runs on the thread that read its request; others run on a
/// bounded pool, where they cannot hold up requests.
pub(crate) const INLINE_FUEL_MAX: u64 = 2_000_000;

/// Asks a policy. The decision is given out when its record is durable. Who may ask was found out before
/// ([`App::decider`]).
pub(crate) async fn ask(app: &Arc<App>, request: Request) -> Result<Box<Decision>, ApiError> {
    Ok(recorded(evaluate(app, request).await??).await?)
}

/// The decision, once its record is durable; every answer waits for it here.
pub(crate) async fn recorded(pending: Pending) -> Result<Box<Decision>, DecideError> {
    let Some(trace) = observe::trace() else { return pending.durable().await };
    let began = SystemTime::now();
    let decided = pending.durable().await;
    trace.recorded(began, decided.as_deref().ok());
    decided
}

/// Evaluates a question, on this thread or on another; what the host says of it comes as it is, for whoever can show
/// the place in the input.
pub(crate) async fn evaluate(
    app: &Arc<App>,
    request: Request,
) -> Result<Result<Pending, DecideError>, ApiError> {
    let host = app.host()?;
    let Some(bounds) = host.bounds(&request.policy, request.channel.as_ref()) else {
        // It says what there is not.
        return Ok(host.decide(request));
    };
    let claim = Claim { questions: 1, lanes: 1, bounds };
    let turn = app.tenancy.account(request.policy.tenant()).enter(claim).await?;
    if bounds.fuel <= INLINE_FUEL_MAX {
        return Ok(turn.decide(host, request)?);
    }
    let permit = Arc::clone(&app.long_evaluations).try_acquire_owned().map_err(|_| overloaded())?;
    let host = host.clone();
    let evaluate = observe::carried(move || {
        let pending = turn.decide(&host, request);
        drop((turn, permit));
        pending
    });
    Ok(tokio::task::spawn_blocking(evaluate).await.map_err(|_| cut_off())??)
}

/// No more evaluations that may take long.
pub(crate) fn overloaded() -> ApiError {
    let message = "too many long evaluations are under way; ask again";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)
}

/// The thread of an evaluation is gone.
pub(crate) fn cut_off() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the evaluation was cut off")
}
