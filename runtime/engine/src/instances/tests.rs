//! That an instance which was reset is a new one: in what it answers, and in every byte, global and element.

mod growing;
mod guests;
mod mutations;
mod protection;
mod restoring;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;
use verdict_core::outcome::{Answer, Fault, FaultCode};

use super::instance::Observed;
use super::sabotage;
use crate::support::{ask_with, load};
use crate::{Compiler, Config, Engine, Instances, LogLine, Outcome, Policy, ReadSet};

/// How instances are reset.
const KINDS: [Instances; 2] = [Instances::Protected, Instances::Copied];

/// Inputs that each guest is asked under each kind.
fn inputs_each() -> u64 {
    if std::env::var_os("VERDICT_FULL").is_some() { 40_000 } else { 2_000 }
}

fn engine(instances: Instances, verify_reset: Option<u32>) -> Engine {
    let mut config = Config::new(Compiler::InProcess);
    config.instances = instances;
    config.verify_reset = verify_reset.and_then(NonZeroU32::new);
    config.concurrency = 48;
    // The machine may be slow, and its speed is not what is tested.
    config.ceiling.wall_clock_ms = 60_000;
    // Enough to look at all of the largest memory.
    config.ceiling.fuel = 20_000_000;
    Engine::new(config).unwrap()
}

fn members() -> serde_json::Value {
    json!({
        "capabilities": {"data": ["/roles"], "decision_time": true, "diagnostics": true},
        "limits": {"log_bytes": 4_000, "host_calls": 200},
    })
}

/// Numbers without a pattern; the same each time (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One in eight is long, so that the host writes several pages of the guest's memory.
    fn input(&mut self) -> String {
        let seed = self.next();
        let text =
            if seed.is_multiple_of(8) { "x".repeat((self.next() % 20_000) as usize) } else { String::new() };
        format!(r#"{{"seed": {seed}, "text": "{text}"}}"#)
    }
}

const DATA: &str = r#"{"roles": {"ann": ["clerk", "judge"]}}"#;

/// Everything of an outcome but how long it took. Where the native stack was used up, the machine decides what had
/// happened until then.
#[derive(Debug, PartialEq)]
enum Seen {
    Whole(Result<Answer, Fault>, u64, u64, ReadSet, Vec<LogLine>),
    Stopped(FaultCode),
}

fn seen(outcome: Outcome) -> Seen {
    match &outcome.result {
        Err(fault) if !fault.code.is_replayable() => Seen::Stopped(fault.code),
        _ => Seen::Whole(outcome.result, outcome.fuel, outcome.memory_bytes_peak, outcome.reads, outcome.log),
    }
}

fn ask(policy: &Policy, input: &str) -> Seen {
    seen(ask_with(policy, input, Some(DATA)))
}

/// The state of an instance of this policy that is really new.
fn new_state(policy: &Policy) -> Observed {
    policy.instances().make(None).unwrap_or_else(|fault| panic!("{fault:?}")).observed().unwrap()
}

/// The state of an idle instance; none if there is no idle one.
fn idle_state(policy: &Policy) -> Option<Observed> {
    let instances = policy.instances();
    let mut instance = instances.take()?;
    let observed = instance.observed().unwrap();
    instances.put_back(instance);
    Some(observed)
}

/// States are long: what differs is said in one line.
fn assert_same_state(found: &Observed, new: &Observed, when: &str) {
    assert_eq!(found.globals, new.globals, "globals {when}");
    assert_eq!(found.tables, new.tables, "tables {when}");
    assert_eq!(found.memories.len(), new.memories.len(), "memories {when}");
    for (memory, (found, new)) in found.memories.iter().zip(&new.memories).enumerate() {
        assert_eq!(found.len(), new.len(), "length of memory {memory} {when}");
        let differs = || found.iter().zip(new).position(|(found, new)| found != new);
        assert!(found == new, "memory {memory} differs at {:?} {when}", differs());
    }
}

/// What is compared: a policy that makes new instances, one whose engine compares for itself, and one that does not,
/// so that the comparison does not disturb what it looks at.
struct Compared {
    kind: Instances,
    new: Policy,
    verified: Policy,
    verifying: Engine,
    plain: Policy,
    answers: AtomicUsize,
    looked_at: AtomicUsize,
}

impl Compared {
    fn new(component: &[u8], kind: Instances) -> Self {
        let verifying = engine(kind, Some(1));
        let compared = Self {
            kind,
            new: load(&engine(Instances::New, None), component, members()),
            verified: load(&verifying, component, members()),
            verifying,
            plain: load(&engine(kind, None), component, members()),
            answers: AtomicUsize::new(0),
            looked_at: AtomicUsize::new(0),
        };
        assert_eq!(compared.plain.new_instances_because(), None, "{kind:?}");
        assert_eq!(compared.verified.new_instances_because(), None, "{kind:?}");
        compared
    }

