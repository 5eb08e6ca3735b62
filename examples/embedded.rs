//! Verdict inside a program, without a server: ask, and prove the answer with nothing but the log's key.
//!
//! ```console
//! $ make demo STAY=0        # leaves signed policies, keys and data in target/demo
//! $ cargo run -p verdict-examples --bin embedded -- target/demo/policies target/demo/keys/trust.json target/demo/data
//! ```

use std::error::Error;

use verdict::core::record::{Field, Record};
use verdict::ledger::{TlogProof, VerifierKey};
use verdict::{Config, Host, ReceiptState, Request};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(policies), Some(trust), Some(data)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: embedded POLICIES TRUST DATA [STATE]".into());
    };
    let state = arguments.next().unwrap_or_else(|| "target/embedded".into());
    let host = Host::open(Config { data: Some(data.into()), ..Config::new(policies, trust, state) })?;

    let input = br#"{"user": "eve", "action": "adopt", "type": "cat"}"#;
    let request = Request {
        policy: "role-based-access".parse()?,
        channel: None,
        rule: Some("allow".into()),
        input: input.to_vec(),
        id: None,
        decision_time: None,
        caller: Some(r#"{"name": "embedded example"}"#.into()),
    };
    // The answer comes out when its record is durable.
    let decision = host.decide(request)?.wait()?;
    println!("allow: {}, fuel: {:?}, id: {}", decision.allow, decision.fuel, decision.id);

    // Within a second a checkpoint covers it by itself; this asks for it now.
    host.flush()?;
    let tenant = decision.policy.tenant();
    let ReceiptState::Ready(receipt) = host.receipt(tenant, &decision.id)? else {
        return Err("there is no receipt".into());
    };
    let key: VerifierKey = host.verifier_key(tenant)?.ok_or("the log is off")?.parse()?;

    // From here on nothing of the host is used.
    let proof: TlogProof = receipt.proof().parse()?;
    let leaf = proof.extra.clone().ok_or("the proof holds no record")?;
    let checkpoint = proof.verify(&leaf, &key)?;
    let record = Record::parse(&leaf)?;
    receipt.check_openings(&record)?;
    receipt.check_value(&record, Field::Input, input)?;
    println!("proved: decision {} is entry {} of {}", record.id, proof.index, checkpoint.origin);
    Ok(())
}
