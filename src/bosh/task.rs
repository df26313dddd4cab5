//! Redirects and tasks: whatever takes the Director long.
//!
//! `bbr` also asks for each task's events at each look and throws them away. We ask for them
//! once, and only to learn why a task failed.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Director, Error};
use crate::http::{Request, Response, Wait, excerpt};
use crate::secret::Secret;

/// As many redirects are followed as `bbr` follows.
const REDIRECTS: usize = 10;

/// The pause after the first look at a task; each further one is half as long again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
struct Task {
    id: u64,
    state: String,
    #[serde(default)]
    result: Option<String>,
}

impl Director {
    /// Sends a request that starts a task, waits for the task's end, returns its result.
    pub(super) fn task(
        &self,
        request: Request,
        what: &str,
        deployment: Option<&str>,
        wait: &Wait,
    ) -> Result<Vec<u8>, Error> {
        self.task_within(request, what, deployment, self.task_timeout, wait)
    }

    /// The same with another limit than the usual one.
    pub(super) fn task_within(
        &self,
        request: Request,
        what: &str,
        deployment: Option<&str>,
        limit: Duration,
        wait: &Wait,
    ) -> Result<Vec<u8>, Error> {
        let response = self.call(request, what, deployment, wait)?;
        self.awaited(response, what, limit, wait)
            .map_err(Error::of_begun)
    }

    /// The result of the task to which an answer leads.
    pub(super) fn awaited(
        &self,
        response: Response,
        what: &str,
        limit: Duration,
        wait: &Wait,
    ) -> Result<Vec<u8>, Error> {
        let response = self.followed(response, what, wait)?;
        let mut task: Task = self.json(&response.body, what)?;
        let began = Instant::now();
        let mut pause = FIRST_PAUSE.min(self.poll_interval);
        while ["queued", "processing", "cancelling"].contains(&task.state.as_str()) {
            if began.elapsed() >= limit {
                return Err(Error::TaskTimeout {
                    id: task.id,
                    what: what.to_owned(),
                    state: task.state,
                    seconds: limit.as_secs(),
                });
            }
            wait.pause(pause)?;
            pause = (pause * 3 / 2).min(self.poll_interval);
            let url = self.target.url(&["tasks", &task.id.to_string()])?;
            let response = self.call(Request::get(url), what, None, wait)?;
            task = self.json(&response.body, what)?;
        }
        if task.state != "done" {
            return Err(self.failed(task, what, wait));
        }
        Ok(self.output(task.id, "result", what, wait)?.body)
    }

    /// The answer at the end of the redirects, all of them on the Director itself.
    fn followed(&self, mut response: Response, what: &str, wait: &Wait) -> Result<Response, Error> {
        let garbled = |reason: &str, body| Error::Garbled {
            director: self.name().to_owned(),
            what: what.to_owned(),
            reason: reason.to_owned(),
            body,
        };
        for _ in 0..REDIRECTS {
            if response.status != 302 {
                return Ok(response);
            }
            let location = response.header("location").unwrap_or_default();
            let url = self
                .target
                .redirected(location)
                .filter(|_| !location.is_empty())
                .ok_or_else(|| {
                    garbled(
                        "a redirect to nowhere",
                        excerpt(&self.mask, location.as_bytes()),
                    )
                })?;
            response = self.call(Request::get(url), what, None, wait)?;
        }
        let body = format!("{REDIRECTS} redirects one after another");
        Err(garbled("redirects without end", body))
    }

    fn output(&self, id: u64, kind: &str, what: &str, wait: &Wait) -> Result<Response, Error> {
        let mut url = self.target.url(&["tasks", &id.to_string(), "output"])?;
        url.set_query(Some(&format!("type={kind}")));
        self.call(Request::get(url), what, None, wait)
    }

    /// The error of a failed task, with the reason if the Director tells one.
    fn failed(&self, task: Task, what: &str, wait: &Wait) -> Error {
        let reason = task
            .result
            .filter(|text| !text.trim().is_empty())
            .or_else(|| self.event_error(task.id, wait))
            .or_else(|| {
                let output = self.output(task.id, "result", what, wait).ok()?;
                Some(output.text()).filter(|text| !text.trim().is_empty())
            })
            .unwrap_or_else(|| "the Director gives no reason".to_owned());
        Error::Task {
            id: task.id,
            what: what.to_owned(),
            state: excerpt(&self.mask, task.state.as_bytes()),
            reason: excerpt(&self.mask, reason.as_bytes()),
        }
    }

    /// The last error among a task's events. None as well when they cannot be had: the task's
    /// failure is what counts.
    fn event_error(&self, id: u64, wait: &Wait) -> Option<String> {
        let mut url = self
            .target
            .url(&["tasks", &id.to_string(), "output"])
            .ok()?;
        url.set_query(Some("type=event"));
        let request = Request::get(url).with("range", &Secret::new("bytes=0-"));
        // 204 and 416 mean that there are none.
        let response = self.authorized(&request, wait).ok()?;
        if ![200, 206].contains(&response.status) {
            return None;
        }
        let text = response.text();
        let mut messages = text.lines().rev().filter_map(|line| {
            let event: Event = serde_json::from_str(line).ok()?;
            event.error?.message.filter(|text| !text.trim().is_empty())
        });
        messages.next()
    }
}

#[derive(Deserialize)]
struct Event {
    error: Option<EventError>,
}

#[derive(Deserialize)]
struct EventError {
    message: Option<String>,
}
