//! Every step of a place times {fails, fails but happened, power gone}: what was acknowledged is there, what was not is
//! there whole or not at all, and an upload goes on from where it says it is.

use std::collections::BTreeMap;

use super::forgetful::{Fault, Forgetful, Survival};
use super::*;

/// Small, so that a few bytes are several parts.
pub(super) const PART: usize = 16;

/// What must be true of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Must {
    Be,
    NotBe,
    /// What was asked last has failed: it happened or not, but not by half.
    BeOrNot,
}

/// An upload that was begun and not ended, and how much of it.
struct Open {
    id: UploadId,
    whole: Bytes,
    acknowledged: u64,
}

/// What a client was told: it must be true for ever.
#[derive(Default)]
pub(super) struct Told {
    blobs: BTreeMap<Digest, (Bytes, Option<Must>)>,
    uploads: Vec<Open>,
}

/// Once more after a failure of the place, as the contract says one may.
async fn twice<T, F: Future<Output = Result<T, StoreError>>>(
    mut ask: impl FnMut() -> F,
) -> Result<T, StoreError> {
    match ask().await {
        Err(StoreError::Unavailable { .. }) => ask().await,
        result => result,
    }
}

fn unavailable<T: fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Unavailable { .. })), "{result:?}");
}

impl Told {
    fn tell(&mut self, digest: Digest, must: Must) {
        if let Some((_, told)) = self.blobs.get_mut(&digest) {
            // A blob that was there is there whatever becomes of putting it again.
            *told = Some(if *told == Some(Must::Be) && must == Must::BeOrNot { Must::Be } else { must });
        }
    }

    async fn put(&mut self, blobs: &Blobs, bytes: &Bytes) {
        let digest = Digest::of(bytes);
        self.blobs.entry(digest).or_insert((bytes.clone(), None));
        match twice(|| blobs.put(digest, bytes.clone())).await {
            Ok(()) => self.tell(digest, Must::Be),
            failed => {
                self.tell(digest, Must::BeOrNot);
                unavailable(failed);
            }
        }
    }

    async fn delete(&mut self, blobs: &Blobs, bytes: &Bytes) {
        let digest = Digest::of(bytes);
        let Some((_, must)) = self.blobs.get_mut(&digest) else { return };
        match twice(|| blobs.delete(digest)).await {
            Ok(_) => *must = Some(Must::NotBe),
            failed => {
                *must = Some(Must::BeOrNot);
                unavailable(failed);
            }
        }
    }

    async fn begin(&mut self, blobs: &Blobs, whole: Bytes) {
        match twice(|| blobs.begin()).await {
            Ok(id) => self.uploads.push(Open { id, whole, acknowledged: 0 }),
            failed => unavailable(failed),
        }
    }

    /// Goes on with the last upload up to `end`, from where it says it is.
    async fn append(&mut self, blobs: &Blobs, end: u64) {
        let Some(open) = self.uploads.last_mut() else { return };
        for _ in 0..3 {
            let Ok(offset) = twice(|| blobs.offset(&open.id)).await else { return };
            let offset = offset.expect("it was begun and not ended");
            assert!(offset >= open.acknowledged, "{offset} of {} acknowledged", open.acknowledged);
            let rest = open.whole.slice(offset as usize..end.max(offset) as usize);
            let empty = rest.is_empty();
            match blobs.append(&open.id, offset, rest).await {
                Ok(end) => {
                    // Nothing sent is nothing acknowledged: what is there may be of an append that failed.
                    open.acknowledged = if empty { open.acknowledged } else { end };
                    return;
                }
                failed => unavailable(failed),
            }
        }
    }

    async fn finish(&mut self, blobs: &Blobs) {
        let Some(open) = self.uploads.pop() else { return };
        let digest = Digest::of(&open.whole);
        self.blobs.entry(digest).or_insert((open.whole.clone(), None));
        if !matches!(twice(|| blobs.offset(&open.id)).await, Ok(Some(end)) if end == open.whole.len() as u64)
        {
            self.uploads.push(open);
            return;
        }
        match twice(|| blobs.finish(&open.id, digest)).await {
            Ok(_) => self.tell(digest, Must::Be),
            failed => {
                unavailable(failed);
                self.tell(digest, Must::BeOrNot);
                self.uploads.push(open);
            }
        }
    }

    async fn cancel(&mut self, blobs: &Blobs) {
        let Some(open) = self.uploads.pop() else { return };
        // What fails here is known or gone: nothing is said of it any more.
        let _ = twice(|| blobs.cancel(&open.id)).await;
    }

