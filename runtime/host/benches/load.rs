//! What many policies cost a host that follows a registry: the time until all of them answer, with everything compiled
//! before, and the memory of each. `make bench` runs it; `VERDICT_BENCH_BUILD` is the build of a policy in Rust.
//!
//! Each of the policies is that one, with a section of random bytes that makes it another component, 64 KiB long. A start is a new
//! process that opens the state folder of the last one: it reads and verifies every document and every artifact, loads the
//! machine code from the compile cache, and is ready when [`Host::open`] returns. What is prepared stays in
//! `target/bench/load` for the next run. Prints a JSON object a figure; what came of each start on stderr.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use verdict::core::artifact::UnverifiedArtifact;
use verdict::core::digest::Digest;
use verdict::core::dsse::Envelope;
use verdict::core::key::SecretKey;
use verdict::core::manifest::Manifest;
use verdict::core::name::{ChannelName, PolicyName, Tenant};
use verdict::core::refusal::Refusal;
use verdict::core::statement::sign_manifest;
use verdict::core::time::Timestamp;
use verdict::core::trust::{ChannelState, Release, Roots, Share, SignedDocument, TRUST_PAYLOAD_TYPE};
use verdict::engine::Instances;
use verdict::registry::{Documents, Layout, Source, Tree};
use verdict::{Config, Host, PolicyStatus, Registry, Request};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const POLICIES: usize = 1_000;
/// As many as the sandbox keeps memory of when their instances are gone, and some more.
const FEW: usize = 600;
const COMPONENT_BYTES: usize = 64 << 10;
const STARTS: usize = 5;
const ROOT: u8 = 1;
const AUTHOR: u8 = 2;
const RELEASER: u8 = 3;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, how @ ("compile" | "start"), folder, count] => {
            start(Path::new(folder), count.parse()?, *how == "compile")
        }
        _ => measure(),
    }
}

fn measure() -> Result<()> {
    let build =
        std::env::var_os("VERDICT_BENCH_BUILD").ok_or("VERDICT_BENCH_BUILD is the build of a policy")?;
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench/load");
    let (full, few) = (target.join("full"), target.join("few"));
    prepare(&full, Path::new(&build), POLICIES, None)?;
    prepare(&few, Path::new(&build), FEW, Some(&full))?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(started("start", &full, POLICIES)?);
    }
    // A host with fewer has read its own program and filled the sandbox's pool, too: the difference is the policies'.
    let with_few = started("start", &few, FEW)?;
    let per_policy = |kb: f64, few_kb: f64| (kb - few_kb) / (POLICIES - FEW) as f64;
    starts.sort_by(|a, b| a.ms.total_cmp(&b.ms));
    let median = starts.get(STARTS / 2).ok_or("it was started")?;
    eprintln!("with {FEW} policies: {with_few:?}");
    print("load.start.1000.ms", median.ms, "ms");
    print("load.memory.per_policy.kb", per_policy(median.kb, with_few.kb), "kB");
    print("load.memory.per_policy.asked.kb", per_policy(median.asked_kb, with_few.asked_kb), "kB");
    Ok(())
}

/// What came of one start.
#[derive(Debug)]
struct Started {
    ms: f64,
    /// Resident memory, and that of files without a name.
    kb: f64,
    /// The same when every policy was asked once.
    asked_kb: f64,
}

