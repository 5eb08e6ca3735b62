//! The settings of a server: a file, the environment and flags, with the real command and the real server.

#[path = "../../runtime/engine/tests/support/mod.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use verdict::core::name::PolicyName;
use verdict::registry::Layout;
use verdict_tests::server::{Server, Site, binary, root, text};

const ANSWER: &str = "(call $true)";
/// No step of a test waits longer.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "0123456789abcdefghijklmn";

/// A site with one policy, which always allows, and this file with settings.
fn site(config: &str) -> Site {
    let site = Site::new(&[]);
    let component = support::guest("", ANSWER);
    let manifest = support::manifest(&component, json!({ "policy": "default/yes" }));
    let folder = site.path("policies/yes");
    std::fs::create_dir_all(&folder).unwrap();
    let name: PolicyName = "default/yes".parse().unwrap();
    Layout::create(&folder.join("oci"), &component, &name, &manifest.version).unwrap();
    std::fs::write(folder.join("manifest.json"), serde_json::to_string(&manifest).unwrap()).unwrap();
    site.sign("yes");
    std::fs::write(site.path("tokens"), format!("shop {TOKEN}\n")).unwrap();
    write(&site, config);
    site
}

fn write(site: &Site, config: &str) {
    std::fs::write(site.path("verdict.toml"), config).unwrap();
}

/// What every file here begins with: relative to it.
const PLACES: &str =
    "dir = 'policies'\ntrust = 'keys/trust.json'\nstate = 'state'\nlisten = ['127.0.0.1:0']\n";

