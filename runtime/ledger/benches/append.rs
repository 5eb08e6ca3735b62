//! How many durable appends a second one journal takes, and what one `fdatasync` costs here. `make bench` runs it.
//! Prints a JSON object a figure. The folder is that of the environment's `TMPDIR`: on a RAM disk this means nothing.

use std::collections::VecDeque;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use verdict_ledger::{Append, Config, DirStorage, Ledger, LogName, SigningKey};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Appends under way at any time.
const CONCURRENT: usize = 256;
const LEAF_BYTES: usize = 1_300;
const EVIDENCE_BYTES: usize = 1_000;
const ROUNDS: usize = 3;
const SYNCS: usize = 100;
const SYNC_BYTES: usize = 4_096;

fn main() -> Result<()> {
    let seconds = std::env::var("BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let time = Duration::from_secs(seconds).div_f64(2.0);
    let (mut rates, mut syncs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir()?;
        sync_times(&folder.path().join("sync"), &mut syncs)?;
        rates.push(appends_per_second(&folder.path().join("ledger"), round, time)?);
    }
    rates.sort_by(f64::total_cmp);
    syncs.sort_unstable();
    let middle = |count: usize| count / 2;
    let rate = rates.get(middle(ROUNDS)).copied().unwrap_or_default();
    let sync = syncs.get(middle(syncs.len())).copied().unwrap_or_default();
    println!(r#"{{"name": "ledger.append.rps", "value": {rate:.0}, "unit": "1/s"}}"#);
    println!(r#"{{"name": "ledger.fdatasync.p50", "value": {:.1}, "unit": "µs"}}"#, sync.as_secs_f64() * 1e6);
    Ok(())
}

/// Appends and syncs as a journal does, without a ledger.
fn sync_times(path: &Path, times: &mut Vec<Duration>) -> Result<()> {
    let mut file = std::fs::File::create(path)?;
    for _ in 0..SYNCS {
        file.write_all(&[7; SYNC_BYTES])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    Ok(())
}

fn appends_per_second(folder: &Path, round: usize, time: Duration) -> Result<f64> {
    std::fs::create_dir(folder)?;
    let storage = Arc::new(DirStorage::open(folder)?);
    let key = SigningKey::generate([u8::try_from(round)?; 32]);
    let ledger = Ledger::open(storage, key, Config::new("log.example/bench"))?;
    let log: LogName = "default".parse()?;
    let (leaf, evidence) = ([b'l'; LEAF_BYTES], [b'e'; EVIDENCE_BYTES]);

    let mut under_way: VecDeque<Append> = VecDeque::with_capacity(CONCURRENT);
    let started = Instant::now();
    let mut done: u32 = 0;
    while started.elapsed() < time {
        while under_way.len() < CONCURRENT {
            under_way.push_back(ledger.append(&log, &leaf, &evidence));
        }
        if let Some(oldest) = under_way.pop_front() {
            oldest.wait()?;
            done += 1;
        }
    }
    let rate = f64::from(done) / started.elapsed().as_secs_f64();
    for append in under_way {
        append.wait()?;
    }
    ledger.close()?;
    Ok(rate)
}
