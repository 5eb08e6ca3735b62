//! The cases of this policy, natively, and that searches find exactly what evaluations allow.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

use serde_json::{Value, json};
use verdict_sdk::testing::{Host, run_cases, with};

const DATA: &str = include_str!("../data.json");

#[test]
fn every_case_comes_out_as_expected() {
    assert!(run_cases(include_str!("../cases/todo.json"), todo_access::decide).unwrap() >= 26);
}

fn ask(rule: &str, input: &Value) -> Value {
    let host = Host { input: input.to_string(), data: DATA.into(), ..Host::default() };
    let decision = with(host, || todo_access::decide(rule)).unwrap();
    serde_json::from_str(decision.json().unwrap()).unwrap()
}

fn has(found: &Value, member: &str, text: &str) -> bool {
    found["results"].as_array().unwrap().iter().any(|it| it[member] == text)
}

#[test]
fn searches_find_exactly_what_evaluations_allow() {
    let data: Value = serde_json::from_str(DATA).unwrap();
    let names = |list: &str| data[list].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let (mut asked, mut allowed) = (0, 0);
    for (kind, list) in [("todo", "todos"), ("user", "todo_users")] {
        for action in
            ["can_read_user", "can_read_todos", "can_create_todo", "can_update_todo", "can_delete_todo"]
        {
            for (subject, resource) in names("todo_users")
                .iter()
                .flat_map(|it| names(list).into_iter().map(move |to| (it.clone(), to)))
            {
                let (who, on) =
                    (json!({"type": "user", "id": subject}), json!({"type": kind, "id": resource}));
                let input = json!({"subject": who, "action": {"name": action}, "resource": on});
                let is_allowed = ask("evaluation", &input)["allow"] == true;
                let search = |rule| ask(rule, &input);
                assert_eq!(has(&search("search-subject"), "id", &subject), is_allowed, "subject: {input}");
                assert_eq!(has(&search("search-resource"), "id", &resource), is_allowed, "resource: {input}");
                assert_eq!(has(&search("search-action"), "name", action), is_allowed, "action: {input}");
                asked += 1;
                allowed += i32::from(is_allowed);
            }
        }
    }
    assert!(asked == 250 && allowed > 50 && allowed < 200, "{allowed} of {asked} says little");
}
