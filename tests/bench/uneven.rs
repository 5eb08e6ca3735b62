//! Connections that are busy, all on one thread when they begin, beside such that are idle on the others: as it comes of
//! pools that grew and shrank. To begin with there are as many on each thread, so that new ones go everywhere; then one
//! thread's are closed, and all new ones go there. That a server shares connections out by number is what it is made for;
//! a bare server, whose threads share all connections, would not notice.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::figures::Figures;
use crate::http::{FEW, WARM_UP_SECONDS, body};
use crate::wrk::{Load, Wrk, median};

/// In turns, as with all loads of HTTP.
const ROUNDS: usize = 3;

/// How long a server may take to see that connections were closed.
const CLOSING: Duration = Duration::from_millis(300);

/// Adds `http.decide.uneven`: the rate of such connections to the rate of as many that began evenly. `address` is where
/// a server of one policy listens, `url` what to ask there.
pub(crate) fn measure(figures: &mut Figures, wrk: &Wrk, address: &str, url: &str, seconds: u64) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    if threads < 2 {
        return figures.skip("http.decide.uneven", "there is one thread");
    }
    let (mut even, mut uneven): (Vec<Load>, Vec<Load>) = Default::default();
    wrk.load(url, &body(), FEW, WARM_UP_SECONDS.min(seconds));
    for round in 0..ROUNDS {
        eprintln!("bench: http.decide.uneven ({} of {ROUNDS})", round + 1);
        even.push(wrk.load(url, &body(), FEW, seconds));
        thread::sleep(CLOSING);
        let mut idle: Vec<_> = (0..threads * FEW).map(|_| idle(address)).collect();
        let mut number = 0..;
        idle.retain(|_| number.next().is_some_and(|number| number % threads != 0));
        thread::sleep(CLOSING);
        uneven.push(wrk.load(url, &body(), FEW, seconds));
    }
    let rps = |loads: &[Load]| median(loads, |load| load.rps);
    figures.add("http.decide.uneven", rps(&uneven) / rps(&even), "");
}

/// A connection that was answered once, so that the next one comes after it.
fn idle(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket has a time limit");
    let asked = stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    asked.expect("the server takes a request");
    let bytes = stream.read(&mut [0; 4_096]).expect("the server answers");
    assert!(bytes > 0, "the server closed a connection");
    stream
}
