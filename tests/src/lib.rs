//! What the test programs share.

pub mod server;
pub mod suites;
