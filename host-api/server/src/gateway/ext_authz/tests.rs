use prost::Message;
use serde_json::{Value, json};

use super::messages::{CheckRequest, CheckResponse, HeaderMap, HeaderValue, HttpRequest, Request};
use super::*;

/// What Envoy 1.40.0 sent for a `POST` with metadata, extensions and a body.
const ENVOY: &[u8] = include_bytes!("envoy-1.40.0-check.bin");

fn schema(text: &str) -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()
}

fn is_input(document: &Value) -> bool {
    schema(include_str!("input.schema.json")).is_valid(document)
}

fn of(http: HttpRequest) -> AttributeContext {
    let request = Request { time: None, http: Some(http) };
    AttributeContext { request: Some(request), ..AttributeContext::default() }
}

fn document(mut attributes: AttributeContext) -> Value {
    input::gather(attributes.request.as_mut().unwrap().http.as_mut().unwrap());
    let document = serde_json::from_slice(&input::document(&attributes).unwrap()).unwrap();
    assert!(is_input(&document), "{document}");
    document
}

fn with(headers: &[(&str, &str)], body: &str) -> HttpRequest {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    HttpRequest { headers, body: body.into(), path: "/".into(), ..HttpRequest::default() }
}

#[test]
fn what_envoy_sends_is_what_a_policy_is_asked() {
    let request = CheckRequest::decode(ENVOY).unwrap();
    let document = document(request.attributes.unwrap());
    let shop = json!({"area": "books", "level": 3, "open": true, "tags": ["a", null, 1.5]});
    let area = json!({"name": "books", "level": 3, "open": true, "tags": ["a", null, 1.5]});
    let socket =
        |port: u16| json!({"address": {"socketAddress": {"address": "127.0.0.1", "portValue": port}}});
    assert_eq!(
        document,
        json!({
            "attributes": {
                "source": socket(57_072), "destination": socket(35_255),
                "request": {
                    "time": {"seconds": 1_795_371_441, "nanos": 655_841_000},
                    "http": {
                        "id": "1815351105979486441", "method": "POST", "size": 14, "protocol": "HTTP/1.1",
                        "path": "/shop/caf%C3%A9?user=ann&tag=a&tag=b", "host": "127.0.0.1:35255", "scheme": "http",
                        "body": "{\"amount\": 12}",
                        "headers": {
                            ":authority": "127.0.0.1:35255", ":method": "POST", ":scheme": "http",
                            ":path": "/shop/caf%C3%A9?user=ann&tag=a&tag=b", "accept-encoding": "identity",
                            "content-length": "14", "content-type": "application/json", "user-agent": "test",
                            "x-envoy-auth-partial-body": "false", "x-forwarded-proto": "http", "x-probe": "echo",
                            "x-request-id": "ea08742b-4479-4736-afe8-43c26bb35214",
                        },
                    },
                },
                "contextExtensions": {"verdict_rule": "probe"},
                "metadataContext": {"filterMetadata": {"shop": shop}},
                "routeMetadataContext": {"filterMetadata": {"route.area": area}},
            },
            "parsed_body": {"amount": 12}, "parsed_path": ["shop", "café"],
            "parsed_query": {"tag": ["a", "b"], "user": ["ann"]}, "truncated_body": false,
            "version": {"encoding": "protojson", "ext_authz": "v3"},
        })
    );
}

#[test]
fn a_path_is_decoded_and_then_split_as_opa_does_it() {
    for (path, expected) in [
        ("/", &[""][..]),
        ("", &[""]),
        ("//admin//x/", &["admin", "", "x", ""]),
        ("/public%2F..%2fadmin?a=/b#c", &["public", "..", "admin"]),
        ("/a+b/%zz/%E9", &["a+b", "%zz", "\u{fffd}"]),
    ] {
        let document = document(of(HttpRequest { path: path.into(), ..with(&[], "") }));
        assert_eq!(document["parsed_path"], json!(expected), "{path}");
    }
    let document = document(of(HttpRequest { path: "/?a+b=%26&x&a%20b=".into(), ..with(&[], "") }));
    assert_eq!(document["parsed_query"], json!({"a b": ["&", ""], "x": [""]}));
}

