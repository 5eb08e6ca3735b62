//! Requests of which two readers could think differently where they end (request smuggling): each has one answer at
//! most, and then the connection ends.

use verdict_tests::server::Server;

use crate::client::{LIVE, tcp};

fn decide(headers: &str, body: &str) -> String {
    format!("POST /v1/tenants/default/policies/none/decide HTTP/1.1\r\nhost: h\r\n{headers}\r\n\r\n{body}")
}

#[test]
fn what_could_be_one_request_or_two_is_answered_once_and_ends_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::registry(folder.path(), &["--header-timeout", "500ms", "--request-timeout", "1s"]);
    let hidden = LIVE.replace("live", "hidden");
    let chunked = |chunks: &str| decide("transfer-encoding: chunked", chunks);
    let shapes = [
        // Two lengths, or a length and chunks.
        decide("content-length: 4\r\ntransfer-encoding: chunked", "0\r\n\r\n"),
        decide("transfer-encoding: chunked\r\ncontent-length: 4", "0\r\n\r\n"),
        decide("content-length: 0\r\ncontent-length: 5", "12345"),
        decide("content-length: 0, 5", "12345"),
        decide("content-length: +5", "12345"),
        decide("content-length: 0x5", "12345"),
        decide("content-length: -1", ""),
        decide("content-length: 5 5", "12345"),
        decide("content-length: 99999999999999999999999", ""),
        decide("content-length:", ""),
        // Codings that not everybody knows.
        decide("transfer-encoding: xchunked", "0\r\n\r\n"),
        decide("transfer-encoding: identity", ""),
        decide("transfer-encoding: chunked, identity", "0\r\n\r\n"),
        decide("transfer-encoding: chunked\r\ntransfer-encoding: identity", "0\r\n\r\n"),
        decide("transfer-encoding: \u{b}chunked", "0\r\n\r\n"),
        decide("transfer-encoding: chunked", "0\r\n\r\n").replace("1.1", "1.0"),
        // Names and lines that not everybody reads alike.
        decide("transfer-encoding : chunked", "0\r\n\r\n"),
        decide("content-length : 5", "12345"),
        decide("x: y\r\n content-length: 5", "12345"),
        decide("x: y\r\n\ttransfer-encoding: chunked", "0\r\n\r\n"),
        decide(" content-length: 5", "12345"),
        decide("x: y\0z", ""),
        decide("x: y\rcontent-length: 5", "12345"),
        decide("x\r\ncontent-length: 0", ""),
        decide("host: other\r\ncontent-length: 0", ""),
        LIVE.replace("host: h\r\n", ""),
        LIVE.replace("/health/live", "/health/live x"),
        LIVE.replace("HTTP/1.1", "HTTP/1.2"),
        // Chunks that are none.
        chunked("x\r\n"),
        chunked("-1\r\n\r\n"),
        chunked("0x1\r\na\r\n0\r\n\r\n"),
        chunked("+1\r\na\r\n0\r\n\r\n"),
        chunked("1\r\nab\r\n0\r\n\r\n"),
        chunked("1\r\na0\r\n\r\n"),
        chunked("1\na\n0\n\n"),
        chunked("1;x\ny\r\na\r\n0\r\n\r\n"),
        chunked("10000000000000000\r\n"),
        chunked("ffffffffffffffff\r\n"),
        chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(100_000))),
        chunked(&format!("0\r\n{}\r\n", "x: y\r\n".repeat(2_000))),
    ];
    for shape in shapes {
        let mut client = tcp(&server.address);
        let _ = client.send(format!("{shape}{hidden}"));
        let all = String::from_utf8_lossy(&client.rest()).into_owned();
        let shown: String = shape.chars().take(200).collect();
        assert!(all.matches("HTTP/1.1 ").count() <= 1, "{shown:?}: {all}");
        assert!(!all.contains("HTTP/1.1 2"), "{shown:?}: {all}");
    }
    // A line that ends without a carriage return may be taken for a line, and is by everybody alike.
    let mut client = tcp(&server.address);
    client.send(LIVE.replace("\r\n", "\n")).unwrap();
    assert!(matches!(client.answer().unwrap().unwrap().status, 200 | 400));
    assert_eq!(tcp(&server.address).ask(LIVE).status, 200);
}
