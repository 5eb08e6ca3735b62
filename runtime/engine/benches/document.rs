//! What the structural pass over a document costs, and what reading one value costs. `make bench` runs it. Prints a
//! JSON object a figure; on stderr, a line for each kind of document, with what serde_json takes for the same text.
//!
//! As in `decide.rs` everything is measured in turns, many times, and the lowest counts.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use verdict_core::pointer::Pointer;
use verdict_engine::{Document, DocumentLimits, Value};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUNDS: usize = 30;
/// So much text is parsed in a turn, but at least three documents and at most so many.
const TURN_BYTES: usize = 4 << 20;
const TURN_DOCUMENTS: usize = 5_000;
const READS: usize = 100_000;

const LIMITS: DocumentLimits = DocumentLimits { bytes_max: 16 << 20, depth_max: 128 };

fn main() -> Result<()> {
    let large = data(3_600);
    let documents = [
        ("tiny", tiny()),
        ("authorization", authorization().to_string()),
        ("admission review", admission_review().to_string()),
        ("admission review, indented", serde_json::to_string_pretty(&admission_review())?),
        ("data", large.clone()),
        ("data of one object", by_name(30_000)),
        ("messages", messages(1_500)),
        ("numbers", numbers(50_000)),
    ];
    for (name, text) in &documents {
        compare(name, text)?;
    }
    let seconds = fastest(&large, |bytes| black_box(Document::parse(bytes, &LIMITS)).is_ok())?;
    print("document.scan.gb_s", large.len() as f64 / seconds / 1e9, "GB/s");
    print("document.read.ns", read()? * 1e9, "ns");
    Ok(())
}

/// One line about a document: ours, then serde_json looking for mistakes only, then serde_json making values.
fn compare(name: &str, text: &str) -> Result<()> {
    let ours = fastest(text, |bytes| black_box(Document::parse(bytes, &LIMITS)).is_ok())?;
    let raw = fastest(text, |bytes| black_box(serde_json::from_slice::<&RawValue>(&bytes)).is_ok())?;
    let values = fastest(text, |bytes| black_box(serde_json::from_slice::<Json>(&bytes)).is_ok())?;
    let speed = |seconds: f64| text.len() as f64 / seconds / 1e9;
    eprintln!(
        "{name}: {} bytes, {:.0} ns, {:.3} GB/s; serde_json {:.3} GB/s unread, {:.3} GB/s read",
        text.len(),
        ours * 1e9,
        speed(ours),
        speed(raw),
        speed(values),
    );
    Ok(())
}

/// The seconds that `parse` takes for one document. The copies that it takes are made before.
fn fastest(text: &str, parse: impl Fn(Vec<u8>) -> bool) -> Result<f64> {
    let documents = (TURN_BYTES / text.len()).clamp(3, TURN_DOCUMENTS);
    let mut lowest = f64::MAX;
    for _ in 0..ROUNDS {
        let copies = vec![text.as_bytes().to_vec(); documents];
        let started = Instant::now();
        let parsed = copies.into_iter().map(&parse).filter(|parsed| *parsed).count();
        lowest = lowest.min(started.elapsed().as_secs_f64() / documents as f64);
        if parsed != documents {
            return Err("a document that was to be measured is refused".into());
        }
    }
    Ok(lowest)
}

/// The seconds that it takes to read a scalar three levels down in the admission review.
fn read() -> Result<f64> {
    let document = Document::parse(admission_review().to_string(), &LIMITS)?;
    let pointer: Pointer = "/request/object/kind".parse()?;
    if document.read(&pointer) != Some(Value::Text("Pod".into())) {
        return Err("not the value that was to be read".into());
    }
    let mut lowest = f64::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..READS {
            black_box(black_box(&document).read(black_box(&pointer)));
        }
        lowest = lowest.min(started.elapsed().as_secs_f64() / READS as f64);
    }
    Ok(lowest)
}

