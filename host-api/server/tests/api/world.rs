//! A server with a registry, a host that follows it, a real access policy, and two tenants that have one of everything.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use verdict::core::digest::Digest;
use verdict::core::dsse::{self, Envelope};
use verdict::core::key::SecretKey;
use verdict::core::manifest::{CONTRACT, FORMAT, Manifest};
use verdict::core::name::PolicyName;
use verdict::core::oci::{EMPTY_MEDIA_TYPE, MANIFEST_MEDIA_TYPE};
use verdict::core::statement::{self, Approval, sign_manifest};
use verdict::core::time::Timestamp;
use verdict::core::trust::{DataSnapshot, Release, Revocations, Roots, SignedDocument, TRUST_PAYLOAD_TYPE};
use verdict::engine::Compiler;
use verdict::registry::Layout;
use verdict::registry::catalogue::{Catalogue, Change, NewApiKey};
use verdict::registry::publish::Publisher;
use verdict::registry::repository::Registry;
use verdict::registry::served::Served;
use verdict::registry::store::Blobs;
use verdict::{Config, Host};
use verdict_server::access::{Access, AccessOptions, AccessPolicy, BreakGlass};
use verdict_server::{Listen, Options, Server, Tokens};
use verdict_tests::access::AccessSite;

use crate::client::{Address, Client};

pub(crate) const ROOT: u8 = 1;
pub(crate) const AUTHOR: u8 = 2;
pub(crate) const APPROVER: u8 = 3;
pub(crate) const RELEASER: u8 = 4;
pub(crate) const REVOKER: u8 = 5;
pub(crate) const DATA_SIGNER: u8 = 6;
pub(crate) const ACTIVATION: u8 = 9;

pub(crate) const ROLES: [&str; 7] =
    ["tenant_admin", "system_admin", "publisher", "approver", "operator", "auditor", "agent"];
/// The tenants of the world. None of the texts is part of another, or of what the server says by itself.
pub(crate) const TENANTS: [&str; 2] = ["kestrelbank", "heronshop"];
pub(crate) const TOKEN: &str = "0123456789abcdefghijklmn";
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap()).unwrap()
}

fn days(days: i64) -> Timestamp {
    Timestamp::from_millis(now().millis() + days * DAY_MS).unwrap()
}

/// Signed by these keys, whatever it is.
pub(crate) fn envelope(payload_type: &str, payload: &[u8], seeds: &[u8]) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(payload_type, payload.to_vec());
    seeds.iter().for_each(|seed| envelope.add_signature(&key(*seed)));
    envelope.render().into_bytes()
}

fn signed<T: SignedDocument>(text: Value, seeds: &[u8]) -> Vec<u8> {
    let document: T = serde_json::from_value(text).unwrap();
    envelope(T::PAYLOAD_TYPE, &document.payload().unwrap(), seeds)
}

/// One approval for production, two releasers for the vault, anything goes elsewhere.
pub(crate) fn trust(version: u64) -> Vec<u8> {
    let grant = |person: &str, seed: u8| json!({"person": person, "public": key(seed).public(), "policies": TENANTS.map(|tenant| format!("{tenant}/*"))});
    let text = json!({
        "format": "verdict-trust/1", "version": version, "expires": days(100),
        "root": {"keys": [key(ROOT).public()], "threshold": 1},
        "authors": [grant("alice", AUTHOR)],
        "approvers": [grant("bob", APPROVER)],
        "releasers": [grant("rita", RELEASER), grant("server:one", ACTIVATION)],
        "data_signers": [grant("dina", DATA_SIGNER)],
        "revokers": [{"person": "vera", "public": key(REVOKER).public()}],
        "rules": [
            {"policies": TENANTS.map(|tenant| format!("{tenant}/*")), "channels": ["production"], "approvals": 1, "releases": 1},
            {"policies": TENANTS.map(|tenant| format!("{tenant}/*")), "channels": ["vault"], "approvals": 0, "releases": 2},
        ],
    });
    envelope(TRUST_PAYLOAD_TYPE, text.to_string().as_bytes(), &[ROOT])
}

