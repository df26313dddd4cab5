//! Settings into a client of the SDK.

use aws_config::sts::AssumeRoleProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedCredentialsProvider, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder as HttpBuilder, Connector};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{S3Checksum, S3Credentials, S3Settings};

/// Where clouds answer who an instance is; never behind a proxy.
const METADATA_ADDRESSES: &str = "169.254.169.254,169.254.170.2,169.254.170.23,[fd00:ec2::254]";
const ALGORITHMS: [&str; 5] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];
const ENCRYPTIONS: [&str; 3] = ["AES256", "aws:kms", "aws:kms:dsse"];

/// A client, or what is wrong with a setting.
pub(super) async fn build(settings: &S3Settings) -> Result<Client, String> {
    check(settings)?;
    let http = http_client(settings)?;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.timeouts.connect)
        .build();
    // The SDK computes a checksum that a setting names; Content-MD5 is ours to compute.
    let checksums = match settings.checksum {
        S3Checksum::Algorithm(_) => RequestChecksumCalculation::WhenSupported,
        S3Checksum::ContentMd5 | S3Checksum::Skip => RequestChecksumCalculation::WhenRequired,
    };
    let mut config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .force_path_style(settings.use_path_style)
        .http_client(http.clone())
        // One policy for all stores: `store::retry`.
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        // `super::upload` and `super::S3::get` watch; the SDK does not see a stalled upload.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(checksums)
        // Everything read is compared with its name.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    config.set_endpoint_url(endpoint_url(settings)?);
    config = match credentials(settings, http).await {
        Some(provider) => config.credentials_provider(provider),
        None => config.allow_no_auth(),
    };
    Ok(Client::from_conf(config.build()))
}

fn check(settings: &S3Settings) -> Result<(), String> {
    if settings.bucket.is_empty() {
        return Err("bucket: is missing".to_owned());
    }
    if settings.region.is_empty() {
        return Err("region: is empty".to_owned());
    }
    let prefix = settings.prefix.trim_matches('/');
    let segment = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && !part.contains(char::is_control)
    };
    if !prefix.is_empty() && !prefix.split('/').all(segment) {
        return Err("prefix: has an empty segment, . or .. or a control character".to_owned());
    }
    if let S3Checksum::Algorithm(name) = &settings.checksum {
        one_of("checksum_algorithm", name, &ALGORITHMS)?;
    }
    if let Some(name) = &settings.server_side_encryption {
        one_of("server_side_encryption", name, &ENCRYPTIONS)?;
    }
    if settings.role.is_some() && settings.credentials == S3Credentials::Anonymous {
        return Err("role_arn: a role cannot be assumed without credentials".to_owned());
    }
    Ok(())
}

fn one_of(field: &str, name: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&name) {
        Ok(())
    } else {
        Err(format!("{field}: is not one of {}", known.join(", ")))
    }
}

/// The endpoint as a URL.
pub(super) fn endpoint_url(settings: &S3Settings) -> Result<Option<String>, String> {
    let Some(endpoint) = settings.endpoint.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let (scheme, host) = match endpoint.split_once("://") {
        Some((scheme @ ("http" | "https"), host)) => (scheme, host),
        Some(_) => return Err("endpoint: is neither an http nor an https URL".to_owned()),
        None if settings.disable_ssl => ("http", endpoint),
        None => ("https", endpoint),
    };
    let host = host.trim_end_matches('/');
    let wrong = |c: char| c.is_control() || c.is_whitespace() || "@?#/\\".contains(c);
    if host.is_empty() || host.contains(wrong) {
        return Err("endpoint: must be a host, host:port, or a URL of nothing more".to_owned());
    }
    Ok(Some(format!("{scheme}://{host}")))
}

/// Who to trust and which way to go.
fn http_client(settings: &S3Settings) -> Result<SharedHttpClient, String> {
    let provider = Provider::Rustls(CryptoMode::AwsLc);
    let trust = match &settings.ca_cert {
        None => TrustStore::default(),
        Some(pem) => {
            check_certificates(pem)?;
            TrustStore::empty().with_pem_certificate(pem.as_bytes())
        }
    };
    let context = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|error| format!("ca_cert: cannot be used: {error}"))?;
    let Some(proxy) = &settings.proxy else {
        return Ok(HttpBuilder::new()
            .tls_provider(provider)
            .tls_context(context)
            .build_https());
    };
    // The error could repeat the URL, and the URL may have a password.
    let config = ProxyConfig::all(proxy.url.expose())
        .map_err(|_secret| "proxy: is not a URL".to_owned())?
        .no_proxy(format!("{},{METADATA_ADDRESSES}", proxy.no_proxy));
    Ok(
        HttpBuilder::new().build_with_connector_fn(move |settings, _| {
            let mut builder = Connector::builder().proxy_config(config.clone());
            builder.set_connector_settings(settings.cloned());
            builder
                .tls_provider(provider.clone())
                .tls_context(context.clone())
                .build()
        }),
    )
}

