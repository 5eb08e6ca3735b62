mod cases;
mod generated;
mod large;
mod same;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::{Document, DocumentError, DocumentErrorKind as Kind, DocumentLimits, Value, WEIGHT_MAX};

/// What may have no mark: nothing, little, and as much as in large documents.
const WEIGHTS: [u32; 4] = [0, 6, 40, WEIGHT_MAX];

/// A document with a tape. With marks it is the same.
fn parse(bytes: impl Into<Vec<u8>>) -> Result<Document, DocumentError> {
    let (bytes, limits) = (bytes.into(), DocumentLimits::default());
    let document = Document::parse(bytes.clone(), &limits);
    for marked in marked(&bytes, &limits) {
        assert_eq!(
            marked.map(|marked| marked.text().to_owned()),
            document.clone().map(|it| it.text().to_owned())
        );
    }
    document
}

/// The same bytes with marks; none where it does not come to that.
fn marked(bytes: &[u8], limits: &DocumentLimits) -> Vec<Result<Document, DocumentError>> {
    let text = str::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= limits.bytes_max);
    let marked = |weight| text.map(|text| Document::marked(text.into(), limits.depth_max, weight));
    WEIGHTS.into_iter().filter_map(marked).collect()
}

/// The value at a pointer. With marks, a small document has the same there.
fn at<'a>(document: &'a Document, pointer: &str) -> Option<Value<'a>> {
    let pointer = pointer.parse().unwrap();
    let value = document.read(&pointer);
    if document.text().len() < 4_096 {
        for marked in marked(document.text().as_bytes(), &DocumentLimits::default()) {
            assert_eq!(marked.unwrap().read(&pointer), value, "{pointer} of {}", document.text());
        }
    }
    value
}

/// In the manner of the JSONTestSuite: what every parser must accept.
const ACCEPTED: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "1e1",
    "1E+2",
    "1e-2",
    "0.1",
    "123.456e78",
    "-0.0",
    "1e400",
    "20e1",
    "123123123123123123123123123123123123",
    "\"\"",
    "\"a\"",
    "\" \u{7f} é 😀\"",
    r#""\"\\\/\b\f\n\r\t""#,
    r#""\u0000\u00e9\uD83D\uDE00""#,
    r#""\ud83d\ude00""#,
    "[]",
    "[ ]",
    "{}",
    "{ }",
    " [ 1 , 2 ] ",
    "\t\n\r1\t\n\r",
    "[[]   ]",
    "[1,null,[],{}]",
    r#"{"":0}"#,
    r#"{"a":{"a":{"a":1}},"b":[]}"#,
    r#"{"a":1,"A":2}"#,
    "\"\u{2028}\"",
    r#"{"\u0000":1}"#,
    "\"\\uFFFF\"",
    "[\"\u{fffd}\"]",
    r#"{"a\/b":1,"a~b":2}"#,
];