/// Opens the host in a process of its own; it may only `compile` what a `start` finds compiled.
fn started(how: &str, folder: &Path, count: usize) -> Result<Started> {
    // The records of earlier runs are not what is measured.
    let _ = fs::remove_dir_all(folder.join("state/log"));
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args([how, text(folder)?, &count.to_string()]).output()?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("the start failed: {out}{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    eprint!("{out}");
    let mut numbers = out.split_whitespace().map(str::parse);
    let mut next = || numbers.next().ok_or("the start prints numbers");
    Ok(Started { ms: next()??, kb: next()??, asked_kb: next()?? })
}

fn text(path: &Path) -> std::io::Result<&str> {
    path.to_str().ok_or_else(|| std::io::Error::other("the path is not UTF-8"))
}

/// Opens the host, says what it took, asks every policy once and says what it takes then.
fn start(folder: &Path, count: usize, may_compile: bool) -> Result<()> {
    let compiled = || fs::read_dir(folder.join("state/compiled")).map_or(0, Iterator::count);
    let before = compiled();
    let registry = Registry { source: Arc::new(Folder::open(folder)?), roots: roots()? };
    let config =
        Config { instances: Instances::Protected, ..Config::following(registry, folder.join("state")) };
    let began = Instant::now();
    let host = Host::open(config)?;
    let ms = began.elapsed().as_secs_f64() * 1e3;
    // Before this program takes memory of its own for each of them.
    let kb = memory_kb()?;
    let policies: Vec<_> = host.policies().iter().map(first_rule).collect();
    if policies.len() != count || (!may_compile && compiled() != before) {
        return Err(format!(
            "{} are loaded, {} of them compiled: {:?}",
            policies.len(),
            compiled(),
            host.quarantine().first()
        )
        .into());
    }
    for (policy, rule) in policies {
        let asked = Request {
            policy,
            channel: None,
            rule,
            input: b"{}".to_vec(),
            id: None,
            decision_time: None,
            caller: None,
        };
        let _answered_or_faulted = host.decide(asked)?.wait()?;
    }
    println!("{ms:.0} {kb} {}", memory_kb()?);
    Ok(())
}

fn first_rule(policy: &PolicyStatus) -> (PolicyName, Option<String>) {
    (policy.name.clone(), policy.manifest.rules.first().map(|rule| rule.name.to_string()))
}

/// What this process has of the machine's memory: resident, and in files without a name that it may not have mapped.
fn memory_kb() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let of = |name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
    };
    let resident = of("RssAnon:").zip(of("RssFile:")).map(|(anonymous, file)| anonymous + file);
    let mut unnamed_bytes = 0;
    for file in fs::read_dir("/proc/self/fd")? {
        let path = file?.path();
        if fs::read_link(&path).is_ok_and(|name| name.to_string_lossy().starts_with("/memfd:")) {
            unnamed_bytes += std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path)?) * 512;
        }
    }
    Ok(resident.ok_or("the system says what is resident")? + unnamed_bytes / 1024)
}

/// The documents of a tree; artifacts by their digest, each in a folder of its own.
#[derive(Debug)]
struct Folder {
    tree: Tree,
    artifacts: PathBuf,
}

impl Folder {
    fn open(folder: &Path) -> Result<Self> {
        let tree = Tree::create(&folder.join("registry"))?;
        Ok(Self { artifacts: tree.path().join("artifacts"), tree })
    }
}

impl Source for Folder {
    fn documents(&self) -> std::result::Result<Documents, Refusal> {
        self.tree.documents()
    }

    fn artifact(&self, _: &PolicyName, image: &Digest) -> std::result::Result<UnverifiedArtifact, Refusal> {
        Layout::open(&self.artifacts.join(image.hex()))?.fetch()
    }

    fn data(
        &self,
        tenant: &Tenant,
        content: &Digest,
        bytes_max: u64,
    ) -> std::result::Result<Vec<u8>, Refusal> {
        self.tree.data(tenant, content, bytes_max)
    }

    fn wait(&self, timeout: Duration) {
        std::thread::sleep(timeout);
    }
}

/// Fills a folder with policies, their channels and the state of a host that has compiled them, unless it was done;
/// `like` another folder, which has compiled all of them.
fn prepare(folder: &Path, build: &Path, count: usize, like: Option<&Path>) -> Result<()> {
    let manifest = fs::read_to_string(build.join("manifest.json"))?;
    let made_of = format!("{count} {} {}", Digest::of(manifest.as_bytes()), now()?.millis() / 86_400_000 / 7);
    let mark = folder.join("made-of");
    if fs::read_to_string(&mark).is_ok_and(|text| text == made_of) {
        // What changes the machine code is compiled now.
        return started("compile", folder, count).map(drop);
    }
    let _ = fs::remove_dir_all(folder);
    let source = Folder::open(folder)?;
    put_trust(&source.tree)?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest)?;
    let digest: Digest = serde_json::from_value(manifest.get("component").cloned().unwrap_or_default())?;
    let component = fs::read(build.join("oci/blobs/sha256").join(digest.hex()))?;
    for number in 0..count {
        publish(&source, &manifest, &padded(&component, number)?, number)?;
    }
    if let Some(like) = like {
        for part in ["keys", "compiled"] {
            let (from, to) = (like.join("state").join(part), folder.join("state").join(part));
            fs::create_dir_all(&to)?;
            for file in fs::read_dir(&from)? {
                let file = file?;
                fs::copy(file.path(), to.join(file.file_name()))?;
            }
        }
    }
    eprintln!("compiling what is not compiled of {count} policies");
    started("compile", folder, count)?;
    Ok(fs::write(mark, made_of)?)
}

