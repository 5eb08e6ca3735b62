//! Every policy of the library, asked all its cases in instances that are reset in place: each evaluation is compared
//! with the same in a new instance, and its state with the new one's, byte by byte.

use std::num::NonZeroU32;
use std::path::Path;

use serde_json::Value;
use serde_json::value::RawValue;
use verdict_core::artifact::{AdmittedArtifact, admit, verify};
use verdict_core::time::Timestamp;
use verdict_core::trust::{Seen, TrustPolicy};
use verdict_engine::{Compiler, Config, Document, DocumentLimits, Engine, Instances, Outcome, Policy, Query};
use verdict_registry::Layout;
use verdict_tests::server::{Site, root};

const LIBRARY: [&str; 6] = [
    "agent-guardrail",
    "document-sharing",
    "kubernetes-admission",
    "loan-eligibility",
    "role-based-access",
    "todo-access",
];

/// A question with what is known of its answer.
struct Case {
    name: String,
    rule: String,
    input: Document,
    data: Option<Document>,
    decision_time: Timestamp,
    value: Option<Value>,
    fault: Option<Value>,
    failure_code: Option<Value>,
}

fn document(json: &RawValue) -> Document {
    let limits = DocumentLimits { bytes_max: 64 << 20, ..DocumentLimits::default() };
    Document::parse(json.get(), &limits).unwrap()
}

fn cases(policy: &str) -> Vec<Case> {
    let folder = root().join("guest-policies/library").join(policy).join("cases");
    let mut paths: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().flat_map(|path| cases_of(path)).collect()
}

/// The cases of a file. Documents keep their text: `RawValue` does not read it.
fn cases_of(path: &Path) -> Vec<Case> {
    type Members<'a> = std::collections::BTreeMap<String, Box<RawValue>>;
    let text = std::fs::read_to_string(path).unwrap();
    let file: Members<'_> = serde_json::from_str(&text).unwrap();
    let cases: Vec<Members<'_>> = serde_json::from_str(file["cases"].get()).unwrap();
    let case = |case: Members<'_>| {
        let text = |member: &RawValue| serde_json::from_str::<String>(member.get()).unwrap();
        let expect: Value = serde_json::from_str(case["expect"].get()).unwrap();
        Case {
            name: text(&case["name"]),
            rule: text(&case["rule"]),
            input: document(&case["input"]),
            data: case.get("data").or_else(|| file.get("data")).map(|data| document(data)),
            decision_time: case
                .get("decision_time")
                .map_or(Timestamp::EPOCH, |time| text(time).parse().unwrap()),
            value: expect.get("value").cloned(),
            fault: expect.get("fault").cloned(),
            failure_code: expect.get("failure_code").cloned(),
        }
    };
    cases.into_iter().map(case).collect()
}

fn admitted(site: &Site, policy: &str) -> AdmittedArtifact {
    let trust = TrustPolicy::parse(&std::fs::read(site.path("keys/trust.json")).unwrap()).unwrap();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp::from_millis(since.as_millis().try_into().unwrap()).unwrap();
    let artifact = Layout::open(&site.path(&format!("policies/{policy}/oci"))).unwrap().fetch().unwrap();
    admit(verify(artifact, &trust, now).unwrap(), &trust, &Seen::default(), now).unwrap()
}

fn engine(instances: Instances) -> Engine {
    let mut config = Config::new(Compiler::InProcess);
    config.instances = instances;
    config.verify_reset = NonZeroU32::new(1);
    // The machine may be slow, and its speed is not what is tested.
    config.ceiling.wall_clock_ms = 60_000;
    Engine::new(config).unwrap()
}

fn ask(policy: &Policy, case: &Case) -> Outcome {
    let Case { rule, input, data, decision_time, .. } = case;
    policy.evaluate(&Query { rule, input, data: data.as_ref(), decision_time: *decision_time })
}

fn check(case: &Case, policy: &str, outcome: &Outcome, new: &Outcome) {
    let Case { name, value, fault, failure_code, .. } = case;
    assert_eq!(outcome.result, new.result, "{policy}: {name}");
    assert_eq!(outcome.fuel, new.fuel, "{policy}: {name}");
    assert_eq!(outcome.reads, new.reads, "{policy}: {name}");
    assert_eq!(outcome.log, new.log, "{policy}: {name}");
    assert_eq!(outcome.memory_bytes_peak, new.memory_bytes_peak, "{policy}: {name}");
    match &outcome.result {
        Ok(answer) => {
            assert!(fault.is_none() && failure_code.is_none(), "{policy}: {name}: {answer:?}");
            let answer = answer.value.as_deref().map(|value| serde_json::from_str::<Value>(value).unwrap());
            assert!(value.is_none() || *value == answer, "{policy}: {name}: {answer:?}");
        }
        Err(found) => {
            let code = Value::from(found.code.to_string());
            let policy_code = found.policy_code.clone().map(Value::from);
            assert!(value.is_none(), "{policy}: {name}: {found:?}");
            assert!(fault.as_ref().is_none_or(|fault| *fault == code), "{policy}: {name}: {found:?}");
            assert!(failure_code.is_none() || *failure_code == policy_code, "{policy}: {name}: {found:?}");
            assert!(fault.is_some() || failure_code.is_some(), "{policy}: {name}: {found:?}");
        }
    }
}

#[test]
fn every_policy_of_the_library_is_reset_in_place_and_is_as_new() {
    let site = Site::new(&LIBRARY);
    let new_engine = engine(Instances::New);
    let rounds = if std::env::var_os("VERDICT_FULL").is_some() { 50 } else { 3 };
    for kind in [Instances::Protected, Instances::Copied] {
        let engine = engine(kind);
        let mut asked = 0;
        for name in LIBRARY {
            let admitted = admitted(&site, name);
            let (policy, new) = (engine.load(&admitted).unwrap(), new_engine.load(&admitted).unwrap());
            assert_eq!(policy.new_instances_because(), None, "{name} under {kind:?}");
            assert!(new.new_instances_because().is_some());
            let cases = cases(name);
            assert!(cases.len() >= 10, "{name} has {} cases", cases.len());
            for round in 0..rounds {
                // From another case each time, so that each comes after several others.
                for number in 0..cases.len() {
                    let case = &cases[(number * 7 + round) % cases.len()];
                    check(case, name, &ask(&policy, case), &ask(&new, case));
                    asked += 1;
                }
            }
            assert_eq!(policy.new_instances_because(), None, "{name} under {kind:?}");
            assert!(engine.idle_bytes() > 0, "{name} under {kind:?}: no instance is kept");
        }
        let counts = engine.verification_counts();
        assert_eq!((counts.compared, counts.differed), (asked, 0), "{kind:?}");
        println!("{asked} evaluations under {kind:?}");
    }
}
