//! A document as a patch sees it: its source, opened one level at a time where an operation goes in.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::iter::zip;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::PatchErrorKind as Kind;
use super::number;

/// One value. The open levels of a document are never more than the limit of depth, so that recursion over them is
/// bounded.
pub(super) enum Tree<'a> {
    /// As it is in the source, without white space around it.
    Source(&'a str),
    Open(Box<Open<'a>>),
}

/// An array or object that was gone into.
pub(super) enum Open<'a> {
    Array(Vec<Tree<'a>>),
    Object(Members<'a>),
}

impl<'a> Tree<'a> {
    /// A text that is JSON.
    pub(super) fn checked(text: &'a str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(text).ok().map(|value| Tree::Source(value.get()))
    }

    /// Opens an array or object.
    pub(super) fn open(&mut self) -> Result<&mut Open<'a>, Kind> {
        if let Tree::Source(source) = *self {
            *self = Tree::Open(Box::new(Open::read(source)?));
        }
        match self {
            Tree::Open(open) => Ok(open),
            Tree::Source(_) => Err(Kind::NotAContainer),
        }
    }

    pub(super) fn child(&mut self, token: &str) -> Result<&mut Self, Kind> {
        match self.open() {
            Ok(Open::Array(elements)) => index(token).and_then(|index| elements.get_mut(index)),
            Ok(Open::Object(members)) => members.find(token),
            // A scalar has nothing inside.
            Err(Kind::NotAContainer) => None,
            Err(kind) => return Err(kind),
        }
        .ok_or(Kind::Absent)
    }

    /// Adds an element before the one with this index, or a member; a member that is there already is replaced.
    pub(super) fn insert(&mut self, token: Cow<'_, str>, value: Tree<'a>) -> Result<(), Kind> {
        match self.open()? {
            Open::Array(elements) => {
                let end = elements.len();
                let index = if token == "-" { Some(end) } else { index(&token) };
                elements.insert(index.filter(|index| *index <= end).ok_or(Kind::NotAnIndex)?, value);
            }
            Open::Object(members) => members.insert(token.into_owned(), value),
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, token: &str) -> Result<Tree<'a>, Kind> {
        match self.open() {
            Ok(Open::Array(elements)) => {
                index(token).filter(|index| *index < elements.len()).map(|index| elements.remove(index))
            }
            Ok(Open::Object(members)) => members.remove(token),
            Err(Kind::NotAContainer) => None,
            Err(kind) => return Err(kind),
        }
        .ok_or(Kind::Absent)
    }

    /// How many levels are open.
    pub(super) fn height(&self) -> usize {
        match self {
            Tree::Source(_) => 0,
            Tree::Open(open) => 1 + open.children().map(Tree::height).max().unwrap_or(0),
        }
    }

    /// How long the text is.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Tree::Source(source) => source.len(),
            Tree::Open(open) => {
                let names = match &**open {
                    Open::Array(_) => 0,
                    Open::Object(members) => members.iter().map(|member| member.name.len() + 1).sum(),
                };
                let (count, inside) =
                    open.children().fold((0, 0), |(count, bytes), child| (count + 1, bytes + child.bytes()));
                2 + names + inside + usize::saturating_sub(count, 1)
            }
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.bytes());
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        let Tree::Open(open) = self else {
            if let Tree::Source(source) = self {
                text.push_str(source);
            }
            return;
        };
        let comma = |text: &mut String, first: bool| {
            if !first {
                text.push(',')
            }
        };
        match &**open {
            Open::Array(elements) => {
                text.push('[');
                for (n, element) in elements.iter().enumerate() {
                    comma(text, n == 0);
                    element.write(text);
                }
                text.push(']');
            }
            Open::Object(members) => {
                text.push('{');
                for (n, member) in members.iter().enumerate() {
                    comma(text, n == 0);
                    text.push_str(&member.name);
                    text.push(':');
                    member.value.write(text);
                }
                text.push('}');
            }
        }
    }

    /// Whether two values are equal as RFC 6902 section 4.6 has it: numbers by what they are, strings by their
    /// characters, objects in any order. What is compared stays open, so that comparing it again is quick.
    pub(super) fn equals(&mut self, other: &mut Self, depth_left: usize) -> Result<bool, Kind> {
        let kind = self.kind();
        if kind != other.kind() {
            return Ok(false);
        }
        if let (Tree::Source(a), Tree::Source(b)) = (&*self, &*other) {
            match kind {
                b'[' | b'{' => {}
                b'"' => return Ok(text_of(a)? == text_of(b)?),
                b'0' => return Ok(number::equal(a, b)),
                _ => return Ok(a == b),
            }
        }
        let depth_left = depth_left.checked_sub(1).ok_or(Kind::TooDeep)?;
        match (self.open()?, other.open()?) {
            (Open::Array(a), Open::Array(b)) if a.len() == b.len() => {
                zip(a, b).try_fold(true, |same, (a, b)| Ok(same && a.equals(b, depth_left)?))
            }
            (Open::Object(a), Open::Object(b)) => a.equals(b, depth_left),
            _ => Ok(false),
        }
    }

    /// The first byte of the source; `0` for any number.
    fn kind(&self) -> u8 {
        match self {
            Tree::Source(source) => match source.as_bytes().first() {
                Some(b'-' | b'0'..=b'9') | None => b'0',
                Some(first) => *first,
            },
            Tree::Open(open) if matches!(**open, Open::Array(_)) => b'[',
            Tree::Open(_) => b'{',
        }
    }
}

