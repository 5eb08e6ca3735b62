//! Guests that attack: the host, their neighbours, and what comes after them. Every attack has a name, the outcome that
//! it must have, and runs under every instance kind; see `hostile/harness.rs` for how. Bombs for the compiler are in
//! `compile_child.rs`, because they go through its child.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]
#![allow(dead_code, reason = "the benchmark uses what the tests do not")]

mod support;

mod hostile {
    mod binaries;
    mod composite;
    mod cpu;
    mod determinism;
    pub(crate) mod harness;
    mod host;
    mod leftovers;
    mod memory;
    mod output;
    mod reentry;
    mod reset;
    mod signals;
    mod together;
    mod traps;
}
