//! Every key that a configuration may hold, in one place.
//!
//! The same keys stand in `source` and `params` of the resource and, flat, in the command
//! line's file. `README.md` explains each; a test compares it with [`keys`].

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};

use super::leaf::{Count, Flag, Hidden, Names, Span, Spans, Text, Times};

/// All keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct Model {
    pub(crate) foundation: Option<Text>,
    pub(crate) location: Option<Text>,
    pub(crate) stores: Option<Vec<StoreModel>>,
    pub(crate) min_copies: Option<Count>,
    pub(crate) recipients: Option<Names>,
    pub(crate) trusted_workers: Option<Names>,
    pub(crate) new_chain_every: Option<Span>,
    pub(crate) grace: Option<Span>,
    pub(crate) worker_identity: Option<Hidden>,
    pub(crate) recovery_identity: Option<Hidden>,
    pub(crate) ops_manager: Option<OpsManagerModel>,
    pub(crate) director: Option<DirectorModel>,
    pub(crate) bosh: Option<BoshModel>,
    pub(crate) tas: Option<TasModel>,
    pub(crate) inventory: Option<Flag>,
    pub(crate) cloud_controller: Option<CloudControllerModel>,
    pub(crate) credhub: Option<CredHubModel>,
    pub(crate) with_manifest: Option<Flag>,
    pub(crate) unsafe_lock_free: Option<Flag>,
    pub(crate) limits: Option<LimitsModel>,
    pub(crate) debug: Option<Flag>,
    pub(crate) backup: Option<Names>,
    pub(crate) from: Option<Text>,
    pub(crate) cleanup: Option<Names>,
    pub(crate) prune: Option<Flag>,
    pub(crate) retention: Option<RetentionModel>,
    pub(crate) alerts: Option<AlertsModel>,
    pub(crate) force: Option<Flag>,
    pub(crate) download: Option<Flag>,
    pub(crate) verify: Option<Text>,
    pub(crate) verify_part: Option<Text>,
    pub(crate) verify_percent: Option<Count>,
    pub(crate) verify_report: Option<Flag>,
    pub(crate) components: Option<Names>,
    pub(crate) artifacts: Option<Names>,
    pub(crate) stage: Option<Names>,
    pub(crate) id: Option<Text>,
    pub(crate) id_file: Option<Text>,
    pub(crate) confirm_target: Option<Text>,
    pub(crate) in_place: Option<Flag>,
    pub(crate) accept_ops_manager_version: Option<Text>,
    pub(crate) stemcells: Option<Text>,
    pub(crate) drill: Option<DrillModel>,
    pub(crate) probes: Option<Vec<ProbeModel>>,
}

/// One entry of `stores`: a bucket, or a directory when it has a `path`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct StoreModel {
    pub(crate) name: Option<Text>,
    pub(crate) location: Option<Text>,
    pub(crate) path: Option<Text>,
    pub(crate) bucket: Option<Text>,
    pub(crate) prefix: Option<Text>,
    pub(crate) region: Option<Text>,
    pub(crate) endpoint: Option<Text>,
    pub(crate) disable_ssl: Option<Flag>,
    pub(crate) use_path_style: Option<Flag>,
    pub(crate) ca_cert: Option<Text>,
    pub(crate) access_key_id: Option<Hidden>,
    pub(crate) secret_access_key: Option<Hidden>,
    pub(crate) session_token: Option<Hidden>,
    pub(crate) aws_role_arn: Option<Text>,
    pub(crate) enable_aws_creds_provider: Option<Flag>,
    pub(crate) server_side_encryption: Option<Text>,
    pub(crate) sse_kms_key_id: Option<Text>,
    pub(crate) skip_s3_checksums: Option<Flag>,
    pub(crate) checksum_algorithm: Option<Text>,
    pub(crate) object_lock: Option<ObjectLockModel>,
}

/// `stores[].object_lock`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct ObjectLockModel {
    pub(crate) mode: Option<Text>,
    pub(crate) days: Option<Count>,
}

/// `ops_manager`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct OpsManagerModel {
    pub(crate) url: Option<Text>,
    pub(crate) username: Option<Text>,
    pub(crate) password: Option<Hidden>,
    pub(crate) client_id: Option<Text>,
    pub(crate) client_secret: Option<Hidden>,
    pub(crate) decryption_passphrase: Option<Hidden>,
    pub(crate) ca_cert: Option<Text>,
    pub(crate) skip_ssl_validation: Option<Flag>,
    pub(crate) ssh_username: Option<Text>,
    pub(crate) ssh_port: Option<Count>,
    pub(crate) ssh_private_key: Option<Hidden>,
    pub(crate) ssh_host_key: Option<Text>,
}

/// `director`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct DirectorModel {
    pub(crate) host: Option<Text>,
    pub(crate) username: Option<Text>,
    pub(crate) private_key: Option<Hidden>,
    pub(crate) host_key: Option<Text>,
}

