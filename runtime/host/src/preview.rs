//! Trying out what is not published: an evaluation that is not recorded and proves nothing.
//!
//! An unsaved component goes the way of every other: it is signed with a key that is thrown away, under a trust policy
//! that is thrown away with it, so that the engine has no second door. It is compiled by the host's own compiler, in an
//! engine of its own without a cache, where instances are never kept: when the preview is done, nothing of it is left.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use verdict_core::artifact::{self, AdmittedArtifact, UnverifiedArtifact};
use verdict_core::digest::Digest;
use verdict_core::key::SecretKey;
use verdict_core::limits::{Limits, RequestedLimits};
use verdict_core::manifest::{CONTRACT, Capabilities, FORMAT, Manifest, Rule};
use verdict_core::name::{ChannelName, PolicyName};
use verdict_core::oci::{Image, World};
use verdict_core::outcome::{Answer, Fault};
use verdict_core::pointer::Pointer;
use verdict_core::refusal::Refusal;
use verdict_core::statement::sign_manifest;
use verdict_core::time::Timestamp;
use verdict_core::trust::{Author, Seen, TrustPolicy};
use verdict_engine::{
    CompileLimits, DOCUMENT_DEPTH_MAX, Document, DocumentError, DocumentLimits, Engine, Instances, LogLine,
    Policy, Query, ReadSet,
};

use crate::decide::{now, rule};
use crate::error::{DecideError, HostError};
use crate::load::Data;
use crate::random::random;
use crate::{Config, Host};

/// How many previews may run at once in the sandbox; who comes later gets the fault `unavailable`.
const CONCURRENCY: u32 = 16;
/// How long the throw-away signature holds.
const MINUTE_MS: i64 = 60_000;
/// What compiling a preview may use: less than for a version, which is compiled once for all its questions.
const COMPILE_LIMITS: CompileLimits = CompileLimits {
    memory_bytes_max: 2 << 30,
    cpu_seconds_max: 30,
    wall_clock_max: Duration::from_secs(45),
    output_bytes_max: 128 << 20,
};

/// What is tried out, and on what.
#[derive(Debug, Clone)]
pub struct Preview {
    /// What is asked.
    pub subject: Subject,
    /// The rule; may be left out where a loaded policy has one only. An unsaved component is asked `decide` then.
    pub rule: Option<String>,
    /// The input document.
    pub input: Vec<u8>,
    /// The data, one object whose members are documents. Without it a loaded policy reads what it always reads, and an
    /// unsaved component finds nothing.
    pub data: Option<Vec<u8>>,
    /// The time that the policy sees; the host's clock, if it is left out.
    pub decision_time: Option<Timestamp>,
}

/// Whom a preview asks.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A component that nobody has published.
    Unsaved(Box<Unsaved>),
    /// What answers for a policy, with other data, say.
    Loaded {
        /// The policy.
        policy: PolicyName,
        /// The channel; the host's own if it is left out.
        channel: Option<ChannelName>,
    },
}

/// A component that nobody has published, with what its manifest would say.
#[derive(Debug, Clone)]
pub struct Unsaved {
    /// The component.
    pub component: Vec<u8>,
    /// What it is to be called in messages.
    pub policy: PolicyName,
    /// What it may reach beyond its input.
    pub capabilities: Capabilities,
    /// What it asks for; the host's ceiling holds all the same.
    pub limits: RequestedLimits,
    /// Where in the answer `true` means allow.
    pub allow: Option<Pointer>,
}

/// What came of a preview. It was not recorded.
#[derive(Debug, Clone)]
pub struct Previewed {
    /// The digest of the component.
    pub component: Digest,
    /// The rule.
    pub rule: String,
    /// The answer, or the fault.
    pub result: Result<Answer, Fault>,
    /// Whether a gateway would let it pass.
    pub allow: bool,
    /// The fuel that an answer burned; none for a fault.
    pub fuel: Option<u64>,
    /// The limits that were in force.
    pub limits: Limits,
    /// Bytes of linear memory at the peak.
    pub memory_bytes_peak: u64,
    /// What was read, in order.
    pub reads: ReadSet,
    /// What the policy logged.
    pub log: Vec<LogLine>,
    /// The time that the policy saw.
    pub decision_time: Timestamp,
    /// How long the evaluation took, without compiling.
    pub elapsed: Duration,
}

