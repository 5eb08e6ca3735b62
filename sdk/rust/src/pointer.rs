//! Pointers made of parts that come from outside.

use alloc::string::String;
use core::ops::Deref;

/// An RFC 6901 pointer built step by step, each step escaped: a name such as `a/b` from the input stays one step, and
/// cannot reach elsewhere.
///
/// ```
/// use verdict_sdk::Pointer;
///
/// let grant = Pointer::to("grants").child("sales/emea").index(2);
/// assert_eq!(&*grant, "/grants/sales~1emea/2");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pointer(String);

impl Pointer {
    /// The member `name` of the whole document.
    #[must_use]
    pub fn to(name: &str) -> Self {
        Self(String::with_capacity(64)).child(name)
    }

    /// The member `name` of what this pointer points at.
    #[must_use]
    pub fn child(mut self, name: &str) -> Self {
        self.0.push('/');
        if !name.bytes().any(|byte| matches!(byte, b'~' | b'/')) {
            self.0.push_str(name);
            return self;
        }
        for c in name.chars() {
            match c {
                '~' => self.0.push_str("~0"),
                '/' => self.0.push_str("~1"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// The element `index`, from 0, of the array that this pointer points at.
    #[must_use]
    pub fn index(mut self, index: u32) -> Self {
        self.0.push('/');
        let mut unit = 1_u32;
        while index / unit >= 10 {
            unit *= 10;
        }
        while unit > 0 {
            self.0.push(char::from_digit(index / unit % 10, 10).unwrap_or('0'));
            unit /= 10;
        }
        self
    }
}

impl Deref for Pointer {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_every_index_as_digits() {
        for index in [0, 9, 10, 99, 100, 12_345, u32::MAX] {
            assert_eq!(&*Pointer::to("a").index(index), format!("/a/{index}"));
        }
    }
}
