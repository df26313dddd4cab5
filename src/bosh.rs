//! The BOSH Director as an API: deployments, their manifests and VMs, SSH access to them.
//!
//! It knows nothing of backups or of SSH itself. A [`Director`] is used from several threads at
//! once. What each call sends and accepts is what `bbr` sends and accepts; it differs where that
//! is slow or silent: connections and tokens are kept, tasks have a limit and tell why they
//! failed, SSH clean-up is awaited.

mod access;
#[cfg(test)]
mod access_tests;
mod address;
mod auth;
mod cleanup;
mod error;
mod repair;
#[cfg(test)]
mod repair_tests;
mod state;
mod tarball;
mod target;
mod task;
#[cfg(test)]
mod tests;
mod types;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use access::{Access, Host, SshAccess, UserName, user_name};
pub use address::Address;
pub use cleanup::cleanup_leftovers;
pub use error::{Error, Failures};
pub use repair::{ErrandEnd, Offer, Problem, ProblemKind};
pub use state::{
    Config, Instance, Lock, OrphanedDisk, Process, RecordedInstance, Stemcell, TaskLine, User,
};
pub use tarball::{StemcellFile, stemcell_file};
pub use types::{Deployment, Info, NameVersion, SshHost, SshTarget, Vm};

use crate::http::{self, Client, Request, Response, Wait, excerpt, with_path};
use crate::monitor::Monitor;
use crate::secret::{Mask, Secret};
use auth::Auth;
use target::Target;

/// How to reach a Director.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host, `host:port`, or an `https://` URL; port 25555 unless given.
    pub environment: String,
    /// UAA client, or user name where the Director uses basic authentication.
    pub client: String,
    /// Its secret or password.
    pub client_secret: Secret,
    /// CA, proxy and time-outs, for the Director and its UAA.
    pub http: http::Settings,
    /// How long one task may take, waiting in the Director's queue included.
    pub task_timeout: Duration,
    /// The longest pause between two looks at a task; the first are shorter.
    pub poll_interval: Duration,
}

impl Settings {
    /// The usual limits: an hour for a task (it may queue behind a deploy's), a look a second.
    pub fn new(
        environment: impl Into<String>,
        client: impl Into<String>,
        client_secret: Secret,
        http: http::Settings,
    ) -> Self {
        Self {
            environment: environment.into(),
            client: client.into(),
            client_secret,
            http,
            task_timeout: Duration::from_secs(3600),
            poll_interval: Duration::from_secs(1),
        }
    }
}

/// A Director.
pub struct Director {
    target: Target,
    client: Client,
    auth: Auth,
    info: OnceLock<Info>,
    mask: Mask,
    task_timeout: Duration,
    poll_interval: Duration,
}

impl Director {
    /// Checks the settings; sends nothing yet.
    ///
    /// # Errors
    /// When the environment, the CA or the proxy cannot be used.
    pub fn new(settings: Settings, monitor: Arc<dyn Monitor>) -> Result<Self, Error> {
        let target = Target::parse(&settings.environment)?;
        let client = Client::new(settings.http, monitor).map_err(Error::Http)?;
        let mask = Mask::default();
        mask.add(settings.client_secret.expose());
        Ok(Self {
            target,
            client,
            auth: Auth::new(settings.client, settings.client_secret),
            info: OnceLock::new(),
            mask,
            task_timeout: settings.task_timeout,
            poll_interval: settings.poll_interval,
        })
    }

    /// `host:port`, for people.
    pub fn name(&self) -> &str {
        self.target.name()
    }

