//! What signed tokens are written in (RFC 7515).

/// Decodes base64url without padding (RFC 7515 section 2).
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    if text.contains(['+', '/', '=']) {
        return None;
    }
    let mut standard = text.replace('-', "+").replace('_', "/");
    standard.push_str(["", "", "==", "="].get(text.len() % 4)?);
    openssl::base64::decode_block(&standard).ok()
}
