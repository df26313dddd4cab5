//! What Ops Manager knows of the BOSH Director.

use serde::Deserialize;
use serde_json::Value;

use super::products::CredentialAnswer;
use super::types::or_default;
use super::{
    CertificateAuthority, CommandLine, Credential, DeployedCertificate, DirectorNetwork, Error,
    OpsManager,
};
use crate::http::Wait;
use crate::secret::Secret;

impl OpsManager {
    /// The names of the director's credentials.
    ///
    /// # Errors
    /// Those of any call; [`Error::is_not_there`] when no director is deployed.
    pub fn director_credentials(&mut self, wait: &Wait) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Ids {
            #[serde(default, deserialize_with = "or_default")]
            credential_ids: Vec<String>,
        }
        let answer: Ids = self.get(
            "/api/v0/deployed/director/credentials",
            "list of the director's credentials (no director is deployed)",
            wait,
        )?;
        Ok(answer.credential_ids)
    }

    /// One credential of the director.
    ///
    /// # Errors
    /// Those of any call; [`Error::is_not_there`] when no director is deployed.
    pub fn director_credential(&mut self, id: &str, wait: &Wait) -> Result<Credential, Error> {
        let answer: CredentialAnswer = self.get(
            &format!("/api/v0/deployed/director/credentials/{id}"),
            &format!("credential {id} of the director"),
            wait,
        )?;
        let credential = Credential::of(answer.credential);
        credential.register(&self.mask);
        Ok(credential)
    }

    /// The key of the user `bbr` on the director's VM.
    ///
    /// # Errors
    /// Those of any call; [`Error::Garbled`] when there is no key in it.
    pub fn bbr_ssh_key(&mut self, wait: &Wait) -> Result<Secret, Error> {
        let id = "bbr_ssh_credentials";
        let credential = self.director_credential(id, wait)?;
        credential
            .private_key()
            .ok_or_else(|| self.unusable(id, "it holds no private key"))
    }

    /// The client of `bbr` at the Director's API, and its secret.
    ///
    /// # Errors
    /// Those of any call.
    pub fn bbr_client(&mut self, wait: &Wait) -> Result<(String, Secret), Error> {
        let id = "uaa_bbr_client_credentials";
        let credential = self.director_credential(id, wait)?;
        credential
            .pair()
            .ok_or_else(|| self.unusable(id, "it holds no client and secret"))
    }

    /// The client with all rights, and the Director's address.
    ///
    /// # Errors
    /// Those of any call.
    pub fn bosh_command_line(&mut self, wait: &Wait) -> Result<CommandLine, Error> {
        let id = "bosh_commandline_credentials";
        let credential = self.director_credential(id, wait)?;
        credential
            .value()
            .as_str()
            .and_then(CommandLine::parse)
            .ok_or_else(|| {
                self.unusable(
                    id,
                    "it lacks BOSH_CLIENT, BOSH_CLIENT_SECRET or BOSH_ENVIRONMENT",
                )
            })
    }

    fn unusable(&self, id: &str, reason: &str) -> Error {
        Error::Garbled {
            ops_manager: self.name.clone(),
            what: format!("the credential {id} of the director"),
            reason: reason.to_owned(),
        }
    }

    /// The director's manifest, unwrapped where a version wraps it. Holds secrets.
    ///
    /// # Errors
    /// Those of any call.
    pub fn director_manifest(&mut self, wait: &Wait) -> Result<Value, Error> {
        let mut answer: Value = self.get(
            "/api/v0/deployed/director/manifest",
            "the director's manifest",
            wait,
        )?;
        match answer.get_mut("manifest") {
            Some(inner @ Value::Object(_)) => Ok(inner.take()),
            _ => Ok(answer),
        }
    }

    /// The director's staged settings: kinds of database and blobstore, ….
    ///
    /// # Errors
    /// Those of any call.
    pub fn director_properties(&mut self, wait: &Wait) -> Result<Value, Error> {
        self.get(
            "/api/v0/staged/director/properties",
            "the director's settings",
            wait,
        )
    }

    /// The networks.
    ///
    /// # Errors
    /// Those of any call.
    pub fn director_networks(&mut self, wait: &Wait) -> Result<Vec<DirectorNetwork>, Error> {
        #[derive(Deserialize)]
        struct Networks {
            #[serde(default, deserialize_with = "or_default")]
            networks: Vec<DirectorNetwork>,
        }
        let answer: Networks = self.get(
            "/api/v0/staged/director/networks",
            "the director's networks",
            wait,
        )?;
        Ok(answer.networks)
    }

    /// The availability zones.
    ///
    /// # Errors
    /// Those of any call.
    pub fn availability_zones(&mut self, wait: &Wait) -> Result<Value, Error> {
        self.get(
            "/api/v0/staged/director/availability_zones",
            "the availability zones",
            wait,
        )
    }

    /// The accounts of the infrastructure. Holds secrets.
    ///
    /// # Errors
    /// Those of any call.
    pub fn iaas_configurations(&mut self, wait: &Wait) -> Result<Value, Error> {
        self.get(
            "/api/v0/staged/director/iaas_configurations",
            "the infrastructure's accounts",
            wait,
        )
    }

    /// All CAs; during a rotation there are several, any of which may have issued the
    /// Director's certificate.
    ///
    /// # Errors
    /// Those of any call.
    pub fn certificate_authorities(
        &mut self,
        wait: &Wait,
    ) -> Result<Vec<CertificateAuthority>, Error> {
        #[derive(Deserialize)]
        struct Authorities {
            #[serde(default, deserialize_with = "or_default")]
            certificate_authorities: Vec<CertificateAuthority>,
        }
        let answer: Authorities = self.get(
            "/api/v0/certificate_authorities",
            "the certificate authorities",
            wait,
        )?;
        Ok(answer.certificate_authorities)
    }

    /// All CAs as one PEM text.
    ///
    /// # Errors
    /// Those of any call.
    pub fn trusted_certificates(&mut self, wait: &Wait) -> Result<String, Error> {
        let authorities = self.certificate_authorities(wait)?;
        let certificates = authorities
            .iter()
            .filter(|authority| !authority.cert_pem.trim().is_empty())
            .map(|authority| super::pem(&authority.cert_pem));
        Ok(certificates.collect())
    }

    /// Every certificate that is in use.
    ///
    /// # Errors
    /// Those of any call.
    pub fn deployed_certificates(
        &mut self,
        wait: &Wait,
    ) -> Result<Vec<DeployedCertificate>, Error> {
        #[derive(Deserialize)]
        struct Certificates {
            #[serde(default, deserialize_with = "or_default")]
            certificates: Vec<DeployedCertificate>,
        }
        let answer: Certificates = self.get(
            "/api/v0/deployed/certificates",
            "the certificates in use",
            wait,
        )?;
        Ok(answer.certificates)
    }
}
