//! Guests for the tests: small core modules in text, made components with the real contract, signed and admitted.
#![allow(dead_code, reason = "each test file uses its own part")]

use verdict_core::artifact::{AdmittedArtifact, UnverifiedArtifact, admit, verify};
use verdict_core::digest::Digest;
use verdict_core::key::SecretKey;
use verdict_core::manifest::{CONTRACT, FORMAT, Manifest};
use verdict_core::oci::{Image, World};
use verdict_core::outcome::FaultCode;
use verdict_core::refusal::Refusal;
use verdict_core::statement::sign_manifest;
use verdict_core::time::Timestamp;
use verdict_core::trust::{Author, Seen, TrustPolicy};
use verdict_engine::{Compiler, Config, Document, DocumentLimits, Engine, Outcome, Policy, Query};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub(crate) const CONTRACT_WIT: &str = include_str!("../../../../wit/policy.wit");
pub(crate) const WORLD: &str = "policy-with-all-capabilities";

/// The host functions that a guest may import, with their core types.
const IMPORTS: &[(&str, &str, &str)] = &[
    ("input", "read", "(param i32 i32 i32)"),
    ("input", "read-many", "(param i32 i32 i32)"),
    ("input", "keys", "(param i32 i32 i32)"),
    ("input", "json", "(param i32 i32 i32)"),
    ("data", "read", "(param i32 i32 i32)"),
    ("data", "read-many", "(param i32 i32 i32)"),
    ("data", "keys", "(param i32 i32 i32)"),
    ("data", "json", "(param i32 i32 i32)"),
    ("decision-time", "now", "(param i32)"),
    ("diagnostics", "log", "(param i32 i32 i32 i32)"),
];

/// A core module with memory, an allocator, and a `decide` of this body. `$answer` makes an answer of a text in memory
/// (pointer, length) and no reasons; `$true` answers `true`. Of the host's functions those are imported that the text
/// calls, as `$host.input.read` and so on. `items` are further items of the module. The guest's own memory is free from 64
/// to 1,000 and from 2,048 to 4,096.
pub(crate) fn module(items: &str, body: &str) -> String {
    let called = |function: &str| {
        let mut words = [items, body].into_iter().flat_map(|text| text.split([' ', ')', '\n']));
        words.any(|word| word == function)
    };
    let imports: String = IMPORTS
        .iter()
        .map(|(interface, name, ty)| (format!("$host.{interface}.{name}"), interface, name, ty))
        .filter(|(function, ..)| called(function))
        .map(|(function, interface, name, ty)| {
            format!("(import \"verdict:policy/{interface}@{CONTRACT}\" \"{name}\" (func {function} {ty}))\n")
        })
        .collect();
    let memory = if items.contains("(memory (") { "" } else { "(memory (export \"memory\") 2)" };
    format!(
        r#"(module
        {imports}
        {memory}
        (global $next (mut i32) (i32.const 4096))
        (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
          (local $at i32)
          (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                                  (i32.sub (i32.const 0) (local.get $align))))
          (global.set $next (i32.add (local.get $at) (local.get $size)))
          (local.get $at))
        (data (i32.const 0) "true")
        (func $answer (param $text i32) (param $length i32) (result i32)
          (i32.store8 (i32.const 1024) (i32.const 0))
          (i32.store8 (i32.const 1028) (i32.const 1))
          (i32.store (i32.const 1032) (local.get $text))
          (i32.store (i32.const 1036) (local.get $length))
          (i32.store (i32.const 1040) (i32.const 0))
          (i32.store (i32.const 1044) (i32.const 0))
          (i32.const 1024))
        (func $true (result i32) (call $answer (i32.const 0) (i32.const 4)))
        {items}
        (func (export "verdict:policy/decision@{CONTRACT}#decide") (param $rule i32) (param $rule_length i32) (result i32)
          {body}))"#
    )
}

