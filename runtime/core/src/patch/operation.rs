//! One operation of a patch, RFC 6902 section 4.

use std::borrow::Cow;

use super::error::PatchErrorKind as Kind;
use super::tree::{Members, Open, Tree, text_of};
use crate::pointer::is_pointer;

/// An operation that is well formed.
pub(super) struct Operation<'a> {
    pub(super) path: Cow<'a, str>,
    pub(super) action: Action<'a>,
}

/// What it does at its path.
pub(super) enum Action<'a> {
    Add(Tree<'a>),
    Remove,
    Replace(Tree<'a>),
    Move(Cow<'a, str>),
    Copy(Cow<'a, str>),
    Test(Tree<'a>),
}

impl<'a> Operation<'a> {
    /// Members that the operation does not have are ignored, as the RFC asks.
    pub(super) fn read(mut operation: Tree<'a>) -> Result<Self, Kind> {
        let members = match operation.open() {
            Ok(Open::Object(members)) => members,
            Err(Kind::NotAContainer) | Ok(Open::Array(_)) => return Err(Kind::NotAnOperation),
            Err(kind) => return Err(kind),
        };
        let name = text(members, "op")?.ok_or(Kind::UnknownOperation)?;
        let action = match name.as_ref() {
            "add" => Action::Add(value(members)?),
            "remove" => Action::Remove,
            "replace" => Action::Replace(value(members)?),
            "move" => Action::Move(pointer(members, "from")?),
            "copy" => Action::Copy(pointer(members, "from")?),
            "test" => Action::Test(value(members)?),
            _ => return Err(Kind::UnknownOperation),
        };
        Ok(Self { path: pointer(members, "path")?, action })
    }
}

/// The text of a member, if it is a string.
fn text<'a>(members: &mut Members<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Kind> {
    match members.find(name) {
        Some(Tree::Source(source)) if source.starts_with('"') => text_of(source).map(Some),
        _ => Ok(None),
    }
}

fn pointer<'a>(members: &mut Members<'a>, name: &str) -> Result<Cow<'a, str>, Kind> {
    let pointer = text(members, name)?.ok_or(Kind::NoPointer)?;
    if is_pointer(&pointer) { Ok(pointer) } else { Err(Kind::NotAPointer) }
}

fn value<'a>(members: &mut Members<'a>) -> Result<Tree<'a>, Kind> {
    members.remove("value").ok_or(Kind::NoValue)
}

/// The reference tokens of a pointer, RFC 6901 section 4.
pub(super) fn tokens(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pointer.split('/').skip(1).map(token)
}

/// The pointer to what is around, and the last token; none for the whole document.
pub(super) fn last_token(pointer: &str) -> Option<(&str, Cow<'_, str>)> {
    pointer.rsplit_once('/').map(|(parent, last)| (parent, token(last)))
}

fn token(segment: &str) -> Cow<'_, str> {
    if segment.contains('~') {
        Cow::Owned(segment.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(segment)
    }
}
