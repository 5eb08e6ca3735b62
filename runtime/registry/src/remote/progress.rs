//! What a transfer says while it goes on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// How many bytes are handed on at once.
const PIECE_BYTES: usize = 64 << 10;

/// Something that happened in a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes more are to be moved.
    Expected(u64),
    /// So many bytes were moved. Those that were lost on the way are moved, and reported, again.
    Moved(u64),
}

/// Is told what happens in a transfer.
pub type ProgressFn = dyn Fn(Progress) + Send + Sync;

/// Bytes that are counted on their way out.
pub(crate) struct Counted {
    rest: Bytes,
    progress: Option<Arc<ProgressFn>>,
}

impl Counted {
    pub(crate) fn new(bytes: Bytes, progress: Option<Arc<ProgressFn>>) -> Self {
        Self { rest: bytes, progress }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(bytes);
        if let Some(progress) = &self.progress {
            progress(Progress::Moved(u64::try_from(bytes).unwrap_or(u64::MAX)));
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}
