//! Every step of the ledger's storage times {fails, fails but persisted, power gone}, on a storage that throws away
//! whatever was not synced: nothing acknowledged is lost, no checkpoint is taken back.

mod ledger_support;

use std::sync::Arc;

use ledger_support::{
    Fault, Forgetful, Random, Survival, Told, check, check_evidence, check_tiles_on_disk, config, key, open,
    work,
};
use verdict_ledger::{Config, Durability, Ledger, LedgerError};

/// How a process ends in which a step failed.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The machine goes down, now or a moment after.
    Power(Survival),
    /// Only the process ends; after a failed sync the machine still shows what it never wrote.
    Process,
}

const ENDS: [End; 3] = [End::Power(Survival::Nothing), End::Power(Survival::Anything), End::Process];
const GROUPS: usize = 6;

/// One life: open, work, and end as told. An open that meets the fault may fail.
fn live(storage: &Forgetful, random: &mut Random, told: &mut Told, end: End) {
    if let Ok(ledger) = open(storage) {
        work(&ledger, random, GROUPS, told);
        match end {
            End::Power(_) => storage.cut_power(),
            End::Process => {}
        }
        drop(ledger);
    }
    match end {
        End::Power(survival) => storage.restart(survival),
        End::Process => storage.end_process(),
    }
    check_tiles_on_disk(storage);
}

fn run(seed: u64, step: usize, fault: Fault, end: End) {
    let storage = Forgetful::new(seed);
    let mut random = Random(seed ^ 0xfeed);
    let mut told = Told::default();
    storage.fail_at(step, fault);
    live(&storage, &mut random, &mut told, end);
    // The recovery meets a fault too, of whichever kind, and after it the power goes.
    let second = [Fault::Fails, Fault::FailsButPersisted, Fault::Crash][random.below(3)];
    storage.fail_at(1 + random.below(60), second);
    live(&storage, &mut random, &mut told, End::Power(Survival::Anything));
    let ledger = open(&storage).unwrap();
    check(&ledger, &told, &storage.checkpoints());
    check_evidence(&ledger);
    work(&ledger, &mut random, 2, &mut told);
    ledger.close().unwrap();
    drop(ledger);
    storage.restart(Survival::Nothing);
    check(&open(&storage).unwrap(), &told, &storage.checkpoints());
}

#[test]
fn nothing_acknowledged_is_lost_whichever_step_fails() {
    let mut runs = 0;
    for seed in 0..3 {
        let storage = Forgetful::new(seed);
        let mut told = Told::default();
        live(&storage, &mut Random(seed ^ 0xfeed), &mut told, End::Power(Survival::Nothing));
        let steps = storage.steps();
        assert!(steps > 50 && told.entries.len() > 10, "{steps} steps, {} entries", told.entries.len());
        for step in 1..=steps {
            for fault in [Fault::Fails, Fault::FailsButPersisted, Fault::Crash] {
                let end = ENDS[(step + seed as usize + runs) % ENDS.len()];
                run(seed, step, fault, end);
                runs += 1;
            }
        }
    }
    println!("{runs} runs, each with two faults and three restarts");
}

/// The storage must be able to find what the ledger must not do: without syncs, things are lost.
#[test]
fn a_storage_whose_syncs_lie_is_found_out() {
    let storage = Forgetful::new(1);
    storage.lie();
    let log = "a".parse().unwrap();
    let ledger = open(&storage).unwrap();
    ledger.append(&log, b"leaf", b"").wait().unwrap();
    storage.cut_power();
    drop(ledger);
    storage.restart(Survival::Nothing);
    assert!(open(&storage).unwrap().leaf(&log, 0).is_err());
}

#[test]
fn after_a_failed_sync_the_ledger_takes_nothing_more() {
    let storage = Forgetful::new(1);
    let log = "a".parse().unwrap();
    let ledger = open(&storage).unwrap();
    ledger.append(&log, b"first", b"").wait().unwrap();
    ledger.publish().unwrap(); // so that nothing but the next append has anything to write
    storage.fail_at(2, Fault::Fails);
    let failed = ledger.append(&log, b"second", b"").wait();
    assert!(matches!(failed, Err(LedgerError::Write { .. })), "{failed:?}");
    let steps = storage.steps();
    for _ in 0..3 {
        assert!(matches!(ledger.append(&log, b"third", b"").wait(), Err(LedgerError::Stopped { .. })));
    }
    assert!(matches!(ledger.health(), Err(LedgerError::Stopped { .. })));
    assert!(matches!(ledger.publish(), Err(LedgerError::Stopped { .. })));
    assert!(matches!(ledger.close(), Err(LedgerError::Stopped { .. })));
    assert_eq!(storage.steps(), steps, "nothing is written or synced again");
    assert_eq!(ledger.leaf(&log, 0).unwrap(), b"first", "reading goes on");
}