/// Runs `verdict --json` in another folder than the site's: the status, and what it printed.
fn verdict(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, Value) {
    let output = Command::new(binary())
        .arg("--json")
        .args(arguments)
        .current_dir(std::env::temp_dir())
        .env_remove("VERDICT_CONFIG")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&out).unwrap_or_else(|_| {
        panic!("`{arguments:?}` printed {out}{}", String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code().unwrap(), value)
}

/// What is wrong with a file: the error of `verdict config check`.
fn wrong(site: &Site, config: &str) -> Value {
    write(site, config);
    let (status, said) = verdict(&["config", "check", text(&site.path("verdict.toml"))], &[]);
    assert_eq!(status, 2, "{config}: {said}");
    said["error"].clone()
}

fn serve(site: &Site, more: &[&str]) -> Server {
    let mut arguments = vec!["serve".to_owned(), "--config".into(), text(&site.path("verdict.toml")).into()];
    arguments.extend(more.iter().map(ToString::to_string));
    Server::spawn(&arguments, &site.path("server.log"))
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let site = site(&format!(
        "{PLACES}idle-timeout = '1s'\nrequest-timeout = '1s'\ndrain-timeout = '1s'\nallow-decision-time = true\n\
         cache-policy = ['default/yes']\ncors = ['https://one.example']\n"
    ));
    let file = site.path("verdict.toml");
    let flags = ["config", "show", "--", "--drain-timeout", "3s"];
    let variables = [
        ("VERDICT_CONFIG", text(&file)),
        ("VERDICT_REQUEST_TIMEOUT", "2s"),
        ("VERDICT_DRAIN_TIMEOUT", "2s"),
        ("VERDICT_ALLOW_DECISION_TIME", "false"),
        ("VERDICT_CORS", "https://two.example, https://three.example"),
        ("VERDICT_OPA_DEFAULT", ""),
    ];
    let (status, shown) = verdict(&flags, &variables);
    assert_eq!(status, 0, "{shown}");
    let said = |key: &str| {
        let setting = &shown["settings"][key];
        (setting["value"].clone(), setting["origin"].clone())
    };
    let in_file = |line: u64| json!({ "kind": "file", "file": file, "line": line });
    let variable = |name: &str| json!({ "kind": "environment", "variable": name });
    assert_eq!(said("idle-timeout"), (json!("1s"), in_file(5)));
    assert_eq!(said("request-timeout"), (json!("2s"), variable("VERDICT_REQUEST_TIMEOUT")));
    assert_eq!(said("drain-timeout"), (json!("3s"), json!({ "kind": "flag", "flag": "--drain-timeout" })));
    assert_eq!(said("allow-decision-time"), (json!(false), variable("VERDICT_ALLOW_DECISION_TIME")));
    let two = json!(["https://two.example", "https://three.example"]);
    assert_eq!(said("cors"), (two, variable("VERDICT_CORS")));
    assert_eq!(said("cache-bytes"), (json!(256 << 20), json!({ "kind": "default" })));
    assert_eq!(said("opa-default"), (Value::Null, json!({ "kind": "default" })));
    // Relative paths begin where the file is, wherever the command runs.
    assert_eq!(said("trust"), (json!(site.path("keys/trust.json")), in_file(2)));
}

#[test]
fn a_server_starts_with_a_file_alone() {
    let site = site(&format!(
        "{PLACES}cors = ['https://console.example']\n[budgets.tenants.default]\nfuel_per_s = 1\n"
    ));
    let server = serve(&site, &[]);
    let (status, answer) = server.decide("yes", r#"{"input": {}}"#);
    assert_eq!((status, &answer["allow"]), (200, &json!(true)));
    assert_eq!(server.decide("yes", r#"{"input": {}}"#).0, 429, "the table of budgets counts");
    assert!(server.stop());
    // What clap says of flags that do not go together, it says of what the file says.
    let (status, said) = verdict(
        &["serve", "--config", text(&site.path("verdict.toml")), "--follow", "/nowhere", "--roots", "r"],
        &[],
    );
    let message = said["error"]["message"].as_str().unwrap();
    assert!(status == 2 && message.contains("--follow") && message.contains("cannot be used with"), "{said}");
    assert!(said["error"]["help"].as_str().unwrap().contains("verdict.toml:1"), "{said}");
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_to_do() {
    let site = site("");
    let cases = [
        ("trust_file = 'x'", "`trust_file` is not a setting", "did you mean `trust`"),
        ("drain_timeout = '1s'", "`drain_timeout` is not a setting", "did you mean `drain-timeout`"),
        ("zzz = 1", "`zzz` is not a setting", "verdict config schema"),
        ("config = 'x'", "`config` is not a setting", "verdict config schema"),
        ("listen = '127.0.0.1:1'", "`listen` must be a list of texts", "Where to listen"),
        ("connections-max = '4'", "`connections-max` must be a whole number", "The most connections"),
        ("connections-max = 0", "invalid value '0' for `connections-max`", "The most connections"),
        ("allow-decision-time = 'yes'", "`allow-decision-time` must be `true` or `false`", "Let callers"),
        ("trace-ratio = '0.1'", "`trace-ratio` must be a number", "The part of the traces"),
        ("drain-timeout = 5", "`drain-timeout` must be a text in quotes", "How long requests"),
        ("drain-timeout = '5h'", "`5h` is not a time", "How long requests"),
        ("unix-mode = 0o660", "`unix-mode` must be a text in quotes", "Who may connect"),
        ("log = 'durably'", "durable, buffered, off", "When an answer leaves"),
        ("cors = [\n'https://a.example',\n7]", "`cors` must be a list of texts", "An origin"),
        ("ext-authz = 'X/y'", "`ext-authz`", "What Envoy asks"),
        ("[budgets.default]\nfuel = 1", "unknown field `fuel`", ""),
        ("[budgets.default]\nconcurrency = 0", "`concurrency` of the default is 0", ""),
        ("listen = ", "is not TOML", ""),
        ("log = 'off'\nlog = 'off'", "is not TOML", ""),
    ];
    for (config, message, help) in cases {
        let said = wrong(&site, &format!("# a comment\n{config}\n"));
        assert!(said["message"].as_str().unwrap().contains(message), "{config}: {said}");
        assert!(said["help"].as_str().unwrap_or_default().contains(help), "{config}: {said}");
        assert!(said["line"].as_u64().unwrap() >= 2, "{config}: {said}");
        assert_eq!(said["file"], json!(site.path("verdict.toml")));
    }
    let (status, said) = verdict(&["config", "check"], &[("VERDICT_DRAIN_TIMEOUT", "5h")]);
    assert!(
        status == 2 && said["error"]["message"].as_str().unwrap().contains("VERDICT_DRAIN_TIMEOUT"),
        "{said}"
    );
    let (status, said) = verdict(&["config", "check"], &[("VERDICT_ALLOW_DECISION_TIME", "yes")]);
    assert!(
        status == 2 && said["error"]["message"].as_str().unwrap().contains("`true` or `false`"),
        "{said}"
    );
    // What is missing can be said in three ways; what is said twice is said in one too many.
    let said = wrong(&site, "dir = 'policies'");
    assert!(said["help"].as_str().unwrap().contains("VERDICT_TRUST"), "{said}");
    write(&site, &format!("{PLACES}[budgets.default]\nconcurrency = 1\n"));
    let file = site.path("verdict.toml");
    let (status, said) = verdict(&["config", "check", text(&file), "--", "--budgets", "b.toml"], &[]);
    assert!(status == 2 && said["error"]["message"].as_str().unwrap().contains("said twice"), "{said}");
    assert_eq!(said["error"]["line"], 5);
}

#[test]
fn check_reads_every_file_that_is_named_and_starts_nothing() {
    let site = site(&format!("{PLACES}token-file = 'tokens'\ntrace-ratio = 0.5\n"));
    let file = site.path("verdict.toml");
    let check = || verdict(&["config", "check", text(&file)], &[]);
    assert_eq!(check(), (0, json!({ "ok": true, "file": file, "problems": [] })));
    assert!(!site.path("state").exists(), "nothing was opened");
    std::fs::write(site.path("tokens"), "shop short\n").unwrap();
    std::fs::write(site.path("keys/trust.json"), "{}").unwrap();
    std::fs::write(site.path("data/default.json"), "{").unwrap();
    write(&site, &format!("{PLACES}token-file = 'tokens'\ndata = 'data'\npassphrase-file = 'gone'\n"));
    let (status, said) = check();
    assert_eq!((status, &said["ok"]), (2, &json!(false)));
    let problems = said["problems"].as_array().unwrap();
    let about =
        |word: &str| problems.iter().filter(|one| one["message"].as_str().unwrap().contains(word)).count();
    for word in ["trust.json", "default.json", "gone", "token on line 1"] {
        assert_eq!(about(word), 1, "{word}: {said}");
    }
    // What would let anybody in, and certificates that are none.
    std::fs::write(site.path("bad.pem"), "none").unwrap();
    for (more, message) in [
        ("listen = ['0.0.0.0:0']", "can be reached by others"),
        ("listen = ['tls:127.0.0.1:0']", "needs a certificate"),
        (
            "listen = ['tls:127.0.0.1:0']\ntls-cert = 'bad.pem'\ntls-key = 'bad.pem'",
            "bad.pem` has no certificate",
        ),
        ("budgets = 'bad.pem'", "key"),
        ("cors = ['console.example']", "is not an origin"),
        ("limit = ['fule=1']", "`fule`"),
    ] {
        let places = if more.contains("listen") {
            PLACES.replace("listen = ['127.0.0.1:0']\n", "")
        } else {
            PLACES.into()
        };
        write(&site, &format!("{places}{more}\n"));
        let said = check().1;
        let problems = said["problems"].as_array().unwrap();
        assert!(
            problems.iter().any(|one| one["message"].as_str().unwrap().contains(message)),
            "{more}: {said}"
        );
    }
}

#[test]
fn a_password_in_an_address_is_never_shown() {
    let address = "postgres://verdict:hunter2secret@db.example/verdict";
    let site = site(&format!("registry = '{address}'\nstore = 'blobs'\n"));
    for command in ["show", "check"] {
        let (status, said) = verdict(&["config", command, text(&site.path("verdict.toml"))], &[]);
        assert_eq!(status, 0, "{said}");
        assert!(!said.to_string().contains("hunter2secret"), "{said}");
    }
    let (_, said) = verdict(&["config", "check", text(&site.path("verdict.toml"))], &[]);
    assert!(said["warnings"][0].as_str().unwrap().contains("`registry` has a password"), "{said}");
}

/// The example, with the state in the site and at a free port.
fn example(site: &Site) -> String {
    std::fs::copy(site.path("keys/trust.json"), site.path("trust.json")).unwrap();
    let mut config = std::fs::read_to_string(root().join("examples/verdict.toml")).unwrap();
    let state = format!("state = \"{}\"", site.path("state").display());
    for (from, to) in [("state = \"/var/lib/verdict\"", state.as_str()), ("127.0.0.1:8181", "127.0.0.1:0")] {
        assert!(config.contains(from), "the example has no `{from}`");
        config = config.replace(from, to);
    }
    config
}

#[test]
fn the_example_holds_and_serves() {
    let site = site("");
    let config = example(&site);
    write(&site, &config);
    let (status, said) = verdict(&["config", "check", text(&site.path("verdict.toml"))], &[]);
    assert_eq!((status, &said["ok"]), (0, &json!(true)), "{said}");
    let server = serve(&site, &[]);
    assert_eq!(server.decide("yes", r#"{"input": {}}"#).0, 401, "tokens count");
    assert_eq!(server.get("/health/ready").0, 200);
    assert!(site.path("state").exists());
    drop(server);
    // What is off in it can be put on: all its lines, where each key is said once.
    let off = config
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic)));
    for line in off {
        let key = line.split(" = ").next().unwrap();
        write(&site, &format!("{line}\n"));
        let (_, said) = verdict(&["config", "check", text(&site.path("verdict.toml"))], &[]);
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert!(!message.contains("is not a setting") && !message.contains("must be"), "{key}: {said}");
    }
}

#[test]
fn says_that_it_is_ready_to_whoever_started_it() {
    let site = site(PLACES);
    let socket = site.path("notify");
    let told = UnixDatagram::bind(&socket).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = Command::new(binary())
        .args(["serve", "--config", text(&site.path("verdict.toml"))])
        .env("NOTIFY_SOCKET", &socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut message = [0; 64];
    let received = told.recv(&mut message);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(&message[..received.unwrap()], b"READY=1");
}

/// Runs `systemd-analyze`; none where it is not there.
fn systemd_analyze(arguments: &[&str]) -> Option<std::process::Output> {
    let output = Command::new("systemd-analyze").args(arguments).stdin(Stdio::null()).output();
    if output.is_err() {
        eprintln!("skipped: there is no systemd-analyze; it is in Debian's package `systemd`");
    }
    output.ok()
}

#[test]
fn the_systemd_unit_holds_and_exposes_little() {
    let site = site("");
    let unit = std::fs::read_to_string(root().join("examples/systemd/verdict.service")).unwrap();
    let program = "/usr/local/bin/verdict";
    assert!(unit.contains(&format!("ExecStart={program} serve --config /etc/verdict/verdict.toml")));
    let path = site.path("verdict.service");
    let check = |unit: &str| {
        std::fs::write(&path, unit.replace(program, text(&binary()))).unwrap();
        let verified = systemd_analyze(&["verify", text(&path)])?;
        let more = ["security", "--offline=true", "--threshold=15", "--no-pager", text(&path)];
        let bounded = systemd_analyze(&more)?;
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        Some((verified.status.success() && said.is_empty(), bounded.status.success(), said))
    };
    let Some(held) = check(&unit) else { return };
    assert_eq!(held, (true, true, String::new()));
    // The checks can fail: a directive that there is not, and one less that there is.
    let (verified, _, said) = check(&unit.replace("ProtectHome=yes", "ProtectHomes=yes")).unwrap();
    assert!(!verified && said.contains("ProtectHomes"), "{said}");
    assert!(
        !check(&unit.replace("ProtectSystem=strict\n", "").replace("NoNewPrivileges=yes\n", "")).unwrap().1
    );
    // What the child that compiles policies, and machine code, cannot do without.
    assert!(!unit.contains("\nMemoryDenyWriteExecute") && !unit.contains("\nSystemCallFilter=~@resources"));
}

/// No container can be built here: what its file names is there.
#[test]
fn the_container_file_names_what_there_is() {
    let file = std::fs::read_to_string(root().join("examples/container/Containerfile")).unwrap();
    let lines = file.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let steps: Vec<(&str, Vec<&str>)> = lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(step, rest)| (step, rest.split_whitespace().collect()))
        .collect();
    let of = |name: &'static str| steps.iter().filter(move |(step, _)| *step == name).map(|(_, words)| words);
    assert_eq!(of("FROM").map(Vec::len).collect::<Vec<_>>(), [3, 1], "what it is built with stays behind");
    let rust = std::fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
    let version = of("FROM").next().unwrap()[0].trim_start_matches("rust:").split('-').next().unwrap();
    assert!(rust.contains(&format!("\"{version}")), "{version} is not the toolchain");
    let copied: Vec<&str> = of("COPY")
        .filter(|words| !words[0].starts_with("--from"))
        .flat_map(|words| words[..words.len() - 1].to_vec())
        .collect();
    assert!(copied.iter().all(|path| root().join(path).exists()), "{copied:?}");
    // All that cargo reads before it builds anything.
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        let is_copied = copied.iter().any(|path| member == *path || member.starts_with(&format!("{path}/")));
        assert!(is_copied, "`{member}` of the workspace is not copied");
    }
    // What `make` builds there is what is copied out.
    let (made, build) = ("target/dist/verdict", root().join("tests/bench/dist.sh"));
    let build = std::fs::read_to_string(build).unwrap();
    assert!(manifest.contains("[profile.dist]") && build.contains("--profile dist -p verdict-cli"));
    assert!(file.contains("\nRUN make dist\n") && file.contains(&format!("/src/{made} ")));
    let dry = Command::new("make").args(["--dry-run", "dist"]).current_dir(root()).output().unwrap();
    assert!(String::from_utf8_lossy(&dry.stdout).contains("bash tests/bench/dist.sh"), "{dry:?}");
    assert_eq!(of("USER").next().unwrap(), &["65532:65532"]);
    let runs =
        of("ENTRYPOINT").chain(of("CMD")).flatten().map(|word| word.trim_matches(['[', ']', '"', ',']));
    let runs: Vec<&str> = runs.collect();
    assert_eq!(runs[0], "/usr/local/bin/verdict");
    // The arguments are some that the command takes: only the file is missing here.
    let (status, said) = verdict(&runs[1..], &[]);
    assert!(
        status == 2 && said["error"]["message"].as_str().unwrap().contains("/etc/verdict/verdict.toml"),
        "{said}"
    );
}

/// Waits until a fact holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The head of the answer to a `GET` with one more header, in lower case.
fn head(server: &Server, path: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: verdict\r\nConnection: close\r\n{header}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split("\r\n\r\n").next().unwrap().to_lowercase()
}

fn has_old_config(server: &Server) -> bool {
    server.get("/health/ready").1["old_config"].as_bool().unwrap()
}

fn log(site: &Site) -> String {
    std::fs::read_to_string(site.path("server.log")).unwrap()
}

fn decisions(server: &Server) -> u64 {
    server.get("/v1/tenants/default/usage").1["decisions"].as_u64().unwrap()
}

#[test]
fn budgets_and_origins_change_while_the_server_runs_and_what_was_used_stays_counted() {
    let config =
        |more: &str, fuel: &str| format!("{PLACES}{more}[budgets.tenants.default]\nfuel_per_s = {fuel}\n");
    let site = site(&config("", "1_000_000_000_000"));
    let server = serve(&site, &[]);
    let ask = || server.decide("yes", r#"{"input": {}}"#).0;
    assert_eq!((ask(), ask(), decisions(&server)), (200, 200, 2));
    let origin = || head(&server, "/health/live", "Origin: https://console.example");
    assert!(!origin().contains("access-control-allow-origin"));
    // On SIGHUP.
    write(&site, &config("cors = ['https://console.example']\n", "1"));
    server.signal("HUP");
    until("it is read again", || log(&site).contains("read the settings again"));
    assert_eq!((ask(), ask()), (200, 429), "the first puts the tenant into debt");
    assert!(origin().contains("access-control-allow-origin: https://console.example"));
    assert_eq!(decisions(&server), 3);
    // What cannot be used changes nothing, and is seen; nobody has to say that the file has changed.
    assert!(!has_old_config(&server));
    write(&site, &config("corse = []\n", "1_000_000_000_000"));
    until("the bad file is seen", || has_old_config(&server));
    assert_eq!((ask(), server.get("/health/ready").0), (429, 200));
    assert!(String::from_utf8_lossy(&server.bytes("/metrics")).contains("\nverdict_old_config 1\n"));
    assert!(log(&site).contains("`corse` is not a setting") && log(&site).contains("verdict.toml:5"));
    write(&site, &config("drain-timeout = '7s'\n", "1_000_000_000_000"));
    until("the good file is read", || !has_old_config(&server));
    assert_eq!((ask(), decisions(&server)), (200, 4));
    assert!(!origin().contains("access-control-allow-origin"));
    let log = log(&site);
    assert!(log.contains("keys=\"drain-timeout\"") || log.contains("drain-timeout"), "{log}");
}

#[test]
fn tokens_and_a_file_of_budgets_change_while_the_server_runs() {
    const OTHER: &str = "9876543210abcdefghijklmn";
    let site = site(&format!("{PLACES}token-file = 'tokens'\nbudgets = 'budgets.toml'\n"));
    std::fs::write(site.path("budgets.toml"), "").unwrap();
    let server = serve(&site, &[]);
    let is_known = |token: &str| {
        head(&server, "/v1/policies", &format!("Authorization: Bearer {token}")).starts_with("http/1.1 200")
    };
    assert!(is_known(TOKEN) && !is_known(OTHER));
    std::fs::write(site.path("tokens"), format!("shop {OTHER}\n")).unwrap();
    until("the tokens are read again", || is_known(OTHER));
    assert!(!is_known(TOKEN), "whoever was taken out is out");
    std::fs::write(site.path("budgets.toml"), "[default]\nconcurrency = 0\n").unwrap();
    until("bad budgets are seen", || has_old_config(&server));
    std::fs::write(site.path("tokens"), format!("shop {TOKEN}\n")).unwrap();
    std::fs::write(site.path("budgets.toml"), "[default]\nconcurrency = 3\n").unwrap();
    until("all is read again", || !has_old_config(&server) && is_known(TOKEN));
    // A server that asks for tokens does not become one that asks for none.
    write(&site, &format!("{PLACES}budgets = 'budgets.toml'\n"));
    until("it is said", || log(&site).contains("token-file"));
    assert!(is_known(TOKEN) && !is_known(OTHER));
}
