//! Moves connections from a thread that cannot keep up to one that has time.
//!
//! Connections are shared out by number, and what is asked on them is not: a few may have most of it. And another program,
//! often the client, may be busy on the core that a thread keeps to. Both show in what the system says of each thread: how
//! long it ran, and how long it could have run and was not let.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::workers::Worker;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A thread cannot keep up that waits for its core this part of the time.
const WAIT_MAX: f64 = 0.1;
/// Or that has so little left.
const SPARE_MIN: f64 = 0.05;
/// A thread that keeps up takes more on if it has nothing to do this part of the time.
const SPARE_ENOUGH: f64 = 0.15;
/// One in so many of the connections that something was asked on goes at a time, or a single one.
const PART: usize = 16;
/// For how many looks nothing is moved, at most, when what was moved had come back.
const REST_MAX: u32 = 64;

/// What became of a thread's time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Load {
    /// The part in which it ran.
    run: f64,
    /// The part in which it could have run, and something else did.
    wait: f64,
}

impl Load {
    fn spare(self) -> f64 {
        1.0 - self.run - self.wait
    }

    fn keeps_up(self) -> bool {
        self.wait < WAIT_MAX && self.spare() >= SPARE_MIN
    }
}

/// What the system has counted of a thread since it began.
#[derive(Debug, Clone, Copy)]
struct Times {
    run: Duration,
    wait: Duration,
}

impl Times {
    /// None where the system does not count that.
    fn of(worker: &Worker) -> Option<Self> {
        let thread = worker.thread().as_raw_pid();
        Self::parse(&fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?)
    }

    /// Nanoseconds that it ran, nanoseconds that it waited, and how often it ran (the kernel's `sched-stats.rst`).
    fn parse(text: &str) -> Option<Self> {
        let mut numbers =
            text.split_ascii_whitespace().map(|number| number.parse().map(Duration::from_nanos));
        Some(Self { run: numbers.next()?.ok()?, wait: numbers.next()?.ok()? })
    }

    fn load(self, before: Self, elapsed: Duration) -> Load {
        let part = |now: Duration, before: Duration| {
            now.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
        };
        Load { run: part(self.run, before.run), wait: part(self.wait, before.wait) }
    }
}

/// Which thread is to give connections, and to which.
fn relief(loads: &[Load]) -> Option<(usize, usize)> {
    let all = || loads.iter().enumerate();
    // Of those that cannot keep up, the one that waits longest; the core of a busy one that does not wait is its own.
    let (from, _) = all()
        .filter(|(_, load)| !load.keeps_up())
        .max_by(|(_, one), (_, other)| one.wait.total_cmp(&other.wait))?;
    let (to, taker) = all()
        .filter(|(number, load)| *number != from && load.keeps_up())
        .max_by(|(_, one), (_, other)| one.spare().total_cmp(&other.spare()))?;
    (taker.spare() >= SPARE_ENOUGH).then_some((from, to))
}

/// Does not move back and forth what helps nowhere: one connection may be more than a thread can do.
#[derive(Debug, Default)]
struct Calm {
    last: Option<(usize, usize)>,
    patience: u32,
    rest: u32,
}

impl Calm {
    /// The same, if it is time to do it.
    fn pass(&mut self, relief: Option<(usize, usize)>) -> Option<(usize, usize)> {
        if let Some(rest) = self.rest.checked_sub(1) {
            self.rest = rest;
            return None;
        }
        let Some((from, to)) = relief else {
            self.patience = self.patience.saturating_sub(1);
            return None;
        };
        if self.last == Some((to, from)) {
            self.patience = self.patience.saturating_mul(2).clamp(1, REST_MAX);
        }
        self.rest = self.patience;
        self.last = relief;
        relief
    }
}

