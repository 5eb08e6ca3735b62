//! The way in when nothing else works: a Unix socket that only its owner can open. What is done over it is recorded
//! first, and is not done if that fails.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use verdict::core::time::Timestamp;

use super::action::Action;

/// Where the break-glass socket is, and where what is done over it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlass {
    /// The socket. Made by the server, for its own user and root alone.
    pub socket: PathBuf,
    /// A file of JSON lines. With an access policy the log of tenant `system` has them, and the file those that the
    /// log could not take.
    pub record: PathBuf,
}

/// Binds the socket, which must not be there.
///
/// # Errors
/// When the operating system refuses.
pub(crate) fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    // Whoever is quicker than this is still asked who it is.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Whether the one who connected is this server's own user, or root. The kernel says so.
pub(crate) fn is_owner(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| may_connect(peer.uid(), own))
}

const fn may_connect(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// The file of what was done.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    /// None after a failure: what a failed sync has kept is not known.
    file: Arc<Mutex<Option<File>>>,
}

impl Journal {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
        // A crash may have left half a line; the next one is a line of its own.
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        file.sync_all()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        Ok(Self { file: Arc::new(Mutex::new(Some(file))) })
    }

    /// Writes down what is going to be done; durable when it returns.
    pub(super) async fn record(&self, action: &Action<'_>, at: Timestamp) -> std::io::Result<()> {
        let line = json!({
            "at": at.to_string(), "action": action.name, "tenant": action.tenant, "resource": action.resource(),
        });
        let (line, file) = (format!("{line}\n"), Arc::clone(&self.file));
        let write = move || {
            let mut place = file.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(mut file) = place.take() else { return Err(std::io::Error::other("it failed before")) };
            file.write_all(line.as_bytes())?;
            file.sync_data()?;
            *place = Some(file);
            Ok(())
        };
        tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other)?
    }
}

#[cfg(test)]
impl Journal {
    /// As after a failure.
    pub(super) fn fail(&self) {
        drop(self.file.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_user_and_root_may_connect() {
        assert!(may_connect(1000, 1000) && may_connect(0, 1000) && may_connect(0, 0));
        assert!(!may_connect(1001, 1000) && !may_connect(1000, 0));
    }

    #[tokio::test]
    async fn the_socket_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("break.sock");
        let listener = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
        assert!(client.is_ok() && is_owner(&accepted.unwrap().0));
        assert!(bind(&path).is_err());
    }

    #[tokio::test]
    async fn what_was_done_is_there_line_by_line_also_after_half_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("break-glass.jsonl");
        let tenant = "bank".parse().unwrap();
        let action = Action::new("key.create", Some(&tenant), "bank");
        let at = Timestamp::from_millis(0).unwrap();
        Journal::open(&path).unwrap().record(&action, at).await.unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"at\":").unwrap();
        Journal::open(&path).unwrap().record(&action, at).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Option<serde_json::Value>> =
            text.lines().map(|line| serde_json::from_str(line).ok()).collect();
        let expected = json!({
            "at": "1970-01-01T00:00:00.000Z", "action": "key.create", "tenant": "bank", "resource": "bank",
        });
        assert_eq!(lines, [Some(expected.clone()), None, Some(expected)]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_is_an_error_ever_after() {
        let journal = Journal { file: Arc::new(Mutex::new(Some(File::open("/dev/null").unwrap()))) };
        let action = Action::new("key.create", None, "");
        for _ in 0..2 {
            assert!(journal.record(&action, Timestamp::EPOCH).await.is_err());
        }
    }
}