impl<'a> Open<'a> {
    fn read(source: &'a str) -> Result<Self, Kind> {
        match source.as_bytes().first() {
            Some(b'[') => {
                let elements: Vec<&RawValue> =
                    serde_json::from_str(source).map_err(|_| Kind::NotAContainer)?;
                // In place: both are two words.
                Ok(Open::Array(elements.into_iter().map(|element| Tree::Source(element.get())).collect()))
            }
            Some(b'{') => {
                let members: InOrder<'_> = serde_json::from_str(source).map_err(|_| Kind::DuplicateName)?;
                Ok(Open::Object(members.0))
            }
            _ => Err(Kind::NotAContainer),
        }
    }

    fn children(&self) -> impl Iterator<Item = &Tree<'a>> {
        let (elements, members) = match self {
            Open::Array(elements) => (Some(elements), None),
            Open::Object(members) => (None, Some(members)),
        };
        let members = members.into_iter().flat_map(Members::iter).map(|member| &member.value);
        elements.into_iter().flatten().chain(members)
    }
}

/// The members of an object in their order.
#[derive(Default)]
pub(super) struct Members<'a> {
    /// None where one was removed.
    slots: Vec<Option<Member<'a>>>,
    places: HashMap<Cow<'a, str>, usize>,
}

struct Member<'a> {
    /// With its quotes, as it is written.
    name: Cow<'a, str>,
    value: Tree<'a>,
}

impl<'a> Members<'a> {
    fn iter(&self) -> impl Iterator<Item = &Member<'a>> {
        self.slots.iter().flatten()
    }

    pub(super) fn find(&mut self, name: &str) -> Option<&mut Tree<'a>> {
        let place = *self.places.get(name)?;
        self.slots.get_mut(place)?.as_mut().map(|member| &mut member.value)
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Tree<'a>> {
        let place = self.places.remove(name)?;
        self.slots.get_mut(place)?.take().map(|member| member.value)
    }

    fn insert(&mut self, name: String, value: Tree<'a>) {
        if let Some(there) = self.find(&name) {
            *there = value;
            return;
        }
        let source = serde_json::Value::from(name.as_str()).to_string();
        self.places.insert(Cow::Owned(name), self.slots.len());
        self.slots.push(Some(Member { name: Cow::Owned(source), value }));
    }

    fn equals(&mut self, other: &mut Self, depth_left: usize) -> Result<bool, Kind> {
        if self.places.len() != other.places.len() {
            return Ok(false);
        }
        for (name, place) in &self.places {
            let (Some(Some(ours)), Some(theirs)) = (self.slots.get_mut(*place), other.find(name)) else {
                return Ok(false);
            };
            if !ours.value.equals(theirs, depth_left)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Reads [`Members`]. The only error that a checked source has is a name that is there twice, or is no text.
struct InOrder<'a>(Members<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for InOrder<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneByOne;
        impl<'de> Visitor<'de> for OneByOne {
            type Value = InOrder<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder<'de>, A::Error> {
                let mut members = Members::default();
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    let place = members.slots.len();
                    let member = Member { name: name.get().into(), value: Tree::Source(value.get()) };
                    members.slots.push(Some(member));
                    match members.places.entry(text_of(name.get()).map_err(A::Error::custom)?) {
                        Entry::Vacant(entry) => entry.insert(place),
                        Entry::Occupied(_) => return Err(A::Error::custom(Kind::DuplicateName)),
                    };
                }
                Ok(InOrder(members))
            }
        }
        deserializer.deserialize_map(OneByOne)
    }
}

/// The characters of a string, from its source.
pub(super) fn text_of(source: &str) -> Result<Cow<'_, str>, Kind> {
    if source.contains('\\') {
        serde_json::from_str(source).map(Cow::Owned).map_err(|_| Kind::NotText)
    } else {
        Ok(Cow::Borrowed(source.get(1..source.len().saturating_sub(1)).unwrap_or_default()))
    }
}

/// An index of RFC 6901: decimal digits without leading zeros.
fn index(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with('0');
    let digits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| token.parse().ok())?
}
