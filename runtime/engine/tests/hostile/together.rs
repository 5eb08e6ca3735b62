//! Attacks by several tenants at once, and on what an engine keeps between questions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use verdict_core::outcome::FaultCode;
use verdict_engine::{Instances, Policy};

use super::harness::{Case, House, ask, ask_attack, body, check, seen, with};

const THREADS: usize = 4;

/// Attacks of every kind that run beside each other.
fn cases() -> Vec<Case> {
    let all = [super::leftovers::all(), super::reentry::all(), super::signals::all(), super::reset::all()];
    all.into_iter().flatten().filter(|(_, attack, _)| attack.shares_an_engine()).collect()
}

fn all_at_once(kind: Instances) {
    let (house, cases) = (House::new(kind, None), cases());
    let policies: Vec<Policy> = cases.iter().map(|(_, attack, _)| attack.load(&house.engine)).collect();
    let turns = AtomicUsize::new(0);
    let attacker = |first: usize| {
        for n in 0..cases.len() {
            let at = (first + n) % cases.len();
            let ((name, attack, expected), policy) = (&cases[at], &policies[at]);
            check(name, policy, expected, &ask_attack(policy, attack));
            house.check_neighbour(name);
            turns.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (attacker, first) = (&attacker, thread * cases.len() / THREADS);
            scope.spawn(move || attacker(first));
        }
    });
    assert_eq!(turns.into_inner(), THREADS * cases.len());
}

#[test]
fn many_tenants_attack_watched_pages_at_once() {
    all_at_once(Instances::Protected);
}

#[test]
fn many_tenants_attack_compared_memory_at_once() {
    all_at_once(Instances::Copied);
}

#[test]
fn many_threads_attack_one_policy_at_once() {
    let house = House::new(Instances::Protected, None);
    let attack = with(
        "(global $g (mut i32) (i32.const 1))",
        "(if (i32.or (i32.ne (global.get $g) (i32.const 1)) (i32.load (i32.const 50000))) (then (unreachable)))
         (global.set $g (i32.const 2)) (memory.fill (i32.const 8192) (i32.const 1) (i32.const 100000))
         (if (i32.eq (i32.load8_u (i32.const 8192)) (i32.const 1)) (then (drop (i32.load (i32.const -4)))))
         (call $true)",
    );
    let policy = attack.load(&house.engine);
    let calm = seen(ask(&policy, "calm", "{}", None));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..100 {
                    let fault = ask_attack(&policy, &attack).result.unwrap_err();
                    assert!(fault.message.contains("out of bounds"), "{fault:?}");
                    assert_eq!(seen(ask(&policy, "calm", "{}", None)), calm);
                }
            });
        }
    });
    house.check_neighbour("one policy, many threads");
}

#[test]
fn an_instance_that_idled_past_its_deadline_has_a_new_one() {
    let house = House::new(Instances::Protected, None);
    let policy = body("(call $true)").limit("wall_clock_ms", 50).load(&house.engine);
    // A machine that is slow now and then does not make all of them late; a deadline that is over does.
    let late = (0..10).filter(|_| {
        let _ = ask(&policy, "attack", "{}", None);
        thread::sleep(Duration::from_millis(120));
        let outcome = ask(&policy, "attack", "{}", None);
        matches!(outcome.result, Err(fault) if fault.code == FaultCode::Deadline)
    });
    assert!(late.count() < 10);
}

#[test]
fn large_answers_again_and_again_do_not_use_up_what_may_be_copied() {
    let house = House::new(Instances::Protected, None);
    let attack = body(
        "(memory.fill (i32.const 8192) (i32.const 49) (i32.const 10000)) (call $answer (i32.const 8192) (i32.const 10000))",
    );
    let policy = attack.load(&house.engine);
    let first = seen(ask_attack(&policy, &attack));
    for _ in 0..500 {
        assert_eq!(seen(ask_attack(&policy, &attack)), first);
    }
}

#[test]
fn policies_that_come_and_go_leave_nothing_behind() {
    let house = House::new(Instances::Protected, None);
    let attack = body("(memory.fill (i32.const 8192) (i32.const 1) (i32.const 100000)) (call $true)");
    for _ in 0..30 {
        let policy = attack.load(&house.engine);
        assert!(ask_attack(&policy, &attack).result.is_ok());
        house.check_neighbour("after a policy that was dropped");
    }
}
