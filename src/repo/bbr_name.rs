//! `bbr` of a root: what bbr calls an artifact. docs/format.md, *Index*.

use serde::{Deserialize, Serialize};

use super::json::{Object, present};

/// What bbr's `metadata` file calls an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum BbrName {
    /// Of one instance.
    Instance {
        /// The instance group.
        instance: String,
        /// The index, as text.
        index: String,
        /// The job.
        job: String,
    },
    /// Of `backup_one_restore_all`.
    Custom {
        /// The name without `.tar`.
        custom: String,
    },
}

/// Most bytes of a text by which bbr calls an artifact.
const BBR_NAME_LIMIT: usize = 1024;

/// Reads `bbr`.
pub(super) fn bbr_name<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BbrName>, D::Error> {
    #[derive(Deserialize)]
    struct Stated {
        #[serde(default, deserialize_with = "present")]
        custom: Option<String>,
        #[serde(default, deserialize_with = "present")]
        instance: Option<String>,
        #[serde(default, deserialize_with = "present")]
        index: Option<String>,
        #[serde(default, deserialize_with = "present")]
        job: Option<String>,
    }
    let Some(Object(stated)) = Option::<Object<Stated>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let proper = |text: Option<String>| {
        text.filter(|text| text.len() <= BBR_NAME_LIMIT && !text.contains('\0'))
    };
    let name = if stated.custom.is_some() {
        proper(stated.custom).map(|custom| BbrName::Custom { custom })
    } else {
        match (
            proper(stated.instance),
            proper(stated.index),
            proper(stated.job),
        ) {
            (Some(instance), Some(index), Some(job)) => Some(BbrName::Instance {
                instance,
                index,
                job,
            }),
            _ => None,
        }
    };
    match name {
        Some(name) => Ok(Some(name)),
        None => Err(serde::de::Error::custom(
            "`bbr` names neither an instance, index and job nor a custom artifact",
        )),
    }
}
