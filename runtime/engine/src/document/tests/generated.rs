//! Cases that are made rather than written: every byte, every escape, every length around the blocks that are looked at
//! at once, the limits, and names that have one hash.

use std::collections::HashMap;

use verdict_core::digest::Digest;

use super::super::text::{hash, hash_between};
use super::cases::{ACCEPTED, OPEN_ACCEPTED, OPEN_REFUSED, REFUSED};
use super::{Document, DocumentLimits, Kind, Value, at, marked, parse};

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn accepts_and_refuses_what_the_cases_say() {
    for (name, bytes) in ACCEPTED.iter().chain(OPEN_ACCEPTED) {
        let document = parse(*bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(document.text().as_bytes(), *bytes, "{name}");
    }
    for (name, bytes) in REFUSED.iter().chain(OPEN_REFUSED) {
        assert!(parse(*bytes).is_err(), "{name}: {}", shown(bytes));
    }
    let tables = [(ACCEPTED, "y_"), (OPEN_ACCEPTED, "i_"), (OPEN_REFUSED, "i_"), (REFUSED, "n_")];
    for (cases, first) in tables {
        assert!(cases.iter().all(|(name, _)| name.starts_with(first)), "{first}");
    }
}

#[test]
fn refuses_every_beginning_of_a_document() {
    let begins = |bytes: &[u8]| matches!(bytes.first(), Some(b'[' | b'{' | b'"'));
    let whole = ACCEPTED.iter().map(|(_, bytes)| bytes.trim_ascii()).filter(|bytes| begins(bytes));
    for bytes in whole {
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "{}", shown(&bytes[..end]));
        }
        assert!(parse(bytes).is_ok(), "{}", shown(bytes));
    }
}

#[test]
fn nests_to_the_limit_and_no_deeper() {
    let limits = DocumentLimits { depth_max: 50, ..Default::default() };
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":[", "]}]"), ("[1,", "]"), (" [ ", " ] ")] {
        let levels = open.matches(['[', '{']).count();
        for depth in [1, 49, 50, 51, 52, 200] {
            let times = depth / levels;
            let text = format!("{}0{}", open.repeat(times), close.repeat(times));
            let outcome = Document::parse(text, &limits).map_err(|error| error.kind());
            let expected = if times * levels <= 50 { Ok(()) } else { Err(Kind::TooDeep) };
            assert_eq!(outcome.map(|_| ()), expected, "{open} {depth}");
        }
    }
    // What was closed does not count.
    assert!(Document::parse(format!("[{}0]", "[[]],".repeat(60)), &limits).is_ok());
}

#[test]
fn no_depth_allows_scalars_only() {
    let limits = DocumentLimits { depth_max: 0, ..Default::default() };
    assert!(Document::parse(" 1 ", &limits).is_ok());
    assert_eq!(Document::parse("[]", &limits).unwrap_err().kind(), Kind::TooDeep);
}

#[test]
fn takes_large_documents_of_every_shape() {
    let limits = DocumentLimits { bytes_max: 64 << 20, ..Default::default() };
    let many = 300_000;
    let shapes = [
        (format!("[{}0]", "0,".repeat(many)), Value::Array(300_001)),
        (format!("[{}[]]", "[],".repeat(many)), Value::Array(300_001)),
        (format!("\"{}\"", "a".repeat(many)), Value::Text("a".repeat(many).into())),
        (format!("{}1", " ".repeat(many)), Value::Number("1")),
        (format!("[{}1]", "\"\",\n  ".repeat(many)), Value::Array(300_001)),
    ];
    for (text, value) in shapes {
        let document = Document::parse(text, &limits).unwrap();
        assert_eq!(at(&document, ""), Some(value));
    }
    let number = format!("-{}.{}e-{}", "9".repeat(many), "0".repeat(many), "1".repeat(many));
    assert_eq!(at(&Document::parse(number.clone(), &limits).unwrap(), ""), Some(Value::Number(&number)));
}

#[test]
fn a_string_may_have_any_byte_but_a_control_character_at_any_place() {
    for before in 0..150 {
        for byte in 0..0x80_u8 {
            let text = format!("\"{}{}x\"", "a".repeat(before), char::from(byte));
            let outcome = parse(text.clone()).map(|document| document.text() == text);
            match byte {
                b'"' => assert_eq!(outcome.unwrap_err().kind(), Kind::TrailingData),
                b'\\' => assert_eq!(outcome.unwrap_err().kind(), Kind::InvalidEscape),
                0..0x20 => {
                    let error = outcome.unwrap_err();
                    assert_eq!((error.kind(), error.offset()), (Kind::ControlCharacter, before + 1));
                }
                _ => assert_eq!(outcome, Ok(true)),
            }
        }
    }
}

