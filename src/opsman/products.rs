//! Deployed and staged products.

use serde::Deserialize;
use serde_json::{Value, json};

use super::types::or_default;
use super::{
    Credential, DeployedProduct, Error, Job, OpsManager, StagedProduct, StaticIps,
    StemcellAssociation, multipart,
};
use crate::http::{Method, Wait};
use crate::secret::Secret;

#[derive(Deserialize)]
struct Properties {
    #[serde(default, deserialize_with = "or_default")]
    properties: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
struct Jobs {
    #[serde(default, deserialize_with = "or_default")]
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct References {
    #[serde(default, deserialize_with = "or_default")]
    credentials: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct CredentialAnswer {
    pub(super) credential: Value,
}

#[derive(Deserialize)]
struct UaaClient {
    uaa_client_name: String,
    uaa_client_secret: Secret,
}

#[derive(Deserialize)]
struct Associations {
    #[serde(default, deserialize_with = "or_default")]
    products: Vec<StemcellAssociation>,
}

impl OpsManager {
    /// The deployed products, the director's tile among them.
    ///
    /// # Errors
    /// Those of any call.
    pub fn deployed_products(&mut self, wait: &Wait) -> Result<Vec<DeployedProduct>, Error> {
        self.get(
            "/api/v0/deployed/products",
            "the list of deployed products",
            wait,
        )
    }

    /// The staged products.
    ///
    /// # Errors
    /// Those of any call.
    pub fn staged_products(&mut self, wait: &Wait) -> Result<Vec<StagedProduct>, Error> {
        self.get(
            "/api/v0/staged/products",
            "the list of staged products",
            wait,
        )
    }

    /// The load and disks of a product's VMs, as Ops Manager shows them.
    ///
    /// # Errors
    /// Those of any call.
    pub fn product_status(&mut self, guid: &str, wait: &Wait) -> Result<Value, Error> {
        let what = format!("the status of {guid}");
        self.get(&deployed(guid, "/status"), &what, wait)
    }

    /// A product's static addresses.
    ///
    /// # Errors
    /// Those of any call.
    pub fn static_ips(&mut self, guid: &str, wait: &Wait) -> Result<Vec<StaticIps>, Error> {
        let what = format!("the addresses of {guid}");
        self.get(&deployed(guid, "/static_ips"), &what, wait)
    }

    /// The manifest that was deployed last. Holds secrets.
    ///
    /// # Errors
    /// Those of any call.
    pub fn product_manifest(&mut self, guid: &str, wait: &Wait) -> Result<Value, Error> {
        let what = format!("the manifest of {guid}");
        self.get(&deployed(guid, "/manifest"), &what, wait)
    }

    /// The names of a product's credentials.
    ///
    /// # Errors
    /// Those of any call.
    pub fn product_credentials(&mut self, guid: &str, wait: &Wait) -> Result<Vec<String>, Error> {
        let what = format!("the list of credentials of {guid}");
        let answer: References = self.get(&deployed(guid, "/credentials"), &what, wait)?;
        Ok(answer.credentials)
    }

    /// One credential of a product, by its name (`.uaa.admin_credentials`).
    ///
    /// # Errors
    /// Those of any call; [`Error::is_not_there`] where the product has none of that name.
    pub fn product_credential(
        &mut self,
        guid: &str,
        reference: &str,
        wait: &Wait,
    ) -> Result<Credential, Error> {
        let what = format!("the credential {reference} of {guid}");
        let path = deployed(guid, &format!("/credentials/{reference}"));
        let answer: CredentialAnswer = self.get(&path, &what, wait)?;
        let credential = Credential::of(answer.credential);
        credential.register(&self.mask);
        Ok(credential)
    }

    /// The BOSH client that sees only the deployments of that tile's team.
    ///
    /// # Errors
    /// Those of any call.
    pub fn product_bosh_client(
        &mut self,
        guid: &str,
        wait: &Wait,
    ) -> Result<(String, Secret), Error> {
        let what = format!("the BOSH client of {guid}");
        let answer: UaaClient =
            self.get(&deployed(guid, "/uaa_client_credentials"), &what, wait)?;
        self.mask.add(answer.uaa_client_secret.expose());
        Ok((answer.uaa_client_name, answer.uaa_client_secret))
    }

    /// A product's staged properties by their names; each has `value`, `type`, `credential`, ….
    ///
    /// # Errors
    /// Those of any call.
    pub fn product_properties(
        &mut self,
        guid: &str,
        wait: &Wait,
    ) -> Result<serde_json::Map<String, Value>, Error> {
        let what = format!("the properties of {guid}");
        let answer: Properties = self.get(&staged(guid, "/properties"), &what, wait)?;
        Ok(answer.properties)
    }

    /// A product's instance groups.
    ///
    /// # Errors
    /// Those of any call.
    pub fn product_jobs(&mut self, guid: &str, wait: &Wait) -> Result<Vec<Job>, Error> {
        let what = format!("the instance groups of {guid}");
        let answer: Jobs = self.get(&staged(guid, "/jobs"), &what, wait)?;
        Ok(answer.jobs)
    }

    /// The staged size of an instance group; `instances` is a number or `automatic`.
    ///
    /// # Errors
    /// Those of any call.
    pub fn resource_config(&mut self, guid: &str, job: &str, wait: &Wait) -> Result<Value, Error> {
        let what = format!("the size of group {job} of {guid}");
        let path = staged(guid, &format!("/jobs/{job}/resource_config"));
        self.get(&path, &what, wait)
    }

    /// Stages another number of instances of a group, a number or `automatic`; everything else
    /// stays as it is. Gives what it was before.
    ///
    /// # Errors
    /// Those of any call.
    pub fn stage_instances(
        &mut self,
        guid: &str,
        job: &str,
        instances: &Value,
        wait: &Wait,
    ) -> Result<Value, Error> {
        let mut config = self.resource_config(guid, job, wait)?;
        let before = config.get("instances").cloned().unwrap_or(Value::Null);
        if before != *instances {
            config["instances"] = instances.clone();
            let what = format!("another size of group {job} of {guid}");
            let path = staged(guid, &format!("/jobs/{job}/resource_config"));
            self.put_json(Method::Put, &path, &config, &what, wait)?;
        }
        Ok(before)
    }

    /// A product's errands with their switches.
    ///
    /// # Errors
    /// Those of any call.
    pub fn product_errands(&mut self, guid: &str, wait: &Wait) -> Result<Vec<Value>, Error> {
        #[derive(Deserialize)]
        struct Errands {
            #[serde(default, deserialize_with = "or_default")]
            errands: Vec<Value>,
        }
        let what = format!("the errands of {guid}");
        let answer: Errands = self.get(&staged(guid, "/errands"), &what, wait)?;
        Ok(answer.errands)
    }

    /// The networks and zones of a product.
    ///
    /// # Errors
    /// Those of any call.
    pub fn product_networks(&mut self, guid: &str, wait: &Wait) -> Result<Value, Error> {
        let what = format!("the networks of {guid}");
        self.get(&staged(guid, "/networks_and_azs"), &what, wait)
    }

    /// The stemcells of every product.
    ///
    /// # Errors
    /// Those of any call.
    pub fn stemcell_associations(
        &mut self,
        wait: &Wait,
    ) -> Result<Vec<StemcellAssociation>, Error> {
        let answer: Associations =
            self.get("/api/v0/stemcell_associations", "the stemcells", wait)?;
        Ok(answer.products)
    }

    /// Versions, infrastructure, releases; `None` where this Ops Manager cannot tell.
    ///
    /// # Errors
    /// Those of any call.
    pub fn diagnostic_report(&mut self, wait: &Wait) -> Result<Option<Value>, Error> {
        match self.get("/api/v0/diagnostic_report", "the diagnostic report", wait) {
            Ok(report) => Ok(Some(report)),
            Err(Error::Status { status: 500, .. } | Error::NotThere { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Uploads a stemcell's tarball, `length` bytes; `floating` lets products take it by
    /// themselves.
    ///
    /// # Errors
    /// Those of any call.
    pub fn upload_stemcell(
        &mut self,
        name: &str,
        tarball: &mut (dyn std::io::Read + Send),
        length: u64,
        floating: bool,
        wait: &Wait,
    ) -> Result<(), Error> {
        let header = self.ticket(wait)?;
        let floating = Secret::new(floating.to_string());
        let fields = [("stemcell[floating]", &floating)];
        let form = multipart::Form::new(&fields, "stemcell[file]", name, length)?;
        let request = form
            .request(self.url("/api/v0/stemcells"))
            .with("authorization", &header);
        let (mut body, length) = form.body(tarball);
        let response = self.client.upload(&request, &mut body, length, wait)?;
        self.judged(response, &format!("the upload of {name}"))
            .map(drop)
    }

    /// Whether the settings of the infrastructure are locked ("advanced mode" off).
    ///
    /// # Errors
    /// Those of any call.
    pub fn infrastructure_locked(&mut self, wait: &Wait) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Locked {
            locked: bool,
        }
        let answer: Locked = self.get(
            "/api/v0/staged/infrastructure/locked",
            "whether its infrastructure is locked",
            wait,
        )?;
        Ok(answer.locked)
    }

    /// Locks or unlocks the settings of the infrastructure.
    ///
    /// # Errors
    /// Those of any call.
    pub fn lock_infrastructure(&mut self, locked: bool, wait: &Wait) -> Result<(), Error> {
        let what = "the (un)locking of its infrastructure";
        let path = "/api/v0/staged/infrastructure/locked";
        self.put_json(Method::Put, path, &json!({ "locked": locked }), what, wait)
            .map(drop)
    }
}

fn deployed(guid: &str, rest: &str) -> String {
    format!("/api/v0/deployed/products/{guid}{rest}")
}

fn staged(guid: &str, rest: &str) -> String {
    format!("/api/v0/staged/products/{guid}{rest}")
}
