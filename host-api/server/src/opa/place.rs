//! The path of a document, as OPA reads it: parts between slashes, each with its own escapes, none of them empty.

use std::fmt;

use verdict::core::pointer::Pointer;

use super::refused::Refused;

/// The most parts of a path.
const PARTS_MAX: usize = 64;

/// The path of a document below `data`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    parts: Vec<String>,
}

impl Place {
    /// Reads what follows the route in a path, as it was sent.
    pub(super) fn read(raw: &str) -> Result<Self, Refused> {
        let mut parts = Vec::new();
        for part in raw.split('/').filter(|part| !part.is_empty()) {
            let bytes = unescaped(part);
            let part = String::from_utf8(bytes)
                .map_err(|_| Refused::invalid(format!("bad path: {raw}: not UTF-8")))?;
            parts.push(part);
        }
        if parts.len() > PARTS_MAX {
            return Err(Refused::invalid(format!("bad path: it has more than {PARTS_MAX} parts")));
        }
        Ok(Self { parts })
    }

    pub(super) fn of(parts: Vec<String>) -> Self {
        Self { parts }
    }

    pub(super) fn parts(&self) -> &[String] {
        &self.parts
    }

    /// What comes after the first `count` parts, as a pointer into what they name.
    pub(super) fn pointer_after(&self, count: usize) -> Pointer {
        let parts = self.parts.iter().skip(count);
        let text: String =
            parts.map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect();
        // Escaped as RFC 6901 has it, every text is one.
        text.parse().unwrap_or_default()
    }
}

/// As OPA names it in its messages: a reference of Rego.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("data")?;
        for part in &self.parts {
            if is_variable(part) {
                write!(f, ".{part}")?;
            } else if let Some(number) = number(part) {
                write!(f, "[{number}]")?;
            } else {
                write!(f, "[{}]", serde_json::Value::String(part.clone()))?;
            }
        }
        Ok(())
    }
}

fn is_variable(text: &str) -> bool {
    let is_start = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    text.as_bytes().first().is_some_and(is_start)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// The bytes of a part. What looks like an escape and is none stands for itself.
fn unescaped(part: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = after.first_chunk::<2>().filter(|_| first == b'%').and_then(|digits| {
            let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
            u8::from_str_radix(text, 16).ok()
        });
        match escape {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(raw: &str) -> Vec<String> {
        Place::read(raw).unwrap().parts
    }

    #[test]
    fn each_part_has_its_own_escapes_and_none_is_empty() {
        assert_eq!(parts("/a%2Fb//c%20d/%e2%82%ac/"), ["a/b", "c d", "€"]);
        assert_eq!(parts(""), Vec::<String>::new());
        assert_eq!(parts("100%/%+1/%4"), ["100%", "%+1", "%4"]);
        assert!(Place::read("/%ff").is_err());
        assert!(Place::read(&"/a".repeat(PARTS_MAX)).is_ok() && Place::read(&"/a".repeat(65)).is_err());
    }

    #[test]
    fn a_place_is_named_as_rego_would() {
        let name = |raw| Place::read(raw).unwrap().to_string();
        assert_eq!(name("/x-y/0/b/01/_c/%22/1x"), r#"data["x-y"][0].b[1]._c["\""]["1x"]"#);
        assert_eq!(name(""), "data");
    }

    #[test]
    fn the_rest_of_a_place_is_a_pointer() {
        let place = Place::read("/roles/allow/a%2Fb/~/0").unwrap();
        assert_eq!(place.pointer_after(2).as_str(), "/a~1b/~0/0");
        assert_eq!(place.pointer_after(9).as_str(), "");
    }
}
