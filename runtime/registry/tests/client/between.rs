//! From folders to registries and back, and from one registry to another.

use std::fs;

use serde_json::{Value, json};
use verdict_registry::Layout;
use verdict_registry::remote::{Named, Place, RegistryHost, Repository};

use crate::peers::{Registry, docker_registry, plain_docker_registry, referrers_registry};
use crate::{copy, folder, layout, names, place, remote, remote_with};

/// Both kinds of registries, those that can be had.
fn registries() -> Vec<Registry> {
    [plain_docker_registry(), referrers_registry(None)].into_iter().flatten().collect()
}

/// A registry lists what is attached in whatever order it likes.
fn unordered(mut statements: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    statements.sort();
    statements
}

#[tokio::test]
async fn a_version_comes_back_as_it_was_with_every_statement() {
    for registry in registries() {
        let temporary = tempfile::tempdir().unwrap();
        let (from, to) = (temporary.path().join("from"), temporary.path().join("to"));
        let original = layout(&from, "1.2.0", 1, &[b"first", b"second"]);
        let pushed = copy(&folder(&from), &place(&registry.reference("bank/loan"))).await.unwrap();
        let tagged = registry.reference("bank/loan:1.2.0");
        assert_eq!((pushed.place.to_string(), pushed.statements), (tagged.clone(), 2));
        // component, config, two envelopes, and the empty config that both statements have
        assert_eq!((pushed.blobs_moved, pushed.blobs_present), (5, 0));

        let pulled = copy(&place(&tagged), &folder(&to)).await.unwrap();
        assert_eq!((pulled.image, pulled.version.as_deref()), (original.image_digest(), Some("1.2.0")));
        let (before, after) = (original.fetch().unwrap(), Layout::open(&to).unwrap().fetch().unwrap());
        assert_eq!((after.component, after.config), (before.component, before.config));
        assert_eq!(after.manifest_bytes, before.manifest_bytes);
        assert_eq!(unordered(after.statements), unordered(before.statements));
        assert_eq!(names(temporary.path()), ["from", "to"]);
        assert_eq!(names(&to), ["blobs", "index.json", "oci-layout"]);
    }
}

#[tokio::test]
async fn what_is_there_does_not_move_again() {
    for registry in registries() {
        let temporary = tempfile::tempdir().unwrap();
        let (from, to) = (temporary.path().join("from"), temporary.path().join("to"));
        let (here, there) = (folder(&from), place(&registry.reference("loan:1.0.0")));
        let original = layout(&from, "1.0.0", 2, &[b"first"]);
        copy(&here, &there).await.unwrap();
        copy(&there, &folder(&to)).await.unwrap();
        for (from, to) in [(&here, &there), (&there, &folder(&to))] {
            let again = copy(from, to).await.unwrap();
            assert_eq!((again.blobs_moved, again.blobs_present, again.bytes_moved), (0, 4, 0));
        }

        // Of a new statement, only that.
        original.attach_statement(b"approval").unwrap();
        for (from, to) in [(&here, &there), (&there, &folder(&to))] {
            let more = copy(from, to).await.unwrap();
            assert_eq!((more.blobs_moved, more.bytes_moved, more.statements), (1, 8, 2));
        }
        let statements = Layout::open(&to).unwrap().fetch().unwrap().statements;
        assert_eq!(unordered(statements), unordered(vec![b"first".to_vec(), b"approval".to_vec()]));
    }
}

#[tokio::test]
async fn a_pull_adds_to_statements_that_only_this_folder_has() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let there = place(&registry.reference("loan:1.0.0"));
    let original = layout(&temporary.path().join("from"), "1.0.0", 3, &[b"author"]);
    copy(&folder(original.path()), &there).await.unwrap();
    let local = layout(&temporary.path().join("local"), "1.0.0", 3, &[b"mine"]);
    copy(&there, &folder(local.path())).await.unwrap();
    assert_eq!(local.fetch().unwrap().statements, [b"mine".to_vec(), b"author".to_vec()]);
    // And the other way round, the registry keeps what this folder does not have.
    let other = layout(&temporary.path().join("other"), "1.0.0", 3, &[b"other"]);
    copy(&folder(other.path()), &there).await.unwrap();
    let all = temporary.path().join("all");
    assert_eq!(copy(&there, &folder(&all)).await.unwrap().statements, 2);
}

