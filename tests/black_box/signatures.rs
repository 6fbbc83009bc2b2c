//! Who may call: keys from a credentials file, through both doors, signed by the SDK.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use crate::common::{Cluster, EU, US, code, eventually, meridian, message, post, unsigned};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use tempfile::TempDir;

const KEYS: &str = "# who may call\n[app]\naws_access_key_id = AKIDAPP\naws_secret_access_key = wJalr/XUtn+FEMI=\n\
                    \n[session]\naws_access_key_id = ASIASESSION\naws_secret_access_key = other\naws_session_token = t0k/en==\n";

/// A cluster that takes only [`KEYS`].
fn guarded(folder: &Arc<TempDir>) -> Cluster {
    let keys = folder.path().join("keys");
    std::fs::write(&keys, KEYS).expect("written");
    Cluster::start_with(&["--credentials", keys.to_str().expect("plain")])
}

fn client(endpoint: &str, region: &str, id: &str, secret: &str, token: Option<&str>) -> Client {
    let token = token.map(str::to_owned);
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new(id, secret, token, None, "tests"))
        .retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn only_known_keys_with_the_right_secret_are_served() {
    let folder = Arc::new(TempDir::new().expect("a folder"));
    let cluster = guarded(&folder);
    let front = format!("http://{}", cluster.front());
    for endpoint in [&front, &cluster.endpoints[US]] {
        let good = client(endpoint, US, "AKIDAPP", "wJalr/XUtn+FEMI=", None);
        good.list_tables().send().await.expect("served");
        let session = client(endpoint, US, "ASIASESSION", "other", Some("t0k/en=="));
        session.list_tables().send().await.expect("served");
        for (id, secret, token, expected) in [
            (
                "NOBODY",
                "wJalr/XUtn+FEMI=",
                None,
                "UnrecognizedClientException",
            ),
            ("AKIDAPP", "guess", None, "InvalidSignatureException"),
            ("ASIASESSION", "other", None, "UnrecognizedClientException"),
            (
                "ASIASESSION",
                "other",
                Some("t0ken"),
                "UnrecognizedClientException",
            ),
        ] {
            let error = client(endpoint, US, id, secret, token)
                .list_tables()
                .send()
                .await
                .expect_err("refused");
            assert_eq!(code(&error), expected, "{id}: {error:?}");
            assert!(!message(&error).is_empty());
        }
    }
    // A key is good in every region, and only where the request was signed for.
    let eu = client(&front, EU, "AKIDAPP", "wJalr/XUtn+FEMI=", None);
    eu.list_tables().send().await.expect("served");
    let astray = client(
        &cluster.endpoints[US],
        EU,
        "AKIDAPP",
        "wJalr/XUtn+FEMI=",
        None,
    );
    let error = astray.list_tables().send().await.expect_err("refused");
    assert_eq!(code(&error), "InvalidSignatureException");
    // What the tests' own helper sends is signed by nobody.
    let answer = post(&cluster.front(), US, "ListTables", "{}").await;
    assert_eq!(answer.exception(), "InvalidSignatureException");
    assert!(unsigned(US).contains(US));
}

#[tokio::test]
async fn a_region_that_is_started_again_still_asks_for_keys() {
    let folder = Arc::new(TempDir::new().expect("a folder"));
    let cluster = guarded(&folder);
    let old = cluster.kill(US).await;
    cluster.back(US, old).await;
    let front = format!("http://{}", cluster.front());
    let nobody = client(&front, US, "NOBODY", "x", None);
    eventually("an unknown key is refused again", async || {
        let error = nobody.list_tables().send().await.expect_err("refused");
        code(&error) == "UnrecognizedClientException"
    })
    .await;
}

#[tokio::test]
async fn bad_credentials_files_stop_it_from_starting() {
    let folder = TempDir::new().expect("a folder");
    let run = async |keys: &Path| {
        let data = folder.path().join("data");
        let args: Vec<OsString> = [
            OsString::from("up"),
            "--port".into(),
            "0".into(),
            "--data".into(),
            data.into(),
            "--credentials".into(),
            keys.into(),
        ]
        .into();
        meridian(&args).await.refused()
    };
    let said = run(&folder.path().join("none")).await;
    assert!(said.contains("cannot be read"), "{said}");
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "[app]\naws_access_key_id = X\n").expect("written");
    let said = run(&keys).await;
    assert!(
        said.contains("line 1: the profile lacks aws_secret_access_key"),
        "{said}"
    );
}