/// What none may accept, the kind and the offset of the first thing that is wrong.
const REFUSED: &[(&[u8], Kind, usize)] = &[
    (b"", Kind::UnexpectedEnd, 0),
    (b" ", Kind::UnexpectedEnd, 1),
    (b"\xef\xbb\xbf1", Kind::ValueExpected, 0),
    (b"\"\xff\"", Kind::NotUtf8, 1),
    (b"\"\xc0\x80\"", Kind::NotUtf8, 1),
    (b"\"\xed\xa0\x80\"", Kind::NotUtf8, 1),
    (b"nul", Kind::ValueExpected, 0),
    (b"True", Kind::ValueExpected, 0),
    (b"NaN", Kind::ValueExpected, 0),
    (b"-Infinity", Kind::InvalidNumber, 0),
    (b"truex", Kind::TrailingData, 4),
    (b"1 2", Kind::TrailingData, 2),
    (b"[]]", Kind::TrailingData, 2),
    (b"01", Kind::InvalidNumber, 0),
    (b"-", Kind::InvalidNumber, 0),
    (b"-01", Kind::InvalidNumber, 0),
    (b"+1", Kind::ValueExpected, 0),
    (b".5", Kind::ValueExpected, 0),
    (b"1.", Kind::InvalidNumber, 0),
    (b"1.e1", Kind::InvalidNumber, 0),
    (b"1e", Kind::InvalidNumber, 0),
    (b"1e+", Kind::InvalidNumber, 0),
    (b"0x1", Kind::TrailingData, 1),
    (b"1_000", Kind::TrailingData, 1),
    (b"[1", Kind::UnexpectedEnd, 2),
    (b"[1,", Kind::UnexpectedEnd, 3),
    (b"[1,]", Kind::ValueExpected, 3),
    (b"[,1]", Kind::ValueExpected, 1),
    (b"[1 2]", Kind::CommaExpected, 3),
    (b"[1}", Kind::CommaExpected, 2),
    (b"[}", Kind::ValueExpected, 1),
    (b"]", Kind::ValueExpected, 0),
    (b"{", Kind::UnexpectedEnd, 1),
    (b"{]", Kind::NameExpected, 1),
    (b"{a:1}", Kind::NameExpected, 1),
    (b"{'a':1}", Kind::NameExpected, 1),
    (b"{1:1}", Kind::NameExpected, 1),
    (b"{\"a\"", Kind::UnexpectedEnd, 4),
    (b"{\"a\" 1}", Kind::ColonExpected, 5),
    (b"{\"a\":}", Kind::ValueExpected, 5),
    (b"{\"a\":1,}", Kind::NameExpected, 7),
    (b"{\"a\":1 \"b\":2}", Kind::CommaExpected, 7),
    (b"{,}", Kind::NameExpected, 1),
    (b"\"", Kind::UnexpectedEnd, 1),
    (b"\"a", Kind::UnexpectedEnd, 2),
    (b"\"\\", Kind::UnexpectedEnd, 2),
    (b"\"\\x\"", Kind::InvalidEscape, 1),
    (b"\"\\'\"", Kind::InvalidEscape, 1),
    (b"\"\\u12\"", Kind::InvalidEscape, 1),
    (b"\"\\u+123\"", Kind::InvalidEscape, 1),
    (b"\"\\U0041\"", Kind::InvalidEscape, 1),
    (b"\"a\nb\"", Kind::ControlCharacter, 2),
    (b"\"\x00\"", Kind::ControlCharacter, 1),
    (b"\"\\ud800\"", Kind::LoneSurrogate, 1),
    (b"\"\\udc00\"", Kind::LoneSurrogate, 1),
    (b"\"\\ud800\\ud800\"", Kind::LoneSurrogate, 1),
    (b"\"\\ud800\\n\"", Kind::LoneSurrogate, 1),
    (b"\"\\ud800x\"", Kind::LoneSurrogate, 1),
    (b"{\"\\udead\":1}", Kind::LoneSurrogate, 2),
    (b"{\"a\":1,\"a\":1}", Kind::DuplicateName, 7),
    (b"{\"a\":1,\"\\u0061\":1}", Kind::DuplicateName, 7),
    (b"{\"\\u0061\":1,\"a\":1}", Kind::DuplicateName, 12),
    (b"{\"\":1,\"\":1}", Kind::DuplicateName, 6),
    (b"[{\"a\":{\"b\":1,\"b\":2}}]", Kind::DuplicateName, 13),
    (b"/* c */1", Kind::ValueExpected, 0),
    (b"1//", Kind::TrailingData, 1),
    (b"\x0c1", Kind::ValueExpected, 0),
    (b"\xc2\xa01", Kind::ValueExpected, 0),
];

