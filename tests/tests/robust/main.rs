//! A real server in bad times: policies that change under load, a disk that is full or slow, memory over a long time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

mod bank;
mod client;
mod databases;
mod disks;
mod log;
mod memory;
mod swaps;
mod vanishing;

#[path = "../../../runtime/engine/tests/support/mod.rs"]
mod support;

/// Whether everything is run, however long it takes.
pub(crate) fn is_full() -> bool {
    std::env::var_os("VERDICT_FULL").is_some_and(|value| value == "1")
}
