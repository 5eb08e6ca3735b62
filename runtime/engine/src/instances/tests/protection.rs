//! That a system which refuses to change the protection of pages costs an evaluation at most.

use super::*;
use crate::sys::{Watch, failing};

/// More failures than any test has calls.
const EVER: u32 = u32::MAX;

/// Calls of `mprotect` until the guest's own code writes to its memory for the first time: one is for the page that the
/// host writes the name of the rule to. Where not even the whole memory can be made writable, what the
/// host writes ends the process, as memory that it cannot allocate does: it has nowhere to go on from.
const BEFORE_THE_GUEST: u32 = 1;

/// A guest that writes to 40 pages; what its input is does not matter.
fn scribbler() -> Vec<u8> {
    scribbler_in(3)
}

/// The same in a memory of so many pages of 64 KiB.
fn scribbler_in(pages: u32) -> Vec<u8> {
    crate::support::guest(
        &r#"(memory (export "memory") PAGES) (global $g (mut i32) (i32.const 4))
        (data (i32.const 70000) "pristine") (data (i32.const 8) "null")"#
            .replace("PAGES", &pages.to_string()),
        r#"(local $at i32)
        (if (i32.ne (global.get $g) (i32.const 4)) (then (return (call $answer (i32.const 8) (i32.const 4)))))
        (global.set $g (i32.const 5))
        (local.set $at (i32.const 8192))
        (loop $l
          (if (i32.load (local.get $at)) (then (return (call $answer (i32.const 8) (i32.const 4)))))
          (i32.store (local.get $at) (i32.const 7))
          (local.set $at (i32.add (local.get $at) (i32.const 4096)))
          (br_if $l (i32.lt_u (local.get $at) (i32.const 172032))))
        (call $true)"#,
    )
}

fn fault_code(seen: &Seen) -> Option<FaultCode> {
    match seen {
        Seen::Whole(Ok(_), ..) => None,
        Seen::Whole(Err(fault), ..) => Some(fault.code),
        Seen::Stopped(code) => Some(*code),
    }
}

fn protected(component: &[u8]) -> (Policy, Seen, Observed) {
    let policy = load(&engine(Instances::Protected, None), component, members());
    let expected = ask(&load(&engine(Instances::New, None), component, members()), "{}");
    assert_eq!(fault_code(&expected), None, "{expected:?}");
    let new = new_state(&policy);
    (policy, expected, new)
}

/// Leaves one idle instance, which has answered once: it is watched since, and none of its pages was written.
fn watch_anew(policy: &Policy, expected: &Seen) {
    while policy.instances().take().is_some() {}
    assert_eq!(ask(policy, "{}"), *expected);
    assert!(policy.instances().is_idle());
}

#[test]
fn a_page_that_cannot_be_made_writable_opens_the_memory() {
    let (policy, expected, new) = protected(&scribbler());
    for well in 1..60 {
        watch_anew(&policy, &expected);
        failing::after(well, 1);
        let answered = ask(&policy, "{}");
        failing::after(0, 0);
        assert_eq!(answered, expected, "after {well}");
        assert_eq!(ask(&policy, "{}"), expected, "again after {well}");
        assert_same_state(&idle_state(&policy).unwrap(), &new, &format!("after {well}"));
    }
}

#[test]
fn a_memory_that_cannot_be_made_writable_is_no_answer() {
    let (policy, expected, new) = protected(&scribbler());
    let mut faults = 0;
    for well in BEFORE_THE_GUEST..60 {
        watch_anew(&policy, &expected);
        // The page, the memory as a whole; then the instance is given back.
        failing::after(well, 2);
        let answered = ask(&policy, "{}");
        failing::after(0, 0);
        if answered != expected {
            assert_eq!(fault_code(&answered), Some(FaultCode::Unavailable), "after {well}");
            assert!(policy.instances().take().is_none(), "an instance that failed is kept");
            faults += 1;
        }
        assert_eq!(ask(&policy, "{}"), expected, "again after {well}");
        assert_same_state(&idle_state(&policy).unwrap(), &new, &format!("after {well}"));
    }
    assert!((20..59).contains(&faults), "{faults} faults");
    assert_eq!(policy.new_instances_because(), None);
}

