//! Every normative statement of the AuthZEN Authorization API 1.0 that concerns a policy decision point, asked of the
//! real server over HTTP: <https://openid.net/specs/authorization-api-1_0.html>.
//!
//! A row of the table names its section and says the statement in short. What concerns callers, registries and signed
//! metadata (which the server has none of) is not in it, nor is TLS, which listening has its own tests of.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use verdict_core::key::SecretKey;
use verdict_tests::access::AccessSite;
use verdict_tests::server::{Server, Site, root, text};

const RICK: &str = "CiRmZDA2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs";
const MORTY: &str = "CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs";
const MORTYS: &str = "7240d0db-8ff0-41ec-98b2-34a096273b91";
const RICKS: &str = "7240d0db-8ff0-41ec-98b2-34a096273b92";
/// Of this user the data has no roles, so that the policy fails.
const BROKEN: &str = "broken";

const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";
const SUBJECTS: &str = "/access/v1/search/subject";
const RESOURCES: &str = "/access/v1/search/resource";
const ACTIONS: &str = "/access/v1/search/action";
const WELL_KNOWN: &str = "/.well-known/authzen-configuration";
const BELOW: &str = "/v1/tenants/default/policies/todo-access";
const ISSUER: &str = "https://issuer.example";
const KEY: [u8; 32] = [7; 32];

/// What a statement is checked on; itself a server where everybody may ask.
struct Pdp {
    open: Open,
    /// The same, with a user in its data whom the policy cannot read.
    faulty: Open,
    /// Where callers have to say who they are.
    guarded: Server,
}

struct Open(Server);

impl std::ops::Deref for Pdp {
    type Target = Open;

    fn deref(&self) -> &Open {
        &self.open
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    headers: ureq::http::HeaderMap,
    text: String,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The JSON of a success.
    fn json(&self) -> Value {
        assert_eq!((self.status, self.header("content-type")), (200, "application/json"), "{self:?}");
        serde_json::from_str(&self.text).unwrap()
    }

    /// An error in words.
    fn is_error(&self, status: u16) {
        assert_eq!(
            (self.status, self.header("content-type")),
            (status, "text/plain; charset=utf-8"),
            "{self:?}"
        );
        assert!(self.text.contains(": ") && !self.text.contains("decision\":"), "{self:?}");
    }
}

fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request =
        ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", server.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let reply = if method == "GET" {
        agent.run(request.body(()).unwrap())
    } else {
        agent.run(request.body(body).unwrap())
    };
    let mut reply = reply.unwrap();
    let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
    Reply { status, headers, text: reply.body_mut().read_to_string().unwrap() }
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// The answer to a request that says it has so many bytes, before it sends any.
fn announce(server: &Server, bytes: usize) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!("POST {ONE} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n");
    let length = format!("Content-Length: {bytes}\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("{head}{length}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

impl Open {
    fn post(&self, path: &str, body: &Value) -> Reply {
        send(&self.0, "POST", path, &[JSON], body.to_string().as_bytes())
    }

    fn bytes(&self, path: &str, body: &[u8]) -> Reply {
        send(&self.0, "POST", path, &[JSON], body)
    }

    fn get(&self, path: &str) -> Reply {
        send(&self.0, "GET", path, &[], b"")
    }

    /// One decision.
    fn decides(&self, body: &Value) -> bool {
        self.post(ONE, body).json()["decision"].as_bool().unwrap()
    }

    /// The decisions of a batch, as far as they came.
    fn batch(&self, body: &Value) -> Vec<bool> {
        let answer = self.post(MANY, body).json();
        answer["evaluations"].as_array().unwrap().iter().map(|it| it["decision"].as_bool().unwrap()).collect()
    }

    fn found(&self, path: &str, body: &Value) -> Vec<Value> {
        self.post(path, body).json()["results"].as_array().unwrap().clone()
    }
}

fn question(subject: &str, action: &str, todo: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": subject }, "action": { "name": action },
        "resource": { "type": "todo", "id": todo },
    })
}

/// Allowed.
fn yes() -> Value {
    question(MORTY, "can_update_todo", MORTYS)
}

/// Denied.
fn no() -> Value {
    question(MORTY, "can_update_todo", RICKS)
}

fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    body
}

fn without(mut body: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    body
}

/// Every evaluation of these, under a semantic.
fn batch(items: &[Value], semantic: &str) -> Value {
    json!({ "evaluations": items, "options": { "evaluations_semantic": semantic } })
}

/// The whole of the resources that Rick may change, five of them, two a page.
fn paged() -> Value {
    json!({
        "subject": { "type": "user", "id": RICK }, "action": { "name": "can_update_todo" },
        "resource": { "type": "todo" }, "page": { "limit": 2 },
    })
}

/// All pages, followed by their tokens. The policy pages resources by itself, and the host subjects for it.
fn pages(pdp: &Pdp, path: &str, first: &Value) -> Vec<Value> {
    let (mut pages, mut body) = (vec![pdp.post(path, first).json()], first.clone());
    while pages.last().unwrap()["page"]["next_token"] != "" {
        // Nothing but the token is said again.
        body["page"] = json!({ "token": pages.last().unwrap()["page"]["next_token"] });
        pages.push(pdp.post(path, &body).json());
        assert!(pages.len() < 10, "{pages:?}");
    }
    pages
}

