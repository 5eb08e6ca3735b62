//! A ledger on a real directory: erased evidence, damaged files, static tiles, restarts.

mod ledger_support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ledger_support::{Random, Told, check, config, key, work};
use verdict_ledger::{Checkpoint, DirStorage, Ledger, LedgerError, LogName, SigningKey};

fn open(folder: &Path) -> Result<Ledger, LedgerError> {
    Ledger::open(Arc::new(DirStorage::open(folder)?), key(), config())
}

fn log() -> LogName {
    "a".parse().unwrap()
}

#[test]
fn grows_over_restarts_and_every_proof_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let (mut told, mut random) = (Told::default(), Random(1));
    for _ in 0..4 {
        let ledger = open(folder.path()).unwrap();
        work(&ledger, &mut random, 60, &mut told);
        ledger.publish().unwrap();
        check(&ledger, &told, &[]);
        ledger.close().unwrap();
        assert!(matches!(ledger.append(&log(), b"late", b"").wait(), Err(LedgerError::Closed)));
    }
    let ledger = open(folder.path()).unwrap();
    check(&ledger, &told, &[]);
    assert_eq!(ledger.stats().entries, told.entries.len() as u64);
}

#[test]
fn full_tiles_appear_and_partial_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    let mut told = Told::default();
    let mut append = |count: u64| {
        let appends: Vec<_> =
            (0..count).map(|i| (i.to_be_bytes(), ledger.append(&log(), &i.to_be_bytes(), b""))).collect();
        for (leaf, append) in appends {
            told.entries.insert((log(), append.wait().unwrap()), (leaf.to_vec(), Vec::new()));
        }
        ledger.publish().unwrap();
        check(&ledger, &told, &[]);
    };
    for count in [1, 254, 1, 1, 300, 211, 1] {
        append(count);
    }
    let resource = |path: &str| ledger.resource(&log(), path).unwrap();
    assert_eq!(ledger.size(&log()), 769);
    assert_eq!(resource("tile/0/000").unwrap().len(), 8192);
    assert_eq!(resource("tile/1/000.p/3").unwrap().len(), 96);
    assert_eq!(resource("tile/0/000.p/7").unwrap(), resource("tile/0/000").unwrap()[..7 * 32]);
    assert_eq!(resource("tile/entries/003.p/1").unwrap(), [&[0, 8][..], &[0; 8]].concat());
    assert_eq!(resource("tile/entries/000.p/2").unwrap().len(), 20);
    for none in ["tile/0/003", "tile/0/003.p/2", "tile/1/000.p/4", "tile/2/000.p/1", "../a/checkpoint", ""] {
        assert_eq!(resource(none), None, "{none}");
    }
    let tiles = folder.path().join("logs/a/tile/0");
    let mut names: Vec<_> = fs::read_dir(&tiles)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["000", "001", "002", "003.p"]);
}

#[test]
fn erased_evidence_leaves_leaves_and_proofs() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    ledger.append(&log(), b"first", b"evidence 1").wait().unwrap();
    ledger.append(&log(), b"none", b"").wait().unwrap();
    assert_eq!(ledger.evidence(&log(), 0).unwrap().as_deref(), Some(b"evidence 1".as_slice()));
    fs::remove_dir_all(folder.path().join("evidence")).unwrap();
    assert_eq!(ledger.evidence(&log(), 0).unwrap(), None);
    assert_eq!(ledger.evidence(&log(), 1).unwrap(), Some(Vec::new()));
    ledger.append(&log(), b"third", b"evidence 3").wait().unwrap();
    ledger.publish().unwrap();
    let check = |ledger: &Ledger| {
        assert_eq!(ledger.evidence(&log(), 0).unwrap(), None);
        assert_eq!(ledger.evidence(&log(), 2).unwrap().as_deref(), Some(b"evidence 3".as_slice()));
        for (index, leaf) in [b"first".as_slice(), b"none", b"third"].iter().enumerate() {
            let proof = ledger.proof(&log(), index as u64).unwrap().unwrap();
            proof.verify(leaf, &ledger.verifier_key(&log()).unwrap()).unwrap();
        }
    };
    check(&ledger);
    drop(ledger);
    check(&open(folder.path()).unwrap());
    fs::remove_dir_all(folder.path().join("evidence")).unwrap();
    let ledger = open(folder.path()).unwrap();
    ledger.append(&log(), b"fourth", b"evidence 4").wait().unwrap();
    assert_eq!(ledger.evidence(&log(), 2).unwrap(), None, "new evidence does not take the place of erased");
}

