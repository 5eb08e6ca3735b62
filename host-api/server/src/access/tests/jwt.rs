//! JSON Web Tokens that the test signs itself, with another library than the one that checks them, and an issuer that
//! serves its keys on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::jwks::{KeySet, NoKey};
use super::super::jwt::{JwtError, Tokens as Checker};
use super::*;

const ISSUER: &str = "https://issuer.example";

enum Signer {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
            Self::Ec(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }

    fn public(&self) -> Vec<u8> {
        match self {
            Self::Ed(key) => key.public_key().as_ref().to_vec(),
            Self::Ec(key) => key.public_key().as_ref().to_vec(),
            Self::Rsa(key) => key.public_key().as_ref().to_vec(),
        }
    }

    fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Ed(_) => json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": coded(self.public()) }),
            Self::Ec(_) => {
                let point = self.public();
                let (x, y) = (coded(&point[1..33]), coded(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "alg": "ES256", "use": "sig", "x": x, "y": y })
            }
            Self::Rsa(key) => {
                let n = coded(key.public_key().modulus().big_endian_without_leading_zero());
                let e = coded(key.public_key().exponent().big_endian_without_leading_zero());
                json!({ "kty": "RSA", "kid": id, "alg": "RS256", "n": n, "e": e })
            }
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", coded(header.to_string()), coded(claims.to_string()));
        let signature = coded(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// A token with this key's own header.
    fn about(&self, id: &str, claims: &Value) -> String {
        self.token(&json!({ "alg": self.algorithm(), "typ": "JWT", "kid": id }), claims)
    }
}

fn coded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now_s() -> i64 {
    super::super::now().millis() / 1_000
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "verdict", "sub": "alice", "exp": now_s() + 600, "nbf": now_s() - 1,
        "roles": ["operator", "of another system"], "tenant": "bank",
    })
}

/// The claims with one of them changed, or left out.
fn but(name: &str, value: Option<Value>) -> Value {
    let mut claims = claims();
    match value {
        Some(value) => claims[name] = value,
        None => drop(claims.as_object_mut().unwrap().remove(name)),
    }
    claims
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

async fn of_file(folder: &tempfile::TempDir, keys: &str) -> Result<Checker, String> {
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, keys).unwrap();
    Checker::open(JwtOptions::new(ISSUER, "verdict", Jwks::parse(path.to_str().unwrap()))).await
}

