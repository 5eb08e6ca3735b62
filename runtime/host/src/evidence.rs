//! Evidence: what the log's commitments stand for. It is kept beside the log, and can be erased without it.
//!
//! One entry is a version byte, then for each committed field, in the order of [`Field::ALL`], 32 bytes of salt, the
//! length as a little-endian `u32`, and the bytes; then, as the fields but without a salt, the fault's details as JSON.
//! Nothing commits to those details: a record has the class of a fault, and what a person reads of it is only here.
//! Version 1 had a byte before the details that said whether the decision allows, which now follows from the answer.
//! Version 2 has no `first`, and is still written where answers are not cached.

use verdict_core::outcome::Fault;
use verdict_core::record::{Field, Salt};

const VERSION: u8 = 3;
/// Without what a record may lack.
const VERSION_WITHOUT_OPTIONAL: u8 = 2;

/// What one decision rests on, in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evidence {
    fields: Vec<(Field, Salt, Vec<u8>)>,
    detail: Vec<u8>,
}

/// The bytes of an entry; `fields` in the order of [`Field::ALL`], all of them or all but the optional ones.
pub(crate) fn encode(fields: &[(Field, Salt, &[u8])], fault: Option<&Fault>) -> Vec<u8> {
    let detail = fault.and_then(|fault| serde_json::to_vec(fault).ok()).unwrap_or_default();
    let length = fields.iter().map(|(_, _, bytes)| bytes.len() + 36).sum::<usize>();
    let mut out = Vec::with_capacity(1 + length + 4 + detail.len());
    let is_whole = fields.iter().any(|(field, ..)| field.is_optional());
    out.push(if is_whole { VERSION } else { VERSION_WITHOUT_OPTIONAL });
    for (_, salt, bytes) in fields {
        out.extend_from_slice(salt);
        put(&mut out, bytes);
    }
    put(&mut out, &detail);
    out
}

impl Evidence {
    pub(crate) fn fields(&self) -> &[(Field, Salt, Vec<u8>)] {
        &self.fields
    }

    /// The bytes of a field; empty where the entry lacks it.
    pub(crate) fn bytes(&self, field: Field) -> &[u8] {
        self.fields.iter().find(|(name, ..)| *name == field).map_or(&[], |(_, _, bytes)| bytes)
    }

    /// The text of a field. Everything that is committed is UTF-8.
    pub(crate) fn text(&self, field: Field) -> &str {
        std::str::from_utf8(self.bytes(field)).unwrap_or_default()
    }

    /// The fault's details as JSON; empty where there was an answer.
    pub(crate) fn detail(&self) -> &[u8] {
        &self.detail
    }

    /// Reads an entry; none where it is not one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first()?;
        if !(1..=VERSION).contains(version) {
            return None;
        }
        let mut fields = Vec::with_capacity(Field::ALL.len());
        let is_whole = *version > VERSION_WITHOUT_OPTIONAL;
        for field in Field::ALL.iter().filter(|field| is_whole || !field.is_optional()) {
            let (salt, after) = rest.split_first_chunk::<32>()?;
            let (bytes, after) = take(after)?;
            fields.push((*field, *salt, bytes.to_vec()));
            rest = after;
        }
        if *version == 1 {
            rest = rest.split_first()?.1;
        }
        let (detail, rest) = take(rest)?;
        rest.is_empty().then(|| Self { fields, detail: detail.to_vec() })
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    // A document is bounded far below 4 GiB by the limits, so the length always fits.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use verdict_core::outcome::FaultCode;

    use super::*;

    fn of(fields: impl Iterator<Item = Field>) -> Vec<u8> {
        let fault = Fault::new(FaultCode::Trap, "why");
        let field = |field: Field| (field, [field.name().len() as u8; 32], field.name().as_bytes());
        encode(&fields.map(field).collect::<Vec<_>>(), Some(&fault))
    }

    fn bytes() -> Vec<u8> {
        of(Field::ALL.iter().copied())
    }

    #[test]
    fn reads_what_it_wrote() {
        let evidence = Evidence::decode(&bytes()).unwrap();
        for (field, (found, salt, bytes)) in Field::ALL.iter().zip(evidence.fields()) {
            assert_eq!(
                (field, &[field.name().len() as u8; 32], field.name().as_bytes()),
                (found, salt, &bytes[..])
            );
        }
        assert_eq!(evidence.text(Field::Rule), "rule");
        assert_eq!(evidence.detail(), br#"{"code":"trap","message":"why"}"#);
    }

    #[test]
    fn reads_what_earlier_versions_wrote() {
        let two = of(Field::ALL.iter().copied().filter(|field| !field.is_optional()));
        assert_eq!(two[0], 2);
        let mut old = two.clone();
        old[0] = 1;
        let detail = old.len() - br#"{"code":"trap","message":"why"}"#.len() - 4;
        old.insert(detail, 1);
        assert_eq!(Evidence::decode(&old), Evidence::decode(&two));
        assert_eq!(Evidence::decode(&two).unwrap().fields().len(), Field::ALL.len() - 1);
        old[0] = 4;
        assert_eq!(Evidence::decode(&old), None);
    }

    #[test]
    fn rejects_an_entry_that_is_cut_or_too_long() {
        let bytes = bytes();
        for end in 0..bytes.len() {
            assert_eq!(Evidence::decode(&bytes[..end]), None);
        }
        assert_eq!(Evidence::decode(&[bytes, vec![0]].concat()), None);
    }
}
