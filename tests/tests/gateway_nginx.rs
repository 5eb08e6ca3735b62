//! The real nginx before a real upstream, with `examples/nginx.conf`: `auth_request` asks the real server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use verdict_tests::gateways::add_told;
use verdict_tests::nginx::{Nginx, program};
use verdict_tests::server::{Server, Site, text};

const TOKEN: &str = "0123456789abcdefghijklmn";
const PATIENCE: Duration = Duration::from_secs(30);

/// What is behind: answers every request, and says which came.
struct Upstream {
    port: u16,
    heads: Receiver<String>,
}

impl Upstream {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, heads) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                // Before it is answered: whoever has the answer finds the head.
                if sender.send(head.join("\n").to_lowercase()).is_err() {
                    return;
                }
                let mut stream = stream;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhere");
            }
        });
        Self { port, heads }
    }

    /// The head of the request that came, in lower case; none where none came.
    fn head(&self) -> Option<String> {
        self.heads.try_recv().ok()
    }
}

/// Starts it as the example says, before an upstream, asking a server for a policy.
fn start(program: &Path, site: &Site, server: &Server, upstream: &Upstream, policy: &str) -> Nginx {
    Nginx::start(
        program,
        site,
        "nginx.conf",
        &[
            ("127.0.0.1:8181", &server.address),
            ("127.0.0.1:3000", &format!("127.0.0.1:{}", upstream.port)),
            ("/policies/web/auth-request", policy),
            ("Bearer TOKEN", &format!("Bearer {TOKEN}")),
        ],
    )
}

/// Asks for a path with headers: the status, and the head of the answer in lower case.
fn ask(nginx: &Nginx, line: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", nginx.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{line} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap();
    let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
    (status, head)
}

fn tell(nginx: &Nginx, text: &str) -> (u16, String) {
    ask(nginx, "GET /orders", &[("X-Tell", text)])
}

fn site() -> Site {
    let site = Site::new(&[]);
    add_told(&site);
    std::fs::write(site.path("tokens"), format!("gateway {TOKEN}")).unwrap();
    site
}

fn serve(site: &Site) -> Server {
    site.serve(&["--token-file", text(&site.path("tokens"))])
}

#[test]
fn nginx_lets_pass_what_the_policy_allows_and_nothing_else() {
    let Some(program) = program() else { return };
    let (site, upstream) = (site(), Upstream::start());
    let server = serve(&site);
    let start = |policy| start(&program, &site, &server, &upstream, policy);
    let nginx = start("/policies/told/auth-request?rule=told");

    // The policy's header goes on to what is behind, in the place of the client's own.
    let told = r#"{"allow": true, "headers": {"x-user": "ann"}}"#;
    let (status, head) = ask(&nginx, "GET /orders", &[("X-Tell", told), ("X-User", "mallory")]);
    assert_eq!(status, 200, "{head}{}", nginx.log());
    assert!(head.contains("\nx-verdict-decision-id: "), "{head}");
    let seen = upstream.head().unwrap();
    assert!(seen.contains("\nx-user: ann") && !seen.contains("mallory"), "{seen}");
    assert_eq!(tell(&nginx, "true").0, 200);
    assert!(!upstream.head().unwrap().contains("x-user"));

    for (told, status) in [
        ("false", 403),
        (r#"{"allow": 1}"#, 403),
        (r#"{"allow": false, "headers": {"x-user": "ann"}}"#, 403),
        ("undefined", 403),
        ("failure", 500),
        ("loop", 500),
        ("no json", 500),
        (r#"{"allow": true, "headers": {"x-accel-redirect": "/"}}"#, 500),
        (r#"{"allow": true, "headers": {"x-user": 7}}"#, 500),
        (r#"{"allow": false, "headers": 7}"#, 500),
    ] {
        let (found, head) = tell(&nginx, told);
        assert_eq!(found, status, "{told}: {head}");
        // Whatever was decided is found again.
        assert!(head.contains("\nx-verdict-decision-id: "), "{told}: {head}");
    }
    let (status, head) = tell(&nginx, r#"{"allow": false, "authenticate": "Basic realm=\"shop\""}"#);
    assert!(status == 401 && head.contains("\nwww-authenticate: basic realm=\"shop\""), "{head}");
    // Who may pass needs not say again who they are.
    let (status, head) = tell(&nginx, r#"{"allow": true, "authenticate": "Basic"}"#);
    assert!(status == 200 && !head.contains("www-authenticate"), "{head}");
    assert!(upstream.head().is_some());

    for policy in ["/policies/told/auth-request", "/policies/other/auth-request?rule=told"] {
        let nginx = start(policy);
        assert_eq!(tell(&nginx, "true").0, 500, "{policy}");
        assert!(nginx.log().contains("auth request unexpected status"), "{}", nginx.log());
    }
    assert!(server.stop());
    let (status, head) = tell(&nginx, "true");
    assert_eq!(status, 500, "{head}");
    assert_eq!(upstream.head(), None);
}

#[test]
fn a_gateway_that_is_not_known_lets_nothing_pass_and_asks_nobody_for_a_token() {
    let Some(program) = program() else { return };
    let (site, upstream) = (site(), Upstream::start());
    std::fs::write(site.path("tokens"), "gateway another-0123456789abcdefg").unwrap();
    let server = serve(&site);
    let nginx = start(&program, &site, &server, &upstream, "/policies/told/auth-request?rule=told");
    let (status, head) = tell(&nginx, "true");
    assert!(status == 500 && !head.contains("www-authenticate"), "{head}");
    assert_eq!(upstream.head(), None);
}

#[test]
fn the_policy_sees_the_clients_request_and_not_the_gateways_token() {
    let Some(program) = program() else { return };
    let (site, upstream) = (site(), Upstream::start());
    let server = serve(&site);
    let nginx = start(&program, &site, &server, &upstream, "/policies/told/auth-request?rule=input");
    let headers = [
        ("Authorization", "Basic YW5uOmE="),
        ("Cookie", "session=1"),
        ("X-Original-URI", "/forged"),
        ("X-Original-Method", "GET"),
        ("X-Real-IP", "203.0.113.9"),
        ("Content-Length", "0"),
    ];
    let (status, head) = ask(&nginx, "POST /a/%62/../c?x=1", &headers);
    assert_eq!(status, 200, "{head}{}", nginx.log());
    let id = head.split("x-verdict-decision-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let url = format!("http://{}/v1/tenants/default/decisions/{id}", server.address);
    let request = ureq::get(url).header("authorization", format!("Bearer {TOKEN}")).call();
    let decision: Value =
        serde_json::from_str(&request.unwrap().body_mut().read_to_string().unwrap()).unwrap();
    let expected = json!({
        "method": "POST", "uri": "/a/%62/../c?x=1", "path": "/a/%62/../c", "query": "x=1",
        "parsed_path": ["a", "c"], "parsed_query": {"x": ["1"]}, "host": "shop.example", "client": "127.0.0.1",
        "headers": {"authorization": "Basic YW5uOmE=", "cookie": "session=1"},
    });
    assert_eq!(decision["value"]["input"], expected, "{decision}");
    assert!(!decision.to_string().contains(TOKEN));
}
