//! Listening, over real sockets: several addresses at a time, bounds on what is taken on, and stopping without a failed
//! request.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

mod bounds;
mod client;
mod draining;
mod h2;
mod places;
mod shapes;
mod tls;