#[test]
fn accepts_what_rfc_8259_allows() {
    for text in ACCEPTED {
        let document = parse(*text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(document.text(), *text);
    }
}

#[test]
fn refuses_everything_else_and_says_where() {
    for (bytes, kind, offset) in REFUSED {
        let error = parse(*bytes).expect_err(&String::from_utf8_lossy(bytes));
        assert_eq!((error.kind(), error.offset()), (*kind, *offset), "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn refuses_a_duplicate_in_an_object_of_any_size() {
    for members in [2, 8, 9, 10, 1_000] {
        let names: Vec<String> = (0..members).map(|n| format!("\"n{n}\":{n}")).collect();
        assert!(parse(format!("{{{}}}", names.join(","))).is_ok(), "{members}");
        for duplicate in [0, members / 2, members - 1] {
            let text = format!("{{{},\"\\u006e{duplicate}\":0}}", names.join(","));
            let error = parse(text.clone()).unwrap_err();
            assert_eq!(
                (error.kind(), error.offset()),
                (Kind::DuplicateName, text.len() - 4 - names_width(duplicate))
            );
        }
    }
}

/// The bytes of `"\u006eN"`.
fn names_width(n: usize) -> usize {
    7 + n.to_string().len()
}

#[test]
fn depth_is_bounded_and_not_by_the_stack() {
    let limits = DocumentLimits { depth_max: 3, ..Default::default() };
    assert!(Document::parse("[[{}]]", &limits).is_ok());
    let error = Document::parse("[[[[]]]]", &limits).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (Kind::TooDeep, 3));
    assert_eq!(parse("[".repeat(1 << 20)).unwrap_err().kind(), Kind::TooDeep);
    let deep = DocumentLimits { depth_max: u32::MAX, ..Default::default() };
    let text = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let document = Document::parse(text, &deep).unwrap();
    assert_eq!(at(&document, &"/0".repeat(199_999)), Some(Value::Array(0)));
}

#[test]
fn size_is_bounded_before_anything_is_read() {
    let limits = DocumentLimits { bytes_max: 4, ..Default::default() };
    assert!(Document::parse("1234", &limits).is_ok());
    assert_eq!(Document::parse("12345", &limits).unwrap_err().kind(), Kind::TooLarge);
}

#[test]
fn an_error_knows_its_line_and_column() {
    let bytes = b"{\n  \"a\": 1,\n  \"b\": nope\n}";
    assert_eq!(parse(&bytes[..]).unwrap_err().line_and_column(bytes), (3, 8));
}

#[test]
fn finds_what_the_examples_of_rfc_6901_name() {
    let text = r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8}"#;
    let document = parse(text).unwrap();
    assert_eq!(at(&document, ""), Some(Value::Object(10)));
    assert_eq!(at(&document, "/foo"), Some(Value::Array(2)));
    assert_eq!(at(&document, "/foo/0"), Some(Value::Text("bar".into())));
    let numbers = ["/", "/a~1b", "/c%d", "/e^f", "/g|h", "/i\\j", "/k\"l", "/ ", "/m~0n"];
    for (n, pointer) in numbers.into_iter().enumerate() {
        assert_eq!(at(&document, pointer), Some(Value::Number(&n.to_string())), "{pointer}");
    }
}

#[test]
fn what_is_not_there_is_absent_and_null_is_there() {
    let document = parse(r#"{"a": [1, 2], "n": null, "0": "zero", "~1": "tilde"}"#).unwrap();
    for pointer in
        ["/b", "/a/2", "/a/-", "/a/00", "/a/01", "/a/+1", "/a/1e0", "/a/", "/n/x", "/a/0/0", "//", "/A"]
    {
        assert_eq!(at(&document, pointer), None, "{pointer}");
    }
    assert_eq!(at(&document, "/a/99999999999999999999999"), None);
    assert_eq!(at(&document, "/n"), Some(Value::Null));
    assert_eq!(at(&document, "/0"), Some(Value::Text("zero".into())));
    // `~01` is `~1`, not `/`: the order of replacement matters.
    assert_eq!(at(&document, "/~01"), Some(Value::Text("tilde".into())));
}

#[test]
fn numbers_and_sources_keep_their_text() {
    let document = parse(r#"{ "n" : 1.50E+0 , "o" : { "x" : [ ] } }"#).unwrap();
    assert_eq!(at(&document, "/n"), Some(Value::Number("1.50E+0")));
    assert_eq!(document.json(&"/o".parse().unwrap()), Some(r#"{ "x" : [ ] }"#));
    assert_eq!(document.keys(&"".parse().unwrap()).unwrap(), ["n", "o"]);
    assert_eq!(document.keys(&"/n".parse().unwrap()), None);
}

#[test]
fn members_of_large_objects_are_found_by_escaped_and_plain_names() {
    let members: Vec<String> = (0..500).map(|n| format!("\"k\\u00{:02x}{n}\": {n}", 0x61 + n % 26)).collect();
    let document = parse(format!("{{{}}}", members.join(","))).unwrap();
    for n in 0..500_u32 {
        let letter = char::from_u32(0x61 + n % 26).unwrap();
        let found = document.json(&format!("/k{letter}{n}").parse().unwrap());
        assert_eq!(found, Some(n.to_string().as_str()));
    }
    assert_eq!(at(&document, "/ka"), None);
}

#[test]
fn the_size_of_a_text_is_known_before_it_is_made() {
    let document = parse(r#"["é\u00e9\ud83d\ude00\n", {"\u0061": 1, "é": 2}]"#).unwrap();
    let node = document.find("/0").unwrap();
    assert_eq!(document.text_bytes(&node), "éé😀\n".len());
    assert_eq!(document.names_bytes(&document.find("/1").unwrap()), Some(3));
}

/// Any JSON, with names and texts that need escapes, and objects of more members than are searched one by one.
fn json() -> impl Strategy<Value = Json> {
    let text = "[a-c~/\"\\\\é😀\n\u{1}]{0,4}";
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        text.prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 200, 30, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Json::from),
            prop::collection::btree_map(text, inner, 0..30)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// Compares a document with what serde_json made of the same text, at every pointer.
fn assert_same(document: &Document, json: &Json, pointer: &str) {
    let parsed = pointer.parse().unwrap();
    let source =
        document.json(&parsed).unwrap_or_else(|| panic!("{pointer} is absent in {}", document.text()));
    assert_eq!(&serde_json::from_str::<Json>(source).unwrap(), json);
    match (document.read(&parsed).unwrap(), json) {
        (Value::Null, Json::Null) => {}
        (Value::Boolean(a), Json::Bool(b)) => assert_eq!(a, *b),
        (Value::Number(a), Json::Number(b)) => assert_eq!(a, b.to_string()),
        (Value::Text(a), Json::String(b)) => assert_eq!(a, b.as_str()),
        (Value::Array(length), Json::Array(b)) => {
            assert_eq!(length as usize, b.len());
            b.iter().enumerate().for_each(|(n, b)| assert_same(document, b, &format!("{pointer}/{n}")));
        }
        (Value::Object(length), Json::Object(b)) => {
            assert_eq!(length as usize, b.len());
            for (name, b) in b {
                let token = name.replace('~', "~0").replace('/', "~1");
                assert_same(document, b, &format!("{pointer}/{token}"));
            }
        }
        (a, b) => panic!("{a:?} is not {b:?}"),
    }
}

/// The same text with every character of every string written as `\uXXXX`.
fn escaped(text: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                inside = !inside;
                out.push(c);
            }
            '\\' => out.extend([c, chars.next().unwrap()]),
            c if inside && c.is_alphanumeric() || c == '😀' => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04X}"));
            }
            c => out.push(c),
        }
    }
    out
}

proptest! {
    #[test]
    fn is_what_serde_json_reads(json in json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.unwrap();
        assert_same(&parse(text).unwrap(), &json, "");
    }

    #[test]
    fn is_what_serde_json_reads_however_strings_are_escaped(json in json()) {
        // `\u` itself must not be escaped again: texts here have no backslash before a `u`.
        let text = escaped(&json.to_string().replace("\\u0001", " "));
        let json: Json = serde_json::from_str(&text).unwrap();
        assert_same(&parse(text).unwrap(), &json, "");
    }

    #[test]
    fn accepts_nothing_that_serde_json_refuses_and_refuses_only_duplicates_besides(
        json in json(), at in any::<prop::sample::Index>(), byte: u8, remove: bool,
    ) {
        let mut bytes = json.to_string().into_bytes();
        let at = at.index(bytes.len());
        if remove { bytes.remove(at); } else { bytes[at] = byte; }
        let theirs = serde_json::from_slice::<Json>(&bytes);
        match (parse(bytes.clone()), theirs) {
            (Ok(document), Ok(json)) => assert_same_values(&document, &json),
            (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("out of range"), "{error}"),
            (Err(error), Ok(_)) => prop_assert_eq!(error.kind(), Kind::DuplicateName),
            (Err(_), Err(_)) => {}
        }
    }
}

/// As [`assert_same`], for texts whose numbers serde_json may write in another way.
fn assert_same_values(document: &Document, json: &Json) {
    assert_eq!(&serde_json::from_str::<Json>(document.text()).unwrap(), json);
    if let Json::Object(members) = json {
        assert_eq!(document.keys(&"".parse().unwrap()).unwrap().len(), members.len());
    }
}
