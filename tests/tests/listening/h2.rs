//! As much of HTTP/2 (RFC 9113) as it takes to see what a server does, frame by frame.

use std::io::{Read, Write};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A connection in HTTP/2.
pub(crate) struct Client<T>(pub(crate) T);

impl<T: Read + Write> Client<T> {
    /// Begins a connection, knowing that the server speaks HTTP/2.
    pub(crate) fn new(mut io: T) -> Self {
        io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut client = Self(io);
        client.send(&frame(SETTINGS, 0, 0, &[])).unwrap();
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }

    /// The next frame; none where the server has closed.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            let _ = self.send(&self::frame(SETTINGS, ACK, 0, &[]));
        }
        Some(frame)
    }

    /// Asks `GET PATH` over a stream and returns the first byte of the head of the answer, which is its status.
    pub(crate) fn ask(&mut self, stream: u32, path: &str) -> Option<u8> {
        self.send(&get(stream, path)).ok()?;
        let mut status = None;
        while let Some(frame) = self.next() {
            if frame.stream == stream && frame.kind == HEADERS {
                status = frame.payload.first().copied();
            }
            let is_last = frame.flags & END_STREAM != 0 && matches!(frame.kind, HEADERS | DATA);
            if frame.stream == stream && is_last {
                return status;
            }
            assert!(frame.stream != stream || frame.kind != RST_STREAM, "{frame:?}");
        }
        None
    }
}

/// `:status: 200`, as an index of the static table (RFC 7541, appendix A).
pub(crate) const OK: u8 = 0x88;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The head of a `GET`, without a body.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    // `:method: GET` and `:scheme: http` of the static table; `:path` and `:authority` as text, not to be indexed.
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend(path.as_bytes());
    block.extend([0x01, 1, b'h']);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}
