//! The subcommands, one file each.

mod activate;
mod api_keys;
mod approve;
mod attest;
mod build;
mod bundle;
mod catalogue;
mod channels;
mod codes;
mod compile_worker;
mod config;
mod copy;
mod cosign;
mod data;
mod eval;
mod events;
mod inspect;
mod keys;
mod keys_new;
mod list;
mod new;
mod policies;
mod promote;
mod pull;
mod push;
mod receipt;
mod replay;
mod revoke;
mod rollback;
pub(crate) mod serve;
mod serve_access;
mod serve_again;
mod serve_authzen;
mod serve_budgets;
mod serve_cache;
mod serve_check;
mod serve_ext_authz;
mod serve_limits;
mod serve_listen;
mod serve_notify;
mod serve_observe;
mod serve_opa;
mod sign;
mod tags;
mod tenants;
mod test;
mod trust;
mod trust_folder;
mod verify;
mod versions;

pub(crate) use keys::random_key;
pub(crate) use trust_folder::Trusted;

use std::process::ExitCode;

use clap::Subcommand;

use crate::error::Error;

#[derive(Subcommand)]
pub(crate) enum Command {
    Keys(keys::Args),
    New(new::Args),
    Build(build::Args),
    Sign(sign::Args),
    Approve(approve::Args),
    Attest(attest::Args),
    Verify(verify::Args),
    Push(push::Args),
    Pull(pull::Args),
    Copy(copy::Args),
    List(list::Args),
    Tags(tags::Args),
    Activate(activate::Args),
    Cosign(cosign::Args),
    Promote(promote::Args),
    Rollback(rollback::Args),
    Channels(channels::Args),
    Data(data::Args),
    Bundle(bundle::Args),
    Tenants(tenants::Args),
    Policies(policies::Args),
    Versions(versions::Args),
    ApiKeys(api_keys::Args),
    Events(events::Args),
    Inspect(inspect::Args),
    Eval(eval::Args),
    Test(test::Args),
    Serve(Box<serve::Args>),
    Config(config::Args),
    Receipt(receipt::Args),
    Replay(replay::Args),
    Trust(trust::Args),
    Revoke(revoke::Args),
    Faults(codes::FaultArgs),
    Refusals(codes::RefusalArgs),
    #[command(hide = true)]
    CompileWorker,
}

impl Command {
    /// Runs the command and shows its report. `json` says what stdout is for.
    ///
    /// # Errors
    /// When it did not do what was asked.
    pub(crate) fn run(self, json: bool) -> Result<ExitCode, Error> {
        let report = match self {
            Self::Keys(args) => keys::run(args),
            Self::New(args) => new::run(&args),
            Self::Build(args) => build::run(&args, json),
            Self::Sign(args) => sign::run(&args),
            Self::Approve(args) => approve::run(&args),
            Self::Attest(args) => attest::run(&args),
            Self::Verify(args) => verify::run(&args),
            Self::Push(args) => push::run(&args),
            Self::Pull(args) => pull::run(args),
            Self::Copy(args) => copy::run(&args),
            Self::List(args) => list::run(&args),
            Self::Activate(args) => activate::run(&args),
            Self::Cosign(args) => cosign::run(&args),
            Self::Promote(args) => promote::run(&args),
            Self::Rollback(args) => rollback::run(&args),
            Self::Channels(args) => channels::run(&args),
            Self::Data(args) => data::run(&args),
            Self::Bundle(args) => bundle::run(&args),
            Self::Tenants(args) => tenants::run(&args),
            Self::Policies(args) => policies::run(&args),
            Self::Versions(args) => versions::run(&args),
            Self::ApiKeys(args) => api_keys::run(&args),
            Self::Events(args) => return events::run(&args, json),
            Self::Tags(args) => tags::run(&args),
            Self::Inspect(args) => inspect::run(&args),
            Self::Eval(args) => eval::run(&args),
            Self::Test(args) => test::run(&args),
            // What the command line says is not all.
            Self::Serve(_) => return serve::run(json),
            Self::Config(args) => config::run(&args),
            Self::Receipt(args) => receipt::run(args),
            Self::Replay(args) => replay::run(&args),
            Self::Trust(args) => trust::run(&args),
            Self::Revoke(args) => revoke::run(&args),
            Self::Faults(_) => Ok(codes::faults()),
            Self::Refusals(_) => Ok(codes::refusals()),
            Self::CompileWorker => return Ok(compile_worker::run()),
        };
        Ok(report?.show(json))
    }
}
