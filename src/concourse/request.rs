//! The request on standard input.

use std::io::Read;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

use crate::config::{Layer, Layers};
use crate::secret::Mask;

/// A pipeline's source with keys and certificates has some kilobytes.
const LIMIT: u64 = 4 * 1024 * 1024;

/// What Concourse asks.
pub(super) struct Request {
    source: Value,
    params: Value,
    /// The version, with whatever keys it has.
    pub(super) version: Option<Map<String, Value>>,
}

impl Request {
    /// Reads one JSON object to the end of the stream, and registers its secrets.
    ///
    /// # Errors
    /// One sentence, without any of the text.
    pub(super) fn read(stdin: &mut dyn Read, mask: &Mask) -> Result<Self> {
        let mut bytes = Vec::new();
        stdin
            .take(LIMIT + 1)
            .read_to_end(&mut bytes)
            .context("the request on standard input could not be read")?;
        if bytes.len() as u64 > LIMIT {
            bail!("the request on standard input is larger than 4 MiB");
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            bail!("the request on standard input is empty; Concourse sends one JSON object");
        }
        // serde_json's own words may quote what it found.
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
            anyhow::anyhow!(
                "the request on standard input is not one JSON object (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        Self::of(value, mask)
    }

    fn of(value: Value, mask: &Mask) -> Result<Self> {
        let Value::Object(mut object) = value else {
            bail!("the request on standard input is JSON, but not an object");
        };
        let mut take = |key: &str| object.remove(key).unwrap_or(Value::Null);
        let (source, params, version) = (take("source"), take("params"), take("version"));
        let request = Self {
            source,
            params,
            version: match version {
                Value::Null => None,
                Value::Object(version) => Some(version),
                _ => bail!("version: expected a map of texts"),
            },
        };
        request.layers().register(mask);
        if let Some(key) = object.keys().next() {
            let key: String = key.chars().take(60).flat_map(char::escape_debug).collect();
            bail!("{key}: is not a part of a request (source, params, version)");
        }
        Ok(request)
    }

    /// `params` over `source`.
    pub(super) fn layers(&self) -> Layers {
        Layers::new(vec![
            Layer::new("source.", self.source.clone()),
            Layer::new("params.", self.params.clone()),
        ])
    }

    /// Read early: debug lines may be wanted before anything else is known.
    pub(super) fn wants_debug(&self) -> bool {
        [&self.source, &self.params]
            .iter()
            .any(|document| matches!(document.get("debug"), Some(Value::Bool(true))))
    }
}
