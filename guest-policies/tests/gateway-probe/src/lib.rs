//! For tests of gateways: the request that is decided on says what to answer. Never for a real gateway.

use serde::Serialize;
use serde_json::Value;
use verdict_sdk::{Decision, Failure, input};

verdict_sdk::policy! { "probe" => probe, "closed" => closed }

/// The input as it came, for the test to look at.
#[derive(Serialize)]
struct Echo {
    allow: bool,
    body: String,
}

fn probe() -> Result<Decision, Failure> {
    let said = input::text("/attributes/request/http/headers/x-probe")?;
    match said.as_str() {
        "echo" => Decision::value(&Echo { allow: false, body: input::json("").unwrap_or_default() }),
        // What is not optimised away, and takes fuel.
        "burn" => loop {
            core::hint::black_box(());
        },
        json => {
            let value: Value = serde_json::from_str(json)
                .map_err(|error| Failure::invalid_input("x-probe", error.to_string()))?;
            Decision::value(&value)
        }
    }
}

fn closed() -> Decision {
    Decision::deny()
}
