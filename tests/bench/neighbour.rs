//! A tenant that sends a hundred times what it may, and what another notices of it: the other's p99 beside it and alone,
//! in rounds that take turns.
//!
//! Twice: one tenant has a hundred questions a second and sends 10,000; one has the fuel of fifty expensive questions
//! a second and sends 5,000. The other asks 1,000 times a second, which no budget bounds.
//!
//! The clients have a part of the same machine, and must not be what the other notices. So the noise comes at exactly
//! that rate and not as fast as it can (a closed loop of 64 connections would measure who gets the processor), and from
//! a process of its own at the lowest priority, so that it waits for the client of the other and not the other way round.
//! The server's work for it is at the server's own priority. A round in which the noise was less than [`LOUD`] of what
//! it is to be fails the run.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use verdict_tests::gateways::add_told_as;
use verdict_tests::server::{Server, Site, text};

use crate::figures::Figures;
use crate::http::{body, check, path};
use crate::process::Ended;
use crate::{POLICY, process};

/// What tells this program to be the noise.
pub(crate) const ARGUMENT: &str = "noise";

const ROUNDS: usize = 5;
const ROUND_SECONDS_MAX: u64 = 3;
/// The noise is there before it is measured what it does, and after.
const MARGIN: Duration = Duration::from_millis(500);
const TIMES: u32 = 100;
/// How much of what the noise is to be it must be.
const LOUD: f64 = 0.9;
const NOISY_CONNECTIONS: u32 = 64;
const QUIET_CONNECTIONS: u32 = 4;
const QUIET_PER_S: u32 = 1_000;
/// A question that ends at its limit of fuel, which `told` has.
const FUEL: u64 = 1_000_000;
const TIME_MAX: Duration = Duration::from_secs(10);

/// A tenant, what it is told to do, and how often it may.
struct Noise {
    tenant: &'static str,
    told: &'static str,
    budget_per_s: u32,
}

const NOISES: [Noise; 2] = [
    Noise { tenant: "requests", told: "true", budget_per_s: 100 },
    Noise { tenant: "fuel", told: "loop", budget_per_s: 50 },
];

