//! Processes with an end: each is waited for with a limit, and none outlives what started it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A process that is killed, by its id, when this is dropped.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command that must succeed within a time, and returns what it printed. Its errors go where ours go.
pub(crate) fn output(command: &mut Command, time_max: Duration) -> String {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut process = Ended(child.unwrap_or_else(|error| panic!("{command:?} does not run: {error}")));
    let mut out = process.0.stdout.take().expect("it was asked for");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    let deadline = Instant::now() + time_max;
    let status = loop {
        match process.0.try_wait().expect("our own child can be waited for") {
            Some(status) => break status,
            None if Instant::now() > deadline => panic!("{command:?} took longer than {time_max:?}"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let text = reader.join().expect("reading does not panic").expect("it prints text");
    assert!(status.success(), "{command:?} failed: {text}");
    text
}

/// The first line that a process prints and that starts so, without that start.
pub(crate) fn line_after(process: &mut Ended, start: &str, time_max: Duration) -> String {
    let out = process.0.stdout.take().expect("it was asked for");
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let deadline = Instant::now() + time_max;
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Some(rest) = line.strip_prefix(start) {
            return rest.trim().into();
        }
    }
    panic!("no line `{start}…` within {time_max:?}");
}