#[tokio::test]
async fn the_list_under_the_tag_keeps_what_others_wrote() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let original = layout(temporary.path(), "1.0.0", 4, &[b"first"]);
    let there = place(&registry.reference("loan"));
    copy(&folder(temporary.path()), &there).await.unwrap();
    let path = format!("/v2/loan/manifests/sha256-{}", original.image_digest().hex());
    let (status, before) = registry.get(&path);
    assert_eq!(status, 200, "{before}");
    let mut index: Value = serde_json::from_str(&before).unwrap();
    // Another tool's entry: of another kind, and with members that we do not know.
    let mut foreign = index["manifests"][0].clone();
    foreign["artifactType"] = json!("application/vnd.example.sbom");
    foreign["platform"] = json!({"architecture": "wasm", "os": "unknown"});
    foreign["data"] = json!("e30=");
    index["manifests"].as_array_mut().unwrap().push(foreign.clone());
    index["annotations"] = json!({"kept": "yes"});
    let media_type = "application/vnd.oci.image.index.v1+json";
    let (status, said) = registry.request("PUT", &path, media_type, index.to_string().as_bytes());
    assert_eq!(status, 201, "{said}");

    original.attach_statement(b"second").unwrap();
    copy(&folder(temporary.path()), &there).await.unwrap();
    let after: Value = serde_json::from_str(&registry.get(&path).1).unwrap();
    let entries = after["manifests"].as_array().unwrap();
    assert_eq!((entries.len(), entries.contains(&foreign)), (3, true), "{after}");
    assert_eq!(after["annotations"], json!({"kept": "yes"}));
}

#[tokio::test]
async fn two_who_push_statements_at_once_lose_neither() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let there = place(&registry.reference("loan:1.0.0"));
    let mut pushes = Vec::new();
    for who in 0..4_u8 {
        let from = temporary.path().join(who.to_string());
        layout(&from, "1.0.0", 5, &[&[b'0' + who]]);
        let there = there.clone();
        pushes.push(tokio::spawn(async move { copy(&folder(&from), &there).await }));
    }
    for push in pushes {
        push.await.unwrap().unwrap();
    }
    // Somebody may have lost against the last writer after having looked; a second run repairs that.
    for who in 0..4 {
        copy(&folder(&temporary.path().join(who.to_string())), &there).await.unwrap();
    }
    let all = copy(&there, &folder(&temporary.path().join("all"))).await.unwrap();
    assert_eq!(all.statements, 4);
}

#[tokio::test]
async fn a_published_version_does_not_change() {
    for registry in registries() {
        let temporary = tempfile::tempdir().unwrap();
        let (one, other) = (temporary.path().join("one"), temporary.path().join("other"));
        let first = layout(&one, "1.0.0", 6, &[b"signed"]).image_digest();
        let second = layout(&other, "1.0.0", 7, &[]).image_digest();
        let there = place(&registry.reference("loan"));
        copy(&folder(&one), &there).await.unwrap();
        let refused = copy(&folder(&other), &there).await.unwrap_err();
        assert_eq!(refused.code(), "published");
        let tagged = place(&registry.reference("loan:1.0.0"));
        let Place::Registry(reference) = &tagged else { panic!("{tagged}") };
        assert_eq!(remote().summary(reference).await.unwrap().image, first);
        // Nothing of it went up either.
        let path = format!("/v2/loan/manifests/{second}");
        assert_eq!(registry.request("GET", &path, "application/vnd.oci.image.manifest.v1+json", b"").0, 404);

        // A folder is as careful.
        assert_eq!(copy(&tagged, &folder(&other)).await.unwrap_err().code(), "published");
        assert_eq!(Layout::open(&other).unwrap().image_digest(), second);

        assert_eq!(remote().copy(&folder(&other), &tagged, true).await.unwrap().image, second);
        let replaced = remote().copy(&tagged, &folder(&one), true).await.unwrap();
        let now = Layout::open(&one).unwrap();
        assert_eq!((replaced.image, now.image_digest()), (second, second));
        // The signature of the old image is not one of the new.
        assert!(now.fetch().unwrap().statements.is_empty());
    }
}

