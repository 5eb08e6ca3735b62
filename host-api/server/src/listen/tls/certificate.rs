//! What a client's certificate says beyond what the path to its root proves: which workload it is, and until when.
//!
//! X.509 (RFC 5280) in DER (X.690), as far as a verified certificate needs reading, for
//! <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>.

use verdict::core::time::Timestamp;

use crate::access::SpiffeId;

const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, the version, and `[3]`, the extensions, of a certificate.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `[6]`, a URI, in a list of names.
const URI: u8 = 0x86;

/// 2.5.29.17, 2.5.29.15 and 2.5.29.19.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// What a certificate says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// The identity of a workload; none where it is not one, or not exactly one.
    pub(crate) id: Option<SpiffeId>,
    /// Until when it counts.
    pub(crate) not_after: Timestamp,
}

impl Leaf {
    /// Reads a certificate whose path to a root was verified; none where it cannot be read.
    pub(crate) fn read(certificate: &[u8]) -> Option<Self> {
        let mut certificate = Der(Der(certificate).one(SEQUENCE)?);
        let mut fields = Der(certificate.take(SEQUENCE)?);
        fields.skip_if(VERSION);
        // Serial number, signature algorithm, issuer.
        for _ in 0..3 {
            fields.next()?;
        }
        let mut validity = Der(fields.take(SEQUENCE)?);
        validity.next()?;
        let not_after = time(validity.next()?)?;
        let mut names = Names::default();
        while let Some((tag, value)) = fields.next() {
            if tag == EXTENSIONS {
                names.read(Der(value).one(SEQUENCE)?)?;
            }
        }
        Some(Self { id: names.workload(), not_after })
    }
}

#[derive(Default)]
struct Names<'a> {
    uris: Vec<&'a [u8]>,
    /// Whether it may sign others: then it is nobody's.
    is_signer: bool,
}

impl<'a> Names<'a> {
    fn read(&mut self, extensions: &'a [u8]) -> Option<()> {
        let mut extensions = Der(extensions);
        while !extensions.0.is_empty() {
            let mut extension = Der(extensions.take(SEQUENCE)?);
            let id = extension.take(OBJECT_IDENTIFIER)?;
            extension.skip_if(BOOLEAN);
            let value = extension.take(OCTET_STRING)?;
            match id {
                SUBJECT_ALT_NAME => {
                    let mut names = Der(Der(value).one(SEQUENCE)?);
                    while !names.0.is_empty() {
                        let (tag, name) = names.next()?;
                        if tag == URI {
                            self.uris.push(name);
                        }
                    }
                }
                KEY_USAGE => {
                    // The first byte says how many bits are left over; `keyCertSign` is bit 5, `cRLSign` is bit 6.
                    let bits = Der(value).one(BIT_STRING)?;
                    self.is_signer |= bits.get(1).is_some_and(|bits| bits & 0b0000_0110 != 0);
                }
                BASIC_CONSTRAINTS => {
                    let mut constraints = Der(Der(value).one(SEQUENCE)?);
                    self.is_signer |=
                        constraints.next().is_some_and(|(tag, value)| tag == BOOLEAN && value != [0]);
                }
                _ => {}
            }
        }
        Some(())
    }

    /// Sections 2 and 5.2: exactly one URI, which is the identity; nobody who may sign.
    fn workload(&self) -> Option<SpiffeId> {
        let [uri] = self.uris.as_slice() else { return None };
        let text = str::from_utf8(uri).ok().filter(|_| !self.is_signer)?;
        text.parse().ok()
    }
}

/// Section 4.1.2.5 of RFC 5280: in UTC, to the second.
fn time((tag, text): (u8, &[u8])) -> Option<Timestamp> {
    let text = str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let digits = text.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            (if year < "50" { format!("20{year}") } else { format!("19{year}") }, rest)
        }
        GENERALIZED_TIME => digits.split_at_checked(4).map(|(year, rest)| (year.to_owned(), rest))?,
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2);
    if rest.len() != 10 {
        return None;
    }
    let (month, day, hour, minute, second) = (part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().ok()
}

/// What is left of a sequence of values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value, with its tag.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // In up to four bytes; never without end, which DER does not have.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next value, which has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }

    /// The only value, which has this tag.
    fn one(mut self, tag: u8) -> Option<&'a [u8]> {
        self.take(tag).filter(|_| self.0.is_empty())
    }

    fn skip_if(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.next();
        }
    }
}
