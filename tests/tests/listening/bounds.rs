//! What is too much is refused at once, and said so; what is slow is not waited for.

use verdict_tests::server::Server;

use crate::client::{LIVE, tcp};

#[test]
fn connections_beyond_the_most_are_told_so_and_health_is_answered_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::registry(folder.path(), &["--connections-max", "2"]);
    let (mut first, mut second) = (tcp(&server.address), tcp(&server.address));
    assert_eq!((first.ask(LIVE).status, second.ask(LIVE).status), (200, 200));
    let question = "GET /v1/openapi.json HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut third = tcp(&server.address);
    let answer = third.ask(question);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.head);
    assert!(answer.closes() && answer.body.contains("overloaded"), "{answer:?}");
    assert!(third.rest().is_empty());
    assert_eq!(tcp(&server.address).ask(LIVE).status, 200);
    assert_eq!(first.ask(question).status, 200);
    drop(first);
    // Its place is free as soon as the server has seen that it is gone.
    while tcp(&server.address).ask(question).status == 503 {}
    assert_eq!(second.ask(question).status, 200);
}