/// Serves what it is told to over HTTP, and counts how often it was asked.
struct Issuer {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(answer: String) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let issuer = Self { url, answer: Arc::new(Mutex::new(answer)), asked: Arc::default() };
        let (answer, asked) = (Arc::clone(&issuer.answer), Arc::clone(&issuer.asked));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4_096]).await;
                asked.fetch_add(1, Ordering::Relaxed);
                let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        issuer
    }

    fn says(&self, answer: String) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn checker(&self) -> Result<Checker, String> {
        Checker::open(JwtOptions::new(ISSUER, "verdict", Jwks::parse(&self.url))).await
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn tokens_of_all_three_algorithms_say_who_asks() {
    let rsa = Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
    let ec = Signer::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    let keys = [("ed", Signer::ed()), ("ec", ec), ("rsa", rsa)];
    let folder = tempfile::tempdir().unwrap();
    let jwks: Vec<Value> = keys.iter().map(|(id, key)| key.jwk(id)).collect();
    let checker = of_file(&folder, &set(&jwks)).await.unwrap();
    let expected = Principal::jwt("alice", Some(tenant("bank")), [Role::Operator].into());
    for (id, key) in &keys {
        assert_eq!(checker.principal(&key.about(id, &claims())).await, Ok(expected.clone()), "{id}");
    }
}

#[tokio::test]
async fn claims_are_read_in_the_forms_that_issuers_write_them() {
    let (key, folder) = (Signer::ed(), tempfile::tempdir().unwrap());
    let checker = of_file(&folder, &set(&[key.jwk("k")])).await.unwrap();
    let all = BTreeSet::from([Role::Agent, Role::Auditor]);
    let bank = Some(tenant("bank"));
    let spiffe = "spiffe://bank.example/ns/prod/sa/loans";
    let mut alone = but("roles", None);
    alone["sub"] = json!(spiffe);
    alone.as_object_mut().unwrap().remove("tenant");
    for (claims, expected) in [
        (but("roles", Some(json!("agent auditor other"))), Principal::jwt("alice", bank.clone(), all)),
        (but("tenant", Some(json!("*"))), Principal::jwt("alice", None, [Role::Operator].into())),
        (
            but("aud", Some(json!(["other", "verdict"]))),
            Principal::jwt("alice", bank.clone(), [Role::Operator].into()),
        ),
        (
            but("roles", Some(json!({ "operator": true }))),
            Principal::jwt("alice", bank.clone(), BTreeSet::new()),
        ),
        (but("nbf", None), Principal::jwt("alice", bank.clone(), [Role::Operator].into())),
        (but("exp", Some(json!(now_s() - 5))), Principal::jwt("alice", bank, [Role::Operator].into())),
        (alone, Principal::jwt(spiffe, None, BTreeSet::new())),
    ] {
        assert_eq!(checker.principal(&key.about("k", &claims)).await, Ok(expected), "{claims}");
    }
}

#[tokio::test]
async fn claims_may_lie_deeper_or_have_another_name() {
    let (key, folder) = (Signer::ed(), tempfile::tempdir().unwrap());
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, set(&[key.jwk("k")])).unwrap();
    let options = JwtOptions {
        roles_claim: "/realm_access/roles".into(),
        tenant_claim: "https://bank.example/tenant".into(),
        ..JwtOptions::new(ISSUER, "verdict", Jwks::File(path))
    };
    let checker = Checker::open(options).await.unwrap();
    let mut claims = claims();
    claims["realm_access"] = json!({ "roles": ["auditor"] });
    claims["https://bank.example/tenant"] = json!("shop");
    let expected = Principal::jwt("alice", Some(tenant("shop")), [Role::Auditor].into());
    assert_eq!(checker.principal(&key.about("k", &claims)).await, Ok(expected));
}

#[tokio::test]
async fn tokens_with_wrong_claims_are_refused() {
    let (key, folder) = (Signer::ed(), tempfile::tempdir().unwrap());
    let checker = of_file(&folder, &set(&[key.jwk("k")])).await.unwrap();
    let wrong = [
        ("exp", json!(now_s() - 60)),
        ("exp", json!("tomorrow")),
        ("nbf", json!(now_s() + 600)),
        ("nbf", json!("tomorrow")),
        ("iss", json!("https://other.example")),
        ("iss", json!([ISSUER, "https://other.example"])),
        ("iss", json!(format!("{ISSUER}/"))),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("aud", json!({ "verdict": true })),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("a\nb")),
        ("sub", json!("a".repeat(241))),
        ("tenant", json!("Not A Tenant")),
        ("tenant", json!(["bank"])),
        ("tenant", json!("")),
        ("tenant", Value::Null),
    ];
    for (name, value) in wrong {
        let claims = but(name, Some(value));
        let refused = checker.principal(&key.about("k", &claims)).await;
        assert!(matches!(refused, Err(JwtError::Refused(_))), "{claims}: {refused:?}");
    }
    for name in ["exp", "iss", "aud", "sub", "tenant"] {
        let refused = checker.principal(&key.about("k", &but(name, None))).await;
        assert!(matches!(refused, Err(JwtError::Refused(_))), "without {name}: {refused:?}");
    }
}

