//! Pages that must answer as configured: what probes ask while a component is locked, and drills of what
//! they restored.
//!
//! No answer is ever shown: it may be a secret.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::Context;
use super::settings::Page;
use crate::http::{self, Client, Method, Request, Url, Wait};
use crate::shutdown::Shutdown;

/// The longest answer that is looked at, bytes.
const LIMIT: u64 = 16 << 20;

/// A page, and how it is asked.
pub(super) struct Asked {
    client: Client,
    url: Url,
    status: u16,
    patience: Duration,
}

impl Asked {
    /// Without certificates of its own the page must prove itself by `authorities`, else by the
    /// system's. An answer that takes longer than `patience` is none.
    pub(super) fn new(
        context: &Context,
        page: &Page,
        authorities: Option<&str>,
        patience: Duration,
    ) -> Result<Self> {
        let own = page.ca_cert.as_deref().or(authorities);
        let client = Client::new(
            http::Settings {
                ca_cert: own.map(str::to_owned),
                connect_timeout: patience,
                response_timeout: patience,
                body_limit: LIMIT,
                ..http::Settings::default()
            },
            Arc::clone(&context.monitor),
        )?;
        Ok(Self {
            client,
            url: Url::parse(&page.url).map_err(|_says_less| anyhow!("the URL cannot be used"))?,
            status: page.status,
            patience,
        })
    }

    /// The answer, if it has the right status; asked for once.
    pub(super) fn answer(&self, stop: &Shutdown) -> Result<Vec<u8>> {
        let request = Request::new(Method::Get, self.url.clone()).once();
        let wait = Wait::unless(stop).no_longer_than(self.patience);
        let response = self.client.send(&request, &wait)?;
        ensure!(
            response.status == self.status,
            "{} answered with status {}, not {}",
            request.shown(),
            response.status,
            self.status
        );
        Ok(response.body)
    }
}

/// Whether an answer contains the text that it must contain.
pub(super) fn contains(answer: &[u8], wanted: Option<&str>) -> Result<()> {
    let wanted = wanted.unwrap_or_default().as_bytes();
    ensure!(
        wanted.is_empty() || answer.windows(wanted.len()).any(|piece| piece == wanted),
        "the answer ({} bytes) does not contain the expected text",
        answer.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn a_text_is_found_anywhere_in_an_answer() {
        assert!(contains(b"status: up\n", Some("up")).is_ok());
        assert!(contains(b"", Some("")).is_ok());
        assert!(contains(b"", None).is_ok());
        let error = contains(b"status: u", Some("up")).unwrap_err().to_string();
        assert!(
            error.contains("9 bytes") && !error.contains("status"),
            "{error}"
        );
    }
}
