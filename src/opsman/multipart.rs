//! A form with one file, whose length is known before the file is read.

use std::io::{Chain, Cursor, Read};

use super::Error;
use crate::http::{Request, Url};
use crate::secret::Secret;

/// The parts around the file.
pub(super) struct Form {
    boundary: String,
    before: Secret,
    after: String,
    length: u64,
}

impl Form {
    /// Fields, then a file of `length` bytes.
    pub(super) fn new(
        fields: &[(&str, &Secret)],
        file_field: &str,
        file_name: &str,
        length: u64,
    ) -> Result<Self, Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Setting(format!("no random bytes: {error}")))?;
        let boundary = format!("lifeboat-{}", hex::encode(random));
        let mut before = String::new();
        for (name, value) in fields {
            before.push_str(&format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n"
            ));
            before.push_str(value.expose());
            before.push_str("\r\n");
        }
        let file_name = file_name.replace(['"', '\r', '\n'], "_");
        before.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{file_field}\"; \
             filename=\"{file_name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        ));
        let after = format!("\r\n--{boundary}--\r\n");
        let length = length + before.len() as u64 + after.len() as u64;
        Ok(Self {
            boundary,
            before: Secret::new(before),
            after,
            length,
        })
    }

    /// A POST of the form.
    pub(super) fn request(&self, url: Url) -> Request {
        let kind = format!("multipart/form-data; boundary={}", self.boundary);
        Request::post(url, &kind, Vec::new())
    }

    /// The form's bytes with the file among them, and how many they are.
    pub(super) fn body<'a>(&'a self, file: &'a mut (dyn Read + Send)) -> (Body<'a>, u64) {
        let before = Cursor::new(self.before.expose().as_bytes());
        let after = Cursor::new(self.after.as_bytes());
        (before.chain(file).chain(after), self.length)
    }
}

/// Fields, file, end.
pub(super) type Body<'a> =
    Chain<Chain<Cursor<&'a [u8]>, &'a mut (dyn Read + Send)>, Cursor<&'a [u8]>>;
