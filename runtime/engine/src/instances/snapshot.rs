//! What the linear memories of a component hold just after it was instantiated.

use crate::sys::page_bytes;

/// The pristine bytes of all memories of one component, the same for each of its instances.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(Box<[Image]>);

/// One memory, page by page. Most pages of most memories are zero, and take no room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// The number of the first page that holds something.
    first: usize,
    /// For each page from there to the last that holds something, where in `kept` it is; none for a page of zeros. An
    /// index, since a reset looks up each page that was written; trimmed, since thousands of policies each have one.
    places: Box<[Option<u32>]>,
    kept: Box<[u8]>,
}

impl Snapshot {
    /// Keeps copies.
    pub(crate) fn of<'a>(memories: impl Iterator<Item = &'a [u8]>) -> Self {
        Self(memories.map(|memory| Image::of(memory, page_bytes())).collect())
    }

    /// The memories, in the order of the instrumentation.
    pub(crate) fn memories(&self) -> impl Iterator<Item = &Image> {
        self.0.iter()
    }
}

impl Image {
    fn of(memory: &[u8], page: usize) -> Self {
        let (mut places, mut kept, mut numbers) = (Vec::new(), Vec::new(), 0..);
        for bytes in memory.chunks(page) {
            if is_zero(bytes) {
                places.push(None);
            } else {
                places.push(numbers.next());
                kept.extend_from_slice(bytes);
            }
        }
        let first = places.iter().take_while(|place| place.is_none()).count();
        places.drain(..first);
        places.truncate(places.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        Self { first, places: places.into(), kept: kept.into() }
    }

    /// The bytes of a page; none if they are all zero.
    pub(crate) fn page(&self, number: usize) -> Option<&[u8]> {
        let place = (*self.places.get(number.checked_sub(self.first)?)?)?;
        let start = usize::try_from(place).ok()? * page_bytes();
        self.kept.get(start..start + page_bytes())
    }
}

/// Whether these bytes are all zero. In blocks, as memories are compared: one by one takes many times as long.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 512] = [0; 512];
    bytes.chunks(ZEROS.len()).all(|block| ZEROS.starts_with(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_not_zero_at_every_place() {
        for length in [0, 1, 511, 512, 513, 4096] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for place in 0..length {
                bytes[place] = 1;
                assert!(!is_zero(&bytes), "{place} of {length}");
                bytes[place] = 0;
            }
        }
    }

    #[test]
    fn keeps_only_pages_that_hold_something() {
        let page = page_bytes();
        let mut memory = vec![0; 4 * page];
        memory[2 * page + 5] = 7;
        let snapshot = Snapshot::of([memory.as_slice()].into_iter());
        let image = snapshot.memories().next().unwrap();
        assert_eq!([image.page(0), image.page(1), image.page(3)], [None; 3]);
        assert_eq!(image.page(2), memory.get(2 * page..3 * page));
        assert_eq!(image.kept.len(), page);
    }
}
