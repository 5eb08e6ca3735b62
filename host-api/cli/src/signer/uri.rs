//! PKCS#11 URIs (RFC 7512): which key of which token, by which library.
//!
//! A selection that is not understood is refused instead of passed over, as the RFC would allow: the signature of
//! another key than the one that was meant is worse than none.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Problem};

/// What such a URI begins with.
pub(super) const SCHEME: &str = "pkcs11:";
const BYTES_MAX: usize = 4_096;
const EXAMPLE: &str = "pkcs11:token=NAME;object=NAME?module-path=/…/library.so&pin-source=/…/pin";

/// A key in a token.
#[cfg_attr(not(feature = "pkcs11"), allow(dead_code, reason = "without tokens it is only refused"))]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Uri {
    /// As it was written; it holds no secret.
    pub(super) text: String,
    /// The library that speaks with the token.
    pub(super) module: PathBuf,
    /// The file that holds the PIN.
    pub(super) pin_source: Option<PathBuf>,
    /// The token's label.
    pub(super) token: Option<String>,
    /// The token's serial number.
    pub(super) serial: Option<String>,
    /// The key's label.
    pub(super) object: Option<String>,
    /// The key's identifier.
    pub(super) id: Option<Vec<u8>>,
}

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    /// When it is not one, carries a PIN, or does not say which key and which library.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > BYTES_MAX {
            return Err(unusable("the PKCS#11 URI is too long"));
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| unusable("not a PKCS#11 URI"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut attributes = attributes(path, ';')?;
        let mut options = self::attributes(query, '&')?;
        if ["pin-value", "pinvalue"]
            .iter()
            .any(|name| options.contains_key(name) || attributes.contains_key(name))
        {
            let message = "the PKCS#11 URI carries a PIN, which every user of the machine can read there";
            let help = "put the PIN into a file and name it with `pin-source`, or give it in VERDICT_PIN";
            return Err(Error::Unusable(Problem::new("pkcs11-uri", message).help(help)));
        }
        if attributes.remove("type").is_some_and(|kind| kind != b"private") {
            return Err(unusable("the `type` of the PKCS#11 URI must be `private`"));
        }
        let uri = Self {
            text: text.into(),
            module: module(options.remove("module-path"))?,
            pin_source: options.remove("pin-source").map(pin_source).transpose()?,
            token: attributes.remove("token").map(utf8).transpose()?,
            serial: attributes.remove("serial").map(utf8).transpose()?,
            object: attributes.remove("object").map(utf8).transpose()?,
            id: attributes.remove("id"),
        };
        if let Some(name) = attributes.into_keys().chain(options.into_keys()).next() {
            return Err(unusable(&format!(
                "the PKCS#11 URI has an attribute `{name}`, which is not known here"
            )));
        }
        if (uri.object.is_none() && uri.id.is_none()) || (uri.token.is_none() && uri.serial.is_none()) {
            return Err(unusable("the PKCS#11 URI must name a `token` or `serial`, and an `object` or `id`"));
        }
        Ok(uri)
    }
}

fn unusable(message: &str) -> Error {
    Error::Unusable(Problem::new("pkcs11-uri", message).help(format!("write it like `{EXAMPLE}`")))
}

/// The attributes, each at most once, with their values as bytes.
fn attributes(text: &str, separator: char) -> Result<BTreeMap<&str, Vec<u8>>, Error> {
    let mut attributes = BTreeMap::new();
    for attribute in text.split(separator).filter(|attribute| !attribute.is_empty()) {
        let (name, value) = attribute
            .split_once('=')
            .ok_or_else(|| unusable("the PKCS#11 URI has an attribute without `=`"))?;
        let value =
            decoded(value).ok_or_else(|| unusable("the PKCS#11 URI has a `%` without two hex digits"))?;
        if attributes.insert(name, value).is_some() {
            return Err(unusable(&format!("the PKCS#11 URI has `{name}` twice")));
        }
    }
    Ok(attributes)
}

/// Undoes percent encoding (RFC 3986, section 2.1).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut value = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit =
                |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            value.push(high << 4 | low);
        } else {
            value.push(byte);
        }
    }
    Some(value)
}

fn utf8(bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| unusable("the PKCS#11 URI is not UTF-8 text"))
}

/// The library runs inside this program, so where it comes from is never left to a search path.
fn module(path: Option<Vec<u8>>) -> Result<PathBuf, Error> {
    let path = path.ok_or_else(|| unusable("the PKCS#11 URI must name its library with `module-path`"))?;
    let path = PathBuf::from(utf8(path)?);
    if path.is_absolute() { Ok(path) } else { Err(unusable("`module-path` must be an absolute path")) }
}

/// A path, or a `file:` URI of one. The RFC's third form runs a command, which no key needs.
fn pin_source(source: Vec<u8>) -> Result<PathBuf, Error> {
    let source = utf8(source)?;
    let path = source.strip_prefix("file:").unwrap_or(&source);
    let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    if path.starts_with('|') || path.is_empty() {
        return Err(unusable("`pin-source` must be a file"));
    }
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_rfc_writes() {
        let uri = Uri::parse(
            "pkcs11:token=My%20token;object=release;id=%00%ffx;type=private;serial=12?module-path=/lib/p11.so&pin-source=file:/etc/pin",
        )
        .unwrap();
        assert_eq!((uri.token.as_deref(), uri.serial.as_deref()), (Some("My token"), Some("12")));
        assert_eq!((uri.object.as_deref(), uri.id.as_deref()), (Some("release"), Some(&b"\x00\xffx"[..])));
        assert_eq!((uri.module, uri.pin_source), ("/lib/p11.so".into(), Some("/etc/pin".into())));
        for source in ["file:///a/pin", "/a/pin", "file:/a/pin"] {
            assert_eq!(pin_source(source.into()).unwrap(), PathBuf::from("/a/pin"), "{source}");
        }
    }

    #[test]
    fn refuses_what_is_unclear_and_never_repeats_a_pin() {
        for (uri, expected) in [
            ("pkcs11:token=a;object=b", "module-path"),
            ("pkcs11:token=a;object=b?module-path=p11.so", "absolute"),
            ("pkcs11:object=b?module-path=/p", "`token`"),
            ("pkcs11:token=a?module-path=/p", "`object`"),
            ("pkcs11:token=a;token=b;object=c?module-path=/p", "`token` twice"),
            ("pkcs11:token=a;object=b;slot-id=1?module-path=/p", "`slot-id`"),
            ("pkcs11:token=a;object=b;type=cert?module-path=/p", "`private`"),
            ("pkcs11:token=a;object=%zz?module-path=/p", "hex"),
            ("pkcs11:token=a;object=%f?module-path=/p", "hex"),
            ("pkcs11:token=%ff;object=b?module-path=/p", "UTF-8"),
            ("pkcs11:token;object=b?module-path=/p", "without `=`"),
            ("pkcs11:token=a;object=b?module-path=/p&pin-source=|cat", "a file"),
            ("pkcs11:token=a;object=b?module-path=/p&pin-value=4711", "carries a PIN"),
        ] {
            let error = Uri::parse(uri).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(error.to_string().contains(expected) && !shown.contains("4711"), "{uri}: {shown}");
        }
        assert!(Uri::parse(&format!("pkcs11:token={}", "a".repeat(BYTES_MAX))).is_err());
    }
}
