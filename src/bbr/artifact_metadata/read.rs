//! Reads the `metadata` file of a bbr artifact directory, whoever wrote it, in a few bytes per
//! file: a foundation's blobs make it as large as an artifact.

use std::fmt;
use std::io::Read;

use base64::Engine as _;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::artifact::Digest;
use crate::artifact::sums::Sums;
use crate::bbr::instance::PlaceKind;
use crate::bbr::yaml;

/// What the file records.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Group and index of each instance, also of those without artifacts.
    pub instances: Vec<(String, String)>,
    /// Each artifact with the digests of its files.
    pub artifacts: Vec<(PlaceKind, Sums)>,
}

impl Recorded {
    /// Reads the file.
    ///
    /// # Errors
    /// One sentence saying what is wrong with it.
    pub fn read(from: impl Read) -> Result<Self, String> {
        let mut recorded = Self::default();
        yaml::stream(from, Document(&mut recorded))?;
        Ok(recorded)
    }
}

/// The whole file.
struct Document<'a>(&'a mut Recorded);
/// The list under `instances`.
struct Instances<'a>(&'a mut Recorded);
/// One of them.
struct Instance<'a>(&'a mut Recorded);
/// The list under `artifacts` or `custom_artifacts`: each name with its sums.
struct Artifacts<'a>(&'a mut Vec<(String, Sums)>);
/// One of them.
struct Artifact<'a>(&'a mut Vec<(String, Sums)>);
/// The map under `checksums`.
struct Checksums<'a>(&'a mut Sums);

/// A seed that visits a map or a list, and is content with nothing.
macro_rules! seed {
    ($name:ident, $what:literal, $visit:ident, $access:ident, $self:ident, $input:ident, $body:block) => {
        impl<'de> DeserializeSeed<'de> for $name<'_> {
            type Value = ();
            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
                from.deserialize_any(self)
            }
        }
        impl<'de> Visitor<'de> for $name<'_> {
            type Value = ();
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($what)
            }
            fn visit_unit<E>(self) -> Result<(), E> {
                Ok(())
            }
            fn visit_none<E>(self) -> Result<(), E> {
                Ok(())
            }
            fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
                from.deserialize_any(self)
            }
            fn $visit<A: $access<'de>>($self, mut $input: A) -> Result<(), A::Error> $body
        }
    };
}

seed!(
    Document,
    "bbr's metadata",
    visit_map,
    MapAccess,
    self,
    map,
    {
        let mut custom = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "instances" => map.next_value_seed(Instances(&mut *self.0))?,
                "custom_artifacts" => map.next_value_seed(Artifacts(&mut custom))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let custom = custom.into_iter();
        self.0
            .artifacts
            .extend(custom.map(|(name, sums)| (PlaceKind::Custom { name }, sums)));
        Ok(())
    }
);

seed!(
    Instances,
    "a list of instances",
    visit_seq,
    SeqAccess,
    self,
    list,
    {
        while list.next_element_seed(Instance(&mut *self.0))?.is_some() {}
        Ok(())
    }
);

