//! The bytes of the journal and of the evidence. Pure: no I/O.
//!
//! The journal is a row of segment files, `journal/0000000001` and on, that are only ever appended to. A segment is a
//! row of **batches**; a batch is what one sync made durable. All numbers are big-endian.
//!
//! ```text
//! batch   magic "VDJ1" | u32 bytes of all its entries | u64 sequence | u64 durable | u32 entries | u32 crc32c of the
//!         28 bytes before | entries…
//! entry   u32 bytes of the body | u32 crc32c of the body | body
//! body    u8 bytes of the name | name of the log | u64 index | u32 evidence segment, 0 for none
//!         | u64 evidence offset | u32 evidence bytes | leaf
//! ```
//!
//! `sequence` counts batches from 1 through all segments without a gap; `durable` is the last batch that was known to
//! be durable when this one was written. With it a torn tail can be told from damage: a batch that does not read is
//! torn, and cut off, exactly if no header behind it says that it had been durable. Anything else is an error.
//! Behind the last batch there may be zeros: room that was reserved, and not given back because of a crash.
//!
//! Evidence is a row of segment files of its own, `evidence/0000000001` and on, whose frames are
//! `u32 crc32c of the bytes | bytes`; where and how long is in the journal. Evidence segments are never appended to
//! by a later process and their numbers never used again, so that a place in the journal can only lead to the bytes
//! that it was written for, or to nothing once they were deleted.

use crate::{LedgerError, LogName};

pub(crate) const BATCH_HEADER_BYTES: usize = 32;
pub(crate) const ENTRY_HEADER_BYTES: usize = 8;
pub(crate) const EVIDENCE_HEADER_BYTES: usize = 4;

/// The longest frame of an entry: headers, the longest name, the longest leaf.
pub(crate) const ENTRY_BYTES_MAX: usize =
    ENTRY_HEADER_BYTES + 1 + LogName::BYTES_MAX + 24 + crate::LEAF_BYTES_MAX;

const MAGIC: [u8; 4] = *b"VDJ1";

/// Where an entry's frame begins. 8 bytes; one is kept in memory for every entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

/// Where an entry's evidence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EvidenceLocation {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) log: LogName,
    pub(crate) index: u64,
    pub(crate) evidence: Option<EvidenceLocation>,
    pub(crate) leaf: &'a [u8],
}

/// The head of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) sequence: u64,
    pub(crate) durable: u64,
    pub(crate) entries: u32,
    pub(crate) bytes: u32,
}

pub(crate) fn segment_path(segment: u32) -> String {
    format!("journal/{segment:010}")
}

pub(crate) fn evidence_path(segment: u32) -> String {
    format!("evidence/{segment:010}")
}

/// The number in a segment's file name.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let number = name.parse().ok()?;
    (format!("{number:010}") == name).then_some(number)
}

impl BatchHeader {
    pub(crate) fn write(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        let (magic, rest) = (MAGIC, &mut bytes);
        let fields = [
            &magic[..],
            &self.bytes.to_be_bytes(),
            &self.sequence.to_be_bytes(),
            &self.durable.to_be_bytes(),
            &self.entries.to_be_bytes(),
        ]
        .concat();
        let crc = crc32c::crc32c(&fields).to_be_bytes();
        for (to, from) in rest.iter_mut().zip(fields.iter().chain(&crc)) {
            *to = *from;
        }
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.array()? != MAGIC {
            return None;
        }
        let bytes_of_entries = u32::from_be_bytes(reader.array()?);
        let sequence = u64::from_be_bytes(reader.array()?);
        let durable = u64::from_be_bytes(reader.array()?);
        let entries = u32::from_be_bytes(reader.array()?);
        let crc = crc32c::crc32c(bytes.get(..BATCH_HEADER_BYTES - 4)?);
        let whole = crc == u32::from_be_bytes(reader.array()?);
        whole.then_some(Self { sequence, durable, entries, bytes: bytes_of_entries })
    }
}

