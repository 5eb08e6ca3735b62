//! What `make dist` takes its profile of: a server that answers the cases of the policy library, without its log, with
//! it, and out of the cache, over HTTP/1.1 and HTTP/2, in TLS and not, one by one, in batches, as OPA, as AuthZEN and as
//! Envoy ask, with tokens and without.
//!
//! The compiler moves what is not asked here out of the way of what is: without TLS in it, TLS answered a seventh less.
//! So this asks in every form that is asked often, and not only the question that is measured afterwards.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use verdict_tests::grpc::{self, Message};
use verdict_tests::server::{Server, Site, root, text};

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

/// How often each question is asked of each server over each connection, in each of four ways.
const ROUNDS: usize = 12;
/// More than a server has threads, so that a thread has several ready at a time, and as few as leave it time.
const CONNECTIONS: usize = 8;
const BATCHES: usize = 100;
/// Each over a connection of its own.
const CHECKS: usize = 200;
const TIME_MAX: Duration = Duration::from_secs(240);
const NAME: &str = "localhost";
const TOKEN: &str = "a-token-that-is-for-training-only";

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
    std::fs::write(site.path("tokens"), format!("trainer {TOKEN}\n")).expect("a file can be written");
    let tls = certify(&site);
    let (certificate, key) = (site.path("tls.pem"), site.path("tls.key"));
    let everywhere = ["--authzen", "default/todo-access", "--listen", "tls:127.0.0.1:0"];
    let certified = ["--tls-cert", text(&certificate), "--tls-key", text(&key)];
    let cached: Vec<_> =
        POLICIES.iter().flat_map(|name| ["--cache-policy".into(), format!("default/{name}")]).collect();
    let cached = cached.iter().map(String::as_str).chain(["--log", "off"]).collect();
    let tokens = site.path("tokens");
    let logged = vec!["--token-file", text(&tokens)];
    for (name, options) in
        [("without the log", vec!["--log", "off"]), ("with it, and tokens", logged), ("cached", cached)]
    {
        eprintln!("train: {name}");
        let server = Server::start(&site, "127.0.0.1:0", &[&everywhere, &certified, &options[..]].concat());
        std::thread::scope(|scope| {
            for first in 0..CONNECTIONS {
                let (server, questions, tls) = (&server, &questions, &tls);
                scope.spawn(move || ask(server, tls, questions, first));
            }
        });
        (0..CHECKS).for_each(|_| check(&server.address));
        assert!(server.stop(), "the server ends by itself");
    }
}

/// Gives the site a certificate that whoever connects with this believes.
fn certify(site: &Site) -> TlsConnector {
    let own = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate can be made");
    std::fs::write(site.path("tls.pem"), own.cert.pem()).expect("a file can be written");
    std::fs::write(site.path("tls.key"), own.signing_key.serialize_pem()).expect("a file can be written");
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).expect("it is one");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
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

/// Asks all, and the same a hundred times in a request, in each way over a connection of its own. With `first` not all
/// connections ask the same at the same time.
fn ask(server: &Server, tls: &TlsConnector, questions: &[Question], first: usize) {
    let from = questions.len() * first / CONNECTIONS;
    let questions = questions.iter().cycle().skip(from).take(ROUNDS * questions.len());
    let batch = Question { path: http::batch_path(), body: http::batch_body(), is_answered: true };
    let questions = questions.chain(std::iter::repeat_n(&batch, BATCHES / CONNECTIONS));
    let address = |tls: bool| {
        let is_it = |address: &&String| address.starts_with("tls:") == tls;
        let address = server.addresses.iter().find(is_it).expect("it listens there");
        address.trim_start_matches("tls:").to_owned()
    };
    let all = async {
        for is_http2 in [false, true] {
            let stream = connect(&address(false)).await;
            over(stream, is_http2, questions.clone()).await;
            let (stream, name) = (connect(&address(true)).await, ServerName::try_from(NAME));
            let stream = tls.connect(name.expect("it is a name"), stream).await;
            over(stream.expect("it speaks TLS"), is_http2, questions.clone()).await;
        }
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let all = async { tokio::time::timeout(TIME_MAX, all).await };
    runtime.block_on(all).expect("the server answers in time");
}

async fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    // Head and body may be two writes: without this the second waits for the first's acknowledgement.
    stream.set_nodelay(true).expect("a socket has options");
    stream
}

/// One by one over a connection.
async fn over<'a, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    is_http2: bool,
    questions: impl Iterator<Item = &'a Question>,
) {
    let stream = TokioIo::new(stream);
    if is_http2 {
        let handshake = http2::handshake(TokioExecutor::new(), stream).await;
        let (mut sender, connection) = handshake.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        each(&format!("http://{NAME}"), questions, async |request| sender.send_request(request).await).await;
    } else {
        let (mut sender, connection) = http1::handshake(stream).await.expect("it speaks HTTP/1.1");
        tokio::spawn(connection);
        each("", questions, async |request| {
            sender.ready().await?;
            sender.send_request(request).await
        })
        .await;
    }
}

/// `origin` stands before the path where HTTP has it there.
async fn each<'a>(
    origin: &str,
    questions: impl Iterator<Item = &'a Question>,
    mut send: impl AsyncFnMut(Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>>,
) {
    for question in questions {
        let request = Request::post(format!("{origin}{}", question.path))
            .header("host", NAME)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(Full::new(Bytes::from(question.body.clone())));
        let answer = send(request.expect("it is a request")).await.expect("the server answers");
        question.check(answer.status().as_u16());
        answer.into_body().collect().await.expect("the answer ends");
    }
}

/// What Envoy asks. The policy knows nothing of it, so that it is denied.
fn check(address: &str) {
    let sent = root().join("host-api/server/src/gateway/ext_authz/envoy-1.40.0-check.bin");
    let mut sent = std::fs::read(sent).expect("it is there");
    let policy = Message::default().with_entry(10, "verdict_policy", "default/role-based-access");
    sent.extend(Message::default().with(1, policy.write()).write());
    let method = "/envoy.service.auth.v3.Authorization/Check";
    let reply = grpc::call(address, method, Some(TOKEN), &sent);
    assert_eq!(reply.status, 0, "a check is answered: {reply:?}");
}

impl Question {
    fn check(&self, status: u16) {
        assert_eq!(status == 200, self.is_answered, "{status} at {} for {}", self.path, self.body);
    }
}
