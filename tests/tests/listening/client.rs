//! A client that sees every byte.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// No read of a test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// A question that every server answers.
pub(crate) const LIVE: &str = "GET /health/live HTTP/1.1\r\nhost: h\r\n\r\n";

/// An answer of HTTP/1.1, its head as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A connection to a server.
pub(crate) struct Client<T> {
    pub(crate) io: T,
    read: Vec<u8>,
}

pub(crate) fn tcp(address: &str) -> Client<TcpStream> {
    Client::new(try_tcp(address).expect("the server lets in"))
}

pub(crate) fn try_tcp(address: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

pub(crate) fn unix(address: &str) -> Client<UnixStream> {
    let stream = UnixStream::connect(address.strip_prefix("unix:").unwrap()).expect("the server lets in");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client::new(stream)
}

impl<T: Read + Write> Client<T> {
    pub(crate) fn new(io: T) -> Self {
        Self { io, read: Vec::new() }
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.io.write_all(text.as_ref())
    }

    /// Sends a request and returns its answer.
    pub(crate) fn ask(&mut self, request: &str) -> Answer {
        self.send(request).expect("the server takes it");
        self.answer().expect("the connection holds").expect("there is an answer")
    }

    /// The next answer; none where the server has closed before one began.
    pub(crate) fn answer(&mut self) -> std::io::Result<Option<Answer>> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more()? {
                return if self.read.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        let length: usize = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        while self.read.len() < length {
            if !self.more()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        answer.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        Ok(Some(answer))
    }

    /// All that still comes until the server closes; a reset is as good.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.more() {
                Ok(true) => {}
                Ok(false) => return std::mem::take(&mut self.read),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return std::mem::take(&mut self.read);
                }
                Err(error) => panic!("the server did not close: {error}"),
            }
        }
    }

    fn more(&mut self) -> std::io::Result<bool> {
        let mut room = [0; 16 << 10];
        loop {
            match self.io.read(&mut room) {
                Ok(bytes) => {
                    self.read.extend_from_slice(&room[..bytes]);
                    return Ok(bytes > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
