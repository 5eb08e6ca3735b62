//! `verdict trust`: who may do what, signed by root keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use verdict_core::dsse::Envelope;
use verdict_core::key::{PublicKey, Role};
use verdict_core::time::Timestamp;
use verdict_core::trust::{Grant, Roots, Rule, Seen, TRUST_PAYLOAD_TYPE, TrustPolicy};
use verdict_registry::Publish as _;
use verdict_registry::remote::Server;

use super::trust_folder::{self, Signed, TrustFolder, Trusted, unusable};
use crate::clock;
use crate::error::{Error, Problem};
use crate::place::{Place, ServerArgs};
use crate::report::{GOOD, Report};
use crate::signer::{KeyArgs, Signer};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const DAYS_MAX: i64 = 3_650;

/// Say who may do what, signed by root keys that hosts pin
///
/// A folder holds `roots.json`, which every host pins in its own configuration, `trust.json`, which people edit, and
/// `trust-N.dsse`, the versions that root keys signed. Storage and network may then be anybody's: a host checks the
/// chain itself.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: TrustCommand,
}

#[derive(Subcommand)]
enum TrustCommand {
    Init(InitArgs),
    Sign(SignArgs),
    Show(ShowArgs),
    Check(CheckArgs),
    Put(PutArgs),
}

/// Pin root keys, and sign a first trust policy
///
/// A `trust.json` that is in the folder stays as it is and becomes the first signed version.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict trust init trust --key root.key --root BASE64 --threshold 2")]
struct InitArgs {
    /// The folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    /// Another root key, as `verdict keys show` prints it; may be repeated
    #[arg(long = "root", value_name = "BASE64")]
    roots: Vec<PublicKey>,
    /// How many root keys must sign each version
    #[arg(long, value_name = "N", default_value_t = 1)]
    threshold: u32,
    /// How many days the policy holds
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=DAYS_MAX))]
    days: i64,
}

/// Sign `trust.json` as the next version, or add a signature to the newest one
///
/// As long as `trust.json` says what the newest version says, the signature is added to that. Once it says something
/// else, it becomes the next version; so it does with `--renew`, which only moves the end.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict trust sign trust --key root.key")]
struct SignArgs {
    /// The folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    /// Sign a next version that says the same
    #[arg(long)]
    renew: bool,
    /// How many days a next version holds
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=DAYS_MAX))]
    days: i64,
}

/// Show who may do what, in a folder, a trust file or on a server; nothing is verified
#[derive(clap::Args)]
#[command(after_help = "Example: verdict trust show trust")]
struct ShowArgs {
    /// The folder, or a trust file; this folder, if no server is named either
    path: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Check the chain of signed versions and the revocations, as a host does that pins these root keys
#[derive(clap::Args)]
#[command(after_help = "Example: verdict trust check trust
A server: verdict trust check --server https://verdict.example --roots roots.json")]
struct CheckArgs {
    /// The folder; this one, if no server is named either
    dir: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    /// The root keys that you pin, a copy of `roots.json`, for a server
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    roots: Option<PathBuf>,
}

/// Put what root keys signed onto a server: versions that it does not have, and newer revocations
///
/// The root keys stay where they are: sign in a folder, wherever that is, and put what came of it.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict trust put trust --server https://verdict.example")]
struct PutArgs {
    /// The folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    match &args.command {
        TrustCommand::Init(args) => init(args),
        TrustCommand::Sign(args) => sign(args),
        TrustCommand::Show(args) => show(args),
        TrustCommand::Check(args) => check(args),
        TrustCommand::Put(args) => put(args),
    }
}

