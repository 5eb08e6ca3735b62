//! The API over real sockets, with a real access policy: what is answered, to whom, and what is refused how.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

mod client;
mod routes;
mod world;

mod bad_input;
mod browsers;
mod events;
mod isolation;
mod keys;
mod opa;
mod preview;
mod questions;
mod releases;
mod resources;
mod tail;
