//! The compile cache: what was tampered with is never run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use support::{ask, guest, load, value};
use verdict_engine::{CacheCounts, CompileCache, Compiler, Config, Engine};

fn engine(dir: &Path, key: u8) -> Engine {
    let mut config = Config::new(Compiler::InProcess);
    config.cache = Some(CompileCache { dir: dir.join("compiled"), key: [key; 32] });
    Engine::new(config).unwrap()
}

fn answers(engine: &Engine) -> CacheCounts {
    let policy = load(engine, &guest("", "(call $true)"), json!({}));
    assert_eq!(value(&ask(&policy, "{}")), Some("true"));
    engine.cache_counts()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir.join("compiled")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

const HIT: CacheCounts = CacheCounts { hits: 1, misses: 0, rejected: 0, unwritten: 0 };
const MISS: CacheCounts = CacheCounts { hits: 0, misses: 1, rejected: 0, unwritten: 0 };
const REJECTED: CacheCounts = CacheCounts { hits: 0, misses: 0, rejected: 1, unwritten: 0 };

#[test]
fn compiles_once_and_leaves_no_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(answers(&engine(dir.path(), 1)), MISS);
    assert_eq!(answers(&engine(dir.path(), 1)), HIT);
    let files = files(dir.path());
    assert_eq!(files.len(), 1);
    assert!(files[0].extension().is_some_and(|extension| extension == "cwasm"));
}

#[test]
fn a_file_that_was_changed_cut_or_written_by_another_is_compiled_anew_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    answers(&engine(dir.path(), 1));
    let file = files(dir.path()).remove(0);
    let good = fs::read(&file).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let spoilt = [
        ("nothing", Vec::new()),
        ("a short file", good[..20].to_vec()),
        ("only the authentication", good[..32].to_vec()),
        ("a cut file", good[..good.len() - 1].to_vec()),
        ("a longer file", [&good[..], b"x"].concat()),
        ("another authentication", flipped(0)),
        ("other code", flipped(good.len() / 2)),
        ("another end", flipped(good.len() - 1)),
        ("machine code without authentication", good[32..].to_vec()),
    ];
    for (what, bytes) in spoilt {
        fs::write(&file, bytes).unwrap();
        assert_eq!(answers(&engine(dir.path(), 1)), REJECTED, "{what}");
        assert_eq!(fs::read(&file).unwrap(), good, "{what}: it is replaced");
    }
}

#[test]
fn another_key_does_not_trust_the_file() {
    let dir = tempfile::tempdir().unwrap();
    answers(&engine(dir.path(), 1));
    assert_eq!(answers(&engine(dir.path(), 2)), REJECTED);
    assert_eq!(answers(&engine(dir.path(), 2)), HIT);
}

#[test]
fn a_file_cannot_stand_in_for_another_component() {
    let dir = tempfile::tempdir().unwrap();
    let first = engine(dir.path(), 1);
    load(&first, &guest("", "(unreachable)"), json!({}));
    let evil = files(dir.path()).remove(0);
    let code = fs::read(&evil).unwrap();
    fs::remove_file(&evil).unwrap();
    answers(&engine(dir.path(), 1));
    fs::write(&files(dir.path())[0], code).unwrap();
    assert_eq!(answers(&engine(dir.path(), 1)), REJECTED);
}

#[test]
fn a_cache_that_cannot_be_written_costs_time_and_not_answers() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), 1);
    fs::remove_dir(dir.path().join("compiled")).unwrap();
    assert_eq!(answers(&engine), CacheCounts { unwritten: 1, ..MISS });
}
