//! May an AI agent call this tool, with these arguments, at this cost, on this class of data?
//!
//! The rule `call` takes the call (`schemas/call.input.json`) and answers `{"allow", "decision"}`, where the decision is
//! `allow`, `needs-approval` or `deny`. What each tool may do is the tenant's data, under `/tools`, and so can change
//! without a new version of the policy:
//!
//! `{"tools": {"read_file": {"data_class": "internal", "paths": ["/workspace"], "approval": false}}}`
//!
//! `data_class` is the highest class that the tool may be given; `paths` and `hosts` bound `arguments.path` and
//! `arguments.url` (absent: the tool takes none); `approval` asks for a person, and so does a cost above
//! `approval_above_cents`. A person's approval, as the caller states it in `approved_by`, turns a need into an allow; it
//! never lifts a denial. An unknown tool is denied and reported to the operator.

mod places;

use serde::{Deserialize, Serialize};
use verdict_sdk::{Decision, Failure, Pointer, Reason, Value, data, diagnostics, input};

verdict_sdk::policy! { "call" => call }

#[derive(Deserialize)]
struct Call {
    tool: String,
    data_class: DataClass,
    cost_cents: u64,
    budget: Budget,
    approved_by: Option<String>,
}

#[derive(Deserialize)]
struct Budget {
    spent_cents: u64,
    limit_cents: u64,
}

/// From the least to the most sensitive.
#[derive(Clone, Copy, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
enum DataClass {
    Public,
    Internal,
    Confidential,
    Personal,
}

/// What the tenant lets a tool do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    data_class: DataClass,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    approval: bool,
    approval_above_cents: Option<u64>,
}

#[derive(Serialize)]
struct Answer {
    allow: bool,
    decision: &'static str,
}

fn call(call: Call) -> Result<Decision, Failure> {
    let Some(tool) = tool(&call.tool)? else {
        diagnostics::log("unknown-tool", &call.tool);
        return answer("deny", [Reason::new("unknown-tool", "the tool is not known").on("/tool")]);
    };
    let denials: Vec<Reason> =
        [budget(&call), data_class(&call, &tool), path(&tool), host(&tool)].into_iter().flatten().collect();
    if !denials.is_empty() {
        return answer("deny", denials);
    }
    match (needs(&call, &tool), &call.approved_by) {
        (None, _) => answer(
            "allow",
            [Reason::new("within-bounds", "the call is within the tool's bounds").on("/tool")],
        ),
        (Some(_), Some(_)) => {
            answer("allow", [Reason::new("approved", "a person approved the call").on("/approved_by")])
        }
        (Some(need), None) => answer("needs-approval", [need]),
    }
}

fn answer(decision: &'static str, reasons: impl IntoIterator<Item = Reason>) -> Result<Decision, Failure> {
    let answer = Answer { allow: decision == "allow", decision };
    Ok(Decision::value(&answer)?.because_all(reasons))
}

/// None if the tenant does not know the tool; a failure if the tenant knows no tools at all.
fn tool(name: &str) -> Result<Option<Tool>, Failure> {
    if !matches!(data::read("/tools"), Value::Object(_)) {
        return Err(Failure::missing_data("no-tools", "the data must name the tools").at("/tools"));
    }
    data::parse_optional(&Pointer::to("tools").child(name))
}

fn budget(call: &Call) -> Option<Reason> {
    let total = call.budget.spent_cents.saturating_add(call.cost_cents);
    (total > call.budget.limit_cents).then(|| {
        Reason::new("over-budget", "the call would go over the budget").on("/cost_cents").on("/budget")
    })
}

fn data_class(call: &Call, tool: &Tool) -> Option<Reason> {
    (call.data_class > tool.data_class)
        .then(|| Reason::new("data-class", "the tool must not be given data of this class").on("/data_class"))
}

fn path(tool: &Tool) -> Option<Reason> {
    let is_inside = |path: &str| tool.paths.iter().any(|allowed| places::is_inside(allowed, path));
    argument("/arguments/path", is_inside, "path", "the tool must not reach this path")
}

fn host(tool: &Tool) -> Option<Reason> {
    let is_known = |url: &str| places::host(url).is_some_and(|host| tool.hosts.iter().any(|it| it == host));
    argument("/arguments/url", is_known, "host", "the tool must not reach this host")
}

/// A reason if the argument is there and is anything but a text that is allowed.
fn argument(pointer: &str, is_allowed: impl Fn(&str) -> bool, code: &str, message: &str) -> Option<Reason> {
    let value = input::read(pointer);
    let passes = value.is_absent() || value.as_text().is_some_and(is_allowed);
    (!passes).then(|| Reason::new(code, message).on(pointer))
}

fn needs(call: &Call, tool: &Tool) -> Option<Reason> {
    if tool.approval {
        return Some(Reason::new("tool-needs-approval", "a person must approve this tool").on("/tool"));
    }
    let expensive = tool.approval_above_cents.is_some_and(|limit| call.cost_cents > limit);
    expensive.then(|| Reason::new("cost-needs-approval", "a person must approve this cost").on("/cost_cents"))
}