fn subjects() -> Value {
    json!({
        "subject": { "type": "user" }, "action": { "name": "can_read_todos" },
        "resource": { "type": "todo", "id": "todo-1" }, "page": { "limit": 2 },
    })
}

/// The section, the statement in short, and whether it holds.
type Row = (&'static str, &'static str, fn(&Pdp));

const TABLE: &[Row] = &[
    ("4", "endpoints SHOULD include `v1`", |pdp| {
        for (_, endpoint) in pdp
            .get(WELL_KNOWN)
            .json()
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| name.ends_with("endpoint"))
        {
            assert!(endpoint.as_str().unwrap().contains("/v1/"));
        }
    }),
    (
        "5.1",
        "a Subject has the REQUIRED strings `type` and `id`, and OPTIONAL `properties`, an object",
        |pdp| {
            for member in ["type", "id"] {
                pdp.post(ONE, &without(yes(), &format!("/subject/{member}"))).is_error(400);
                for value in [json!(7), json!(null), json!({})] {
                    pdp.post(ONE, &with(yes(), &format!("/subject/{member}"), value)).is_error(400);
                }
            }
            for value in [json!("alice"), json!(null), json!(["user", "alice"])] {
                pdp.post(ONE, &with(yes(), "/subject", value)).is_error(400);
            }
            pdp.post(ONE, &with(yes(), "/subject/properties", json!([]))).is_error(400);
            assert!(pdp.decides(&with(yes(), "/subject/properties", json!({}))));
        },
    ),
    ("5.1.1", "properties MAY be simple and complex values", |pdp| {
        let properties = json!({ "a": "x", "b": 1.5, "c": true, "d": null, "e": [1, {"f": []}], "g": {} });
        assert!(pdp.decides(&with(yes(), "/subject/properties", properties)));
    }),
    (
        "5.2",
        "a Resource has the REQUIRED strings `type` and `id`, and OPTIONAL `properties`, an object",
        |pdp| {
            for member in ["type", "id"] {
                pdp.post(ONE, &without(yes(), &format!("/resource/{member}"))).is_error(400);
                pdp.post(ONE, &with(yes(), &format!("/resource/{member}"), json!(7))).is_error(400);
            }
            pdp.post(ONE, &with(yes(), "/resource", json!("todo"))).is_error(400);
            pdp.post(ONE, &with(yes(), "/resource/properties", json!("x"))).is_error(400);
            // And the policy sees them.
            let owned = |owner: &str| with(no(), "/resource/properties", json!({ "ownerID": owner }));
            assert!(
                pdp.decides(&owned("morty@the-citadel.com")) && !pdp.decides(&owned("rick@the-citadel.com"))
            );
        },
    ),
    ("5.3", "an Action has the REQUIRED string `name`, and OPTIONAL `properties`, an object", |pdp| {
        pdp.post(ONE, &with(yes(), "/action", json!({}))).is_error(400);
        pdp.post(ONE, &with(yes(), "/action", json!("can_update_todo"))).is_error(400);
        pdp.post(ONE, &with(yes(), "/action/name", json!(123))).is_error(400);
        pdp.post(ONE, &with(yes(), "/action/properties", json!(1))).is_error(400);
        assert!(pdp.decides(&with(yes(), "/action/properties", json!({ "soft": true }))));
    }),
    ("5.4", "the Context is an object", |pdp| {
        assert!(pdp.decides(&with(yes(), "/context", json!({ "time": "1985-10-26T01:22-07:00" }))));
        for value in [json!("now"), json!([]), json!(null)] {
            pdp.post(ONE, &with(yes(), "/context", value)).is_error(400);
        }
    }),
    ("5.5", "a Decision has the REQUIRED boolean `decision`; `false` MUST NOT be permitted", |pdp| {
        assert_eq!(pdp.post(ONE, &yes()).json()["decision"], json!(true));
        assert_eq!(pdp.post(ONE, &no()).json()["decision"], json!(false));
    }),
    (
        "5.5.1",
        "a response MAY have a `context`, an object, with reasons and whatever else the policy says",
        |pdp| {
            let allowed = pdp.post(ONE, &yes()).json();
            assert_eq!(allowed["context"]["role"], "editor");
            assert_eq!(allowed["context"]["reasons"][0]["code"], "granted");
            let denied = pdp.post(ONE, &no()).json();
            assert_eq!(denied["context"]["reasons"][0]["code"], "not-granted");
            // By which it can be proved.
            let id = denied["context"]["decision_id"].as_str().unwrap();
            let recorded = pdp.get(&format!("/v1/tenants/default/decisions/{id}")).json();
            assert_eq!((&recorded["allow"], &recorded["rule"]), (&json!(false), &json!("evaluation")));
        },
    ),
    ("6.1", "`subject`, `action` and `resource` are REQUIRED, `context` is OPTIONAL", |pdp| {
        for member in ["subject", "action", "resource"] {
            pdp.post(ONE, &without(yes(), &format!("/{member}"))).is_error(400);
        }
        assert!(pdp.decides(&yes()));
    }),
    ("6.2", "the response is a Decision, and the same request has the same one", |pdp| {
        for _ in 0..5 {
            let answer = pdp.post(ONE, &yes()).json();
            let names: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!((names, &answer["decision"]), (vec!["context", "decision"], &json!(true)));
        }
    }),
    ("7.1", "without `evaluations`, or with none in it, the request is a single evaluation", |pdp| {
        for body in [no(), with(no(), "/evaluations", json!([]))] {
            let answer = pdp.post(MANY, &body).json();
            assert_eq!((&answer["decision"], answer.get("evaluations")), (&json!(false), None));
        }
        pdp.post(MANY, &without(with(no(), "/evaluations", json!([])), "/subject")).is_error(400);
    }),
    ("7.1", "`evaluations` is an array of requests, which are independent of each other", |pdp| {
        assert_eq!(pdp.batch(&json!({ "evaluations": [yes(), no(), yes()] })), [true, false, true]);
        for list in [json!({}), json!("x"), json!(null)] {
            pdp.post(MANY, &json!({ "evaluations": list })).is_error(400);
        }
    }),
    ("7.1", "`subject`, `action` and `resource` MAY be omitted where every object has them", |pdp| {
        assert_eq!(pdp.batch(&json!({ "evaluations": [yes(), no()] })), [true, false]);
        // Nor need they be complete where they are not needed.
        assert_eq!(pdp.batch(&json!({ "evaluations": [yes()], "resource": {} })), [true]);
        pdp.post(MANY, &json!({ "evaluations": [yes()], "resource": "x" })).is_error(400);
    }),
    ("7.1.1", "top-level keys are defaults, and those of an evaluation override them as a whole", |pdp| {
        let mut body = without(no(), "/resource");
        body["resource"] =
            json!({ "type": "todo", "id": "x", "properties": { "ownerID": "morty@the-citadel.com" } });
        body["evaluations"] = json!([
            {}, { "resource": { "type": "todo", "id": RICKS } }, { "action": { "name": "can_fly" } },
            { "subject": { "type": "user", "id": RICK } },
        ]);
        assert_eq!(pdp.batch(&body), [true, false, false, true]);
    }),
    ("7.1.1", "a key that an evaluation omits MUST be at the top level", |pdp| {
        let mut body = without(yes(), "/resource");
        body["evaluations"] =
            json!([{ "resource": yes()["resource"] }, {}, { "resource": { "type": "todo" } }, 7]);
        let answer = pdp.post(MANY, &body).json();
        assert_eq!(answer["evaluations"][0]["decision"], true);
        for number in 1..4 {
            let failed = &answer["evaluations"][number];
            assert_eq!(
                (&failed["decision"], &failed["context"]["error"]["status"]),
                (&json!(false), &json!(400))
            );
        }
    }),
    ("7.1.2", "`options` is OPTIONAL, an object; other options are no error", |pdp| {
        assert_eq!(
            pdp.batch(&json!({ "evaluations": [yes()], "options": { "another_option": "value" } })),
            [true]
        );
        for options in [json!([]), json!("execute_all"), json!(null)] {
            pdp.post(MANY, &json!({ "evaluations": [yes()], "options": options })).is_error(400);
        }
    }),
    ("7.1.2.1", "`execute_all` executes all, and is the default", |pdp| {
        let items = [no(), yes(), no(), yes()];
        assert_eq!(pdp.batch(&batch(&items, "execute_all")), [false, true, false, true]);
        assert_eq!(pdp.batch(&json!({ "evaluations": items })), [false, true, false, true]);
    }),
    ("7.1.2.1", "`deny_on_first_deny` ends with the first denial or failure", |pdp| {
        let failing = with(yes(), "/subject/id", json!(BROKEN));
        assert_eq!(pdp.batch(&batch(&[yes(), no(), yes()], "deny_on_first_deny")), [true, false]);
        assert_eq!(pdp.faulty.batch(&batch(&[yes(), failing, yes()], "deny_on_first_deny")), [true, false]);
        assert_eq!(pdp.batch(&batch(&[yes(), json!({}), yes()], "deny_on_first_deny")), [true, false]);
        assert_eq!(pdp.batch(&batch(&[yes(), yes()], "deny_on_first_deny")), [true, true]);
    }),
    ("7.1.2.1", "`permit_on_first_permit` ends with the first permit", |pdp| {
        let failing = with(yes(), "/subject/id", json!(BROKEN));
        assert_eq!(
            pdp.faulty.batch(&batch(&[no(), failing, yes(), no()], "permit_on_first_permit")),
            [false, false, true]
        );
        assert_eq!(pdp.batch(&batch(&[no(), no()], "permit_on_first_permit")), [false, false]);
    }),
    ("7.1.2.1", "the semantic is exactly one of three", |pdp| {
        pdp.post(MANY, &batch(&[yes()], "first")).is_error(400);
        for semantic in [json!(null), json!(["execute_all"]), json!("Execute_All")] {
            let body = json!({ "evaluations": [yes()], "options": { "evaluations_semantic": semantic } });
            pdp.post(MANY, &body).is_error(400);
        }
    }),
    (
        "7.2",
        "decisions are in the order of the evaluations, and it is RECOMMENDED to have no `decision` beside them",
        |pdp| {
            let items: Vec<_> = (0..60).map(|number| if number % 7 == 3 { yes() } else { no() }).collect();
            let expected: Vec<_> = (0..60).map(|number| number % 7 == 3).collect();
            assert_eq!(pdp.batch(&json!({ "evaluations": items })), expected);
            assert_eq!(pdp.post(MANY, &json!({ "evaluations": [yes()] })).json().get("decision"), None);
        },
    ),
    ("7.2.1", "what concerns the whole payload is an error of the transport", |pdp| {
        pdp.bytes(MANY, b"{").is_error(400);
        pdp.post(
            &MANY.replace("/access", "/v1/tenants/default/policies/nobody/access"),
            &json!({ "evaluations": [yes()] }),
        )
        .is_error(404);
    }),
    ("7.2.1", "an evaluation that fails is denied, and its context says why", |pdp| {
        let body = json!({ "evaluations": [yes(), with(yes(), "/subject/id", json!(BROKEN)), yes()] });
        let answer = pdp.faulty.post(MANY, &body).json();
        let failed = &answer["evaluations"][1];
        assert_eq!(failed["decision"], false);
        let error = &failed["context"]["error"];
        assert_eq!((&error["status"], &error["code"]), (&json!(500), &json!("policy-error")), "{failed}");
        assert!(!error["message"].as_str().unwrap().is_empty());
        assert_eq!(pdp.faulty.batch(&body), [true, false, true]);
    }),
    ("8.1", "what a search finds SHOULD be permitted, and here nothing else is", |pdp| {
        let todo = |number: usize| format!("7240d0db-8ff0-41ec-98b2-34a096273b9{number}");
        let found = pdp.found(RESOURCES, &without(yes(), "/resource/id"));
        for number in 1..6 {
            let is_found = found.iter().any(|it| it["id"] == todo(number));
            assert_eq!(pdp.decides(&question(MORTY, "can_update_todo", &todo(number))), is_found);
        }
        assert_eq!(
            pdp.found(SUBJECTS, &without(yes(), "/subject/id")),
            [json!({ "type": "user", "id": RICK }), json!({ "type": "user", "id": MORTY })]
        );
        let actions = pdp.found(ACTIONS, &without(no(), "/action"));
        for action in
            ["can_read_user", "can_read_todos", "can_create_todo", "can_update_todo", "can_delete_todo"]
        {
            let is_found = actions.contains(&json!({ "name": action }));
            assert_eq!(pdp.decides(&question(MORTY, action, RICKS)), is_found, "{action}");
        }
    }),
    (
        "8.2",
        "a page that is not the last MUST have a `page` with a `next_token`, which leads through all to an empty one",
        |pdp| {
            for (path, first) in [(RESOURCES, paged()), (SUBJECTS, subjects())] {
                let pages = pages(pdp, path, &first);
                let counts: Vec<_> =
                    pages.iter().map(|page| page["results"].as_array().unwrap().len()).collect();
                assert_eq!(counts, [2, 2, 1], "{path}");
                let all = pdp.found(path, &without(first, "/page"));
                let paged: Vec<_> =
                    pages.iter().flat_map(|page| page["results"].as_array().unwrap().clone()).collect();
                assert_eq!(paged, all, "{path}");
            }
        },
    ),
    (
        "8.2",
        "a request with a token MUST be identical otherwise; an error SHOULD say that it is not",
        |pdp| {
            for (path, first) in [(RESOURCES, paged()), (SUBJECTS, subjects())] {
                let token = pdp.post(path, &first).json()["page"]["next_token"].clone();
                let next = with(first, "/page/token", token);
                // Neither the order of members nor the space between them makes it another one.
                pdp.bytes(path, serde_json::to_string_pretty(&next).unwrap().as_bytes()).json();
                for (pointer, value) in [
                    ("/action/name", json!("can_delete_todo")),
                    ("/page/limit", json!(3)),
                    ("/context", json!({ "a": 1 })),
                    ("/page/properties", json!({ "sort": "id" })),
                    ("/resource/properties", json!({ "a": 1 })),
                    ("/subject/properties", json!({ "a": 1 })),
                ] {
                    pdp.post(path, &with(next.clone(), pointer, value)).is_error(400);
                }
                pdp.post(&format!("{BELOW}{path}?channel=x"), &next).is_error(400);
            }
            let token = pdp.post(RESOURCES, &paged()).json()["page"]["next_token"].clone();
            let elsewhere = with(subjects(), "/page/token", token);
            pdp.post(SUBJECTS, &elsewhere).is_error(400);
        },
    ),
    (
        "8.2.1",
        "`token`, `limit` and `properties` of a page are OPTIONAL; `limit` is a non-negative integer",
        |pdp| {
            for path in [RESOURCES, SUBJECTS] {
                let ask = |page: Value| {
                    pdp.post(path, &with(if path == SUBJECTS { subjects() } else { paged() }, "/page", page))
                };
                for page in [
                    json!({}),
                    json!({ "limit": 99 }),
                    json!({ "properties": {} }),
                    json!({ "unknown": 1, "limit": 5 }),
                ] {
                    let answer = ask(page).json();
                    assert_eq!(
                        (answer["results"].as_array().unwrap().len(), &answer["page"]["next_token"]),
                        (5, &json!(""))
                    );
                }
                let none = ask(json!({ "limit": 0 })).json();
                assert!(none["results"] == json!([]) && none["page"]["next_token"] != "", "{none}");
                for page in [
                    json!([]),
                    json!(null),
                    json!({ "limit": -1 }),
                    json!({ "limit": 1.5 }),
                    json!({ "limit": "2" }),
                    json!({ "token": 7 }),
                    json!({ "token": "made up" }),
                    json!({ "properties": 1 }),
                ] {
                    ask(page).is_error(400);
                }
            }
        },
    ),
    (
        "8.2.2",
        "`page` MUST be there where not all is, with `next_token`; `count` and `total` are non-negative integers",
        |pdp| {
            let first = pdp.post(SUBJECTS, &subjects()).json();
            assert_eq!((&first["page"]["count"], &first["page"]["total"]), (&json!(2), &json!(5)));
            assert!(first["page"]["next_token"].is_string());
            let own = pdp.post(RESOURCES, &paged()).json();
            assert!(own["page"]["next_token"].is_string() && own["page"]["count"] == 2);
            assert_eq!(pdp.post(SUBJECTS, &without(subjects(), "/page")).json().get("page"), None);
        },
    ),
    (
        "8.3",
        "`results` is REQUIRED, with nothing but the type; it is RECOMMENDED that `page` comes first",
        |pdp| {
            assert!(pdp.post(SUBJECTS, &subjects()).text.starts_with("{\"page\":{"));
            for (path, body, kind) in [(SUBJECTS, subjects(), "user"), (RESOURCES, paged(), "todo")] {
                let found = pdp.found(path, &body);
                assert!(
                    !found.is_empty() && found.iter().all(|it| it["type"] == kind && it["id"].is_string()),
                    "{found:?}"
                );
            }
            assert!(pdp.found(ACTIONS, &yes()).iter().all(|it| it["name"].is_string()));
            let answer = pdp.post(ACTIONS, &yes()).json();
            assert!(answer["context"]["decision_id"].is_string());
            // Nothing is found of whom and what nobody knows, which is no error.
            assert!(pdp.found(ACTIONS, &with(yes(), "/subject/id", json!("nobody"))).is_empty());
            assert!(pdp.found(SUBJECTS, &with(yes(), "/subject/type", json!("spaceship"))).is_empty());
            assert!(pdp.found(RESOURCES, &with(yes(), "/resource/type", json!("spaceship"))).is_empty());
        },
    ),
    (
        "8.4.1",
        "Subject Search: `subject.type`, `action` and `resource` are REQUIRED; `subject.id` MUST be ignored",
        |pdp| {
            let body = without(subjects(), "/page");
            for pointer in [
                "/subject",
                "/subject/type",
                "/action",
                "/action/name",
                "/resource",
                "/resource/type",
                "/resource/id",
            ] {
                pdp.post(SUBJECTS, &without(body.clone(), pointer)).is_error(400);
            }
            assert_eq!(
                pdp.found(SUBJECTS, &with(body.clone(), "/subject/id", json!(MORTY))),
                pdp.found(SUBJECTS, &body)
            );
            assert_eq!(
                pdp.found(SUBJECTS, &with(body.clone(), "/context", json!({ "a": 1 }))),
                pdp.found(SUBJECTS, &body)
            );
        },
    ),
    (
        "8.5.1",
        "Resource Search: `resource.type`, `action` and `subject` are REQUIRED; `resource.id` MUST be ignored",
        |pdp| {
            let body = without(paged(), "/page");
            for pointer in [
                "/subject",
                "/subject/type",
                "/subject/id",
                "/action",
                "/action/name",
                "/resource",
                "/resource/type",
            ] {
                pdp.post(RESOURCES, &without(body.clone(), pointer)).is_error(400);
            }
            assert_eq!(
                pdp.found(RESOURCES, &with(body.clone(), "/resource/id", json!(MORTYS))),
                pdp.found(RESOURCES, &body)
            );
        },
    ),
    ("8.6.1", "Action Search: `subject` and `resource` are REQUIRED, `action` is omitted", |pdp| {
        let body = without(yes(), "/action");
        for pointer in
            ["/subject", "/subject/type", "/subject/id", "/resource", "/resource/type", "/resource/id"]
        {
            pdp.post(ACTIONS, &without(body.clone(), pointer)).is_error(400);
        }
        assert_eq!(pdp.found(ACTIONS, &yes()), pdp.found(ACTIONS, &body));
    }),
    (
        "9.1.1",
        "`policy_decision_point` is REQUIRED, `https` without query and fragment; `access_evaluation_endpoint` is REQUIRED",
        |pdp| {
            let expected = |pdp: &str| {
                json!({
                    "policy_decision_point": pdp,
                    "access_evaluation_endpoint": format!("{pdp}{ONE}"),
                    "access_evaluations_endpoint": format!("{pdp}{MANY}"),
                    "search_subject_endpoint": format!("{pdp}{SUBJECTS}"),
                    "search_resource_endpoint": format!("{pdp}{RESOURCES}"),
                    "search_action_endpoint": format!("{pdp}{ACTIONS}"),
                })
            };
            assert_eq!(pdp.get(WELL_KNOWN).json(), expected("https://pdp.example.com"));
            assert_eq!(
                pdp.get(&format!("{WELL_KNOWN}{BELOW}")).json(),
                expected(&format!("https://pdp.example.com{BELOW}"))
            );
        },
    ),
    ("9.1.1", "an endpoint that is absent says that the search is not answered", |pdp| {
        let path = BELOW.replace("todo-access", "role-based-access");
        let said = pdp.get(&format!("{WELL_KNOWN}{path}")).json();
        assert!(said.as_object().unwrap().keys().all(|name| !name.contains("search")), "{said}");
        pdp.post(&format!("{path}{SUBJECTS}"), &subjects()).is_error(404);
    }),
    ("9.2", "the document is at the well-known part put between host and path, for each identifier", |pdp| {
        let said = pdp.get(&format!("{WELL_KNOWN}{BELOW}")).json();
        let endpoint = said["access_evaluation_endpoint"]
            .as_str()
            .unwrap()
            .strip_prefix("https://pdp.example.com")
            .unwrap();
        assert_eq!(pdp.post(endpoint, &yes()).json()["decision"], true);
    }),
    ("9.2.1", "it MUST be queried by GET", |pdp| pdp.post(WELL_KNOWN, &json!({})).is_error(405)),
    (
        "9.2.2",
        "success MUST be 200 and `application/json`; parameters without values MUST be omitted; errors have their status",
        |pdp| {
            let said = pdp.get(WELL_KNOWN).json();
            assert!(said.as_object().unwrap().values().all(Value::is_string), "{said}");
            pdp.get(&format!("{WELL_KNOWN}/v1/tenants/default/policies/nobody")).is_error(404);
            pdp.get(&format!("{WELL_KNOWN}/elsewhere")).is_error(404);
        },
    ),
    ("9.2.3", "`policy_decision_point` MUST be the identifier that the document was asked by", |pdp| {
        // Where the operator does not say how the server is called, its callers do.
        let agent = jwt("agent");
        let authorization = ("authorization", agent.as_str());
        let said = send(
            &pdp.guarded,
            "GET",
            &format!("{WELL_KNOWN}{BELOW}"),
            &[authorization, ("host", "a.example:8443")],
            b"",
        )
        .json();
        assert_eq!(said["policy_decision_point"], format!("https://a.example:8443{BELOW}"));
        send(&pdp.guarded, "GET", &format!("{WELL_KNOWN}{BELOW}"), &[("host", "a.example")], b"")
            .is_error(401);
    }),
    ("10.1", "requests are POST, with `Content-Type: application/json`", |pdp| {
        let body = yes().to_string();
        for path in [ONE, MANY, SUBJECTS, RESOURCES, ACTIONS] {
            pdp.get(path).is_error(405);
            for headers in
                [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/jsonx")]]
            {
                send(&pdp.open.0, "POST", path, headers, body.as_bytes()).is_error(400);
            }
            for value in ["application/json; charset=utf-8", "Application/JSON"] {
                send(&pdp.open.0, "POST", path, &[("content-type", value)], body.as_bytes()).json();
            }
        }
    }),
    (
        "10.1",
        "success is 200 and `application/json`, at the default paths, and at those of every policy",
        |pdp| {
            for path in [ONE, MANY, SUBJECTS, RESOURCES, ACTIONS] {
                let (root, below) =
                    (pdp.post(path, &yes()).json(), pdp.post(&format!("{BELOW}{path}"), &yes()).json());
                assert_eq!((&root["decision"], &root["results"]), (&below["decision"], &below["results"]));
            }
        },
    ),
    ("10.1.1", "the top-level element MUST be an object", |pdp| {
        for path in [ONE, MANY, SUBJECTS, RESOURCES, ACTIONS] {
            for body in ["", "  ", "[]", "null", "7", "\"x\"", "{", "{}x", "not json"] {
                pdp.bytes(path, body.as_bytes()).is_error(400);
            }
            pdp.bytes(path, format!("[{}]", yes()).as_bytes()).is_error(400);
        }
    }),
    ("10.1.1", "a required attribute that is omitted MUST be a Bad Request", |pdp| {
        for path in [ONE, MANY] {
            for pointer in
                ["/subject", "/subject/id", "/action", "/action/name", "/resource", "/resource/type"]
            {
                pdp.post(path, &without(yes(), pointer)).is_error(400);
            }
        }
    }),
    ("10.1.1", "unknown fields MUST be ignored", |pdp| {
        for body in [yes(), no()] {
            let more =
                with(with(body.clone(), "/foo", json!("bar")), "/futureField", json!({ "nested": true }));
            let more = with(with(more, "/subject/new", json!(1)), "/page", json!(7));
            assert_eq!(pdp.decides(&more), pdp.decides(&body));
            let expected =
                pdp.post(MANY, &json!({ "evaluations": [body] })).json()["evaluations"][0]["decision"]
                    .clone();
            let many = pdp.post(MANY, &json!({ "evaluations": [more], "foo": 1 })).json();
            assert_eq!(many["evaluations"][0]["decision"], expected);
        }
        assert_eq!(pdp.found(ACTIONS, &with(yes(), "/foo", json!(1))), pdp.found(ACTIONS, &yes()));
    }),
    ("10.1.1", "members MUST NOT be taken to come in a particular order", |pdp| {
        let (subject, action, resource) = (&yes()["subject"], &yes()["action"], &yes()["resource"]);
        for body in [
            format!(r#"{{"resource":{resource},"action":{action},"subject":{subject}}}"#),
            format!(
                r#"{{"action":{action},"subject":{{"id":"{MORTY}","type":"user"}},"resource":{resource}}}"#
            ),
        ] {
            assert_eq!(pdp.bytes(ONE, body.as_bytes()).json()["decision"], true);
        }
    }),
    ("10.1.2", "400, 401, 403 and 500 have an error message as their body", |pdp| {
        let body = yes().to_string();
        let ask = |headers: &[(&str, &str)]| send(&pdp.guarded, "POST", ONE, headers, body.as_bytes());
        pdp.post(ONE, &json!({})).is_error(400);
        ask(&[JSON]).is_error(401);
        ask(&[JSON, ("authorization", "Bearer nobody")]).is_error(401);
        ask(&[JSON, ("authorization", &jwt("auditor"))]).is_error(403);
        assert_eq!(ask(&[JSON, ("authorization", &jwt("agent"))]).json()["decision"], true);
        for path in [ONE, MANY, ACTIONS, RESOURCES, SUBJECTS] {
            pdp.faulty.post(path, &with(yes(), "/subject/id", json!(BROKEN))).is_error(500);
        }
    }),
    ("10.1.2", "a denial is 200 with `decision` false", |pdp| {
        assert_eq!(pdp.post(ONE, &no()).json()["decision"], false);
    }),
    (
        "10.1.3",
        "the request's identifier MUST be in the response, the same, whatever the response is",
        |pdp| {
            let long = "x".repeat(4_000);
            for id in
                ["bfe9eb29-ab87-4ca3-be83-a1d5d8305716", "an arbitrary \"string\", with spaces", "7", &long]
            {
                let headers = [JSON, ("x-request-id", id)];
                for (path, body) in [
                    (ONE, yes()),
                    (ONE, no()),
                    (MANY, yes()),
                    (SUBJECTS, yes()),
                    (RESOURCES, yes()),
                    (ACTIONS, yes()),
                    (ONE, json!({})),
                    ("/access/v1/nothing", yes()),
                ] {
                    let reply = send(&pdp.open.0, "POST", path, &headers, body.to_string().as_bytes());
                    assert_eq!(reply.header("x-request-id"), id, "{path}");
                }
                assert_eq!(send(&pdp.guarded, "POST", ONE, &headers, b"{}").header("x-request-id"), id);
                assert_eq!(send(&pdp.open.0, "GET", WELL_KNOWN, &headers, b"").header("x-request-id"), id);
            }
            assert_eq!(pdp.post(ONE, &yes()).status, 200);
        },
    ),
    ("11.2", "the PDP SHOULD authenticate its callers", |pdp| {
        for path in [ONE, MANY, SUBJECTS, RESOURCES, ACTIONS] {
            for path in [path.to_owned(), format!("{BELOW}{path}")] {
                send(&pdp.guarded, "POST", &path, &[JSON], yes().to_string().as_bytes()).is_error(401);
                let agent = send(
                    &pdp.guarded,
                    "POST",
                    &path,
                    &[JSON, ("authorization", &jwt("agent"))],
                    yes().to_string().as_bytes(),
                );
                assert_eq!(agent.status, 200, "{agent:?}");
            }
        }
    }),
    ("11.2", "and tells those of another tenant nothing, not even what is there", |pdp| {
        let other = jwt_of("other", "agent");
        let ask = |path: &str, body: &Value| {
            send(&pdp.guarded, "POST", path, &[JSON, ("authorization", &other)], body.to_string().as_bytes())
        };
        for path in [ONE, MANY, SUBJECTS, RESOURCES, ACTIONS] {
            let nobody = ask(&format!("{}{path}", BELOW.replace("todo-access", "nobody")), &yes());
            nobody.is_error(404);
            for path in [path.to_owned(), format!("{BELOW}{path}")] {
                for body in [yes(), json!({})] {
                    assert_eq!(ask(&path, &body).text, nobody.text, "{path}");
                }
            }
        }
        send(&pdp.guarded, "GET", &format!("{WELL_KNOWN}{BELOW}"), &[("authorization", &other)], b"")
            .is_error(404);
    }),
    ("11.3", "without credentials it MUST be 401, and SHOULD have `WWW-Authenticate`", |pdp| {
        let reply = send(&pdp.guarded, "POST", ONE, &[JSON], yes().to_string().as_bytes());
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, "Bearer"));
    }),
    ("11.5", "requests SHOULD be I-JSON: UTF-8 without lone surrogates, and every member once", |pdp| {
        let text = yes().to_string();
        for (from, to) in [
            ("\"type\":\"user\"", "\"type\":\"user\",\"type\":\"user\""),
            ("\"type\":\"user\"", "\"type\":\"user\",\"new\":1,\"new\":2"),
            ("\"type\":\"user\"", "\"type\":\"user\",\"new\":\"\\ud800\""),
            ("{\"action\"", "{\"subject\":1,\"action\""),
        ] {
            assert!(text.contains(from), "{text}");
            pdp.bytes(ONE, text.replacen(from, to, 1).as_bytes()).is_error(400);
        }
        pdp.bytes(ONE, &[text.replacen('{', "{\"new\":\"", 1).as_bytes(), b"\xff\"}"].concat()).is_error(400);
    }),
    ("11.5", "what is generated SHOULD have no members that are null", |pdp| {
        for (path, body) in [
            (ONE, yes()),
            (ONE, no()),
            (MANY, json!({ "evaluations": [yes(), json!({})] })),
            (SUBJECTS, subjects()),
            (RESOURCES, paged()),
            (ACTIONS, yes()),
        ] {
            assert!(!pdp.post(path, &body).text.contains("null"));
        }
    }),
    ("11.7", "large, deep and numerous requests SHOULD do no harm", |pdp| {
        assert!(announce(&pdp.open.0, 3 << 20).starts_with("HTTP/1.1 413 "));
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        let refused = pdp.bytes(
            ONE,
            yes().to_string().replacen('{', &format!("{{\"context\":{{\"a\":{deep}}},"), 1).as_bytes(),
        );
        refused.is_error(400);
        pdp.post(MANY, &json!({ "evaluations": vec![yes(); 1_001] })).is_error(400);
        // A policy's own limit of input.
        let large = with(yes(), "/context", json!({ "a": "x".repeat(20_000) }));
        pdp.post(ONE, &large).is_error(413);
        assert_eq!(pdp.batch(&json!({ "evaluations": [large, yes()] })), [false, true]);
    }),
    ("11.9", "the document may be kept for a while (`Cache-Control` with `max-age`)", |pdp| {
        assert_eq!(pdp.get(WELL_KNOWN).header("cache-control"), "public, max-age=300");
        assert_eq!(pdp.get(&format!("{WELL_KNOWN}{BELOW}")).header("cache-control"), "private, max-age=300");
    }),
];