#[test]
fn only_a_whole_body_that_says_that_it_is_json_is_parsed() {
    let json = ("content-type", "application/json; charset=utf-8");
    let problem = ("content-type", "application/problem+json");
    let partial = ("x-envoy-auth-partial-body", "true");
    for (headers, body, parsed, truncated) in [
        (&[json][..], "[1e400, 2]", "[1e400,2]", false),
        (&[problem], "{}", "{}", false),
        (&[json], "", "null", false),
        (&[("content-type", "text/plain")], "{}", "null", false),
        (&[], "{}", "null", false),
        (&[json, partial], "{\"a\": ", "null", true),
        (&[json, partial], "", "null", true),
        (&[json, ("content-length", "3")], "{}", "null", true),
        (&[("content-length", "3")], "12", "null", true),
    ] {
        let attributes = of(with(headers, body));
        let text = String::from_utf8(input::document(&attributes).unwrap()).unwrap();
        let parsed = format!("\"parsed_body\":{parsed},");
        assert!(text.replace(", 2", ",2").contains(&parsed), "{headers:?} {body}: {text}");
        assert!(text.contains(&format!("\"truncated_body\":{truncated},")), "{headers:?} {body}: {text}");
    }
    for body in ["{", "{} {}", "{'a': 1}", "NaN", "\u{feff}{}"] {
        assert!(input::document(&of(with(&[json], body))).is_err(), "{body}");
    }
}

#[test]
fn raw_headers_and_raw_bodies_are_found_where_the_others_are() {
    let header = |key: &str, value: &[u8]| HeaderValue {
        key: key.into(),
        value: String::new(),
        raw_value: value.into(),
    };
    let headers = vec![
        header("Accept", b"a"),
        header("accept", b"b\xff"),
        header("cookie", b"c=1"),
        header("cookie", b"d=2"),
        header("content-type", b"application/json"),
    ];
    let raw = HttpRequest {
        header_map: Some(HeaderMap { headers }),
        raw_body: b"[1]".to_vec(),
        ..HttpRequest::default()
    };
    let document = document(of(raw));
    let http = &document["attributes"]["request"]["http"];
    assert_eq!(
        http["headers"],
        json!({"accept": "a,b\u{fffd}", "cookie": "c=1; d=2", "content-type": "application/json"})
    );
    assert_eq!((&http["rawBody"], &document["parsed_body"]), (&json!("WzFd"), &json!([1])));
}

#[test]
fn routes_say_what_to_ask_and_else_the_server_does() {
    let asked = |said: &[(&str, &str)], otherwise: Option<&str>| {
        let said = said.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let otherwise = otherwise.map(|name| name.parse().unwrap());
        let asked = Asked::of(&said, otherwise.as_ref())?;
        Ok::<_, String>((asked.policy.to_string(), asked.channel.map(|it| it.to_string()), asked.rule))
    };
    let policy = ("verdict_policy", "shop/door");
    assert_eq!(asked(&[policy], Some("a/b")), Ok(("shop/door".into(), None, None)));
    assert_eq!(
        asked(&[("verdict_channel", "staging"), ("verdict_rule", "read")], Some("a/b")),
        Ok(("a/b".into(), Some("staging".into()), Some("read".into())))
    );
    for (said, otherwise) in [
        (&[][..], None),
        (&[("verdict_policy", "Shop/door")], Some("a/b")),
        (&[policy, ("verdict_channel", "not a name")], None),
    ] {
        assert!(asked(said, otherwise).is_err(), "{said:?}");
    }
}

fn carried_out(allow: bool, value: Value, path: &str) -> CheckResponse {
    answer::carried_out(allow, Some(&value.to_string()), "d-1", path)
}

fn status(response: &CheckResponse) -> Option<i32> {
    response.denied_response.as_ref()?.status.as_ref().map(|status| status.code)
}

