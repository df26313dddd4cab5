//! The ways to the target: its Ops Manager, that VM, and the director, with all rights.

use std::sync::{Arc, OnceLock};

use anyhow::{Result, anyhow};

use super::super::Context;
use super::super::settings::{Bosh, OpsManager as Place, Settings};
use crate::bosh;
use crate::foundation::Foundation;
use crate::http::{self, Wait};
use crate::opsman::{self, OpsManager};
use crate::remote::Remote;

/// The ways, opened when needed.
pub(in crate::operation) struct Reach<'a> {
    pub(super) context: &'a Context,
    settings: &'a Settings,
    director: OnceLock<Arc<bosh::Director>>,
}

impl<'a> Reach<'a> {
    /// Nothing is sent yet.
    pub(super) fn new(context: &'a Context, settings: &'a Settings) -> Self {
        Self {
            context,
            settings,
            director: OnceLock::new(),
        }
    }

    pub(super) fn wait(&self) -> Wait {
        Wait::unless(&self.context.shutdown)
    }

    fn place(&self) -> Result<&Place> {
        self.settings.foundation.ops_manager.as_ref().ok_or_else(|| {
            anyhow!("ops_manager is missing: this step works through Ops Manager; give its url and credentials")
        })
    }

    /// The target's Ops Manager. Its calls are made one after another: no two of these at once.
    pub(super) fn ops_manager(&self) -> Result<OpsManager> {
        let place = self.place()?;
        let mut settings = opsman::Settings::new(
            place.host.clone(),
            place.port,
            place.credentials.clone(),
            http::Settings {
                ca_cert: place.ca_cert.clone(),
                skip_validation: place.skip_ssl_validation,
                proxy: place
                    .https_proxy
                    .as_ref()
                    .map_or(http::Proxy::Direct, |proxy| http::Proxy::Server {
                        url: proxy.url.clone(),
                        except: proxy.no_proxy.clone(),
                    }),
                ..http::Settings::default()
            },
        );
        settings.decryption_passphrase = place.decryption_passphrase.clone();
        Ok(OpsManager::new(
            settings,
            Arc::clone(&self.context.monitor),
            Arc::clone(&self.context.mask),
        )?)
    }

    /// The target's director, as the client with all rights.
    pub(super) fn director(&self) -> Result<Arc<bosh::Director>> {
        if let Some(director) = self.director.get() {
            return Ok(Arc::clone(director));
        }
        let mut settings = self.settings.foundation.clone();
        if settings.ops_manager.is_some() {
            let mut ops = self.ops_manager()?;
            ops.ready(&self.wait())?;
            settings.bosh = Some(self.with_all_rights(&mut ops)?);
        }
        let foundation = Foundation::new(
            settings,
            "",
            Arc::clone(&self.context.monitor),
            Arc::clone(&self.context.mask),
        );
        let director = foundation.director()?;
        Ok(Arc::clone(self.director.get_or_init(|| director)))
    }

    fn with_all_rights(&self, ops: &mut OpsManager) -> Result<Bosh> {
        let wait = self.wait();
        let given = &self.settings.foundation.given;
        let line = ops.bosh_command_line(&wait)?;
        let (host, port) = match &given.bosh_host {
            Some(place) => place.clone(),
            None => place_of(&line.environment),
        };
        let (client, client_secret) = match &given.bosh_client {
            Some(client) => client.clone(),
            None => (line.client, line.client_secret),
        };
        let ca_cert = match &given.bosh_ca_cert {
            Some(pem) => pem.clone(),
            None => ops.trusted_certificates(&wait)?,
        };
        Ok(Bosh {
            host,
            port,
            client,
            client_secret,
            ca_cert: Some(ca_cert).filter(|pem| !pem.is_empty()),
            proxy: given.proxy.clone(),
            https_proxy: given.https_proxy.clone(),
        })
    }

    /// Ops Manager's VM over SSH.
    pub(super) fn ops_manager_vm(&self) -> Result<Arc<dyn Remote>> {
        let foundation = Foundation::new(
            self.settings.foundation.clone(),
            "",
            Arc::clone(&self.context.monitor),
            Arc::clone(&self.context.mask),
        );
        Ok(foundation.ops_manager_vm(&self.context.shutdown)?)
    }
}

/// Host and port as the director's environment names them.
fn place_of(environment: &str) -> (String, u16) {
    let text = environment.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.split('/').next().unwrap_or_default();
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (
            host.trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port.parse().unwrap_or(25_555),
        ),
        _ => (
            text.trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            25_555,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directors_environment_is_a_place() {
        for (text, host, port) in [
            ("10.0.0.5", "10.0.0.5", 25_555),
            ("127.0.0.1:4711", "127.0.0.1", 4711),
            (
                "https://director.example:25555/",
                "director.example",
                25_555,
            ),
            ("[fd00::5]:25555", "fd00::5", 25_555),
            ("fd00::5", "fd00::5", 25_555),
        ] {
            assert_eq!(place_of(text), (host.to_owned(), port), "{text}");
        }
    }
}
