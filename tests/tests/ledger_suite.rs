//! A log that another implementation made (transparency-dev/tessera): read and verified from its files.

use std::fs;
use std::path::Path;

use verdict_ledger::tile::{TileError, TileKind, TilePath, TileTree, parse_entries};
use verdict_ledger::{Checkpoint, TlogProof, VerifierKey, tree};
use verdict_tests::suites::{self, Report};

const SIZES: std::ops::RangeInclusive<u64> = 0..=15;

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
    let Some(folder) = suites::folder("tlog") else { return };
    let vkey = fs::read_to_string(folder.join("vkey")).unwrap();
    let key: VerifierKey = vkey.trim_end().parse().unwrap();
    let log = Log { folder: &folder, key: &key };
    let mut report = Report::new("tlog");
    let mut case = |what: &str, holds: bool| report.check(what, holds, "it does not verify");
    let latest = fs::read_to_string(folder.join("checkpoint")).unwrap();
    case("the latest checkpoint is that of 15 entries", latest == log.note(15));
    let checkpoints: Vec<Checkpoint> =
        SIZES.map(|size| Checkpoint::verify(&log.note(size), &key).unwrap()).collect();
    for (new, size) in checkpoints.iter().zip(0u64..) {
        let root = log.tiles(size).root().unwrap();
        case(&format!("checkpoint {size}"), new.size == size && new.root == root);
        for old in &checkpoints[..size as usize] {
            let proof = log.tiles(size).consistency_proof(old.size).unwrap();
            let holds = tree::verify_consistency((old.size, &old.root), (new.size, &new.root), &proof);
            case(&format!("consistency of {} with {size}", old.size), holds.is_ok());
        }
        let entries = log.entries(size);
        let hashes: Vec<_> = entries.iter().map(|entry| tree::leaf_hash(entry)).collect();
        case(&format!("entries of {size}"), entries.len() as u64 == size && tree::root(&hashes) == new.root);
        for (entry, index) in entries.iter().zip(0u64..) {
            case(&format!("inclusion of {index} in {size}"), log.includes(size, index, entry));
        }
    }
    // 1 latest, 16 checkpoints, 16 sets of entries, 120 pairs of sizes, and a proof for each entry of each size.
    assert_eq!(report.cases(), 1 + 16 + 16 + 120 + 120);
    report.finish();
}
