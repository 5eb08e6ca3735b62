//! What the test programs share.

pub mod access;
pub mod gateways;
pub mod server;
pub mod suites;
