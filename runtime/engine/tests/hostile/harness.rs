//! How an attack is run: under every instance kind, several times in a row on one policy, and between them
//! well-behaved questions to the same policy and to a neighbour, whose outcomes must be those of a fresh engine.

use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use verdict_core::outcome::{Answer, Fault, FaultCode};
use verdict_core::refusal::RefusalCode;
use verdict_engine::{Compiler, Config, Engine, Instances, LogLine, Outcome, Policy, Query, ReadSet};

use crate::support::{CONTRACT_WIT, WORLD, component_of, document, guest, load, module, now, try_load};

pub(crate) const KINDS: [Instances; 3] = [Instances::Protected, Instances::Copied, Instances::New];
/// An attack that takes longer than this hangs.
const HANG: Duration = Duration::from_secs(240);
/// How often loading may miss a policy's deadline.
const LOADS_MAX: usize = 50;
const ROUNDS: usize = 3;
const ATTACKS_PER_ROUND: usize = 2;

/// A hostile component, and what it is asked.
pub(crate) struct Attack {
    pub(crate) component: Vec<u8>,
    pub(crate) limits: serde_json::Value,
    pub(crate) input: String,
    data: Option<String>,
    configure: Option<fn(&mut Config)>,
    new_because: Option<&'static str>,
}

impl Attack {
    pub(crate) fn of(component: Vec<u8>) -> Self {
        let limits = json!({
            "fuel": 8_000_000, "memory_bytes": 1 << 20, "table_elements": 1_000, "output_bytes": 10_000,
            "log_bytes": 1_000, "host_calls": 300, "wall_clock_ms": 60_000,
        });
        let data = Some(r#"{"roles": {"a": [1, 2]}, "secrets": {"key": "hidden"}}"#.into());
        Self {
            component,
            limits,
            input: r#"{"a": 1, "b": ["x"]}"#.into(),
            data,
            configure: None,
            new_because: None,
        }
    }

    pub(crate) fn limit(mut self, name: &str, value: u64) -> Self {
        self.limits[name] = json!(value);
        self
    }

    pub(crate) fn input(mut self, input: impl Into<String>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs in engines of its own, with another configuration.
    pub(crate) fn engine(mut self, configure: fn(&mut Config)) -> Self {
        self.configure = Some(configure);
        self
    }

    /// It cannot be reset in place, for a reason with these words.
    pub(crate) fn renewed(mut self, because: &'static str) -> Self {
        self.new_because = Some(because);
        self
    }

    /// Whether it runs beside others in an engine of the usual configuration.
    pub(crate) fn shares_an_engine(&self) -> bool {
        self.configure.is_none()
    }

    fn members(&self) -> serde_json::Value {
        json!({
            "capabilities": {"data": ["/roles"], "decision_time": true, "diagnostics": true},
            "limits": self.limits,
            "rules": [{"name": "attack"}, {"name": "calm"}],
        })
    }

    pub(crate) fn load(&self, engine: &Engine) -> Policy {
        // A deadline holds for what is done at loading too, and a slow machine may miss one that is short.
        let loaded = || {
            let late = |why: &str| why.contains("wall-clock") || why.contains("interrupt");
            match try_load(engine, &self.component, self.members()) {
                Ok(policy) => (!policy.new_instances_because().is_some_and(late)).then_some(policy),
                Err(refusal) if late(&refusal.message) => None,
                Err(refusal) => panic!("{refusal:?}"),
            }
        };
        (0..LOADS_MAX).find_map(|_| loaded()).expect("a policy that can be loaded in its time")
    }
}

/// A guest of the contract with these items. Asked for the rule `attack`, it runs `body` (with `$rule` and
/// `$rule_length`; locals are allowed); asked for `calm`, it answers with a hash of all its memory, so that whatever an
/// attack leaves shows.
pub(crate) fn with(items: &str, body: &str) -> Attack {
    Attack::of(guest(&attack_items(items, body), CHOICE))
}

/// A guest without further items.
pub(crate) fn body(body: &str) -> Attack {
    with("", body)
}

/// The same guest, whose text is changed before it is made a component.
pub(crate) fn rewritten(items: &str, body: &str, from: &str, to: &str) -> Attack {
    let text = attack_module(items, body);
    assert!(text.contains(from), "nothing to rewrite");
    Attack::of(component_of(&text.replace(from, to), CONTRACT_WIT, WORLD))
}

pub(crate) fn attack_module(items: &str, body: &str) -> String {
    module(&attack_items(items, body), CHOICE)
}

pub(crate) const CHOICE: &str = "(if (result i32) (i32.eq (local.get $rule_length) (i32.const 4))
    (then (call $calm)) (else (call $attack (local.get $rule) (local.get $rule_length))))";

pub(crate) fn attack_items(items: &str, body: &str) -> String {
    format!("{items} {CALM} (func $attack (param $rule i32) (param $rule_length i32) (result i32) {body})")
}

/// Hashes the first memory and the allocator's global, reads the input, and answers 16 letters.
const CALM: &str = "
    (func $hash (result i64) (local $at i32) (local $hash i64)
      (local.set $hash (i64.extend_i32_u (i32.add (memory.size) (global.get $next))))
      (if (i32.eqz (memory.size)) (then (return (local.get $hash))))
      (loop $l
        (local.set $hash (i64.rotl
          (i64.mul (i64.xor (local.get $hash) (i64.load (local.get $at))) (i64.const 0x100000001b3)) (i64.const 7)))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $l (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
      (local.get $hash))
    (func $letters (param $bits i64) (result i32) (local $n i32)
      (i32.store8 (i32.const 960) (i32.const 34))
      (loop $l
        (i32.store8 offset=961 (local.get $n) (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (local.get $bits) (i64.const 15)))))
        (local.set $bits (i64.shr_u (local.get $bits) (i64.const 4)))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $n) (i32.const 16))))
      (i32.store8 (i32.const 977) (i32.const 34))
      (call $answer (i32.const 960) (i32.const 18)))
    (func $calm (result i32) (local $hash i64)
      (local.set $hash (call $hash))
      (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 3000))
      (call $letters (local.get $hash)))";