/// Waits until a ledger that was full takes entries again.
fn wait_for_room(ledger: &Ledger) {
    let began = std::time::Instant::now();
    while let Err(error) = ledger.health() {
        assert!(matches!(error, LedgerError::Full { .. }), "{error}");
        assert!(began.elapsed().as_secs() < 30, "it does not go on");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn fill(seed: u64, step: usize, durability: Durability) {
    let storage = Forgetful::new(seed);
    let (mut random, mut told) = (Random(seed ^ 0xfeed), Told::default());
    let open = || Ledger::open(Arc::new(storage.clone()), key(), Config { durability, ..config() });
    storage.fill_at(step);
    let ledger = open().unwrap_or_else(|error| {
        assert!(matches!(error, LedgerError::Full { .. }), "{error}");
        storage.make_room();
        open().unwrap()
    });
    work(&ledger, &mut random, GROUPS, &mut told);
    // Every other time the power goes while it is full; what is not synced is acknowledged only where it buffers.
    let ledger = if step.is_multiple_of(2) && durability == Durability::Durable {
        storage.cut_power();
        drop(ledger);
        storage.make_room();
        storage.restart(Survival::Anything);
        open().unwrap()
    } else {
        storage.make_room();
        ledger
    };
    wait_for_room(&ledger);
    let before = told.entries.len();
    work(&ledger, &mut random, 4, &mut told);
    assert!(told.entries.len() > before, "it goes on");
    ledger.publish().unwrap();
    check(&ledger, &told, &storage.checkpoints());
    storage.cut_power();
    drop(ledger);
    storage.restart(Survival::Nothing);
    check(&open().unwrap(), &told, &storage.checkpoints());
}

#[test]
fn a_full_disk_holds_a_ledger_up_and_it_goes_on_by_itself() {
    let every = if std::env::var_os("VERDICT_FULL").is_some() { 1 } else { 7 };
    for (seed, durability) in [(0, Durability::Durable), (1, Durability::Buffered)] {
        let storage = Forgetful::new(seed);
        live(&storage, &mut Random(seed ^ 0xfeed), &mut Told::default(), End::Power(Survival::Nothing));
        (1..=storage.steps()).step_by(every).for_each(|step| fill(seed, step, durability));
    }
}

#[test]
fn a_full_disk_is_said_to_whoever_appends_and_to_who_asks_how_it_is() {
    let storage = Forgetful::new(1);
    let log = "a".parse().unwrap();
    let ledger = open(&storage).unwrap();
    ledger.append(&log, b"first", b"evidence").wait().unwrap();
    storage.fill_at(1);
    for _ in 0..3 {
        // More than may be reserved.
        let refused = ledger.append(&log, b"second", [7; 5_000].as_slice()).wait();
        assert!(matches!(refused, Err(LedgerError::Full { .. })), "{refused:?}");
        assert!(matches!(ledger.health(), Err(LedgerError::Full { .. })));
    }
    assert_eq!(ledger.size(&log), 1, "what was refused is not there");
    storage.make_room();
    wait_for_room(&ledger);
    assert_eq!(ledger.append(&log, b"third", b"evidence").wait().unwrap(), 1);
}

#[test]
fn a_buffering_ledger_loses_no_more_than_it_counts() {
    for seed in 0..40 {
        let storage = Forgetful::new(seed);
        let config = Config { durability: Durability::Buffered, ..config() };
        let ledger = Ledger::open(Arc::new(storage.clone()), key(), config).unwrap();
        let mut told = Told::default();
        work(&ledger, &mut Random(seed), 10, &mut told);
        storage.cut_power();
        let unsynced = ledger.stats().unsynced;
        drop(ledger);
        storage.restart(if seed % 2 == 0 { Survival::Nothing } else { Survival::Anything });
        let ledger = open(&storage).unwrap();
        let kept = ledger.stats().entries;
        assert!(
            kept + unsynced >= told.entries.len() as u64,
            "{kept} + {unsynced} of {}",
            told.entries.len()
        );
        told.entries.retain(|(log, index), _| *index < ledger.size(log));
        let history = storage.checkpoints();
        told.entries.values_mut().for_each(|(_, evidence)| evidence.clear());
        for ((log, index), (leaf, _)) in &told.entries {
            assert_eq!(&ledger.leaf(log, *index).unwrap(), leaf);
        }
        check(&ledger, &Told::default(), &history);
    }
}

#[test]
fn a_full_queue_refuses_and_loses_nothing() {
    let storage = Forgetful::new(1);
    let log = "a".parse().unwrap();
    let ledger = open(&storage).unwrap();
    let evidence = vec![1; 16 << 20];
    let held = storage.hold();
    let appends: Vec<_> = (0..10).map(|_| ledger.append(&log, b"leaf", &evidence)).collect();
    drop(held);
    let results: Vec<_> = appends.into_iter().map(verdict_ledger::Append::wait).collect();
    let taken = results.iter().filter(|result| result.is_ok()).count() as u64;
    assert!(results.iter().any(|result| matches!(result, Err(LedgerError::Busy))));
    assert!(taken >= 3);
    assert_eq!((ledger.size(&log), ledger.stats().refused), (taken, 10 - taken));
}
