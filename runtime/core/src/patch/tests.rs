use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{PatchErrorKind as Kind, PatchLimits, apply_patch};

fn apply(text: &str, patch: &str) -> Result<String, Kind> {
    apply_patch(text, patch, &PatchLimits::default()).map_err(|error| error.kind())
}

fn value(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// The examples of RFC 6902, appendix A, by their numbers: document, patch, and what comes of it.
const EXAMPLES: &[(&str, &str, &str, Result<&str, Kind>)] = &[
    (
        "A.1",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/baz", "value": "qux"}]"#,
        Ok(r#"{"baz": "qux", "foo": "bar"}"#),
    ),
    (
        "A.2",
        r#"{"foo": ["bar", "baz"]}"#,
        r#"[{"op": "add", "path": "/foo/1", "value": "qux"}]"#,
        Ok(r#"{"foo": ["bar", "qux", "baz"]}"#),
    ),
    (
        "A.3",
        r#"{"baz": "qux", "foo": "bar"}"#,
        r#"[{"op": "remove", "path": "/baz"}]"#,
        Ok(r#"{"foo": "bar"}"#),
    ),
    (
        "A.4",
        r#"{"foo": ["bar", "qux", "baz"]}"#,
        r#"[{"op": "remove", "path": "/foo/1"}]"#,
        Ok(r#"{"foo": ["bar", "baz"]}"#),
    ),
    (
        "A.5",
        r#"{"baz": "qux", "foo": "bar"}"#,
        r#"[{"op": "replace", "path": "/baz", "value": "boo"}]"#,
        Ok(r#"{"baz": "boo", "foo": "bar"}"#),
    ),
    (
        "A.6",
        r#"{"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}"#,
        r#"[{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]"#,
        Ok(r#"{"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}"#),
    ),
    (
        "A.7",
        r#"{"foo": ["all", "grass", "cows", "eat"]}"#,
        r#"[{"op": "move", "from": "/foo/1", "path": "/foo/3"}]"#,
        Ok(r#"{"foo": ["all", "cows", "eat", "grass"]}"#),
    ),
    (
        "A.8",
        r#"{"baz": "qux", "foo": ["a", 2, "c"]}"#,
        r#"[{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}]"#,
        Ok(r#"{"baz": "qux", "foo": ["a", 2, "c"]}"#),
    ),
    ("A.9", r#"{"baz": "qux"}"#, r#"[{"op": "test", "path": "/baz", "value": "bar"}]"#, Err(Kind::NotEqual)),
    (
        "A.10",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/child", "value": {"grandchild": {}}}]"#,
        Ok(r#"{"foo": "bar", "child": {"grandchild": {}}}"#),
    ),
    (
        "A.11",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}]"#,
        Ok(r#"{"foo": "bar", "baz": "qux"}"#),
    ),
    (
        "A.12",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/baz/bat", "value": "qux"}]"#,
        Err(Kind::Absent),
    ),
    (
        "A.13",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/baz", "value": "qux", "op": "remove"}]"#,
        Err(Kind::DuplicateName),
    ),
    (
        "A.14",
        r#"{"/": 9, "~1": 10}"#,
        r#"[{"op": "test", "path": "/~01", "value": 10}]"#,
        Ok(r#"{"/": 9, "~1": 10}"#),
    ),
    (
        "A.15",
        r#"{"/": 9, "~1": 10}"#,
        r#"[{"op": "test", "path": "/~01", "value": "10"}]"#,
        Err(Kind::NotEqual),
    ),
    (
        "A.16",
        r#"{"foo": ["bar"]}"#,
        r#"[{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}]"#,
        Ok(r#"{"foo": ["bar", ["abc", "def"]]}"#),
    ),
];

#[test]
fn does_what_the_examples_of_rfc_6902_do() {
    for (name, text, patch, expected) in EXAMPLES {
        let patched = apply(text, patch).map(|text| value(&text));
        assert_eq!(patched, expected.map(value), "{name}");
    }
}

#[test]
fn refuses_what_is_no_patch() {
    let cases = [
        ("{}", Kind::NotAList),
        ("1", Kind::NotAList),
        ("[", Kind::PatchNotJson),
        ("[1]", Kind::NotAnOperation),
        ("[[]]", Kind::NotAnOperation),
        (r#"[{"path": "/a"}]"#, Kind::UnknownOperation),
        (r#"[{"op": "spam", "path": "/a"}]"#, Kind::UnknownOperation),
        (r#"[{"op": 1, "path": "/a"}]"#, Kind::UnknownOperation),
        (r#"[{"op": "remove"}]"#, Kind::NoPointer),
        (r#"[{"op": "remove", "path": 1}]"#, Kind::NoPointer),
        (r#"[{"op": "move", "path": "/a"}]"#, Kind::NoPointer),
        (r#"[{"op": "copy", "path": "/b", "from": null}]"#, Kind::NoPointer),
        (r#"[{"op": "remove", "path": "a"}]"#, Kind::NotAPointer),
        (r#"[{"op": "remove", "path": "/~2"}]"#, Kind::NotAPointer),
        (r#"[{"op": "add", "path": "/b"}]"#, Kind::NoValue),
        (r#"[{"op": "test", "path": "/a"}]"#, Kind::NoValue),
        (r#"[{"op": "\ud800", "path": "/a"}]"#, Kind::NotText),
    ];
    for (patch, kind) in cases {
        assert_eq!(apply(r#"{"a": 1}"#, patch), Err(kind), "{patch}");
    }
    assert_eq!(apply("{", "[]"), Err(Kind::TextNotJson));
    assert_eq!(apply("{} {}", "[]"), Err(Kind::TextNotJson));
}

#[test]
fn refuses_places_that_are_not_there() {
    let text = r#"{"a": [1, 2], "s": "text", "o": {"x": 1}}"#;
    let cases = [
        (json!({"op": "remove", "path": "/b"}), Kind::Absent),
        (json!({"op": "remove", "path": "/a/2"}), Kind::Absent),
        (json!({"op": "remove", "path": "/a/-"}), Kind::Absent),
        (json!({"op": "remove", "path": "/a/01"}), Kind::Absent),
        (json!({"op": "remove", "path": "/s/0"}), Kind::Absent),
        (json!({"op": "remove", "path": ""}), Kind::WholeRemoved),
        (json!({"op": "replace", "path": "/b", "value": 1}), Kind::Absent),
        (json!({"op": "test", "path": "/b", "value": null}), Kind::Absent),
        (json!({"op": "add", "path": "/a/3", "value": 1}), Kind::NotAnIndex),
        (json!({"op": "add", "path": "/a/01", "value": 1}), Kind::NotAnIndex),
        (json!({"op": "add", "path": "/a/99999999999999999999999", "value": 1}), Kind::NotAnIndex),
        (json!({"op": "add", "path": "/s/x", "value": 1}), Kind::NotAContainer),
        (json!({"op": "move", "from": "/b", "path": "/c"}), Kind::FromAbsent),
        (json!({"op": "copy", "from": "/a/9", "path": "/c"}), Kind::FromAbsent),
        (json!({"op": "move", "from": "/o", "path": "/o/x/y"}), Kind::IntoItself),
        (json!({"op": "move", "from": "", "path": "/o"}), Kind::IntoItself),
        (json!({"op": "move", "from": "/b", "path": "/b"}), Kind::Absent),
    ];
    for (operation, kind) in cases {
        assert_eq!(apply(text, &json!([operation]).to_string()), Err(kind), "{operation}");
    }
}

#[test]
fn what_is_not_named_stays_byte_for_byte() {
    let text = r#"{"n": 1.50E+0, "big": 123456789012345678901234567890, "s": "\u0061", "\u0062" : {"c" : [ 1, 2 ]}, "x": 0}"#;
    let patch = r#"[{"op": "replace", "path": "/x", "value": 1e400},
        {"op": "add", "path": "/new\"\n", "value": [ -0.0 ]}]"#;
    let patched = r#"{"n":1.50E+0,"big":123456789012345678901234567890,"s":"\u0061","\u0062":{"c" : [ 1, 2 ]},"x":1e400,"new\"\n":[ -0.0 ]}"#;
    assert_eq!(apply(text, patch).as_deref(), Ok(patched));
    assert_eq!(apply(" [1 , 2] ", "[]").as_deref(), Ok("[1 , 2]"));
}

#[test]
fn members_keep_their_order_and_new_ones_come_last() {
    let text = r#"{"c":1,"a":2,"b":3}"#;
    let patch = r#"[{"op":"add","path":"/a","value":9},{"op":"remove","path":"/c"},{"op":"add","path":"/c","value":1}]"#;
    assert_eq!(apply(text, patch).as_deref(), Ok(r#"{"a":9,"b":3,"c":1}"#));
}

#[test]
fn the_whole_document_can_be_replaced_tested_and_copied() {
    let patch = r#"[{"op":"test","path":"","value":{"a":1.0}},{"op":"copy","from":"","path":"/b"},
        {"op":"add","path":"/b/c","value":null},{"op":"test","path":"","value":{"b":{"c":null,"a":1},"a":1}}]"#;
    assert_eq!(apply(r#"{"a":1}"#, patch).as_deref(), Ok(r#"{"a":1,"b":{"a":1,"c":null}}"#));
    assert_eq!(apply("[]", r#"[{"op":"add","path":"","value":7}]"#).as_deref(), Ok("7"));
    assert_eq!(apply("[]", r#"[{"op":"replace","path":"","value":{}}]"#).as_deref(), Ok("{}"));
    assert_eq!(apply("[1]", r#"[{"op":"move","from":"/0","path":""}]"#).as_deref(), Ok("1"));
    assert_eq!(apply("[1]", r#"[{"op":"move","from":"/0","path":"/0"}]"#).as_deref(), Ok("[1]"));
}

#[test]
fn a_test_compares_values_and_not_how_they_are_written() {
    let text = r#"{"a": [1.0, "\u0061", {"x": true, "y": [ ]}], "b": null}"#;
    let test = |path: &str, value: &str| {
        apply(text, &format!(r#"[{{"op":"test","path":"{path}","value":{value}}}]"#)).is_ok()
    };
    assert!(test("/a", r#"[1e0, "a", {"y": [], "x": true}]"#));
    assert!(test("/b", "null") && test("", &value(text).to_string()));
    for (path, other) in [
        ("/a", "[1, \"a\"]"),
        ("/a", "[2, \"a\", {\"y\": [], \"x\": true}]"),
        ("/a/2", "{\"x\": true}"),
        ("/a/2", "{\"x\": true, \"z\": []}"),
        ("/a/2", "{\"x\": true, \"y\": {}}"),
        ("/a/2/x", "false"),
        ("/b", "0"),
        ("/a/0", "\"1\""),
    ] {
        assert!(!test(path, other), "{path} {other}");
    }
}

#[test]
fn an_error_names_the_operation_and_its_pointer() {
    let patch = r#"[{"op":"add","path":"/a","value":1},{"op":"remove","path":"/b/c~1d"}]"#;
    let error = apply_patch("{}", patch, &PatchLimits::default()).unwrap_err();
    assert_eq!((error.operation(), error.pointer()), (Some(1), Some("/b/c~1d")));
    assert_eq!(error.to_string(), "operation 1 at `/b/c~1d`: nothing is there");
    let error = apply_patch("{}", "[{}]", &PatchLimits::default()).unwrap_err();
    assert_eq!((error.operation(), error.pointer()), (Some(0), None));
    let error = apply_patch("", "[]", &PatchLimits::default()).unwrap_err();
    assert_eq!(error.to_string(), "the document to be patched is not JSON");
}

#[test]
fn sizes_and_numbers_are_bounded() {
    let limits = PatchLimits { text_bytes_max: 20, patch_bytes_max: 120, operations_max: 2, depth_max: 3 };
    let kind = |text: &str, patch: &str| apply_patch(text, patch, &limits).map_err(|error| error.kind());
    assert_eq!(kind(&"1".repeat(21), "[]"), Err(Kind::TextTooLarge));
    assert_eq!(kind("1", &format!("[{}]", " ".repeat(120))), Err(Kind::PatchTooLarge));
    assert_eq!(kind("1", "[1,2,3]"), Err(Kind::TooManyOperations));
    let long = format!(r#"[{{"op":"add","path":"/-","value":"{}"}}]"#, "a".repeat(18));
    assert_eq!(kind("[]", &long), Err(Kind::TextTooLarge));
    assert!(kind("[]", &long.replacen("aaa", "", 1)).is_ok());
}

#[test]
fn copies_cannot_multiply() {
    let doubling = r#"{"op":"copy","from":"","path":"/-"},"#.repeat(60);
    let patch = format!("[{}]", doubling.trim_end_matches(','));
    let limits = PatchLimits { text_bytes_max: 1 << 20, ..PatchLimits::default() };
    let error = apply_patch("[1]", &patch, &limits).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (Kind::TextTooLarge, Some(18)));
}

#[test]
fn depth_is_bounded_and_not_by_the_stack() {
    let deep = |path: &str, value: &str| {
        apply("[[]]", &format!(r#"[{{"op":"add","path":"{path}","value":{value}}}]"#))
    };
    assert_eq!(deep(&"/0".repeat(129), "1"), Err(Kind::TooDeep));
    assert_eq!(deep("/0/-", "1").as_deref(), Ok("[[1]]"));
    // What is not gone into may have any depth.
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(deep("/0/-", &nested), Ok(format!("[[{nested}]]")));
    let test = format!(r#"[{{"op":"test","path":"","value":{nested}}}]"#);
    assert_eq!(apply(&nested, &test), Err(Kind::TooDeep));
    // A level more with each, which stays open.
    let nesting = r#"{"op":"add","path":"/b","value":{}},{"op":"move","from":"/a","path":"/b/a"},
        {"op":"move","from":"/b","path":"/a"},"#
        .repeat(200);
    let patch = format!("[{}]", nesting.trim_end_matches(','));
    assert_eq!(apply(r#"{"a":0}"#, &patch), Err(Kind::TooDeep));
}

/// Operations whose pointers often name something.
fn operations() -> impl Strategy<Value = Vec<Json>> {
    let pointer = prop::collection::vec(prop::sample::select(vec!["a", "b", "~0", "0", "1", "-"]), 0..4)
        .prop_map(|tokens| tokens.iter().map(|token| format!("/{token}")).collect::<String>());
    let name = prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]);
    let operation = (name, pointer.clone(), pointer, json_value())
        .prop_map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}));
    prop::collection::vec(operation, 0..8)
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf =
        prop_oneof![Just(Json::Null), (0..3).prop_map(Json::from), "[a-b\"é]{0,2}".prop_map(Json::from)];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let name = prop::sample::select(vec!["a", "b", "~", "0"]).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(name, inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// The RFC on serde_json's values, as plainly as possible. None where an operation fails.
fn expected(mut document: Json, operations: &[Json]) -> Option<Json> {
    for operation in operations {
        let (path, from) = (operation["path"].as_str()?, operation["from"].as_str()?);
        match operation["op"].as_str()? {
            "add" => add(&mut document, path, operation["value"].clone())?,
            "remove" => drop(remove(&mut document, path)?),
            "replace" => *document.pointer_mut(path)? = operation["value"].clone(),
            "copy" => {
                let value = document.pointer(from)?.clone();
                add(&mut document, path, value)?;
            }
            "test" if *document.pointer(path)? != operation["value"] => return None,
            "move" if from == path => drop(document.pointer(from)?),
            "move" if path.starts_with(&format!("{from}/")) => return None,
            "move" => {
                let value = remove(&mut document, from)?;
                add(&mut document, path, value)?;
            }
            _ => {}
        }
    }
    Some(document)
}

fn add(document: &mut Json, path: &str, value: Json) -> Option<()> {
    let Some((parent, last)) = path.rsplit_once('/') else {
        *document = value;
        return Some(());
    };
    match document.pointer_mut(parent)? {
        Json::Array(elements) => {
            let index = if last == "-" { elements.len() } else { last.parse().ok()? };
            (index <= elements.len()).then(|| elements.insert(index, value))
        }
        Json::Object(members) => {
            members.insert(last.replace("~0", "~"), value);
            Some(())
        }
        _ => None,
    }
}

fn remove(document: &mut Json, path: &str) -> Option<Json> {
    let (parent, last) = path.rsplit_once('/')?;
    match document.pointer_mut(parent)? {
        Json::Array(elements) => {
            let index = last.parse().ok().filter(|index| *index < elements.len())?;
            Some(elements.remove(index))
        }
        Json::Object(members) => members.remove(&last.replace("~0", "~")),
        _ => None,
    }
}

proptest! {
    #[test]
    fn does_what_the_rfc_does_to_values(document in json_value(), operations in operations(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        let patched = apply(&text.unwrap(), &json!(operations).to_string()).ok().map(|text| value(&text));
        prop_assert_eq!(patched, expected(document, &operations));
    }
}
