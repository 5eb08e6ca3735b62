//! The client against registries that others wrote, and against ones that lie.
#![cfg(feature = "client")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

mod between;
mod hostile;
mod interrupted;
mod peers;
mod servers;
mod tools;

use std::path::{Path, PathBuf};

use verdict_registry::Layout;
use verdict_registry::remote::{Moved, Place, Remote, RemoteError, RemoteOptions};

/// A component of about so many bytes, different for every `filling`.
pub(crate) fn component(filling: u8, bytes: usize) -> Vec<u8> {
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    // A custom section without a name, as long as five bytes of LEB128 say.
    let length = u32::try_from(bytes + 1).unwrap();
    component.push(0);
    for shift in [0, 7, 14, 21, 28] {
        component.push((length >> shift & 0x7f) as u8 | if shift < 28 { 0x80 } else { 0 });
    }
    component.push(0);
    component.extend(std::iter::repeat_n(filling, bytes));
    component
}

/// A folder with version `version` of the policy `bank/loan`.
pub(crate) fn layout(folder: &Path, version: &str, filling: u8, statements: &[&[u8]]) -> Layout {
    let component = component(filling, 300_000);
    let (policy, version) = ("bank/loan".parse().unwrap(), version.parse().unwrap());
    let layout = Layout::create(folder, &component, &policy, &version).unwrap();
    for statement in statements {
        layout.attach_statement(statement).unwrap();
    }
    layout
}

/// A client without TLS and credentials.
pub(crate) fn remote() -> Remote {
    remote_with(None)
}

/// A client without TLS that reads its credentials there.
pub(crate) fn remote_with(docker_config: Option<PathBuf>) -> Remote {
    Remote::new(RemoteOptions { plain_http: true, docker_config, progress: None }).unwrap()
}

pub(crate) fn place(text: &str) -> Place {
    text.parse().unwrap()
}

pub(crate) fn folder(path: &Path) -> Place {
    Place::Folder(path.into())
}

/// Copies with a client of its own.
pub(crate) async fn copy(from: &Place, to: &Place) -> Result<Moved, RemoteError> {
    remote().copy(from, to, false).await
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
