//! Access to a server from outside, with the real binary: the access policy of the library, API keys, JSON Web Tokens,
//! and the break-glass socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use verdict_core::key::SecretKey;
use verdict_tests::access::AccessSite;
use verdict_tests::server::{Server, text, verdict};

const ISSUER: &str = "https://issuer.example";
const KEY: [u8; 32] = [7; 32];

fn arguments(site: &AccessSite) -> Vec<String> {
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519", "kid": "k",
        "x": URL_SAFE_NO_PAD.encode(SecretKey::from_seed(KEY).public().as_bytes()),
    });
    std::fs::write(site.path("jwks.json"), json!({ "keys": [jwk] }).to_string()).unwrap();
    let mut arguments = Vec::new();
    for (flag, value) in [
        ("--access", text(&site.policy())),
        ("--access-trust", text(&site.trust())),
        ("--access-component", site.component()),
        ("--jwt-issuer", ISSUER),
        ("--jwt-audience", "verdict"),
        ("--jwks", text(&site.path("jwks.json"))),
        ("--break-glass", text(&socket(site))),
    ] {
        arguments.extend([flag.to_owned(), value.to_owned()]);
    }
    arguments
}

fn socket(site: &AccessSite) -> PathBuf {
    site.path("break-glass.sock")
}

fn start(site: &AccessSite) -> Server {
    let arguments = arguments(site);
    Server::registry(&site.path(""), &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A token of the issuer's, signed here.
fn jwt(tenant: &str, role: &str) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": "verdict", "sub": "spiffe://bank.example/robot", "exp": 4_102_444_800_u64,
        "tenant": tenant, "roles": [role],
    });
    let coded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", coded(json!({ "alg": "EdDSA", "kid": "k" })), coded(claims));
    let signature = SecretKey::from_seed(KEY).sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// One request on a connection of its own: status and body.
fn ask(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    authorization: &str,
    body: &str,
) -> (u16, Value) {
    let credential = match authorization {
        "" => String::new(),
        given => format!("Authorization: {given}\r\n"),
    };
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{credential}");
    let request = format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
}

fn get(server: &Server, path: &str, authorization: &str) -> u16 {
    ask(TcpStream::connect(&server.address).unwrap(), "GET", path, authorization, "").0
}

fn post(server: &Server, path: &str, authorization: &str, body: &Value) -> (u16, Value) {
    let stream = TcpStream::connect(&server.address).unwrap();
    ask(stream, "POST", path, authorization, &body.to_string())
}

fn over_socket(site: &AccessSite, method: &str, path: &str, body: &Value) -> (u16, Value) {
    ask(UnixStream::connect(socket(site)).unwrap(), method, path, "", &body.to_string())
}