/// The question that an attack is asked between two attacks. Each evaluation must come to the same.
const CALM_INPUT: &str = r#"{"calm": [1, 2, 3]}"#;

/// What must come of an attack.
pub(crate) enum Expected {
    /// This fault, with these words in its message.
    Fault(FaultCode, &'static str),
    /// One of these faults: which one depends on the machine's speed.
    OneOf(&'static [FaultCode]),
    /// This answer.
    Answer(String),
    /// An answer, the same in every evaluation.
    Same,
    /// It is not loaded at all.
    Refused(RefusalCode, &'static str),
}

pub(crate) fn faults(code: FaultCode, words: &'static str) -> Expected {
    Expected::Fault(code, words)
}

pub(crate) fn answers(value: &str) -> Expected {
    Expected::Answer(value.into())
}

pub(crate) fn refused(code: RefusalCode, words: &'static str) -> Expected {
    Expected::Refused(code, words)
}

/// An attack, its name, and what must come of it.
pub(crate) type Case = (&'static str, Attack, Expected);

/// Makes a test of each attack: `name: attack => expected;`.
macro_rules! attacks {
    ($($name:ident: $attack:expr => $expected:expr;)*) => {
        $(
            #[test]
            fn $name() {
                $crate::hostile::harness::run(stringify!($name), || $attack, $expected);
            }
        )*

        /// All of them, for the benchmark.
        pub(crate) fn all() -> Vec<$crate::hostile::harness::Case> {
            vec![$((stringify!($name), $attack, $expected)),*]
        }
    };
}
pub(crate) use attacks;

/// Everything about an outcome that must be the same again. What stopped it by the clock or the native stack stopped it
/// at a point that depends on the machine.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Whole(Result<Answer, Fault>, u64, u64, ReadSet, Vec<LogLine>),
    Stopped(FaultCode),
}

pub(crate) fn seen(outcome: Outcome) -> Seen {
    match &outcome.result {
        Err(fault) if !fault.code.is_replayable() => Seen::Stopped(fault.code),
        _ => Seen::Whole(outcome.result, outcome.fuel, outcome.memory_bytes_peak, outcome.reads, outcome.log),
    }
}

pub(crate) fn ask(policy: &Policy, rule: &str, input: &str, data: Option<&str>) -> Outcome {
    let (input, data) = (document(input), data.map(document));
    policy.evaluate(&Query { rule, input: &input, data: data.as_ref(), decision_time: now() })
}

fn config(instances: Instances) -> Config {
    let mut config = Config::new(Compiler::InProcess);
    config.instances = instances;
    // The tests share a machine: what is slow is not at fault.
    config.ceiling.wall_clock_ms = 60_000;
    config
}

/// An engine, and a policy of somebody who behaves.
pub(crate) struct House {
    pub(crate) engine: Engine,
    pub(crate) neighbour: Policy,
}

impl House {
    pub(crate) fn new(instances: Instances, configure: Option<fn(&mut Config)>) -> Self {
        let mut config = config(instances);
        if let Some(configure) = configure {
            configure(&mut config);
        }
        let engine = Engine::new(config).unwrap();
        let neighbour = load(&engine, &neighbour(), json!({"capabilities": {"data": ["/roles"]}}));
        assert_eq!(neighbour.new_instances_because().is_none(), instances != Instances::New);
        Self { engine, neighbour }
    }

    fn ask_neighbour(&self) -> Outcome {
        ask(&self.neighbour, "rule", NEIGHBOUR_INPUT, Some(NEIGHBOUR_DATA))
    }

    pub(crate) fn check_neighbour(&self, name: &str) {
        assert_eq!(seen(self.ask_neighbour()), *NEIGHBOUR, "{name}: the neighbour");
    }
}

pub(crate) const NEIGHBOUR_INPUT: &str = r#"{"user": "ann", "n": 7}"#;
pub(crate) const NEIGHBOUR_DATA: &str = r#"{"roles": {"ann": ["clerk"]}}"#;

/// A guest with globals, a table, memory that it writes, host calls and an answer made of what it read.
fn neighbour() -> Vec<u8> {
    let items = r#"(data (i32.const 64) "/roles/ann") (data (i32.const 80) "/user")
        (global $seen (mut i64) (i64.const 5)) (table $t 2 funcref)
        (func $work (local $n i32) (local $x f64)
          (if (i64.ne (global.get $seen) (i64.const 5)) (then (unreachable)))
          (if (i32.eqz (ref.is_null (table.get $t (i32.const 1)))) (then (unreachable)))
          (if (i32.load (i32.const 70000)) (then (unreachable)))
          (global.set $seen (i64.const 6))
          (local.set $x (f64.const 0.1))
          (loop $l
            (local.set $x (f64.div (f64.add (local.get $x) (f64.const 1.7)) (f64.sub (local.get $x) (f64.const 0.3))))
            (f64.store offset=70000 (i32.shl (local.get $n) (i32.const 3)) (local.get $x))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 500)))))"#;
    let body = "(call $work)
        (call $host.input.read (i32.const 80) (i32.const 5) (i32.const 2048))
        (call $host.data.json (i32.const 64) (i32.const 10) (i32.const 2048))
        (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056)))";
    guest(items, body)
}

