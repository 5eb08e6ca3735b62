//! Publishing, at push and by signed documents, and what hosts are served then: on SQLite and on PostgreSQL.
#![cfg(feature = "registry")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

#[macro_use]
#[path = "../catalogue/places.rs"]
#[allow(dead_code, reason = "the tests of the catalogue use all of it")]
mod places;

mod bank;

mod activations;
mod data;
mod documents;
mod pushes;
mod served;
mod statements;