fn print(name: &str, value: f64, unit: &str) {
    println!(r#"{{"name": "{name}", "value": {value:.4}, "unit": "{unit}"}}"#);
}

/// 82 bytes.
fn tiny() -> String {
    r#"{"user":{"id":"u-1","roles":["clerk","admin"]},"action":"read","object":"doc:123"}"#.into()
}

/// A question of about 1 kB to an authorization policy, as a gateway asks it.
fn authorization() -> Json {
    json!({
        "subject": {"type": "user", "id": "user:4711", "properties": {
            "name": "Jörg Example", "email": "joerg.example@example.org", "department": "claims",
            "roles": ["clerk", "reviewer", "auditor"], "clearance": 3, "mfa": true,
            "session": {"id": "5f0c7a3e-8a8c-4a53-9d1f-1f0a6c3b2d10", "age_seconds": 532, "ip": "203.0.113.17"},
        }},
        "resource": {"type": "document", "id": "document:2026/claims/18823", "properties": {
            "owner": "user:1234", "classification": "confidential", "tags": ["claim", "medical", "open"],
            "amount": 18423.75, "currency": "EUR", "created": "2026-03-11T08:15:42Z", "archived": false,
        }},
        "action": {"name": "read", "properties": {"method": "GET", "path": "/v1/documents/18823"}},
        "context": {"time": "2026-06-01T09:30:00Z", "region": "eu-central-1", "trace":
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "headers": {"accept": "application/json",
            "user-agent": "example-client/4.2", "x-request-id": "b7ad6b71-6920-4fd5-8b3c-0a1f52b9a1c4"}},
    })
}

/// A Kubernetes AdmissionReview of about 10 kB: a pod with six containers.
fn admission_review() -> Json {
    let labels =
        json!({"app.kubernetes.io/name": "shop", "app.kubernetes.io/part-of": "storefront", "team": "blue"});
    let containers: Vec<Json> = (0..6).map(container).collect();
    let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:app.kubernetes.io/name": {}, "f:team": {}}},
        "f:spec": {"f:containers": {"k:{\"name\":\"shop-0\"}": {".": {}, "f:image": {}, "f:resources": {},
        "f:terminationMessagePath": {}}}, "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}}});
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "1299d386-525b-4032-98ae-1949f69f9cfc", "kind": kind, "resource": resource,
        "requestKind": kind, "requestResource": resource, "name": "shop-7d9c", "namespace": "storefront",
        "operation": "CREATE", "dryRun": false, "oldObject": null,
        "userInfo": {"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]},
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-client"},
        "object": {"kind": "Pod", "apiVersion": "v1", "metadata": {
            "name": "shop-7d9c", "namespace": "storefront", "uid": "04dc7a5e-e1f1-4e34-8d65-2c9337a43e64",
            "creationTimestamp": "2026-05-12T08:36:51Z", "labels": labels,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration":
                format!("{}\n", json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}}))},
            "managedFields": [{"manager": "kubectl-client", "operation": "Update", "apiVersion": "v1",
                "time": "2026-05-12T08:36:51Z", "fieldsType": "FieldsV1", "fieldsV1": fields}],
        }, "spec": {"containers": containers, "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst", "serviceAccountName": "shop", "schedulerName": "default-scheduler",
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300}],
            "priority": 0, "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority"},
        "status": {"phase": "Pending", "qosClass": "Burstable"}},
    }})
}

fn container(n: usize) -> Json {
    json!({
        "name": format!("shop-{n}"), "image": format!("registry.example.org/storefront/shop-{n}:2.{n}.17"),
        "args": ["--listen=0.0.0.0:8080", "--log=json"], "ports": [{"containerPort": 8080 + n, "protocol": "TCP"}],
        "env": [{"name": "REGION", "value": "eu-central-1"}, {"name": "LEVEL", "value": "info"}],
        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
        "volumeMounts": [{"name": "token", "readOnly": true, "mountPath": "/var/run/secrets/serviceaccount"}],
        "securityContext": {"runAsNonRoot": true, "privileged": n == 5, "capabilities": {"drop": ["ALL"]}},
        "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log",
    })
}

/// A tenant's data: objects with strings. 3,600 are about 1 MB.
fn data(users: usize) -> String {
    let user = |n: usize| {
        json!({
            "id": format!("user-{n:06}"), "name": format!("Jörg Example {n}"), "manager": format!("user-{:06}", n / 7),
            "email": format!("user{n}@example.org"), "department": format!("claims-{}", n % 17),
            "roles": ["clerk", format!("reviewer-{}", n % 5)], "active": !n.is_multiple_of(3), "clearance": n % 4,
            "address": {"street": format!("Long Street {n}"), "city": "Springfield", "zip": format!("{:05}", n * 7)},
        })
    };
    json!({"users": (0..users).map(user).collect::<Vec<_>>()}).to_string()
}

/// One object with so many members, not in order.
fn by_name(members: usize) -> String {
    let member = |n: usize| format!("\"user-{:06}\":[\"reviewer-{}\"]", n * 7_919 % 1_000_003, n % 10);
    format!("{{{}}}", (0..members).map(member).collect::<Vec<_>>().join(","))
}

/// Text in several scripts, with escapes.
fn messages(count: usize) -> String {
    let message = |n: usize| {
        json!({
            "id": 505_874_924_095_815_681_u64 + n as u64, "truncated": false, "in_reply_to": null,
            "text": format!("@user_{n} 名前:前田あゆみ\n第一印象:「なんか怖い」 → https://example.org/{n} \"ok\""),
            "user": {"name": "Ευρώπη Ünal", "followers_count": n * 37, "description": "1/2\\3 — plain words, for once"},
            "entities": {"urls": [], "hashtags": [{"text": "Straße", "indices": [n % 90, n % 90 + 6]}]},
        })
    };
    json!((0..count).map(message).collect::<Vec<_>>()).to_string()
}

/// Pairs of coordinates.
fn numbers(pairs: usize) -> String {
    let pair = |n: usize| {
        let n = n as f64;
        json!([n.mul_add(0.000_173, -65.613_616_999_999_98), n.sqrt()])
    };
    json!({"type": "Polygon", "coordinates": (0..pairs).map(pair).collect::<Vec<_>>()}).to_string()
}