fn init(args: &InitArgs) -> Result<Report, Error> {
    let folder = TrustFolder(&args.dir);
    let roots_path = folder.roots_path();
    if roots_path.symlink_metadata().is_ok() {
        let message = format!("`{}` exists, and is never written over", roots_path.display());
        let help = "`verdict trust sign` signs the next version, also with other root keys";
        return Err(Error::Unusable(Problem::new("exists", message).help(help)));
    }
    let expires = clock::from_now(args.days.saturating_mul(DAY_MS))?;
    let begun = if folder.draft_path().is_file() { Some(folder.draft()?) } else { None };
    let key = args.key.open(Role::Root)?;
    let mut keys = vec![key.public()];
    keys.extend(args.roots.iter().filter(|root| **root != key.public()));
    let invalid = |error: verdict_core::trust::TrustError| unusable(&roots_path, &error.to_string());
    let roots = Roots::new(keys, args.threshold).map_err(invalid)?;
    let policy = match begun {
        Some(policy) => policy.clone().renewed(policy.version().saturating_add(1), expires),
        None => TrustPolicy::new(1, expires, Vec::new()),
    };
    let policy = policy.map_err(invalid)?.with_root(roots.clone());
    let envelope = sign_new(&policy, &key)?;
    // The root keys come last: without them the folder is not begun.
    folder.write(&folder.draft_path(), policy.render().as_bytes())?;
    folder.write(&folder.signed_path(policy.version()), envelope.render().as_bytes())?;
    folder.write(&roots_path, roots.render().as_bytes())?;
    let mut report = signed(&folder, &policy, &envelope, &[roots]);
    report.row("roots", format!("{}  for every host's own configuration", roots_path.display()));
    Ok(report)
}

fn sign_new(policy: &TrustPolicy, key: &Signer) -> Result<Envelope, Error> {
    let payload =
        policy.payload().map_err(|error| Error::Unusable(Problem::new("trust-file", error.to_string())))?;
    let mut envelope = Envelope::unsigned(TRUST_PAYLOAD_TYPE, payload);
    key.sign(&mut envelope)?;
    Ok(envelope)
}

fn sign(args: &SignArgs) -> Result<Report, Error> {
    let folder = TrustFolder(&args.dir);
    let (draft, chain) = (folder.draft()?, folder.chain()?);
    let last = chain
        .last()
        .ok_or_else(|| unusable(&args.dir, "holds no signed version; begin with `verdict trust init`"))?;
    let (envelope, newest) = opened(&folder, last)?;
    if args.renew || !says_the_same(&draft, &newest)? {
        return sign_next(args, &folder, &draft, &newest);
    }
    let before = match chain.iter().nth_back(1) {
        Some(before) => roots_of(&folder, &opened(&folder, before)?.1)?,
        None => folder.roots()?,
    };
    add_signature(args, &folder, &newest, envelope, &[before, roots_of(&folder, &newest)?])
}

fn opened(folder: &TrustFolder, signed: &Signed) -> Result<(Envelope, TrustPolicy), Error> {
    let path = folder.signed_path(signed.version);
    let envelope = trust_folder::open(&signed.bytes, &path)?;
    let policy =
        TrustPolicy::parse(envelope.payload()).map_err(|refusal| unusable(&path, &refusal.message))?;
    Ok((envelope, policy))
}

fn roots_of(folder: &TrustFolder, policy: &TrustPolicy) -> Result<Roots, Error> {
    let unnamed = || unusable(folder.0, "a signed version must name its root keys in `root`");
    policy.root().cloned().ok_or_else(unnamed)
}

fn add_signature(
    args: &SignArgs,
    folder: &TrustFolder,
    policy: &TrustPolicy,
    mut envelope: Envelope,
    roots: &[Roots],
) -> Result<Report, Error> {
    let key = args.key.open(Role::Root)?;
    check_root(&key, roots)?;
    key.sign(&mut envelope)?;
    folder.write(&folder.signed_path(policy.version()), envelope.render().as_bytes())?;
    Ok(signed(folder, policy, &envelope, roots))
}

fn sign_next(
    args: &SignArgs,
    folder: &TrustFolder,
    draft: &TrustPolicy,
    newest: &TrustPolicy,
) -> Result<Report, Error> {
    // What follows a version that no host takes would be taken by none.
    folder.verified_policy(trust_folder::while_held(newest.expires(), clock::now()?))?;
    let expires = clock::from_now(args.days.saturating_mul(DAY_MS))?;
    let next = draft.clone().renewed(newest.version().saturating_add(1), expires);
    let next = next.map_err(|error| unusable(&folder.draft_path(), &error.to_string()))?;
    let roots = [roots_of(folder, newest)?, roots_of(folder, &next)?];
    let key = args.key.open(Role::Root)?;
    check_root(&key, &roots)?;
    let envelope = sign_new(&next, &key)?;
    folder.write(&folder.signed_path(next.version()), envelope.render().as_bytes())?;
    folder.write(&folder.draft_path(), next.render().as_bytes())?;
    Ok(signed(folder, &next, &envelope, &roots))
}

