//! The path of one decision: question -> outcome -> record -> durable -> answer.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use verdict_core::digest::Digest;
use verdict_core::jcs;
use verdict_core::limits::Limits;
use verdict_core::name::{ChannelName, PolicyName, RuleName};
use verdict_core::outcome::{Answer, Fault, FaultCode};
use verdict_core::record::{Commitments, Field, Record, Salt, Through, commitment, is_id};
use verdict_core::time::Timestamp;
use verdict_engine::{DOCUMENT_DEPTH_MAX, Document, DocumentLimits, LogLine, Outcome, Query, ReadSet};
use verdict_ledger::{Append, LogName};

use crate::Inner;
use crate::cache::{Cached, Stored};
use crate::error::{DecideError, HostError};
use crate::evidence;
use crate::ids::Slot;
use crate::load::Active;
use crate::random::random;
use crate::route::{Chosen, Route};
use crate::shadow::Shadowed;

/// One question.
#[derive(Debug, Clone)]
pub struct Request {
    /// The policy that is asked.
    pub policy: PolicyName,
    /// The channel; the host's own if it is left out.
    pub channel: Option<ChannelName>,
    /// The rule; may be left out where the policy has one only.
    pub rule: Option<String>,
    /// The input document, as the caller wrote it.
    pub input: Vec<u8>,
    /// The caller's own id for the decision: asked again with the same id and question, the host returns the first
    /// decision. Made by the host where it is left out.
    pub id: Option<String>,
    /// The decision time, where the operator lets callers set it.
    pub decision_time: Option<Timestamp>,
    /// Who asks, as JSON text. Committed to in the record.
    pub caller: Option<String>,
}

/// One decision: what was made of a question, and by what.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The decision's id.
    pub id: String,
    /// The policy that was asked.
    pub policy: PolicyName,
    /// The channel that chose the version; none where a folder's highest version answers.
    pub channel: Option<Through>,
    /// The version that answered.
    pub version: String,
    /// The digest of the component that answered.
    pub component: Digest,
    /// The digest of its author's statement.
    pub statement: Digest,
    /// The number of the rules that answer and fuel depend on.
    pub semantics: u32,
    /// The limits that were in force.
    pub limits: Limits,
    /// The digest of the data that it could read.
    pub data: Option<Digest>,
    /// The rule.
    pub rule: String,
    /// The answer, or the fault. Of a decision that was read back, the record commits to the answer with its reasons,
    /// and of a fault to its class; the words about a fault are only kept beside it.
    pub result: Result<Answer, Fault>,
    /// Whether a gateway lets it pass: `true` at the manifest's `allow` pointer of an answer, and nothing else.
    pub allow: bool,
    /// The fuel that an answer burned; none for a fault.
    pub fuel: Option<u64>,
    /// The time that the policy saw.
    pub decision_time: Timestamp,
    /// When the question arrived, by the host's clock.
    pub received_at: Timestamp,
    /// Whether this is an earlier decision, returned again.
    pub repeated: bool,
    /// The place of its record in the tenant's log; none where the log is off.
    pub index: Option<u64>,
    /// Messages for operators. Kept for the moment only.
    pub log: Vec<LogLine>,
    /// What was read, in order, with what was absent.
    pub reads: ReadSet,
    /// Whether the answer was there already.
    pub cached: Cached,
    /// How long the evaluation took; zero for a decision that was read back.
    pub elapsed: Duration,
    /// Bytes of linear memory that the evaluation had at its peak; none for a decision that was read back.
    pub memory_bytes_peak: Option<u64>,
}

/// A decision that is made but not yet durable. The answer comes out when it is.
#[derive(Debug)]
#[must_use = "the answer comes out of `durable` or `wait`"]
pub struct Pending {
    // In a box: it is large, and goes through many hands.
    decision: Option<Box<Decision>>,
    append: Option<Append>,
    inner: Arc<Inner>,
}

/// What an evaluation used. Known before its answer is given out, for whoever keeps account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The fault, if it was one.
    pub fault: Option<FaultCode>,
    /// Whether the answer allows.
    pub allow: bool,
    /// The fuel of an answer; a fault has used its limit.
    pub fuel: Option<u64>,
    /// How long the evaluation took.
    pub elapsed: Duration,
}

