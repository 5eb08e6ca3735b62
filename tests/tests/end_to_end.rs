//! The whole path through the real binary: build, sign, serve, ask, kill, restart, prove, replay.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use verdict_tests::server::{Server, Site, copy, root, text, verdict, verdict_ok};

const RBAC: &str = "role-based-access";
const QUESTION: &str = r#"{"input": {"user": "bob", "action": "update", "type": "cat"}}"#;

/// How many rounds a test that repeats itself runs.
fn rounds(brief: usize, full: usize) -> usize {
    if std::env::var_os("VERDICT_FULL").is_some() { full } else { brief }
}

fn receipt(server: &Server, id: &str, site: &Site) -> std::path::PathBuf {
    let path = site.path(&format!("{id}.receipt.json"));
    std::fs::write(&path, server.bytes(&format!("/v1/tenants/default/decisions/{id}/receipt"))).unwrap();
    path
}

#[test]
fn a_signed_policy_answers_and_the_answer_is_proved_and_replayed() {
    let site = Site::new(&[RBAC]);
    let server = site.serve(&[]);
    let (status, first) = server.decide(RBAC, &QUESTION.replace("{\"input\"", "{\"id\": \"d-1\", \"input\""));
    assert_eq!((status, &first["allow"], &first["recorded"]), (200, &json!(true), &json!(true)), "{first}");
    assert_eq!(first["reasons"][0]["code"], "granted");
    assert!(first["fuel"].as_u64().unwrap() > 0);

    let input = site.path("input.json");
    std::fs::write(&input, r#"{"user": "bob", "action": "update", "type": "cat"}"#).unwrap();
    let receipt = receipt(&server, "d-1", &site);
    let key = site.path("state/keys/default.vkey");
    let verify = ["receipt", "verify", text(&receipt), "--log-key", text(&key), "--input", text(&input)];
    verdict_ok(&verify);

    // Another input, another answer: no.
    std::fs::write(site.path("other.json"), r#"{"user": "bob", "action": "update", "type": "dog"}"#).unwrap();
    let other = site.path("other.json");
    let output =
        verdict(&["receipt", "verify", text(&receipt), "--log-key", text(&key), "--input", text(&other)]);
    assert!(!output.status.success());

    // By anyone, from what anyone can hold.
    let replay = verdict_ok(&[
        "--json",
        "replay",
        "--receipt",
        text(&receipt),
        "--input",
        text(&input),
        "--artifact",
        text(&site.path("policies/role-based-access")),
        "--data",
        text(&site.path("data/default.json")),
    ]);
    let replay: Value = serde_json::from_str(&replay).unwrap();
    assert_eq!(replay["identical"], true, "{replay}");

    // From the node's own state, once nobody runs on it.
    assert!(server.stop());
    let replay = verdict_ok(&["--json", "replay", "d-1", "--state", text(&site.path("state"))]);
    assert_eq!(serde_json::from_str::<Value>(&replay).unwrap()["identical"], true, "{replay}");
}

#[test]
fn replay_says_no_to_another_input_and_another_artifact() {
    let site = Site::new(&[RBAC, "loan-eligibility"]);
    let server = site.serve(&[]);
    server.decide(RBAC, &QUESTION.replace("{\"input\"", "{\"id\": \"d-1\", \"input\""));
    let receipt = receipt(&server, "d-1", &site);
    let (input, other) = (site.path("input.json"), site.path("other.json"));
    std::fs::write(&input, r#"{"user": "bob", "action": "update", "type": "cat"}"#).unwrap();
    std::fs::write(&other, r#"{"user": "eve", "action": "update", "type": "cat"}"#).unwrap();
    let replay = |input: &Path, artifact: &str, data: &Path| {
        let artifact = site.path(&format!("policies/{artifact}"));
        verdict(&[
            "replay",
            "--receipt",
            text(&receipt),
            "--input",
            text(input),
            "--artifact",
            text(&artifact),
            "--data",
            text(data),
        ])
        .status
        .success()
    };
    let data = site.path("data/default.json");
    assert!(replay(&input, RBAC, &data));
    assert!(!replay(&other, RBAC, &data));
    assert!(!replay(&input, "loan-eligibility", &data));
    assert!(!replay(&input, RBAC, &other));
}

#[test]
fn a_decision_survives_kill_9_and_its_id_keeps_standing_for_it() {
    let site = Site::new(&[RBAC]);
    let server = site.serve(&[]);
    let question = QUESTION.replace("{\"input\"", "{\"id\": \"order-7\", \"input\"");
    let (_, first) = server.decide(RBAC, &question);
    server.kill();

    let server = site.serve(&[]);
    let (status, again) = server.decide(RBAC, &question);
    assert_eq!((status, &again["repeated"]), (200, &json!(true)));
    for member in ["value", "reasons", "fuel", "decision_time", "received_at", "component", "allow"] {
        assert_eq!(first[member], again[member], "{member}");
    }
    let (status, found) = server.get("/v1/tenants/default/decisions/order-7");
    assert_eq!((status, &found["value"]), (200, &first["value"]));

    // The same id for another question.
    let (status, conflict) = server.decide(RBAC, &question.replace("bob", "eve"));
    assert_eq!((status, &conflict["error"]["code"]), (409, &json!("id-conflict")));
    let path = receipt(&server, "order-7", &site);
    verdict_ok(&["receipt", "verify", text(&path), "--log-key", text(&site.path("state/keys/default.vkey"))]);
}

#[test]
fn no_acknowledged_decision_is_lost_by_kill_9_under_load() {
    let site = Arc::new(Site::new(&[RBAC]));
    let acknowledged: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    for round in 0..rounds(3, 25) {
        let server = Arc::new(site.serve(&[]));
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
                let acknowledged = Arc::clone(&acknowledged);
                std::thread::spawn(move || {
                    for number in 0..100_000 {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let id = format!("r{round}-c{client}-{number}");
                        let question =
                            QUESTION.replace("{\"input\"", &format!("{{\"id\": \"{id}\", \"input\""));
                        match server.try_decide(RBAC, &question) {
                            Some((200, answer)) => acknowledged.lock().unwrap().push((id, answer)),
                            _ => return,
                        }
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(200 + 137 * round as u64 % 900));
        let killed =
            std::process::Command::new("kill").args(["-9", &server.id().to_string()]).status().unwrap();
        assert!(killed.success());
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    }
    let acknowledged = acknowledged.lock().unwrap();
    assert!(acknowledged.len() > 20, "only {} decisions were acknowledged", acknowledged.len());
    let server = site.serve(&[]);
    for (id, first) in acknowledged.iter() {
        let (status, found) = server.get(&format!("/v1/tenants/default/decisions/{id}"));
        assert_eq!(status, 200, "`{id}` was acknowledged and is lost");
        assert_eq!((&found["value"], &found["fuel"]), (&first["value"], &first["fuel"]), "{id}");
    }
    let key = site.path("state/keys/default.vkey");
    for (id, _) in acknowledged.iter().step_by(acknowledged.len() / 5 + 1) {
        verdict_ok(&["receipt", "verify", text(&receipt(&server, id, &site)), "--log-key", text(&key)]);
    }
}

#[test]
fn a_swapped_byte_anywhere_in_an_artifact_is_refused_and_touches_nobody_else() {
    let site = Site::new(&[RBAC, "loan-eligibility"]);
    let good = site.path("good");
    copy(&site.path("policies/loan-eligibility"), &good);
    let server = site.serve(&[]);
    let mut files = Vec::new();
    list(&good, &mut files);
    assert!(files.len() >= 5);
    for file in files {
        let target = site.path("policies/loan-eligibility").join(file.strip_prefix(&good).unwrap());
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&target, &bytes).unwrap();
        // A server that starts on it refuses it; one that runs keeps what it has.
        let inspected = verdict(&[
            "verify",
            text(&site.path("policies/loan-eligibility")),
            "--trust",
            text(&site.path("keys/trust.json")),
        ]);
        assert_eq!(inspected.status.code(), Some(1), "`{}`", file.display());
        server.signal("HUP");
        wait_for(|| server.get("/v1/policies").1["quarantined"].as_array().unwrap().len() == 1);
        let (_, listing) = server.get("/v1/policies");
        assert_eq!(listing["policies"].as_array().unwrap().len(), 2, "{listing}");
        assert_eq!(server.decide(RBAC, QUESTION).0, 200);
        std::fs::write(&target, std::fs::read(&file).unwrap()).unwrap();
        server.signal("HUP");
        wait_for(|| server.get("/v1/policies").1["quarantined"].as_array().unwrap().is_empty());
    }
}

fn list(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it did not come about within 30 seconds");
}

#[test]
fn a_past_decision_allows_what_its_own_version_allowed() {
    let site = Site::new(&[RBAC]);
    let server = site.serve(&[]);
    let (_, first) = server.decide(RBAC, &QUESTION.replace("{\"input\"", "{\"id\": \"d-1\", \"input\""));
    assert_eq!(first["allow"], true);
    // The policy no longer answers; what its manifest said is in the copy that is kept for replay.
    std::fs::remove_dir_all(site.path("policies").join(RBAC)).unwrap();
    server.signal("HUP");
    wait_for(|| server.get("/v1/policies").1["policies"].as_array().unwrap().is_empty());
    let (status, found) = server.get("/v1/tenants/default/decisions/d-1");
    assert_eq!((status, &found["allow"], &found["value"]), (200, &json!(true), &first["value"]));
    assert!(server.stop());

    // Without it nobody can say, and so nobody does.
    std::fs::remove_dir_all(site.path("state/artifacts")).unwrap();
    let server = site.serve(&[]);
    let (status, answer) = server.get("/v1/tenants/default/decisions/d-1");
    assert_eq!((status, &answer["allow"]), (503, &json!(null)), "{answer}");
}

#[test]
fn the_operator_decides_when_an_answer_leaves() {
    let site = Site::new(&[RBAC]);
    for (log, recorded) in [("durable", true), ("buffered", true), ("off", false)] {
        let server = site.serve(&["--log", log]);
        let (status, answer) = server.decide(RBAC, QUESTION);
        assert_eq!((status, &answer["recorded"]), (200, &json!(recorded)), "{log}: {answer}");
        let (_, ready) = server.get("/health/ready");
        assert_eq!((&ready["log"], &ready["recording"]), (&json!(log), &json!(recorded)), "{ready}");
        // What a loss of power would take is synced within a moment, and is then nothing.
        wait_for(|| server.get("/health/ready").1["unsynced"] == 0);
        assert!(server.stop());
    }
}

#[test]
fn evaluations_in_instances_that_were_reset_are_compared_with_new_ones() {
    let site = Site::new(&[RBAC]);
    for (instances, compared) in [("protected", 6), ("new", 0)] {
        let server = site.serve(&["--log", "off", "--instances", instances, "--verify-reset", "1"]);
        for _ in 0..6 {
            assert_eq!(server.decide(RBAC, QUESTION).1["allow"], true);
        }
        let (_, listing) = server.get("/v1/policies");
        let expected = json!({ "kind": instances, "compared": compared, "differed": 0 });
        assert_eq!(listing["instances"], expected, "{listing}");
        let kind = if instances == "new" { "new" } else { "reset" };
        assert_eq!(listing["policies"][0]["instances"], kind, "{listing}");
    }
}

#[test]
fn a_changed_log_or_evidence_is_found() {
    let site = Site::new(&[RBAC]);
    let server = site.serve(&[]);
    for number in 0..5 {
        server.decide(RBAC, &QUESTION.replace("{\"input\"", &format!("{{\"id\": \"d-{number}\", \"input\"")));
    }
    receipt(&server, "d-4", &site);
    assert!(server.stop());
    let mut files = Vec::new();
    list(&site.path("state/log/evidence"), &mut files);
    let evidence = files.first().unwrap();
    let original = std::fs::read(evidence).unwrap();
    let place = original.windows(3).position(|window| window == b"bob").unwrap();
    let mut changed = original.clone();
    changed[place] = b'r';
    std::fs::write(evidence, changed).unwrap();
    let server = site.serve(&[]);
    let (status, answer) = server.get("/v1/tenants/default/decisions/d-0");
    assert_eq!(status, 503, "{answer}");
    drop(server);

    // Erased evidence is another thing: the record stays, what it stood for is gone.
    std::fs::remove_dir_all(site.path("state/log/evidence")).unwrap();
    let server = site.serve(&[]);
    assert_eq!(server.get("/v1/tenants/default/decisions/d-0").0, 404);
    let (status, gone) = server.get("/v1/tenants/default/decisions/d-0/receipt");
    assert_eq!((status, &gone["error"]["code"]), (410, &json!("erased")));
    let (status, again) = server.decide(RBAC, &QUESTION.replace("{\"input\"", "{\"id\": \"d-0\", \"input\""));
    assert_eq!((status, &again["error"]["code"]), (409, &json!("id-conflict")), "{again}");
    assert_eq!(server.decide(RBAC, QUESTION).0, 200);
}

#[test]
fn the_same_question_has_the_same_answer_in_parallel_and_after_a_restart() {
    let site = Arc::new(Site::new(&[RBAC]));
    let answers: Mutex<BTreeSet<String>> = Mutex::default();
    for _ in 0..2 {
        let server = site.serve(&[]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..125 {
                        let (_, answer) = server.decide(RBAC, QUESTION);
                        let same =
                            json!([answer["value"], answer["reasons"], answer["fuel"], answer["component"]]);
                        answers.lock().unwrap().insert(same.to_string());
                    }
                });
            }
        });
    }
    // The third time from a compile cache that is gone.
    std::fs::remove_dir_all(site.path("state/compiled")).unwrap();
    let (_, answer) = site.serve(&[]).decide(RBAC, QUESTION);
    let same = json!([answer["value"], answer["reasons"], answer["fuel"], answer["component"]]);
    answers.lock().unwrap().insert(same.to_string());
    assert_eq!(answers.lock().unwrap().len(), 1, "{answers:?}");
}

#[test]
fn questions_that_cannot_be_answered_say_why() {
    let site = Site::new(&[RBAC, "kubernetes-admission"]);
    let server = site.serve(&[]);
    let deep = format!(r#"{{"input": {}{}}}"#, "[".repeat(200), "]".repeat(200));
    let long = format!(r#"{{"input": "{}"}}"#, "x".repeat(10_000));
    for (policy, body, status, code) in [
        (RBAC, "", 400, "malformed-request"),
        (RBAC, "{", 400, "malformed-request"),
        (RBAC, "[]", 400, "malformed-request"),
        (RBAC, r#"{"inptu": 1}"#, 400, "malformed-request"),
        (RBAC, r#"{"input": 1, "input": 2}"#, 400, "malformed-request"),
        (RBAC, r#"{"input": {"a": 1, "a": 2}}"#, 400, "malformed-input"),
        (RBAC, r#"{"input": "\ud800"}"#, 400, "malformed-input"),
        (RBAC, &deep, 400, "malformed-input"),
        (RBAC, &long, 413, "malformed-input"),
        (RBAC, r#"{"input": 1, "rule": "other"}"#, 404, "unknown-rule"),
        ("kubernetes-admission", r#"{"input": 1}"#, 404, "unknown-rule"),
        (RBAC, r#"{"input": 1, "id": "a/b"}"#, 400, "malformed-id"),
        (RBAC, r#"{"input": 1, "decision_time": "2026-01-01T00:00:00Z"}"#, 403, "decision-time-not-allowed"),
        (RBAC, r#"{"input": 1, "decision_time": "yesterday"}"#, 400, "malformed-request"),
        ("nobody", r#"{"input": 1}"#, 404, "unknown-policy"),
        ("No-Name", r#"{"input": 1}"#, 400, "malformed-request"),
    ] {
        let (found, answer) = server.decide(policy, body);
        let shown = body.chars().take(60).collect::<String>();
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(code)), "{shown}: {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|message| message.len() > 10), "{answer}");
    }
    // A failure of the policy is a fault: recorded, with the party whose fault it is, and never an allow.
    let (status, fault) = server.decide(RBAC, r#"{"input": {"user": 7}, "id": "f-1"}"#);
    assert_eq!(
        (status, &fault["allow"], &fault["fault"]["code"]),
        (422, &json!(false), &json!("invalid-input"))
    );
    assert_eq!(fault["fault"]["party"], "caller");
    assert_eq!(server.get("/v1/tenants/default/decisions/f-1").0, 422);
    assert_eq!(server.get("/v1/tenants/default/decisions/nothing").0, 404);
    assert_eq!(server.get("/nothing").0, 404);
    assert_eq!(server.get("/v1/tenants/default/policies/role-based-access/decide").0, 405);
    // A body that is too large is refused by its announced length, before it is sent.
    let mut socket = std::net::TcpStream::connect(&server.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head =
        "POST /v1/tenants/default/policies/role-based-access/decide HTTP/1.1\r\nhost: v\r\nconnection: close";
    write!(socket, "{head}\r\ncontent-length: 8388608\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn the_operator_decides_whether_a_caller_sets_the_decision_time() {
    let site = Site::new(&["loan-eligibility"]);
    let server = site.serve(&["--allow-decision-time"]);
    let cases = std::fs::read_dir(root().join("guest-policies/library/loan-eligibility/cases")).unwrap();
    let case = cases.map(|entry| entry.unwrap().path()).min().unwrap();
    let case: Value = serde_json::from_slice(&std::fs::read(case).unwrap()).unwrap();
    let case = &case["cases"][0];
    let body =
        json!({ "rule": case["rule"], "input": case["input"], "decision_time": "2020-02-29T12:00:00Z" });
    let (status, answer) = server.decide("loan-eligibility", &body.to_string());
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["decision_time"], "2020-02-29T12:00:00.000Z");
    assert!(answer["received_at"].as_str().unwrap() > "2026");
}

#[test]
fn who_may_ask_is_decided_by_tokens_where_others_can_connect() {
    let site = Site::new(&[RBAC]);
    let open = verdict(&site.arguments("0.0.0.0:0", &[]).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!open.status.success());
    assert!(String::from_utf8_lossy(&open.stderr).contains("--token-file"));

    std::fs::write(site.path("tokens"), "shop 0123456789abcdefghijklmn\n").unwrap();
    let server = site.serve(&["--token-file", text(&site.path("tokens"))]);
    let (status, answer) = server.decide(RBAC, QUESTION);
    assert_eq!((status, &answer["error"]["code"]), (401, &json!("unauthenticated")));
    assert_eq!(server.get("/v1/policies").0, 401);
    assert_eq!(server.get("/health/live").0, 200);
    let url = format!("http://{}/v1/tenants/default/policies/{RBAC}/decide", server.address);
    let answer = ureq::post(url).header("authorization", "Bearer 0123456789abcdefghijklmn").send(QUESTION);
    assert_eq!(answer.unwrap().status(), 200);
}

#[test]
fn a_unix_socket_answers_and_a_killed_server_leaves_no_obstacle() {
    let site = Site::new(&[RBAC]);
    let path = site.path("verdict.sock");
    let listen = format!("unix:{}", text(&path));
    let server = Server::start(&site, &listen, &[]);
    let ask = || {
        let mut socket = std::os::unix::net::UnixStream::connect(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = "POST /v1/tenants/default/policies/role-based-access/decide HTTP/1.1\r\nhost: v\r\nconnection: close";
        write!(socket, "{head}\r\ncontent-length: {}\r\n\r\n{QUESTION}", QUESTION.len()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask().starts_with("HTTP/1.1 200"));
    server.kill();
    let _server = Server::start(&site, &listen, &[]);
    assert!(ask().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_server_says_at_its_start_what_it_refused_and_why() {
    let site = Site::new(&[RBAC]);
    std::fs::remove_file(site.path("keys/author.key")).unwrap();
    std::fs::remove_file(site.path("keys/trust.json")).unwrap();
    verdict_ok(&["keys", "new", "--out", text(&site.path("keys")), "--person", "mallory"]);
    let server = site.serve(&[]);
    assert_eq!(server.get("/health/ready").0, 503);
    assert_eq!(server.decide(RBAC, QUESTION).0, 404);
    let log = std::fs::read_to_string(site.path("server.log")).unwrap();
    assert!(log.contains("unknown-signer") && log.contains("no policy answers"), "{log}");
}

#[test]
fn two_servers_do_not_share_a_state_folder() {
    let site = Site::new(&[RBAC]);
    let _server = site.serve(&[]);
    let second = verdict(&site.arguments("127.0.0.1:0", &[]).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use"));
}

#[test]
fn trust_and_data_below_the_policies_are_refused() {
    let site = Site::new(&[RBAC]);
    std::fs::copy(site.path("keys/trust.json"), site.path("policies/trust.json")).unwrap();
    let mut arguments = site.arguments("127.0.0.1:0", &[]);
    let trust = arguments.iter().position(|argument| argument == "--trust").unwrap() + 1;
    arguments[trust] = text(&site.path("policies/trust.json")).into();
    let output = verdict(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not trusted"));
}

#[test]
fn an_older_version_and_an_older_trust_file_are_refused() {
    let site = Site::new(&[]);
    let source = site.path("source");
    copy(&root().join("guest-policies/library/role-based-access/schemas"), &source.join("schemas"));
    let manifest =
        std::fs::read_to_string(root().join("guest-policies/library/role-based-access/policy.toml")).unwrap();
    let component = root().join("guest-policies/library/role-based-access");
    let build = |version: &str, name: &str| {
        // The same code under another version: only the manifest differs.
        let project = site.path(&format!("project-{name}"));
        copy(&component, &project);
        let sdk = root().join("sdk/rust");
        let cargo = std::fs::read_to_string(project.join("Cargo.toml")).unwrap();
        assert!(cargo.contains("verdict-sdk"));
        std::fs::write(
            project.join("Cargo.toml"),
            format!(
                "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n\
                 [dependencies]\nverdict-sdk = {{ path = \"{}\" }}\nserde = {{ version = \"1\", default-features = false, features = [\"alloc\", \"derive\"] }}\n[workspace]\n",
                text(&sdk)
            ),
        )
        .unwrap();
        std::fs::write(project.join("policy.toml"), manifest.replace("1.0.0", version)).unwrap();
        let _ = std::fs::remove_dir_all(project.join("tests"));
        let out = site.path(&format!("policies/{name}"));
        verdict_ok(&["build", text(&project), "--out", text(&out)]);
        site.sign(name);
    };
    build("1.1.0", "newer");
    let server = site.serve(&[]);
    assert_eq!(server.decide(RBAC, QUESTION).1["version"], "1.1.0");
    build("1.0.0", "older");
    std::fs::remove_dir_all(site.path("policies/newer")).unwrap();
    server.signal("HUP");
    wait_for(|| server.get("/v1/policies").1["quarantined"][0]["code"] == "version-rollback");
    drop(server);

    let trust = site.path("keys/trust.json");
    let newer = std::fs::read_to_string(&trust).unwrap().replace("\"version\": 1", "\"version\": 2");
    std::fs::write(&trust, &newer).unwrap();
    site.serve(&[]).kill();
    std::fs::write(&trust, newer.replace("\"version\": 2", "\"version\": 1")).unwrap();
    let output = verdict(&site.arguments("127.0.0.1:0", &[]).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(String::from_utf8_lossy(&output.stderr).contains("trust-rollback"), "{output:?}");
}

#[test]
fn a_stopping_server_finishes_what_it_has_begun() {
    let site = Arc::new(Site::new(&[RBAC]));
    let server = Arc::new(site.serve(&[]));
    let (answered, broken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let address = server.address.clone();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    // One connection a request: one that was accepted must be answered.
                    let Ok(mut socket) = std::net::TcpStream::connect(&address) else { return };
                    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    let head = "POST /v1/tenants/default/policies/role-based-access/decide HTTP/1.1\r\nhost: v\r\nconnection: close";
                    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{QUESTION}", QUESTION.len());
                    let mut answer = Vec::new();
                    let result = socket.write_all(request.as_bytes()).and_then(|()| socket.read_to_end(&mut answer));
                    match result {
                        Ok(_) if answer.starts_with(b"HTTP/1.1 200") => answered.fetch_add(1, Ordering::Relaxed),
                        // In the kernel's queue when the listener went: never accepted, never begun.
                        Ok(_) if answer.is_empty() => return,
                        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
                        _ => broken.fetch_add(1, Ordering::Relaxed),
                    };
                }
            });
        }
        std::thread::sleep(Duration::from_millis(400));
        server.signal("TERM");
    });
    assert!(answered.load(Ordering::Relaxed) > 10);
    assert_eq!(broken.load(Ordering::Relaxed), 0);
}

#[test]
fn a_program_that_embeds_the_host_asks_and_proves() {
    let site = Site::new(&[RBAC]);
    let example = verdict_tests::server::built("verdict-examples", "embedded");
    let output = std::process::Command::new(example)
        .args(["policies", "keys/trust.json", "data", "state"].map(|path| site.path(path)))
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("allow: true") && out.contains("proved: decision"), "{output:?}");
}
