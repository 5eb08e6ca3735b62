//! Sockets that are listened at, from binding to the last connection that the kernel has taken.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockFilter, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::stream::Stream;
use super::{Listen, ListenError};
use crate::access;

/// How many connections the kernel takes before they are taken from it.
const BACKLOG: i32 = 1_024;
/// How many files are open besides connections, at most.
const FILES_BESIDE: u64 = 1_024;
/// How long to wait where the operating system has nothing to give: trying again at once would only spin.
const BREATHER: Duration = Duration::from_millis(50);
/// How long connections that clients have begun to make may take to arrive, when no new ones are begun.
const SETTLE: Duration = Duration::from_millis(100);

/// A socket that is listened at.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Listening,
    /// Where, with the port that was taken.
    pub(super) address: Listen,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens at an address.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) async fn bind(listen: &Listen, unix_mode: Option<u32>) -> Result<Self, ListenError> {
        let failed = |error| ListenError::Bind(listen.clone(), error);
        match listen {
            Listen::Tcp(address) | Listen::Tls(address) => {
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let address = listen.taken(listener.local_addr().map_err(failed)?);
                Ok(Self { socket: Listening::Tcp(listener), address })
            }
            Listen::Unix(path) => {
                remove_stale_socket(path).await.map_err(failed)?;
                let listener = bind_unix(path, unix_mode).map_err(failed)?;
                Ok(Self { socket: Listening::Unix(listener), address: listen.clone() })
            }
        }
    }

    /// Listens at the break-glass socket.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) async fn break_glass(path: &Path) -> Result<Self, ListenError> {
        let address = Listen::Unix(path.to_owned());
        let failed = |error| ListenError::Bind(address.clone(), error);
        remove_stale_socket(path).await.map_err(failed)?;
        let listener = access::bind(path).map_err(failed)?;
        Ok(Self { socket: Listening::Unix(listener), address })
    }

    /// The next connection; never an error that would come again at once.
    pub(super) async fn accept(&self) -> Option<Stream> {
        let accepted = match &self.socket {
            Listening::Tcp(listener) => listener.accept().await.map(|(stream, _)| of_tcp(stream)),
            Listening::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        };
        match accepted {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATHER).await;
                None
            }
        }
    }

    /// Closes the socket, and returns what the kernel has taken until then: its clients have a connection, and may have
    /// asked already.
    pub(super) async fn close(self) -> Vec<Stream> {
        self.begin_no_more();
        let mut taken = Vec::new();
        // What waits now, and what was on its way.
        let waiting = self.take(&mut taken);
        tokio::time::sleep(SETTLE).await;
        if let Err(error) = waiting.and_then(|()| self.take(&mut taken)) {
            tracing::warn!(%error, "connections that wait to be accepted are lost");
        }
        taken
    }

    fn begin_no_more(&self) {
        let refused = match (&self.socket, &self.address) {
            (Listening::Tcp(listener), _) => SockRef::from(listener).attach_filter(&NO_SYN),
            (Listening::Unix(_), Listen::Unix(path)) => std::fs::remove_file(path),
            (Listening::Unix(_), Listen::Tcp(_) | Listen::Tls(_)) => Ok(()),
        };
        if let Err(error) = refused {
            tracing::debug!(%error, "connections may be lost that are made at this very moment");
        }
    }

    /// Takes what waits. The runtime's own way of accepting would say that nothing does until it has been told otherwise.
    fn take(&self, taken: &mut Vec<Stream>) -> io::Result<()> {
        loop {
            let socket = match &self.socket {
                Listening::Tcp(listener) => SockRef::from(listener).accept(),
                Listening::Unix(listener) => SockRef::from(listener).accept(),
            };
            let socket = match socket {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            socket.set_nonblocking(true)?;
            taken.push(match &self.socket {
                Listening::Tcp(_) => of_tcp(TcpStream::from_std(socket.into())?),
                Listening::Unix(_) => Stream::Unix(UnixStream::from_std(socket.into())?),
            });
        }
    }
}

/// Lets this process have a file for each connection, as far as it may: shells and service managers set a limit of a
/// thousand, for programs that cannot do with more.
pub(super) fn make_room(connections_max: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(FILES_BESIDE);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let room = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(room), maximum });
    if raised.is_err() || room < wanted {
        tracing::warn!(
            wanted,
            room,
            "this process may have too few files open for as many connections as it may have"
        );
    }
}

fn of_tcp(stream: TcpStream) -> Stream {
    // An answer is one small packet; waiting for more to send would only delay it.
    let _ = stream.set_nodelay(true);
    Stream::Tcp(stream)
}

/// Has the kernel drop what begins a connection (SYN) and let pass what ends the making of one: between the last
/// connection that is taken and the closing of the socket none may be made, because it would be reset. Whoever wanted
/// one tries again, and is refused then.
///
/// A program for packets as they begin with the TCP header (RFC 9293, section 3.1): byte 13 has the flags.
const NO_SYN: [SockFilter; 4] = [
    // Load the byte at 13.
    SockFilter::new(0x30, 0, 0, 13),
    // If it has SYN (2), go on with the next, else skip it.
    SockFilter::new(0x45, 0, 1, 0x02),
    // Keep nothing of the packet.
    SockFilter::new(0x06, 0, 0, 0),
    // Keep all of it.
    SockFilter::new(0x06, 0, 0, 0xffff_ffff),
];

fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(mode) = mode {
        // Before it listens: until then nobody can connect.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// A socket file that a killed server left behind would keep the next one from starting. One that answers is in use.
async fn remove_stale_socket(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() || UnixStream::connect(path).await.is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    std::fs::remove_file(path)
}
