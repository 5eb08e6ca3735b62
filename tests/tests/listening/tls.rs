//! TLS, with real certificates: which protocols are spoken, which certificates are shown, and who may come with which.

use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::Value;
use verdict_tests::server::{Server, text, verdict};

use crate::client::{Client, LIVE, PATIENCE, tcp, try_tcp};
use crate::h2;

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// Somebody who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
struct Identity {
    chain: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let (mut params, key) = (CertificateParams::new([]).unwrap(), KeyPair::generate().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn signs(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let (mut params, key) = (CertificateParams::new([]).unwrap(), KeyPair::generate().unwrap());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { chain, key: key.serialize_pem() }
    }

    fn server(&self) -> Identity {
        self.signs(|params| {
            params.subject_alt_names = vec![SanType::DnsName("verdict.test".try_into().unwrap())]
        })
    }

    fn workload(&self, ids: &[&str]) -> Identity {
        let names = ids.iter().map(|id| SanType::URI((*id).try_into().unwrap())).collect();
        self.signs(|params| params.subject_alt_names = names)
    }
}

impl Identity {
    /// Puts it where a server reads it: both at once, as far as the server can see.
    fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        for (path, text) in [(&key, &self.key), (&chain, &self.chain)] {
            std::fs::write(folder.join("new"), text).unwrap();
            std::fs::rename(folder.join("new"), path).unwrap();
        }
        (chain, key)
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap()
    }
}

/// How a client comes.
#[derive(Clone, Copy)]
struct Coming<'a> {
    roots: &'a Authority,
    as_: Option<&'a Identity>,
    version: &'static SupportedProtocolVersion,
    protocols: &'a [&'a [u8]],
}

impl<'a> Coming<'a> {
    fn new(roots: &'a Authority) -> Self {
        Self { roots, as_: None, version: &TLS13, protocols: &[] }
    }

    fn with(self, identity: &'a Identity) -> Self {
        Self { as_: Some(identity), ..self }
    }

    fn to(self, address: &str) -> io::Result<Secured> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.roots.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.as_ {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![identity.der()], key).unwrap()
            }
        };
        config.alpn_protocols = self.protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let session = ClientConnection::new(Arc::new(config), "verdict.test".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, try_tcp(address.strip_prefix("tls:").unwrap())?);
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(stream)
    }

    /// The status of the answer to a request; none where there is no answer.
    fn asks(self, address: &str, request: &str) -> Option<u16> {
        let mut client = Client::new(self.to(address).ok()?);
        client.send(request).ok()?;
        client.answer().ok()?.map(|answer| answer.status)
    }
}

/// Until something is so; what a server does by itself takes it some seconds.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn start(folder: &Path, identity: &Identity, more: &[&str]) -> Server {
    let (chain, key) = identity.write(folder);
    let tls = ["--listen", "tls:127.0.0.1:0", "--tls-cert", text(&chain), "--tls-key", text(&key)];
    Server::registry(folder, &[&tls, more].concat())
}

#[test]
fn speaks_tls_1_3_and_both_versions_of_http_and_nothing_older() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = start(folder.path(), &authority.server(), &[]);
    let at = &server.addresses[1];
    let coming = Coming::new(&authority);
    assert_eq!(coming.asks(at, LIVE), Some(200));
    let both: &[&[u8]] = &[b"http/1.1", b"h2"];
    let stream = Coming { protocols: both, ..coming }.to(at).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(h2::Client::new(stream).ask(1, "/health/live"), Some(h2::OK));
    let stream = Coming { protocols: &[b"http/1.1"], ..coming }.to(at).unwrap();
    assert_eq!(Client::new(stream).ask(LIVE).status, 200);
    assert!(Coming { protocols: &[b"spdy/3"], ..coming }.to(at).is_err());
    assert!(Coming { version: &TLS12, ..coming }.to(at).is_err());
    let mut clear = tcp(at.strip_prefix("tls:").unwrap());
    clear.send(LIVE).unwrap();
    assert!(!String::from_utf8_lossy(&clear.rest()).contains("HTTP"));
    assert!(server.stop());
}

#[test]
fn a_new_certificate_is_shown_without_a_restart_and_one_that_cannot_be_used_is_said_and_not_shown() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = start(folder.path(), &authority.server(), &[]);
    let coming = Coming::new(&authority);
    let shown = || {
        let stream = coming.to(&server.addresses[1]).unwrap();
        stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let mut old = Client::new(coming.to(&server.addresses[1]).unwrap());
    let next = authority.server();
    assert_ne!(shown(), next.der());
    next.write(folder.path());
    wait_until("the new certificate", || shown() == next.der());
    assert_eq!(old.ask(LIVE).status, 200, "connections go on");

    let says_old = || {
        let body = tcp(&server.address).ask(&LIVE.replace("live", "ready")).body;
        serde_json::from_str::<Value>(&body).unwrap()["old_certificate"].as_bool().unwrap()
    };
    assert!(!says_old());
    // Another's key; then none at all; then what is no key.
    let other = authority.server();
    std::fs::write(folder.path().join("tls.key"), &other.key).unwrap();
    wait_until("that the key is another's is said", says_old);
    std::fs::remove_file(folder.path().join("tls.key")).unwrap();
    server.signal("HUP");
    std::fs::write(folder.path().join("tls.key"), "-----BEGIN PRIVATE KEY-----\n!\n").unwrap();
    server.signal("HUP");
    assert_eq!((shown(), says_old()), (next.der(), true));
    other.write(folder.path());
    server.signal("HUP");
    wait_until("the right one", || shown() == other.der());
    wait_until("that it is the right one is said", || !says_old());
    let log = std::fs::read_to_string(folder.path().join("server.log")).unwrap();
    assert!(log.contains("others than its owner may read"), "{log}");
    assert!(!log.contains("BEGIN"), "{log}");
    assert!(server.stop());
}