#[test]
fn white_space_is_four_bytes_and_no_others() {
    for byte in 0..=u8::MAX {
        for many in [1, 2, 3, 15, 16, 17, 40] {
            let padding = vec![byte; many];
            let text = [b"[", &padding[..], b"1", &padding[..], b",", &padding[..], b"2]"].concat();
            let expected = b" \t\n\r".contains(&byte) || (byte.is_ascii_digit() && byte != b'0');
            assert_eq!(parse(text.clone()).is_ok(), expected, "{}", shown(&text));
        }
    }
}

#[test]
fn finds_the_end_of_a_string_of_any_length_at_any_place() {
    for before in 0..70 {
        for length in 0..140 {
            let (space, content) = (" ".repeat(before), "b".repeat(length));
            let text = format!("{space}[\"{content}\",\"c\"]");
            let document = parse(text).unwrap();
            assert_eq!(at(&document, "/0"), Some(Value::Text(content.clone().into())));
            assert_eq!(at(&document, "/1"), Some(Value::Text("c".into())));
            let escaped = parse(format!("{space}[\"{content}\\n{content}\"]")).unwrap();
            assert_eq!(at(&escaped, "/0"), Some(Value::Text(format!("{content}\n{content}").into())));
        }
    }
}

#[test]
fn resolves_every_escaped_code_unit_and_refuses_every_lone_one() {
    for unit in 0..=0xffff_u32 {
        let document = parse(format!("\"\\u{unit:04x}\""));
        match char::from_u32(unit) {
            Some(character) => {
                let document = document.unwrap();
                assert_eq!(at(&document, ""), Some(Value::Text(character.to_string().into())));
                assert_eq!(document.text_bytes(&document.find("").unwrap()), character.len_utf8());
            }
            None => assert_eq!(document.unwrap_err().kind(), Kind::LoneSurrogate, "{unit:x}"),
        }
    }
    for code_point in (0x1_0000..0x11_0000).step_by(257).chain([0x10_ffff]) {
        let character = char::from_u32(code_point).unwrap();
        let mut units = [0; 2];
        let units: String =
            character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}")).collect();
        let document = parse(format!("\"{units}\"")).unwrap();
        assert_eq!(at(&document, ""), Some(Value::Text(character.to_string().into())));
        assert_eq!(document.text_bytes(&document.find("").unwrap()), 4);
    }
}

#[test]
fn text_is_utf_8_as_the_standard_library_has_it() {
    let tails: &[&[u8]] = &[b"", b"\x80", b"\x80\x80", b"\xbf\xbf", b"\x80\x80\x80", b"a", b"\x80a"];
    for first in 0x80..=u8::MAX {
        for second in 0..=u8::MAX {
            for tail in tails {
                let content = [&[first, second], *tail].concat();
                let text = [b"\"", &content[..], b"\""].concat();
                let error = parse(text).err().map(|error| error.kind());
                assert_eq!(
                    error == Some(Kind::NotUtf8),
                    str::from_utf8(&content).is_err(),
                    "{content:x?} {error:?}"
                );
            }
        }
    }
}

