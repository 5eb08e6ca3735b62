//! Gateways that ask before they let something pass: each in its own protocol, all by what the manifest's `allow` says.
//!
//! What is `allow` passes and nothing else does: a denial, a fault, an unknown policy and an error of this server all
//! have the form in which the protocol refuses.