pub(crate) fn revocations(sequence: u64, members: Value) -> Vec<u8> {
    let mut text = json!({"sequence": sequence, "issued": days(-1), "expires": days(30)});
    text.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    signed::<Revocations>(text, &[REVOKER])
}

pub(crate) fn snapshot(tenant: &str, sequence: u64, content: &[u8]) -> Vec<u8> {
    let text = json!({
        "tenant": tenant, "sequence": sequence, "issued": days(-1), "expires": days(30),
        "digest": Digest::of(content), "bytes": content.len(),
    });
    signed::<DataSnapshot>(text, &[DATA_SIGNER])
}

pub(crate) fn state(policy: &str, channel: &str, sequence: u64, release: &Release, seeds: &[u8]) -> Vec<u8> {
    let text = json!({
        "policy": policy, "channel": channel, "sequence": sequence, "issued": days(-1), "expires": days(30),
        "versions": [{
            "version": release.version, "image": release.image, "statement": release.statement, "weight": 1,
        }],
    });
    signed::<verdict::core::trust::ChannelState>(text, seeds)
}

/// A version of a policy as its author builds it.
pub(crate) struct Built {
    pub(crate) policy: PolicyName,
    pub(crate) version: String,
    config: Vec<u8>,
    component: Vec<u8>,
    manifest: Vec<u8>,
}

impl Built {
    pub(crate) fn release(&self) -> Release {
        let envelope = Envelope::parse(&self.statement()).unwrap();
        let statement = Digest::of(envelope.payload());
        Release { version: self.version.parse().unwrap(), image: Digest::of(&self.manifest), statement }
    }

    pub(crate) fn statement(&self) -> Vec<u8> {
        let text = json!({
            "format": FORMAT, "policy": self.policy, "version": self.version, "contract": CONTRACT,
            "component": Digest::of(&self.component), "rules": [{"name": "allow"}],
        });
        let manifest = Manifest::parse(text.to_string().as_bytes()).unwrap();
        sign_manifest(&manifest, Digest::of(&self.manifest), &key(AUTHOR)).unwrap().render().into_bytes()
    }

    pub(crate) fn approval(&self) -> Vec<u8> {
        let (policy, version) = (self.policy.clone(), self.version.parse().unwrap());
        let approval = Approval { policy, version, comment: None }.of(self.release().statement);
        approval.sign(&key(APPROVER)).unwrap().render().into_bytes()
    }
}

pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) client: Client,
    pub(crate) socket: PathBuf,
    pub(crate) component: Vec<u8>,
    // Ends the server when dropped, before the folders go.
    runtime: tokio::runtime::Runtime,
    _site: AccessSite,
    _folder: tempfile::TempDir,
}

/// An API key that everybody can compute: of a role, for a tenant or for all.
pub(crate) fn token(tenant: Option<&str>, role: &str) -> String {
    let random = Digest::of(format!("{tenant:?} {role}").as_bytes()).hex();
    format!("verdict_{}_{}", &random[..16], URL_SAFE_NO_PAD.encode(&random[32..]))
}

/// What that key is called.
pub(crate) fn id_of(token: &str) -> &str {
    token.split('_').nth(1).unwrap()
}

impl World {
    /// A server without a host, where nothing is but trust and the keys of every role.
    pub(crate) fn open() -> Self {
        Self::new(|_, options| options, false)
    }

    /// A server whose host decides, where both tenants have one of everything.
    pub(crate) fn furnished() -> Self {
        let world = Self::new(|_, options| options, true);
        TENANTS.iter().for_each(|tenant| world.furnish(tenant));
        world
    }