seed!(Instance, "an instance", visit_map, MapAccess, self, map, {
    let (mut name, mut index, mut artifacts) = (None, None, Vec::new());
    while let Some(key) = map.next_key::<String>()? {
        match key.as_str() {
            "name" => name = Some(map.next_value::<String>()?),
            "index" => index = Some(map.next_value::<String>()?),
            "artifacts" => map.next_value_seed(Artifacts(&mut artifacts))?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
    }
    let (Some(group), Some(index)) = (name, index) else {
        return Err(A::Error::custom("an instance has no name or no index"));
    };
    let artifacts = artifacts.into_iter().map(|(job, sums)| {
        let (group, index) = (group.clone(), index.clone());
        (PlaceKind::Instance { group, index, job }, sums)
    });
    self.0.artifacts.extend(artifacts);
    self.0.instances.push((group, index));
    Ok(())
});

seed!(
    Artifacts,
    "a list of artifacts",
    visit_seq,
    SeqAccess,
    self,
    list,
    {
        while list.next_element_seed(Artifact(&mut *self.0))?.is_some() {}
        Ok(())
    }
);

seed!(Artifact, "an artifact", visit_map, MapAccess, self, map, {
    let (mut name, mut sums) = (None, Sums::default());
    while let Some(key) = map.next_key::<String>()? {
        match key.as_str() {
            "name" => name = Some(map.next_value::<String>()?),
            "checksums" => map.next_value_seed(Checksums(&mut sums))?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
    }
    let name = name.ok_or_else(|| A::Error::custom("an artifact has no name"))?;
    self.0.push((name, sums));
    Ok(())
});

seed!(
    Checksums,
    "checksums by file",
    visit_map,
    MapAccess,
    self,
    map,
    {
        while let Some(name) = map.next_key::<String>()? {
            let digest = map.next_value::<String>()?;
            let digest = Digest::parse(&digest)
                .ok_or_else(|| A::Error::custom("a checksum is not 64 hex digits"))?;
            self.0.add(&file_name(name), digest);
        }
        Ok(())
    }
);

/// A name that is not UTF-8 stands there as base64, tagged `!!binary`; every other begins with `./`.
fn file_name(key: String) -> Vec<u8> {
    if key.starts_with("./") {
        return key.into_bytes();
    }
    let packed: String = key.split_whitespace().collect();
    match base64::engine::general_purpose::STANDARD.decode(packed) {
        Ok(name) if name.starts_with(b"./") => name,
        _ => key.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bbr::artifact_metadata::MetadataWriter;
    use std::time::SystemTime;

    const SUM: &str = "3f1b2c3d4e5f60718293a4b5c6d7e8f93f1b2c3d4e5f60718293a4b5c6d7e8f9";

    fn read(text: &str) -> Result<Recorded, String> {
        Recorded::read(text.as_bytes())
    }

    #[test]
    fn what_bbr_writes_is_read() {
        let text = format!(
            "instances:\n- name: redis\n  index: \"0\"\n  artifacts:\n  - name: redis-server\n    checksums:\n      \
             ./dump.rdb: {SUM}\n      ? ./a-very-long-name\n      : {SUM}\n      !!binary Li//: {SUM}\n- name: other\n  index: 1\n\
             custom_artifacts:\n- name: a-b-backup-one-restore-all\n  checksums: {{}}\n\
             backup_activity:\n  start_time: 2026/08/21 10:04:09 CEST\nunknown: [1, {{a: b}}]\n"
        );
        let recorded = read(&text).unwrap();
        assert_eq!(
            recorded.instances,
            [
                ("redis".to_owned(), "0".to_owned()),
                ("other".to_owned(), "1".to_owned())
            ]
        );
        let digest = Digest::parse(SUM).unwrap();
        let mut artifacts = recorded.artifacts.into_iter();
        let (kind, sums) = artifacts.next().unwrap();
        assert!(matches!(kind, PlaceKind::Instance { job, .. } if job == "redis-server"));
        let mut sums = sums.finish();
        for name in [&b"./dump.rdb"[..], b"./a-very-long-name", b"./\xff"] {
            sums.compare(name, digest);
        }
        assert_eq!(sums.differences(), None);
        let (kind, sums) = artifacts.next().unwrap();
        assert!(matches!(kind, PlaceKind::Custom { name } if name == "a-b-backup-one-restore-all"));
        assert!(sums.finish().is_empty());
        assert!(artifacts.next().is_none());
    }

    #[test]
    fn what_bbr_tolerates_is_tolerated() {
        for text in [
            "instances: []\n",
            "{}\n",
            "",
            "--- ~\n",
            "instances:\ncustom_artifacts: ~\n",
        ] {
            let recorded = read(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert!(recorded.instances.is_empty() && recorded.artifacts.is_empty());
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "instances: x\n",
            "instances:\n- name: a\n",
            "instances:\n- {name: a, index: 0, artifacts: [{name: j, checksums: {./a: zz}}]}\n",
            "- a\n",
            "{{{",
            "instances:\n- {name: a, index: 0, artifacts: [{checksums: {}}]}\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_we_write_is_read() {
        let digest = Digest::of(b"x");
        let names: Vec<Vec<u8>> = vec![
            "./ü\n\"\u{1f600}\u{85}: #".as_bytes().to_vec(),
            b"./\xff\xfe".to_vec(),
            format!("./{}", "long/".repeat(60)).into_bytes(),
            b"./yes".to_vec(),
        ];
        let mut writer = MetadataWriter::new(Vec::new());
        let mut sums = writer.instance_artifact("yes", "0", "on").unwrap();
        for name in &names {
            sums.checksum(name, digest).unwrap();
        }
        sums.finish().unwrap();
        let text = writer.finish(SystemTime::UNIX_EPOCH, None).unwrap();
        let recorded = Recorded::read(&text[..]).unwrap();
        let (kind, sums) = recorded.artifacts.into_iter().next().unwrap();
        assert!(
            matches!(kind, PlaceKind::Instance { group, job, .. } if group == "yes" && job == "on")
        );
        let mut sums = sums.finish();
        for name in &names {
            sums.compare(name, digest);
        }
        assert_eq!(sums.differences(), None);
    }
}
