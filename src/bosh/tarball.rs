//! What a stemcell's tarball says of itself: `stemcell.MF`, its first entry as a rule.

use std::io::Read;

use serde::Deserialize;

/// The most that is read of `stemcell.MF`: real ones have a kilobyte.
const LIMIT: u64 = 1 << 20;
/// The most that is unpacked in search of it. The image itself may come first.
const SEARCHED: u64 = 64 << 30;

/// Which stemcell a tarball holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StemcellFile {
    /// `bosh-vsphere-esxi-ubuntu-jammy-go_agent`.
    pub name: String,
    /// `ubuntu-jammy`.
    pub operating_system: String,
    /// `1.500`.
    pub version: String,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    operating_system: Option<String>,
    /// Mostly quoted; `1.10` without quotes would be a number, and another one.
    #[serde(default)]
    version: Option<String>,
}

/// Reads a tarball's `stemcell.MF`.
///
/// # Errors
/// A clause that says what is wrong with it.
pub fn stemcell_file(tarball: impl Read) -> Result<StemcellFile, String> {
    let unpacked = flate2::read::GzDecoder::new(tarball).take(SEARCHED);
    let mut archive = tar::Archive::new(unpacked);
    let entries = archive
        .entries()
        .map_err(|error| format!("is not a stemcell's tarball: {error}"))?;
    for entry in entries {
        let entry = entry.map_err(|error| format!("is not a whole stemcell's tarball: {error}"))?;
        let path = entry.path_bytes();
        if path.strip_prefix(b"./").unwrap_or(&path) != b"stemcell.MF" {
            continue;
        }
        let mut text = String::new();
        entry
            .take(LIMIT)
            .read_to_string(&mut text)
            .map_err(|error| format!("has a stemcell.MF that cannot be read: {error}"))?;
        return parse(&text);
    }
    Err("holds no stemcell.MF".to_owned())
}

fn parse(text: &str) -> Result<StemcellFile, String> {
    let options = serde_saphyr::options! { with_snippet: false, };
    let document: Document = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| format!("has a stemcell.MF that is not YAML: {error}"))?;
    let given = |field: Option<String>, name: &str| {
        field
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("has a stemcell.MF without {name}"))
    };
    Ok(StemcellFile {
        name: given(document.name, "name")?,
        operating_system: document.operating_system.unwrap_or_default(),
        version: given(document.version, "version")?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tarball(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, name, content.as_bytes())
                .unwrap();
        }
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&builder.into_inner().unwrap()).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn a_tarball_says_which_stemcell_it_holds() {
        let manifest = "---\nname: bosh-x-ubuntu-jammy-go_agent\nversion: '1.10'\noperating_system: ubuntu-jammy\nstemcell_protocol: 2\ncloud_properties: {disk: 5120}\n";
        for name in ["stemcell.MF", "./stemcell.MF"] {
            let bytes = tarball(&[("image", "x"), (name, manifest)]);
            let expected = StemcellFile {
                name: "bosh-x-ubuntu-jammy-go_agent".to_owned(),
                operating_system: "ubuntu-jammy".to_owned(),
                version: "1.10".to_owned(),
            };
            assert_eq!(stemcell_file(&bytes[..]), Ok(expected));
        }
        let bare = tarball(&[("stemcell.MF", "name: n\nversion: 621.5\n")]);
        assert_eq!(stemcell_file(&bare[..]).unwrap().version, "621.5");
    }

    #[test]
    fn anything_else_is_named() {
        for (bytes, said) in [
            (b"PK\x03\x04".to_vec(), "is not a"),
            (tarball(&[("image", "x")]), "no stemcell.MF"),
            (tarball(&[("stemcell.MF", "version: '1'")]), "without name"),
            (tarball(&[("stemcell.MF", "name: n")]), "without version"),
            (tarball(&[("stemcell.MF", "]")]), "not YAML"),
        ] {
            let problem = stemcell_file(&bytes[..]).unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }
}
