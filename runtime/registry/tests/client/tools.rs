//! Together with `crane`: it reads what we write, and we read what it writes.

use std::fs;

use serde_json::Value;
use verdict_registry::Layout;

use crate::peers::{crane, plain_docker_registry, referrers_registry};
use crate::{copy, folder, layout, place};

#[tokio::test]
async fn crane_pulls_what_we_pushed_and_we_open_what_it_pulled() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    let original = layout(&here.join("from"), "1.0.0", 21, &[b"author"]);
    copy(&folder(original.path()), &place(&registry.reference("loan"))).await.unwrap();

    let tagged = registry.reference("loan:1.0.0");
    let Some(digest) = crane(here, &["digest", &tagged]) else { return };
    assert_eq!(digest, original.image_digest().to_string());
    crane(here, &["validate", "--remote", &tagged, "--fast"]);
    let manifest: Value = serde_json::from_str(&crane(here, &["manifest", &tagged]).unwrap()).unwrap();
    assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], "bank/loan");
    let tags = crane(here, &["ls", &registry.reference("loan")]).unwrap();
    assert_eq!(
        tags.lines().collect::<Vec<_>>(),
        ["1.0.0", &format!("sha256-{}", original.image_digest().hex())]
    );

    crane(here, &["pull", "--format=oci", &tagged, "pulled"]);
    let pulled = Layout::open(&here.join("pulled")).unwrap();
    assert_eq!(pulled.image_digest(), original.image_digest());
    assert_eq!(pulled.component().unwrap(), original.component().unwrap());
    // It has taken no statements; we do.
    assert!(pulled.fetch().unwrap().statements.is_empty());
    let more = copy(&place(&tagged), &folder(pulled.path())).await.unwrap();
    assert_eq!((more.blobs_moved, more.statements), (2, 1));
    assert_eq!(Layout::open(pulled.path()).unwrap().fetch().unwrap().statements, [b"author"]);
}

#[tokio::test]
async fn we_pull_what_crane_copied_and_pushed() {
    for registry in [plain_docker_registry(), referrers_registry(None)].into_iter().flatten() {
        let temporary = tempfile::tempdir().unwrap();
        let here = temporary.path();
        let original = layout(&here.join("from"), "1.0.0", 22, &[b"author"]);
        copy(&folder(original.path()), &place(&registry.reference("loan"))).await.unwrap();

        // An image and, by its tag, the list of its statements.
        let list = format!("sha256-{}", original.image_digest().hex());
        for tag in ["1.0.0", &list] {
            let (from, to) =
                (registry.reference(&format!("loan:{tag}")), registry.reference(&format!("copy:{tag}")));
            if crane(here, &["copy", &from, &to]).is_none() {
                return;
            }
        }
        let copied =
            copy(&place(&registry.reference("copy:1.0.0")), &folder(&here.join("copied"))).await.unwrap();
        assert_eq!((copied.image, copied.statements), (original.image_digest(), 1));

        // A folder with one image, and one with an index, which is what a version with statements is to other tools.
        let bare = layout(&here.join("bare"), "1.1.0", 23, &[]);
        crane(here, &["push", "bare", &registry.reference("pushed:1.1.0")]);
        crane(here, &["push", "--index", "from", &registry.reference("pushed:indexed")]);
        for (tag, image) in [("1.1.0", bare.image_digest()), ("indexed", original.image_digest())] {
            let to = here.join(tag);
            let pulled =
                copy(&place(&registry.reference(&format!("pushed:{tag}"))), &folder(&to)).await.unwrap();
            assert_eq!(pulled.image, image, "{tag}");
            assert!(fs::exists(to.join("oci-layout")).unwrap());
        }
    }
}
