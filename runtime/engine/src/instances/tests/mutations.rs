//! That the comparison can fail: a reset that is spoiled in one place is noticed, and ends the resets of its policy.

use super::sabotage::{Sabotage, choose};
use super::*;

/// How many random inputs a spoiled reset may go unnoticed.
const UNNOTICED_MAX: usize = 400;

/// Spoils resets until the engine notices, and then goes on asking.
fn is_noticed(component: &[u8], kind: Instances, sabotage: Sabotage, what: &[&str]) {
    let verifying = engine(kind, Some(1));
    let policy = load(&verifying, component, members());
    let new = load(&engine(Instances::New, None), component, members());
    let name = format!("{sabotage:?} under {kind:?}");
    let mut random = Random(9);
    for _ in 0..5 {
        let input = random.input();
        assert_eq!(ask(&policy, &input), ask(&new, &input), "{name}: before");
    }
    assert_eq!(policy.new_instances_because(), None, "{name}: before");
    choose(Some(sabotage));
    let noticed = (0..UNNOTICED_MAX).position(|_| {
        ask(&policy, &random.input());
        verifying.verification_counts().differed > 0
    });
    let because = policy.new_instances_because().map(str::to_owned);
    let later = random.input();
    let answered = (0..10).map(|_| ask(&policy, &later)).collect::<Vec<_>>();
    choose(None);
    assert!(noticed.is_some(), "{name}: not noticed");
    let because = because.unwrap_or_else(|| panic!("{name}: still reset"));
    assert!(what.iter().any(|what| because.ends_with(&format!("in its {what}"))), "{name}: {because}");
    let expected = ask(&new, &later);
    assert!(answered.iter().all(|answer| *answer == expected), "{name}: later");
    assert!(idle_state(&policy).is_none(), "{name}: a spoiled instance is kept");
}

fn is_noticed_in_both(component: &[u8], sabotage: Sabotage, what: &[&str]) {
    KINDS.into_iter().for_each(|kind| is_noticed(component, kind, sabotage, what));
}

#[test]
fn without_any_spoiling_nothing_is_noticed() {
    for kind in KINDS {
        let verifying = engine(kind, Some(1));
        let policy = load(&verifying, &guests::writer(3), members());
        let mut random = Random(9);
        (0..UNNOTICED_MAX).for_each(|_| drop(ask(&policy, &random.input())));
        let counts = verifying.verification_counts();
        assert_eq!((counts.compared, counts.differed), (UNNOTICED_MAX as u64, 0), "{kind:?}");
    }
}

#[test]
fn one_page_that_is_left_is_noticed() {
    for number in [0, 1, 2, 3, 9] {
        is_noticed_in_both(&guests::writer(3), Sabotage::SkipPage(number), &["memory"]);
    }
}

#[test]
fn one_page_that_is_left_is_noticed_in_nested_components() {
    for number in [0, 3, 6] {
        is_noticed_in_both(&guests::nested(), Sabotage::SkipPage(number), &["memory"]);
    }
}

#[test]
fn one_page_that_is_left_is_noticed_where_more_are_written_than_are_watched() {
    for number in [0, 100, 270] {
        is_noticed(&guests::filler(20), Instances::Protected, Sabotage::SkipPage(number), &["memory"]);
    }
}

#[test]
fn a_write_that_is_not_noted_is_noticed() {
    for component in [guests::writer(3), guests::nested(), guests::without_globals()] {
        is_noticed(&component, Instances::Protected, Sabotage::ForgetWrite, &["memory"]);
    }
}

#[test]
fn globals_that_are_left_are_noticed() {
    for component in [guests::writer(3), guests::nested()] {
        is_noticed_in_both(&component, Sabotage::SkipGlobals, &["globals"]);
    }
}

#[test]
fn fuel_that_is_left_is_noticed() {
    is_noticed_in_both(&guests::writer(3), Sabotage::KeepFuel, &["fuel"]);
}

#[test]
fn budgets_that_are_left_are_noticed() {
    // A guest that neither faults nor grows, so that its instance lives long enough to use them up.
    is_noticed_in_both(&crate::support::echo("/seed"), Sabotage::KeepBudgets, &["outcome"]);
}

#[test]
fn a_read_set_that_is_left_is_noticed() {
    is_noticed_in_both(&guests::writer(3), Sabotage::KeepReads, &["read set"]);
}

#[test]
fn a_log_that_is_left_is_noticed() {
    is_noticed_in_both(&guests::writer(3), Sabotage::KeepLog, &["log"]);
}

#[test]
fn a_question_that_is_left_is_noticed() {
    is_noticed_in_both(
        &guests::writer(3),
        Sabotage::KeepQuestion,
        &["answer", "fuel", "outcome", "read set"],
    );
}

#[test]
fn an_instance_that_is_used_again_after_growth_is_noticed() {
    is_noticed_in_both(&guests::writer(3), Sabotage::PutBackGrown, &["memory"]);
    is_noticed_in_both(&guests::nested(), Sabotage::PutBackGrown, &["memory"]);
}

#[test]
fn an_instance_that_is_used_again_after_a_fault_is_noticed() {
    let state = "state, which cannot be read";
    for component in [guests::writer(3), guests::nested(), guests::without_globals()] {
        is_noticed_in_both(&component, Sabotage::PutBackFaulted, &[state, "memory", "globals"]);
    }
}
