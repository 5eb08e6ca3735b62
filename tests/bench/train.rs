//! What `make dist` takes its profile of: a server that answers the cases of the policy library, without its log, with
//! it, and out of the cache, over HTTP/1.1 and HTTP/2, one by one, in batches, as OPA and as AuthZEN.
//!
//! The compiler moves what is not asked here out of the way of what is, so this asks in every form that is asked often,
//! and not only the question that is measured afterwards.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Map, Value, json};
use verdict_tests::server::{Server, Site, root};

use crate::connection::{Connection, request};
use crate::http;

/// What tells this program to train a server.
pub(crate) const ARGUMENT: &str = "train";

/// The library without `api-access`, which the server asks itself.
const POLICIES: [&str; 6] = [
    "agent-guardrail",
    "document-sharing",
    "kubernetes-admission",
    "loan-eligibility",
    "role-based-access",
    "todo-access",
];

/// How often each question is asked of each server over each connection.
const ROUNDS: usize = 25;
/// More than a server has threads, so that a thread has several ready at a time, and as few as leave it time.
const CONNECTIONS: usize = 8;
const BATCHES: usize = 100;
const HTTP2_TIME_MAX: Duration = Duration::from_secs(120);

/// A request, and whether its answer is one, or else a fault.
struct Question {
    path: String,
    body: String,
    is_answered: bool,
}

/// Asks, and ends when the servers have: a program that is compiled for it writes its profile when it ends.
pub(crate) fn run() {
    let site = Site::new(&POLICIES);
    let (questions, data) = library();
    std::fs::write(site.path("data/default.json"), Value::Object(data).to_string())
        .expect("a file can be written");
    let cached = POLICIES.map(|policy| format!("default/{policy}"));
    let cached = cached.iter().flat_map(|policy| ["--cache-policy", policy]);
    let authzen = ["--authzen", "default/todo-access"];
    let unlogged = [&["--log", "off"], authzen.as_slice()].concat();
    let cached = unlogged.iter().copied().chain(cached).collect();
    for (name, options) in [("without the log", unlogged), ("with it", authzen.to_vec()), ("cached", cached)]
    {
        eprintln!("train: {name}");
        let server = site.serve(&options);
        ask(&server, &questions);
        assert!(server.stop(), "the server ends by itself");
    }
}

/// The cases of the library that HTTP can ask, in each form that they have, and the data that they need.
fn library() -> (Vec<Question>, Map<String, Value>) {
    let (mut questions, mut data) = (Vec::new(), Map::new());
    for policy in POLICIES {
        let folder = root().join("guest-policies/library").join(policy).join("cases");
        for file in std::fs::read_dir(folder).expect("a policy has cases") {
            let file = std::fs::read(file.expect("they can be read").path()).expect("they can be read");
            let mut file: Value = serde_json::from_slice(&file).expect("they are JSON");
            if let Some(Value::Object(more)) = file.get_mut("data").map(Value::take) {
                data.extend(more);
            }
            let cases = file["cases"].as_array().into_iter().flatten();
            let is_asked = |case: &&Value| case.get("data").or(case.get("decision_time")).is_none();
            cases.filter(is_asked).for_each(|case| questions.extend(of_case(policy, case)));
        }
    }
    (questions, data)
}

/// A case as Verdict's own question, as OPA's, and as AuthZEN's where it is one.
fn of_case(policy: &str, case: &Value) -> Vec<Question> {
    let (rule, input) = (&case["rule"], &case["input"]);
    let is_answered = case["expect"].get("fault").is_none();
    let question = |path, body: Value| Question { path, body: body.to_string(), is_answered };
    let native = format!("/v1/tenants/default/policies/{policy}/decide");
    let opa = format!("/v1/data/{policy}/{}", rule.as_str().expect("a rule has a name")).replace('-', "_");
    let mut questions = vec![
        question(native, json!({"rule": rule, "input": input})),
        question(opa, json!({ "input": input })),
    ];
    if rule == "evaluation" && is_answered {
        questions.push(question("/access/v1/evaluation".into(), input.clone()));
    }
    questions
}

/// One by one over several connections, of HTTP/1.1 and then of HTTP/2; and the same question a hundred times in a request.
fn ask(server: &Server, questions: &[Question]) {
    std::thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            // Not all the same at the same time.
            let from = questions.len() * first / CONNECTIONS;
            let questions = questions.iter().cycle().skip(from).take(ROUNDS * questions.len());
            scope.spawn(move || {
                let mut connection = Connection::new(&server.address);
                for question in questions.clone() {
                    let asked = connection.ask(&request(&question.path, &question.body));
                    question.check(asked.expect("the server answers"));
                }
                over_http2(&server.address, questions);
            });
        }
    });
    let mut connection = Connection::new(&server.address);
    for _ in 0..BATCHES {
        let asked = connection.ask(&request(&http::batch_path(), &http::batch_body()));
        assert_eq!(asked.expect("the server answers"), 200, "a batch is answered");
    }
}

fn over_http2<'a>(address: &str, questions: impl Iterator<Item = &'a Question>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let all = async {
        let stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
        // Head and body are two writes: without this the second waits for the first's acknowledgement.
        stream.set_nodelay(true).expect("a socket has options");
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        for question in questions {
            let request = Request::post(format!("http://{address}{}", question.path))
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(question.body.clone())));
            let answer = sender.send_request(request.expect("it is a request")).await;
            let answer = answer.expect("the server answers");
            question.check(answer.status().as_u16());
            answer.into_body().collect().await.expect("the answer ends");
        }
    };
    let all = async { tokio::time::timeout(HTTP2_TIME_MAX, all).await };
    runtime.block_on(all).expect("the server answers in time");
}

impl Question {
    fn check(&self, status: u16) {
        assert_eq!(status == 200, self.is_answered, "{status} at {} for {}", self.path, self.body);
    }
}
