//! The decision cache with the policies of the library: over random changes of the questions that they are tested with,
//! and of their data, a host with a cache says what one without says.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use verdict::{CacheConfig, Cached, Config, Decision, Host, Log, Request};
use verdict_tests::server::{Site, root};

const POLICIES: [&str; 5] =
    ["agent-guardrail", "document-sharing", "kubernetes-admission", "loan-eligibility", "role-based-access"];
const ROUNDS: usize = 4;
const QUESTIONS: usize = 500;

/// A small generator (SplitMix64): the same questions on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }

    /// One small change somewhere in a document: a member goes, or a value becomes another one of `values`.
    fn change(&mut self, document: &mut Value, values: &[Value]) {
        match document {
            Value::Object(members) if !members.is_empty() && self.below(6) > 0 => {
                let name = members.keys().nth(self.below(members.len())).unwrap().clone();
                if self.below(8) == 0 {
                    members.remove(&name);
                } else {
                    self.change(&mut members[&name], values);
                }
            }
            Value::Array(items) if !items.is_empty() && self.below(6) > 0 => {
                let place = self.below(items.len());
                self.change(&mut items[place], values);
            }
            other => *other = values[self.below(values.len())].clone(),
        }
    }
}

/// The cases of a policy, and the data that they are about.
fn cases(policy: &str) -> (Vec<Value>, Map<String, Value>) {
    let (mut cases, mut data) = (Vec::new(), Map::new());
    for file in std::fs::read_dir(root().join("guest-policies/library").join(policy).join("cases")).unwrap() {
        let file: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        cases.extend(file["cases"].as_array().unwrap().iter().cloned());
        data.extend(file["data"].as_object().cloned().unwrap_or_default());
    }
    (cases, data)
}

/// Everything in a document that has nothing inside.
fn leaves(document: &Value, found: &mut Vec<Value>) {
    match document {
        Value::Object(members) if !members.is_empty() => {
            members.values().for_each(|value| leaves(value, found))
        }
        Value::Array(items) if !items.is_empty() => items.iter().for_each(|value| leaves(value, found)),
        leaf => found.push(leaf.clone()),
    }
}

fn host(site: &Site, state: &str, cache: Option<CacheConfig>) -> Host {
    let config = Config::new(site.path("policies"), site.path("keys/trust.json"), site.path(state));
    let data = Some(site.path("data"));
    Host::open(Config { data, cache, log: Log::Off, allow_decision_time: true, ..config }).unwrap()
}

fn question(random: &mut Random, policy: &str, cases: &[Value], values: &[Value]) -> Request {
    let case = &cases[random.below(cases.len())];
    let mut input = case["input"].clone();
    for _ in 0..random.below(3) {
        random.change(&mut input, values);
    }
    Request {
        policy: policy.parse().unwrap(),
        channel: None,
        rule: case["rule"].as_str().map(ToOwned::to_owned),
        input: input.to_string().into_bytes(),
        id: None,
        decision_time: case["decision_time"].as_str().map(|time| time.parse().unwrap()),
        caller: None,
    }
}

fn seen(decision: &Decision) -> Value {
    let result = match &decision.result {
        Ok(answer) => json!([answer.value, answer.reasons]),
        Err(fault) => json!(fault.code),
    };
    json!([result, decision.allow, decision.fuel, decision.reads, decision.memory_bytes_peak])
}

#[test]
fn the_policies_of_the_library_answer_alike_with_and_without_a_cache() {
    let site = Site::new(&POLICIES);
    let policies: BTreeSet<_> = POLICIES.iter().map(|name| name.parse().unwrap()).collect();
    let cache = CacheConfig { policies, bytes_max: 64 << 20, bytes_max_per_tenant: None };
    let (plain, cached) = (host(&site, "plain", None), host(&site, "cached", Some(cache)));
    let mut random = Random(1);
    let all: Vec<_> = POLICIES.iter().map(|name| (*name, cases(name))).collect();
    let mut data: Value = all.iter().flat_map(|(_, (_, data))| data.clone()).collect::<Map<_, _>>().into();
    let mut data_values = Vec::new();
    leaves(&data, &mut data_values);
    let mut hits = BTreeSet::new();
    for _ in 0..ROUNDS {
        std::fs::write(site.path("data/default.json"), data.to_string()).unwrap();
        [&plain, &cached].iter().for_each(|host| host.reload().unwrap());
        for (policy, (cases, _)) in &all {
            let mut values = Vec::new();
            cases.iter().for_each(|case| leaves(&case["input"], &mut values));
            for _ in 0..QUESTIONS {
                let request = question(&mut random, policy, cases, &values);
                let ask = |host: &Host| host.decide(request.clone()).unwrap().wait().unwrap();
                let (expected, found) = (ask(&plain), ask(&cached));
                assert_eq!(seen(&found), seen(&expected), "{policy}: {request:?}");
                hits.extend(matches!(found.cached, Cached::Hit { .. }).then_some(*policy));
            }
        }
        for _ in 0..3 {
            // The whole stays an object.
            let place = random.below(data.as_object().unwrap().len());
            let document = data.as_object_mut().unwrap().values_mut().nth(place).unwrap();
            random.change(document, &data_values);
        }
    }
    // What `loan-eligibility` says depends on the time.
    let expected: BTreeSet<_> = POLICIES.into_iter().filter(|name| *name != "loan-eligibility").collect();
    assert!(hits.is_superset(&expected), "{hits:?}");
}
