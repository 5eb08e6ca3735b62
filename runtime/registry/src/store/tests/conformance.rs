//! What the contract promises where nothing fails: the same for every place.

use super::*;

/// A place that can be opened with other limits, and the size of a part there.
pub(super) struct Place<'a> {
    pub(super) open: &'a dyn Fn(Limits) -> Blobs,
    pub(super) part_bytes: usize,
}

impl Place<'_> {
    fn blobs(&self) -> Blobs {
        (self.open)(Limits::default())
    }

    /// Everything the contract says.
    pub(super) async fn conforms(&self) {
        self.gives_back_what_was_put().await;
        self.keeps_nothing_that_is_not_its_digest().await;
        self.gives_ranges_of_what_it_checked().await;
        self.finds_damage_and_mends_it().await;
        self.lists_and_deletes().await;
        self.takes_uploads_in_chunks().await;
        self.refuses_chunks_that_do_not_fit().await;
        self.forgets_uploads().await;
        self.lets_two_do_the_same().await;
    }

    async fn gives_back_what_was_put(&self) {
        let (blobs, part) = (self.blobs(), self.part_bytes);
        for len in [0, 1, part - 1, part, part + 1, 2 * part + 7] {
            let bytes = some(len, 1);
            let digest = Digest::of(&bytes);
            assert_eq!(blobs.read(digest, u64::MAX).await.unwrap(), None, "{len}");
            assert_eq!(blobs.size(digest).await.unwrap(), None);
            for _ in 0..2 {
                blobs.put(digest, bytes.clone()).await.unwrap();
                assert_eq!(blobs.read(digest, len as u64).await.unwrap(), Some(bytes.clone()), "{len}");
                assert_eq!(blobs.size(digest).await.unwrap(), Some(len as u64));
            }
            if len > 0 {
                let refused = blobs.read(digest, len as u64 - 1).await;
                assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
            }
        }
    }

    async fn keeps_nothing_that_is_not_its_digest(&self) {
        let (named, sent) = (Digest::of(b"named"), Bytes::from_static(b"sent"));
        let refused = self.blobs().put(named, sent.clone()).await;
        assert!(matches!(refused, Err(StoreError::DigestMismatch { .. })), "{refused:?}");
        assert_eq!(self.blobs().size(named).await.unwrap(), None);
        let small = (self.open)(Limits { blob_bytes_max: 3, ..Limits::default() });
        let refused = small.put(Digest::of(&sent), sent).await;
        assert!(matches!(refused, Err(StoreError::TooLarge { bytes_max: 3 })), "{refused:?}");
    }

    async fn gives_ranges_of_what_it_checked(&self) {
        let (blobs, len) = (self.blobs(), 2 * self.part_bytes as u64 + 7);
        let bytes = some(len as usize, 2);
        let digest = Digest::of(&bytes);
        assert_eq!(blobs.read_range(digest, 0..1).await.unwrap(), None);
        blobs.put(digest, bytes.clone()).await.unwrap();
        for (start, end) in [(0, 1), (0, len), (5, 900), (len - 1, len), (len - 3, len + 9), (1, u64::MAX)] {
            let expected = bytes.slice(start as usize..end.min(len) as usize);
            assert_eq!(blobs.read_range(digest, start..end).await.unwrap(), Some(expected), "{start}..{end}");
        }
        for (start, end) in [(0, 0), (9, 3), (len, len + 1), (u64::MAX, u64::MAX)] {
            let refused = blobs.read_range(digest, start..end).await;
            assert!(matches!(refused, Err(StoreError::WrongRange { bytes }) if bytes == len), "{refused:?}");
        }
        blobs.put(digest, bytes.clone()).await.unwrap();
        assert_eq!(blobs.read_range(digest, 3..9).await.unwrap(), Some(bytes.slice(3..9)), "put again since");
        blobs.delete(digest).await.unwrap();
        assert_eq!(blobs.read_range(digest, 3..9).await.unwrap(), None);
    }

    async fn finds_damage_and_mends_it(&self) {
        let blobs = self.blobs();
        let bytes = some(self.part_bytes + 9, 3);
        let digest = Digest::of(&bytes);
        blobs.put(digest, bytes.clone()).await.unwrap();
        blobs.read_range(digest, 0..4).await.unwrap().unwrap();
        let mut other = bytes.to_vec();
        other[self.part_bytes - 3] ^= 1;
        other.truncate(self.part_bytes);
        blobs.0.backend.put(&key(digest), other.into()).await.unwrap();
        for _ in 0..2 {
            let range = blobs.read_range(digest, 0..4).await;
            assert!(matches!(range, Err(StoreError::Damaged { .. })), "{range:?}");
            let whole = blobs.read(digest, u64::MAX).await;
            assert!(matches!(whole, Err(StoreError::Damaged { .. })), "{whole:?}");
        }
        blobs.put(digest, bytes.clone()).await.unwrap();
        assert_eq!(blobs.read(digest, u64::MAX).await.unwrap(), Some(bytes));
        blobs.delete(digest).await.unwrap();
    }

    async fn lists_and_deletes(&self) {
        let blobs = self.blobs();
        for (digest, _) in blobs.list(None, usize::MAX).await.unwrap() {
            assert!(blobs.delete(digest).await.unwrap());
        }
        let mut digests = Vec::new();
        for number in 0..40 {
            let bytes = some(1 + number, 4);
            digests.push((Digest::of(&bytes), bytes.len() as u64));
            blobs.put(Digest::of(&bytes), bytes).await.unwrap();
        }
        digests.sort();
        let mut listed: Vec<(Digest, Stored)> = Vec::new();
        loop {
            let page = blobs.list(listed.last().map(|(digest, _)| *digest), 7).await.unwrap();
            listed.extend(&page);
            if page.len() < 7 {
                break;
            }
        }
        let sizes: Vec<_> = listed.iter().map(|(digest, stored)| (*digest, stored.bytes)).collect();
        assert_eq!(sizes, digests);
        let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
        let young =
            |(_, stored): &(Digest, Stored)| stored.modified > now - hour && stored.modified < now + hour;
        assert!(listed.iter().all(young));
        let (first, second) = (digests[0].0, digests[1].0);
        assert!(!blobs.delete_older(first, now - hour).await.unwrap());
        assert_eq!(blobs.size(first).await.unwrap(), Some(digests[0].1));
        assert!(blobs.delete_older(first, now + hour).await.unwrap());
        assert!(blobs.delete(second).await.unwrap());
        for gone in [first, second] {
            assert!(!blobs.delete(gone).await.unwrap());
            assert!(!blobs.delete_older(gone, now + hour).await.unwrap());
            assert_eq!(blobs.read(gone, u64::MAX).await.unwrap(), None);
        }
        assert_eq!(blobs.list(None, 100).await.unwrap(), listed[2..]);
    }

    async fn takes_uploads_in_chunks(&self) {
        let part = self.part_bytes;
        for sizes in [vec![], vec![5, 6], vec![part], vec![part + 1, 0, 3, part], vec![2 * part + 1]] {
            let blobs = self.blobs();
            let whole = some(sizes.iter().sum(), 5);
            let id = blobs.begin().await.unwrap();
            let mut offset = 0;
            for size in sizes {
                let chunk = whole.slice(offset..offset + size);
                // Whoever goes on need not be who began.
                let blobs = if size % 2 == 0 { &blobs } else { &self.blobs() };
                let end = blobs.append(&id, offset as u64, chunk).await.unwrap();
                offset += size;
                assert_eq!(end, offset as u64);
                assert_eq!(self.blobs().offset(&id).await.unwrap(), Some(end));
            }
            let wrong = blobs.finish(&id, Digest::of(b"other")).await;
            assert!(matches!(wrong, Err(StoreError::DigestMismatch { .. })), "{wrong:?}");
            assert_eq!(blobs.size(Digest::of(b"other")).await.unwrap(), None);
            let digest = Digest::of(&whole);
            assert_eq!(blobs.finish(&id, digest).await.unwrap(), whole.len() as u64);
            assert_eq!(blobs.read(digest, u64::MAX).await.unwrap(), Some(whole));
            assert_eq!(blobs.offset(&id).await.unwrap(), None);
            let again = blobs.finish(&id, digest).await;
            assert!(matches!(again, Err(StoreError::UnknownUpload(_))), "{again:?}");
            blobs.delete(digest).await.unwrap();
        }
    }

    async fn refuses_chunks_that_do_not_fit(&self) {
        let blobs = (self.open)(Limits { blob_bytes_max: 10, ..Limits::default() });
        let id = blobs.begin().await.unwrap();
        blobs.append(&id, 0, some(6, 6)).await.unwrap();
        for offset in [0, 3, 5, 7, u64::MAX] {
            let refused = blobs.append(&id, offset, some(2, 6)).await;
            assert!(matches!(refused, Err(StoreError::WrongOffset { expected: 6 })), "{refused:?}");
        }
        // One that remembers an end that is no longer the end.
        let other = self.blobs();
        other.append(&id, 6, some(2, 6)).await.unwrap();
        let refused = blobs.append(&id, 6, some(1, 6)).await;
        assert!(matches!(refused, Err(StoreError::WrongOffset { expected: 8 })), "{refused:?}");
        let refused = blobs.append(&id, 8, some(3, 6)).await;
        assert!(matches!(refused, Err(StoreError::TooLarge { bytes_max: 10 })), "{refused:?}");
        let refused = other.append(&id, 8, some(10_000 * self.part_bytes.min(4096), 6)).await;
        if self.part_bytes <= 4096 {
            assert!(matches!(refused, Err(StoreError::TooManyChunks { .. })), "{refused:?}");
        }
        assert!(blobs.cancel(&id).await.unwrap());
    }

    async fn forgets_uploads(&self) {
        let blobs = self.blobs();
        let (cancelled, expired) = (blobs.begin().await.unwrap(), blobs.begin().await.unwrap());
        blobs.append(&cancelled, 0, some(9, 7)).await.unwrap();
        blobs.append(&expired, 0, some(9, 7)).await.unwrap();
        assert!(blobs.cancel(&cancelled).await.unwrap());
        assert!(!blobs.cancel(&cancelled).await.unwrap());
        assert_eq!(blobs.expire().await.unwrap(), 0, "it is young");
        assert_eq!(blobs.offset(&expired).await.unwrap(), Some(9));
        let later = (self.open)(Limits { upload_age_max: Duration::ZERO, ..Limits::default() });
        assert_eq!(later.offset(&expired).await.unwrap(), None);
        assert!(later.expire().await.unwrap() >= 1);
        for id in [cancelled, expired] {
            assert_eq!(self.blobs().offset(&id).await.unwrap(), None);
            let refused = self.blobs().append(&id, 9, some(1, 7)).await;
            assert!(matches!(refused, Err(StoreError::UnknownUpload(_))), "{refused:?}");
        }
        assert!(blobs.0.backend.folders(UPLOADS).await.unwrap().is_empty(), "nothing stays");
    }

    async fn lets_two_do_the_same(&self) {
        let blobs = self.blobs();
        let bytes = some(self.part_bytes + 1, 8);
        let digest = Digest::of(&bytes);
        let (one, two) = tokio::join!(blobs.put(digest, bytes.clone()), blobs.put(digest, bytes.clone()));
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(blobs.read(digest, u64::MAX).await.unwrap(), Some(bytes));
        let other = self.blobs();
        let id = blobs.begin().await.unwrap();
        let (one, two) = tokio::join!(blobs.append(&id, 0, some(5, 1)), other.append(&id, 0, some(5, 2)));
        let (good, bad, seed) = if one.is_ok() { (one, two, 1) } else { (two, one, 2) };
        assert_eq!(good.unwrap(), 5);
        assert!(matches!(bad, Err(StoreError::WrongOffset { .. })), "{bad:?}");
        assert_eq!(blobs.finish(&id, Digest::of(&some(5, seed))).await.unwrap(), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(&folder.path().join("above/blobs")).unwrap();
    for part_bytes in [1024, PART_BYTES] {
        let open = |limits| on_directory(directory.clone(), limits, part_bytes);
        Place { open: &open, part_bytes }.conforms().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_forgets_conforms_while_the_power_is_on() {
    let directory = Directory::on(Box::new(forgetful::Forgetful::new(1))).unwrap();
    let open = |limits| on_directory(directory.clone(), limits, 1024);
    Place { open: &open, part_bytes: 1024 }.conforms().await;
}

#[tokio::test]
async fn a_directory_belongs_to_one_store_and_to_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("blobs");
    let blobs = Blobs::open(root.to_str().unwrap(), Limits::default()).unwrap();
    assert!(matches!(Blobs::directory(&root, Limits::default()), Err(StoreError::InUse { .. })));
    let digest = Digest::of(b"bytes");
    blobs.put(digest, Bytes::from_static(b"bytes")).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = root.join(key(digest));
    assert_eq!(mode(&file), 0o600);
    for above in file.ancestors().skip(1).take_while(|path| path.starts_with(&root)) {
        assert_eq!(mode(above), 0o700, "{}", above.display());
    }
    assert_eq!(std::fs::read_dir(root.join("temporary")).unwrap().count(), 0);
    drop(blobs);
    Blobs::directory(&root, Limits::default()).unwrap();
}

#[tokio::test]
async fn what_others_put_into_the_directory_is_not_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("blobs");
    let blobs = Blobs::directory(&root, Limits::default()).unwrap();
    let (linked, piped) = (Digest::of(b"secret"), Digest::of(b"pipe"));
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    for digest in [linked, piped] {
        std::fs::create_dir_all(root.join(key(digest)).parent().unwrap()).unwrap();
    }
    std::os::unix::fs::symlink(folder.path().join("secret"), root.join(key(linked))).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join(key(piped)), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    assert!(matches!(blobs.read(linked, 100).await, Err(StoreError::Unavailable { .. })));
    assert_eq!(blobs.read(piped, 100).await.unwrap(), None);
    std::fs::write(root.join("blobs/sha256").join("stray"), "stray").unwrap();
    blobs.put(piped, Bytes::from_static(b"pipe")).await.unwrap();
    assert_eq!(blobs.read(piped, 100).await.unwrap(), Some(Bytes::from_static(b"pipe")));
}

#[test]
fn says_what_is_no_place_for_blobs() {
    for location in ["", "gopher://bucket", "s3://", "s3:///prefix"] {
        let refused = Blobs::open(location, Limits::default());
        assert!(matches!(refused, Err(StoreError::Location(_))), "{location}: {refused:?}");
    }
}
