//! The decision cache: what a look-up takes, and from which cost of an evaluation on it pays.
//!
//! Questions come in batches that one thread answers, so that what HTTP takes is shared by many, and is the same for all.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use verdict_tests::server::{Server, Site};

use crate::POLICY;
use crate::figures::Figures;

/// As many as are evaluated on one thread.
const ITEMS: usize = 60;
const BATCHES: usize = 300;
const PATIENCE: Duration = Duration::from_secs(30);

/// What the same batches took, each: in microseconds an item.
#[derive(Default)]
struct Took {
    whole: Vec<f64>,
    /// The evaluation, or the look-up in its place, as the server says.
    evaluation: Vec<f64>,
}

/// Adds the figures of `cache.*`.
pub(crate) fn measure(figures: &mut Figures) {
    let (site, cached_site) = (Site::new(&[POLICY]), Site::new(&[POLICY]));
    let plain = site.serve(&["--log", "off"]);
    let cached = cached_site.serve(&["--log", "off", "--cache-policy", &format!("default/{POLICY}")]);
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
    let (mut evaluated, mut missed, mut hit) = (Took::default(), Took::default(), Took::default());
    for batch in 0..BATCHES {
        // Nobody asked for these before.
        let body = body(batch);
        evaluated.ask(&agent, &plain, &body, None);
        missed.ask(&agent, &cached, &body, Some("miss"));
        hit.ask(&agent, &cached, &body, Some("hit"));
    }
    let saved = evaluated.whole() - hit.whole();
    let cost = missed.whole() - evaluated.whole();
    figures.add("cache.hit.us", median(&mut hit.evaluation), "µs");
    figures.add("cache.evaluated.us", median(&mut evaluated.evaluation), "µs");
    figures.add("cache.saved.us", saved, "µs");
    figures.add("cache.miss.cost.us", cost, "µs");
    // What a policy must cost so that with half of the questions found the other half is paid for.
    figures.add("cache.pays_from.us", median(&mut evaluated.evaluation) - saved + cost.max(0.0), "µs");
    figures.note(format!("the cache: {BATCHES} batches of {ITEMS} questions to {POLICY}, nine reads each"));
}

/// A batch of questions that differ in what is read.
fn body(batch: usize) -> String {
    let item = |item: usize| json!({ "input": { "user": "bob", "action": format!("action-{batch}-{item}"), "type": "cat" } });
    json!({ "items": (0..ITEMS).map(item).collect::<Vec<_>>() }).to_string()
}

impl Took {
    fn ask(&mut self, agent: &ureq::Agent, server: &Server, body: &str, cached: Option<&str>) {
        let url = format!("http://{}/v1/tenants/default/policies/{POLICY}/batch?metrics", server.address);
        let began = Instant::now();
        let mut answer = agent.post(url).content_type("application/json").send(body).expect("it answers");
        let text = answer.body_mut().read_to_string().expect("it can be read");
        let whole = began.elapsed();
        self.whole.push(whole.as_secs_f64() * 1e6 / ITEMS as f64);
        let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
        let items = answer["items"].as_array().expect("a batch has items");
        assert_eq!(items.len(), ITEMS);
        for item in items {
            let decision = &item["decision"];
            assert_eq!(decision["cached"].as_str(), cached, "not what was to be timed: {decision}");
            let ns = decision["metrics"]["evaluation_ns"].as_f64().expect("it was asked for");
            self.evaluation.push(ns / 1e3);
        }
    }

    fn whole(&mut self) -> f64 {
        median(&mut self.whole)
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
