//! A verifier that shares no code with the ledger, on golang.org/x/mod: it says yes to our receipts and no to every
//! flipped bit.

mod ledger_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger_support::{config, key};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use verdict_ledger::{DirStorage, Ledger, LogName, TlogProof};

const INPUT: &str = r#"{"income": 52000}"#;
const ANSWER: &str = r#"{"eligible":true}"#;

/// The verifier, built once for all tests here. Only a machine without Go may skip.
fn verifier() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("verifier");
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verifier");
    let built = Command::new("go").args(["build", "-o"]).arg(&binary).arg(".").current_dir(source).output();
    match built {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: the independent verifier needs `go`, which is not installed");
            None
        }
        Err(error) => panic!("go build: {error}"),
        Ok(output) => {
            assert!(output.status.success(), "go build: {}", String::from_utf8_lossy(&output.stderr));
            Some(binary)
        }
    }
}

fn commitment(field: &str, salt: &[u8; 32], value: &str) -> String {
    let hash = Sha256::new().chain_update(format!("verdict-commitment/1:{field}\0")).chain_update(salt);
    STANDARD.encode(hash.chain_update(value).finalize())
}

struct Made {
    receipt: Value,
    vkey: String,
    /// The proof of a leaf that is no record.
    event: String,
}

/// A receipt for the record in the middle of a log of eleven.
fn receipt(folder: &Path) -> Made {
    let ledger = Ledger::open(Arc::new(DirStorage::open(folder).unwrap()), key(), config()).unwrap();
    let log: LogName = "default".parse().unwrap();
    let (input_salt, answer_salt) = ([1; 32], [2; 32]);
    let commitments = json!({
        "answer": commitment("answer", &answer_salt, ANSWER),
        "input": commitment("input", &input_salt, INPUT),
    });
    let record = json!({ "commitments": commitments, "format": "verdict-record/1" }).to_string();
    let event = json!({ "event": { "kind": "channel.changed", "number": 1 }, "format": "verdict-event/1" });
    for number in 0..11 {
        let leaf = match number {
            6 => record.clone(),
            7 => event.to_string(),
            _ => format!("another record {number}"),
        };
        ledger.append(&log, leaf.as_bytes(), b"").wait().unwrap();
    }
    ledger.publish().unwrap();
    let [proof, event] = [6, 7].map(|index| ledger.proof(&log, index).unwrap().unwrap().to_string());
    let openings = json!({
        "answer": { "salt": STANDARD.encode(answer_salt), "value": ANSWER },
        "input": { "salt": STANDARD.encode(input_salt) },
    });
    let vkey = ledger.verifier_key(&log).unwrap().to_string();
    Made {
        receipt: json!({ "format": "verdict-receipt/1", "proof": proof, "openings": openings }),
        vkey,
        event,
    }
}

/// A folder with the files of a call, and the verifier that reads them.
struct Calls<'a> {
    verifier: &'a Path,
    folder: &'a Path,
    vkey: &'a str,
}

impl Calls<'_> {
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn says(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(self.verifier).args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    fn yes(&self, receipt: &Value, more: &[&str]) -> String {
        let receipt = self.file("receipt.json", &receipt.to_string());
        let (code, said) = self.says(&[&[receipt.as_str(), self.vkey], more].concat());
        assert_eq!(code, Some(0), "{said}");
        said
    }

    fn no(&self, receipt: &Value, more: &[&str]) -> String {
        let receipt = self.file("receipt.json", &receipt.to_string());
        let (code, said) = self.says(&[&[receipt.as_str(), self.vkey], more].concat());
        assert_eq!(code, Some(1), "{said}");
        said
    }
}

#[test]
fn an_independent_verifier_says_yes_to_ours_and_no_to_every_flipped_bit() {
    let Some(verifier) = verifier() else { return };
    let folder = tempfile::tempdir().unwrap();
    let Made { receipt, vkey, event } = receipt(&folder.path().join("ledger"));
    let calls = Calls { verifier, folder: folder.path(), vkey: &vkey };
    let (input, answer) = (calls.file("input", INPUT), calls.file("answer", ANSWER));
    let said = calls.yes(&receipt, &["--input", &input, "--answer", &answer]);
    assert_eq!(said, "ok record 6 of 11; commitments checked: answer, input\n");
    assert_eq!(calls.yes(&receipt, &[]), "ok record 6 of 11; commitments checked: answer\n");

    let event = json!({ "format": "verdict-receipt/1", "proof": event, "openings": {} });
    assert!(calls.no(&event, &[]).contains("no record of a decision"));

    let proof = calls.file("a.tlog-proof", receipt["proof"].as_str().unwrap());
    assert_eq!(calls.says(&[&proof, &vkey]).0, Some(0), "a bare proof is enough");
    for path in [proof, calls.file("receipt.json", &receipt.to_string())] {
        let (code, said) = calls.says(&["flip", &path, &vkey]);
        assert_eq!(code, Some(0), "{said}");
        println!("{said}");
    }
}

#[test]
fn an_independent_verifier_says_no_to_another_input_answer_salt_record_or_key() {
    let Some(verifier) = verifier() else { return };
    let folder = tempfile::tempdir().unwrap();
    let Made { receipt, vkey, .. } = receipt(&folder.path().join("ledger"));
    let calls = Calls { verifier, folder: folder.path(), vkey: &vkey };
    let other = calls.file("other", r#"{"income": 52001}"#);
    let input = calls.file("input", INPUT);
    assert!(calls.no(&receipt, &["--input", &other]).contains("input is not what the record commits to"));
    assert!(calls.no(&receipt, &["--answer", &other]).contains("answer given is not the one in the receipt"));

    let mut changed = receipt.clone();
    changed["openings"]["answer"]["value"] = json!(r#"{"eligible":false}"#);
    calls.no(&changed, &[]);
    let mut changed = receipt.clone();
    changed["openings"]["input"]["salt"] = json!(STANDARD.encode([3; 32]));
    calls.no(&changed, &["--input", &input]);
    let mut changed = receipt.clone();
    changed["openings"]["fuel"] = json!({ "salt": STANDARD.encode([3; 32]), "value": "5" });
    assert!(calls.no(&changed, &[]).contains("no commitment to the fuel"));

    let mut changed = receipt.clone();
    let mut proof: TlogProof = receipt["proof"].as_str().unwrap().parse().unwrap();
    proof.extra = Some(b"another record 5".to_vec());
    changed["proof"] = json!(proof.to_string());
    calls.no(&changed, &[]);

    let stranger = verdict_ledger::SigningKey::generate([9; 32]).verifier_key("log.example/test/default");
    let calls = Calls { vkey: &stranger.unwrap().to_string(), ..calls };
    calls.no(&receipt, &[]);
}
