//! JSON text that is handed on as a policy wrote it: every number keeps its digits.

/// The text of an object with these members, whose values are JSON.
pub(super) fn object<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (name, value) in members {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&serde_json::Value::from(name).to_string());
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out
}

/// The same JSON with a line for each member, by two blanks a level.
pub(super) fn indented(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if in_string {
            out.push(character);
            in_string = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
            continue;
        }
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                out.push(character);
                while characters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                match characters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(character);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_string = character == '"';
                out.push(character);
            }
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indenting_changes_blanks_between_tokens_and_nothing_else() {
        let text = r#" { "a\"{": [1e400, {} , [ ], "x\\"], "b":null, "c,:[" : -0.10 } "#;
        let expected = "{\n  \"a\\\"{\": [\n    1e400,\n    {},\n    [],\n    \"x\\\\\"\n  ],\n  \"b\": null,\n  \"c,:[\": -0.10\n}";
        assert_eq!(indented(text), expected);
        let value = serde_json::json!({"a": [1, 2, {"b": {}}], "c": "\\\"", "d": []});
        assert_eq!(indented(&value.to_string()), serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn members_keep_the_text_of_their_values() {
        assert_eq!(object([("a\"", "1e400"), ("b", "[ ]")]), r#"{"a\"":1e400,"b":[ ]}"#);
        assert_eq!(object([]), "{}");
    }
}