impl<'a> Entry<'a> {
    /// Appends the entry's frame.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let none = EvidenceLocation { segment: 0, offset: 0, bytes: 0 };
        let evidence = self.evidence.unwrap_or(none);
        let name = self.log.as_str().as_bytes();
        let start = to.len();
        to.extend_from_slice(&[0; ENTRY_HEADER_BYTES]);
        to.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        to.extend_from_slice(name);
        to.extend_from_slice(&self.index.to_be_bytes());
        to.extend_from_slice(&evidence.segment.to_be_bytes());
        to.extend_from_slice(&evidence.offset.to_be_bytes());
        to.extend_from_slice(&evidence.bytes.to_be_bytes());
        to.extend_from_slice(self.leaf);
        let written =
            to.get_mut(start..).and_then(|frame| frame.split_first_chunk_mut::<ENTRY_HEADER_BYTES>());
        if let Some((header, body)) = written {
            let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
            let (first, second) = header.split_at_mut(bytes.len());
            first.copy_from_slice(&bytes);
            second.copy_from_slice(&crc32c::crc32c(body).to_be_bytes());
        }
    }

    /// The entry at the beginning of the bytes and the length of its frame.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let frame = Self::frame_bytes(bytes)?;
        let body = bytes.get(ENTRY_HEADER_BYTES..frame)?;
        let crc = u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
        if crc32c::crc32c(body) != crc {
            return None;
        }
        let mut reader = Reader(body);
        let [name] = reader.array()?;
        let log = std::str::from_utf8(reader.take(usize::from(name))?).ok()?.parse().ok()?;
        let index = u64::from_be_bytes(reader.array()?);
        let segment = u32::from_be_bytes(reader.array()?);
        let offset = u64::from_be_bytes(reader.array()?);
        let bytes = u32::from_be_bytes(reader.array()?);
        let evidence = (segment != 0).then_some(EvidenceLocation { segment, offset, bytes });
        Some((Self { log, index, evidence, leaf: reader.0 }, frame))
    }

    /// The length of the frame that begins here, as its header has it.
    pub(crate) fn frame_bytes(bytes: &[u8]) -> Option<usize> {
        let body = u32::from_be_bytes(*bytes.first_chunk()?);
        ENTRY_HEADER_BYTES.checked_add(usize::try_from(body).ok()?)
    }
}

/// The frame around one evidence.
pub(crate) fn write_evidence(to: &mut Vec<u8>, evidence: &[u8]) {
    to.extend_from_slice(&crc32c::crc32c(evidence).to_be_bytes());
    to.extend_from_slice(evidence);
}

/// The evidence in its frame.
pub(crate) fn parse_evidence(frame: &[u8], bytes: u32) -> Option<&[u8]> {
    let (crc, evidence) = frame.split_first_chunk::<EVIDENCE_HEADER_BYTES>()?;
    let whole =
        evidence.len() as u64 == u64::from(bytes) && crc32c::crc32c(evidence) == u32::from_be_bytes(*crc);
    whole.then_some(evidence)
}

/// How far a segment reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Bytes of whole batches from the beginning.
    pub(crate) bytes: usize,
    /// The sequence number of the last whole batch, of this segment or one before.
    pub(crate) sequence: u64,
}

/// Visits the entries of a segment's whole batches with their offsets, in order. `after` is the sequence number of
/// the last batch before this segment.
pub(crate) fn scan<'a>(
    segment: &'a [u8],
    after: u64,
    visit: &mut impl FnMut(usize, Entry<'a>) -> Result<(), LedgerError>,
) -> Result<Scanned, LedgerError> {
    let mut scanned = Scanned { bytes: 0, sequence: after };
    while let Some((header, entries)) = segment.get(scanned.bytes..).and_then(whole_batch) {
        if scanned.sequence.checked_add(1) != Some(header.sequence) {
            break;
        }
        let mut offset = scanned.bytes + BATCH_HEADER_BYTES;
        for (entry, frame) in entries {
            visit(offset, entry)?;
            offset += frame;
        }
        scanned = Scanned { bytes: offset, sequence: header.sequence };
    }
    Ok(scanned)
}