#[test]
fn a_number_is_made_of_the_parts_that_rfc_8259_names() {
    let digits = ["0", "7", "10", "00", "01", "123456789012345", "1234567890123456", "12345678901234567890"];
    let fractions = ["", ".0", ".5", ".", ".123456789012345678901234567890", ".e", ".1."];
    let exponents = ["", "e1", "E+0", "e-00", "e", "e+", "E-", "e1e", "e++1", "e1.0", "f"];
    for sign in ["", "-", "+", "--"] {
        for whole in ["", "a"].iter().chain(&digits) {
            for fraction in fractions {
                for exponent in exponents {
                    let number = format!("{sign}{whole}{fraction}{exponent}");
                    let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&number).is_ok();
                    for text in [number.clone(), format!("[{number},{number}                 ]")] {
                        assert_eq!(parse(text.clone()).is_ok(), theirs, "{text}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_name_has_one_hash_wherever_it_stands() {
    let text = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    for start in 0..text.len() {
        for end in start..text.len() {
            assert_eq!(hash(&text.as_bytes()[start..end]), hash_between(text.as_bytes(), start, end));
        }
    }
}

#[test]
fn names_that_have_one_hash_are_told_apart() {
    let mut names: HashMap<u32, String> = HashMap::new();
    let mut pairs = Vec::new();
    for n in 0..400_000_u32 {
        let name = format!("{:08x}", n.wrapping_mul(0x9e37_79b1));
        if let Some(other) = names.insert(hash(name.as_bytes()), name.clone()) {
            pairs.push([other, name]);
        }
    }
    assert!(pairs.len() >= 3, "chance has it that there are about eighteen");
    for others in [0, 6, 7, 14, 15, 100] {
        for [a, b] in &pairs {
            let others: String = (0..others).map(|n| format!(",\"other-{n}\":0")).collect();
            let document = parse(format!("{{\"{a}\":1{others},\"{b}\":2}}")).unwrap();
            assert_eq!(at(&document, &format!("/{a}")), Some(Value::Number("1")));
            assert_eq!(at(&document, &format!("/{b}")), Some(Value::Number("2")));
            let error = parse(format!("{{\"{a}\":1{others},\"{b}\":2,\"{a}\":3}}")).unwrap_err();
            assert_eq!(error.kind(), Kind::DuplicateName);
        }
    }
}

#[test]
fn a_duplicate_is_noticed_whatever_lies_between_and_after() {
    for n in 0..500 {
        let name = format!("name-{n}");
        for inner in ["{}", "[]", "{\"a\":{\"b\":[[{}]]}}", "[{\"a\":1},2]", "3"] {
            for text in [
                format!("{{\"{name}\":1,\"x\":{inner},\"{name}\":2}}"),
                format!("{{\"{name}\":1,\"{name}\":2,\"x\":{inner}}}"),
                format!("{{\"x\":{inner},\"{name}\":{inner},\"{name}\":2}}"),
            ] {
                let error = parse(text.clone()).expect_err(&text);
                assert_eq!(error.kind(), Kind::DuplicateName);
                assert_eq!(error.offset(), text.rfind(&format!("\"{name}\"")).unwrap());
            }
            let text = format!("{{\"{name}\":{{\"{name}\":{inner}}},\"x\":[{{\"{name}\":1}}],\"y\":1}}");
            assert!(parse(text.clone()).is_ok(), "{text}");
        }
    }
}

#[test]
fn a_duplicate_in_a_larger_object_is_reported_for_the_first_name_in_order() {
    let text = |others: usize| {
        let others: String = (0..others).map(|n| format!(",\"c{n}\":0")).collect();
        format!("{{\"b\":1,\"b\":2,\"a\":3,\"a\":4{others}}}")
    };
    for (others, offset) in [(0, 7), (4, 7), (5, 19), (12, 19), (13, 19), (100, 19)] {
        assert_eq!(parse(text(others)).unwrap_err().offset(), offset, "{others}");
    }
}

#[test]
fn a_part_is_a_document_of_its_own() {
    let text = r#" {"a": [1, {"b": {"c" : "d"}, "e": 2}], "f": {}} "#;
    assert_parts(parse(text).unwrap());
    marked(text.as_bytes(), &DocumentLimits::default())
        .into_iter()
        .for_each(|whole| assert_parts(whole.unwrap()));
}

fn assert_parts(whole: Document) {
    let part = whole.subdocument(&"/a/1".parse().unwrap()).unwrap();
    let source = r#"{"b": {"c" : "d"}, "e": 2}"#;
    assert_eq!(part.text(), source);
    assert_eq!(part.digest(), Digest::of(source.as_bytes()));
    assert_eq!(at(&part, "/b/c"), Some(Value::Text("d".into())));
    assert_eq!(at(&part, "/a"), None);
    assert_eq!(part.json(&"".parse().unwrap()), Some(source));
    let inner = part.clone().subdocument(&"/b".parse().unwrap()).unwrap();
    drop((whole, part));
    assert_eq!(inner.text(), r#"{"c" : "d"}"#);
    assert_eq!(inner.keys(&"".parse().unwrap()).unwrap(), ["c"]);
    assert!(inner.subdocument(&"/d".parse().unwrap()).is_none());
    assert!(!format!("{inner:?}").contains('d'));
}
