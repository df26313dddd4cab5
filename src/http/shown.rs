//! What an error may show of an answer, and addresses that others tell.

use super::Url;
use crate::secret::Mask;

/// The longest part of an answer that an error shows, in characters.
const MOST: usize = 300;

/// An answer's beginning: on one line, secrets blanked, not too long.
pub fn excerpt(mask: &Mask, body: &[u8]) -> String {
    let masked = mask.apply(&String::from_utf8_lossy(body));
    let words: Vec<&str> = masked
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(MOST) {
        _ if line.is_empty() => "(no text)".to_owned(),
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// An address without credentials, query and fragment, always HTTPS; one of `schemes` may stand before it.
pub fn https_address(text: &str, schemes: &[&str]) -> Option<Url> {
    let rest = match text.trim().split_once("://") {
        Some((scheme, rest)) if schemes.contains(&scheme) => rest,
        Some(_) => return None,
        None => text.trim(),
    };
    // Not for the URL parser, which would take `https:///x` for host `x`.
    if rest.is_empty() || rest.starts_with(['/', ':', '?', '#']) {
        return None;
    }
    let mut url = Url::parse(&format!("https://{rest}")).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
}

/// The address with these segments behind its own path.
pub fn with_path(mut url: Url, segments: &[&str]) -> Url {
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}
