//! A registry behind a real socket, and a client that can say anything and stop anywhere.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use verdict::core::digest::Digest;
use verdict::core::oci::{EMPTY_MEDIA_TYPE, MANIFEST_MEDIA_TYPE};
use verdict::registry::catalogue::Catalogue;
use verdict::registry::repository::Registry;
use verdict::registry::store::{Blobs, Limits};
use verdict_server::{Listen, Options, Server, Tokens};

/// The largest blob that the registry under test takes.
pub(crate) const BLOB_BYTES_MAX: u64 = 32 << 20;

pub(crate) struct Served {
    pub(crate) registry: Registry,
    address: String,
    authorization: Option<String>,
    // Ends the server when dropped, before the folder goes.
    _runtime: Option<std::sync::Arc<tokio::runtime::Runtime>>,
    _folder: std::sync::Arc<tempfile::TempDir>,
}

/// An answer as it came.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
        let text = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        let head = lines.filter_map(header).collect();
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    /// Status and code of an error.
    pub(crate) fn error(&self) -> (u16, String) {
        let json = self.json();
        assert!(json["errors"][0]["message"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        (self.status, json["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
    }

    /// The path of the location.
    pub(crate) fn location(&self) -> String {
        self.header("location").expect("there is a location").to_owned()
    }

    /// Where the next page is.
    pub(crate) fn next(&self) -> Option<String> {
        let link = self.header("link")?;
        let (path, rest) = link.strip_prefix('<')?.split_once('>')?;
        assert_eq!(rest, "; rel=\"next\"");
        Some(path.to_owned())
    }

    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

impl Served {
    /// Without tokens: everybody may do everything.
    pub(crate) fn open() -> Self {
        Self::new(None)
    }

    pub(crate) fn new(tokens: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let limits = Limits { blob_bytes_max: BLOB_BYTES_MAX, ..Limits::default() };
        let blobs = Blobs::directory(folder.path().join("blobs"), limits).unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalogue.db").display());
        let registry = Registry::new(blobs, runtime.block_on(Catalogue::open(&url)).unwrap());
        let mut options = Options::new(Listen::parse("127.0.0.1:0").unwrap());
        options.registry = Some(registry.clone());
        options.access = tokens.map(|text| Tokens::parse(text).unwrap().into()).unwrap_or_default();
        let server = runtime.block_on(Server::bind(None, options)).unwrap();
        let address = server.address().to_string();
        runtime.spawn(server.run());
        let (runtime, folder) = (Some(runtime.into()), folder.into());
        Self { registry, address, authorization: None, _runtime: runtime, _folder: folder }
    }

    /// The same server, asked with this authorization.
    pub(crate) fn with(&self, authorization: &str) -> Self {
        Self {
            registry: self.registry.clone(),
            address: self.address.clone(),
            authorization: Some(authorization.to_owned()),
            _runtime: self._runtime.clone(),
            _folder: self._folder.clone(),
        }
    }

    /// The same client at another address.
    pub(crate) fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.with("Bearer nobody") }
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self._runtime.as_ref().unwrap().block_on(future)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n"
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(authorization) = &self.authorization {
            head += &format!("Authorization: {authorization}\r\n");
        }
        head + "\r\n"
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(self.head(method, path, headers, body.len()).as_bytes()).unwrap();
        // Who is refused early may not be heard to the end.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::read(&answer)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// Says that `length` bytes follow, sends these and hangs up.
    pub(crate) fn break_off(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: usize,
        body: &[u8],
    ) {
        let mut stream = self.connect();
        stream.write_all(self.head(method, path, headers, length).as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    }

    /// Begins an upload; its location.
    pub(crate) fn begin(&self, repository: &str) -> String {
        self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"").is(202).location()
    }

    /// Puts a blob; its descriptor.
    pub(crate) fn put_blob(&self, repository: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.ask("POST", &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), &[], bytes).is(201);
        json!({ "mediaType": EMPTY_MEDIA_TYPE, "digest": digest, "size": bytes.len() })
    }

    /// An image of one layer whose blobs are in the repository.
    pub(crate) fn image(&self, repository: &str, layer: &str) -> Value {
        let (config, layer) = (self.put_blob(repository, b"{}"), self.put_blob(repository, layer.as_bytes()));
        json!({ "schemaVersion": 2, "mediaType": MANIFEST_MEDIA_TYPE, "config": config, "layers": [layer] })
    }

    pub(crate) fn put_manifest(&self, repository: &str, reference: &str, manifest: &Value) -> Answer {
        let headers = [("Content-Type", manifest["mediaType"].as_str().unwrap_or(MANIFEST_MEDIA_TYPE))];
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.ask("PUT", &path, &headers, manifest.to_string().as_bytes())
    }

    /// Puts an image under a tag; its digest.
    pub(crate) fn push(&self, repository: &str, tag: &str) -> Digest {
        let image = self.image(repository, tag);
        self.put_manifest(repository, tag, &image).is(201);
        Digest::of(image.to_string().as_bytes())
    }
}

/// What a blob of the descriptor is called.
pub(crate) fn path(repository: &str, descriptor: &Value) -> String {
    format!("/v2/{repository}/blobs/{}", descriptor["digest"].as_str().unwrap())
}

/// Bytes of which no two pieces are alike.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&state.to_be_bytes());
    }
    noise.truncate(bytes);
    noise
}