#[test]
fn a_system_that_refuses_everything_costs_a_slot_and_no_more() {
    let (policy, expected, new) = protected(&scribbler());
    for well in [0].into_iter().chain(BEFORE_THE_GUEST..45) {
        while policy.instances().take().is_some() {}
        if well > 0 {
            // Slots that were lost before may be all there were.
            ask(&policy, "{}");
        }
        failing::after(well, EVER);
        let answered = ask(&policy, "{}");
        failing::after(0, 0);
        // There are 48 slots in the pool; what is lost of them is lost.
        let code = fault_code(&answered);
        assert!(answered == expected || code == Some(FaultCode::Unavailable), "after {well}: {answered:?}");
        let again = ask(&policy, "{}");
        let full = fault_code(&again) == Some(FaultCode::Unavailable) && well > 20;
        assert!(again == expected || full, "again after {well}: {again:?}");
        if let Some(state) = idle_state(&policy) {
            assert_same_state(&state, &new, &format!("after {well}"));
        }
    }
}

#[test]
fn an_instance_that_cannot_be_protected_is_not_kept() {
    for component in [scribbler(), guests::nested(), guests::without_globals()] {
        let (policy, expected, new) = protected(&component);
        let memories = u32::try_from(new.memories.len()).unwrap();
        for well in 0..memories {
            while policy.instances().take().is_some() {}
            // This memory cannot be protected; those before can be opened again, or cannot at first, or never.
            for badly in [1, 2, 5] {
                failing::after(well, badly);
                let answered = ask(&policy, "{}");
                failing::after(0, 0);
                // It has answered by then.
                assert_eq!(answered, expected, "memory {well}, {badly}");
                assert!(!policy.instances().is_idle(), "memory {well}, {badly}");
            }
        }
        assert_eq!(ask(&policy, "{}"), expected);
        assert_same_state(&idle_state(&policy).unwrap(), &new, "after instances that were not protected");
    }
}

#[test]
fn a_large_instance_that_cannot_be_protected_is_no_answer() {
    let (policy, expected, new) = protected(&scribbler_in(40));
    failing::after(0, 1);
    let answered = ask(&policy, "{}");
    failing::after(0, 0);
    assert_eq!(fault_code(&answered), Some(FaultCode::Unavailable));
    (0..3).for_each(|_| assert_eq!(ask(&policy, "{}"), expected));
    assert_same_state(&idle_state(&policy).unwrap(), &new, "after an instance that was not protected");
}

#[test]
fn a_policy_whose_first_instance_cannot_be_protected_runs_in_new_instances() {
    let engine = engine(Instances::Protected, None);
    failing::after(0, 1);
    let policy = load(&engine, &scribbler(), members());
    failing::after(0, 0);
    assert!(policy.new_instances_because().is_some());
    let expected = ask(&load(&super::engine(Instances::New, None), &scribbler(), members()), "{}");
    (0..5).for_each(|_| assert_eq!(ask(&policy, "{}"), expected));
}

#[test]
fn a_store_whose_memory_stays_protected_is_left_alone() {
    let engine = engine(Instances::Protected, None);
    let component = scribbler();
    let load = || load(&engine, &component, members());
    let policy = load();
    let expected = ask(&policy, "{}");
    assert!(policy.instances().is_idle());
    failing::after(0, EVER);
    drop(policy);
    failing::after(0, 0);
    assert_eq!(engine.idle_bytes(), 0);
    // The store is still there, and its slot of the pool with it: others have no part in it.
    for _ in 0..3 {
        let policy = load();
        (0..20).for_each(|_| assert_eq!(ask(&policy, "{}"), expected));
    }
}

#[test]
fn an_instance_that_could_not_be_watched_can_be_opened_again() {
    let (policy, ..) = protected(&scribbler());
    let mut instance = policy.instances().make(None).unwrap_or_else(|fault| panic!("{fault:?}"));
    failing::after(0, 1);
    let watched = instance.watch(Watch::Protection);
    failing::after(0, 0);
    assert_eq!(watched.unwrap_err().code, FaultCode::Unavailable);
    assert!(instance.watch(Watch::Comparison).is_ok());
}
