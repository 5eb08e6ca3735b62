//! Which request something belongs to: what is logged while it is answered, and the spans of its trace.
//!
//! Nothing is made for a request that nobody asks about: its id is a new one only when a line is logged, or it has to be
//! told, and there are spans only where traces are exported.

mod trace;

use std::cell::OnceCell;
use std::pin::Pin;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use uuid::Uuid;

use crate::api::request_id;
use crate::listen::Protocol;

pub(crate) use trace::{Trace, Tracing};
pub use trace::{TraceError, TraceOptions};

tokio::task_local! {
    static REQUEST: Request;
}

/// The request that is being answered.
#[derive(Clone)]
pub(crate) struct Request {
    given: Option<HeaderValue>,
    made: OnceCell<String>,
    trace: Option<Arc<Trace>>,
}

impl Request {
    pub(crate) fn of(headers: &HeaderMap, trace: Option<Arc<Trace>>) -> Self {
        Self { given: request_id(headers), made: OnceCell::new(), trace }
    }

    /// Answers a request in its own name.
    pub(crate) async fn scope<T>(self, answered: Pin<&mut impl Future<Output = T>>) -> T {
        REQUEST.scope(self, answered).await
    }

    fn id(&self) -> &str {
        let given = self.given.as_ref().and_then(|given| given.to_str().ok());
        given.unwrap_or_else(|| self.made.get_or_init(|| Uuid::now_v7().to_string()))
    }
}

/// What a line of the log says of the request that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    /// The request's id: its own, or one that was made for it. Printable ASCII.
    pub request: String,
    /// The id of its trace, in hexadecimal, where traces are exported.
    pub trace: Option<String>,
}

/// The request that is being answered here; none outside of one.
pub fn correlation() -> Option<Correlation> {
    let of = |request: &Request| Correlation {
        request: request.id().to_owned(),
        trace: request.trace.as_ref().map(|trace| trace.id()),
    };
    REQUEST.try_with(of).ok()
}

/// The id of the request that is being answered here, made now if it has none.
pub(crate) fn id() -> Option<String> {
    REQUEST.try_with(|request| request.id().to_owned()).ok()
}

/// The same, where it was made and told already: an answer then says it, too.
pub(crate) fn made() -> Option<HeaderValue> {
    let made = REQUEST.try_with(|request| request.made.get().cloned()).ok()??;
    HeaderValue::try_from(made).ok()
}

/// Where the spans of this request go; none where its trace is not exported.
pub(crate) fn trace() -> Option<Arc<Trace>> {
    let traced = |request: &Request| request.trace.clone().filter(|trace| trace.is_sampled());
    REQUEST.try_with(traced).ok().flatten()
}

/// What is told when it is answered; none where nobody hears of it.
pub(crate) struct Answering {
    protocol: Protocol,
    method: Method,
    path: String,
}

impl Answering {
    pub(crate) fn of<B>(request: &axum::http::Request<B>, is_traced: bool) -> Option<Self> {
        let is_told = is_traced || tracing::enabled!(tracing::Level::DEBUG);
        is_told.then(|| Self {
            protocol: Protocol::of(request),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
        })
    }

    /// Tells it, in the name of the request.
    pub(crate) fn tell(self, status: StatusCode) {
        let Self { protocol, method, path } = self;
        tracing::debug!(protocol = protocol.name(), %method, path, status = status.as_u16(), "answered");
        if let (Some(trace), Some(id)) = (trace(), id()) {
            trace.answered(protocol, &id, status);
        }
    }
}

/// The same work, for another thread, in the name of this request.
pub(crate) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let request = REQUEST.try_with(|request| {
        // Both must call it the same.
        let _ = request.id();
        request.clone()
    });
    move || match request {
        Ok(request) => REQUEST.sync_scope(request, work),
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_request_has_its_own_id_or_one_that_is_made_when_it_is_needed() {
        assert_eq!((correlation(), id(), made()), (None, None, None));
        let mut headers = HeaderMap::new();
        Request::of(&headers, None)
            .scope(pin!(async {
                assert_eq!(made(), None);
                let id = id().unwrap();
                assert_eq!(made().unwrap(), id);
                let elsewhere = carried(super::id);
                assert_eq!(std::thread::spawn(elsewhere).join().unwrap().unwrap(), id);
            }))
            .await;
        headers.insert("x-request-id", HeaderValue::from_static("mine"));
        Request::of(&headers, None)
            .scope(pin!(async {
                assert_eq!(correlation(), Some(Correlation { request: "mine".into(), trace: None }));
                assert_eq!(made(), None);
            }))
            .await;
    }
}
