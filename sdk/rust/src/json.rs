//! From JSON text to a serde type.
//!
//! The host has checked every document (valid JSON, UTF-8, no duplicate names, bounded depth), so this reader looks for
//! no faults in the syntax and only asks whether the value has the form that the author's type wants. That makes it a
//! quarter of a general parser, and since it knows where it is, an error names the place as a JSON Pointer. On text
//! that is not JSON it fails or reads nonsense, but neither panics nor reads outside the text.

use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

/// Deeper types than this are refused: the stack of a guest is small.
const DEPTH_MAX: u8 = 32;

/// Why a value is not what a type wants.
#[derive(Debug)]
pub(crate) struct Error {
    /// For people; lower case.
    pub(crate) message: String,
    /// The RFC 6901 pointer to the place, from the value that was read.
    pub(crate) pointer: String,
}

type Result<T> = core::result::Result<T, Error>;

/// The value of a JSON text.
///
/// # Errors
/// If it has another form than the type.
pub(crate) fn from_str<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T> {
    T::deserialize(&mut Reader { text: json, at: 0, depth: 0 })
}

impl Error {
    fn new(message: String) -> Self {
        Self { message, pointer: String::new() }
    }

    /// The error one step further out.
    fn inside(mut self, step: &str) -> Self {
        let step = step.replace('~', "~0").replace('/', "~1");
        self.pointer = ["/", &step, &self.pointer].concat();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Error {}

/// The defaults of these would link the formatting of floating-point numbers into every policy.
impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}, there is {}", kind(&unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}, there is {} that does not fit", kind(&unexpected)))
    }
}

fn kind(unexpected: &Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        _ => "a value",
    }
}

/// Where reading is, and how many containers are open.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
}

impl<'a> Reader<'a> {
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// The next byte that is not white space; 0 at the end.
    #[inline]
    fn peek(&mut self) -> u8 {
        loop {
            let byte = self.byte(self.at);
            // Of the bytes up to the space, JSON has white space only; and 0 stands for the end.
            if byte > b' ' || byte == 0 {
                return byte;
            }
            self.at += 1;
        }
    }

    /// Whether this byte came next; it is then read.
    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.byte(self.at) == byte || self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    fn scalar(&mut self) -> &'a str {
        let start = self.at;
        while !matches!(self.byte(self.at), b',' | b']' | b'}' | 0..=b' ') {
            self.at += 1;
        }
        self.slice(start, self.at)
    }

    /// The string that starts here. What has no escapes is not copied.
    fn string(&mut self) -> Result<Cow<'a, str>> {
        let (raw, escaped) = self.raw_string();
        if escaped { unescape(raw).map(Cow::Owned) } else { Ok(Cow::Borrowed(raw)) }
    }

    /// The source of the string that starts here, without its quotes, and whether it has escapes.
    fn raw_string(&mut self) -> (&'a str, bool) {
        let start = self.at + 1;
        let mut escaped = false;
        let mut end = start;
        while let Some(byte) = self.text.as_bytes().get(end) {
            match byte {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    end += 2;
                }
                _ => end += 1,
            }
        }
        self.at = end + 1;
        (self.slice(start, end), escaped)
    }

    /// Reads a value without looking into it.
    fn ignore(&mut self) {
        let mut open = 0_usize;
        loop {
            match self.peek() {
                0 => return,
                b'"' => {
                    self.raw_string();
                }
                b'{' | b'[' => {
                    open = open.saturating_add(1);
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    open = open.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    self.scalar();
                }
            }
            if open == 0 {
                return;
            }
        }
    }

    fn enter(&mut self) -> Result<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::new("is nested too deeply".to_owned()));
        }
        Ok(())
    }

    /// Ends a container whose rest its reader did not want.
    fn leave(&mut self, end: u8) {
        while !self.eat(end) && self.peek() != 0 {
            if !self.eat(b',') && !self.eat(b':') {
                self.ignore();
            }
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn integer<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value> {
        if !matches!(self.peek(), b'-' | b'0'..=b'9') {
            return self.refuse(visitor);
        }
        let text = self.scalar();
        if let Ok(number) = text.parse() {
            return visitor.visit_u64(number);
        }
        match text.parse() {
            Ok(number) => visitor.visit_i64(number),
            Err(_) => Err(de::Error::invalid_value(Unexpected::Float(0.0), &visitor)),
        }
    }

    fn float<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value> {
        if !matches!(self.peek(), b'-' | b'0'..=b'9') {
            return self.refuse(visitor);
        }
        match self.scalar().parse::<f64>() {
            Ok(number) if number.is_finite() => visitor.visit_f64(number),
            _ => Err(de::Error::invalid_value(Unexpected::Float(0.0), &visitor)),
        }
    }

    fn number<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value> {
        self.peek();
        let start = self.at;
        let is_integer = !self.scalar().contains(['.', 'e', 'E']);
        self.at = start;
        if is_integer { self.integer(visitor) } else { self.float(visitor) }
    }

    fn object<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value> {
        if self.peek() != b'{' {
            return self.refuse(visitor);
        }
        self.enter()?;
        let value = visitor.visit_map(Members { reader: self, name: Cow::Borrowed("") })?;
        self.leave(b'}');
        Ok(value)
    }

    fn array<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value> {
        if self.peek() != b'[' {
            return self.refuse(visitor);
        }
        self.enter()?;
        let value = visitor.visit_seq(Elements { reader: self, next: 0 })?;
        self.leave(b']');
        Ok(value)
    }

    /// What is here has another type than the visitor wants.
    #[cold]
    fn refuse<V: Visitor<'a>, T>(&mut self, visitor: V) -> Result<T> {
        let unexpected = match self.peek() {
            b'"' => Unexpected::Str(""),
            b'{' => Unexpected::Map,
            b'[' => Unexpected::Seq,
            b't' | b'f' => Unexpected::Bool(true),
            b'n' => Unexpected::Unit,
            _ => Unexpected::Float(0.0),
        };
        Err(de::Error::invalid_type(unexpected, &visitor))
    }
}

