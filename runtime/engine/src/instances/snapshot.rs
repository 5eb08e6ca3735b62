//! What the linear memories of a component hold just after it was instantiated.

use crate::sys::page_bytes;

/// The pristine bytes of all memories of one component, the same for each of its instances.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(Box<[Image]>);

/// One memory, page by page. Most pages of most memories are zero, and take no room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// For each page, which of `kept` it is; none is a page of zeros.
    pages: Box<[Option<u32>]>,
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

    /// Bytes that it takes on the host.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|image| image.kept.len() + image.pages.len() * size_of::<Option<u32>>()).sum()
    }
}

impl Image {
    fn of(memory: &[u8], page: usize) -> Self {
        let mut kept = Vec::new();
        let pages = memory.chunks(page).map(|bytes| {
            if bytes.iter().all(|byte| *byte == 0) {
                return None;
            }
            let number = u32::try_from(kept.len() / page).ok();
            kept.extend_from_slice(bytes);
            number
        });
        let pages = pages.collect();
        Self { pages, kept: kept.into() }
    }

    /// The bytes of a page; none if they are all zero.
    pub(crate) fn page(&self, number: usize) -> Option<&[u8]> {
        let kept = (*self.pages.get(number)?)? as usize;
        let page = page_bytes();
        self.kept.get(kept * page..(kept + 1) * page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_only_pages_that_hold_something() {
        let page = page_bytes();
        let mut memory = vec![0; 4 * page];
        memory[2 * page + 5] = 7;
        let snapshot = Snapshot::of([memory.as_slice()].into_iter());
        let image = snapshot.memories().next().unwrap();
        assert_eq!([image.page(0), image.page(1), image.page(3)], [None; 3]);
        assert_eq!(image.page(2), memory.get(2 * page..3 * page));
        assert!(snapshot.bytes() < 2 * page, "{}", snapshot.bytes());
    }
}