#[tokio::test]
async fn other_tags_move_and_versions_are_named_by_their_own() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let (one, other) = (temporary.path().join("one"), temporary.path().join("other"));
    layout(&one, "1.0.0", 8, &[]);
    let second = layout(&other, "1.1.0-rc.1+build.5", 9, &[]).image_digest();
    let latest = place(&registry.reference("loan:latest"));
    copy(&folder(&one), &latest).await.unwrap();
    copy(&folder(&other), &latest).await.unwrap();
    let Place::Registry(reference) = &latest else { panic!("{latest}") };
    assert_eq!(remote().summary(reference).await.unwrap().image, second);

    let wrong = copy(&folder(&one), &place(&registry.reference("loan:2.0.0"))).await.unwrap_err();
    assert_eq!(wrong.code(), "other-version");
    let tagged = copy(&folder(&other), &place(&registry.reference("loan"))).await.unwrap().place;
    assert_eq!(tagged.to_string(), registry.reference("loan:1.1.0-rc.1_build.5"));
    copy(&folder(&one), &place(&registry.reference("loan:v1.0.0"))).await.unwrap();

    let missing = copy(&place(&registry.reference("loan")), &folder(&temporary.path().join("new"))).await;
    let missing = missing.unwrap_err();
    assert_eq!(missing.code(), "no-version");
    assert!(missing.to_string().contains("`v1.0.0`"), "{missing}");
}

#[tokio::test]
async fn lists_repositories_and_tags() {
    for registry in registries() {
        let temporary = tempfile::tempdir().unwrap();
        for (name, version) in [("loan", "1.0.0"), ("loan", "1.1.0"), ("cards", "0.1.0")] {
            let from = temporary.path().join(name).join(version);
            layout(&from, version, 10, &[]);
            copy(&folder(&from), &place(&registry.reference(&format!("bank/{name}")))).await.unwrap();
        }
        let host: RegistryHost = registry.address.to_string().parse().unwrap();
        let repositories = remote().repositories(&host).await.unwrap().unwrap();
        let expected = ["bank/cards", "bank/loan"].map(|name| Repository::of(&host, name).unwrap());
        assert_eq!(repositories, expected);
        let tags = remote().tags(&repositories[1]).await.unwrap().unwrap();
        assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1.0.0", "1.1.0"]);
        assert_eq!(remote().tags(&Repository::of(&host, "bank/none").unwrap()).await.unwrap(), None);
        let missing = place(&registry.reference("bank/loan:9.9.9"));
        assert_eq!(
            copy(&missing, &folder(&temporary.path().join("new"))).await.unwrap_err().code(),
            "not-found"
        );
    }
}

