//! The policy that decides who may do what, in a host of its own: a signed artifact like any other, which nothing in
//! the API can name.

use std::path::PathBuf;

use serde_json::json;
use verdict::core::digest::Digest;
use verdict::core::name::PolicyName;
use verdict::engine::Compiler;
use verdict::{Config, Decision, Host, Log, Pending, Request};

use super::AccessError;
use super::action::Action;
use super::principal::Principal;

/// The name that it must have.
pub(super) const NAME: &str = "system/api-access";
const RULE: &str = "allow";
/// Up to this fuel limit, some milliseconds, it is asked on the thread of the request.
const INLINE_FUEL_MAX: u64 = 2_000_000;

/// The policy that decides who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPolicy {
    /// The folder with the signed artifact of `system/api-access`, and no other.
    pub folder: PathBuf,
    /// The trust file that it is verified with: its own, and not below `folder`.
    pub trust: PathBuf,
    /// The state folder of its hosts. It has the log of what was allowed and denied.
    pub state: PathBuf,
    /// The digest of its component. Another is refused, whoever signed it.
    pub component: Digest,
}

/// The policy, loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    name: PolicyName,
    pub(super) component: Digest,
    /// Asked about changes.
    pub(super) recorded: Host,
    /// Asked about the rest, without a log: a read waits for no disk.
    unrecorded: Host,
}

/// What came of asking.
pub(super) enum Answer {
    Allowed,
    Denied,
    /// A fault, or no outcome at all: never an answer.
    None,
}

impl Loaded {
    /// Loads it. Takes as long as compiling does.
    pub(super) fn open(options: &AccessPolicy, compiler: Compiler) -> Result<Self, AccessError> {
        let name: PolicyName = NAME.parse().map_err(|_| AccessError::Name)?;
        let open = |state: &str, log| {
            let state = options.state.join(state);
            let config = Config::new(&options.folder, &options.trust, state);
            let host = Host::open(Config { compiler: compiler.clone(), log, ..config })?;
            check(&host, &name, options)?;
            Ok::<_, AccessError>(host)
        };
        let (recorded, unrecorded) = (open("changes", Log::Durable)?, open("reads", Log::Off)?);
        Ok(Self { name, component: options.component, recorded, unrecorded })
    }

    /// Asks it. What is `recorded` is in the log when this returns; the rest is not.
    pub(super) async fn ask(
        &self,
        principal: &Principal,
        action: &Action<'_>,
        recorded: bool,
    ) -> (Answer, bool) {
        let host = if recorded { &self.recorded } else { &self.unrecorded };
        match self.decide(host, principal, action).await {
            Some(decision) => (self.read(&decision), recorded && decision.index.is_some()),
            None => (Answer::None, false),
        }
    }

    fn read(&self, decision: &Decision) -> Answer {
        match &decision.result {
            Ok(_) if decision.component == self.component => {
                if decision.allow {
                    Answer::Allowed
                } else {
                    Answer::Denied
                }
            }
            Ok(_) => {
                tracing::error!(component = %decision.component, "another access policy answered");
                Answer::None
            }
            Err(fault) => {
                tracing::error!(code = %fault.code, message = fault.message, "the access policy faulted");
                Answer::None
            }
        }
    }

    async fn decide(&self, host: &Host, principal: &Principal, action: &Action<'_>) -> Option<Box<Decision>> {
        let pending = evaluate(host, self.request(principal, action)).await?;
        let decided = pending.durable().await;
        decided.inspect_err(|error| tracing::error!(%error, "what was decided about access is not kept")).ok()
    }

    fn request(&self, principal: &Principal, action: &Action<'_>) -> Request {
        let mut input = json!({
            "principal": principal.asked(), "action": action.name, "tenant": action.tenant,
            "resource": action.resource(),
        });
        if let (Some(members), Some(roles)) = (input.as_object_mut(), action.roles) {
            members.insert("roles".into(), roles.iter().map(|role| role.as_str()).collect());
        }
        Request {
            policy: self.name.clone(),
            channel: None,
            rule: Some(RULE.into()),
            input: input.to_string().into_bytes(),
            id: None,
            decision_time: None,
            caller: principal.caller().map(ToOwned::to_owned),
        }
    }

    /// Reads folder and trust file again. Each answer is still held to the pinned component.
    pub(super) fn reload(&self) {
        for host in [&self.recorded, &self.unrecorded] {
            match host.reload() {
                Ok(()) if host.policies().iter().any(|policy| policy.name == self.name) => {}
                Ok(()) => tracing::error!("the access policy is refused now: nothing is allowed"),
                Err(error) => {
                    tracing::error!(%error, "the access policy was not read again; the loaded one goes on")
                }
            }
        }
    }

    /// Ends with a last checkpoint.
    pub(super) fn flush(&self) {
        if let Err(error) = self.recorded.flush() {
            tracing::error!(%error, "the last checkpoint of the access log could not be written");
        }
    }
}

async fn evaluate(host: &Host, request: Request) -> Option<Pending> {
    let fuel = host.bounds(&request.policy, None).map_or(0, |bounds| bounds.fuel);
    let decided = if fuel <= INLINE_FUEL_MAX {
        host.decide(request)
    } else {
        let host = host.clone();
        tokio::task::spawn_blocking(move || host.decide(request)).await.ok()?
    };
    decided.inspect_err(|error| tracing::error!(%error, "the access policy could not be asked")).ok()
}

/// It is there, it is the one that is pinned, and it is alone.
fn check(host: &Host, name: &PolicyName, options: &AccessPolicy) -> Result<(), AccessError> {
    if let Some(refused) = host.quarantine().into_iter().next() {
        return Err(AccessError::Refused { path: refused.path, reason: refused.refusal.to_string() });
    }
    let policies = host.policies();
    let [policy] = policies.as_slice() else {
        return Err(AccessError::NotAlone { folder: options.folder.clone(), found: policies.len() });
    };
    if policy.name != *name || policy.manifest.rule(RULE).is_none() {
        return Err(AccessError::Name);
    }
    if policy.component != options.component {
        return Err(AccessError::Component { found: policy.component, pinned: options.component });
    }
    Ok(())
}
