//! Ranges of bytes: of blobs that are asked for (RFC 9110, 14), and of chunks that are sent (OCI Distribution).

use std::ops::Range;

use axum::http::{HeaderMap, header};

use super::error::{Code, OciError};

/// The one range of a blob that is asked for; none where there is no range that could be answered by itself, in
/// which case the whole blob is the answer (RFC 9110, 14.2). The range is empty where nothing of the blob is in it.
pub(crate) fn wanted(headers: &HeaderMap, bytes: u64) -> Option<Range<u64>> {
    // Validators are not given out, so that none can hold.
    if headers.contains_key(header::IF_RANGE) {
        return None;
    }
    let text = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = text.trim().split_once('-')?;
    match (first, last) {
        ("", last) => Some(bytes.saturating_sub(number(last)?)..bytes),
        (first, "") => Some(number(first)?..bytes),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| first..last.saturating_add(1).min(bytes))
        }
    }
}

/// The place of a chunk in its blob: `Content-Range: FIRST-LAST`, both included.
pub(crate) fn sent(headers: &HeaderMap) -> Result<Option<Range<u64>>, OciError> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let range = value.to_str().ok().and_then(|text| {
        let (first, last) = text.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then(|| first..last.saturating_add(1))
    });
    let malformed =
        || OciError::bad(Code::BlobUploadInvalid, "`Content-Range` is not `FIRST-LAST`, both included");
    range.map(Some).ok_or_else(malformed)
}

/// The size of the body, where the head says it.
pub(crate) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok().and_then(number)
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(text: &str) -> Option<Range<u64>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, text.parse().unwrap());
        wanted(&headers, 10)
    }

    #[test]
    fn reads_one_range_and_answers_others_with_the_whole() {
        assert_eq!(wants("bytes=0-3"), Some(0..4));
        assert_eq!(wants("bytes=4-"), Some(4..10));
        assert_eq!(wants("bytes=-3"), Some(7..10));
        assert_eq!(wants("bytes=-30"), Some(0..10));
        assert_eq!(wants("bytes=8-100"), Some(8..10));
        for nothing in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert!(wants(nothing).unwrap().is_empty(), "{nothing}");
        }
        for other in ["bytes=1-2,4-5", "lines=1-2", "bytes=3-2", "bytes=-", "bytes=a-b", "bytes=+1-2", "1-2"]
        {
            assert_eq!(wants(other), None, "{other}");
        }
    }

    #[test]
    fn a_chunk_says_its_first_and_its_last_byte() {
        let sent = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, text.parse().unwrap());
            sent(&headers)
        };
        assert_eq!(sent("0-0").unwrap(), Some(0..1));
        assert_eq!(sent("5-9").unwrap(), Some(5..10));
        for text in ["bytes 0-3/4", "3-2", "0-", "-3", "", "0-18446744073709551616"] {
            assert!(sent(text).is_err(), "{text}");
        }
        assert_eq!(super::sent(&HeaderMap::new()).unwrap(), None);
    }
}