fn unescape(raw: &str) -> Result<String> {
    let mut text = String::with_capacity(raw.len());
    let mut parts = raw.split('\\');
    text.push_str(parts.next().unwrap_or_default());
    while let Some(part) = parts.next() {
        let mut rest = part.chars();
        match rest.next() {
            // Two backslashes: this part is empty, and what follows the second one is plain.
            None => {
                text.push('\\');
                text.push_str(parts.next().unwrap_or_default());
                continue;
            }
            Some('u') => {
                let unit = hex(part)?;
                let (c, plain) = match unit {
                    0xd800..=0xdbff => {
                        let next = parts.next().unwrap_or_default();
                        let low = hex(next)?.wrapping_sub(0xdc00) & 0x3ff;
                        (0x10000 + ((unit - 0xd800) << 10) + low, next)
                    }
                    _ => (unit, part),
                };
                text.push(char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER));
                text.push_str(plain.get(5..).unwrap_or_default());
                continue;
            }
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some(other) => text.push(other),
        }
        text.push_str(rest.as_str());
    }
    Ok(text)
}

/// The code unit of `uXXXX…`.
fn hex(part: &str) -> Result<u32> {
    let digits = part.get(1..5).unwrap_or_default();
    u32::from_str_radix(digits, 16).map_err(|_| Error::new("has a wrong escape".to_owned()))
}

/// Readers that want a number as an integer, or as a float.
macro_rules! numbers {
    ($($method:ident => $read:ident),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.$read(visitor)
        })*
    };
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    numbers! {
        deserialize_u8 => integer, deserialize_u16 => integer, deserialize_u32 => integer, deserialize_u64 => integer,
        deserialize_i8 => integer, deserialize_i16 => integer, deserialize_i32 => integer, deserialize_i64 => integer,
        deserialize_f32 => float, deserialize_f64 => float,
        deserialize_map => object, deserialize_seq => array,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.peek() {
            b'"' => self.deserialize_string(visitor),
            b'{' => self.object(visitor),
            b'[' => self.array(visitor),
            b't' | b'f' => self.deserialize_bool(visitor),
            b'n' => self.deserialize_unit(visitor),
            _ => self.number(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.peek() {
            byte @ (b't' | b'f') => {
                self.scalar();
                visitor.visit_bool(byte == b't')
            }
            _ => self.refuse(visitor),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.peek() != b'n' {
            return self.refuse(visitor);
        }
        self.scalar();
        visitor.visit_unit()
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.peek() != b'"' {
            return self.refuse(visitor);
        }
        match self.string()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_string(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_string(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.peek() != b'n' {
            return visitor.visit_some(self);
        }
        self.scalar();
        visitor.visit_none()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.ignore();
        visitor.visit_unit()
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.object(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        self.array(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.array(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.peek() {
            b'"' => visitor.visit_enum(Variant { reader: self, in_object: false }),
            b'{' => {
                self.enter()?;
                let value = visitor.visit_enum(Variant { reader: self, in_object: true })?;
                self.leave(b'}');
                Ok(value)
            }
            _ => self.refuse(visitor),
        }
    }

    serde::forward_to_deserialize_any! { i128 u128 bytes byte_buf }
}

struct Members<'r, 'a> {
    reader: &'r mut Reader<'a>,
    name: Cow<'a, str>,
}

impl<'de> MapAccess<'de> for Members<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.reader.eat(b',');
        if self.reader.peek() != b'"' {
            return Ok(None);
        }
        self.name = self.reader.string()?;
        self.reader.eat(b':');
        let name: StrDeserializer<'_, Error> = (*self.name).into_deserializer();
        seed.deserialize(name).map(Some).map_err(|error| error.inside(&self.name))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.reader).map_err(|error| error.inside(&self.name))
    }
}

struct Elements<'r, 'a> {
    reader: &'r mut Reader<'a>,
    next: u32,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.reader.eat(b',');
        if matches!(self.reader.peek(), b']' | 0) {
            return Ok(None);
        }
        let index = self.next;
        self.next = index.saturating_add(1);
        seed.deserialize(&mut *self.reader).map(Some).map_err(|error| error.inside(&index.to_string()))
    }
}

/// `"name"`, or `{"name": content}`.
struct Variant<'r, 'a> {
    reader: &'r mut Reader<'a>,
    in_object: bool,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let variant = seed.deserialize(&mut *self.reader)?;
        if self.in_object {
            self.reader.eat(b':');
        }
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        if self.in_object { de::Deserialize::deserialize(self.reader) } else { Ok(()) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        self.content().and_then(|reader| seed.deserialize(reader))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        self.content()?.array(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.content()?.object(visitor)
    }
}

impl<'r, 'a> Variant<'r, 'a> {
    fn content(self) -> Result<&'r mut Reader<'a>> {
        if self.in_object {
            Ok(self.reader)
        } else {
            Err(Error::new("must be an object with this one name".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests;