/// A token of the issuer's, signed here.
fn jwt(role: &str) -> String {
    jwt_of("default", role)
}

fn jwt_of(tenant: &str, role: &str) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": "verdict", "sub": "gateway", "exp": 4_102_444_800_u64, "tenant": tenant,
        "roles": [role],
    });
    let coded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", coded(json!({ "alg": "EdDSA", "kid": "k" })), coded(claims));
    let signature = SecretKey::from_seed(KEY).sign(message.as_bytes());
    format!("Bearer {message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A site with the data of the policy, and more users.
fn site(policies: &[&str], more: &[(&str, Value)]) -> Site {
    let site = Site::new(policies);
    let data = std::fs::read(root().join("guest-policies/library/todo-access/data.json")).unwrap();
    let mut data: Value = serde_json::from_slice(&data).unwrap();
    for (key, user) in more {
        data["todo_users"][*key] = user.clone();
    }
    std::fs::write(site.path("data/default.json"), data.to_string()).unwrap();
    site
}

fn guarded(site: &Site, access: &AccessSite) -> Server {
    let public = SecretKey::from_seed(KEY).public();
    let jwk =
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": URL_SAFE_NO_PAD.encode(public.as_bytes()) });
    std::fs::write(access.path("jwks.json"), json!({ "keys": [jwk] }).to_string()).unwrap();
    site.serve(&[
        "--authzen",
        "default/todo-access",
        "--access",
        text(&access.policy()),
        "--access-trust",
        text(&access.trust()),
        "--access-component",
        access.component(),
        "--jwt-issuer",
        ISSUER,
        "--jwt-audience",
        "verdict",
        "--jwks",
        text(&access.path("jwks.json")),
    ])
}

#[test]
fn every_normative_statement_about_a_policy_decision_point_holds() {
    let (open, access) = (site(&["todo-access", "role-based-access"], &[]), AccessSite::new());
    let faulty = site(&["todo-access"], &[(BROKEN, json!({ "roles": 7 }))]);
    let second = site(&["todo-access"], &[]);
    let options = ["--authzen", "default/todo-access", "--authzen-url", "https://pdp.example.com"];
    let pdp = Pdp {
        open: Open(open.serve(&options)),
        faulty: Open(faulty.serve(&options)),
        guarded: guarded(&second, &access),
    };
    let mut broken = Vec::new();
    for (section, statement, holds) in TABLE {
        if catch_unwind(AssertUnwindSafe(|| holds(&pdp))).is_err() {
            broken.push(format!("{section}: {statement}"));
        }
    }
    assert!(broken.is_empty(), "{} of {} do not hold:\n{}", broken.len(), TABLE.len(), broken.join("\n"));
}

#[test]
fn nothing_answers_at_the_root_where_no_policy_is_named_for_it() {
    let site = site(&["todo-access"], &[]);
    let server = site.serve(&[]);
    for path in [ONE, MANY, SUBJECTS, RESOURCES, ACTIONS] {
        send(&server, "POST", path, &[JSON], yes().to_string().as_bytes()).is_error(404);
    }
    send(&server, "GET", WELL_KNOWN, &[], b"").is_error(404);
    let below = send(&server, "POST", &format!("{BELOW}{ONE}"), &[JSON], yes().to_string().as_bytes());
    assert_eq!(below.json()["decision"], true);
}
