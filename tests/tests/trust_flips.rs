//! A changed byte anywhere in a signed artifact is refused, or changes nothing of what is admitted.

mod trust_support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use verdict_core::artifact::AdmittedArtifact;
use verdict_core::refusal::RefusalCode;

use trust_support::*;

/// One changes a digit or a letter, the other the case of a letter.
const MASKS: [u8; 2] = [0x01, 0x20];

/// Everything that an admission says, but where it is from.
fn admission(artifact: &AdmittedArtifact) -> String {
    format!(
        "{:?} {:?} {} {} {:?} {}",
        artifact.manifest(),
        artifact.component(),
        artifact.oci_digest(),
        artifact.statement_digest(),
        artifact.signers(),
        artifact.until(),
    )
}

fn code(folder: &Path) -> RefusalCode {
    admitted_from(folder).unwrap_err().code
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn no_changed_byte_of_a_layout_changes_what_is_admitted() {
    let temporary = tempfile::tempdir().unwrap();
    signed(temporary.path());
    let expected = admission(&admitted_from(temporary.path()).unwrap());
    let files = files(temporary.path());
    assert_eq!(files.len(), 9, "two files, the component, and six documents about it: {files:?}");
    let mut refused: BTreeMap<RefusalCode, usize> = BTreeMap::new();
    let mut harmless = BTreeSet::new();
    for path in &files {
        let good = fs::read(path).unwrap();
        for (position, mask) in (0..good.len()).flat_map(|position| MASKS.map(|mask| (position, mask))) {
            let mut bad = good.clone();
            bad[position] ^= mask;
            fs::write(path, &bad).unwrap();
            match admitted_from(temporary.path()) {
                Err(refusal) => *refused.entry(refusal.code).or_default() += 1,
                Ok(admitted) => {
                    assert_eq!(admission(&admitted), expected, "{} at {position}", path.display());
                    harmless.insert(path.file_name().unwrap().to_owned());
                }
            }
        }
        fs::write(path, &good).unwrap();
    }
    // Only the index has bytes that mean nothing here: a tag is a name, and nothing is decided by it.
    assert_eq!(harmless, BTreeSet::from(["index.json".into()]));
    for code in [RefusalCode::DigestMismatch, RefusalCode::MalformedArtifact, RefusalCode::Unsigned] {
        assert!(refused.contains_key(&code), "{refused:?}");
    }
    admitted_from(temporary.path()).unwrap();
}

#[test]
fn no_file_of_a_layout_can_be_cut_or_left_out() {
    let temporary = tempfile::tempdir().unwrap();
    signed(temporary.path());
    for path in files(temporary.path()) {
        let good = fs::read(&path).unwrap();
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert!(admitted_from(temporary.path()).is_err(), "{} cut to {length}", path.display());
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(code(temporary.path()), RefusalCode::Unreadable, "{}", path.display());
        fs::write(&path, &good).unwrap();
    }
}

/// Without the registry's own checks, as if a registry lied about every digest.
#[test]
fn no_changed_byte_of_a_fetched_artifact_is_admitted() {
    let good = artifact();
    let parts: [fn(&mut verdict_core::artifact::UnverifiedArtifact) -> &mut Vec<u8>; 4] = [
        |artifact| &mut artifact.manifest_bytes,
        |artifact| &mut artifact.config,
        |artifact| &mut artifact.component,
        |artifact| &mut artifact.statements[0],
    ];
    admitted(good.clone()).unwrap();
    for part in parts {
        let length = part(&mut good.clone()).len();
        for (position, mask) in (0..length).flat_map(|position| MASKS.map(|mask| (position, mask))) {
            let mut bad = good.clone();
            part(&mut bad)[position] ^= mask;
            assert!(admitted(bad).is_err(), "byte {position} of {length}");
        }
    }
}

#[test]
fn a_layout_that_leads_elsewhere_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let (folder, elsewhere) = (temporary.path().join("layout"), temporary.path().join("elsewhere"));
    signed(&folder);
    for path in files(&folder) {
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&elsewhere, &good).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(code(&folder), RefusalCode::Unreadable, "{}", path.display());
        fs::remove_file(&path).unwrap();
        // A hole of 40 MiB costs nothing to make.
        fs::File::create(&path).unwrap().set_len(40 << 20).unwrap();
        assert_eq!(code(&folder), RefusalCode::TooLarge, "{}", path.display());
        fs::write(&path, &good).unwrap();
    }
    admitted_from(&folder).unwrap();
}
