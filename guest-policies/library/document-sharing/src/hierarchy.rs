//! Random hierarchies, the same for the same seed on every machine, distributed as in the Cedar paper's generator: each
//! possible connection exists with one probability, and folders are only in folders with smaller numbers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Node, User, Viewers};

/// How large a hierarchy is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many users, groups, documents and folders: so many of each. The paper has 5 to 50.
    pub of_each: usize,
    /// The probability of each possible connection, in thousandths.
    pub connections_per_mille: u64,
}

/// Users, groups, documents and folders, and how they are connected.
#[derive(Serialize)]
pub struct Hierarchy {
    users: BTreeMap<String, User>,
    documents: BTreeMap<String, Node>,
    folders: BTreeMap<String, Node>,
}

/// A question, as the rules take it.
#[derive(Serialize)]
struct Input<'a> {
    principal: String,
    resource: String,
    #[serde(flatten)]
    hierarchy: &'a Hierarchy,
}

impl Hierarchy {
    /// The hierarchy of this seed.
    #[must_use]
    pub fn random(seed: u64, size: Size) -> Self {
        let mut dice = Dice { state: seed, per_mille: size.connections_per_mille };
        let each = || 0..size.of_each;
        let users = each().map(|index| (name("user", index), user(&mut dice, size.of_each))).collect();
        let documents = each()
            .map(|index| {
                let public = dice.next().is_multiple_of(2);
                (name("doc", index), Node { public, ..node(&mut dice, size.of_each, size.of_each) })
            })
            .collect();
        let folders =
            each().map(|index| (name("folder", index), node(&mut dice, index, size.of_each))).collect();
        Self { users, documents, folders }
    }

    /// The input that asks whether a user may do something with a document; both are counted from 0.
    ///
    /// # Errors
    /// None in practice: every name is a string.
    pub fn input(&self, user: usize, document: usize) -> Result<String, serde_json::Error> {
        let (principal, resource) = (name("user", user), name("doc", document));
        serde_json::to_string(&Input { principal, resource, hierarchy: self })
    }

    /// The input that asks about a folder.
    ///
    /// # Errors
    /// None in practice: every name is a string.
    pub fn input_of_folder(&self, user: usize, folder: usize) -> Result<String, serde_json::Error> {
        let (principal, resource) = (name("user", user), name("folder", folder));
        serde_json::to_string(&Input { principal, resource, hierarchy: self })
    }
}

fn name(kind: &str, index: usize) -> String {
    format!("{kind}_{index}")
}

fn user(dice: &mut Dice, of_each: usize) -> User {
    User {
        groups: dice.some("group", of_each),
        owned_documents: dice.some("doc", of_each),
        owned_folders: dice.some("folder", of_each),
    }
}

fn node(dice: &mut Dice, folders: usize, of_each: usize) -> Node {
    let parents = dice.some("folder", folders);
    let viewers = Viewers { users: dice.some("user", of_each), groups: dice.some("group", of_each) };
    Node { public: false, parents, viewers }
}

/// Randomness that every machine has alike: `SplitMix64` (Steele, Lea and Flood, 2014).
struct Dice {
    state: u64,
    per_mille: u64,
}

impl Dice {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Those of `count` things that are connected.
    fn some(&mut self, kind: &str, count: usize) -> Vec<String> {
        (0..count).filter(|_| self.next() % 1000 < self.per_mille).map(|index| name(kind, index)).collect()
    }
}