/// Whether two versions differ in nothing but version and end.
fn says_the_same(one: &TrustPolicy, other: &TrustPolicy) -> Result<bool, Error> {
    let plain = |policy: &TrustPolicy| {
        let same = policy.clone().renewed(1, Timestamp::from_millis(0).unwrap_or(policy.expires()));
        same.map(|policy| policy.render())
            .map_err(|error| Error::Unusable(Problem::new("trust-file", error.to_string())))
    };
    Ok(plain(one)? == plain(other)?)
}

fn check_root(key: &Signer, roots: &[Roots]) -> Result<(), Error> {
    if roots.iter().any(|roots| roots.keys().contains(&key.public())) {
        return Ok(());
    }
    let message = format!("the key {} is no root key of this trust policy", key.public().fingerprint());
    Err(Error::Unusable(Problem::new("key-file", message).help("`verdict trust show` lists the root keys")))
}

/// What was signed, by whom, and who else must: enough of each of `roots`, those of the version before and its own.
fn signed(folder: &TrustFolder, policy: &TrustPolicy, envelope: &Envelope, roots: &[Roots]) -> Report {
    let keys: BTreeMap<_, _> =
        roots.iter().flat_map(Roots::keys).map(|key| (key.fingerprint().to_string(), key)).collect();
    let signers: Vec<_> = envelope.signers(keys.into_values()).iter().map(|key| key.fingerprint()).collect();
    let missing = |roots: &Roots| {
        let signed = envelope.signers(roots.keys()).len();
        usize::try_from(roots.threshold()).unwrap_or(usize::MAX).saturating_sub(signed)
    };
    let missing = roots.iter().map(missing).max().unwrap_or_default();
    let path = folder.signed_path(policy.version());
    let mut report = Report::new(json!({
        "trust": path, "version": policy.version(), "expires": policy.expires(), "signers": signers,
        "missing": missing, "roots": folder.roots_path(),
    }));
    report.row("signed", format!("{}, version {} of the trust policy", path.display(), policy.version()));
    for signer in &signers {
        report.row("by key", signer);
    }
    report.row("expires", policy.expires());
    match missing {
        0 => report.row("next", "`verdict trust check` checks it as a host does"),
        _ => report.row("missing", format!("signatures of {missing} more root keys: `verdict trust sign`")),
    };
    report
}

fn show(args: &ShowArgs) -> Result<Report, Error> {
    let server = if args.path.is_some() { None } else { args.server.find()? };
    let path = args.path.as_deref().unwrap_or(Path::new("."));
    let policy = match server {
        Some((server, _)) => newest_on(&server)?,
        None if path.is_dir() => newest_or_draft(&TrustFolder(path))?,
        None => crate::evaluation::trust(path)?,
    };
    let json = serde_json::from_str::<Value>(&policy.render()).unwrap_or_default();
    let mut report = Report::new(json!({ "verified": false, "policy": json }));
    describe(&mut report, &policy);
    Ok(report)
}

fn newest_on(server: &Server) -> Result<TrustPolicy, Error> {
    let chain = server.newest()?.trust;
    let policies = chain.iter().filter_map(|envelope| trust_folder::policy_of(envelope));
    policies.max_by_key(TrustPolicy::version).ok_or_else(|| {
        let problem = Problem::new("trust", format!("`{}` has no trust policy yet", server.url()));
        Error::Unusable(problem.help("`verdict trust put` puts one there"))
    })
}

fn newest_or_draft(folder: &TrustFolder) -> Result<TrustPolicy, Error> {
    match folder.chain()?.last() {
        Some(last) => Ok(opened(folder, last)?.1),
        None => folder.draft(),
    }
}

fn describe(report: &mut Report, policy: &TrustPolicy) {
    report.row("version", policy.version()).row("expires", policy.expires());
    if let Some(roots) = policy.root() {
        report.row("next by", format!("{} of {} root keys", roots.threshold(), roots.keys().len()));
        for key in roots.keys() {
            report.row("root key", key.fingerprint());
        }
    }
    for role in verdict_core::trust::Role::ALL {
        for grant in policy.grants(role) {
            report.row(&role.to_string(), grant_line(grant));
        }
    }
    for rule in policy.rules() {
        report.row("rule", rule_line(rule));
    }
}