/// The length of bytes without the zeros at their end: what was reserved and never written.
pub(crate) fn without_reserved(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// A batch, if all of it reads.
fn whole_batch(bytes: &[u8]) -> Option<(BatchHeader, Vec<(Entry<'_>, usize)>)> {
    let header = BatchHeader::parse(bytes)?;
    let end = BATCH_HEADER_BYTES.checked_add(usize::try_from(header.bytes).ok()?)?;
    let mut rest = bytes.get(BATCH_HEADER_BYTES..end)?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (entry, frame) = Entry::parse(rest)?;
        entries.push((entry, frame));
        rest = rest.get(frame..)?;
    }
    (entries.len() as u64 == u64::from(header.entries)).then_some((header, entries))
}

/// Whether a header somewhere in these bytes says that batch `sequence` had been durable.
pub(crate) fn says_durable(bytes: &[u8], sequence: u64) -> bool {
    let headers = bytes.windows(BATCH_HEADER_BYTES).filter(|window| window.starts_with(&MAGIC));
    headers.filter_map(BatchHeader::parse).any(|header| header.durable >= sequence)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(index: u64, leaf: &[u8]) -> Entry<'_> {
        let evidence = Some(EvidenceLocation { segment: 3, offset: 1 << 33, bytes: 7 });
        Entry { log: "a-log".parse().unwrap(), index, evidence, leaf }
    }

    fn batch(sequence: u64, leaves: &[&[u8]]) -> Vec<u8> {
        let mut body = Vec::new();
        for leaf in leaves {
            entry(sequence, leaf).write(&mut body);
        }
        let (entries, bytes) = (leaves.len() as u32, body.len() as u32);
        let mut batch = BatchHeader { sequence, durable: sequence - 1, entries, bytes }.write().to_vec();
        batch.extend(body);
        batch
    }

    fn scanned(bytes: &[u8], after: u64) -> (Scanned, Vec<Vec<u8>>) {
        let mut leaves = Vec::new();
        let end = scan(bytes, after, &mut |offset, entry| {
            let (again, _) = Entry::parse(&bytes[offset..]).unwrap();
            assert_eq!(again, entry);
            leaves.push(entry.leaf.to_vec());
            Ok(())
        });
        (end.unwrap(), leaves)
    }

    #[test]
    fn reads_back_what_was_written() {
        let segment = [batch(5, &[b"one", b""]), batch(6, &[&[9; 70_000]])].concat();
        let (end, leaves) = scanned(&segment, 4);
        assert_eq!(end, Scanned { bytes: segment.len(), sequence: 6 });
        assert_eq!(leaves, [b"one".to_vec(), vec![], vec![9; 70_000]]);
    }

    #[test]
    fn a_gap_in_the_sequence_ends_the_scan() {
        let segment = [batch(5, &[b"one"]), batch(7, &[b"two"])].concat();
        assert_eq!(scanned(&segment, 4).0.sequence, 5);
        assert_eq!(scanned(&segment, 3).0, Scanned { bytes: 0, sequence: 3 });
    }

    #[test]
    fn a_flipped_bit_is_torn_at_the_end_and_damage_before_it() {
        let first = batch(1, &[b"one", b"two"]);
        let segment = [first.clone(), batch(2, &[b"three"])].concat();
        for bit in 0..segment.len() * 8 {
            let mut flipped = segment.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (end, _) = scanned(&flipped, 0);
            let in_first = bit / 8 < first.len();
            assert_eq!(end.sequence, u64::from(!in_first), "bit {bit}");
            assert_eq!(says_durable(&flipped[end.bytes..], end.sequence + 1), in_first, "bit {bit}");
        }
    }

    #[test]
    fn segment_numbers_have_one_form() {
        assert_eq!(segment_number("0000000012"), Some(12));
        for wrong in ["12", "000000012", "+000000012", "0000000012.tmp", "9999999999", ""] {
            assert_eq!(segment_number(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn noise_reads_without_panic(noise in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let _ = scanned(&noise, 0);
            let segment = batch(1, &[&noise]);
            let torn = &segment[..cut.min(segment.len() - 1)];
            prop_assert_eq!(scanned(torn, 0).0.bytes, 0);
            let _ = says_durable(&noise, 1);
            let _ = parse_evidence(&noise, 3);
        }
    }
}
