//! Bytes in JSON: standard base64 with padding (RFC 4648 section 4), of which there is one for some bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The base64 text of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The base64 text of 32 bytes, without memory of its own: every decision writes several.
pub(crate) fn encode_32<'a>(bytes: &[u8; 32], text: &'a mut [u8; 44]) -> Option<&'a str> {
    STANDARD.encode_slice(bytes, text).ok()?;
    std::str::from_utf8(text).ok()
}

/// Reads base64 text.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Reads base64 text of exactly `N` bytes.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // The decoder wants room for the padding's share, too; the length is what is checked.
    let mut room = zeroize::Zeroizing::new([0; 96]);
    let length = STANDARD.decode_slice(text, room.as_mut_slice()).ok()?;
    let decoded = room.get(..length).filter(|decoded| decoded.len() == N)?;
    bytes.copy_from_slice(decoded);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_text_for_some_bytes() {
        assert_eq!(decode_array::<32>(&encode(&[7; 32])), Some([7; 32]));
        assert_eq!(encode_32(&[7; 32], &mut [0; 44]), Some(encode(&[7; 32]).as_str()));
        assert_eq!(decode_array::<64>(&encode(&[7; 64])), Some([7; 64]));
        assert_eq!(decode_array::<32>(&encode(&[7; 33])), None);
        assert_eq!(decode_array::<32>(&"A".repeat(10_000)), None);
        for text in ["AA", "AB==", "AA= =", "A-==", "AA==\n", "AAAAA==="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
