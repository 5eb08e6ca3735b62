//! Everything that can be read of any accepted document is what serde_json reads, and what serde_json refuses is
//! refused. serde_json accepts more: names that are there twice, halves of surrogate pairs, any depth.

use std::collections::BTreeSet;
use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Document, DocumentError, DocumentLimits, Kind, Value, marked};

/// The members of an object in their order, also those whose names are there twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn members(raw: &RawValue) -> Vec<(String, &RawValue)> {
    serde_json::from_str::<Members<'_>>(raw.get()).unwrap().0
}

fn elements(raw: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(raw.get()).unwrap()
}

fn has_duplicate(raw: &RawValue) -> bool {
    match raw.get().as_bytes()[0] {
        b'{' => {
            let members = members(raw);
            let names: BTreeSet<&String> = members.iter().map(|(name, _)| name).collect();
            names.len() < members.len() || members.iter().any(|(_, value)| has_duplicate(value))
        }
        b'[' => elements(raw).into_iter().any(has_duplicate),
        _ => false,
    }
}

fn depth(raw: &RawValue) -> u32 {
    match raw.get().as_bytes()[0] {
        b'{' => 1 + members(raw).into_iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        b'[' => 1 + elements(raw).into_iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Reads everything at `pointer` and inside, in every way.
fn assert_reads(document: &Document, raw: &RawValue, pointer: &str) {
    let (source, parsed) = (raw.get(), pointer.parse().unwrap());
    assert_eq!(document.json(&parsed), Some(source), "{pointer} of {}", document.text());
    assert_eq!(document.subdocument(&parsed).unwrap().text(), source);
    let node = document.find(pointer).unwrap();
    let (value, names) = (document.read(&parsed).unwrap(), document.keys(&parsed));
    let literal = |value| (value, None, 0);
    let (expected, expected_names, bytes) = match source.as_bytes()[0] {
        b'{' => {
            let names: Vec<String> = members(raw).into_iter().map(|(name, _)| name).collect();
            (Value::Object(names.len().try_into().unwrap()), Some(names), 0)
        }
        b'[' => literal(Value::Array(elements(raw).len().try_into().unwrap())),
        b'"' => {
            let text: String = serde_json::from_str(source).unwrap();
            let bytes = text.len();
            (Value::Text(text.into()), None, bytes)
        }
        b'n' => literal(Value::Null),
        b't' | b'f' => literal(Value::Boolean(source == "true")),
        _ => (Value::Number(source), None, source.len()),
    };
    assert_eq!(value, expected, "{pointer}");
    assert_eq!(document.text_bytes(&node), bytes);
    let name_bytes = expected_names.as_ref().map(|names| names.iter().map(String::len).sum::<usize>());
    assert_eq!(document.names_bytes(&node), name_bytes);
    assert_eq!(names.map(|names| names.into_iter().map(String::from).collect::<Vec<_>>()), expected_names);
    assert_reads_inside(document, raw, pointer);
}

fn assert_reads_inside(document: &Document, raw: &RawValue, pointer: &str) {
    match raw.get().as_bytes()[0] {
        b'{' => {
            for (name, value) in members(raw) {
                let token = name.replace('~', "~0").replace('/', "~1");
                assert_reads(document, value, &format!("{pointer}/{token}"));
            }
            assert_absent(document, &format!("{pointer}/no such name"));
        }
        b'[' => {
            let elements = elements(raw);
            for (index, value) in elements.iter().enumerate() {
                assert_reads(document, value, &format!("{pointer}/{index}"));
            }
            assert_absent(document, &format!("{pointer}/{}", elements.len()));
        }
        _ => {
            for inside in ["/", "/0", "/1", "/a"] {
                assert_absent(document, &format!("{pointer}{inside}"));
            }
        }
    }
}

fn assert_absent(document: &Document, pointer: &str) {
    assert_eq!(document.read(&pointer.parse().unwrap()), None, "{pointer}");
}

/// Holds our outcome against serde_json's, with a tape and with marks.
pub(super) fn assert_same(bytes: &[u8], limits: &DocumentLimits) {
    let ours = Document::parse(bytes, limits);
    for marked in marked(bytes, limits) {
        let text = |document: &Document| document.text().to_owned();
        assert_eq!(marked.as_ref().map(text), ours.as_ref().map(text));
        assert_same_as_theirs(marked, bytes, limits);
    }
    assert_same_as_theirs(ours, bytes, limits);
}

fn assert_same_as_theirs(ours: Result<Document, DocumentError>, bytes: &[u8], limits: &DocumentLimits) {
    let shown = String::from_utf8_lossy(bytes);
    let theirs = serde_json::from_slice::<&RawValue>(bytes);
    match (ours, theirs) {
        (Ok(document), Ok(raw)) => assert_reads(&document, raw, ""),
        (Ok(_), Err(error)) => panic!("{shown} is accepted: {error}"),
        (Err(error), Ok(raw)) => assert_stricter(error, raw, limits, &shown),
        (Err(_), Err(_)) => {}
    }
}

/// All reasons to refuse what serde_json skips over without an error.
fn assert_stricter(error: DocumentError, raw: &RawValue, limits: &DocumentLimits, shown: &str) {
    let justified = match error.kind() {
        Kind::DuplicateName => has_duplicate(raw),
        Kind::TooDeep => depth(raw) > limits.depth_max,
        Kind::LoneSurrogate => serde_json::from_str::<serde_json::Value>(raw.get()).is_err(),
        _ => false,
    };
    assert!(justified, "{shown}: {error}");
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![8 => Just(String::new()), 2 => Just(" ".into()), 1 => "[ \t\n\r]{1,4}", 1 => "\n {0,40}"]
}

fn string() -> impl Strategy<Value = String> {
    let escape = prop::sample::select(vec![
        r"\n",
        r#"\""#,
        r"\\",
        r"\/",
        r"\b",
        r"\u0000",
        r"\u0061",
        r"\u00e9",
        r"\uFFFF",
        r"\ud83d\ude00",
        "\u{7f}",
    ]);
    let piece = prop_oneof![4 => "[a-c]{0,2}", 2 => "[a-z~/é😀 ]{0,30}", 1 => escape.prop_map(str::to_owned), 1 => "a{60,70}"];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn scalar() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?";
    let literal = prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned);
    prop_oneof![literal, number, "[0-9]".prop_map(String::from), string()]
}

/// Text of any document, with white space and escapes wherever they may be, and now and then a name twice.
fn text() -> impl Strategy<Value = String> {
    let spaced = |inner: BoxedStrategy<String>| {
        (space(), inner, space()).prop_map(|(before, inner, after)| before + &inner + &after)
    };
    let array = move |inner: BoxedStrategy<String>| {
        prop::collection::vec(spaced(inner), 0..24).prop_map(|elements| format!("[{}]", elements.join(",")))
    };
    let object = move |inner: BoxedStrategy<String>| {
        let member = (spaced(string().boxed()), spaced(inner)).prop_map(|(name, value)| (name, value));
        (prop::collection::vec(member, 0..24), any::<bool>(), space()).prop_map(
            |(members, numbered, space)| {
                let names = |(n, (name, value)): (usize, &(String, String))| {
                    // Without numbers few large objects would have no name twice.
                    let number = if numbered { format!("\"{n} ") } else { "\"".into() };
                    format!("{}:{value}", name.replacen('"', &number, 1))
                };
                let members: Vec<String> = members.iter().enumerate().map(names).collect();
                if members.is_empty() { format!("{{{space}}}") } else { format!("{{{}}}", members.join(",")) }
            },
        )
    };
    let value = scalar().boxed().prop_recursive(4, 120, 12, move |inner| {
        prop_oneof![array(inner.clone().boxed()), object(inner.boxed())]
    });
    spaced(value.boxed())
}

proptest! {
    #[test]
    fn everything_read_is_what_serde_json_reads(text in text()) {
        assert_same(text.as_bytes(), &DocumentLimits::default());
    }

    #[test]
    fn what_was_changed_is_judged_as_serde_json_judges_it(
        text in text(), at in any::<prop::sample::Index>(), byte: u8,
        structural in prop::sample::select(b"{}[]\",:\\u019tfn-+.eE \x1f".to_vec()),
    ) {
        let bytes = text.into_bytes();
        let at = at.index(bytes.len());
        let (before, after) = bytes.split_at(at);
        let limits = DocumentLimits { depth_max: 3, ..Default::default() };
        for byte in [byte, structural] {
            assert_same(&[before, &[byte], &after[1..]].concat(), &limits);
            assert_same(&[before, &[byte], after].concat(), &limits);
        }
        assert_same(&[before, &after[1..]].concat(), &limits);
        assert_same(before, &limits);
    }
}

#[test]
fn the_cases_are_judged_as_serde_json_judges_them() {
    use super::cases::{ACCEPTED, OPEN_ACCEPTED, OPEN_REFUSED, REFUSED};
    for (_, bytes) in [ACCEPTED, OPEN_ACCEPTED, OPEN_REFUSED, REFUSED].concat() {
        assert_same(bytes, &DocumentLimits::default());
    }
}