    /// Asks all three.
    fn ask(&self, input: &str, new: &Observed) {
        let expected = ask(&self.new, input);
        let Self { kind, plain, verified, .. } = self;
        let when = format!("of {kind:?} after {}", input.get(..input.len().min(80)).unwrap_or_default());
        assert_eq!(ask(plain, input), expected, "plain {when}");
        assert_eq!(ask(verified, input), expected, "verified {when}");
        if matches!(expected, Seen::Whole(Ok(_), ..)) {
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
        // With one in two, so that instances are also asked again that nobody has looked at.
        if input.len().is_multiple_of(2)
            && let Some(found) = idle_state(plain)
        {
            assert_same_state(&found, new, &when);
            self.looked_at.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks so many random inputs in so many threads at once.
    fn run(&self, inputs: u64, threads: u64) {
        let new = new_state(&self.new);
        thread::scope(|scope| {
            for thread in 0..threads {
                let new = &new;
                scope.spawn(move || {
                    let mut random = Random(thread << 32 | inputs);
                    (0..inputs / threads).for_each(|_| self.ask(&random.input(), new));
                });
            }
        });
        assert_same_state(&new_state(&self.new), &new, "of a new instance, at the end");
    }

    fn finish(&self, inputs: u64) {
        let Self { kind, verified, verifying, plain, .. } = self;
        let counts = verifying.verification_counts();
        assert_eq!((counts.compared, counts.differed), (inputs, 0), "{kind:?}");
        assert_eq!(verified.new_instances_because(), None, "{kind:?}");
        assert_eq!(plain.new_instances_because(), None, "{kind:?}");
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as u64;
        assert!(count(&self.answers) > inputs / 4, "{kind:?}: {} answers", count(&self.answers));
        assert!(count(&self.looked_at) > inputs / 4, "{kind:?}: {} were looked at", count(&self.looked_at));
    }
}

fn equal_to_new(component: &[u8], kinds: &[Instances], threads: u64) {
    for kind in kinds {
        let compared = Compared::new(component, *kind);
        compared.run(inputs_each(), threads);
        compared.finish(inputs_each());
    }
}

#[test]
fn a_random_writer_finds_nothing_of_what_it_wrote() {
    equal_to_new(&guests::writer(17), &KINDS, 1);
}

#[test]
fn a_random_writer_finds_nothing_of_what_other_threads_wrote() {
    equal_to_new(&guests::writer(2), &KINDS, 8);
}

#[test]
fn nested_components_with_many_memories_are_as_new() {
    equal_to_new(&guests::nested(), &KINDS, 2);
}

#[test]
fn a_policy_without_globals_is_as_new() {
    equal_to_new(&guests::without_globals(), &KINDS, 1);
}

#[test]
fn memories_with_more_pages_than_are_watched_are_as_new() {
    // 480 pages of 4 KiB, of which 256 are watched.
    equal_to_new(&guests::filler(30), &KINDS, 1);
}

#[test]
fn policies_that_are_gone_are_forgotten() {
    let engine = engine(Instances::Copied, None);
    let component = crate::support::echo("/seed");
    let kept = load(&engine, &component, members());
    (0..300).for_each(|_| drop(load(&engine, &component, members())));
    let registered = kept.instances().engine.idle.registered();
    assert!(registered < 100, "{registered} of 301");
    assert_eq!(ask(&kept, r#"{"seed": 5}"#), ask(&load(&engine, &component, members()), r#"{"seed": 5}"#));
}

#[test]
fn a_large_memory_is_as_new_and_is_not_kept_when_much_of_it_was_written() {
    let component = guests::filler(64);
    let compared = Compared::new(&component, Instances::Protected);
    // 4 MiB: beyond what is compared as a whole.
    let random = &mut Random(4);
    let new = new_state(&compared.new);
    (0..inputs_each() / 10).for_each(|_| compared.ask(&random.input(), &new));
    assert_eq!(compared.verifying.verification_counts().differed, 0);
    let copied = load(&engine(Instances::Copied, None), &component, members());
    assert!(copied.new_instances_because().unwrap().contains("4194304 bytes"));
}

#[test]
fn memories_without_a_page_are_as_new() {
    // One is empty and may grow, one has grown before anybody was asked.
    let items = r#"(memory (export "memory") 2) (memory $grows 0 3) (memory $grown 0 3)
        (func $start (drop (memory.grow $grown (i32.const 1))) (i32.store $grown (i32.const 4) (i32.const 9)))
        (start $start) (data (i32.const 8) "null")"#;
    let body = "(if (memory.size $grows) (then (return (call $answer (i32.const 8) (i32.const 4)))))
        (if (i32.ne (i32.load $grown (i32.const 4)) (i32.const 9)) (then (return (call $answer (i32.const 8) (i32.const 4)))))
        (i32.store $grown (i32.const 4) (i32.const 10))
        (if (i32.load (i32.const 3000)) (then (drop (memory.grow $grows (i32.const 1)))))
        (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048))
        (if (i32.and (i32.load (i32.const 2056)) (i32.const 1))
          (then (drop (memory.grow $grows (i32.const 1))) (i32.store $grows (i32.const 8) (i32.const 1))))
        (call $true)";
    let component = crate::support::guest(items, body);
    let new = load(&engine(Instances::New, None), &component, members());
    let Seen::Whole(Ok(answer), ..) = ask(&new, "12") else { panic!("no answer") };
    assert_eq!(answer.value.as_deref(), Some("true"));
    for kind in KINDS {
        let verifying = engine(kind, Some(1));
        let policy = load(&verifying, &component, members());
        for input in ["1", "12", "123", "12", "12", "1", "1", "12"] {
            assert_eq!(ask(&policy, input), ask(&new, input), "{kind:?}: {input}");
            if let Some(found) = idle_state(&policy) {
                assert_same_state(&found, &new_state(&new), &format!("of {kind:?} after {input}"));
            }
        }
        assert_eq!(verifying.verification_counts().differed, 0, "{kind:?}");
    }
}
