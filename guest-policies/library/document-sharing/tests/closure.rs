//! On random hierarchies the rules agree with their definition, computed another way: over the transitive closure of
//! all memberships at once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

use std::collections::BTreeSet;

use document_sharing::hierarchy::{Hierarchy, Size};
use serde_json::Value;
use verdict_sdk::testing;

const OF_EACH: usize = 8;

/// Every pair of a thing and a folder that it is in, itself included, from the input alone.
fn memberships(input: &Value) -> BTreeSet<(String, String)> {
    let mut pairs = BTreeSet::new();
    for kind in ["documents", "folders"] {
        for (name, node) in input[kind].as_object().unwrap() {
            pairs.insert((name.clone(), name.clone()));
            pairs.extend(strings(&node["parents"]).map(|parent| (name.clone(), parent)));
        }
    }
    loop {
        let longer: BTreeSet<_> = pairs
            .iter()
            .flat_map(|(a, b)| pairs.iter().filter(move |(c, _)| b == c).map(|(_, d)| (a.clone(), d.clone())))
            .collect();
        let before = pairs.len();
        pairs.extend(longer);
        if pairs.len() == before {
            return pairs;
        }
    }
}

fn strings(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned())
}

fn expected(input: &Value, pairs: &BTreeSet<(String, String)>, rule: &str) -> bool {
    let (principal, resource) = (input["principal"].as_str().unwrap(), input["resource"].as_str().unwrap());
    let user = &input["users"][principal];
    let above = || pairs.iter().filter(|(inner, _)| inner == resource).map(|(_, outer)| outer.as_str());
    let has = |list: &Value, name: &str| strings(list).any(|it| it == name);
    let owns_document = has(&user["owned_documents"], resource);
    let owns = owns_document || above().any(|outer| has(&user["owned_folders"], outer));
    let views = above().any(|outer| {
        let kind = if outer.starts_with("doc") { "documents" } else { "folders" };
        let viewers = &input[kind][outer]["viewers"];
        has(&viewers["users"], principal) || strings(&viewers["groups"]).any(|it| has(&user["groups"], &it))
    });
    match rule {
        "read" => input["documents"][resource]["public"] == true || owns || views,
        "write" | "share" => owns,
        "change-owner" => owns_document,
        _ => has(&user["owned_folders"], resource),
    }
}

#[test]
fn rules_agree_with_the_transitive_closure() {
    let mut allowed = 0;
    let mut asked = 0;
    for seed in 0..6 {
        let hierarchy = Hierarchy::random(seed, Size { of_each: OF_EACH, connections_per_mille: 90 });
        let pairs = memberships(&serde_json::from_str(&hierarchy.input(0, 0).unwrap()).unwrap());
        for (user, resource) in (0..OF_EACH).flat_map(|user| (0..OF_EACH).map(move |it| (user, it))) {
            for rule in ["read", "write", "share", "change-owner", "create-document"] {
                let input = match rule {
                    "create-document" => hierarchy.input_of_folder(user, resource).unwrap(),
                    _ => hierarchy.input(user, resource).unwrap(),
                };
                let expected = expected(&serde_json::from_str(&input).unwrap(), &pairs, rule);
                let decision = testing::with_input(&input, || document_sharing::decide(rule)).unwrap();
                assert_eq!(decision.json() == Some("true"), expected, "{rule}: {input}");
                asked += 1;
                allowed += usize::from(expected);
            }
        }
    }
    assert!(allowed * 10 > asked && allowed * 10 < asked * 9, "{allowed} of {asked} says little");
}

#[test]
fn the_same_seed_gives_the_same_hierarchy() {
    let size = Size { of_each: 5, connections_per_mille: 200 };
    let input = |seed| Hierarchy::random(seed, size).input(0, 0).unwrap();
    assert_eq!(input(7), input(7));
    assert_ne!(input(7), input(8));
}
