//! The floor under every HTTP figure: hyper alone, which reads the same body and writes the same bytes.

use std::convert::Infallible;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use verdict_tests::server::{pinned, text};

use crate::process::{Ended, line_after};

/// What tells this program to be the bare server.
pub(crate) const ARGUMENT: &str = "bare";

const LISTENING: &str = "listening on ";

/// Starts the bare server in a process of its own, if wanted on certain cores only, and returns where it listens.
pub(crate) fn start(answer: &Path, cores: Option<&str>) -> (Ended, String) {
    let program = std::env::current_exe().expect("a program has a path");
    let mut command = match cores {
        None => Command::new(program),
        Some(cores) => pinned(cores, &program),
    };
    let child = command
        .args([ARGUMENT, text(answer)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the bare server runs");
    let mut process = Ended(child);
    let address = line_after(&mut process, LISTENING, Duration::from_secs(20));
    (process, address)
}

/// Answers every request with the bytes of a file, for ever.
pub(crate) fn serve(arguments: &[String]) {
    let answer = arguments.first().expect("the answer's file follows");
    let answer = Bytes::from(std::fs::read(answer).expect("the answer can be read"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        println!("{LISTENING}{}", listener.local_addr().expect("it is bound"));
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let answer = answer.clone();
            let service = service_fn(move |request| respond(request, answer.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}

async fn respond(request: Request<Incoming>, answer: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    // What was read is thrown away; a body that breaks off breaks the connection too.
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(answer));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
