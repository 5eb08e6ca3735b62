//! A gRPC client that shares no code with the server: HTTP/2 by hyper, and protobuf taken apart by hand.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};

/// No call takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a call came to.
#[derive(Debug)]
pub struct Reply {
    /// `grpc-status`: 0 is OK.
    pub status: u32,
    /// The message, if there is one.
    pub message: Message,
}

/// Calls a method over a connection of its own, HTTP/2 by prior knowledge.
///
/// # Panics
/// When there is no answer, or none of gRPC.
pub fn call(address: &str, method: &str, token: Option<&str>, message: &[u8]) -> Reply {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let metadata: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    call_with(address, method, &metadata, message)
}

/// As [`call`], with metadata.
///
/// # Panics
/// As [`call`].
pub fn call_with(address: &str, method: &str, metadata: &[(&str, &str)], message: &[u8]) -> Reply {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, called(address, method, metadata, message))
            .await
            .expect("it answers in time")
    })
}

async fn called(address: &str, method: &str, metadata: &[(&str, &str)], message: &[u8]) -> Reply {
    let stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://{address}{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in metadata {
        request = request.header(*name, *value);
    }
    // One message: not compressed, its length, itself.
    let length = u32::try_from(message.len()).expect("messages of tests are small");
    let framed = [&[0], length.to_be_bytes().as_slice(), message].concat();
    let request = request.body(Full::new(Bytes::from(framed))).expect("it is a request");
    let response = sender.send_request(request).await.expect("it answers");
    assert_eq!(response.status(), 200, "gRPC says everything in its own status");
    let headers = response.headers().clone();
    let body = response.into_body().collect().await.expect("the answer ends");
    let trailers = body.trailers().cloned().unwrap_or(headers);
    let status = trailers.get("grpc-status").expect("there is a status").to_str().expect("it is text");
    let body = body.to_bytes();
    let message = if body.is_empty() { &[] } else { &body[5..] };
    Reply { status: status.parse().expect("it is a number"), message: Message::read(message) }
}

/// A message of protobuf: numbered fields in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message(Vec<(u64, Field)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
    /// Of 4 or 8 bytes.
    Other(Vec<u8>),
}

impl Message {
    /// Takes a message apart.
    ///
    /// # Panics
    /// When it is none.
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let field = match tag & 7 {
                0 => Field::Number(varint(&mut bytes)),
                1 => Field::Other(take(&mut bytes, 8)),
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).expect("it fits");
                    Field::Bytes(take(&mut bytes, length))
                }
                5 => Field::Other(take(&mut bytes, 4)),
                kind => panic!("protobuf has no wire type {kind}"),
            };
            fields.push((tag >> 3, field));
        }
        Self(fields)
    }

    /// Adds a field that is text, bytes or a message.
    #[must_use]
    pub fn with(mut self, number: u64, bytes: impl AsRef<[u8]>) -> Self {
        self.0.push((number, Field::Bytes(bytes.as_ref().to_vec())));
        self
    }

    /// Adds an entry of a map of texts.
    #[must_use]
    pub fn with_entry(self, number: u64, key: &str, value: &str) -> Self {
        self.with(number, Self::default().with(1, key).with(2, value).write())
    }

    /// The bytes of the message.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, field) in &self.0 {
            match field {
                Field::Number(value) => {
                    write_varint(&mut bytes, number << 3);
                    write_varint(&mut bytes, *value);
                }
                Field::Bytes(value) => {
                    write_varint(&mut bytes, (number << 3) | 2);
                    write_varint(&mut bytes, value.len() as u64);
                    bytes.extend_from_slice(value);
                }
                Field::Other(value) => {
                    write_varint(&mut bytes, (number << 3) | if value.len() == 4 { 5 } else { 1 });
                    bytes.extend_from_slice(value);
                }
            }
        }
        bytes
    }

    /// The first number of a field; 0 where there is none.
    pub fn number(&self, number: u64) -> u64 {
        let found = self.0.iter().find_map(|(it, field)| match field {
            Field::Number(value) if *it == number => Some(*value),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// All messages of a field.
    pub fn messages(&self, number: u64) -> Vec<Self> {
        self.bytes(number).map(Self::read).collect()
    }

    /// The first message of a field; an empty one where there is none.
    pub fn message(&self, number: u64) -> Self {
        self.bytes(number).next().map(Self::read).unwrap_or_default()
    }

    /// All texts of a field.
    pub fn texts(&self, number: u64) -> Vec<String> {
        self.bytes(number).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    /// The first text of a field; empty where there is none.
    pub fn text(&self, number: u64) -> String {
        self.texts(number).into_iter().next().unwrap_or_default()
    }

    fn bytes(&self, number: u64) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter_map(move |(it, field)| match field {
            Field::Bytes(bytes) if *it == number => Some(bytes.as_slice()),
            _ => None,
        })
    }
}

fn take(bytes: &mut &[u8], length: usize) -> Vec<u8> {
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken.to_vec()
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a number ends");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number has 64 bits");
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        bytes.push(u8::try_from(value & 0x7f).expect("7 bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("7 bits"));
}
