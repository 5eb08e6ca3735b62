//! Object stores: one in memory, and programs that speak the protocols of S3 and Azure; each of their steps
//! fails, or fails but happened. For that of Google Cloud Storage, which `object_store` speaks by XML, no program was found.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::aws::AmazonS3Builder;
use object_store::memory::InMemory;
use object_store::path::Path as Location;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult, UploadPart,
};

use super::conformance::Place;
use super::emulators::Emulator;
use super::faults::{PART, Told, work};
use super::forgetful::Fault;
use super::*;

/// S3 takes no smaller ones.
const S3_PART: usize = 5 << 20;

fn blobs_on(store: &Arc<dyn ObjectStore>, prefix: &str, limits: Limits, part_bytes: usize) -> Blobs {
    Blobs::on_objects(Objects::new(Arc::clone(store), prefix, part_bytes), limits, part_bytes)
}

async fn conforms(store: &Arc<dyn ObjectStore>, prefix: &str, part_bytes: usize) {
    let open = |limits| blobs_on(store, prefix, limits, part_bytes);
    Place { open: &open, part_bytes }.conforms().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_in_memory_conforms() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    conforms(&store, "", 1024).await;
    conforms(&store, "some/prefix", 1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_s3_conforms() {
    let Some(gateway) = Emulator::s3() else { return };
    conforms(&gateway.store, "some/prefix", S3_PART).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_azure_container_conforms() {
    let Some(gateway) = Emulator::azure() else { return };
    conforms(&gateway.store, "some/prefix", S3_PART).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_show_the_credentials_of_a_bucket() {
    let store = AmazonS3Builder::new()
        .with_bucket_name("bucket")
        .with_access_key_id("access")
        .with_secret_access_key("hidden")
        .build()
        .unwrap();
    let blobs = Blobs::objects(Arc::new(store), "prefix", Limits::default());
    let shown = format!("{blobs:?}");
    assert!(shown.contains("bucket") && shown.contains("prefix") && !shown.contains("hidden"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_gone_is_said_to_be() {
    let Some(gateway) = Emulator::s3() else { return };
    let store = AmazonS3Builder::new()
        .with_endpoint(format!("http://127.0.0.1:{}", gateway.port))
        .with_allow_http(true)
        .with_bucket_name("elsewhere")
        .with_access_key_id("access")
        .with_secret_access_key("secret")
        .build()
        .unwrap();
    let blobs = Blobs::objects(Arc::new(store), "", Limits::default());
    let refused = blobs.put(Digest::of(b"x"), Bytes::from_static(b"x")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
}

/// Another store, of which one step fails.
#[derive(Debug, Clone)]
struct Faulty {
    store: Arc<dyn ObjectStore>,
    steps: Arc<AtomicUsize>,
    at: usize,
    fault: Fault,
}

impl Faulty {
    fn new(store: &Arc<dyn ObjectStore>, at: usize, fault: Fault) -> Self {
        Self { store: Arc::clone(store), steps: Arc::default(), at, fault }
    }

    /// Whether the next step happens, and whether it is heard of.
    fn next(&self) -> (bool, bool) {
        let step = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        match self.fault {
            // The process ends: nothing is heard any more.
            Fault::Crash if step >= self.at => (step == self.at && step.is_multiple_of(2), false),
            Fault::FailsButHappened if step == self.at => (true, false),
            Fault::Fails if step == self.at => (false, false),
            _ => (true, true),
        }
    }

    async fn step<T>(&self, act: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        let (happens, heard) = self.next();
        let result = if happens { Some(act.await) } else { None };
        match (result, heard) {
            (Some(Ok(_)), false) | (None, _) => Err(failure()),
            (Some(result), _) => result,
        }
    }
}

fn failure() -> Error {
    Error::Generic { store: "Faulty", source: "it failed".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.store)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        at: &Location,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.step(self.store.put_opts(at, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Location,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let upload = self.step(self.store.put_multipart_opts(at, options)).await?;
        Ok(Box::new(FaultyUpload { faulty: self.clone(), upload }))
    }

    async fn get_opts(&self, at: &Location, options: GetOptions) -> StoreResult<GetResult> {
        self.step(self.store.get_opts(at, options)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Location>>,
    ) -> BoxStream<'static, StoreResult<Location>> {
        let faulty = self.clone();
        let delete = move |location: StoreResult<Location>| {
            let faulty = faulty.clone();
            async move {
                let location = location?;
                let one = futures_util::stream::once(async move { Ok(location) }).boxed();
                let mut deleted = faulty.store.delete_stream(one);
                faulty.step(async { deleted.next().await.unwrap() }).await
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        match self.next() {
            (_, true) => self.store.list(prefix),
            _ => futures_util::stream::once(async { Err(failure()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> StoreResult<ListResult> {
        self.step(self.store.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Location, to: &Location, options: CopyOptions) -> StoreResult<()> {
        self.step(self.store.copy_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    faulty: Faulty,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait::async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (faulty, part) = (self.faulty.clone(), self.upload.put_part(data));
        Box::pin(async move { faulty.step(part).await })
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        self.faulty.step(self.upload.complete()).await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.faulty.step(self.upload.abort()).await
    }
}

/// Every step of the work, in a place of its own each time, on which two nodes follow each other.
async fn every_step_fails(store: &Arc<dyn ObjectStore>, sizes: (usize, usize), stride: usize) -> usize {
    let part = sizes.0;
    let (count, mut told) = (Faulty::new(store, usize::MAX, Fault::Fails), Told::default());
    let counted: Arc<dyn ObjectStore> = Arc::new(count.clone());
    work(&blobs_on(&counted, "count", Limits::default(), part), &mut told, sizes, 1).await;
    let (steps, mut runs) = (count.steps.load(Ordering::Relaxed), 0);
    assert!(steps > 50, "{steps} steps");
    for step in (1..=steps).step_by(stride) {
        for fault in [Fault::Fails, Fault::FailsButHappened, Fault::Crash] {
            let (prefix, mut told) = (format!("{step}/{fault:?}"), Told::default());
            let faulty: Arc<dyn ObjectStore> = Arc::new(Faulty::new(store, step, fault));
            work(&blobs_on(&faulty, &prefix, Limits::default(), part), &mut told, sizes, 1).await;
            let next = blobs_on(store, &prefix, Limits::default(), part);
            work(&next, &mut told, sizes, 2).await;
            told.check(&next).await;
            runs += 1;
        }
    }
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_keeps_its_word_whichever_step_fails() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let runs = every_step_fails(&store, (PART, 3 * PART), 1).await;
    println!("{runs} runs, each with a fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_s3_keeps_its_word_whichever_step_fails() {
    keeps_its_word(Emulator::s3()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_azure_container_keeps_its_word_whichever_step_fails() {
    keeps_its_word(Emulator::azure()).await;
}

async fn keeps_its_word(gateway: Option<Emulator>) {
    let Some(gateway) = gateway else { return };
    let stride = if std::env::var_os("VERDICT_FULL").is_some() { 11 } else { 97 };
    let runs = every_step_fails(&gateway.store, (S3_PART, S3_PART + 9), stride).await;
    println!("{runs} runs, each with a fault");
}
