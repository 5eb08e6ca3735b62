//! A client of one connection that waits for each answer, where wrk cannot say what is needed: when to ask, and what else
//! than the same.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// No answer takes longer.
const TIME_MAX: Duration = Duration::from_secs(10);

/// A request with a body of JSON.
pub(crate) fn request(path: &str, body: &str) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A connection that is made again when the server has closed it.
pub(crate) struct Connection<'a> {
    address: &'a str,
    stream: Option<TcpStream>,
    answer: Vec<u8>,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(address: &'a str) -> Self {
        Self { address, stream: None, answer: Vec::new() }
    }

    /// The status of the answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        if let Some(status) = self.stream.is_some().then(|| self.try_ask(request)).and_then(Result::ok) {
            return Ok(status);
        }
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIME_MAX))?;
        self.stream = Some(stream);
        self.try_ask(request)
    }

    fn try_ask(&mut self, request: &[u8]) -> io::Result<u16> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.write_all(request)?;
        self.answer.clear();
        let mut part = [0; 4_096];
        let head = loop {
            let count = stream.read(&mut part)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.answer.extend_from_slice(&part[..count]);
            if let Some(end) = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&self.answer[..head]).to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
        let length: usize =
            length.and_then(|length| length.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let left = (head + length).saturating_sub(self.answer.len());
        self.answer.resize(left, 0);
        stream.read_exact(&mut self.answer)?;
        if text.contains("\r\nconnection: close") {
            self.stream = None;
        }
        text.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
    }
}