    /// Who the Director is and how it authenticates. Asked once, without credentials.
    ///
    /// # Errors
    /// [`Error::Down`] when the Director does not answer properly.
    pub fn info(&self, wait: &Wait) -> Result<&Info, Error> {
        if let Some(info) = self.info.get() {
            return Ok(info);
        }
        let request = Request::get(self.target.url(&["info"])?);
        let response = self.client.send(&request, wait).map_err(|error| {
            let http::Error::Stopped(stopped) = error else {
                return Error::Down {
                    director: self.name().to_owned(),
                    reason: error.to_string(),
                };
            };
            Error::Stopped(stopped)
        })?;
        let down = |reason| Error::Down {
            director: self.name().to_owned(),
            reason,
        };
        if response.status != 200 {
            let body = self.excerpt(&response);
            return Err(down(format!(
                "/info answered {}: {body}; check its address and health",
                response.status
            )));
        }
        let info = serde_json::from_slice(&response.body).map_err(|_the_body_says_more| {
            let body = self.excerpt(&response);
            down(format!(
                "/info answered something else than a Director ({body}); check that its address \
                 leads to the Director itself"
            ))
        })?;
        Ok(self.info.get_or_init(|| info))
    }

    /// All deployments, in the Director's order (by name).
    ///
    /// # Errors
    /// Those of any call, see [`Error`].
    pub fn deployments(&self, wait: &Wait) -> Result<Vec<Deployment>, Error> {
        let request = Request::get(self.target.url(&["deployments"])?);
        let response = self.call(request, "the list of deployments", None, wait)?;
        self.json(&response.body, "the list of deployments")
    }

    /// A deployment's manifest as its operator wrote it; may be empty.
    ///
    /// # Errors
    /// [`Error::UnknownDeployment`], and those of any call.
    pub fn manifest(&self, deployment: &str, wait: &Wait) -> Result<String, Error> {
        let request = Request::get(self.target.url(&["deployments", deployment])?);
        let what = format!("the manifest of `{deployment}`");
        let response = self.call(request, &what, Some(deployment), wait)?;
        let answer: Result<types::ManifestAnswer, _> = serde_json::from_slice(&response.body);
        let answer = answer.map_err(|error| Error::Garbled {
            director: self.name().to_owned(),
            what,
            reason: where_wrong(&error),
            body: "(not shown, since manifests hold secrets)".to_owned(),
        })?;
        Ok(answer.manifest)
    }

    /// A deployment's VMs, in the order the Director lists them, which may vary.
    ///
    /// # Errors
    /// [`Error::UnknownDeployment`], [`Error::Task`], and those of any call.
    pub fn vms(&self, deployment: &str, wait: &Wait) -> Result<Vec<Vm>, Error> {
        let mut url = self.target.url(&["deployments", deployment, "vms"])?;
        url.set_query(Some("format=full"));
        let what = format!("the VMs of `{deployment}`");
        let result = self.task(Request::get(url), &what, Some(deployment), wait)?;
        self.lines(&result, &what)
    }

    /// Creates a user with that key on a group's instances, or on one of them.
    ///
    /// Never repeated once it may have been sent: where it was carried out, the agents would
    /// refuse to create the user again. Whoever gets an error other than
    /// [`Error::nothing_was_done`] should clean up.
    ///
    /// # Errors
    /// [`Error::UnknownDeployment`], [`Error::Task`], and those of any call.
    pub fn ssh_setup(
        &self,
        deployment: &str,
        target: &SshTarget,
        user: &UserName,
        public_key: &str,
        wait: &Wait,
    ) -> Result<Vec<SshHost>, Error> {
        let what = format!("SSH access to `{target}` of `{deployment}`");
        let params = serde_json::json!({
            "user": user.as_str(),
            "public_key": format!("{}\n", public_key.trim_end()),
        });
        let request = self.ssh_request(deployment, "setup", target, &params)?;
        let result = self.task(request, &what, Some(deployment), wait)?;
        self.json(&result, &what)
    }

