//! Request bodies as they come: gathered into pieces, never whole, and not for ever.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use tokio::time::timeout;

use super::error::{Code, OciError};

/// What is handed on at once, in bytes. Each piece is made durable by itself.
pub(crate) const PIECE_BYTES: usize = 2 << 20;
/// Who sends slower than this, in bytes a second, holds a place that others need.
const RATE_MIN: u64 = 16 << 10;

/// A body that is read piece by piece; nothing is read before it is asked for.
pub(crate) struct Pieces {
    body: Incoming,
    patience: Duration,
    began: Instant,
    received: u64,
}

/// What comes after a piece.
pub(crate) enum After {
    /// Perhaps more.
    More,
    /// Nothing: the body is complete.
    End,
    /// Nothing, but it should have.
    Broken(OciError),
}

impl Pieces {
    /// `patience` is how long to wait for the next byte.
    pub(crate) fn new(body: Incoming, patience: Duration) -> Self {
        Self { body, patience, began: Instant::now(), received: 0 }
    }

    /// The next piece: at least [`PIECE_BYTES`], unless the body ends or breaks off.
    pub(crate) async fn next(&mut self) -> (Bytes, After) {
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES {
            match self.frame().await {
                Ok(Some(data)) => piece.extend_from_slice(&data),
                Ok(None) => return (piece.into(), After::End),
                Err(error) => return (piece.into(), After::Broken(error)),
            }
        }
        (piece.into(), After::More)
    }

    /// The whole body, if it has at most so many bytes; none if it has more.
    pub(crate) async fn whole(mut self, bytes_max: usize) -> Result<Option<Bytes>, OciError> {
        let mut whole = Vec::new();
        while let Some(data) = self.frame().await? {
            if whole.len() + data.len() > bytes_max {
                return Ok(None);
            }
            whole.extend_from_slice(&data);
        }
        Ok(Some(whole.into()))
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, OciError> {
        loop {
            let Ok(frame) = timeout(self.patience, self.body.frame()).await else { return Err(slow()) };
            let Some(frame) = frame else { return Ok(None) };
            let broken =
                |_| OciError::bad(Code::BlobUploadInvalid, "the body broke off; go on where it ended");
            // Trailers say nothing here.
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            self.received += data.len() as u64;
            if self.began.elapsed() > self.patience + Duration::from_secs(self.received / RATE_MIN) {
                return Err(slow());
            }
            return Ok(Some(data));
        }
    }
}

fn slow() -> OciError {
    OciError::new(StatusCode::REQUEST_TIMEOUT, Code::BlobUploadInvalid, "the body came too slowly")
}
