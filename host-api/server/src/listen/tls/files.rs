//! Files in PEM.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::TlsError;

/// The largest file, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// Certificates, at least one.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let malformed = || TlsError::Malformed(path.into(), "certificate");
    let text = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(malformed)
}

/// A private key.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    // What is wrong with a key is not said in words that could have some of it.
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| TlsError::Malformed(path.into(), "private key without a passphrase"))
}

/// Warns where others than its owner can read a key.
pub(super) fn warn_of_readers(path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |file| file.mode());
    if mode & 0o077 != 0 {
        let mode = format!("{:o}", mode & 0o777);
        tracing::warn!(path = %path.display(), mode, "others than its owner may read or write the private key");
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |error| TlsError::File(path.into(), error);
    // With room for all of it: growing would leave a part of a key behind.
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > BYTES_MAX {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(bytes).unwrap_or_default() + 1));
    file.take(BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}
