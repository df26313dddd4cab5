//! `holds/ID`: somebody wants this backup to stay. docs/format.md, *Holds*.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::bridge::Bridge;
use super::super::format::FORMAT;
use super::super::id::{BackupId, Foundation};
use super::super::objects::{Each, Named};
use crate::shutdown::Stopped;
use crate::store::copies::Copies;
use crate::store::{self, ObjectName, WriteMode};

/// Most bytes of a hold.
const LIMIT: u64 = 64 << 10;

/// What a hold says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// 1.
    pub format: u64,
    /// The backup.
    pub id: BackupId,
    /// RFC 3339, UTC.
    pub when: String,
    /// As somebody gave it.
    pub why: String,
    /// The Concourse build, when one did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Hold {
    /// A hold of now.
    pub fn new(id: &BackupId, when: String, why: &str, by: Option<String>) -> Self {
        Self {
            format: FORMAT,
            id: id.clone(),
            when,
            why: why.to_owned(),
            by,
        }
    }

    fn shown(&self) -> String {
        let why: String = self.why.chars().map(printable).collect();
        format!("{why} (since {})", self.when)
    }
}

fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// The holds of a foundation.
#[derive(Debug, Clone)]
pub struct Holds {
    copies: Arc<Copies>,
    bridge: Bridge,
    foundation: Foundation,
}

/// What stores said of holds.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Why each backup is held. One that cannot be read holds too.
    pub why: BTreeMap<BackupId, Vec<String>>,
    /// The stores that did not answer.
    pub silent: Vec<store::Error>,
}

impl Holds {
    /// In these stores.
    pub fn new(copies: Arc<Copies>, bridge: Bridge, foundation: Foundation) -> Self {
        Self {
            copies,
            bridge,
            foundation,
        }
    }

    fn name(&self, id: &BackupId) -> ObjectName {
        self.foundation.hold(id)
    }

    /// All holds; one in any store counts.
    ///
    /// # Errors
    /// When a signal comes.
    pub fn all(&self) -> Result<Held, Stopped> {
        self.below("")
    }

    /// The holds of one backup.
    ///
    /// # Errors
    /// When a signal comes.
    pub fn of(&self, id: &BackupId) -> Result<Held, Stopped> {
        self.below(id.as_str())
    }

    fn below(&self, start: &str) -> Result<Held, Stopped> {
        let prefix = format!("{}/holds/{start}", self.foundation);
        let mut held = Held::default();
        for (_, listed) in self.bridge.wait(self.copies.list_each(&prefix))? {
            match listed {
                Err(error) => held.silent.push(error),
                Ok(listed) => {
                    for object in listed {
                        if let Some(Named::Hold(id)) = Named::parse(&self.foundation, &object.name)
                        {
                            held.why.entry(id).or_default();
                        }
                    }
                }
            }
        }
        for (id, why) in &mut held.why {
            let object = self.name(id);
            for (store, read) in self.bridge.wait(self.copies.get_each(&object, LIMIT))? {
                let text = match read.map(|bytes| serde_json::from_slice::<Hold>(&bytes)) {
                    Ok(Ok(hold)) => hold.shown(),
                    Ok(Err(_other_form)) => format!("the hold in store {store} cannot be read"),
                    Err(error) if error.kind == store::Kind::NotFound => continue,
                    Err(error) => format!("the hold cannot be read ({error})"),
                };
                if !why.contains(&text) {
                    why.push(text);
                }
            }
            if why.is_empty() {
                why.push("a hold that is being released".to_owned());
            }
        }
        Ok(held)
    }

    /// Writes a hold into every store, in place of an earlier one. Gives each store's answer.
    ///
    /// # Errors
    /// When a signal comes.
    pub fn put(&self, hold: &Hold) -> Result<Each<()>, Stopped> {
        let mut bytes = serde_json::to_vec(hold).expect("string keys only");
        bytes.push(b'\n');
        let (object, bytes) = (self.name(&hold.id), Bytes::from(bytes));
        self.each_store(|store| {
            let bytes = bytes.clone();
            let object = object.clone();
            async move { store.put(&object, bytes, WriteMode::Overwrite).await }
        })
    }

    /// Takes a hold out of every store. Gives each store's answer; none there is success.
    ///
    /// # Errors
    /// When a signal comes.
    pub fn release(&self, id: &BackupId) -> Result<Each<()>, Stopped> {
        let object = self.name(id);
        self.each_store(|store| {
            let object = object.clone();
            async move { store.delete(&object).await }
        })
    }

    fn each_store<F: Future<Output = Result<(), store::Error>>>(
        &self,
        ask: impl Fn(Arc<dyn store::Store>) -> F,
    ) -> Result<Each<()>, Stopped> {
        let mut answers = Vec::new();
        for store in self.copies.stores() {
            let answer = self.bridge.wait(ask(Arc::clone(store)))?;
            answers.push((store.name().to_owned(), answer));
        }
        Ok(answers)
    }
}