    pub(crate) fn new(change: impl FnOnce(&Registry, Options) -> Options, decides: bool) -> Self {
        let (site, folder) = (AccessSite::new(), tempfile::tempdir().unwrap());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
        let blobs = Blobs::directory(folder.path().join("blobs"), Default::default()).unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalogue.db").display());
        let registry = Registry::new(blobs, runtime.block_on(Catalogue::open(&url)).unwrap());
        let roots = Roots::new(vec![key(ROOT).public()], 1).unwrap();
        let publisher = Publisher::new(registry.clone(), roots.clone()).with_activation_key(key(ACTIVATION));
        runtime.block_on(prepare(&registry, &publisher));
        let (socket, record) = (folder.path().join("break.sock"), folder.path().join("break.jsonl"));
        let access = AccessOptions {
            tokens: Some(Tokens::parse(&format!("teller {TOKEN} {}", TENANTS[0])).unwrap()),
            policy: Some(AccessPolicy {
                folder: site.policy(),
                trust: site.trust(),
                state: folder.path().join("access"),
                component: site.component().parse().unwrap(),
            }),
            jwt: None,
            break_glass: Some(BreakGlass { socket: socket.clone(), record }),
            workloads: None,
        };
        let access = Access::open(access, Some(registry.catalogue().clone()), Compiler::InProcess);
        let mut options = Options::new(Listen::parse("127.0.0.1:0").unwrap());
        options.access = runtime.block_on(access).unwrap();
        options.publisher = Some(publisher);
        let options = change(&registry, options);
        let host = decides.then(|| {
            let source = Arc::new(Served::new(registry.clone(), runtime.handle().clone()));
            let followed = verdict::Registry { source, roots };
            let host = Host::open(Config::following(followed, folder.path().join("state"))).unwrap();
            host.follow(Duration::from_secs(1)).unwrap();
            host
        });
        let server = runtime.block_on(Server::bind(host, options)).unwrap();
        let address = Address::Tcp(server.address().to_string());
        runtime.spawn(server.run());
        let client = Client { address, token: Some(token(None, "system_admin")) };
        let policy = site.policy().join("api-access/oci");
        let component = Layout::open(&policy).unwrap().component().unwrap();
        Self { registry, client, socket, component, runtime, _site: site, _folder: folder }
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The server as somebody with a role asks it.
    pub(crate) fn role(&self, tenant: Option<&str>, role: &str) -> Client {
        self.client.with(&token(tenant, role))
    }

    pub(crate) fn build(&self, policy: &str, version: &str) -> Built {
        let policy: PolicyName = policy.parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let layout =
            Layout::create(&folder.path().join("image"), &self.component, &policy, &version.parse().unwrap());
        let artifact = layout.unwrap().fetch().unwrap();
        Built {
            policy,
            version: version.into(),
            config: artifact.config,
            component: artifact.component,
            manifest: artifact.manifest_bytes,
        }
    }

    fn push_blob(&self, policy: &PolicyName, bytes: &[u8]) {
        let path = format!("/v2/{policy}/blobs/uploads/?digest={}", Digest::of(bytes));
        self.client.ask("POST", &path, &[], bytes).is(201);
    }

    fn push_manifest(&self, policy: &PolicyName, reference: &str, bytes: &[u8]) {
        let headers = [("Content-Type", MANIFEST_MEDIA_TYPE)];
        self.client.ask("PUT", &format!("/v2/{policy}/manifests/{reference}"), &headers, bytes).is(201);
    }

    /// Pushes the image and its author's statement, as any OCI client does.
    pub(crate) fn publish(&self, built: &Built) {
        let (policy, statement) = (&built.policy, built.statement());
        for blob in [&built.config[..], &built.component, b"{}", &statement] {
            self.push_blob(policy, blob);
        }
        self.push_manifest(policy, &built.version, &built.manifest);
        let described = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
        let referrer = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_MEDIA_TYPE, "artifactType": statement::MEDIA_TYPE,
            "config": described(EMPTY_MEDIA_TYPE, b"{}"),
            "layers": [described(dsse::MEDIA_TYPE, &statement)],
            "subject": described(MANIFEST_MEDIA_TYPE, &built.manifest),
        });
        let referrer = referrer.to_string();
        self.push_manifest(policy, &Digest::of(referrer.as_bytes()).to_string(), referrer.as_bytes());
    }

    /// Publishes a version that is approved.
    pub(crate) fn publish_approved(&self, policy: &str, version: &str) -> Built {
        let built = self.build(policy, version);
        self.publish(&built);
        let path = format!("{}/versions/{version}/statements", of_policy(&built.policy));
        self.client.signed("POST", &path, &built.approval()).is(201);
        built
    }

    pub(crate) fn put_data(&self, tenant: &str, sequence: u64, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        let path = format!("/v1/tenants/{tenant}/data/content/{digest}");
        self.client.ask("PUT", &path, &[], content).is(201);
        self.client.signed(
            "PUT",
            &format!("/v1/tenants/{tenant}/data"),
            &snapshot(tenant, sequence, content),
        );
        digest
    }

    /// Gives a tenant one of everything.
    fn furnish(&self, tenant: &str) {
        let policy = policy_of(tenant);
        self.publish_approved(&policy, "1.0.0");
        let channel = format!("{}/channels/production", of_policy(&policy.parse().unwrap()));
        let body = json!({"versions": [{"version": "1.0.0"}]});
        self.client.post(&format!("{channel}/activate"), &body).is(201);
        self.put_data(tenant, 1, format!("{{\"owner\":\"{tenant}\"}}").as_bytes());
        self.decide(tenant);
    }

    /// Asks a tenant's policy as soon as the host has it; the decision is called after the tenant.
    fn decide(&self, tenant: &str) {
        let input = json!({
            "principal": {"kind": "token", "id": "a", "person": "a", "tenant": null, "roles": ["system_admin"]},
            "action": "tenant.list", "tenant": null, "resource": "",
        });
        let body = json!({"rule": "allow", "input": input, "id": decision_of(tenant)});
        let path = format!("{}/decide", of_policy(&policy_of(tenant).parse().unwrap()));
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.client.post(&path, &body);
            if answer.status == 200 {
                assert_eq!(answer.json()["allow"], true, "{}", answer.text());
                return;
            }
            assert!(Instant::now() < deadline, "{}", answer.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What the policy, the decision and a key of a tenant are called: after it, so that whoever says so betrays it.
pub(crate) fn policy_of(tenant: &str) -> String {
    format!("{tenant}/{tenant}-loan")
}

pub(crate) fn decision_of(tenant: &str) -> String {
    format!("{tenant}-decision")
}

pub(crate) fn of_policy(policy: &PolicyName) -> String {
    format!("/v1/tenants/{}/policies/{}", policy.tenant(), policy.name())
}

/// Trust, the tenants, and a key of every role for each tenant and for all.
async fn prepare(registry: &Registry, publisher: &Publisher) {
    let change = Change { actor: "test".into(), correlation: "prepare".into(), at: now() };
    let ready = publisher.trust(&trust(1), now()).await.unwrap();
    let mut write = registry.catalogue().write(change.clone()).await.unwrap();
    ready.put(&mut write, None).await.unwrap();
    write.commit().await.unwrap();
    let ready = publisher.revocations(&revocations(1, json!({})), now()).await.unwrap();
    let mut write = registry.catalogue().write(change).await.unwrap();
    ready.put(&mut write, None).await.unwrap();
    for tenant in TENANTS {
        write.create_tenant(&tenant.parse().unwrap(), "").await.unwrap();
    }
    for tenant in [None, Some(TENANTS[0]), Some(TENANTS[1])] {
        for role in ROLES {
            let token = token(tenant, role);
            let key = NewApiKey {
                id: id_of(&token).into(),
                tenant: tenant.map(|tenant| tenant.parse().unwrap()),
                hash: Digest::of(token.as_bytes()),
                person: format!("{}-{role}", tenant.unwrap_or("all")),
                roles: [role.to_owned()].into(),
                expires: None,
            };
            write.create_api_key(&key).await.unwrap();
        }
    }
    write.commit().await.unwrap();
}