/// What was asked, as it may be told before the answer is.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The policy.
    pub policy: &'a PolicyName,
    /// The version that it came to.
    pub version: &'a str,
    /// The rule.
    pub rule: &'a str,
    /// Whether the answer was there already.
    pub cached: &'a Cached,
}

/// An append whose caller went away, with what is needed to note its id.
pub(crate) struct Orphan {
    decision: Box<Decision>,
    append: Append,
}

impl Pending {
    fn done(decision: Decision, inner: Arc<Inner>) -> Self {
        Self { decision: Some(Box::new(decision)), append: None, inner }
    }

    /// What it used; none for a decision that was made before, and is only given again.
    pub fn used(&self) -> Option<Used> {
        let decision = self.decision.as_ref().filter(|decision| !decision.repeated)?;
        let fault = decision.result.as_ref().err().map(|fault| fault.code);
        // What came out of the cache has the fuel of the decision that it was made for, and used none.
        let fuel = if let Cached::Hit { .. } = decision.cached { Some(0) } else { decision.fuel };
        Some(Used { fault, allow: decision.allow, fuel, elapsed: decision.elapsed })
    }

    /// What was asked, and which version it came to; none for a decision that was made before.
    pub fn asked(&self) -> Option<Asked<'_>> {
        let decision = self.decision.as_ref().filter(|decision| !decision.repeated)?;
        let Decision { policy, version, rule, cached, .. } = &**decision;
        Some(Asked { policy, version, rule, cached })
    }

    /// The decision, once its record is durable.
    ///
    /// # Errors
    /// [`DecideError::NotRecorded`] when it could not be made durable. The answer is not given then.
    pub async fn durable(mut self) -> Result<Box<Decision>, DecideError> {
        // The append stays in `self` while it is awaited: a caller that goes away leaves it to `drop`.
        let result = match self.append.as_mut() {
            Some(append) => Some(append.await),
            None => None,
        };
        self.finish(result)
    }

    /// As [`Pending::durable`], for callers without an async runtime.
    ///
    /// # Errors
    /// As [`Pending::durable`].
    pub fn wait(mut self) -> Result<Box<Decision>, DecideError> {
        let result = self.append.take().map(Append::wait);
        self.finish(result)
    }

    fn finish(
        &mut self,
        result: Option<Result<u64, verdict_ledger::LedgerError>>,
    ) -> Result<Box<Decision>, DecideError> {
        self.append = None;
        let Some(mut decision) = self.decision.take() else {
            return Err(HostError::Corrupt {
                what: "the state",
                id: String::new(),
                reason: "awaited twice".into(),
            }
            .into());
        };
        match result {
            // What was read back was told when it was made.
            None if decision.repeated => {}
            None => self.inner.tails.tell(&decision),
            Some(result) => self.inner.recorded_at(&mut decision, result)?,
        }
        Ok(decision)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let (Some(decision), Some(append)) = (self.decision.take(), self.append.take()) else { return };
        // If the thread is gone, so is the host.
        let _ = self.inner.orphans.send(Orphan { decision, append });
    }
}

/// Notes the ids of decisions that became durable after their callers went away.
pub(crate) fn adopt_orphans(inner: std::sync::Weak<Inner>) -> Result<Sender<Orphan>, HostError> {
    let (sender, receiver) = std::sync::mpsc::channel::<Orphan>();
    let adopt = move || {
        for Orphan { mut decision, append } in receiver {
            let result = append.wait();
            let Some(inner) = inner.upgrade() else { return };
            // Nobody waits for the answer, nor for the error.
            let _ = inner.recorded_at(&mut decision, result);
        }
    };
    std::thread::Builder::new()
        .name("verdict-orphans".into())
        .spawn(adopt)
        .map(|_| sender)
        .map_err(|error| HostError::Entropy(error.to_string()))
}

impl Inner {
    /// Notes what became of a decision's record, and tells of one that is durable.
    fn recorded_at(
        &self,
        decision: &mut Decision,
        result: Result<u64, verdict_ledger::LedgerError>,
    ) -> Result<(), DecideError> {
        let tenant = decision.policy.tenant().as_str();
        match result {
            Ok(index) => self.ids.record(tenant, &decision.id, index),
            Err(_) => self.ids.release(tenant, &decision.id),
        }
        decision.index = Some(result?);
        self.tails.tell(decision);
        Ok(())
    }