#[test]
fn damaged_evidence_is_not_taken_for_erased() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    ledger.append(&log(), b"leaf", b"evidence").wait().unwrap();
    let path = folder.path().join("evidence/0000000001");
    let mut whole = fs::read(&path).unwrap();
    // Behind it are zeros, where it reserved more.
    whole.truncate(whole.windows(8).position(|window| window == b"evidence").unwrap() + 8);
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(matches!(ledger.evidence(&log(), 0), Err(LedgerError::Corrupt { .. })), "byte {place}");
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(ledger.evidence(&log(), 0), Err(LedgerError::Corrupt { .. })));
}

#[test]
fn every_changed_byte_of_the_journal_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    for i in 0..3 {
        ledger.append(&log(), format!("leaf {i}").as_bytes(), b"").wait().unwrap();
    }
    drop(ledger);
    let path = folder.path().join("journal/0000000001");
    let whole = fs::read(&path).unwrap();
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(&path, &changed).unwrap();
        let refused = open(folder.path());
        assert!(matches!(refused, Err(LedgerError::Corrupt { .. })), "byte {place}: {refused:?}");
        fs::write(&path, &whole).unwrap();
    }
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(open(folder.path()), Err(LedgerError::Corrupt { .. })), "{length} bytes");
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(open(folder.path()).unwrap().leaf(&log(), 2).unwrap(), b"leaf 2");
}

#[test]
fn a_torn_tail_is_cut_and_a_missing_segment_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    for i in 0..20u8 {
        ledger.append(&log(), &[i; 1000], b"").wait().unwrap();
    }
    drop(ledger);
    let journal = folder.path().join("journal");
    let last = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let whole = fs::read(&last).unwrap();
    fs::write(&last, [&whole[..], b"VDJ1 and then nothing"].concat()).unwrap();
    let ledger = open(folder.path()).unwrap();
    assert_eq!((ledger.size(&log()), ledger.stats().torn_bytes), (20, 21));
    drop(ledger);
    assert_eq!(fs::read(&last).unwrap(), whole);
    fs::remove_file(journal.join("0000000002")).unwrap();
    assert!(matches!(open(folder.path()), Err(LedgerError::Corrupt { .. })));
}

/// Copies a folder as it is: what a process leaves that is killed.
fn killed(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    verdict_tests::server::copy(folder, copy.path());
    copy
}

#[test]
fn what_was_reserved_and_not_used_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let open = |folder: &Path| {
        let storage = Arc::new(DirStorage::open(folder).unwrap());
        Ledger::open(storage, key(), verdict_ledger::Config::new("log.example/test")).unwrap()
    };
    let ledger = open(folder.path());
    let mut told = Told::default();
    for number in 0..40u8 {
        let (leaf, evidence) = (vec![number; 5_000], vec![number; 9_000]);
        let index = ledger.append(&log(), &leaf, &evidence).wait().unwrap();
        told.entries.insert((log(), index), (leaf, evidence));
    }
    let bytes = |folder: &Path, name: &str| fs::metadata(folder.join(name)).unwrap().len();
    let (journal, evidence) = ("journal/0000000001", "evidence/0000000001");
    let killed = killed(folder.path());
    drop(ledger);
    let (written, written_evidence) = (bytes(folder.path(), journal), bytes(folder.path(), evidence));
    assert!(written > 40 * 5_000 && written_evidence > 40 * 9_000);
    // A file system may have nothing to gain from it.
    let reserved = bytes(killed.path(), journal) - written;
    assert!(reserved <= 1 << 20, "{reserved}");
    println!("{reserved} bytes of the journal were reserved");
    let ledger = open(killed.path());
    ledger.publish().unwrap();
    check(&ledger, &told, &[]);
    assert_eq!(ledger.stats().torn_bytes, 0);
    assert_eq!(bytes(killed.path(), journal), written);
    assert_eq!(ledger.append(&log(), b"next", b"next").wait().unwrap(), 40);
}