/// Why nothing was tried out.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The component would not run on any host.
    #[error("the component is refused: {0}")]
    Refused(#[from] Refusal),
    /// A capability, a limit or the rule cannot be in a manifest.
    #[error("the preview cannot be made: {0}")]
    Manifest(String),
    /// The input or the data is not what a policy can read.
    #[error("the {0} is refused: {1}")]
    Document(&'static str, DocumentError),
    /// The data is no object.
    #[error("the data is refused: {0}")]
    Data(String),
    /// The loaded policy cannot be asked so.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// The host failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// The engine of previews, made when the first one comes.
#[derive(Debug, Default)]
pub(crate) struct Previews(Mutex<Option<Engine>>);

impl Previews {
    fn engine(&self, config: &Config) -> Result<Engine, HostError> {
        let mut engine = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engine.as_ref() {
            return Ok(engine.clone());
        }
        let made = Engine::new(verdict_engine::Config {
            cache: None,
            ceiling: config.ceiling,
            compile_limits: COMPILE_LIMITS,
            concurrency: CONCURRENCY,
            instances: Instances::New,
            ..verdict_engine::Config::new(config.compiler.clone())
        })?;
        Ok(engine.insert(made).clone())
    }
}

impl Host {
    /// Evaluates once what is not published, or what is with other data. Nothing is recorded, cached or loaded; who may
    /// do this, and how many at once, the caller decides: compiling takes seconds.
    ///
    /// # Errors
    /// When there is nothing to evaluate. A fault of the policy is not an error.
    pub fn preview(&self, preview: Preview) -> Result<Previewed, PreviewError> {
        let decision_time = preview.decision_time.unwrap_or_else(now);
        let data = preview.data.map(Data::parse).transpose().map_err(PreviewError::Data)?;
        let data = data.as_ref().map(|data| &data.document);
        match preview.subject {
            Subject::Unsaved(unsaved) => {
                let rule = preview.rule.as_deref().unwrap_or("decide");
                let admitted = admit(*unsaved, rule)?;
                let engine = self.inner.previews.engine(&self.inner.config)?;
                let policy = engine.load(&admitted)?;
                let input = input(preview.input, policy.limits().input_bytes)?;
                Ok(evaluate(&policy, &Query { rule, input: &input, data, decision_time }))
            }
            Subject::Loaded { policy, channel } => {
                let route = self.inner.route(&policy, channel.as_ref(), now())?;
                let input = input(preview.input, route.input_bytes_max())?;
                let unknown = || DecideError::UnknownPolicy(policy.to_string());
                let active = route.choose(&policy, &input, "null")?.ok_or_else(unknown)?.active;
                let rule = rule(active, preview.rule.as_deref())?;
                let data = data.or(active.data.as_ref().map(|data| &data.document));
                let query = Query { rule: rule.as_str(), input: &input, data, decision_time };
                Ok(evaluate(&active.policy, &query))
            }
        }
    }
}

fn input(bytes: Vec<u8>, bytes_max: u64) -> Result<Document, PreviewError> {
    let limits = DocumentLimits { bytes_max, depth_max: DOCUMENT_DEPTH_MAX };
    Document::parse(bytes, &limits).map_err(|error| PreviewError::Document("input", error))
}

fn evaluate(policy: &Policy, query: &Query<'_>) -> Previewed {
    let began = Instant::now();
    let outcome = policy.evaluate(query);
    let elapsed = began.elapsed();
    let allow = policy.manifest().allow.as_ref();
    Previewed {
        component: policy.digest(),
        rule: query.rule.to_owned(),
        allow: outcome.result.as_ref().is_ok_and(|answer| answer.allows(allow)),
        fuel: outcome.result.is_ok().then_some(outcome.fuel),
        result: outcome.result,
        limits: *policy.limits(),
        memory_bytes_peak: outcome.memory_bytes_peak,
        reads: outcome.reads,
        log: outcome.log,
        decision_time: query.decision_time,
        elapsed,
    }
}

/// What a host admits, for a component that nobody signed.
fn admit(unsaved: Unsaved, rule: &str) -> Result<AdmittedArtifact, PreviewError> {
    let malformed = |error: &dyn std::fmt::Display| PreviewError::Manifest(error.to_string());
    let manifest = manifest(&unsaved, rule)?;
    let Unsaved { component, policy, .. } = unsaved;
    let image = Image::new(&component, World::default(), &policy, &manifest.version)
        .map_err(|error| malformed(&error))?;
    let key = SecretKey::from_seed(random()?);
    let envelope = sign_manifest(&manifest, Digest::of(&image.manifest), &key);
    let envelope = envelope.map_err(|error| malformed(&error))?;
    let author = Author {
        person: "this preview".into(),
        public: key.public(),
        policies: vec![policy.to_string().parse().map_err(|error| malformed(&error))?],
        not_before: None,
        not_after: None,
    };
    let now = now();
    let until = Timestamp::from_millis(now.millis().saturating_add(MINUTE_MS)).unwrap_or(now);
    let trust = TrustPolicy::new(1, until, vec![author]).map_err(|error| malformed(&error))?;
    let artifact = UnverifiedArtifact {
        reference: "preview".into(),
        manifest_bytes: image.manifest,
        config: image.config,
        component,
        statements: vec![envelope.render().into_bytes()],
    };
    let verified = artifact::verify(artifact, &trust, now)?;
    Ok(artifact::admit(verified, &trust, &Seen::default(), now)?)
}

fn manifest(unsaved: &Unsaved, rule: &str) -> Result<Manifest, PreviewError> {
    let malformed = |error: &dyn std::fmt::Display| PreviewError::Manifest(error.to_string());
    let rule = Rule {
        name: rule.parse().map_err(|error| malformed(&error))?,
        description: String::new(),
        input_schema: None,
        output_schema: None,
    };
    let manifest = Manifest {
        format: FORMAT.into(),
        policy: unsaved.policy.clone(),
        version: "0.0.0".parse().map_err(|error| malformed(&error))?,
        component: Digest::of(&unsaved.component),
        contract: CONTRACT.parse().map_err(|error| malformed(&error))?,
        description: String::new(),
        licence: None,
        source: None,
        rules: vec![rule],
        allow: unsaved.allow.clone(),
        capabilities: unsaved.capabilities.clone(),
        limits: unsaved.limits,
        references: Default::default(),
    };
    manifest.checked().map_err(|error| malformed(&error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::support;
    use crate::testing::{Bank, request};

    fn unsaved(component: Vec<u8>) -> Unsaved {
        Unsaved {
            component,
            policy: "a/draft".parse().unwrap(),
            capabilities: Capabilities::default(),
            limits: RequestedLimits::default(),
            allow: None,
        }
    }

    fn preview(subject: Subject, input: &str, data: Option<&str>) -> Preview {
        Preview { subject, rule: None, input: input.into(), data: data.map(Into::into), decision_time: None }
    }

    /// A guest that answers with what the data has at `/a`.
    fn of_data() -> Vec<u8> {
        let body = "(call $host.data.json (i32.const 64) (i32.const 2) (i32.const 2048))
             (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056)))";
        support::guest(r#"(data (i32.const 64) "/a")"#, body)
    }

    fn value(previewed: &Previewed) -> Option<&str> {
        previewed.result.as_ref().unwrap().value.as_deref()
    }

    #[test]
    fn an_unsaved_component_answers_and_leaves_nothing_behind() {
        let bank = Bank::new();
        let host = bank.host();
        let tried = unsaved(support::echo("/ok"));
        let tried = preview(Subject::Unsaved(Box::new(tried)), r#"{"ok": true}"#, None);
        let previewed = host.preview(tried).unwrap();
        assert_eq!(
            (value(&previewed), previewed.allow, previewed.rule.as_str()),
            (Some("true"), true, "decide")
        );
        assert!(previewed.fuel > Some(0) && previewed.reads.len() == 1);
        assert_eq!(std::fs::read_dir(bank.path().join("state/compiled")).unwrap().count(), 0);
        assert!(host.policies().is_empty());
        let asked = host.decide(request("a/draft", "1"));
        assert!(matches!(asked, Err(DecideError::UnknownPolicy(_))));
    }

    #[test]
    fn an_unsaved_component_has_what_it_declares_below_the_hosts_ceiling() {
        let bank = Bank::new();
        let host = bank.host();
        let ask = |unsaved: Unsaved| {
            host.preview(preview(Subject::Unsaved(Box::new(unsaved)), "{}", Some(r#"{"a": 7}"#)))
        };
        assert!(matches!(ask(unsaved(of_data())), Err(PreviewError::Refused(_))));
        let capabilities = Capabilities { data: vec!["/a".parse().unwrap()], ..Capabilities::default() };
        let granted = Unsaved { capabilities, ..unsaved(of_data()) };
        assert_eq!(value(&ask(granted.clone()).unwrap()), Some("7"));
        let ceiling = Limits::default().fuel;
        let more = RequestedLimits { fuel: Some(ceiling * 2), ..RequestedLimits::default() };
        assert_eq!(ask(Unsaved { limits: more, ..granted.clone() }).unwrap().limits.fuel, ceiling);
        let none = RequestedLimits { fuel: Some(0), ..RequestedLimits::default() };
        assert!(matches!(ask(Unsaved { limits: none, ..granted }), Err(PreviewError::Manifest(_))));
    }

    #[test]
    fn a_loaded_policy_is_tried_with_other_data_and_not_recorded() {
        let bank = Bank::new();
        bank.data("a", r#"{"a": 1}"#);
        bank.publish(&of_data(), json!({"policy": "a/data", "capabilities": {"data": ["/a"]}}));
        let host = bank.host();
        let mut tail = host.subscribe(&"a".parse().unwrap());
        let ask = |data| {
            let subject = Subject::Loaded { policy: "a/data".parse().unwrap(), channel: None };
            host.preview(preview(subject, "{}", data)).unwrap()
        };
        assert_eq!(value(&ask(None)), Some("1"));
        assert_eq!(value(&ask(Some(r#"{"a": 2}"#))), Some("2"));
        let next = std::pin::pin!(tail.next());
        assert!(next.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending());
    }
}
