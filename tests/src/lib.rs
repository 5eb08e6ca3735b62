//! What the test programs share.

pub mod access;
pub mod server;
pub mod suites;