#[tokio::test]
async fn what_a_token_says_of_its_own_key_decides_nothing() {
    let (key, other, folder) = (Signer::ed(), Signer::ed(), tempfile::tempdir().unwrap());
    let checker = of_file(&folder, &set(&[key.jwk("k"), other.jwk("o")])).await.unwrap();
    let attacker = Signer::ed();
    let head = |more: Value| {
        let mut header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": "k" });
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        header
    };
    let genuine = key.about("k", &claims());
    let (message, signature) = genuine.rsplit_once('.').unwrap();
    let hmac = |secret: &[u8]| {
        let message =
            format!("{}.{}", coded(head(json!({ "alg": "HS256" })).to_string()), coded(claims().to_string()));
        let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        format!("{message}.{}", coded(aws_lc_rs::hmac::sign(&secret, message.as_bytes())))
    };
    let unsigned = |algorithm: &str| {
        format!("{}.{}.", coded(head(json!({ "alg": algorithm })).to_string()), coded(claims().to_string()))
    };
    let x = key.jwk("k")["x"].as_str().unwrap().to_owned();
    let admin = coded(but("roles", Some(json!(["system_admin"]))).to_string());
    let header = message.split_once('.').unwrap().0;
    for (name, token) in [
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("no signature", unsigned("EdDSA")),
        ("the public key as a secret", hmac(&key.public())),
        ("its text as a secret", hmac(x.as_bytes())),
        ("another algorithm", key.token(&head(json!({ "alg": "ES256" })), &claims())),
        ("another's signature", attacker.about("k", &claims())),
        ("another key of the issuer", other.about("k", &claims())),
        ("a key of its own", attacker.token(&head(json!({ "jwk": attacker.jwk("k") })), &claims())),
        ("keys of its own", attacker.token(&head(json!({ "jku": "http://127.0.0.1:1/keys" })), &claims())),
        ("no key", key.token(&json!({ "alg": "EdDSA" }), &claims())),
        ("an unknown key", key.about("unknown", &claims())),
        ("critical extensions", key.token(&head(json!({ "crit": ["b64"], "b64": false })), &claims())),
        ("other claims", format!("{header}.{admin}.{signature}")),
        ("half a signature", format!("{message}.{}", &signature[..40])),
        ("two parts", message.to_owned()),
        ("four parts", format!("{genuine}.x")),
        ("too large", key.about("k", &but("more", Some(json!("x".repeat(20_000)))))),
        ("nothing", "..".to_owned()),
    ] {
        let refused = checker.principal(&token).await;
        assert!(matches!(refused, Err(JwtError::Refused(_))), "{name}: {refused:?}");
    }
    assert!(checker.principal(&genuine).await.is_ok());
}

#[tokio::test]
async fn keys_that_are_not_for_checking_signatures_do_not_count() {
    let (key, folder) = (Signer::ed(), tempfile::tempdir().unwrap());
    let with = |name: &str, value: Value| {
        let mut jwk = key.jwk("k");
        jwk[name] = value;
        jwk
    };
    let mut nameless = key.jwk("k");
    nameless.as_object_mut().unwrap().remove("kid");
    for jwk in [
        json!({ "kty": "oct", "kid": "k", "k": coded("secret") }),
        json!({ "kty": "EC", "crv": "P-384", "kid": "k", "x": coded([1; 48]), "y": coded([1; 48]) }),
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("RS256")),
        with("crv", json!("X25519")),
        nameless,
    ] {
        assert!(of_file(&folder, &set(std::slice::from_ref(&jwk))).await.is_err(), "{jwk}");
        // Beside one that can be used it is left out.
        let checker = of_file(&folder, &set(&[jwk.clone(), Signer::ed().jwk("other")])).await.unwrap();
        assert!(checker.principal(&key.about("k", &claims())).await.is_err(), "{jwk}");
    }
    for text in ["", "{}", "[]", r#"{"keys": {}}"#, &set(&[key.jwk("k"), Signer::ed().jwk("k")])] {
        assert!(of_file(&folder, text).await.is_err(), "{text}");
    }
    assert!(of_file(&folder, &set(&[key.jwk("k"), json!("x".repeat(300 << 10))])).await.is_err());
}

#[tokio::test]
async fn a_new_key_of_the_issuer_counts_at_once_and_one_it_took_back_no_longer() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let issuer = Issuer::start(ok(&set(&[old.jwk("old")]))).await;
    let checker = issuer.checker().await.unwrap();
    assert!(checker.principal(&old.about("old", &claims())).await.is_ok());
    issuer.says(ok(&set(&[new.jwk("new")])));
    assert!(checker.principal(&new.about("new", &claims())).await.is_ok());
    assert!(checker.principal(&old.about("old", &claims())).await.is_err());
}