const LOANS: &str = "spiffe://bank.example/ns/prod/sa/loans";
const MINE: &str = "GET /v2/bank/loan/tags/list HTTP/1.1\r\nhost: h\r\n\r\n";
const WHO: &str = "GET /v2/ HTTP/1.1\r\nhost: h\r\n\r\n";

#[test]
fn a_workload_is_who_its_certificate_says_and_nobody_else_is_let_in() {
    let (folder, authority, other) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let (roots, workloads) = (folder.path().join("ca.crt"), folder.path().join("workloads"));
    std::fs::write(&roots, &authority.pem).unwrap();
    std::fs::write(&workloads, format!("{LOANS} bank\n")).unwrap();
    let more = ["--tls-client-ca", text(&roots), "--spiffe-file", text(&workloads)];
    let server = start(folder.path(), &authority.server(), &more);
    let (at, coming) = (&server.addresses[1], Coming::new(&authority));

    let loans = authority.workload(&[LOANS]);
    let with = |identity: &Identity, request: &str| coming.with(identity).asks(at, request);
    assert_eq!(with(&loans, WHO), Some(200));
    let elsewhere = MINE.replace("bank", "shop");
    assert_eq!((with(&loans, MINE), with(&loans, &elsewhere)), (Some(404), Some(404)));
    let push = |tenant: &str| {
        format!("POST /v2/{tenant}/loan/blobs/uploads/ HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n")
    };
    assert_eq!(with(&loans, &push("bank")), Some(202));
    assert!(matches!(with(&loans, &push("shop")), Some(401..=404)));
    // A token is never passed over because of the certificate beside it.
    let wrong = WHO.replace("host: h", "host: h\r\nauthorization: Bearer 0123456789abcdefghijklmn");
    assert_eq!(with(&loans, &wrong), Some(401));
    // One that the file does not name is nobody.
    assert_eq!(with(&authority.workload(&["spiffe://bank.example/other"]), WHO), Some(401));
    // Over clear TCP nobody is known either.
    assert_eq!(tcp(&server.address).ask(WHO).status, 401);

    let nobody = [
        authority.workload(&[]),
        authority.workload(&[LOANS, "spiffe://bank.example/other"]),
        authority.workload(&[LOANS, "https://bank.example"]),
        authority.workload(&["https://bank.example/loans"]),
        authority.workload(&["spiffe://bank.example"]),
        other.workload(&[LOANS]),
        authority.signs(|params| {
            params.subject_alt_names = vec![SanType::URI(LOANS.try_into().unwrap())];
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }),
        authority.signs(|params| {
            params.subject_alt_names = vec![SanType::URI(LOANS.try_into().unwrap())];
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }),
    ];
    for (index, identity) in nobody.iter().enumerate() {
        assert_eq!(with(identity, LIVE), None, "{index}");
    }
    assert_eq!(coming.asks(at, LIVE), None, "without a certificate");

    // Taken out of the file, it may do nothing more, not even over a connection that it has.
    let mut open = Client::new(coming.with(&loans).to(at).unwrap());
    assert_eq!(open.ask(WHO).status, 200);
    std::fs::write(&workloads, "spiffe://bank.example/other bank\n").unwrap();
    server.signal("HUP");
    wait_until("the workload is nobody", || open.ask(WHO).status == 401);
    assert!(server.stop());
}

#[test]
fn a_connection_ends_when_its_certificate_counts_no_more() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let roots = folder.path().join("ca.crt");
    std::fs::write(&roots, &authority.pem).unwrap();
    let server = start(folder.path(), &authority.server(), &["--tls-client-ca", text(&roots)]);
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let identity = authority.signs(|params| {
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970 + Duration::from_secs(3);
    });
    let mut client = Client::new(Coming::new(&authority).with(&identity).to(&server.addresses[1]).unwrap());
    assert_eq!(client.ask(LIVE).status, 200);
    assert!(client.answer().is_ok_and(|answer| answer.is_none()), "it closes");
    // It may begin again in the same second only.
    wait_until("it is not let in", || {
        Coming::new(&authority).with(&identity).asks(&server.addresses[1], LIVE).is_none()
    });
    assert!(server.stop());
}

#[test]
fn a_server_that_would_not_listen_as_it_is_told_does_not_start() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (chain, key) = authority.server().write(folder.path());
    let (catalogue, store) = (folder.path().join("c.db"), folder.path().join("store"));
    let registry = ["serve", "--registry", text(&catalogue), "--store", text(&store)];
    let files = ["--tls-cert", text(&chain), "--tls-key", text(&key)];
    let refused = |more: &[&str], word: &str| {
        let output = verdict(&[&registry, more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(word), "{more:?}: {said}");
    };
    refused(&["--listen", "tls:127.0.0.1:0"], "--tls-cert");
    refused(&[&["--listen", "127.0.0.1:0"][..], &files].concat(), "tls:IP:PORT");
    refused(
        &["--listen", "tls:127.0.0.1:0", "--tls-cert", text(&chain), "--tls-key", text(&chain)],
        "private key",
    );
    refused(&[&["--listen", "tls:0.0.0.0:0"][..], &files].concat(), "can be reached by others");
    refused(
        &[&["--listen", "tls:127.0.0.1:0", "--spiffe-file", "f"][..], &files].concat(),
        "--tls-client-ca",
    );
}
