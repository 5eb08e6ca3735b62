//! A loaded policy, and the evaluation of one question.

#[cfg(feature = "bench")]
mod warm;

use std::sync::Arc;

use verdict_core::digest::Digest;
use verdict_core::limits::Limits;
use verdict_core::manifest::{CONTRACT, Manifest};
use verdict_core::outcome::{Fault, FaultCode};
use verdict_core::refusal::{Refusal, RefusalCode};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use crate::capabilities::{Question, State};
use crate::engine;
use crate::fault::runtime_fault;
use crate::instances::{Evaluated, Instances, WrongType};
use crate::outcome::{Outcome, Query};

/// A version of a policy that is ready to answer. A clone is cheap and is the same policy.
#[derive(Clone)]
pub struct Policy(Arc<Inner>);

struct Inner {
    instances: Arc<Instances>,
    manifest: Manifest,
    /// The names of its rules, as they are handed to the guest.
    rules: Box<[Arc<str>]>,
    digest: Digest,
    limits: Limits,
}

impl Policy {
    /// What cannot be instantiated within its limits is refused here, and not with each question. `instrumented` says
    /// why the component is not.
    pub(crate) fn new(
        engine: Arc<engine::Inner>,
        manifest: Manifest,
        digest: Digest,
        limits: Limits,
        made: InstancePre<State>,
        instrumented: Result<(), String>,
    ) -> Result<Self, Refusal> {
        let decide = decide_index(made.component())?;
        let data_granted = manifest.capabilities.data.clone().into();
        let instances = Instances::new(engine, made, decide, (limits, data_granted), instrumented);
        let instances = instances.map_err(|error| not_instantiated(&error))?;
        let rules = manifest.rules.iter().map(|rule| rule.name.as_str().into()).collect();
        Ok(Self(Arc::new(Inner { instances, manifest, rules, digest, limits })))
    }

    /// What its author declared.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The digest of its component.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// What an evaluation may use: the smaller of what the manifest asks for and the ceiling.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Why each evaluation takes a new instance; none if instances are reset in place. Answers and fuel do not depend
    /// on it.
    pub fn new_instances_because(&self) -> Option<&str> {
        self.0.instances.new_because()
    }

    #[cfg(test)]
    pub(crate) fn instances(&self) -> &Arc<Instances> {
        &self.0.instances
    }

    /// Asks the policy. The answer, its reasons and its fuel depend on component, query, limits and semantics only.
    ///
    /// The policy runs on the stack of the calling thread: it needs the limit `stack_bytes` and some 256 KiB for the
    /// host, which every thread has that Rust starts with its defaults.
    pub fn evaluate(&self, query: &Query<'_>) -> Outcome {
        let evaluated =
            self.rule(query).and_then(|rule| self.0.instances.evaluate(self.question(query), rule));
        let evaluated = evaluated.unwrap_or_else(Evaluated::fault);
        let (result, fuel) = match evaluated.answered {
            Ok((Ok(answer), fuel)) => (Ok(answer), fuel),
            Ok((Err(fault), _)) | Err(fault) => (Err(fault), self.0.limits.fuel),
        };
        Outcome {
            result,
            fuel,
            memory_bytes_peak: u64::try_from(evaluated.memory_bytes).unwrap_or(u64::MAX),
            reads: evaluated.reads,
            log: evaluated.log,
            saw_time: evaluated.saw_time,
        }
    }

    /// The rule that is asked, unless the question is not even to be asked.
    fn rule(&self, query: &Query<'_>) -> Result<&Arc<str>, Fault> {
        let Some(rule) = self.0.rules.iter().find(|rule| ***rule == *query.rule) else {
            let rule: String = query.rule.chars().take(160).collect();
            return Err(Fault::new(FaultCode::InvalidInput, format!("the policy has no rule `{rule}`")));
        };
        let (bytes, max) = (query.input.text().len(), self.0.limits.input_bytes);
        if u64::try_from(bytes).is_ok_and(|bytes| bytes <= max) {
            return Ok(rule);
        }
        Err(Fault::new(
            FaultCode::InvalidInput,
            format!("the input has {bytes} bytes; the policy takes {max}"),
        ))
    }

    fn question(&self, query: &Query<'_>) -> Question {
        Question { input: query.input.clone(), data: query.data.cloned(), decision_time: query.decision_time }
    }
}

fn not_instantiated(error: &wasmtime::Error) -> Refusal {
    if let Some(wrong) = error.downcast_ref::<WrongType>() {
        return Refusal::new(RefusalCode::WrongContract, wrong.to_string());
    }
    let message = format!("the component cannot be instantiated: {}", runtime_fault(error).message);
    Refusal::new(RefusalCode::MalformedComponent, message)
}

fn decide_index(component: &Component) -> Result<ComponentExportIndex, Refusal> {
    let interface = format!("verdict:policy/decision@{CONTRACT}");
    component
        .get_export_index(None, &interface)
        .and_then(|interface| component.get_export_index(Some(&interface), "decide"))
        .ok_or_else(|| Refusal::new(RefusalCode::WrongContract, "`decision` has no function `decide`"))
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let manifest = &self.0.manifest;
        f.debug_struct("Policy")
            .field("name", &manifest.policy)
            .field("version", &manifest.version)
            .finish_non_exhaustive()
    }
}
