//! Clients that ask without pause.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// No read of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that is kept.
pub(crate) struct Client {
    read: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { read: BufReader::new(stream) }
    }

    /// Asks and returns the status and the body.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> (u16, Value) {
        let (status, text) = self.send(path, body);
        (status, serde_json::from_slice(&text).unwrap())
    }

    /// As [`Client::post`], without looking at the body.
    pub(crate) fn send(&mut self, path: &str, body: &str) -> (u16, Vec<u8>) {
        let length = body.len();
        let request = format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n{body}");
        self.read.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            assert!(self.read.read_line(&mut line).unwrap() > 0, "the server hung up");
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            } else if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.read.read_exact(&mut body).unwrap();
        (status, body)
    }
}

/// Lets so many clients do this over and over while something else is done; returns what each made of it.
pub(crate) fn while_asking<T: Send, R>(
    address: &str,
    clients: usize,
    ask: impl Fn(usize, &mut Client, &mut Vec<T>) + Sync,
    act: impl FnOnce() -> R,
) -> (Vec<T>, R) {
    /// Also where `act` fails: the clients must not go on.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|number| {
                let (ask, stop) = (&ask, &stop);
                scope.spawn(move || {
                    let (mut client, mut made) = (Client::new(address), Vec::new());
                    while !stop.load(Ordering::Relaxed) {
                        ask(number, &mut client, &mut made);
                    }
                    made
                })
            })
            .collect();
        let guard = Stop(&stop);
        let done = act();
        drop(guard);
        (clients.into_iter().flat_map(|client| client.join().unwrap()).collect(), done)
    })
}
