//! Key files that are added later say for whom, so that a run that was cut short can go on.
//!
//! age hides its recipients. A stanza of our own in the header, which every reader of age passes
//! over, holds the SHA-256 of their texts; age authenticates it with the rest of the header.

use std::collections::HashSet;
use std::io::Read;

use age_core::format::{FileKey, Stanza};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{Identity, Recipients, armoured, boxed};
use crate::artifact::Digest;
use crate::repo::Error;

/// The stanza's type.
const TAG: &str = "lifeboat-recipients";
/// An age header with as many recipients as anybody has, in bytes.
const HEADER_LIMIT: u64 = 1 << 20;

/// What stands for these recipients, in whatever order they are named.
pub fn mark(recipients: &Recipients) -> Digest {
    let mut texts = recipients.texts().to_vec();
    texts.sort();
    Digest::of(texts.join("\n").as_bytes())
}

/// Encrypts a small text, armoured, to these recipients and, so that he can see later what he
/// made, to the one who does it. The header holds [`mark`].
///
/// # Errors
/// When encrypting fails, which only a broken random source can make it.
pub fn encrypt_marked(
    recipients: &Recipients,
    own: &Identity,
    plain: &[u8],
) -> Result<String, Error> {
    let mut to = boxed(recipients.texts())?;
    let others = |own: &&String| !recipients.texts().contains(own);
    let own: Vec<String> = own.recipients().iter().filter(others).cloned().collect();
    to.extend(boxed(&own)?);
    to.push(Box::new(Mark(mark(recipients))));
    armoured(&to, plain)
}

/// What [`encrypt_marked`] wrote into a header. To be believed only of a file that opens.
pub fn mark_of(sealed: &[u8]) -> Option<Digest> {
    let mut header = Vec::new();
    age::armor::ArmoredReader::new(sealed)
        .take(HEADER_LIMIT)
        .read_to_end(&mut header)
        .ok()?;
    let mut lines = header.split(|byte| *byte == b'\n');
    let wanted = format!("-> {TAG}");
    lines
        .by_ref()
        .take_while(|line| !line.starts_with(b"---"))
        .find(|line| *line == wanted.as_bytes())?;
    let bytes = STANDARD_NO_PAD.decode(lines.next()?).ok()?;
    bytes.try_into().ok().map(Digest)
}

struct Mark(Digest);

impl age::Recipient for Mark {
    fn wrap_file_key(
        &self,
        _: &FileKey,
    ) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let stanza = Stanza {
            tag: TAG.to_owned(),
            args: Vec::new(),
            body: self.0.0.to_vec(),
        };
        Ok((vec![stanza], HashSet::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Opener;
    use super::*;

    fn recipients(of: &[&Opener]) -> Recipients {
        let texts: Vec<_> = of.iter().map(|opener| opener.recipient()).collect();
        Recipients::parse(&texts).unwrap()
    }

    #[test]
    fn a_marked_file_opens_for_all_and_says_for_whom() {
        let [one, two, own, stranger] = std::array::from_fn(|_| Opener::generate());
        let identity = |opener: &Opener| Identity::parse(&opener.secret()).unwrap();
        let sealed = encrypt_marked(&recipients(&[&one, &two]), &identity(&own), b"keys").unwrap();
        let sealed = sealed.as_bytes();
        for opener in [&one, &two, &own] {
            let plain = identity(opener).decrypt(sealed, 100).unwrap();
            assert_eq!(plain.as_slice(), b"keys");
        }
        identity(&stranger).decrypt(sealed, 100).unwrap_err();
        assert_eq!(mark_of(sealed), Some(mark(&recipients(&[&two, &one]))));
        assert_ne!(mark_of(sealed), Some(mark(&recipients(&[&one]))));
        let plain = super::super::encrypt_armoured(&recipients(&[&one]), b"keys").unwrap();
        assert_eq!(mark_of(plain.as_bytes()), None);
        assert_eq!(mark_of(b"no age file"), None);
    }
}
