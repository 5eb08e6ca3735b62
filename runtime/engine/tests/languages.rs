//! Policies in other languages, all with the same rules (`tests/languages`): they answer alike, and an instance of theirs
//! that was reset in place is a new one, whatever their runtimes keep in memory. Those that were built are tested
//! (`make languages`); the others are named.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod support;

use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock, OnceLock};
use std::{fs, thread};

use serde_json::{Value, json};
use support::{document, load};
use verdict_core::limits::Limits;
use verdict_core::outcome::{Answer, Fault, FaultCode, Reason};
use verdict_engine::{
    CompileCache, Compiler, Config, Document, Engine, Instances, Outcome, Policy, Query, ReadSet,
};

const BUILT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/languages");
/// Inputs of every run, besides those of the table.
const RANDOM_INPUTS: usize = 320;
const KINDS: [Instances; 3] = [Instances::Protected, Instances::Copied, Instances::New];
const POINTERS: [&str; 4] = ["/user/role", "/user/name", "/resource/owner", "/action"];

/// One language's policy under each kind of instances.
struct Language {
    bytes: usize,
    imports: Vec<String>,
    memory_bytes_initial: u64,
    hosts: [(Instances, Engine, Policy); 3],
}

/// The default limits, on a machine that may be busy with other things.
fn ceiling() -> Limits {
    Limits { wall_clock_ms: 60_000, ..Limits::default() }
}

/// Compiled once for all three engines.
static CACHE: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fn engine(instances: Instances, verify_reset: u32) -> Engine {
    let mut config = Config::new(Compiler::InProcess);
    config.ceiling = ceiling();
    config.concurrency = 8;
    config.instances = instances;
    config.verify_reset = NonZeroU32::new(verify_reset);
    config.cache = Some(CompileCache { dir: CACHE.path().into(), key: [5; 32] });
    Engine::new(config).unwrap()
}

fn rules() -> Value {
    json!({"rules": [{"name": "allow"}, {"name": "leak"}]})
}

impl Language {
    /// None, and a word about it, if it was not built.
    fn built(name: &str) -> Option<Self> {
        let Ok(component) = fs::read(format!("{BUILT}/{name}/policy.wasm")) else {
            eprintln!("skipped: the policy in {name} was not built (bash tests/languages/build.sh {name})");
            return None;
        };
        let hosts = KINDS.map(|kind| {
            let engine = engine(kind, 0);
            let policy = load(&engine, &component, rules());
            (kind, engine, policy)
        });
        let found = hosts[0].1.inspect(&component).unwrap();
        let (imports, memory_bytes_initial) = (found.imports, found.memory_bytes_initial);
        Some(Self { bytes: component.len(), imports, memory_bytes_initial, hosts })
    }

    fn policy(&self, kind: Instances) -> &Policy {
        &self.hosts.iter().find(|(this, ..)| *this == kind).unwrap().2
    }
}

fn evaluate(policy: &Policy, rule: &str, input: &Document) -> Outcome {
    let decision_time = "2026-06-01T00:00:00Z".parse().unwrap();
    policy.evaluate(&Query { rule, input, data: None, decision_time })
}

#[derive(Debug, Clone, PartialEq)]
struct Comparable(Result<Answer, Fault>, u64, u64, ReadSet);

fn comparable(outcome: Outcome) -> Comparable {
    Comparable(outcome.result, outcome.fuel, outcome.memory_bytes_peak, outcome.reads)
}

/// The rules, once more, in this language.
fn expected(input: &Value) -> Result<Answer, (FaultCode, String, String)> {
    let [role, user, owner, action] = POINTERS.map(|pointer| input.pointer(pointer).and_then(Value::as_str));
    let Some(action) = action else {
        return Err((FaultCode::InvalidInput, "no-action".into(), "/action".into()));
    };
    let (allowed, code, message, pointers) = match (role, user) {
        (Some("admin"), _) => {
            (true, "admin", format!("{} is an administrator", user.unwrap_or("nobody")), &POINTERS[..1])
        }
        (_, Some(user)) if owner == Some(user) => {
            (true, "owner", format!("{user} owns the resource"), &POINTERS[1..3])
        }
        _ if action == "read" => (true, "read", "everyone may read".into(), &POINTERS[3..]),
        _ => (false, "no-rule", format!("{action} is for the owner"), &POINTERS[1..]),
    };
    let reason = Reason {
        code: code.into(),
        message,
        pointers: pointers.iter().map(|pointer| (*pointer).to_owned()).collect(),
        reference: None,
        rule: Some("allow".into()),
    };
    Ok(Answer { value: Some(allowed.to_string()), reasons: vec![reason] })
}

