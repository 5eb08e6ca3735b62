//! A log that another implementation made (transparency-dev/tessera): read and verified from its files.

use std::fs;
use std::path::{Path, PathBuf};

use verdict_ledger::tile::{TileError, TileKind, TilePath, TileTree, parse_entries};
use verdict_ledger::{Checkpoint, TlogProof, VerifierKey, tree};

const SIZES: std::ops::RangeInclusive<u64> = 0..=15;

fn folder() -> PathBuf {
    let suites = std::env::var_os("VERDICT_SUITES").map(PathBuf::from);
    suites.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/suites")).join("tlog")
}

struct Count {
    passed: usize,
    failed: usize,
}

impl Count {
    fn case(&mut self, what: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
            println!("suite tlog: failed: {what}");
        }
    }
}

/// The log as it was at some size, from the tiles of that size.
struct Log<'a> {
    folder: &'a Path,
    key: &'a VerifierKey,
}

impl Log<'_> {
    fn note(&self, size: u64) -> String {
        fs::read_to_string(self.folder.join(format!("checkpoint.{size}"))).unwrap()
    }

    fn tiles(&self, size: u64) -> TileTree<impl FnMut(TilePath) -> Result<Vec<u8>, TileError>> {
        TileTree::new(size, |tile| Ok(fs::read(self.folder.join(tile.to_string())).unwrap()))
    }

    fn entries(&self, size: u64) -> Vec<Vec<u8>> {
        let Some(path) = TilePath::at_size(TileKind::Entries, 0, size) else { return Vec::new() };
        let bundle = fs::read(self.folder.join(path.to_string())).unwrap();
        parse_entries(path, &bundle).unwrap().into_iter().map(<[u8]>::to_vec).collect()
    }

    /// Every index's inclusion proof at a size, as a `.tlog-proof` text that is read back.
    fn includes(&self, size: u64, index: u64, entry: &[u8]) -> bool {
        let Ok(hashes) = self.tiles(size).inclusion_proof(index) else { return false };
        let text = TlogProof { extra: None, index, hashes, checkpoint: self.note(size) }.to_string();
        text.parse::<TlogProof>().is_ok_and(|proof| proof.verify(entry, self.key).is_ok())
    }
}

#[test]
fn a_log_made_by_another_implementation_verifies() {
    let folder = folder();
    let Ok(vkey) = fs::read_to_string(folder.join("vkey")) else {
        println!("suite tlog: 1 cases, 0 passed, 0 failed, 1 skipped");
        println!(
            "suite tlog: skipped, because the suites are not there; name their folder in VERDICT_SUITES"
        );
        return;
    };
    let key: VerifierKey = vkey.trim_end().parse().unwrap();
    let log = Log { folder: &folder, key: &key };
    let mut count = Count { passed: 0, failed: 0 };
    let latest = fs::read_to_string(folder.join("checkpoint")).unwrap();
    count.case("the latest checkpoint is that of 15 entries", latest == log.note(15));
    let checkpoints: Vec<Checkpoint> =
        SIZES.map(|size| Checkpoint::verify(&log.note(size), &key).unwrap()).collect();
    for (new, size) in checkpoints.iter().zip(0u64..) {
        let root = log.tiles(size).root().unwrap();
        count.case(&format!("checkpoint {size}"), new.size == size && new.root == root);
        for old in &checkpoints[..size as usize] {
            let proof = log.tiles(size).consistency_proof(old.size).unwrap();
            let holds = tree::verify_consistency((old.size, &old.root), (new.size, &new.root), &proof);
            count.case(&format!("consistency of {} with {size}", old.size), holds.is_ok());
        }
        let entries = log.entries(size);
        let hashes: Vec<_> = entries.iter().map(|entry| tree::leaf_hash(entry)).collect();
        count.case(
            &format!("entries of {size}"),
            entries.len() as u64 == size && tree::root(&hashes) == new.root,
        );
        for (entry, index) in entries.iter().zip(0u64..) {
            count.case(&format!("inclusion of {index} in {size}"), log.includes(size, index, entry));
        }
    }
    let Count { passed, failed } = count;
    println!("suite tlog: {} cases, {passed} passed, {failed} failed, 0 skipped", passed + failed);
    // 1 latest, 16 checkpoints, 16 sets of entries, 120 pairs of sizes, and an inclusion proof for each entry of each size.
    assert_eq!((passed, failed), (1 + 16 + 16 + 120 + 120, 0));
}
