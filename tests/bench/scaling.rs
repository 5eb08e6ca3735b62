//! What a second core gives. The client has its part of the same machine: so server and client have the same cores
//! together, first one, then two, and the client has two threads each time. On one core they share it, on two they
//! share both: whatever a request costs either of them, twice the cores should answer twice as many. The bare server in
//! the same arrangement says how much of that the machine and its loopback allow.

use verdict_tests::server::Site;

use crate::figures::Figures;
use crate::http::{FEW, WARM_UP_SECONDS, body, check, path};
use crate::wrk::{Load, Wrk, median};
use crate::{POLICY, bare};

/// In turns, as with all loads of HTTP.
const ROUNDS: usize = 3;

/// Adds `http.decide.scaling` and what it is made of.
pub(crate) fn measure(figures: &mut Figures, wrk: &Wrk, seconds: u64) {
    let Some((one, two)) = cores() else {
        return figures.skip("http.decide.scaling", "this process may not use two cores");
    };
    let site = Site::new(&[POLICY]);
    let unpinned = site.serve(&["--log", "off"]);
    let answer = site.path("answer.json");
    std::fs::write(&answer, check(&unpinned, false, None)).expect("a file can be written");
    unpinned.stop();
    let names = ["http.bare.1core", "http.bare.2cores", "http.decide.1core", "http.decide.2cores"];
    let mut loads: [Vec<Load>; 4] = Default::default();
    for round in 0..ROUNDS {
        for (cores, [of_bare, of_decide]) in [(&one, [0, 2]), (&two, [1, 3])] {
            eprintln!("bench: scaling, cores {cores} ({} of {ROUNDS})", round + 1);
            let wrk = wrk.on(cores, 2);
            // Each server alone, and each new: it counts its cores when it starts.
            let measure = |url: &str| {
                wrk.load(url, &body(), FEW, WARM_UP_SECONDS.min(seconds));
                wrk.load(url, &body(), FEW, seconds)
            };
            let (process, address) = bare::start(&answer, Some(cores));
            loads[of_bare].push(measure(&format!("http://{address}/")));
            drop(process);
            let server = site.serve_on(cores, &["--log", "off"]);
            check(&server, false, None);
            loads[of_decide].push(measure(&format!("http://{}{}", server.address, path())));
        }
    }
    let rps = loads.map(|loads| median(&loads, |load| load.rps));
    names.iter().zip(rps).for_each(|(name, rps)| figures.add(&format!("{name}.rps"), rps, "1/s"));
    figures.add("http.decide.scaling", rps[3] / rps[2], "");
}

/// The first core that this process may use, and the first two of different cores; none where there is but one.
fn cores() -> Option<(String, String)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim();
    let mut cores = list.split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first
            .parse::<usize>()
            .ok()
            .zip(last.parse::<usize>().ok())
            .map_or(0..0, |(first, last)| first..last + 1)
    });
    let first = cores.next()?;
    // Two threads of one core are not two cores.
    let siblings = |core: usize| {
        std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{core}/topology/core_cpus_list")).ok()
    };
    let all: Vec<usize> = cores.collect();
    let other = all.iter().find(|core| siblings(**core) != siblings(first)).or(all.first())?;
    Some((first.to_string(), format!("{first},{other}")))
}
