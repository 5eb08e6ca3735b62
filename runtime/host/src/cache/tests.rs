use std::collections::HashMap;

use serde_json::json;
use verdict_core::outcome::{FaultCode, Reason};
use verdict_core::record::Field;
use verdict_core::time::Timestamp;
use verdict_engine::{LogLine, ReadSet};

use super::sabotage::{LeftOut, leave_out};
use super::*;
use crate::testing::{Bank, ask, request};
use crate::{Config, DecideError, Decision, Log, ReceiptState, Request, support};

/// Random policies: trees of steps that branch on what they find, and answer with a hash of all of it.
mod random {
    /// A small generator (SplitMix64): the same cases on every machine.
    pub(super) struct Random(pub(super) u64);

    impl Random {
        pub(super) fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
        }

        pub(super) fn pick(&mut self, all: &[&'static str]) -> &'static str {
            all[self.below(all.len())]
        }
    }

    const POINTERS: [&str; 6] = ["", "/a", "/b", "/a/0", "/b/x", "/long"];
    const NAMES: [&str; 4] = ["a", "b", "c", "long"];
    const VALUES: [&str; 14] = [
        "null",
        "true",
        "1",
        "1.0",
        r#""x""#,
        r#""\u0078""#,
        r#""""#,
        "[]",
        "[1]",
        "[2]",
        "{}",
        r#"{"x": 1}"#,
        r#"{"x": 2}"#,
        r#"{"y": 1}"#,
    ];

    /// An object that a policy may look into.
    pub(super) fn document(random: &mut Random) -> String {
        let mut members = Vec::new();
        for name in NAMES {
            let value = match random.below(4) {
                0 => continue,
                _ if name == "long" => format!("\"{}{}\"", "x".repeat(600), random.below(2)),
                _ => random.pick(&VALUES).to_owned(),
            };
            members.push(format!("\"{name}\": {value}"));
        }
        format!("{{{}}}", members.join(", "))
    }

    const HELPERS: &str = r#"
        (func $mix (param $h i32) (param $x i32) (result i32)
          (i32.mul (i32.xor (local.get $h) (local.get $x)) (i32.const 16777619)))
        (func $bytes (param $h i32) (param $p i32) (param $n i32) (result i32)
          (local.set $n (i32.add (local.get $p) (local.get $n)))
          (block $end (loop $again
            (br_if $end (i32.ge_u (local.get $p) (local.get $n)))
            (local.set $h (call $mix (local.get $h) (i32.load8_u (local.get $p))))
            (local.set $p (i32.add (local.get $p) (i32.const 1)))
            (br $again)))
          (call $mix (local.get $h) (i32.const 77)))
        (func $read (param $h i32) (result i32)
          (local $kind i32)
          (local.set $kind (i32.load8_u (i32.const 2048)))
          (local.set $h (call $mix (local.get $h) (i32.add (local.get $kind) (i32.const 17))))
          (if (i32.eq (local.get $kind) (i32.const 2))
            (then (local.set $h (call $mix (local.get $h) (i32.load8_u (i32.const 2052))))))
          (if (i32.or (i32.eq (local.get $kind) (i32.const 3)) (i32.eq (local.get $kind) (i32.const 4)))
            (then (local.set $h (call $bytes (local.get $h) (i32.load (i32.const 2052)) (i32.load (i32.const 2056))))))
          (if (i32.ge_u (local.get $kind) (i32.const 5))
            (then (local.set $h (call $mix (local.get $h) (i32.load (i32.const 2052))))))
          (local.get $h))
        (func $json (param $h i32) (result i32)
          (if (result i32) (i32.load8_u (i32.const 2048))
            (then (call $bytes (local.get $h) (i32.load (i32.const 2052)) (i32.load (i32.const 2056))))
            (else (call $mix (local.get $h) (i32.const 5)))))
        (func $keys (param $h i32) (result i32)
          (local $at i32) (local $end i32)
          (if (i32.eqz (i32.load8_u (i32.const 2048))) (then (return (call $mix (local.get $h) (i32.const 6)))))
          (local.set $at (i32.load (i32.const 2052)))
          (local.set $end (i32.add (local.get $at) (i32.mul (i32.const 8) (i32.load (i32.const 2056)))))
          (block $done (loop $again
            (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
            (local.set $h (call $bytes (local.get $h) (i32.load (local.get $at)) (i32.load offset=4 (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br $again)))
          (call $mix (local.get $h) (i32.const 7)))
        (func $burn (param $h i32)
          (local.set $h (i32.and (i32.shr_u (local.get $h) (i32.const 7)) (i32.const 511)))
          (block $end (loop $again
            (br_if $end (i32.eqz (local.get $h)))
            (local.set $h (i32.sub (local.get $h) (i32.const 1)))
            (br $again))))
        (func $finish (param $h i32) (result i32)
          (local $n i32)
          (if (i32.eqz (i32.and (local.get $h) (i32.const 0x700))) (then (return (call $true))))
          (i32.store8 (i32.const 3000) (i32.const 34))
          (loop $again
            (i32.store8 offset=3001 (local.get $n)
              (i32.add (i32.const 65) (i32.and (local.get $h) (i32.const 15))))
            (local.set $h (i32.shr_u (local.get $h) (i32.const 4)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const 8))))
          (i32.store8 (i32.const 3009) (i32.const 34))
          (call $answer (i32.const 3000) (i32.const 10)))
    "#;

    /// A guest whose steps are random.
    pub(super) fn policy(random: &mut Random) -> Vec<u8> {
        let mut items = HELPERS.to_owned();
        let mut places = Vec::new();
        let mut at = 64;
        for pointer in POINTERS {
            items += &format!("(data (i32.const {at}) \"{pointer}\")\n");
            places.push((at, pointer.len()));
            at += pointer.len();
        }
        let first = Step::any(random);
        let tree = tree(random, &places, first, 4);
        let body = format!(
            "(local $h i32)
             (local.set $h (call $bytes (i32.const 7) (local.get $rule) (local.get $rule_length)))
             {tree}"
        );
        crate::support::guest(&items, &body)
    }

    #[derive(Clone, Copy)]
    struct Step {
        document: &'static str,
        operation: &'static str,
        pointer: usize,
    }

    impl Step {
        fn any(random: &mut Random) -> Self {
            Self {
                document: random.pick(&["input", "data"]),
                operation: random.pick(&["read", "json", "keys"]),
                pointer: random.below(POINTERS.len()),
            }
        }

        /// One that often differs in one thing only.
        fn beside(self, random: &mut Random) -> Self {
            let other = Self::any(random);
            match random.below(4) {
                0 => Self { document: other.document, ..self },
                1 => Self { operation: other.operation, ..self },
                2 => Self { pointer: other.pointer, ..self },
                _ => other,
            }
        }
    }

    fn tree(random: &mut Random, places: &[(usize, usize)], step: Step, depth: usize) -> String {
        if depth == 0 || (depth < 3 && random.below(6) == 0) {
            return leaf(random);
        }
        let Step { document, operation, pointer } = step;
        let (at, length) = places[pointer];
        let burn = if random.below(2) == 0 { "(call $burn (local.get $h))" } else { "" };
        let bit = random.below(20);
        let next = Step::any(random);
        let beside = next.beside(random);
        let (one, other) = (tree(random, places, next, depth - 1), tree(random, places, beside, depth - 1));
        format!(
            "(call $host.{document}.{operation} (i32.const {at}) (i32.const {length}) (i32.const 2048))
             (local.set $h (call ${operation} (local.get $h)))
             {burn}
             (if (result i32) (i32.and (i32.shr_u (local.get $h) (i32.const {bit})) (i32.const 1))
               (then {one}) (else {other}))"
        )
    }

    fn leaf(random: &mut Random) -> String {
        let before = match random.below(16) {
            0 => {
                "(call $host.decision-time.now (i32.const 2048))
                 (local.set $h
                   (call $bytes (local.get $h) (i32.load (i32.const 2048)) (i32.load (i32.const 2052))))"
            }
            1 => "(call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 2))",
            _ => "",
        };
        format!("{before} (call $finish (local.get $h))")
    }
}

/// Everything that a caller can see of an outcome.
type Seen =
    (Result<(Option<String>, Vec<Reason>), FaultCode>, bool, Option<u64>, ReadSet, Vec<LogLine>, Option<u64>);

fn seen(decision: &Decision) -> Seen {
    let result = decision.result.as_ref();
    let result =
        result.map(|answer| (answer.value.clone(), answer.reasons.clone())).map_err(|fault| fault.code);
    let Decision { allow, fuel, reads, log, memory_bytes_peak, .. } = decision;
    (result, *allow, *fuel, reads.clone(), log.clone(), *memory_bytes_peak)
}

const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;
const POLICIES: [&str; 9] = ["a/p0", "a/p1", "a/p2", "a/p3", "a/p4", "a/p5", "a/small", "a/narrow", "b/p0"];

fn caching(policies: &[&str], bytes_max: u64) -> Option<CacheConfig> {
    let policies = policies.iter().map(|name| name.parse().unwrap()).collect();
    Some(CacheConfig { policies, bytes_max, bytes_max_per_tenant: None })
}

/// Policies, questions about them while the data changes, and what comes of those without a cache.
struct Run {
    bank: Bank,
    rounds: Vec<(String, Vec<Request>)>,
    expected: Vec<Seen>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = random::Random(seed);
        let bank = Bank::new();
        let all = |name: &str, data: &[&str], fuel: Option<u64>| {
            let mut members = json!({
                "policy": name, "rules": [{"name": "one"}, {"name": "two"}],
                "capabilities": {"data": data, "decision_time": true, "diagnostics": true},
            });
            if let Some(fuel) = fuel {
                members["limits"] = json!({"fuel": fuel});
            }
            members
        };
        let components: Vec<_> = (0..6).map(|_| random::policy(&mut random)).collect();
        for (n, component) in components.iter().enumerate() {
            bank.publish(component, all(&format!("a/p{n}"), &[""], None));
        }
        bank.publish(&components[0], all("b/p0", &[""], None));
        bank.publish(&components[1], all("a/narrow", &["/a"], None));
        let rounds: Vec<_> = (0..3).map(|_| round(&mut random)).collect();
        // So little that about half of the questions run out of it.
        let mut fuel: Vec<u64> = of_rounds(&bank, &plain(&bank), &rounds)
            .into_iter()
            .filter(|(name, _)| name == "a/p0")
            .filter_map(|(_, decision)| decision.unwrap().fuel)
            .collect();
        fuel.sort_unstable();
        bank.publish(&components[0], all("a/small", &[""], Some(fuel[fuel.len() / 2])));
        let expected = of_rounds(&bank, &plain(&bank), &rounds);
        let expected = expected.into_iter().map(|(_, decision)| seen(&decision.unwrap())).collect();
        Self { bank, rounds, expected }
    }

    /// How many questions a host with a cache answers otherwise than one without, and its counts.
    fn differences(&self) -> (usize, DecisionCacheCounts) {
        let host = Host::open(Config { cache: caching(&POLICIES, 64 << 20), ..off(&self.bank) }).unwrap();
        let mut tenants = HashMap::new();
        let mut differences = 0;
        for ((_, decision), expected) in
            of_rounds(&self.bank, &host, &self.rounds).into_iter().zip(&self.expected)
        {
            let decision = decision.unwrap();
            let tenant = decision.policy.tenant().clone();
            let is_foreign = match &decision.cached {
                Cached::Hit { first } => tenants.get(first) != Some(&tenant),
                _ => false,
            };
            tenants.insert(decision.id.clone(), tenant);
            differences += usize::from(is_foreign || seen(&decision) != *expected);
        }
        (differences, host.cache_counts().0)
    }
}

fn off(bank: &Bank) -> Config {
    Config { log: Log::Off, ..bank.config() }
}

fn plain(bank: &Bank) -> Host {
    Host::open(off(bank)).unwrap()
}

fn round(random: &mut random::Random) -> (String, Vec<Request>) {
    let times = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"];
    let question = |_| {
        let input = random::document(random);
        Request {
            rule: Some(random.pick(&["one", "two"]).to_owned()),
            decision_time: Some(random.pick(&times).parse::<Timestamp>().unwrap()),
            ..request(random.pick(&POLICIES), &input)
        }
    };
    let questions = (0..700).map(question).collect();
    (random::document(random), questions)
}

/// What a host says to each question, while the data changes.
fn of_rounds(
    bank: &Bank,
    host: &Host,
    rounds: &[(String, Vec<Request>)],
) -> Vec<(String, Result<Box<Decision>, DecideError>)> {
    let mut all = Vec::new();
    for (data, questions) in rounds {
        ["a", "b"].iter().for_each(|tenant| bank.data(tenant, data));
        host.reload().unwrap();
        for question in questions {
            let decision = host.decide(question.clone()).and_then(crate::Pending::wait);
            all.push((question.policy.to_string(), decision));
        }
    }
    all.retain(|(name, decision)| decision.is_ok() || name != "a/small");
    all
}

#[test]
fn a_cached_answer_never_differs_from_an_evaluated_one() {
    let mut total = DecisionCacheCounts::default();
    for seed in SEEDS {
        let run = Run::new(seed);
        let (differences, counts) = run.differences();
        assert_eq!(differences, 0, "seed {seed}");
        assert!(counts.hits > 300 && counts.misses > 300, "{counts:?}");
        total.add(&counts);
    }
    for reason in [Bypass::Fault, Bypass::SawTime, Bypass::Logged] {
        assert!(total.bypasses[&reason] > 10, "{total:?}");
    }
}

/// The test above would notice.
#[test]
fn each_part_of_the_key_is_needed() {
    let mut unneeded = LeftOut::ALL.to_vec();
    for seed in SEEDS {
        let run = Run::new(seed);
        unneeded.retain(|part| {
            leave_out(Some(*part));
            let (differences, _) = run.differences();
            leave_out(None);
            differences == 0
        });
    }
    assert_eq!(unneeded, []);
}

fn hit(decision: &Decision) -> Option<&str> {
    match &decision.cached {
        Cached::Hit { first } => Some(first),
        _ => None,
    }
}

fn echoing() -> Bank {
    let bank = Bank::new();
    for tenant in ["a", "b"] {
        bank.publish(&support::echo("/x"), json!({"policy": format!("{tenant}/echo")}));
    }
    bank
}

#[test]
fn a_hit_has_a_record_of_its_own_that_names_the_first_and_is_replayed() {
    let bank = echoing();
    let host = Host::open(Config { cache: caching(&["a/echo"], 1 << 20), ..bank.config() }).unwrap();
    let first = ask(&host, "a/echo", r#"{"x": [1], "y": 1}"#);
    let again = ask(&host, "a/echo", r#"{"y": 2, "x": [1]}"#);
    assert_eq!((&first.cached, hit(&again)), (&Cached::Miss, Some(first.id.as_str())));
    assert_ne!((&first.id, first.index), (&again.id, again.index));
    assert_eq!(seen(&first), seen(&again));
    assert_eq!(ask(&host, "b/echo", "{}").cached, Cached::Off);

    host.flush().unwrap();
    let tenant = "a".parse().unwrap();
    for (decision, named) in [(&first, ""), (&again, first.id.as_str())] {
        let read = host.decision(&tenant, &decision.id).unwrap().unwrap();
        assert_eq!(hit(&read), Some(named).filter(|named| !named.is_empty()));
        assert!(host.replay(&tenant, &decision.id).unwrap().identical);
        let ReceiptState::Ready(receipt) = host.receipt(&tenant, &decision.id).unwrap() else {
            panic!("no receipt")
        };
        assert_eq!(receipt.opening(Field::First).unwrap().value.as_deref(), Some(named));
    }
    let other = ask(&host, "b/echo", "{}");
    host.flush().unwrap();
    let receipt = host.receipt(&"b".parse().unwrap(), &other.id).unwrap();
    let ReceiptState::Ready(receipt) = receipt else { panic!("no receipt") };
    assert!(receipt.opening(Field::First).is_none());
}

#[test]
fn what_was_not_read_may_change_and_what_was_read_may_not() {
    let bank = Bank::new();
    let body = "(call $host.data.json (i32.const 64) (i32.const 2) (i32.const 2048))
         (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056)))";
    let guest = support::guest(r#"(data (i32.const 64) "/a")"#, body);
    bank.publish(&guest, json!({"policy": "a/data", "capabilities": {"data": ["/a"]}}));
    bank.data("a", r#"{"a": 1}"#);
    let host = Host::open(Config { cache: caching(&["a/data"], 1 << 20), ..off(&bank) }).unwrap();
    let answer = |data: &str| {
        bank.data("a", data);
        host.reload().unwrap();
        let decision = ask(&host, "a/data", "{}");
        (decision.result.unwrap().value.unwrap(), decision.cached.name())
    };
    assert_eq!(answer(r#"{"a": 1}"#), ("1".into(), "miss"));
    assert_eq!(answer(r#"{"a": 1, "b": 2}"#), ("1".into(), "hit"));
    assert_eq!(answer(r#"{"a": 2}"#), ("2".into(), "miss"));
    assert_eq!(answer(r#"{"b": 3, "a": 1}"#), ("1".into(), "hit"));
}

#[test]
fn what_may_not_answer_any_more_is_not_answered_out_of_the_cache() {
    let bank = echoing();
    let host = Host::open(Config { cache: caching(&["a/echo"], 1 << 20), ..off(&bank) }).unwrap();
    ask(&host, "a/echo", "{}");
    assert!(hit(&ask(&host, "a/echo", "{}")).is_some());
    let folder = bank.path().join("policies/a-echo-1.0.0");
    std::fs::rename(&folder, bank.path().join("away")).unwrap();
    host.reload().unwrap();
    let refused = host.decide(request("a/echo", "{}"));
    assert!(matches!(refused, Err(DecideError::UnknownPolicy(_))));
    // What comes back begins again: nobody kept an eye on it.
    std::fs::rename(bank.path().join("away"), &folder).unwrap();
    host.reload().unwrap();
    assert_eq!(ask(&host, "a/echo", "{}").cached, Cached::Miss);
}

#[test]
fn nobody_takes_more_than_his_part_or_that_of_others() {
    let bank = echoing();
    let cache = caching(&["a/echo", "b/echo"], 400_000);
    let host = Host::open(Config { cache, ..off(&bank) }).unwrap();
    let input = |n: usize| format!(r#"{{"x": "{n}{}"}}"#, "x".repeat(100));
    ask(&host, "b/echo", &input(0));
    for n in 0..3_000 {
        ask(&host, "a/echo", &input(n));
    }
    let (total, tenants) = host.cache_counts();
    assert_eq!((total.bytes_max, total.misses), (400_000, 3_001));
    for counts in tenants.values() {
        assert!(counts.bytes <= counts.bytes_max && counts.bytes_max == 200_000, "{counts:?}");
    }
    assert!(tenants[&"a".parse().unwrap()].answers < 1_000);
    assert!(hit(&ask(&host, "b/echo", &input(0))).is_some());
    // One that would take an eighth of it is not kept at all.
    let large = ask(&host, "b/echo", &format!(r#"{{"x": "{}"}}"#, "x".repeat(30_000)));
    assert_eq!(large.cached, Cached::Bypass(Bypass::TooLarge));
}