fn put_trust(tree: &Tree) -> Result<()> {
    let grant = |person: &str, seed: u8| json!({"person": person, "public": key(seed).public(), "policies": ["bench/*"]});
    let trust = json!({
        "format": "verdict-trust/1", "version": 1, "expires": in_days(60)?,
        "root": {"keys": [key(ROOT).public()], "threshold": 1},
        "authors": [grant("alice", AUTHOR)], "releasers": [grant("rita", RELEASER)],
        "rules": [{"policies": ["bench/*"], "approvals": 0, "releases": 1}],
    });
    let envelope = Envelope::sign(TRUST_PAYLOAD_TYPE, trust.to_string().into_bytes(), &key(ROOT));
    Ok(tree.put_trust(1, envelope.render().as_bytes())?)
}

fn publish(source: &Folder, manifest: &serde_json::Value, component: &[u8], number: usize) -> Result<()> {
    let (policy, channel): (PolicyName, _) =
        (format!("bench/p{number:04}").parse()?, ChannelName::production());
    let mut manifest = manifest.clone();
    let members = manifest.as_object_mut().ok_or("a manifest is an object")?;
    members.insert("policy".into(), policy.to_string().into());
    members.insert("component".into(), Digest::of(component).to_string().into());
    let manifest = Manifest::parse(manifest.to_string().as_bytes()).map_err(|error| error.to_string())?;
    let unnamed = source.artifacts.join("new");
    let layout = Layout::create(&unnamed, component, &policy, &manifest.version)?;
    let image = layout.image_digest();
    let statement = sign_manifest(&manifest, image, &key(AUTHOR))?;
    layout.attach_statement(statement.render().as_bytes())?;
    fs::rename(&unnamed, source.artifacts.join(image.hex()))?;
    let release =
        Release { version: manifest.version.clone(), image, statement: Digest::of(statement.payload()) };
    let state: ChannelState = serde_json::from_value(json!({
        "policy": policy, "channel": channel, "sequence": 1, "issued": in_days(-1)?, "expires": in_days(60)?,
        "versions": [Share::new(release, 1)],
    }))?;
    let envelope = state.sign(&key(RELEASER))?.render();
    Ok(source.tree.put_channel(&policy, &channel, 1, envelope.as_bytes())?)
}

/// The component with a custom section at its end, of bytes that no other has.
fn padded(component: &[u8], number: usize) -> Result<Vec<u8>> {
    // Its id, its size in five bytes of LEB128, and its name with the length before it.
    const HEAD_BYTES: usize = 1 + 5 + 2;
    let content =
        COMPONENT_BYTES.checked_sub(component.len() + HEAD_BYTES).ok_or("the policy is too large")?;
    let mut padded = component.to_vec();
    let size = content + 2;
    padded.push(0);
    padded.extend((0..5).map(|byte| (size >> (7 * byte)) as u8 & 0x7f | if byte < 4 { 0x80 } else { 0 }));
    padded.extend([1, b'#']);
    let mut random = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    padded.extend((0..content).map(|_| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u8
    }));
    Ok(padded)
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn roots() -> Result<Roots> {
    Ok(Roots::new(vec![key(ROOT).public()], 1)?)
}

fn now() -> Result<Timestamp> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(Timestamp::from_millis(i64::try_from(since.as_millis())?)?)
}

fn in_days(days: i64) -> Result<Timestamp> {
    Ok(Timestamp::from_millis(now()?.millis() + days * 86_400_000)?)
}

fn print(name: &str, value: f64, unit: &str) {
    println!(r#"{{"name": "{name}", "value": {value:.4}, "unit": "{unit}"}}"#);
}
