//! One level of names: what S3 calls common prefixes.

use super::errors::Action;
use super::{Error, Kind, S3, is_segment};

impl S3 {
    /// As [`super::Store::folders`].
    pub(super) async fn common_prefixes(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let below = self.key(prefix);
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&below)
                .delimiter("/")
                .set_continuation_token(token.take())
                .send();
            let page = self.ask(Action::List, prefix, request).await?;
            let segments = page.common_prefixes().iter().filter_map(|common| {
                let segment = common.prefix()?.strip_prefix(&below)?.strip_suffix('/')?;
                is_segment(segment).then(|| segment.to_owned())
            });
            found.extend(segments);
            if page.is_truncated() != Some(true) {
                break;
            }
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                let message = "the server cut the listing short and does not say how to go on";
                return Err(self.error(Kind::Other, prefix, message));
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}
