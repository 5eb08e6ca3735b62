//! As much of PromQL as it takes to find the metrics and labels that an expression names.

use std::collections::BTreeSet;

/// A metric, and what is asked of its labels: label and value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<(String, String)>,
}

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) selectors: Vec<Selector>,
    /// Labels to group or to match by.
    pub(crate) groups: BTreeSet<String>,
}

const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Reads an expression.
pub(crate) fn named(expression: &str) -> Named {
    let mut named = Named::default();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
        let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        rest = match first {
            '[' => after(rest, ']'),
            // A number, or a unit of time.
            c if c.is_ascii_digit() => rest[end..].trim_start(),
            c if is_of_word(c) => {
                let (word, next) = (&rest[..end], rest[end..].trim_start());
                if GROUPINGS.contains(&word) {
                    let list =
                        next.strip_prefix('(').unwrap_or_else(|| panic!("{word} of what? {expression}"));
                    let (list, next) = list.split_once(')').unwrap();
                    named.groups.extend(list.split(',').map(|label| label.trim().to_owned()));
                    next
                } else if OPERATORS.contains(&word)
                    || ["(", "by ", "without "].iter().any(|start| next.starts_with(start))
                {
                    next
                } else {
                    let (matchers, next) = matchers(next);
                    named.selectors.push(Selector { metric: word.into(), matchers });
                    next
                }
            }
            c => {
                assert!(" \n()+-*/%<>=!,".contains(c), "`{c}` of {expression} is not known here");
                &rest[1..]
            }
        };
        rest = rest.trim_start();
    }
    named
}

fn after(text: &str, end: char) -> &str {
    text.split_once(end).unwrap_or_else(|| panic!("`{end}` is missing: {text}")).1
}

/// `{label="value", …}`, where it is there, and what follows.
fn matchers(text: &str) -> (Vec<(String, String)>, &str) {
    let Some(mut rest) = text.strip_prefix('{') else { return (Vec::new(), text) };
    let mut matchers = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(next) = rest.strip_prefix('}') {
            return (matchers, next);
        }
        let (label, next) = rest.split_once(['=', '!']).unwrap();
        let (value, next) = after(next, '"').split_once('"').unwrap();
        matchers.push((label.trim().to_owned(), value.to_owned()));
        rest = next;
    }
}

#[test]
fn finds_what_an_expression_names() {
    let selector = |metric: &str, matchers: &[(&str, &str)]| Selector {
        metric: metric.into(),
        matchers: matchers.iter().map(|(label, value)| (label.to_string(), value.to_string())).collect(),
    };
    let found = named(
        "histogram_quantile(0.99, sum by (le, a) (rate(x_bucket{b=\"c}\", d=~\"e|f\", g!=\"\"}[5m]))) > 3e2\n or y / on(h) z",
    );
    let x = selector("x_bucket", &[("b", "c}"), ("d", "e|f"), ("g", "")]);
    assert_eq!(found.selectors, [x, selector("y", &[]), selector("z", &[])]);
    assert_eq!(found.groups, ["le", "a", "h"].map(ToOwned::to_owned).into());
}
