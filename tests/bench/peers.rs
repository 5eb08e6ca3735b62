//! The peers that evaluate in process: Open Policy Agent and regorus with the policy of role-based access in their
//! language, Cedar with the example that document sharing is after.

use std::path::Path;
use std::process::Command;

use crate::figures::Figures;
use crate::rounds::Contestant;
use crate::{INPUT, data, library_file};

/// The peers that could be built, each in a process of its own. The others are skipped.
pub(crate) fn start(figures: &mut Figures, gdrive: Option<&Path>) -> Vec<Contestant> {
    let policy = library_file("peer.rego");
    let mut contestants = Vec::new();
    match program("VERDICT_BENCH_PEER_OPA") {
        Ok(mut opa) => {
            contestants.push(Contestant::start("opa", opa.arg(&policy).arg(data()).arg(INPUT)));
        }
        Err(reason) => figures.skip("peer.opa", reason),
    }
    match program("VERDICT_BENCH_PEER_CRATES") {
        Ok(mut regorus) => {
            let regorus = regorus.args(["regorus", &policy]).arg(data()).arg(INPUT);
            contestants.push(Contestant::start("regorus", regorus));
        }
        Err(reason) => figures.skip("peer.regorus", reason),
    }
    match (program("VERDICT_BENCH_PEER_CRATES"), gdrive) {
        (Ok(mut cedar), Some(questions)) => {
            contestants.push(Contestant::start("cedar", cedar.arg("cedar").arg(questions)));
        }
        (Err(reason), _) => figures.skip("peer.cedar", reason),
        (_, None) => figures.skip("peer.cedar", "there are no questions"),
    }
    contestants
}

fn program(setting: &str) -> Result<Command, &'static str> {
    std::env::var_os(setting).map(Command::new).ok_or("it was not built; see `make bench`")
}