#[test]
fn zeros_behind_a_segment_are_no_damage_and_in_it_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (mut told, ledger) = (Told::default(), open(folder.path()).unwrap());
    work(&ledger, &mut Random(1), 30, &mut told);
    ledger.publish().unwrap();
    drop(ledger);
    let mut segments: Vec<_> =
        fs::read_dir(folder.path().join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    assert!(segments.len() > 3);
    for path in &segments {
        let whole = fs::read(path).unwrap();
        fs::write(path, [&whole[..], &[0; 10_000]].concat()).unwrap();
    }
    let ledger = open(folder.path()).unwrap();
    check(&ledger, &told, &[]);
    assert_eq!(ledger.stats().torn_bytes, 0);
    drop(ledger);
    let whole = fs::read(&segments[1]).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    // The last batch of a segment that others follow.
    let last = whole.windows(4).rposition(|window| window == b"VDJ1").unwrap();
    let mut lost = whole.clone();
    lost[last..=end].fill(0);
    fs::write(&segments[1], lost).unwrap();
    assert!(matches!(open(folder.path()), Err(LedgerError::Corrupt { .. })));
}

#[test]
fn lost_tiles_are_derived_anew() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    for i in 0..300u64 {
        drop(ledger.append(&log(), &i.to_be_bytes(), b""));
    }
    ledger.publish().unwrap();
    let before = ledger.checkpoint(&log());
    drop(ledger);
    fs::remove_dir_all(folder.path().join("logs")).unwrap();
    let ledger = open(folder.path()).unwrap();
    assert_eq!(ledger.checkpoint(&log()), before);
    check(&ledger, &Told::default(), &[]);
}

#[test]
fn another_key_or_origin_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    ledger.append(&log(), b"leaf", b"").wait().unwrap();
    drop(ledger);
    let storage = || Arc::new(DirStorage::open(folder.path()).unwrap());
    let other = Ledger::open(storage(), SigningKey::generate([1; 32]), config());
    assert!(matches!(other, Err(LedgerError::WrongKey { .. })));
    let mut renamed = config();
    renamed.origin_prefix = "log.example/other".into();
    assert!(matches!(Ledger::open(storage(), key(), renamed), Err(LedgerError::WrongKey { .. })));
}

#[test]
fn checkpoints_come_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.checkpoint_interval = std::time::Duration::from_millis(1);
    let ledger = Ledger::open(Arc::new(DirStorage::open(folder.path()).unwrap()), key(), config).unwrap();
    let index = ledger.append(&log(), b"leaf", b"").wait().unwrap();
    let proof = loop {
        match ledger.proof(&log(), index).unwrap() {
            Some(proof) => break proof,
            None => std::thread::yield_now(),
        }
    };
    let vkey = ledger.verifier_key(&log()).unwrap();
    assert_eq!(
        proof.verify(b"leaf", &vkey).unwrap(),
        Checkpoint::verify(&ledger.checkpoint(&log()).unwrap(), &vkey).unwrap()
    );
}

#[test]
fn refuses_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    let largest = vec![7; 65_535];
    assert_eq!(ledger.append(&log(), &largest, b"").wait().unwrap(), 0);
    let refused = ledger.append(&log(), &[7; 65_536], b"").wait();
    assert!(matches!(refused, Err(LedgerError::LeafTooLarge { bytes: 65_536 })));
    let refused = ledger.append(&log(), b"", vec![0; (16 << 20) + 1]).wait();
    assert!(matches!(refused, Err(LedgerError::EvidenceTooLarge { .. })));
    ledger.publish().unwrap();
    assert_eq!(ledger.leaf(&log(), 0).unwrap(), largest);
    let proof = ledger.proof(&log(), 0).unwrap().unwrap().to_string();
    let proof: verdict_ledger::TlogProof = proof.parse().unwrap();
    proof.verify(&largest, &ledger.verifier_key(&log()).unwrap()).unwrap();
    assert!(matches!(ledger.leaf(&log(), 1), Err(LedgerError::NoSuchEntry { .. })));
    assert!(matches!(ledger.proof(&"b".parse().unwrap(), 0), Err(LedgerError::NoSuchEntry { .. })));
}
