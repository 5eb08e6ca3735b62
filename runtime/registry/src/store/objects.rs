//! Blobs in an object store: S3, Google Cloud Storage, Azure, or any other that `object_store` speaks to.
//!
//! A put of an object is atomic and durable when it is answered. What is larger than one part goes up as a multipart
//! upload, which has no name before it is completed. One that is never completed, because the process ended, is not
//! listed among the objects but takes space: buckets need a rule that drops incomplete uploads after some days.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig,
    WriteMultipart,
};

use super::StoreError;
use super::backend::{Entry, Stamp};

/// How many objects of one folder are listed.
const OBJECTS_MAX: usize = 2_000_000;
/// How many parts of one object are on their way at once.
const PARTS_MAX: usize = 4;
/// How long a request is tried again, so that a bucket that is down is reported while the caller still waits.
const RETRY_MAX: Duration = Duration::from_secs(20);

pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    part_bytes: usize,
}

pub(super) struct ObjectsWriter {
    key: String,
    upload: WriteMultipart,
}

impl Objects {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: &str, part_bytes: usize) -> Self {
        Self { store, prefix: Path::from(prefix), part_bytes }
    }

    /// The bucket of `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`, or the container of `az://CONTAINER/PREFIX`, with
    /// region, endpoint, account and credentials as the environment has them.
    pub(super) fn open(location: &str, part_bytes: usize) -> Result<Self, StoreError> {
        let malformed = || StoreError::Location(location.chars().take(200).collect());
        let (scheme, rest) = location.split_once("://").ok_or_else(malformed)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(malformed());
        }
        let retry = RetryConfig { retry_timeout: RETRY_MAX, ..RetryConfig::default() };
        let store = match scheme {
            "s3" => shared(AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry).build()),
            "gs" => shared(
                GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(retry).build(),
            ),
            "az" => shared(
                MicrosoftAzureBuilder::from_env().with_container_name(bucket).with_retry(retry).build(),
            ),
            _ => return Err(malformed()),
        };
        let store = store
            .map_err(|error| StoreError::unavailable(format!("opening `{scheme}://{bucket}`"), error))?;
        Ok(Self::new(store, prefix, part_bytes))
    }

    pub(super) fn describe(&self) -> String {
        format!("{}/{}", self.store, self.prefix)
    }

    fn path(&self, key: &str) -> Path {
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }

    pub(super) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.store.put(&self.path(key), bytes.into()).await.map_err(failed("writing", key))?;
        Ok(())
    }

    pub(super) async fn put_new(&self, key: &str, bytes: Bytes) -> Result<bool, StoreError> {
        match self.store.put_opts(&self.path(key), bytes.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(failed("writing", key)(error)),
        }
    }

    pub(super) async fn writer(&self, key: &str) -> Result<ObjectsWriter, StoreError> {
        let upload = self.store.put_multipart(&self.path(key)).await.map_err(failed("beginning", key))?;
        let upload = WriteMultipart::new_with_chunk_size(upload, self.part_bytes);
        Ok(ObjectsWriter { key: key.to_owned(), upload })
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        match self.store.head(&self.path(key)).await {
            Ok(meta) => Ok(Some(entry(&meta))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("looking at", key)(error)),
        }
    }

    pub(super) async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        stamp: &Stamp,
    ) -> Result<Option<Bytes>, StoreError> {
        let bytes_asked = range.end.saturating_sub(range.start);
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let result = match self.store.get_opts(&self.path(key), options).await {
            Ok(result) => result,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed("reading", key)(error)),
        };
        if entry(&result.meta).stamp != *stamp
            || result.range.end.saturating_sub(result.range.start) != bytes_asked
        {
            return Ok(None);
        }
        let bytes = result.bytes().await.map_err(failed("reading", key))?;
        Ok(Some(bytes).filter(|bytes| bytes.len() as u64 == bytes_asked))
    }

    pub(super) async fn delete(&self, key: &str, than: Option<SystemTime>) -> Result<bool, StoreError> {
        // Object stores delete what is not there without a word, and none deletes by age in one step.
        let Some(entry) = self.head(key).await? else { return Ok(false) };
        if than.is_some_and(|than| entry.modified >= than) {
            return Ok(false);
        }
        match self.store.delete(&self.path(key)).await {
            Ok(()) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed("removing", key)(error)),
        }
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        let mut objects = self.store.list(Some(&self.path(folder)));
        let mut entries = Vec::new();
        while let Some(meta) = objects.try_next().await.map_err(failed("listing", folder))? {
            if entries.len() >= OBJECTS_MAX {
                let message = format!("it holds more than the {OBJECTS_MAX} objects that are listed");
                return Err(StoreError::unavailable(format!("listing `{folder}`"), message));
            }
            entries.push(entry(&meta));
        }
        Ok(entries)
    }

    pub(super) async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let listed = self.store.list_with_delimiter(Some(&self.path(folder))).await;
        let folders = listed.map_err(failed("listing", folder))?.common_prefixes;
        Ok(folders.iter().filter_map(Path::filename).map(str::to_owned).collect())
    }

    pub(super) async fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        for entry in self.list(folder).await? {
            match self.store.delete(&self.path(&format!("{folder}/{}", entry.name))).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(failed("removing", folder)(error)),
            }
        }
        Ok(())
    }
}

impl ObjectsWriter {
    pub(super) async fn push(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.upload.wait_for_capacity(PARTS_MAX).await.map_err(failed("writing a part of", &self.key))?;
        self.upload.put(bytes);
        Ok(())
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.upload.finish().await.map_err(failed("completing", &self.key))?;
        Ok(())
    }

    pub(super) async fn abort(self) {
        // What cannot be dropped now is by the bucket's rule for incomplete uploads.
        let _ = self.upload.abort().await;
    }
}

fn shared<S: ObjectStore>(built: Result<S, Error>) -> Result<Arc<dyn ObjectStore>, Error> {
    built.map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
}

fn entry(meta: &ObjectMeta) -> Entry {
    // Stores without entity tags are told apart by size and time, as far as that goes.
    // Azure lists them without the quotation marks that it answers them with.
    let tag = meta.e_tag.as_deref().map(|tag| tag.trim_matches('"').to_owned());
    let tag = tag.unwrap_or_else(|| format!("{}-{}", meta.size, meta.last_modified));
    Entry {
        name: meta.location.filename().unwrap_or_default().to_owned(),
        bytes: meta.size,
        modified: meta.last_modified.into(),
        stamp: Stamp(tag),
    }
}

fn failed<'a>(step: &'a str, key: &'a str) -> impl Fn(Error) -> StoreError + 'a {
    move |error| StoreError::unavailable(format!("{step} `{key}`"), error)
}
