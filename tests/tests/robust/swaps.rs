//! Versions that are swapped under load.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bank::Bank;
use crate::client::{Client, while_asking};
use crate::{is_full, log};

const DECIDE: &str = "/v1/tenants/bank/policies/loan/decide";
const BATCH: &str = "/v1/tenants/bank/policies/loan/batch";

/// What was told of a decision: its id, version and component.
type Told = (String, String, String);

/// Checks that a decision is all of one version, and notes it.
fn note(decision: &Value, told: &mut Vec<Told>) {
    let said = |member: &str| decision[member].as_str().unwrap_or_default().to_owned();
    assert_eq!(decision["value"], decision["version"], "a version answers what another is: {decision}");
    assert_eq!(decision["recorded"], true, "{decision}");
    told.push((said("decision_id"), said("version"), said("component")));
}

/// One client in three asks many at once. Each item is asked of the version that is active then: a batch may have
/// both, and each item is of the one that it names.
fn ask(number: usize, client: &mut Client, told: &mut Vec<Told>) {
    if number % 3 == 2 {
        let batch = json!({ "input": {"shared": 1}, "items": vec![json!({"input": {"own": 2}}); 16] });
        let (status, answer) = client.post(BATCH, &batch.to_string());
        assert_eq!(status, 200, "{answer}");
        let items = answer["items"].as_array().unwrap();
        assert_eq!(items.len(), 16);
        items.iter().for_each(|item| note(&item["decision"], told));
    } else {
        let (status, answer) = client.post(DECIDE, r#"{"input": {}}"#);
        assert_eq!(status, 200, "{answer}");
        note(&answer, told);
    }
}

/// 1,000 times where everything is run.
#[test]
fn no_question_fails_and_no_decision_is_mixed_while_versions_are_swapped() {
    let swaps = if is_full() { 1_000 } else { 60 };
    let bank = Bank::new();
    let releases = ["1.0.0", "2.0.0"].map(|version| bank.publish_answer(version, &format!("{version:?}")));
    bank.activate(1, &releases[0]);
    let server = bank.serve(&["--log", "buffered"]);
    let (told, ()) = while_asking(&server.address, 6, ask, || {
        let mut client = Client::new(&server.address);
        for sequence in 2..swaps + 2 {
            let release = &releases[usize::try_from(sequence + 1).unwrap() % 2];
            bank.activate(sequence, release);
            server.signal("HUP");
            let began = Instant::now();
            loop {
                let (status, answer) = client.post(DECIDE, r#"{"input": {}}"#);
                assert_eq!((status, &answer["value"]), (200, &answer["version"]), "{answer}");
                if answer["version"] == release.version.to_string() {
                    break;
                }
                assert!(began.elapsed() < Duration::from_secs(60), "{sequence} is not taken up: {answer}");
            }
        }
    });
    let components: BTreeSet<_> = told.iter().map(|(_, version, component)| (version, component)).collect();
    assert_eq!(components.len(), 2, "each version has its component: {components:?}");
    let records = log::records(&server, "bank", told.iter().map(|(id, ..)| id.as_str()));
    for (id, version, component) in &told {
        let record = &records[id];
        assert_eq!(
            (&record["version"], &record["component"]),
            (&json!(version), &json!(component)),
            "{record}"
        );
        let is_even = record["channel"]["sequence"].as_u64().unwrap().is_multiple_of(2);
        assert_eq!(is_even, version == "2.0.0", "the channel's state is that of the version: {record}");
    }
    println!("{swaps} swaps, {} decisions", told.len());
    assert!(server.stop());
}
