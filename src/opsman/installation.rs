//! The export and import of an installation: all settings and credentials, in a zip that only
//! the decryption passphrase protects.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use super::{Availability, Error, OpsManager, multipart};
use crate::http::{Request, Stream, Wait};
use crate::secret::Secret;

const PATH: &str = "/api/v0/installation_asset_collection";
/// How long an export or import may be silent: it is packed, or unpacked, before a word is said.
const SILENCE: Duration = Duration::from_secs(7200);

/// An export while it comes. Keeps its Ops Manager until it is dropped.
pub struct Export<'a> {
    stream: Stream,
    _no_other_call: &'a mut OpsManager,
}

impl Export<'_> {
    /// How long it will be, where Ops Manager says so; it need not.
    pub fn length(&self) -> Option<u64> {
        self.stream.header("content-length")?.parse().ok()
    }
}

/// A body that breaks off is an error, never an end.
impl Read for Export<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Export")
    }
}

impl OpsManager {
    /// Asks for an export. What comes must still be checked to be a whole zip.
    ///
    /// # Errors
    /// [`Error::Refused`] in a state that allows no export (Apply Changes runs, nothing was ever
    /// deployed), [`Error::Denied`] for a role that is too small, and those of any call.
    pub fn export(&mut self, wait: &Wait) -> Result<Export<'_>, Error> {
        let what = "the export of its installation";
        let request = Request::get(self.url(PATH)).answered_within(SILENCE);
        let header = self.ticket(wait)?;
        let open = |client: &crate::http::Client, header: &Secret| {
            client.open(&request.clone().with("authorization", header), wait)
        };
        let mut stream = open(&self.client, &header)?;
        if stream.status() == 401 {
            self.auth.forget();
            let header = self.ticket(wait)?;
            stream = open(&self.client, &header)?;
        }
        if stream.status() != 200 {
            let mut body = Vec::new();
            // Only a word for the error.
            drop((&mut stream).take(4096).read_to_end(&mut body));
            return Err(match stream.status() {
                400 => Error::NotSetUp {
                    ops_manager: self.name.clone(),
                },
                status => self.refusal(status, &body, what),
            });
        }
        Ok(Export {
            stream,
            _no_other_call: self,
        })
    }

    /// Imports an installation, a zip of `length` bytes, into an Ops Manager that is not set up,
    /// and waits until it is up. Needs no credentials: there are none before.
    ///
    /// # Errors
    /// [`Error::AlreadySetUp`], [`Error::WrongPassphrase`] where Ops Manager says so,
    /// [`Error::NotUp`], and those of any call. After an error the VM may be half set up and is
    /// best replaced.
    pub fn import(
        &mut self,
        zip: &mut (dyn Read + Send),
        length: u64,
        passphrase: &Secret,
        wait: &Wait,
    ) -> Result<(), Error> {
        let mut availability = self.availability(wait)?;
        if availability == Availability::Starting {
            availability = self.started(wait)?;
        }
        if availability != Availability::NotSetUp {
            return Err(Error::AlreadySetUp {
                ops_manager: self.name.clone(),
            });
        }
        self.mask.add(passphrase.expose());
        let form = multipart::Form::new(
            &[("passphrase", passphrase)],
            "installation[file]",
            "installation.zip",
            length,
        )?;
        let request = form.request(self.url(PATH)).answered_within(SILENCE);
        let (mut body, length) = form.body(zip);
        let response = self.client.upload(&request, &mut body, length, wait)?;
        let said = response.text();
        let wrong = matches!(response.status, 401 | 403 | 422)
            && said.to_lowercase().contains("passphrase");
        if wrong {
            return Err(Error::WrongPassphrase {
                ops_manager: self.name.clone(),
            });
        }
        self.judged(response, "the import of the installation")?;
        self.passphrase = Some(passphrase.clone());
        // Whoever could log in before cannot any more.
        self.auth.forget();
        match self.started(wait)? {
            Availability::Complete => Ok(()),
            Availability::Locked => self.unlock_if_known(wait),
            _ => Err(Error::NotUp {
                ops_manager: self.name.clone(),
                seconds: 0,
                last: "it took the installation, but says that it is still not set up; the \
                       passphrase may be wrong"
                    .to_owned(),
            }),
        }
    }

    /// Deletes every product's VMs and the director. Gives the number of the run to follow;
    /// `None` when there is nothing to delete.
    ///
    /// # Errors
    /// Those of any call.
    pub fn delete_installation(&mut self, wait: &Wait) -> Result<Option<u64>, Error> {
        let what = "the deletion of its installation";
        let body = serde_json::json!({ "errands": {} });
        match self.put_json(crate::http::Method::Delete, PATH, &body, what, wait) {
            Ok(response) => self.install_id(&response.body, what).map(Some),
            Err(Error::Status { status: 410, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