    pub(crate) fn decide(self: &Arc<Self>, request: Request) -> Result<Pending, DecideError> {
        let received_at = now();
        let route = self.route(&request.policy, request.channel.as_ref(), received_at)?;
        if request.decision_time.is_some() && !self.config.allow_decision_time {
            return Err(DecideError::DecisionTimeNotAllowed);
        }
        let document_limits =
            DocumentLimits { bytes_max: route.input_bytes_max(), depth_max: DOCUMENT_DEPTH_MAX };
        let input = Document::parse(request.input, &document_limits).map_err(DecideError::Input)?;
        let caller = request.caller.unwrap_or_else(|| "null".into());
        let Some(chosen) = route.choose(&request.policy, &input, &caller)? else {
            return Err(DecideError::UnknownPolicy(request.policy.to_string()));
        };
        let rule = rule(chosen.active, request.rule.as_deref())?;
        let question = Question {
            id: String::new(),
            rule,
            input,
            requested_time: request.decision_time,
            received_at,
            caller,
        };
        match request.id {
            None => {
                let id = new_id(received_at)?;
                self.answer(&route, &chosen, Question { id, ..question })
            }
            Some(id) if !is_id(&id) => Err(DecideError::MalformedId(id.chars().take(80).collect())),
            Some(id) => self.decide_once(&route, &chosen, Question { id, ..question }),
        }
    }

    /// Evaluates the version that was chosen, and whatever is watched beside it.
    fn answer(
        self: &Arc<Self>,
        route: &Route,
        chosen: &Chosen<'_>,
        question: Question,
    ) -> Result<Pending, DecideError> {
        let through = route.through();
        let pending = self.evaluate(chosen.active, &question, through.clone())?;
        if let Some(decision) = &pending.decision
            && route.note(chosen, decision.allow, &decision.result, decision.fuel.unwrap_or_default())
        {
            self.note_reverted(&chosen.active.name, route);
        }
        if let (Some(active), Some(through)) = (&route.shadow, through) {
            let shadow_of = Some(question.id.clone());
            let question = Question { id: new_id(question.received_at)?, ..question };
            let (active, through) = (Arc::clone(active), Through { shadow_of, ..through });
            self.shadows.add(Shadowed { active, question, through });
        }
        Ok(pending)
    }

    /// Evaluates under an id of the caller's choice, unless that was done before.
    fn decide_once(
        self: &Arc<Self>,
        route: &Route,
        chosen: &Chosen<'_>,
        question: Question,
    ) -> Result<Pending, DecideError> {
        let active = chosen.active;
        if self.ledger.is_none() {
            return self.answer(route, chosen, question);
        }
        let tenant = active.name.tenant();
        match self.ids.reserve(tenant.as_str(), &question.id) {
            Ok(()) => {
                let id = question.id.clone();
                self.answer(route, chosen, question).inspect_err(|_| self.ids.release(tenant.as_str(), &id))
            }
            Err(Slot::Pending) => Err(DecideError::IdInProgress(question.id)),
            Err(Slot::Recorded(index)) => {
                let recorded = self.recorded(tenant, index)?;
                if !recorded.answers(active, route.through().as_ref(), &question) {
                    return Err(DecideError::IdConflict(question.id));
                }
                match self.decision(&recorded)? {
                    Some(decision) => Ok(Pending::done(decision, Arc::clone(self))),
                    None => Err(DecideError::IdConflict(question.id)),
                }
            }
        }
    }

    pub(crate) fn route(
        &self,
        name: &PolicyName,
        channel: Option<&ChannelName>,
        now: Timestamp,
    ) -> Result<Arc<Route>, DecideError> {
        let table = self.table.load();
        let Some(routes) = table.policies.get(name) else {
            return Err(DecideError::UnknownPolicy(name.to_string()));
        };
        let Some(route) = routes.get(channel, &self.config.channel) else {
            let channel = channel.unwrap_or(&self.config.channel).to_string();
            return Err(DecideError::UnknownChannel {
                policy: name.to_string(),
                channel,
                known: routes.known(),
            });
        };
        let grace = i64::try_from(self.config.expiry_grace.as_millis()).unwrap_or(i64::MAX);
        let until = route.until();
        if now.millis() > until.millis().saturating_add(grace) {
            return Err(DecideError::Expired { policy: name.to_string(), until: until.to_string() });
        }
        Ok(Arc::clone(route))
    }