#[test]
fn the_socket_makes_the_first_key_and_roles_do_the_rest() {
    let site = AccessSite::new();
    let server = start(&site);
    for path in ["/v1/tenants", "/v1/events", "/v2/"] {
        assert_eq!(get(&server, path, ""), 401, "{path}");
        assert_eq!(get(&server, path, "Bearer 0123456789abcdefghijklmn"), 401, "{path}");
    }
    for tenant in ["bank", "shop"] {
        let (status, made) = over_socket(&site, "POST", "/v1/tenants", &json!({ "name": tenant }));
        assert_eq!(status, 201, "{made}");
    }
    let new = json!({ "person": "ada", "tenant": "bank", "roles": ["tenant_admin"] });
    let (status, made) = over_socket(&site, "POST", "/v1/api-keys", &new);
    assert_eq!(status, 201, "{made}");
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let bearer = format!("Bearer {key}");

    // What is its tenant's, and as if nothing else were there.
    assert_eq!(get(&server, "/v1/tenants/bank", &bearer), 200);
    assert_eq!(get(&server, "/v1/tenants/shop", &bearer), 404);
    assert_eq!(get(&server, "/v1/tenants/none", &bearer), 404);
    let put = TcpStream::connect(&server.address).unwrap();
    assert_eq!(ask(put, "PUT", "/v1/trust", &bearer, "{}").0, 403);
    let policy = json!({ "name": "loan" });
    assert_eq!(post(&server, "/v1/tenants/bank/policies", &bearer, &policy).0, 201);
    let (operator, auditor) =
        (format!("Bearer {}", jwt("bank", "operator")), format!("Bearer {}", jwt("bank", "auditor")));
    let (status, denied) = post(&server, "/v1/tenants/bank/policies", &operator, &json!({ "name": "more" }));
    assert_eq!((status, &denied["type"]), (403, &json!("urn:verdict:problem:denied")), "{denied}");
    assert_eq!(get(&server, "/v1/tenants/bank/policies", &operator), 200);
    assert_eq!(get(&server, "/v1/events", &operator), 403);
    assert_eq!(get(&server, "/v1/events", &auditor), 200);
    assert_eq!(get(&server, "/v1/events", &format!("{auditor}x")), 401);

    // The same for clients of the registry, who send it as a password.
    let uploads = "/v2/bank/loan/blobs/uploads/";
    let basic = |secret: &str| format!("Basic {}", STANDARD.encode(format!("anybody:{secret}")));
    assert_eq!(post(&server, uploads, &basic(key), &Value::Null).0, 202);
    assert_eq!(post(&server, uploads, &basic(&jwt("bank", "publisher")), &Value::Null).0, 202);
    assert_eq!(post(&server, uploads, &basic(&jwt("bank", "operator")), &Value::Null).0, 403);
    assert_eq!(post(&server, uploads, &basic(&jwt("shop", "publisher")), &Value::Null).0, 403);

    // Acknowledged is kept, and what was revoked stays so.
    server.kill();
    let server = start(&site);
    assert_eq!(get(&server, "/v1/tenants/bank", &bearer), 200);
    let (status, gone) = over_socket(&site, "DELETE", &format!("/v1/api-keys/{id}"), &Value::Null);
    assert_eq!(status, 204, "{gone}");
    assert_eq!(get(&server, "/v1/tenants/bank", &bearer), 401);
    assert!(server.stop());
    assert!(!socket(&site).exists());

    // Both what was allowed and what was denied is in a log that can be proved, of the access policy's own.
    let log = site.path("keys/access-state/changes");
    let checkpoint = find(&log, "checkpoint").expect("there is a checkpoint");
    let size: u64 = std::fs::read_to_string(checkpoint).unwrap().lines().nth(1).unwrap().parse().unwrap();
    assert!(size >= 10, "{size}");
}

/// The first file of this name below a folder.
fn find(folder: &std::path::Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries.into_iter().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}

#[test]
fn the_socket_is_for_its_owner_even_where_others_may_open_it() {
    // Only root can become somebody else.
    if std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap_or(1) != 0
    {
        println!("skipped: not root");
        return;
    }
    let site = AccessSite::new();
    let server = start(&site);
    assert_eq!(std::fs::metadata(socket(&site)).unwrap().permissions().mode() & 0o777, 0o600);
    for (path, mode) in [(site.path(""), 0o755), (socket(&site), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let ask = |uid: u32| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket"]);
        curl.arg(socket(&site)).arg("http://here/v1/tenants").uid(uid).current_dir("/");
        String::from_utf8(curl.output().unwrap().stdout).unwrap()
    };
    assert_eq!(ask(0), "200");
    assert_eq!(ask(65_534), "000");
    drop(server);
}

#[test]
fn a_server_whose_access_cannot_be_decided_does_not_start() {
    let site = AccessSite::new();
    let other = format!("sha256:{}", "0".repeat(64));
    let broken = site.path("broken.json");
    std::fs::write(&broken, "{}").unwrap();
    let nowhere = site.path("nowhere");
    let cases = [
        ("--access-component", other.as_str(), "pinned"),
        ("--access-trust", text(&broken), "trust file"),
        ("--access", text(&nowhere), "nowhere"),
        ("--jwks", text(&broken), "keys"),
    ];
    for (flag, value, said) in cases {
        let mut arguments = arguments(&site);
        let place = arguments.iter().position(|argument| argument == flag).unwrap() + 1;
        arguments[place] = value.to_owned();
        let (catalogue, store) = (site.path("catalogue.db"), site.path("store"));
        let mut all =
            vec!["serve", "--listen", "127.0.0.1:0", "--registry", text(&catalogue), "--store", text(&store)];
        all.extend(arguments.iter().map(String::as_str));
        let output = verdict(&all);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{flag}: {error}");
    }
}
