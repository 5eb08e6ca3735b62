//! The stream of a server's events: server-sent events, taken up where it broke off.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::ops::ControlFlow;

use bytes::{Buf as _, BytesMut};
use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::Value;

use super::{AGAIN_MAX, AGAIN_MIN, Server};
use crate::remote::error::RemoteError;
use crate::remote::wire::{self, Call};

/// One event of the stream, in bytes.
const EVENT_BYTES_MAX: usize = 1 << 20;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What of an event has come.
#[derive(Default)]
struct Partial {
    id: Option<String>,
    data: String,
}

impl Partial {
    /// Takes one line; an event, where it ends one.
    fn line(&mut self, line: &str) -> Option<(Option<String>, String)> {
        if line.is_empty() {
            let done = std::mem::take(self);
            return (!done.data.is_empty()).then_some((done.id, done.data));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.into()),
            "data" if self.data.is_empty() => self.data = value.into(),
            "data" => {
                self.data.push('\n');
                self.data.push_str(value);
            }
            // Comments, and what other events may have.
            _ => {}
        }
        None
    }
}

impl Server {
    /// Hands on every event after number `after` as it happens, until `each` says that it is enough. A stream that breaks
    /// off is taken up again, without a gap.
    ///
    /// # Errors
    /// When the server says no, or answers what it should not.
    pub fn follow_events(
        &self,
        query: &[(&str, &str)],
        after: u64,
        mut each: impl FnMut(Value) -> ControlFlow<()>,
    ) -> Result<(), RemoteError> {
        self.block(async {
            let mut last = after.to_string();
            let mut again = AGAIN_MIN;
            loop {
                let before = last.clone();
                match self.stream(query, &mut last, &mut each).await {
                    Ok(ControlFlow::Break(())) => return Ok(()),
                    Ok(ControlFlow::Continue(())) => {}
                    Err(error) if error.is_transient() => {}
                    Err(error) => return Err(error),
                }
                again = if last == before { (again * 2).min(AGAIN_MAX) } else { AGAIN_MIN };
                tokio::time::sleep(again).await;
            }
        })
    }

    /// One stream, until it ends.
    async fn stream(
        &self,
        query: &[(&str, &str)],
        last: &mut String,
        each: &mut impl FnMut(Value) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, RemoteError> {
        let wire = &self.inner.wire;
        let mut call = Call::new(Method::GET, self.address(&["v1", "events", "stream"], query));
        call.accept = Some("text/event-stream");
        // It is broken off and taken up again from time to time.
        call.is_blob = true;
        call.headers.push((LAST_EVENT_ID, last.clone()));
        let mut response = wire.open(&call).await?;
        let (mut partial, mut unread) = (Partial::default(), BytesMut::new());
        loop {
            let chunk = response.chunk().await.map_err(|error| wire.unreachable(wire::chain(&error)))?;
            let Some(chunk) = chunk else { return Ok(ControlFlow::Continue(())) };
            unread.extend_from_slice(&chunk);
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line = unread.split_to(end);
                unread.advance(1);
                let line = std::str::from_utf8(&line).unwrap_or_default().trim_end_matches('\r');
                let Some((id, data)) = partial.line(line) else { continue };
                let event = verdict_core::json::parse(data.as_bytes(), EVENT_BYTES_MAX)
                    .map_err(|error| self.malformed(&format!("sends what is no event: {error}")))?;
                if each(event).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if let Some(id) = id {
                    *last = id;
                }
            }
            if unread.len() + partial.data.len() > EVENT_BYTES_MAX {
                return Err(self.malformed("sends an event without an end"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_events_and_passes_over_comments() {
        let mut partial = Partial::default();
        let lines =
            ": hello\n\nid: 17\nevent: policy.created\ndata: {\"event\":\ndata: 17}\n\nid: 18\n\ndata:x\n\n";
        let events: Vec<_> = lines.split('\n').filter_map(|line| partial.line(line)).collect();
        let expected = [(Some("17".into()), "{\"event\":\n17}".to_owned()), (None, "x".to_owned())];
        assert_eq!(events, expected);
    }
}
