//! Gateways that ask before they let something pass: each in its own protocol, all by what the manifest's `allow` says.
//!
//! What is `allow` passes and nothing else does: a denial, a fault, an unknown policy and an error of this server all
//! have the form in which the protocol refuses.

pub(crate) mod admission;
pub(crate) mod auth_request;
mod ext_authz;
pub(crate) mod grpc;

use serde::Deserialize;
use verdict::Request;
use verdict::core::name::{ChannelName, PolicyName};

/// Which of a policy's rules answers, and in which channel.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    channel: Option<ChannelName>,
    rule: Option<String>,
}

impl Target {
    fn question(self, policy: PolicyName, input: Vec<u8>, caller: Option<&str>) -> Request {
        let Self { channel, rule } = self;
        let caller = caller.map(ToOwned::to_owned);
        Request { policy, channel, rule, input, id: None, decision_time: None, caller }
    }
}