/// The SDK takes them on trust, and panics later.
fn check_certificates(pem: &str) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("ca_cert: is not PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("ca_cert: holds an unusable certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err("ca_cert: holds no certificate in PEM form".to_owned());
    }
    Ok(())
}

/// Who we are; none means unsigned requests.
async fn credentials(
    settings: &S3Settings,
    http: SharedHttpClient,
) -> Option<SharedCredentialsProvider> {
    let given = match &settings.credentials {
        S3Credentials::Anonymous => return None,
        S3Credentials::DefaultChain => None,
        S3Credentials::Static {
            access_key_id,
            secret_access_key,
            session_token,
        } => Some(SharedCredentialsProvider::new(Credentials::new(
            access_key_id,
            secret_access_key.expose(),
            session_token
                .as_ref()
                .map(|token| token.expose().to_owned()),
            None,
            "settings",
        ))),
    };
    if settings.role.is_none() && given.is_some() {
        return given;
    }
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .http_client(http);
    if let Some(given) = given {
        loader = loader.credentials_provider(given);
    }
    let config = loader.load().await;
    let Some(role) = &settings.role else {
        return config.credentials_provider();
    };
    let mut provider = AssumeRoleProvider::builder(&role.arn)
        .session_name(&role.session_name)
        .configure(&config);
    if let Some(external_id) = &role.external_id {
        provider = provider.external_id(external_id);
    }
    Some(SharedCredentialsProvider::new(provider.build().await))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str, disable_ssl: bool) -> Result<Option<String>, String> {
        let mut settings = S3Settings::new("s3", "bucket");
        settings.endpoint = Some(text.to_owned());
        settings.disable_ssl = disable_ssl;
        endpoint_url(&settings)
    }

    #[test]
    fn an_endpoint_is_a_host_or_a_url() {
        for (text, disable_ssl, url) in [
            ("minio.example.com", false, "https://minio.example.com"),
            (
                "minio.example.com:9000",
                true,
                "http://minio.example.com:9000",
            ),
            ("http://10.0.0.5:9000/", false, "http://10.0.0.5:9000"),
            ("https://10.0.0.5", true, "https://10.0.0.5"),
        ] {
            assert_eq!(endpoint(text, disable_ssl).unwrap().as_deref(), Some(url));
        }
        assert_eq!(endpoint("", false).unwrap(), None);
        for bad in [
            "ftp://x",
            "https://",
            "https://u:p@x",
            "https://x/path",
            "a b",
        ] {
            let message = endpoint(bad, false).unwrap_err();
            assert!(message.starts_with("endpoint: "), "{bad}: {message}");
            assert!(!message.contains("u:p"), "{message}");
        }
    }

    #[tokio::test]
    async fn a_wrong_setting_is_named() {
        type Change = fn(&mut S3Settings);
        let cases: [(&str, Change); 8] = [
            ("bucket: ", |s| s.bucket.clear()),
            ("region: ", |s| s.region.clear()),
            ("prefix: ", |s| s.prefix = "a/../b".to_owned()),
            ("checksum_algorithm: ", |s| {
                s.checksum = S3Checksum::Algorithm("ROT13".to_owned());
            }),
            ("server_side_encryption: ", |s| {
                s.server_side_encryption = Some("none".to_owned());
            }),
            ("ca_cert: ", |s| {
                s.ca_cert = Some("no certificate".to_owned());
            }),
            ("ca_cert: ", |s| {
                s.ca_cert = Some(
                    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
                );
            }),
            ("proxy: ", |s| {
                s.proxy = Some(super::super::S3Proxy {
                    url: crate::secret::Secret::new("hunter2 hunter2"),
                    no_proxy: String::new(),
                });
            }),
        ];
        for (field, change) in cases {
            let mut settings = S3Settings::new("s3", "bucket");
            change(&mut settings);
            let message = build(&settings).await.unwrap_err();
            assert!(message.starts_with(field), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