#[test]
fn what_cannot_be_carried_out_lets_nothing_pass() {
    let (many, long) = (vec!["x"; 65], "x".repeat(33 << 10));
    let cases = [
        (true, json!(true)),
        (true, json!([1])),
        (true, json!({"headers": {"x-a": "1", "X-B": ["2", ""]}, "other": {"of": "its own"}})),
        (true, json!({"http_status": 302, "headers": {"location": "/login"}, "body": "é\u{0}"})),
        (true, json!({"query_parameters_to_set": {"é": "&="}, "query_parameters_to_remove": [""]})),
        (false, json!({"headers": ["x-a"]})),
        (false, json!({"headers": {"x-a": 1}})),
        (false, json!({"headers": {"x-a": "1\r\nx-b: 2"}})),
        (false, json!({"headers": {"x-a": "é"}})),
        (false, json!({"headers": {":path": "/admin"}})),
        (false, json!({"headers": {"": "x"}})),
        (false, json!({"headers": {"x a": "x"}})),
        (false, json!({"headers": {"host": "other"}})),
        (false, json!({"headers": {"x-verdict-decision-id": "d-0"}})),
        (false, json!({"headers": {"x-a": many}})),
        (false, json!({"response_headers_to_add": {"content-length": "0"}})),
        (false, json!({"request_headers_to_remove": ["transfer-encoding"]})),
        (false, json!({"request_headers_to_remove": "x-a"})),
        (false, json!({"request_headers_to_remove": many})),
        (false, json!({"query_parameters_to_remove": many})),
        (false, json!({"query_parameters_to_set": {"a": ["b"]}})),
        (false, json!({"dynamic_metadata": 1})),
        (false, json!({"http_status": 200})),
        (false, json!({"http_status": 600})),
        (false, json!({"http_status": "403"})),
        (false, json!({"body": {"a": 1}})),
    ];
    let schema = schema(include_str!("value.schema.json"));
    for (is_good, value) in &cases {
        for allow in [true, false] {
            let response = carried_out(allow, value.clone(), "/");
            let passes = response.status.as_ref().unwrap().code == 0;
            assert_eq!(
                (passes, response.ok_response.is_some()),
                (allow && *is_good, allow && *is_good),
                "{value}"
            );
            assert_eq!(status(&response) == Some(500), !is_good, "{value}");
        }
        assert_eq!(schema.is_valid(value), *is_good, "{value}");
    }
    // What a schema cannot say.
    for value in [json!({"headers": {"x-a": long}}), json!({"headers": {"Host": "other"}})] {
        assert_eq!(status(&carried_out(true, value, "/")), Some(500));
    }
    let long = json!({"allow": true, "body": "x".repeat(256 << 10)});
    assert_eq!(status(&carried_out(true, long, "/")), Some(500));
    assert_eq!(
        status(&answer::carried_out(true, Some("{\"body\": \"\", \"body\": \"\"}"), "d", "/")),
        Some(500)
    );
}

#[test]
fn a_parameter_is_removed_and_replaced_in_every_spelling() {
    let value = json!({
        "query_parameters_to_set": {"user": "ann & co", "a b": "1"}, "query_parameters_to_remove": ["admin"],
    });
    let path = "/?us%65r=eve&user=bob&%61dmin=1&admin&a%20b=2&a+b=3&other=%61dmin&USER=x";
    let ok = carried_out(true, value, path).ok_response.unwrap();
    let set: Vec<_> =
        ok.query_parameters_to_set.iter().map(|it| (it.key.as_str(), it.value.as_str())).collect();
    assert_eq!(set, [("a+b", "1"), ("user", "ann+%26+co")]);
    assert_eq!(ok.query_parameters_to_remove, ["%61dmin", "a%20b", "admin", "us%65r"]);
}

#[test]
fn nothing_decided_is_a_denial_and_says_whether_asking_again_helps() {
    for (status, expected) in
        [(503, 503), (504, 503), (500, 500), (422, 500), (404, 500), (409, 500), (400, 400), (413, 413)]
    {
        let status = StatusCode::from_u16(status).unwrap();
        let response = answer::refused(status, "code", None);
        assert_eq!(self::status(&response), Some(expected));
        assert_ne!(response.status.unwrap().code, 0);
        assert_eq!((response.ok_response, response.dynamic_metadata), (None, None));
    }
}