fn grant_line(grant: &Grant) -> String {
    let mut line = format!("{}, key {}", grant.person, grant.public.fingerprint());
    let mut add = |what: &str, values: Vec<String>| {
        if !values.is_empty() {
            line.push_str(&format!(", {what} {}", values.join(", ")));
        }
    };
    add("for", strings(&grant.policies));
    add("in", strings(&grant.channels));
    add("says", grant.predicates.clone());
    add("from", grant.not_before.iter().map(Timestamp::to_string).collect());
    add("until", grant.not_after.iter().map(Timestamp::to_string).collect());
    line
}

fn rule_line(rule: &Rule) -> String {
    let channels =
        if rule.channels.is_empty() { "every channel".into() } else { strings(&rule.channels).join(", ") };
    let mut line = format!(
        "{} in {channels}: {} approvals, {} releases",
        strings(&rule.policies).join(", "),
        rule.approvals,
        rule.releases
    );
    for statement in &rule.statements {
        line.push_str(&format!(", `{}` by {}", statement.predicate, statement.signers));
    }
    line
}

fn strings<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}

fn check(args: &CheckArgs) -> Result<Report, Error> {
    let now = clock::now()?;
    let server = if args.dir.is_some() { None } else { args.server.find()? };
    let folder = TrustFolder(args.dir.as_deref().unwrap_or(Path::new(".")));
    let trusted = match &server {
        Some((server, profile)) => {
            let roots = Place::pinned(args.roots.as_ref(), profile.as_ref())?;
            Trusted::verified(&roots, &server.newest()?, now)?
        }
        None => folder.verified(now)?,
    };
    trusted.basis(&Seen::default(), now).check()?;
    let mut report = checked(&trusted);
    if server.is_none() && !says_the_same(&folder.draft()?, &trusted.policy)? {
        report.warn("`trust.json` says something else than the newest signed version; `verdict trust sign` makes it count");
    }
    Ok(report)
}

fn checked(trusted: &Trusted) -> Report {
    let policy = &trusted.policy;
    let mut report = Report::new(json!({
        "ok": true, "version": policy.version(), "digest": policy.digest(), "expires": policy.expires(),
        "revocations": trusted.revocations.as_ref().map(|revocations| json!({
            "sequence": revocations.document().sequence, "expires": revocations.document().expires,
        })),
    }));
    report.line(format!("{GOOD}ok{GOOD:#}: a host that pins these root keys goes by it"));
    describe(&mut report, policy);
    if let Some(revocations) = &trusted.revocations {
        let document = revocations.document();
        let count = document.keys.len() + document.versions.len() + document.digests.len();
        report.row(
            "revoked",
            format!("{count} entries, sequence {}, until {}", document.sequence, document.expires),
        );
    }
    report
}

fn put(args: &PutArgs) -> Result<Report, Error> {
    let (folder, server) = (TrustFolder(&args.dir), args.server.required()?);
    // What no host would take is not put where hosts find it.
    let trusted = folder.verified(clock::now()?)?;
    let there = server.newest()?;
    let version = |envelope: &Vec<u8>| trust_folder::policy_of(envelope).map(|policy| policy.version());
    let newest = there.trust.iter().filter_map(version).max().unwrap_or(0);
    let mut versions = Vec::new();
    for signed in folder.chain()?.into_iter().filter(|signed| signed.version > newest) {
        server.put_trust(signed.version, &signed.bytes)?;
        versions.push(signed.version);
    }
    let own = trusted.revocations.as_ref().map(|revocations| revocations.document().sequence);
    let theirs = there.revocations.as_deref().and_then(trust_folder::sequence_of);
    let revocations = own.filter(|_| own > theirs);
    if let (Some(_), Some(envelope)) = (revocations, folder.revocations()?) {
        server.put_revocations(&envelope)?;
    }
    let mut report = Report::new(
        json!({ "server": server.url().to_string(), "versions": versions, "revocations": revocations }),
    );
    report.row("server", server.url());
    for version in &versions {
        report.row("put", format!("version {version} of the trust policy"));
    }
    if let Some(sequence) = revocations {
        report.row("put", format!("revocations, sequence {sequence}"));
    }
    if versions.is_empty() && revocations.is_none() {
        report.line("it has all of it already");
    }
    Ok(report)
}