#[tokio::test]
async fn a_key_that_was_taken_back_counts_five_minutes_and_one_that_cannot_be_read_again_an_hour() {
    let (key, folder) = (Signer::ed(), tempfile::tempdir().unwrap());
    let path = folder.path().join("jwks.json");
    let start = Instant::now();
    let after = |seconds: u64| start + Duration::from_secs(seconds);
    let found = |key: Result<Arc<_>, NoKey>| key.map(drop);

    std::fs::write(&path, set(&[key.jwk("k")])).unwrap();
    let keys = KeySet::open(&Jwks::File(path.clone()), start).await.unwrap();
    std::fs::write(&path, set(&[Signer::ed().jwk("other")])).unwrap();
    assert_eq!(found(keys.key("k", after(299)).await), Ok(()));
    assert_eq!(found(keys.key("k", after(300)).await), Err(NoKey::Unknown));

    std::fs::write(&path, set(&[key.jwk("k")])).unwrap();
    let keys = KeySet::open(&Jwks::File(path.clone()), start).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(found(keys.key("k", after(300)).await), Ok(()));
    assert_eq!(found(keys.key("k", after(3_599)).await), Ok(()));
    assert_eq!(found(keys.key("k", after(3_600)).await), Err(NoKey::Unavailable));
    std::fs::write(&path, set(&[key.jwk("k")])).unwrap();
    assert_eq!(found(keys.key("k", after(3_700)).await), Ok(()));
}

#[tokio::test]
async fn tokens_with_unknown_keys_make_the_issuer_little_work() {
    let key = Signer::ed();
    let issuer = Issuer::start(ok(&set(&[key.jwk("k")]))).await;
    let start = Instant::now();
    let keys = KeySet::open(&Jwks::parse(&issuer.url), start).await.unwrap();
    for (seconds, asked) in [(0, 5), (29, 5), (30, 6), (59, 6), (60, 7), (86_400, 11)] {
        let now = start + Duration::from_secs(seconds);
        for number in 0..50 {
            let none = keys.key(&format!("unknown-{number}"), now).await;
            assert_eq!(none.err(), Some(NoKey::Unknown));
        }
        assert_eq!(issuer.asked(), asked, "after {seconds} s");
        assert!(keys.key("k", now).await.is_ok());
    }
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_at_first_may_later_and_until_then_nothing_counts() {
    let key = Signer::ed();
    let issuer = Issuer::start("HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n".into()).await;
    let checker = issuer.checker().await.unwrap();
    assert_eq!(checker.principal(&key.about("k", &claims())).await, Err(JwtError::Unavailable));
    issuer.says(ok(&set(&[key.jwk("k")])));
    assert!(checker.principal(&key.about("k", &claims())).await.is_ok());
    // What was read goes on while the issuer is away.
    issuer.says("HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n".into());
    assert!(checker.principal(&key.about("other", &claims())).await.is_err());
    assert!(checker.principal(&key.about("k", &claims())).await.is_ok());
}

#[tokio::test]
async fn keys_come_from_where_the_operator_said_and_no_further() {
    let key = Signer::ed();
    let elsewhere = Issuer::start(ok(&set(&[key.jwk("k")]))).await;
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url);
    let large = ok(&set(&[key.jwk("k"), json!("x".repeat(300 << 10))]));
    for answer in [redirect, large] {
        let issuer = Issuer::start(answer).await;
        let checker = issuer.checker().await.unwrap();
        assert_eq!(checker.principal(&key.about("k", &claims())).await, Err(JwtError::Unavailable));
    }
    assert_eq!(elsewhere.asked(), 0);
    for url in [
        "https://user:secret@issuer.example/keys",
        "http://issuer.example/keys",
        "http://127.0.0.1.example/keys",
        "https://",
        "http://",
    ] {
        let options = JwtOptions::new(ISSUER, "verdict", Jwks::Url(url.into()));
        assert!(Checker::open(options).await.is_err(), "{url}");
    }
}