    /// All of it must be true now; finishes the uploads that are open.
    pub(super) async fn check(&mut self, blobs: &Blobs) {
        while let Some(open) = self.uploads.last() {
            let (id, len, digest) = (open.id, open.whole.len() as u64, Digest::of(&open.whole));
            let offset = blobs.offset(&id).await.unwrap().expect("what was not ended is known");
            assert!((open.acknowledged..=len).contains(&offset), "{offset}");
            self.append(blobs, len).await;
            assert_eq!(blobs.finish(&id, digest).await.unwrap(), len);
            let open = self.uploads.pop().unwrap();
            self.blobs.entry(digest).or_insert((open.whole, None)).1 = Some(Must::Be);
        }
        let listed: BTreeMap<_, _> = blobs.list(None, usize::MAX).await.unwrap().into_iter().collect();
        for (digest, (bytes, must)) in &self.blobs {
            let found = blobs.read(*digest, u64::MAX).await.unwrap();
            match must.unwrap_or(Must::BeOrNot) {
                Must::Be => assert_eq!(found.as_ref(), Some(bytes)),
                Must::NotBe => assert_eq!(found, None),
                Must::BeOrNot => assert!(found.is_none() || found.as_ref() == Some(bytes)),
            }
            assert_eq!(found.map(|bytes| bytes.len() as u64), listed.get(digest).map(|stored| stored.bytes));
        }
        assert!(listed.keys().all(|digest| self.blobs.contains_key(digest)), "a blob that nobody sent");
    }
}

/// One client's work, whatever fails meanwhile, with blobs of less than a part and of more.
pub(super) async fn work(blobs: &Blobs, told: &mut Told, (part, large): (usize, usize), seed: u64) {
    let end = large as u64 + 5;
    let (small, large) = (some(part / 2, seed), some(large, seed));
    told.put(blobs, &small).await;
    told.put(blobs, &large).await;
    told.begin(blobs, some(end as usize, seed)).await;
    told.append(blobs, 20).await;
    told.append(blobs, end).await;
    told.finish(blobs).await;
    told.begin(blobs, some(part - 1, seed)).await;
    told.append(blobs, part as u64 - 1).await;
    told.finish(blobs).await;
    told.begin(blobs, some(30, seed)).await;
    told.append(blobs, 10).await;
    told.cancel(blobs).await;
    told.begin(blobs, some(40, seed)).await;
    told.append(blobs, 25).await;
    told.delete(blobs, &small).await;
    told.put(blobs, &large).await;
    let _ = blobs.read_range(Digest::of(&large), 3..9).await;
    let _ = blobs.list(None, 3).await;
    let _ = blobs.expire().await;
}

fn open(disk: &Forgetful) -> Result<Blobs, StoreError> {
    Ok(on_directory(Directory::on(Box::new(disk.clone()))?, Limits::default(), PART))
}

/// Opens, works, and ends with the process or with the power.
async fn live(disk: &Forgetful, told: &mut Told, seed: u64, end: Option<Survival>) {
    // An open that meets the fault may fail.
    if let Ok(blobs) = open(disk) {
        work(&blobs, told, (PART, 3 * PART), seed).await;
    }
    match end {
        Some(survival) => disk.restart(survival),
        None => disk.end_process(),
    }
}

/// Says in which run a test fails.
struct Label(String);

impl Drop for Label {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("in the run: {}", self.0);
        }
    }
}

async fn run(seed: u64, step: usize, fault: Fault, end: Option<Survival>) {
    let _label = Label(format!("seed {seed}, step {step}, {fault:?}, {end:?}"));
    let (disk, mut told) = (Forgetful::new(seed), Told::default());
    disk.fail_at(step, fault);
    live(&disk, &mut told, seed, end).await;
    // The recovery meets a fault too, of whichever kind, and after it the power goes.
    let mut random = Random(seed ^ step as u64);
    let second = [Fault::Fails, Fault::FailsButHappened, Fault::Crash][random.below(3)];
    disk.fail_at(1 + random.below(120), second);
    live(&disk, &mut told, seed + 1, Some(Survival::Anything)).await;
    told.check(&open(&disk).unwrap()).await;
    disk.restart(Survival::Nothing);
    told.check(&open(&disk).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_keeps_its_word_whichever_step_fails() {
    let ends = [Some(Survival::Nothing), Some(Survival::Anything), None];
    let mut runs = 0;
    for seed in 0..if std::env::var_os("VERDICT_FULL").is_some() { 10 } else { 1 } {
        let (disk, mut told) = (Forgetful::new(seed), Told::default());
        live(&disk, &mut told, seed, ends[0]).await;
        let steps = disk.steps();
        assert!(steps > 200 && told.blobs.len() == 4 && told.uploads.len() == 1, "{steps} steps");
        told.check(&open(&disk).unwrap()).await;
        for step in 1..=steps {
            for fault in [Fault::Fails, Fault::FailsButHappened, Fault::Crash] {
                run(seed, step, fault, ends[(step + runs) % 3]).await;
                runs += 1;
            }
        }
    }
    println!("{runs} runs, each with two faults and three restarts");
}

/// The disk must be able to find what the store must not do: without syncs, things are lost.
#[tokio::test]
async fn a_disk_whose_syncs_lie_is_found_out() {
    let disk = Forgetful::new(1);
    let blobs = open(&disk).unwrap();
    disk.lie();
    let bytes = some(9, 1);
    blobs.put(Digest::of(&bytes), bytes.clone()).await.unwrap();
    assert_eq!(blobs.read(Digest::of(&bytes), 9).await.unwrap(), Some(bytes.clone()));
    disk.restart(Survival::Nothing);
    assert_eq!(open(&disk).unwrap().read(Digest::of(&bytes), 9).await.unwrap(), None);
}