/// Looks again and again, until it is aborted or the system does not say what became of the threads.
pub(super) async fn balance(workers: Vec<Arc<Worker>>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut calm, mut before) = (Calm::default(), None::<(Instant, Vec<Times>)>);
    loop {
        ticks.tick().await;
        let asked: Vec<_> = workers.iter().map(|worker| worker.look()).collect();
        if asked.iter().all(|asked| *asked == 0) {
            before = None;
            continue;
        }
        let Some(times) = workers.iter().map(|worker| Times::of(worker)).collect::<Option<Vec<_>>>() else {
            tracing::debug!(
                "connections stay where they began: the system does not say how busy threads are"
            );
            return;
        };
        let now = Instant::now();
        if let Some((since, before)) = before.replace((now, times.clone())) {
            let elapsed = now - since;
            let loads: Vec<_> =
                times.iter().zip(before).map(|(times, before)| times.load(before, elapsed)).collect();
            let Some((from, to)) = calm.pass(relief(&loads)) else { continue };
            if let (Some(from), Some(to), Some(asked)) = (workers.get(from), workers.get(to), asked.get(from))
            {
                let count = (asked / PART).max(1);
                tracing::debug!(count, from = ?from.thread(), to = ?to.thread(), "connections are to move");
                from.give(count, to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relief_of(loads: &[(f64, f64)]) -> Option<(usize, usize)> {
        relief(&loads.iter().map(|&(run, wait)| Load { run, wait }).collect::<Vec<_>>())
    }

    #[test]
    fn whoever_cannot_keep_up_gives_to_whoever_has_time() {
        // A client is on the core of the first.
        assert_eq!(relief_of(&[(0.46, 0.26), (0.67, 0.01)]), Some((0, 1)));
        assert_eq!(relief_of(&[(0.47, 0.28), (0.77, 0.01)]), Some((0, 1)));
        // The first has all that is asked.
        assert_eq!(relief_of(&[(0.99, 0.0), (0.1, 0.0)]), Some((0, 1)));
        assert_eq!(relief_of(&[(0.2, 0.0), (0.5, 0.3), (0.6, 0.2), (0.1, 0.0)]), Some((1, 3)));
        // Nobody has time, or everybody has.
        assert_eq!(relief_of(&[(0.42, 0.34), (0.85, 0.02)]), None);
        assert_eq!(relief_of(&[(0.99, 0.0), (0.99, 0.0)]), None);
        assert_eq!(relief_of(&[(0.6, 0.05), (0.1, 0.0)]), None);
        assert_eq!(relief_of(&[(0.4, 0.2), (0.3, 0.11)]), None);
        // Or it is the same.
        assert_eq!(relief_of(&[(0.1, 0.2), (0.99, 0.0)]), None);
        assert_eq!(relief_of(&[(0.1, 0.5)]), None);
        assert_eq!(relief_of(&[]), None);
    }

    #[test]
    fn what_comes_back_is_left_alone_for_longer_and_longer() {
        let mut calm = Calm::default();
        let moved: Vec<_> = (0..200u32).filter(|_| calm.pass(Some((0, 1))).is_some()).collect();
        assert_eq!(moved.len(), 200, "what goes on in one direction goes on");
        let mut looks = Vec::new();
        let mut relief = (1, 0);
        for look in 0..400u32 {
            if calm.pass(Some(relief)).is_some() {
                looks.push(look);
                relief = (relief.1, relief.0);
            }
        }
        let between: Vec<_> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(between[..8], [2, 3, 5, 9, 17, 33, 65, 65]);
        // What is quiet for long is forgiven.
        (0..200).for_each(|_| assert_eq!(calm.pass(None), None));
        assert_eq!(calm.pass(Some(relief)), Some(relief));
        assert_eq!(calm.patience, 1);
    }

    #[test]
    fn the_time_of_a_thread_is_what_the_kernel_says() {
        let times =
            |text: &str| Times::parse(text).map(|times| (times.run.as_nanos(), times.wait.as_nanos()));
        assert_eq!(times("421705 36589 2\n"), Some((421_705, 36_589)));
        assert_eq!(times(""), None);
        assert_eq!(times("1\n"), None);
        assert_eq!(times("1 x 2"), None);
        let of = |run, wait| Times { run: Duration::from_millis(run), wait: Duration::from_millis(wait) };
        let load = of(150, 45).load(of(100, 20), Duration::from_millis(100));
        assert_eq!(load, Load { run: 0.5, wait: 0.25 });
    }
}
