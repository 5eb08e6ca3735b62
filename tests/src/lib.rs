//! What the test programs share.

pub mod access;
pub mod gateways;
pub mod grpc;
pub mod nginx;
pub mod opa;
pub mod probe;
pub mod server;
pub mod suites;
