//! What may differ.

use super::Head;

/// What is in flight at any moment, or only a time.
const IN_FLIGHT: [&str; 4] = [
    "service-instance.last_operation",
    "service-binding.last_operation",
    "service-key.last_operation",
    "route-binding.last_operation",
];
/// What two foundations with the same things on them never share: each stages its own droplets,
/// packs its own bits, makes its own credentials and VMs.
const OF_ONE_FOUNDATION: [&str; 7] = [
    "app.droplet",
    "app.package",
    "credhub-name.since",
    "deployment.manifest",
    "config.digest",
    "instance",
    "router-group.guid",
];

/// What may differ between two inventories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tolerances {
    /// Kind and field; no field: the whole kind.
    ignored: Vec<(String, Option<String>)>,
    /// Whether a thing of the same name must be the same thing (its GUID): true after a restore,
    /// never between two foundations.
    pub guids: bool,
}

impl Tolerances {
    /// Nothing may differ.
    pub fn none() -> Self {
        Self {
            ignored: Vec::new(),
            guids: true,
        }
    }

    /// The usual ones: what is in flight; between inventories of two foundations also what they
    /// never share.
    pub fn between(before: &Head, after: &Head) -> Self {
        let mut usual = Self::none();
        let mut ignore = |what: &[&str]| {
            for one in what {
                usual.ignored.extend(Self::parse(one));
            }
        };
        ignore(&IN_FLIGHT);
        if before.foundation != after.foundation {
            ignore(&OF_ONE_FOUNDATION);
            usual.guids = false;
        }
        usual
    }

    /// One more: `KIND` or `KIND.FIELD` (and all below that field).
    ///
    /// # Errors
    /// Part of a sentence.
    pub fn ignore(&mut self, text: &str) -> Result<(), &'static str> {
        let parsed = Self::parse(text).ok_or("is not KIND or KIND.FIELD, such as app.droplet")?;
        self.ignored.push(parsed);
        Ok(())
    }

    /// These and those.
    #[must_use]
    pub fn with(mut self, more: &Self) -> Self {
        self.ignored.extend(more.ignored.iter().cloned());
        self
    }

    fn parse(text: &str) -> Option<(String, Option<String>)> {
        let (kind, field) = match text.split_once('.') {
            Some((kind, field)) => (kind, Some(field)),
            None => (text, None),
        };
        let good = !kind.is_empty() && field.is_none_or(|field| !field.is_empty());
        good.then(|| (kind.to_owned(), field.map(str::to_owned)))
    }

    /// Whether a whole kind may differ.
    pub(super) fn of_kind(&self, kind: &str) -> bool {
        let mut ignored = self.ignored.iter();
        ignored.any(|(of, field)| of == kind && field.is_none())
    }

    /// Whether a field may differ; `field` is a path with dots.
    pub(super) fn of_field(&self, kind: &str, field: &str) -> bool {
        let covers = |over: &str| {
            field
                .strip_prefix(over)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.ignored
            .iter()
            .any(|(of, over)| of == kind && over.as_deref().is_none_or(covers))
    }
}
