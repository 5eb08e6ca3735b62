//! From serde's line and column to a JSON Pointer: a caller looks for a member, not for a column of a document that
//! was perhaps never text on its side. It runs on the way to a failure only, and costs other decisions nothing.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A step into a container: the name of the member that is being read, or the index of the element.
enum Step<'a> {
    /// Between `{` and the first name.
    Object,
    Member(&'a str),
    Element(usize),
}

/// The RFC 6901 pointer to the value in which the byte before `line` and `column` (from 1, in bytes) lies.
///
/// `json` is valid JSON: the host has checked it.
pub(crate) fn pointer_at(json: &str, line: usize, column: usize) -> String {
    let line_start: usize = json.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let read = json.get(..line_start.saturating_add(column)).unwrap_or(json);
    let mut steps = Vec::new();
    let mut rest = read;
    let mut name = "";
    while let Some(byte) = rest.bytes().next() {
        let mut length = 1;
        match byte {
            b'"' => {
                length = string_length(rest);
                name = rest.get(1..length.saturating_sub(1)).unwrap_or_default();
            }
            b'{' => steps.push(Step::Object),
            b'[' => steps.push(Step::Element(0)),
            b'}' | b']' => {
                steps.pop();
            }
            b':' => enter_member(&mut steps, name),
            b',' => leave_value(&mut steps),
            _ => length = rest.find(|c: char| "\"{}[]:,".contains(c)).unwrap_or(rest.len()),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    write(&steps)
}

/// serde's message without its ` at line 1 column 2`.
pub(crate) fn without_position(mut message: String) -> String {
    if let Some(end) = message.rfind(" at line ") {
        message.truncate(end);
    }
    message
}

/// The bytes of the string that `text` starts with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn enter_member<'a>(steps: &mut [Step<'a>], name: &'a str) {
    if let Some(step) = steps.last_mut() {
        *step = Step::Member(name);
    }
}

fn leave_value(steps: &mut [Step<'_>]) {
    match steps.last_mut() {
        Some(Step::Element(index)) => *index += 1,
        Some(step) => *step = Step::Object,
        None => {}
    }
}

fn write(steps: &[Step<'_>]) -> String {
    let mut pointer = String::new();
    for step in steps {
        match step {
            Step::Object => {}
            Step::Member(name) => {
                pointer.push('/');
                pointer.push_str(&unescape(name).replace('~', "~0").replace('/', "~1"));
            }
            Step::Element(index) => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
        }
    }
    pointer
}

/// The string with its escapes resolved; as it is written if it is cut off.
fn unescape(name: &str) -> String {
    let quoted: String = ["\"", name, "\""].concat();
    serde_json::from_str(&quoted).unwrap_or_else(|_| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of<T: serde::de::DeserializeOwned + std::fmt::Debug>(json: &str) -> String {
        let error = serde_json::from_str::<T>(json).unwrap_err();
        pointer_at(json, error.line(), error.column())
    }

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code, reason = "only its form matters")]
    struct Outer {
        list: Vec<Inner>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its form matters")]
    struct Inner {
        #[serde(rename = "a/b~ü\"")]
        number: u32,
    }

    #[test]
    fn names_the_element_of_the_wrong_type() {
        assert_eq!(
            place_of::<Outer>("{\"list\": [{\"a/b~ü\\\"\": 1},\n {\"a/b~ü\\\"\": \"x\"}]}"),
            "/list/1/a~1b~0ü\""
        );
        assert_eq!(place_of::<Outer>(r#"{"list": [ ["x"] ]}"#), "/list/0/0");
        assert_eq!(place_of::<Outer>(r#"{"list": {"a": 1}}"#), "/list");
        assert_eq!(place_of::<Outer>(r#"[1]"#), "/0");
    }

    #[test]
    fn names_the_object_that_lacks_a_member() {
        assert_eq!(place_of::<Outer>(r#"{"list": [{}]}"#), "/list/0");
        assert_eq!(place_of::<Outer>(r#"{"x": ",{["}"#), "");
    }

    #[test]
    fn names_the_value_at_the_root() {
        assert_eq!(place_of::<u64>("\"x\""), "");
    }
}