/// What the neighbour says in an engine where nothing else ever ran.
static NEIGHBOUR: LazyLock<Seen> = LazyLock::new(|| {
    let seen = seen(House::new(Instances::New, None).ask_neighbour());
    let Seen::Whole(Ok(answer), ..) = &seen else { panic!("{seen:?}") };
    assert_eq!(answer.value.as_deref(), Some(r#"["clerk"]"#));
    seen
});

/// The engines that the attacks share: one for each instance kind.
static HOUSES: LazyLock<[House; 3]> = LazyLock::new(|| KINDS.map(|kind| House::new(kind, None)));

/// Runs an attack under every instance kind, and fails if it hangs.
pub(crate) fn run(name: &'static str, attack: impl FnOnce() -> Attack + Send + 'static, expected: Expected) {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name(name.into()).spawn(move || {
        let attack = attack();
        run_in_every_kind(name, &attack, &expected);
        sender.send(()).unwrap();
    });
    match receiver.recv_timeout(HANG) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{name} hangs"),
        _ => thread.unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

fn run_in_every_kind(name: &str, attack: &Attack, expected: &Expected) {
    let fresh = House::new(Instances::New, attack.configure);
    if let Expected::Refused(code, words) = expected {
        refuse(name, &fresh, attack, *code, words);
        HOUSES.iter().for_each(|house| refuse(name, house, attack, *code, words));
        return;
    }
    let calm = seen(ask_calm(&attack.load(&fresh.engine)));
    assert!(matches!(calm, Seen::Whole(Ok(_), ..)), "{name}: the calm question in a fresh engine: {calm:?}");
    let reference = seen(ask_attack(&attack.load(&fresh.engine), attack));
    for (house, kind) in HOUSES.iter().zip(KINDS) {
        let name = format!("{name} ({kind:?})");
        match attack.configure {
            None => rounds(&name, house, attack, expected, &calm, &reference),
            Some(_) => {
                let own = House::new(kind, attack.configure);
                rounds(&name, &own, attack, expected, &calm, &reference);
            }
        }
    }
}

fn rounds(name: &str, house: &House, attack: &Attack, expected: &Expected, calm: &Seen, reference: &Seen) {
    let policy = attack.load(&house.engine);
    check_reset(name, &policy, attack);
    for _ in 0..ROUNDS {
        for _ in 0..ATTACKS_PER_ROUND {
            let outcome = ask_attack(&policy, attack);
            check(name, &policy, expected, &outcome);
            if !matches!(expected, Expected::OneOf(_)) {
                assert_eq!(seen(outcome), *reference, "{name}: another outcome than in a fresh engine");
            }
        }
        house.check_neighbour(name);
        assert_eq!(seen(ask_calm(&policy)), *calm, "{name}: the calm question after the attack");
    }
}

/// That an attack on the reset meets it.
fn check_reset(name: &str, policy: &Policy, attack: &Attack) {
    let configured = |why: &str| why.contains("this host");
    match (policy.new_instances_because(), attack.new_because) {
        (Some(why), None) => assert!(configured(why), "{name} is not reset in place: {why}"),
        (Some(why), Some(words)) => assert!(configured(why) || why.contains(words), "{name}: {why}"),
        (None, Some(words)) => panic!("{name} is reset in place, in spite of {words}"),
        (None, None) => {}
    }
}

pub(crate) fn ask_attack(policy: &Policy, attack: &Attack) -> Outcome {
    ask(policy, "attack", &attack.input, attack.data.as_deref())
}

/// Asks again where the machine was too slow for a deadline that is short.
fn ask_calm(policy: &Policy) -> Outcome {
    let give_up = Instant::now() + HANG / 4;
    loop {
        let outcome = ask(policy, "calm", CALM_INPUT, None);
        let late = matches!(&outcome.result, Err(fault) if fault.code == FaultCode::Deadline);
        if !late || Instant::now() > give_up {
            return outcome;
        }
    }
}

pub(crate) fn check(name: &str, policy: &Policy, expected: &Expected, outcome: &Outcome) {
    match (expected, &outcome.result) {
        (Expected::Fault(code, words), Err(fault)) => {
            assert_eq!((fault.code, fault.message.contains(words)), (*code, true), "{name}: {fault:?}");
        }
        (Expected::OneOf(codes), Err(fault)) => assert!(codes.contains(&fault.code), "{name}: {fault:?}"),
        (Expected::Answer(value), Ok(answer)) => {
            assert_eq!(answer.value.as_deref(), Some(value.as_str()), "{name}");
        }
        (Expected::Same, Ok(_)) => {}
        (_, result) => panic!("{name}: {result:?}"),
    }
    let limits = policy.limits();
    if outcome.result.is_err() {
        assert_eq!(outcome.fuel, limits.fuel, "{name}: a fault is charged its full limit");
    }
    assert!(outcome.fuel <= limits.fuel, "{name}");
    assert!(outcome.memory_bytes_peak <= limits.memory_bytes, "{name}: {}", outcome.memory_bytes_peak);
    let logged: usize = outcome.log.iter().map(|line| line.code.len() + line.message.len()).sum();
    assert!(logged as u64 <= limits.log_bytes && outcome.log.len() as u64 <= limits.host_calls, "{name}");
    assert!(outcome.reads.len() as u64 <= limits.host_calls, "{name}");
}

fn refuse(name: &str, house: &House, attack: &Attack, code: RefusalCode, words: &str) {
    for _ in 0..2 {
        let refusal = try_load(&house.engine, &attack.component, attack.members()).expect_err(name);
        assert_eq!((refusal.code, refusal.message.contains(words)), (code, true), "{name}: {refusal:?}");
        house.check_neighbour(name);
    }
}
