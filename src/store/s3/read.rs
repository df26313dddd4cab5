//! Objects on their way back, and the earlier versions that a bucket may keep of them.

use bytes::Bytes;

use super::errors::{self, Action};
use super::{Error, Kind, ObjectName, S3, Version, size, time};

impl S3 {
    /// As [`super::Store::get`], or one version.
    pub(super) async fn read(
        &self,
        name: &ObjectName,
        version: Option<&str>,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let object = name.as_str();
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.key(object))
            .set_version_id(version.map(str::to_owned))
            .send();
        let mut answer = self.ask(Action::Get, object, request).await?;
        let announced = answer.content_length().unwrap_or(0);
        let announced = u64::try_from(announced).unwrap_or(0);
        let too_large = || Error::too_large(&self.name, name, limit);
        if announced > limit {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        let stall = self.timeouts().stall;
        loop {
            let part = match tokio::time::timeout(stall, answer.body.next()).await {
                Ok(None) => break,
                Ok(Some(part)) => part.map_err(|error| self.translator.torn(object, &error))?,
                Err(_elapsed) => return Err(self.translator.silent(object, stall)),
            };
            if (bytes.len() + part.len()) as u64 > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&part);
        }
        Ok(Bytes::from(bytes))
    }

    /// As [`super::Store::versions`]. Delete markers have no content and are left out; a server
    /// that knows no versions keeps none.
    pub(super) async fn object_versions(&self, name: &ObjectName) -> Result<Vec<Version>, Error> {
        let key = self.key(name.as_str());
        let mut found = Vec::new();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let request = self
                .client
                .list_object_versions()
                .bucket(&self.bucket)
                .prefix(&key)
                .set_key_marker(key_marker.take())
                .set_version_id_marker(version_marker.take())
                .send();
            let page = match self.ask(Action::Versions, name.as_str(), request).await {
                Err(error) if errors::says_not_implemented(&error) => return Ok(found),
                page => page?,
            };
            // Longer names have the same beginning.
            let own = page
                .versions()
                .iter()
                .filter(|version| version.key() == Some(&key));
            found.extend(own.filter_map(|version| {
                Some(Version {
                    id: version.version_id()?.to_owned(),
                    size: size(version.size()),
                    modified: time(version.last_modified()),
                    is_current: version.is_latest() == Some(true),
                })
            }));
            // They come in order of their names, the name itself first.
            let next = page.next_key_marker().map(str::to_owned);
            if page.is_truncated() != Some(true) || next.as_deref() > Some(key.as_str()) {
                break;
            }
            version_marker = page.next_version_id_marker().map(str::to_owned);
            if next.is_none() {
                let message = "the server cut the listing short and does not say how to go on";
                return Err(self.error(Kind::Other, name.as_str(), message));
            }
            key_marker = next;
        }
        // Newest first, as Amazon's come; equal times keep the server's order.
        found.sort_by_key(|version| std::cmp::Reverse(version.modified));
        Ok(found)
    }
}