#[tokio::test]
async fn copies_between_registries_and_moves_nothing_within_one() {
    let (Some(docker), Some(other)) = (plain_docker_registry(), referrers_registry(None)) else { return };
    let temporary = tempfile::tempdir().unwrap();
    let original = layout(temporary.path(), "1.0.0", 11, &[b"author", b"approval"]);
    let [first, second, third] = [
        place(&docker.reference("staging/loan:1.0.0")),
        place(&docker.reference("production/loan:1.0.0")),
        place(&other.reference("loan:1.0.0")),
    ];
    copy(&folder(temporary.path()), &first).await.unwrap();
    let within = copy(&first, &second).await.unwrap();
    assert_eq!((within.blobs_moved, within.blobs_present, within.statements), (0, 5, 2));
    let across = copy(&second, &third).await.unwrap();
    assert_eq!((across.blobs_moved, across.statements), (5, 2));
    let (status, referrers) = other.get(&format!("/v2/loan/referrers/{}", original.image_digest()));
    let referrers: Value = serde_json::from_str(&referrers).unwrap();
    assert_eq!((status, referrers["manifests"].as_array().unwrap().len()), (200, 2), "{referrers}");

    // By digest as well, and from folder to folder.
    let digest = original.image_digest();
    let by_digest = place(&other.reference(&format!("loan@{digest}")));
    let [one, two] = ["one", "two"].map(|name| temporary.path().join(name));
    copy(&by_digest, &folder(&one)).await.unwrap();
    assert_eq!(copy(&folder(&one), &folder(&two)).await.unwrap().statements, 2);
    let statements = |layout: &Layout| unordered(layout.fetch().unwrap().statements);
    assert_eq!(statements(&Layout::open(&two).unwrap()), statements(&original));
    let to_digest = place(&docker.reference(&format!("pinned@{digest}")));
    copy(&folder(&one), &to_digest).await.unwrap();
    let Place::Registry(pinned) = &to_digest else { panic!("{to_digest}") };
    assert_eq!(pinned.named(), Some(&Named::Digest(digest)));
    assert_eq!(remote().summary(pinned).await.unwrap().statements, 2);
}

/// The bcrypt hash of `s3cret`.
const HTPASSWD: &[u8] = b"ann:$2b$12$.ukjTlAn2aAxiEv3uafmN.MNLHaxlEECWeetCpyML2SR3NbPi6qci\n";

/// Pushes with credentials for the registry, written as `docker login` does, and with others or none.
async fn push_needs_credentials(registry: &Registry) {
    let temporary = tempfile::tempdir().unwrap();
    let from = temporary.path().join("from");
    layout(&from, "1.0.0", 12, &[b"author"]);
    let there = place(&registry.reference("bank/loan"));
    let denied = copy(&folder(&from), &there).await.unwrap_err();
    assert_eq!((denied.code(), denied.remedy().contains("log in with")), ("denied", true), "{denied}");
    let config = temporary.path().join("docker");
    fs::create_dir(&config).unwrap();
    for (auth, ok) in [("YW5uOndyb25n", false), ("YW5uOnMzY3JldA==", true)] {
        let auths = json!({ "auths": { registry.address.to_string(): { "auth": auth } } });
        fs::write(config.join("config.json"), auths.to_string()).unwrap();
        let pushed = remote_with(Some(config.clone())).copy(&folder(&from), &there, false).await;
        match pushed {
            Ok(moved) => assert!(ok && moved.statements == 1),
            Err(error) => {
                assert_eq!((ok, error.code(), error.to_string().contains("wrong")), (false, "denied", false));
            }
        }
    }
    let (tagged, to) = (place(&registry.reference("bank/loan:1.0.0")), folder(&temporary.path().join("to")));
    let pulled = remote_with(Some(config)).copy(&tagged, &to, false).await.unwrap();
    assert_eq!(pulled.statements, 1);
}

#[tokio::test]
async fn shows_name_and_password_to_a_registry_that_asks() {
    let auth = "auth:\n  htpasswd:\n    realm: test\n    path: FOLDER/htpasswd\n";
    let Some(registry) = docker_registry("", auth, &[("htpasswd", HTPASSWD)]) else { return };
    push_needs_credentials(&registry).await;
}

#[tokio::test]
async fn gets_a_token_where_the_registry_says() {
    let Some(registry) = referrers_registry(Some("ann:s3cret")) else { return };
    push_needs_credentials(&registry).await;
}