/// Adds the figures of `tenancy.neighbour`.
pub(crate) fn measure(figures: &mut Figures, seconds: u64) {
    let site = site();
    let budgets = format!(
        "[tenants.requests]\nrequests_per_s = {}\n[tenants.fuel]\nfuel_per_s = {}\n",
        NOISES[0].budget_per_s,
        u64::from(NOISES[1].budget_per_s) * FUEL
    );
    std::fs::write(site.path("budgets.toml"), budgets).expect("a file can be written");
    let server = site.serve(&["--log", "off", "--budgets", text(&site.path("budgets.toml"))]);
    check(&server, false, None);
    let time = Duration::from_secs(seconds.min(ROUND_SECONDS_MAX));
    quiet(&server, time);
    let (mut alone, mut beside) = (Vec::new(), [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        eprintln!("bench: tenancy.neighbour ({} of {ROUNDS})", round + 1);
        alone.push(quiet(&server, time));
        for (noise, beside) in NOISES.iter().zip(&mut beside) {
            beside.push(noise.beside(&server, time));
        }
    }
    let alone = median(alone);
    let beside = beside.map(median);
    figures.add("tenancy.neighbour.p99.alone", alone, "µs");
    for (noise, beside) in NOISES.iter().zip(beside) {
        figures.add(&format!("tenancy.neighbour.p99.{}", noise.tenant), beside, "µs");
    }
    figures.add("tenancy.neighbour.p99.ratio", beside[0].max(beside[1]) / alone, "");
}

/// A site with the policy that is asked everywhere, and one that does what it is told for each noisy tenant.
fn site() -> Site {
    let site = Site::new(&[POLICY]);
    let file = site.path("keys/trust.json");
    let trust = std::fs::read(&file).expect("it is there");
    let mut trust: Value = serde_json::from_slice(&trust).expect("it is JSON");
    let noisy = NOISES.iter().map(|noise| format!("{}/*", noise.tenant));
    trust["authors"][0]["policies"] = json!(noisy.chain(["default/*".into()]).collect::<Vec<_>>());
    std::fs::write(&file, trust.to_string()).expect("it can be written");
    NOISES.iter().for_each(|noise| add_told_as(&site, &format!("{}/told", noise.tenant)));
    site
}

impl Noise {
    /// What the quiet one's p99 is beside it.
    fn beside(&self, server: &Server, time: Duration) -> f64 {
        let rate = self.budget_per_s * TIMES;
        let whole = time + 2 * MARGIN;
        let path = format!("/v1/tenants/{}/policies/told/decide", self.tenant);
        let body = json!({"rule": "told", "input": {"headers": {"x-tell": self.told}}}).to_string();
        let program = std::env::current_exe().expect("a program has a path");
        let child = Command::new("nice")
            .args(["-n", "19", text(&program), ARGUMENT, &server.address, &path, &body])
            .args([rate.to_string(), whole.as_millis().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the noise runs");
        let mut process = Ended(child);
        std::thread::sleep(MARGIN);
        let p99 = quiet(server, time);
        let line = process::line_after(&mut process, ARGUMENT, TIME_MAX);
        let said: Value = serde_json::from_str(&line).expect("the noise says what it did");
        let number = |member: &str| said[member].as_f64().expect("these are numbers");
        let expected = f64::from(rate) * whole.as_secs_f64();
        eprintln!("bench: {} {said}", self.tenant);
        assert!(number("asked") >= LOUD * expected, "the noise is not loud enough: {said} of {expected}");
        // A hundredth is its budget, a second of it at most is saved up, and what is under way is paid afterwards.
        let most = f64::from(self.budget_per_s) * (whole.as_secs_f64() + 2.0) + f64::from(NOISY_CONNECTIONS);
        assert!(number("refused") >= number("asked") - most, "what is beyond its budget is refused: {said}");
        p99
    }
}

/// Asks at a modest rate for a time: the p99 in µs.
fn quiet(server: &Server, time: Duration) -> f64 {
    let request = request(&path(), &body());
    let times = Mutex::new(Vec::new());
    let take = |status: u16, took: Duration| {
        assert_eq!(status, 200, "the quiet tenant is answered");
        times.lock().expect("nobody panicked").push(took);
    };
    ask_at(&server.address, &request, QUIET_CONNECTIONS, QUIET_PER_S, time, &take);
    let mut times = times.into_inner().expect("nobody panicked");
    times.sort_unstable();
    times[times.len() * 99 / 100].as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Is the noise: says how many it asked, and how many were refused.
pub(crate) fn make_noise(arguments: &[String]) {
    let [address, path, body, rate, millis] = arguments else { panic!("five arguments follow") };
    let (rate, millis) = (rate.parse().expect("a rate"), millis.parse().expect("milliseconds"));
    let counts = Mutex::new((0_u64, 0_u64));
    let take = |status: u16, _| {
        let mut counts = counts.lock().expect("nobody panicked");
        counts.0 += 1;
        counts.1 += u64::from(status == 429);
    };
    let time = Duration::from_millis(millis);
    ask_at(address, &request(path, body), NOISY_CONNECTIONS, rate, time, &take);
    let (asked, refused) = counts.into_inner().expect("nobody panicked");
    println!("{ARGUMENT}{}", json!({"asked": asked, "refused": refused}));
}

fn request(path: &str, body: &str) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Asks so often a second, over so many connections, each a thread of its own. What comes late is asked at once, and its
/// time counts from when it should have been asked; how late a thread wakes up does not count.
fn ask_at(
    address: &str,
    request: &[u8],
    connections: u32,
    per_s: u32,
    time: Duration,
    take: &(impl Fn(u16, Duration) + Sync),
) {
    let began = Instant::now();
    let pace = Duration::from_secs(1) / per_s;
    std::thread::scope(|scope| {
        for first in 0..connections {
            scope.spawn(move || {
                let mut connection = Connection::new(address);
                for at in (first..).step_by(connections as usize).map(|turn| pace * turn) {
                    if at >= time {
                        return;
                    }
                    let due = began + at;
                    let wait = due.saturating_duration_since(Instant::now());
                    std::thread::sleep(wait);
                    let since = if wait.is_zero() { due } else { Instant::now() };
                    let status = connection.ask(request).expect("the server answers");
                    take(status, since.elapsed());
                }
            });
        }
    });
}

/// A connection that is made again when the server has closed it.
struct Connection<'a> {
    address: &'a str,
    stream: Option<TcpStream>,
    answer: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn new(address: &'a str) -> Self {
        Self { address, stream: None, answer: Vec::new() }
    }

    /// The status of the answer.
    fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
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
