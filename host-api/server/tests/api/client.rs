//! A client that can say anything.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// Where a server is.
#[derive(Clone)]
pub(crate) enum Address {
    Tcp(String),
    Unix(PathBuf),
}

pub(crate) trait Stream: std::io::Read + std::io::Write {}
impl<T: std::io::Read + std::io::Write> Stream for T {}

/// A server as somebody asks it.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: Address,
    pub(crate) token: Option<String>,
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
        Self { status, head: lines.filter_map(header).collect(), body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.text()))
    }

    pub(crate) fn etag(&self) -> String {
        self.header("etag").expect("there is a tag").to_owned()
    }

    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Status and code of a problem, which has all its members.
    pub(crate) fn problem(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{json}");
        assert_eq!(json["status"], self.status, "{json}");
        let id = self.header("x-request-id").expect("every answer has an id");
        assert_eq!(json["correlation_id"], id, "{json}");
        assert_eq!(json["instance"], format!("urn:verdict:request:{id}"), "{json}");
        for member in ["title", "detail"] {
            assert!(json[member].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        }
        let code = json["type"].as_str().and_then(|text| text.strip_prefix("urn:verdict:problem:"));
        (self.status, code.expect("a type is a code").to_owned())
    }
}

impl Client {
    /// The same server, asked with this token.
    pub(crate) fn with(&self, token: &str) -> Self {
        Self { address: self.address.clone(), token: Some(token.to_owned()) }
    }

    /// The same server, asked by nobody who is known.
    pub(crate) fn nobody(&self) -> Self {
        Self { address: self.address.clone(), token: None }
    }

    fn connect(&self) -> Box<dyn Stream> {
        let patience = Some(Duration::from_secs(60));
        match &self.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(patience).unwrap();
                Box::new(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(patience).unwrap();
                Box::new(stream)
            }
        }
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Box<dyn Stream> {
        // Of HTTP/1.0 an answer is what comes until the end.
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        let mut stream = self.connect();
        stream.write_all((head + "\r\n").as_bytes()).unwrap();
        // Who is refused early may not be heard to the end.
        let _ = stream.write_all(body);
        stream
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut answer = Vec::new();
        let _ = self.send(method, path, headers, body).read_to_end(&mut answer);
        Answer::read(&answer)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub(crate) fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.ask(method, path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.json("POST", path, body)
    }

    /// Sends an envelope.
    pub(crate) fn signed(&self, method: &str, path: &str, envelope: &[u8]) -> Answer {
        self.ask(method, path, &[("Content-Type", "application/vnd.dsse.envelope.v1+json")], envelope)
    }

    /// The first so many events of a stream.
    pub(crate) fn stream(&self, path: &str, headers: &[(&str, &str)], count: usize) -> Vec<(u64, Value)> {
        let mut lines = BufReader::new(self.send("GET", path, headers, b"")).lines();
        let (mut events, mut id) = (Vec::new(), 0);
        while events.len() < count {
            let line = lines.next().expect("the stream goes on").unwrap();
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().unwrap();
            }
            if let Some(text) = line.strip_prefix("data: ") {
                events.push((id, serde_json::from_str(text).unwrap()));
            }
        }
        events
    }
}
