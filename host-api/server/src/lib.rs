//! Verdict over HTTP: routes, wire types, access, listening; and the registry that OCI clients push to.
//!
//! Three nouns: a [`Server`] is bound but not yet serving, a [`Listen`] is where it listens, and
//! [`Tokens`] are who may ask.
//!
//! ```no_run
//! use verdict::{Config, Host};
//! use verdict_server::{Listen, Options, Server};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host::open(Config::new("policies", "trust.json", "state"))?;
//! let options = Options::new(Listen::parse("127.0.0.1:8181")?);
//! let server = Server::bind(host, options).await?;
//! println!("listening on {}", server.address());
//! server.run().await?;
//! # Ok(())
//! # }
//! ```

pub mod access;
mod api;
mod ask;
mod authzen;
mod batch;
mod besides;
mod decide;
mod door;
mod error;
mod gateway;
mod health;
mod listen;
mod merge;
mod metrics;
mod observe;
mod oci;
mod opa;
mod preview;
mod query;
mod routes;
mod still;
mod tail;
mod tenancy;
mod times;
mod transitions;
mod wire;

pub use access::{TokenError, Tokens};
pub use authzen::{AuthZen, PublicUrl, UrlError};
pub use listen::{Listen, ListenError, Options, Server, TlsError, TlsOptions, Tuning, TuningSource};
pub use observe::{Correlation, TraceError, TraceOptions, correlation};
pub use opa::{DefaultDecision, DefaultDecisionError};
pub use tenancy::{Budget, BudgetError, Budgets};
