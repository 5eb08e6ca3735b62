//! Programs that take turns: each measures a short round when it is told to, so that a machine that changes its speed
//! does it to all, and what they are compared on is measured at nearly the same time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::figures::{CALIBRATION, Figures};
use crate::process::Ended;

/// Rounds of everything.
const ROUNDS: usize = 25;
/// What a program does before its first round: it loads, compiles and checks.
const PREPARING_TIME_MAX: Duration = Duration::from_secs(120);
const ROUND_TIME_MAX: Duration = Duration::from_secs(60);

/// What a program prints when it is ready, and after each round.
const END: &str = "end";

/// One program, waiting for its turn.
pub(crate) struct Contestant {
    name: &'static str,
    // Before the process, so that its end is what the process sees first.
    turns: ChildStdin,
    lines: Receiver<String>,
    _process: Ended,
}

impl Contestant {
    /// Starts a program; it prepares itself while others are started.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = Ended(child.unwrap_or_else(|error| panic!("{command:?} does not run: {error}")));
        let turns = process.0.stdin.take().expect("it was asked for");
        let out = process.0.stdout.take().expect("it was asked for");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { name, turns, lines, _process: process }
    }

    /// What it prints until it says that it is done.
    fn printed(&self, time_max: Duration) -> Vec<Value> {
        let deadline = Instant::now() + time_max;
        let mut objects = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line == END => return objects,
                Ok(line) if line.starts_with('{') => {
                    objects.push(serde_json::from_str(&line).expect("what it prints is JSON"));
                }
                Ok(_) => {}
                Err(error) => panic!("`{}` did not finish its turn: {error}", self.name),
            }
        }
    }

    fn round(&mut self) -> Vec<Value> {
        writeln!(self.turns).unwrap_or_else(|error| panic!("`{}` has ended: {error}", self.name));
        self.printed(ROUND_TIME_MAX)
    }
}

/// The best of each figure so far, in the order in which they came.
#[derive(Default)]
struct Best {
    order: Vec<String>,
    values: BTreeMap<String, (f64, String)>,
    calibrations: BTreeMap<&'static str, f64>,
}

impl Best {
    /// The lowest time, the highest rate: what the machine can do when nothing else happens.
    fn take(&mut self, contestant: &'static str, figure: &Value) {
        let text = |member: &str| figure[member].as_str().expect("a figure has a name and a unit").to_owned();
        let (name, unit) = (text("name"), text("unit"));
        let value = figure["value"].as_f64().expect("a figure has a value");
        if name == CALIBRATION {
            let lowest = self.calibrations.entry(contestant).or_insert(value);
            *lowest = lowest.min(value);
        }
        let Some((best, unit)) = self.values.get_mut(&name) else {
            self.order.push(name.clone());
            self.values.insert(name, (value, unit));
            return;
        };
        *best = if unit == "1/s" { best.max(value) } else { best.min(value) };
    }
}

/// Lets all take turns, compares their answers and adds their figures.
pub(crate) fn measure(figures: &mut Figures, mut contestants: Vec<Contestant>) {
    let mut answers: BTreeMap<String, (String, &str)> = BTreeMap::new();
    let mut best = Best::default();
    for contestant in &contestants {
        for object in contestant.printed(PREPARING_TIME_MAX) {
            if let Some(name) = object["answers"].as_str() {
                let theirs = object["value"].as_str().expect("answers are digits").to_owned();
                let (ours, who) =
                    answers.entry(name.into()).or_insert_with(|| (theirs.clone(), contestant.name));
                assert_eq!(*ours, theirs, "`{who}` and `{}` answer `{name}` otherwise", contestant.name);
            } else if let Some(note) = object["note"].as_str() {
                figures.note(note.into());
            } else {
                best.take(contestant.name, &object);
            }
        }
    }
    for round in 0..ROUNDS {
        eprintln!("bench: decisions and peers ({} of {ROUNDS})", round + 1);
        for contestant in &mut contestants {
            let name = contestant.name;
            contestant.round().iter().for_each(|figure| best.take(name, figure));
        }
    }
    for name in &best.order {
        let (value, unit) = &best.values[name];
        figures.add(name, *value, unit);
    }
    let each: Vec<String> =
        best.calibrations.iter().map(|(name, value)| format!("{name} {value:.0}")).collect();
    figures.note(format!("the loop of arithmetic at its fastest, ns: {}", each.join(", ")));
}