/// One of each outcome, and what a binding may trip over.
fn table() -> Vec<Value> {
    let input = |role: Value, name: Value, owner: Value, action: Value| json!({"user": {"name": name, "role": role}, "action": action, "resource": {"owner": owner}});
    vec![
        input("admin".into(), "ann".into(), "bob".into(), "write".into()),
        input("clerk".into(), "bob".into(), "bob".into(), "write".into()),
        input("clerk".into(), "ann".into(), "bob".into(), "read".into()),
        input("clerk".into(), "ann".into(), "bob".into(), "write".into()),
        input("admin".into(), Value::Null, "bob".into(), "write".into()),
        input(Value::Null, "".into(), "".into(), "".into()),
        input("Admin".into(), "Zoë \u{1F980}".into(), "Zoë \u{1F980}".into(), "löschen".into()),
        input(1.5.into(), true.into(), true.into(), "read ".into()),
        input("admin".into(), "\u{0}\"\\/\n".into(), "".into(), "x".into()),
        input("clerk".into(), json!({"a": 1}), json!([1]), "write".into()),
        input("clerk".into(), "ann".into(), "ann".into(), 7.into()),
        json!({"action": "read"}),
        json!({"user": "ann", "action": "write"}),
        json!({}),
        json!([]),
        json!("text"),
    ]
}

/// Random, but the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn text(&mut self) -> String {
        let letters = ["a", "b", "é", "\u{1F980}", "\"", "\\", "\n", "0", " "];
        let length = [1, 2, 8, 100, 1_000][self.below(5)];
        (0..length).map(|_| letters[self.below(letters.len())]).collect()
    }

    fn value(&mut self, usual: &[&str]) -> Value {
        match self.below(10) {
            0 => self.text().into(),
            1 => [Value::Null, true.into(), 12.into(), json!([]), json!({"a": "b"})][self.below(5)].clone(),
            _ => usual[self.below(usual.len())].into(),
        }
    }

    fn input(&mut self) -> Value {
        let mut input = json!({
            "user": {"name": self.value(&["ann", "bob", "Zoë"]), "role": self.value(&["admin", "clerk", "guest"])},
            "action": self.value(&["read", "write", "delete"]),
            "resource": {"owner": self.value(&["ann", "bob", "Zoë"])},
        });
        let missing = ["user", "action", "resource", "", "", "", "", ""][self.below(8)];
        input.as_object_mut().unwrap().remove(missing);
        input
    }
}

fn inputs(seed: u64) -> Vec<Value> {
    let mut random = Random(seed);
    table().into_iter().chain((0..RANDOM_INPUTS).map(|_| random.input())).collect()
}

fn documents(inputs: &[Value]) -> Vec<Document> {
    inputs.iter().map(|input| document(&input.to_string())).collect()
}

fn answers_as_the_rules_say(language: &Language) {
    assert_eq!(language.imports, ["verdict:policy/input@0.1.0"]);
    let inputs = inputs(1);
    for (kind, _, policy) in &language.hosts {
        for (input, document) in inputs.iter().zip(documents(&inputs)) {
            let outcome = evaluate(policy, "allow", &document);
            let result = outcome.result.map_err(|fault| {
                (fault.code, fault.policy_code.unwrap_or(fault.message), fault.pointer.unwrap_or_default())
            });
            assert_eq!(result, expected(input), "{kind:?}: {input}");
            let reads: Vec<_> = outcome.reads.iter().map(|read| (read.pointer, read.absent)).collect();
            let must = POINTERS.map(|pointer| (pointer, input.pointer(pointer).is_none()));
            assert_eq!(reads, must, "{kind:?}: {input}");
        }
    }
}