/// `bosh`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct BoshModel {
    pub(crate) environment: Option<Text>,
    pub(crate) client: Option<Text>,
    pub(crate) client_secret: Option<Hidden>,
    pub(crate) ca_cert: Option<Text>,
    pub(crate) all_proxy: Option<Text>,
    pub(crate) all_proxy_private_key: Option<Hidden>,
    pub(crate) all_proxy_host_key: Option<Text>,
}

/// `tas`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct TasModel {
    pub(crate) deployment: Option<Text>,
}

/// `cloud_controller`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct CloudControllerModel {
    pub(crate) api: Option<Text>,
    pub(crate) username: Option<Text>,
    pub(crate) password: Option<Hidden>,
    pub(crate) client: Option<Text>,
    pub(crate) client_secret: Option<Hidden>,
    pub(crate) ca_cert: Option<Text>,
    pub(crate) skip_ssl_validation: Option<Flag>,
}

/// `credhub`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct CredHubModel {
    pub(crate) url: Option<Text>,
    pub(crate) client: Option<Text>,
    pub(crate) client_secret: Option<Hidden>,
    pub(crate) ca_cert: Option<Text>,
}

/// `limits`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct LimitsModel {
    pub(crate) parallel: Option<Count>,
    pub(crate) silence: Option<Span>,
    pub(crate) script_timeout: Option<Span>,
    pub(crate) store_timeout: Option<Span>,
    pub(crate) idle_timeout: Option<Span>,
    pub(crate) inventory_timeout: Option<Span>,
}

/// `retention`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct RetentionModel {
    pub(crate) keep_last: Option<Count>,
    pub(crate) keep_within: Option<Span>,
    pub(crate) keep_hourly: Option<Count>,
    pub(crate) keep_daily: Option<Count>,
    pub(crate) keep_weekly: Option<Count>,
    pub(crate) keep_monthly: Option<Count>,
    pub(crate) keep_yearly: Option<Count>,
    pub(crate) keep_minimum: Option<Count>,
}

/// `drill`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct DrillModel {
    pub(crate) scratch: Option<Text>,
    pub(crate) timeout: Option<Span>,
    pub(crate) checks: Option<Vec<CheckModel>>,
}

/// One entry of `drill.checks`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct CheckModel {
    pub(crate) name: Option<Text>,
    pub(crate) url: Option<Text>,
    pub(crate) status: Option<Count>,
    pub(crate) ca_cert: Option<Text>,
    pub(crate) deployment: Option<Text>,
    pub(crate) instance: Option<Text>,
    pub(crate) command: Option<Text>,
    pub(crate) contains: Option<Text>,
}

/// One entry of `probes`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct ProbeModel {
    pub(crate) name: Option<Text>,
    pub(crate) url: Option<Text>,
    pub(crate) status: Option<Count>,
    pub(crate) ca_cert: Option<Text>,
    pub(crate) contains: Option<Text>,
}

/// `alerts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
pub(crate) struct AlertsModel {
    pub(crate) max_age: Option<Spans>,
    pub(crate) max_proof_age: Option<Spans>,
    pub(crate) min_copies: Option<Count>,
    pub(crate) downtime_growth: Option<Times>,
    pub(crate) certificates: Option<Span>,
}

/// All keys with the path of the map they stand in (`""`, `stores[]`, `bosh`, …), in the
/// order of the model.
pub fn keys() -> Vec<(&'static str, &'static str)> {
    let sections: [(&'static str, &'static [&'static str]); 15] = [
        ("", fields_of::<Model>()),
        ("stores[]", fields_of::<StoreModel>()),
        ("stores[].object_lock", fields_of::<ObjectLockModel>()),
        ("ops_manager", fields_of::<OpsManagerModel>()),
        ("director", fields_of::<DirectorModel>()),
        ("bosh", fields_of::<BoshModel>()),
        ("tas", fields_of::<TasModel>()),
        ("cloud_controller", fields_of::<CloudControllerModel>()),
        ("credhub", fields_of::<CredHubModel>()),
        ("limits", fields_of::<LimitsModel>()),
        ("retention", fields_of::<RetentionModel>()),
        ("drill", fields_of::<DrillModel>()),
        ("drill.checks[]", fields_of::<CheckModel>()),
        ("probes[]", fields_of::<ProbeModel>()),
        ("alerts", fields_of::<AlertsModel>()),
    ];
    sections
        .into_iter()
        .flat_map(|(section, fields)| fields.iter().map(move |field| (section, *field)))
        .collect()
}

/// Serde tells a deserializer a struct's keys; this one only listens.
fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Listener<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Listener<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            Err(Self::Error::custom("only listening"))
        }

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("only structs have keys"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier
            ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    drop(T::deserialize(Listener(&mut fields)));
    fields
}