    /// Removes the users that match the pattern from a group's instances, or from one of them,
    /// and waits until that is done. Doing it twice is harmless.
    ///
    /// # Errors
    /// [`Error::UnknownDeployment`], [`Error::Task`], and those of any call.
    pub fn ssh_cleanup(
        &self,
        deployment: &str,
        target: &SshTarget,
        user_pattern: &str,
        wait: &Wait,
    ) -> Result<(), Error> {
        let what = format!("removing the SSH users from `{target}` of `{deployment}`");
        let params = serde_json::json!({ "user_regex": user_pattern });
        let request = self.ssh_request(deployment, "cleanup", target, &params)?;
        self.task(request.repeatable(), &what, Some(deployment), wait)?;
        Ok(())
    }

    fn ssh_request(
        &self,
        deployment: &str,
        command: &str,
        target: &SshTarget,
        params: &serde_json::Value,
    ) -> Result<Request, Error> {
        let body = serde_json::json!({
            "command": command,
            "deployment_name": deployment,
            "target": {"job": target.group, "ids": target.ids(), "indexes": target.ids()},
            "params": params,
        });
        let url = self.target.url(&["deployments", deployment, "ssh"])?;
        Ok(Request::post(url, "application/json", body.to_string()))
    }

    /// One request with credentials; any status but success and redirect is an error.
    fn call(
        &self,
        request: Request,
        what: &str,
        deployment: Option<&str>,
        wait: &Wait,
    ) -> Result<Response, Error> {
        let response = self.authorized(&request, wait)?;
        self.judged(&request, response, what, deployment)
    }

    fn judged(
        &self,
        request: &Request,
        response: Response,
        what: &str,
        deployment: Option<&str>,
    ) -> Result<Response, Error> {
        match response.status {
            200 | 201 | 204 | 206 | 302 => Ok(response),
            401 | 403 => Err(Error::Denied {
                director: self.name().to_owned(),
                what: what.to_owned(),
                status: response.status,
                body: self.excerpt(&response),
            }),
            404 if deployment.is_some() => Err(Error::UnknownDeployment {
                director: self.name().to_owned(),
                deployment: deployment.unwrap_or_default().to_owned(),
                body: self.excerpt(&response),
            }),
            status => Err(Error::Status {
                url: request.shown(),
                what: what.to_owned(),
                status,
                body: self.excerpt(&response),
            }),
        }
    }

    fn authorized(&self, request: &Request, wait: &Wait) -> Result<Response, Error> {
        let info = self.info(wait)?;
        let ticket = self.auth.ticket(info, &self.client, &self.mask, wait)?;
        let send = |header: &Secret| {
            let request = request.clone().with("authorization", header);
            self.client.send(&request, wait).map_err(Error::from)
        };
        let response = send(ticket.header())?;
        // Basic credentials do not get better; repeating them may lock the account.
        if response.status == 401 && ticket.is_token() {
            self.auth.forget(&ticket);
            let ticket = self.auth.ticket(info, &self.client, &self.mask, wait)?;
            return send(ticket.header());
        }
        Ok(response)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, body: &[u8], what: &str) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| Error::Garbled {
            director: self.name().to_owned(),
            what: what.to_owned(),
            reason: where_wrong(&error),
            body: excerpt(&self.mask, body),
        })
    }

    /// One JSON document a line.
    fn lines<T: serde::de::DeserializeOwned>(
        &self,
        text: &[u8],
        what: &str,
    ) -> Result<Vec<T>, Error> {
        let lines = text.split(|byte| *byte == b'\n');
        lines
            .filter(|line| !line.trim_ascii().is_empty())
            .map(|line| self.json(line, what))
            .collect()
    }

    fn excerpt(&self, response: &Response) -> String {
        excerpt(&self.mask, &response.body)
    }
}

impl fmt::Debug for Director {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Director({})", self.name())
    }
}

/// What is wrong with a JSON text, without quoting it as the error's own text may.
fn where_wrong(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "not of the expected form",
        _ => "not JSON",
    };
    let (line, column) = (error.line(), error.column());
    format!("{what} at line {line}, column {column}")
}
