//! The entities, as they are in the input.

use serde::{Deserialize, Serialize};

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct User {
    pub(crate) groups: Vec<String>,
    pub(crate) owned_documents: Vec<String>,
    pub(crate) owned_folders: Vec<String>,
}

/// A document or a folder.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Node {
    pub(crate) public: bool,
    /// The folders that it is in.
    pub(crate) parents: Vec<String>,
    pub(crate) viewers: Viewers,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Viewers {
    pub(crate) users: Vec<String>,
    pub(crate) groups: Vec<String>,
}
