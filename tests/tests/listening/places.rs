//! Where a server listens.

use std::os::unix::fs::PermissionsExt as _;

use verdict_tests::server::{Server, text, verdict};

use crate::client::{LIVE, tcp, unix};

#[test]
fn listens_at_several_addresses_and_answers_the_same_at_each() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("v.sock");
    let at = format!("unix:{}", text(&socket));
    let more = ["--listen", "127.0.0.1:0", "--listen", &at, "--unix-mode", "620"];
    let server = Server::registry(folder.path(), &more);
    assert_eq!(server.addresses.len(), 3, "{:?}", server.addresses);
    assert_eq!(server.addresses[2], at);
    let bodies =
        [tcp(&server.addresses[0]).ask(LIVE), tcp(&server.addresses[1]).ask(LIVE), unix(&at).ask(LIVE)]
            .map(|answer| (answer.status, answer.body));
    assert_eq!(bodies[0].0, 200);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o620);
    assert!(server.stop());
    assert!(!socket.exists());
}

#[test]
fn a_socket_that_somebody_listens_at_is_not_taken_and_one_that_a_killed_server_left_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = format!("unix:{}", text(&folder.path().join("v.sock")));
    let first = Server::registry(folder.path(), &["--listen", &at]);
    let other = tempfile::tempdir().unwrap();
    let (catalogue, store) = (other.path().join("c.db"), other.path().join("store"));
    let second = ["serve", "--listen", &at, "--registry", text(&catalogue), "--store", text(&store)];
    let refused = verdict(&second);
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&at), "{refused:?}");
    assert_eq!(unix(&at).ask(LIVE).status, 200);
    first.kill();
    let third = Server::registry(other.path(), &["--listen", &at]);
    assert_eq!(unix(&at).ask(LIVE).status, 200);
    assert!(third.stop());
}
