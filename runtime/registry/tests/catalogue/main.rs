//! The catalogue on SQLite and on PostgreSQL: the same tests on both.
#![cfg(feature = "catalogue")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

#[macro_use]
mod places;

mod access;
mod crash;
mod documents;
mod events;
mod garbage;
mod opening;
mod policies;
mod repositories;
