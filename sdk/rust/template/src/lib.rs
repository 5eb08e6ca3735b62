//! May a user do something with a document? Replace this with your own question.

use serde::Deserialize;
use verdict_sdk::{Decision, Reason};

verdict_sdk::policy! { "allow" => allow }

#[derive(Deserialize)]
struct Input {
    user: String,
    action: String,
    owner: String,
}

fn allow(input: Input) -> Decision {
    if input.user == input.owner {
        return Decision::allow().because(Reason::new("owner", "the user owns the document").on("/owner"));
    }
    if input.action == "read" {
        return Decision::allow().because(Reason::new("reader", "everyone may read").on("/action"));
    }
    Decision::deny().because(Reason::new("not-owner", "only the owner may do this").on("/user").on("/owner"))
}

#[cfg(test)]
mod tests {
    use verdict_sdk::testing::run_cases;

    #[test]
    fn every_case_comes_out_as_expected() {
        run_cases(include_str!("../cases/allow.json"), super::decide).unwrap();
    }
}
