//! The read set: what a policy looked at, step by step, with what it found absent.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeSeq, Serializer};

/// Which document a step read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The question's input.
    Input,
    /// The tenant's data.
    Data,
}

/// What a step asked for. An element of `read-many` is a `read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// The value.
    Read,
    /// The names of an object's members.
    Keys,
    /// The source text.
    Json,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Read<'a> {
    /// Whether there was nothing; for `keys`, whether there was no object.
    pub absent: bool,
    /// Which document was read.
    pub document: Source,
    /// What was asked for.
    pub operation: Operation,
    /// Where, as an RFC 6901 pointer.
    pub pointer: &'a str,
}

/// What an evaluation read, in its order, repetitions included. As JSON it is an array of [`Read`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// All pointers, one after the other.
    pointers: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    /// Where the pointer of this step ends in `pointers`.
    end: usize,
    document: Source,
    operation: Operation,
    absent: bool,
}

impl ReadSet {
    /// Room for what most evaluations read, in one piece each.
    pub(crate) fn with_room() -> Self {
        Self { pointers: String::with_capacity(256), steps: Vec::with_capacity(16) }
    }

    pub(crate) fn push(&mut self, document: Source, operation: Operation, pointer: &str, absent: bool) {
        self.pointers.push_str(pointer);
        self.steps.push(Step { end: self.pointers.len(), document, operation, absent });
    }

    /// How many steps there were.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The steps, in order.
    pub fn iter(&self) -> impl Iterator<Item = Read<'_>> {
        let mut start = 0;
        self.steps.iter().map(move |step| {
            let pointer = self.pointers.get(start..step.end).unwrap_or_default();
            start = step.end;
            let Step { document, operation, absent, .. } = *step;
            Read { absent, document, operation, pointer }
        })
    }
}

impl Serialize for ReadSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut steps = serializer.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|step| steps.serialize_element(&step))?;
        steps.end()
    }
}

impl<'de> Deserialize<'de> for ReadSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Step<'a> {
            absent: bool,
            document: Source,
            operation: Operation,
            #[serde(borrow)]
            pointer: Cow<'a, str>,
        }
        let mut reads = Self::default();
        for Step { absent, document, operation, pointer } in Vec::<Step<'de>>::deserialize(deserializer)? {
            reads.push(document, operation, &pointer, absent);
        }
        Ok(reads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_repetitions_and_absence() {
        let mut reads = ReadSet::default();
        reads.push(Source::Input, Operation::Read, "/a", false);
        reads.push(Source::Data, Operation::Keys, "", true);
        reads.push(Source::Input, Operation::Read, "/a", false);
        assert_eq!(reads.iter().map(|read| read.pointer).collect::<Vec<_>>(), ["/a", "", "/a"]);
        let json = serde_json::to_value(&reads).unwrap();
        assert_eq!(
            json[1],
            serde_json::json!({"absent": true, "document": "data", "operation": "keys", "pointer": ""})
        );
        assert_eq!(serde_json::from_str::<ReadSet>(&json.to_string()).unwrap(), reads);
    }
}