/// Two threads, each with its own order: what came before and what runs beside makes no difference.
fn comes_out_as_in_a_new_instance(language: &Language) {
    let documents = documents(&inputs(2));
    let new = language.policy(Instances::New);
    let new: Vec<_> = documents.iter().map(|input| comparable(evaluate(new, "allow", input))).collect();
    let grown = new.iter().filter(|outcome| outcome.2 > language.memory_bytes_initial).count();
    let fuels: std::collections::BTreeSet<u64> = new.iter().map(|outcome| outcome.1).collect();
    let because = language.policy(Instances::Protected).new_instances_because();
    println!(
        "{} bytes, {} of memory, grown in {grown} of {} decisions, {} values of fuel, {}",
        language.bytes,
        language.memory_bytes_initial,
        new.len(),
        fuels.len(),
        because.map_or("reset in place".to_owned(), |because| format!("new instances: {because}")),
    );
    assert!(because.is_none() || !cfg!(target_os = "linux"), "{because:?}");
    assert_eq!(grown, 0, "a memory that grows cannot be reset: give the heap its size at build time");
    for kind in KINDS {
        let policy = language.policy(kind);
        thread::scope(|scope| {
            for turn in [7, documents.len() - 7] {
                let (documents, new) = (&documents, &new);
                scope.spawn(move || {
                    for n in 0..documents.len() {
                        let n = n * turn % documents.len();
                        let outcome = comparable(evaluate(policy, "allow", &documents[n]));
                        assert_eq!(outcome, new[n], "{kind:?}: {}", documents[n].text());
                    }
                });
            }
        });
    }
}

/// Its rule `leak` counts its calls wherever the language keeps something, and finds one each time.
fn a_leak_leaks_nothing(language: &Language) {
    let inputs = documents(&inputs(3)[..40]);
    let first = comparable(evaluate(language.policy(Instances::New), "leak", &inputs[0]));
    let traces: Vec<u64> = serde_json::from_str(first.0.as_ref().unwrap().value.as_ref().unwrap()).unwrap();
    assert!(traces.len() >= 3 && traces.iter().all(|trace| *trace == 1), "{traces:?}");
    for kind in KINDS {
        for input in &inputs {
            assert_eq!(comparable(evaluate(language.policy(kind), "leak", input)), first, "{kind:?}");
            let _ = evaluate(language.policy(kind), "allow", input);
        }
    }
}

/// Every byte of memory, every global and every table is compared by the engine itself, before and after the answer.
fn the_engine_finds_no_difference(name: &str) {
    let component = fs::read(format!("{BUILT}/{name}/policy.wasm")).unwrap();
    let inputs = documents(&inputs(4)[..60]);
    for kind in [Instances::Protected, Instances::Copied] {
        let engine = engine(kind, 3);
        let policy = load(&engine, &component, rules());
        let resets = policy.new_instances_because().is_none();
        for (n, input) in inputs.iter().enumerate() {
            evaluate(&policy, if n % 4 == 0 { "leak" } else { "allow" }, input);
        }
        let counts = engine.verification_counts();
        assert_eq!(counts.differed, 0, "{kind:?}: {:?}", policy.new_instances_because());
        assert_eq!(counts.compared, if resets { 20 } else { 0 }, "{kind:?}");
    }
}

macro_rules! languages {
    ($($language:ident)*) => { $(mod $language {
        use super::*;

        fn built() -> Option<Arc<Language>> {
            static BUILT: OnceLock<Option<Arc<Language>>> = OnceLock::new();
            BUILT.get_or_init(|| Language::built(stringify!($language)).map(Arc::new)).clone()
        }

        #[test]
        fn answers_as_the_rules_say() {
            built().iter().for_each(|language| super::answers_as_the_rules_say(language));
        }

        #[test]
        fn comes_out_as_in_a_new_instance() {
            built().iter().for_each(|language| super::comes_out_as_in_a_new_instance(language));
        }

        #[test]
        fn a_leak_leaks_nothing() {
            built().iter().for_each(|language| super::a_leak_leaks_nothing(language));
        }

        #[test]
        fn the_engine_finds_no_difference() {
            built().iter().for_each(|_| super::the_engine_finds_no_difference(stringify!($language)));
        }
    })* };
}

languages! { assemblyscript c cpp go javascript python rego typescript zig }

/// A language with sources but without tests would go unnoticed.
#[test]
fn every_language_with_sources_is_tested() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/languages");
    let this = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/languages.rs")).unwrap();
    let tested = this.lines().find(|line| line.starts_with("languages! {")).unwrap();
    for folder in fs::read_dir(sources).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        let name = folder.file_name().into_string().unwrap();
        assert!(name == "tool" || tested.split(' ').any(|word| word == name), "`{name}` is not tested");
    }
}