    /// Evaluates, or finds what was evaluated before; whether it may answer at all was found out before.
    pub(crate) fn evaluate(
        self: &Arc<Self>,
        active: &Active,
        question: &Question,
        through: Option<Through>,
    ) -> Result<Pending, DecideError> {
        let decision_time = question.requested_time.unwrap_or(question.received_at);
        let query = Query {
            rule: question.rule.as_str(),
            input: &question.input,
            data: active.data.as_ref().map(|data| &data.document),
            decision_time,
        };
        let began = Instant::now();
        let cache = active.cache.of(active, &question.rule, &self.decisions);
        let found = cache.and_then(|cache| cache.find(&query));
        let outcome = match &found {
            Some(stored) => stored.outcome.clone(),
            None => active.policy.evaluate(&query),
        };
        let elapsed = began.elapsed();
        let made = Made { active, question, through, decision_time, outcome, elapsed };
        let append = match &self.ledger {
            None => None,
            Some(ledger) => {
                let first = found.as_ref().map_or("", |stored| &stored.first);
                let (leaf, evidence) = made.write(found.as_deref(), cache.map(|_| first))?;
                let log: LogName = active.name.tenant().as_str().parse().map_err(HostError::from)?;
                Some(ledger.append(&log, leaf, evidence))
            }
        };
        // Only now: what is found later was in the log before.
        let cached = match (cache, found) {
            (None, _) => Cached::Off,
            (Some(_), Some(stored)) => Cached::Hit { first: stored.first.clone() },
            (Some(cache), None) => cache.keep(&query, &made.outcome, &question.id),
        };
        if let Some(cache) = cache {
            cache.note(&cached);
        }
        Ok(Pending { decision: Some(Box::new(made.decision(cached))), append, inner: Arc::clone(self) })
    }
}

/// What was made of a question.
struct Made<'a> {
    active: &'a Active,
    question: &'a Question,
    through: Option<Through>,
    decision_time: Timestamp,
    outcome: Outcome,
    elapsed: Duration,
}

impl Made<'_> {
    fn decision(self, cached: Cached) -> Decision {
        let Self { active, question, through, decision_time, outcome, elapsed } = self;
        let allow = match &outcome.result {
            Ok(answer) => answer.allows(active.policy.manifest().allow.as_ref()),
            Err(_) => false,
        };
        Decision {
            id: question.id.clone(),
            policy: active.name.clone(),
            channel: through,
            version: active.version.clone(),
            component: active.component,
            statement: active.statement,
            semantics: verdict_engine::SEMANTICS,
            limits: *active.policy.limits(),
            data: active.data.as_ref().map(|data| data.digest),
            rule: question.rule.to_string(),
            allow,
            fuel: outcome.result.is_ok().then_some(outcome.fuel),
            result: outcome.result,
            decision_time,
            received_at: question.received_at,
            repeated: false,
            index: None,
            log: outcome.log,
            reads: outcome.reads,
            cached,
            elapsed,
            memory_bytes_peak: Some(outcome.memory_bytes_peak),
        }
    }

    /// The record and the evidence. `stored` is where the outcome was found; `first` is the decision that it was made
    /// for, empty if it was evaluated, and none where answers are not cached.
    fn write(&self, stored: Option<&Stored>, first: Option<&str>) -> Result<(Vec<u8>, Vec<u8>), HostError> {
        let Self { question, outcome, .. } = self;
        let made;
        let outcome_fields = match stored.and_then(|stored| stored.fields.get()) {
            Some(fields) => fields,
            None => {
                made = fields(outcome, &question.id)?;
                match stored {
                    Some(stored) => stored.fields.get_or_init(|| made),
                    None => &made,
                }
            }
        };
        let text = |field| match field {
            Field::Input => question.input.text(),
            Field::Rule => question.rule.as_str(),
            Field::Caller => question.caller.as_str(),
            Field::First => first.unwrap_or_default(),
            Field::Answer | Field::Reasons | Field::Fuel | Field::Reads => outcome_fields.text(field),
        };
        let salts = random::<{ 32 * Field::ALL.len() }>()?;
        let (salts, _) = salts.as_chunks::<32>();
        let fields: Vec<(Field, Salt, &[u8])> = Field::ALL
            .iter()
            .filter(|field| first.is_some() || !field.is_optional())
            .zip(salts)
            .map(|(field, salt)| (*field, *salt, text(*field).as_bytes()))
            .collect();
        let fault = outcome.result.as_ref().err();
        let commitments = fields.iter().map(|(field, salt, bytes)| (*field, commitment(*field, salt, bytes)));
        let record = self.record(fault, commitments.collect());
        let leaf = record.to_bytes().map_err(|error| corrupt("the record", &question.id, &error))?;
        Ok((leaf, evidence::encode(&fields, fault)))
    }

    fn record(&self, fault: Option<&Fault>, commitments: Commitments) -> Record {
        let Self { active, question, .. } = self;
        Record {
            id: question.id.clone(),
            policy: active.name.clone(),
            channel: self.through.clone(),
            version: active.policy.manifest().version.clone(),
            component: active.component,
            statement: active.statement,
            data: active.data.as_ref().map(|data| data.digest),
            decision_time: self.decision_time,
            received_at: question.received_at,
            semantics: verdict_engine::SEMANTICS,
            limits: *active.policy.limits(),
            fault: fault.map(|fault| fault.code),
            commitments,
        }
    }
}

