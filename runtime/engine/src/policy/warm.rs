//! One instance asked again and again, without a reset. **Unsound**: what one evaluation leaves in the guest's memory
//! the next one sees. It shows what isolation costs, is in no default build, and nothing that decides may use it.

use std::time::{Duration, Instant};

use verdict_core::outcome::Fault;

use super::Policy;
use crate::outcome::Query;

impl Policy {
    /// The times of `count` evaluations of one question, with everything but a pristine state: documents, read set,
    /// fuel, deadline. An instance that is worn out (nothing gives its memory back) is replaced outside the time.
    /// For measurements only.
    ///
    /// # Errors
    /// When an instance cannot be made, or answers not even once.
    pub fn warm_bench(&self, query: &Query<'_>, count: usize) -> Result<Vec<Duration>, Fault> {
        let rule = self.rule(query)?;
        let mut times = Vec::with_capacity(count);
        while times.len() < count {
            let mut instance = self.0.instances.warm()?;
            let before = times.len();
            while times.len() < count {
                let started = Instant::now();
                let evaluated = self.0.instances.ask(&mut instance, self.question(query), rule);
                match evaluated.answered.and_then(|(answer, _)| answer) {
                    Ok(_) => times.push(started.elapsed()),
                    Err(fault) if times.len() == before => return Err(fault),
                    Err(_) => break,
                }
            }
        }
        Ok(times)
    }
}
