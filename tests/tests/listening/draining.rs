//! Stopping: nobody who asks is left without an answer.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use verdict_tests::server::Server;

use crate::client::{Client, LIVE, tcp, try_tcp};

const CLIENTS: usize = 16;
const ROUNDS: usize = 20;

/// Asks over and over, and connects again where the server has said that it closes; until nobody listens any more.
fn hammer(address: &str, answered: &AtomicUsize) -> Result<(), String> {
    loop {
        let stream = match try_tcp(address) {
            Ok(stream) => stream,
            // The one thing that may happen: there is no server any more.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(()),
            Err(error) => return Err(format!("connecting: {error}")),
        };
        let mut client = Client::new(stream);
        loop {
            client.send(LIVE).map_err(|error| format!("sending: {error}"))?;
            let answer = client.answer().map_err(|error| format!("reading: {error}"))?;
            let answer = answer.ok_or("closed without an answer")?;
            if answer.status != 200 {
                return Err(answer.head);
            }
            answered.fetch_add(1, Ordering::Relaxed);
            if answer.closes() {
                break;
            }
        }
    }
}

#[test]
fn a_server_that_is_told_to_stop_under_load_fails_no_request() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let server = Server::registry(folder.path(), &[]);
        let answered = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (address, answered) = (server.address.clone(), Arc::clone(&answered));
                std::thread::spawn(move || hammer(&address, &answered))
            })
            .collect();
        while answered.load(Ordering::Relaxed) < CLIENTS * 10 {
            assert!(clients.iter().all(|client| !client.is_finished()), "round {round}");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(server.stop());
        for client in clients {
            assert_eq!(client.join().unwrap(), Ok(()), "round {round}");
        }
    }
}

#[test]
fn what_is_under_way_is_answered_and_idle_connections_may_ask_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::registry(folder.path(), &[]);
    let (mut begun, mut idle, mut silent) =
        (tcp(&server.address), tcp(&server.address), tcp(&server.address));
    assert!(!idle.ask(LIVE).closes());
    let (head, rest) = LIVE.split_at(20);
    begun.send(head).unwrap();
    // Once this one is answered, what was sent before has been read.
    assert_eq!(tcp(&server.address).ask(LIVE).status, 200);
    let stopped = Arc::new(AtomicBool::new(false));
    let stopping = std::thread::spawn({
        let stopped = Arc::clone(&stopped);
        move || {
            let ended = server.stop();
            stopped.store(true, Ordering::Relaxed);
            ended
        }
    });
    // Whether it has heard yet or not, each is answered; that it has is said.
    loop {
        let answer = idle.ask(LIVE);
        assert_eq!(answer.status, 200);
        if answer.closes() {
            break;
        }
    }
    begun.send(rest).unwrap();
    let answer = begun.answer().unwrap().unwrap();
    assert_eq!((answer.status, answer.closes()), (200, true));
    assert!(silent.rest().is_empty(), "nothing was asked");
    assert!(stopping.join().unwrap());
}

#[test]
fn while_it_waits_for_load_balancers_it_answers_everything_and_says_that_it_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::registry(folder.path(), &["--drain-delay", "1m"]);
    let ready = LIVE.replace("live", "ready");
    assert_eq!(tcp(&server.address).ask(&ready).status, 200);
    server.signal("TERM");
    while tcp(&server.address).ask(&ready).status == 200 {
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..3 {
        let answer = tcp(&server.address).ask(LIVE);
        assert_eq!((answer.status, answer.closes()), (200, true));
    }
    // Told once more, it waits no longer.
    assert!(server.stop());
}
