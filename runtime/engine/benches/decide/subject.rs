//! One policy, loaded for every way to evaluate, and one round of its figures.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use verdict_engine::{Document, DocumentLimits, Engine, Outcome, Policy, Query};

use crate::clock::{percentile, print};
use crate::plan::{Measure, Plan, Question, document};
use crate::{Result, artifact};

/// How often the question of a policy with one question is asked in a round.
const EVALUATIONS: usize = 2_000;
/// How often each question of a policy with many is asked in a row. The peer's is asked as often.
const REPEATS: usize = 8;
/// How long all threads are kept busy: so shortly, and so often in a round, that nothing else may run beside them once.
const BUSY: Duration = Duration::from_millis(25);
const BUSY_TIMES: usize = 4;

/// An engine for each way to make instances.
pub(crate) struct Engines {
    pub(crate) pristine: Engine,
    pub(crate) new: Engine,
    pub(crate) unmetered: Engine,
}

pub(crate) struct Subject {
    figure: String,
    measures: Vec<Measure>,
    tails: bool,
    questions: Vec<Question>,
    data: Option<Document>,
    pristine: Policy,
    new: Policy,
    unmetered: Policy,
}

impl Subject {
    /// Loads the policy and checks that it answers as expected, and alike, with the same fuel, in both ways.
    pub(crate) fn load(plan: &Plan, engines: &Engines) -> Result<Self> {
        let admitted = artifact::admitted(&plan.build)?;
        let load = |engine: &Engine| engine.load(&admitted).map_err(|refusal| refusal.to_string());
        let data = plan.data.as_ref().map(std::fs::read_to_string).transpose()?;
        let subject = Self {
            figure: plan.figure.clone(),
            measures: plan.measures.clone(),
            tails: plan.tails,
            questions: Question::read(&plan.questions)?,
            data: data.as_deref().map(document).transpose()?,
            pristine: load(&engines.pristine)?,
            new: load(&engines.new)?,
            unmetered: load(&engines.unmetered)?,
        };
        if let Some(why) = subject.pristine.new_instances_because() {
            return Err(format!("`{}` is not reset in place: {why}", subject.figure).into());
        }
        let answers = subject.questions.iter().map(|question| subject.check(question));
        let answers = answers.collect::<Result<String>>()?;
        if let Some(name) = &plan.answers {
            println!(r#"{{"answers": "{name}", "value": "{answers}"}}"#);
        }
        Ok(subject)
    }

    /// What is timed must be the work that is claimed: the right answer, from documents, with a read set and fuel.
    fn check(&self, question: &Question) -> Result<char> {
        let query = question.query(self.data.as_ref());
        let new = self.new.evaluate(&query);
        if value(&self.unmetered.evaluate(&query))? != value(&new)? {
            return Err(format!("`{}` answers differently where no fuel is counted", self.figure).into());
        }
        // The first is in an instance that is new, the second in one that was reset.
        for outcome in [self.pristine.evaluate(&query), self.pristine.evaluate(&query)] {
            if outcome.fuel != new.fuel || value(&outcome)? != value(&new)? {
                return Err(format!("`{}`: {outcome:?} is not {new:?}", self.figure).into());
            }
        }
        let answer = value(&new)?.ok_or_else(|| format!("`{}` does not answer", self.figure))?;
        let as_expected = question.expect.as_ref().is_none_or(|expect| *expect == answer);
        if !as_expected || new.fuel == 0 || new.reads.iter().next().is_none() {
            return Err(format!("`{}`: not the answer that was to be timed: {new:?}", self.figure).into());
        }
        Ok(if answer == true { '1' } else { '0' })
    }

    /// Measures everything once.
    pub(crate) fn round(&self) -> Result<()> {
        for measure in &self.measures {
            let (name, mut times) = match measure {
                Measure::Pristine => ("pristine", self.times(|it| evaluation(&self.pristine, it))),
                Measure::Nofuel => ("nofuel", self.times(|it| evaluation(&self.unmetered, it))),
                Measure::New => ("new", self.times(|it| evaluation(&self.new, it))),
                Measure::Text => ("text", self.text_times()?),
                Measure::Warm => ("warm", self.warm_times()?),
                Measure::Threads => {
                    for threads in [1, 2] {
                        let rates = (0..BUSY_TIMES).map(|_| self.throughput(threads));
                        let best = rates.collect::<Result<Vec<f64>>>()?.into_iter().fold(0.0, f64::max);
                        print(&format!("{}.threads{threads}.per_s", self.figure), best, "1/s");
                    }
                    continue;
                }
            };
            let name = format!("{}.{name}", self.figure);
            print(&format!("{name}.p50"), percentile(&mut times, 50).as_secs_f64() * 1e6, "µs");
            if self.tails && matches!(measure, Measure::Pristine | Measure::New) {
                print(&format!("{name}.p99"), percentile(&mut times, 99).as_secs_f64() * 1e6, "µs");
            }
        }
        Ok(())
    }

    /// Every question, so often in a row that what it needs is near, as it is when one policy is asked all the time.
    fn times(&self, evaluate: impl Fn(&Query<'_>) -> Duration) -> Vec<Duration> {
        let repeats = if self.questions.len() == 1 { EVALUATIONS } else { REPEATS };
        let queries = self.questions.iter().map(|question| question.query(self.data.as_ref()));
        queries.flat_map(|query| (0..repeats).map(|_| evaluate(&query)).collect::<Vec<_>>()).collect()
    }

    /// From the bytes that came in to the outcome.
    fn text_times(&self) -> Result<Vec<Duration>> {
        let question = self.first()?;
        let limits = DocumentLimits::default();
        let times = (0..EVALUATIONS).map(|_| {
            let bytes = question.input.text().as_bytes().to_vec();
            let started = Instant::now();
            let input = Document::parse(black_box(bytes), &limits)?;
            let outcome =
                self.pristine.evaluate(&Query { input: &input, ..question.query(self.data.as_ref()) });
            let time = started.elapsed();
            black_box(outcome);
            Ok(time)
        });
        times.collect()
    }

    fn warm_times(&self) -> Result<Vec<Duration>> {
        let question = self.first()?;
        let times = self.new.warm_bench(&question.query(self.data.as_ref()), EVALUATIONS);
        times.map_err(|fault| format!("the warm instance does not answer: {fault:?}").into())
    }

    /// Decisions a second of so many threads that do nothing else.
    fn throughput(&self, threads: u32) -> Result<f64> {
        let question = self.first()?;
        let start = Barrier::new(usize::try_from(threads)?);
        let busy = || {
            // An input of its own, as every request has.
            let input = Document::parse(question.input.text(), &DocumentLimits::default()).ok();
            let query = Query {
                input: input.as_ref().unwrap_or(&question.input),
                ..question.query(self.data.as_ref())
            };
            start.wait();
            let started = Instant::now();
            let mut count = 0_u32;
            while started.elapsed() < BUSY {
                black_box(self.pristine.evaluate(&query));
                count += 1;
            }
            f64::from(count) / started.elapsed().as_secs_f64()
        };
        let rates = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(busy)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().map_err(|_| "a thread panicked"))
                .sum::<std::result::Result<f64, _>>()
        });
        Ok(rates?)
    }

    fn first(&self) -> Result<&Question> {
        self.questions.first().ok_or_else(|| format!("`{}` has no question", self.figure).into())
    }
}

fn value(outcome: &Outcome) -> Result<Option<serde_json::Value>> {
    let answer = outcome.result.as_ref().map_err(|fault| format!("the policy faults: {fault:?}"))?;
    Ok(answer.value.as_deref().map(serde_json::from_str).transpose()?)
}

fn evaluation(policy: &Policy, query: &Query<'_>) -> Duration {
    let started = Instant::now();
    let outcome = policy.evaluate(query);
    let time = started.elapsed();
    black_box(outcome);
    time
}