/// A request that passed the door.
pub(crate) struct Question {
    pub(crate) id: String,
    pub(crate) rule: RuleName,
    pub(crate) input: Document,
    pub(crate) requested_time: Option<Timestamp>,
    received_at: Timestamp,
    pub(crate) caller: String,
}

/// The fields of a record that come of the outcome, as they are committed to.
#[derive(Debug)]
pub(crate) struct Fields {
    answer: String,
    reasons: String,
    fuel: String,
    reads: String,
}

impl Fields {
    /// The text of one of these fields; empty for the fields of the question.
    pub(crate) fn text(&self, field: Field) -> &str {
        match field {
            Field::Answer => &self.answer,
            Field::Reasons => &self.reasons,
            Field::Fuel => &self.fuel,
            Field::Reads => &self.reads,
            Field::Caller | Field::First | Field::Input | Field::Rule => "",
        }
    }
}

/// The committed form of an outcome.
pub(crate) fn fields(outcome: &Outcome, id: &str) -> Result<Fields, HostError> {
    let reads = jcs::ordered(&outcome.reads).map_err(|error| corrupt("the read set", id, &error))?;
    let (answer, reasons, fuel) = match &outcome.result {
        Ok(answer) => (
            answer.value.clone().unwrap_or_default(),
            jcs::ordered(&answer.reasons).map_err(|error| corrupt("the reasons", id, &error))?,
            outcome.fuel.to_string(),
        ),
        Err(_) => (String::new(), "[]".into(), String::new()),
    };
    Ok(Fields { answer, reasons, fuel, reads })
}

pub(crate) fn corrupt(what: &'static str, id: &str, reason: &dyn std::fmt::Display) -> HostError {
    HostError::Corrupt { what, id: id.into(), reason: reason.to_string() }
}

pub(crate) fn rule(active: &Active, asked: Option<&str>) -> Result<RuleName, DecideError> {
    let manifest = active.policy.manifest();
    let found = match (asked, manifest.rules.as_slice()) {
        (Some(name), _) => manifest.rule(name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let known =
        || manifest.rules.iter().map(|rule| format!("`{}`", rule.name)).collect::<Vec<_>>().join(", ");
    found.map(|rule| rule.name.clone()).ok_or_else(|| DecideError::UnknownRule {
        policy: active.name.to_string(),
        rule: asked.unwrap_or_default().chars().take(128).collect(),
        known: known(),
    })
}

/// The host's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    // A clock beyond the year 9999 is as good as none; the epoch makes everything expired or not yet valid.
    Timestamp::from_millis(ms).unwrap_or(Timestamp::EPOCH)
}

/// A new decision id: UUID version 7 (RFC 9562), so that ids sort by time.
fn new_id(now: Timestamp) -> Result<String, HostError> {
    let ms = u64::try_from(now.millis()).unwrap_or_default();
    let id = uuid::Builder::from_unix_timestamp_millis(ms, &random()?).into_uuid();
    Ok(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned())
}
