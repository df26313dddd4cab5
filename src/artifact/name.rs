//! Entry names: bytes that start with `./`, never leave the artifact, and what the real bbr
//! can make of them.

/// Most bytes of a name: more than a path may have on Linux.
const NAME_LIMIT: usize = 4096;

/// Whether a name may be written below a directory: starts with `./` (or is `./` itself),
/// holds no `.` or `..` segment, no empty one, no NUL, and is not endless.
pub fn is_safe(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b"./") else {
        return false;
    };
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    name.len() <= NAME_LIMIT
        && !name.contains(&0)
        && (rest.is_empty()
            || rest
                .split(|byte| *byte == b'/')
                .all(|part| !part.is_empty() && part != b".." && part != b"."))
}

/// Whether bbr's `find | xargs shasum` reads this name back as one word: no white space,
/// quotes or backslashes (facts: *Rules for a tool that writes artifacts*, 3).
pub fn survives_xargs(name: &[u8]) -> bool {
    !name
        .iter()
        .any(|byte| byte.is_ascii_whitespace() || *byte == 0x0b || b"'\"\\".contains(byte))
}

/// A name for people: undecodable bytes replaced, control characters escaped.
pub fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_artifact_are_unsafe() {
        for name in [&b"./"[..], b"./a", b"./a/b", b"./a/", b"./a..b", b"./\xff"] {
            assert!(is_safe(name), "{}", shown(name));
        }
        for name in [
            &b""[..],
            b"a",
            b"/a",
            b"../a",
            b"./../a",
            b"./a/../b",
            b"./a//b",
            b"./a/..",
            b"./a\0",
            b"./.",
            b"././a",
        ] {
            assert!(!is_safe(name), "{}", shown(name));
        }
        assert!(is_safe(&[b"./", &[b'a'; 4094][..]].concat()));
        assert!(!is_safe(&[b"./", &[b'a'; 4095][..]].concat()));
    }

    #[test]
    fn white_space_and_quotes_do_not_survive_xargs() {
        assert!(survives_xargs(b"./a-b_c"));
        for name in [&b"./x y"[..], b"./x\ny", b"./x'y", b"./x\"y", b"./x\\y"] {
            assert!(!survives_xargs(name));
        }
    }
}
