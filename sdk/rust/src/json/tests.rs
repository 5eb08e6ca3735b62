use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
struct Outer {
    list: Vec<Inner>,
    choice: Option<Choice>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Inner {
    #[serde(rename = "a/b~ü\"")]
    number: u32,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Choice {
    Unit,
    Newtype(u8),
    Tuple(u8, bool),
    Struct { a: u8 },
}

fn place_of<T: DeserializeOwned + fmt::Debug>(json: &str) -> String {
    from_str::<T>(json).unwrap_err().pointer
}

#[test]
fn names_the_element_of_the_wrong_type() {
    let json = "{\"list\": [{\"a/b~ü\\\"\": 1},\n {\"a/b~ü\\\"\": \"x\"}]}";
    assert_eq!(place_of::<Outer>(json), "/list/1/a~1b~0ü\"");
    assert_eq!(place_of::<Outer>(r#"{"list": [ ["x"] ]}"#), "/list/0");
    assert_eq!(place_of::<Outer>(r#"{"list": {"a": 1}}"#), "/list");
    assert_eq!(place_of::<Outer>("[1]"), "");
    assert_eq!(place_of::<Outer>(r#"{"list": [{"b": 1}]}"#), "/list/0/b");
}

#[test]
fn names_the_object_that_lacks_a_member() {
    assert_eq!(place_of::<Outer>(r#"{"list": [{}]}"#), "/list/0");
    assert_eq!(place_of::<Outer>(r#"{"x": ",{[\"\\"}"#), "");
}

#[test]
fn reads_every_kind_of_choice() {
    let choice = |json: &str| from_str::<Choice>(json).map_err(|error| error.pointer);
    assert_eq!(choice(r#""unit""#), Ok(Choice::Unit));
    assert_eq!(choice(r#"{"newtype": 7}"#), Ok(Choice::Newtype(7)));
    assert_eq!(choice(r#"{ "tuple" : [7, true] }"#), Ok(Choice::Tuple(7, true)));
    assert_eq!(choice(r#"{"struct": {"a": 7}}"#), Ok(Choice::Struct { a: 7 }));
    for wrong in [r#""newtype""#, r#""other""#, "7", r#"{"tuple": 1}"#, "[]"] {
        assert!(choice(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn refuses_numbers_that_do_not_fit() {
    assert!(
        from_str::<u8>("256").is_err() && from_str::<u64>("-1").is_err() && from_str::<u64>("1.0").is_err()
    );
    assert!(from_str::<u64>("18446744073709551616").is_err() && from_str::<f64>("1e999").is_err());
    assert!(from_str::<i64>("9223372036854775808").is_err() && from_str::<u64>("\"1\"").is_err());
    assert_eq!(from_str::<u64>(" 18446744073709551615 ").unwrap(), u64::MAX);
    assert_eq!(from_str::<i64>("-9223372036854775808").unwrap(), i64::MIN);
    assert_eq!(from_str::<f64>("1").unwrap().to_bits(), 1.0_f64.to_bits());
}

#[test]
fn refuses_types_nested_too_deeply() {
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    assert!(from_str::<serde_json::Value>(&nested(32)).is_ok());
    assert!(from_str::<serde_json::Value>(&nested(33)).is_err());
    let ignored = [r#"{"list": [], "x": "#, &nested(10_000), "}"].concat();
    assert_eq!(from_str::<Outer>(&ignored).unwrap(), Outer { list: Vec::new(), choice: None });
}

#[test]
fn skips_what_a_type_does_not_want() {
    let json = r#"{"x": {"y": [1, "]}", {}]}, "list": [], "z": null, "choice": null, "w": -1.5e3}"#;
    assert_eq!(from_str::<Outer>(json).unwrap(), Outer { list: Vec::new(), choice: None });
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let number = prop_oneof![
        any::<u64>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_filter("finite", |it| it.is_finite()).prop_map(serde_json::Value::from),
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        number,
        any::<String>().prop_map(serde_json::Value::from),
        "[\\\\\"/\n\tu0-9]{0,8}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map: BTreeMap<String, serde_json::Value>| map.into_iter().collect()),
        ]
    })
}

/// Every character as an escape, with surrogates.
fn escaped(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    ["\"", &units, "\""].concat()
}

proptest! {
    #[test]
    fn reads_what_another_writer_wrote(value in any_value()) {
        prop_assert_eq!(from_str::<serde_json::Value>(&value.to_string()).unwrap(), value.clone());
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(from_str::<serde_json::Value>(&pretty).unwrap(), value);
    }

    #[test]
    fn resolves_escapes(text in any::<String>()) {
        prop_assert_eq!(from_str::<String>(&escaped(&text)).unwrap(), text);
    }

    #[test]
    fn survives_what_is_not_json(text in "[\\[\\]{}\",:\\\\u0-9a-f.eüé -]{0,40}") {
        let _ = from_str::<serde_json::Value>(&text);
        let _ = from_str::<Outer>(&text);
    }
}