/// A component of a core module, for a world of a package in WIT.
pub(crate) fn component_of(module: &str, wit: &str, world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("contract.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = wat::parse_str(module).unwrap_or_else(|error| panic!("{error}\n{module}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// A component with a `decide` of this body; see [`module`].
pub(crate) fn guest(items: &str, body: &str) -> Vec<u8> {
    component_of(&module(items, body), CONTRACT_WIT, WORLD)
}

/// A guest that answers with the value that it finds at `pointer` of its input, as JSON text; `null` if there is none.
pub(crate) fn echo(pointer: &str) -> Vec<u8> {
    let items = format!(r#"(data (i32.const 64) "{pointer}") (data (i32.const 8) "null")"#);
    let length = pointer.len();
    guest(
        &items,
        &format!(
            "(call $host.input.json (i32.const 64) (i32.const {length}) (i32.const 2048))
             (if (result i32) (i32.load8_u (i32.const 2048))
               (then (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056))))
               (else (call $answer (i32.const 8) (i32.const 4))))"
        ),
    )
}

pub(crate) fn engine() -> Engine {
    Engine::new(Config::new(Compiler::InProcess)).unwrap()
}

pub(crate) fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// A manifest with one rule, `rule`, and these members besides.
pub(crate) fn manifest(component: &[u8], members: serde_json::Value) -> Manifest {
    let mut json = serde_json::json!({
        "format": FORMAT, "policy": "test", "version": "1.0.0", "contract": CONTRACT,
        "component": Digest::of(component), "rules": [{"name": "rule"}],
    });
    json.as_object_mut().unwrap().append(&mut members.as_object().unwrap().clone());
    Manifest::parse(json.to_string().as_bytes()).unwrap()
}

/// Signs and admits, as an author and a host would.
pub(crate) fn admitted(component: &[u8], members: serde_json::Value) -> AdmittedArtifact {
    let manifest = manifest(component, members);
    let key = SecretKey::from_seed([7; 32]);
    let image = Image::new(component, World::default(), &manifest.policy, &manifest.version).unwrap();
    let statement = sign_manifest(&manifest, Digest::of(&image.manifest), &key).unwrap();
    let author = Author {
        person: "author".into(),
        public: key.public(),
        policies: vec!["default/*".parse().unwrap()],
        not_before: None,
        not_after: None,
    };
    let trust = TrustPolicy::new(1, "2027-01-01T00:00:00Z".parse().unwrap(), vec![author]).unwrap();
    let artifact = UnverifiedArtifact {
        reference: "here".into(),
        manifest_bytes: image.manifest,
        config: image.config,
        component: component.to_vec(),
        statements: vec![statement.render().into_bytes()],
    };
    admit(verify(artifact, &trust, now()).unwrap(), &trust, &Seen::default(), now()).unwrap()
}

pub(crate) fn try_load(
    engine: &Engine,
    component: &[u8],
    members: serde_json::Value,
) -> Result<Policy, Refusal> {
    engine.load(&admitted(component, members))
}

pub(crate) fn load(engine: &Engine, component: &[u8], members: serde_json::Value) -> Policy {
    try_load(engine, component, members).unwrap()
}

pub(crate) fn document(json: &str) -> Document {
    Document::parse(json, &DocumentLimits::default()).unwrap()
}

pub(crate) fn ask_with(policy: &Policy, input: &str, data: Option<&str>) -> Outcome {
    let (input, data) = (document(input), data.map(document));
    policy.evaluate(&Query { rule: "rule", input: &input, data: data.as_ref(), decision_time: now() })
}

pub(crate) fn ask(policy: &Policy, input: &str) -> Outcome {
    ask_with(policy, input, None)
}

/// The answer's value.
pub(crate) fn value(outcome: &Outcome) -> Option<&str> {
    outcome.result.as_ref().unwrap().value.as_deref()
}

/// The fault's class and message.
pub(crate) fn fault(outcome: &Outcome) -> (FaultCode, &str) {
    let fault = outcome.result.as_ref().unwrap_err();
    (fault.code, &fault.message)
}
