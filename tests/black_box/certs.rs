//! Certificates as an operator holds them: issued, used by real regions, renewed under way, refused.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::common::{EU, Process, US, free_ports, meridian, wait_for};
use serde_json::Value;
use tempfile::TempDir;

/// A cluster of two, its authority and the folder of each region's files.
struct Site {
    folder: TempDir,
    topology: String,
}

fn text(path: &Path) -> String {
    path.to_str().expect("plain").to_owned()
}

impl Site {
    fn new() -> Site {
        let folder = TempDir::new().expect("a folder");
        let port = free_ports();
        let region = |name: &str, n: u16| {
            format!(
                "[[region]]\nname = \"{name}\"\nid = {n}\nendpoint = \"127.0.0.1:{}\"\n\
                 gossip = \"127.0.0.1:{}\"\nadmin = \"127.0.0.1:{}\"\n",
                port + 2 * n,
                port + 2 * n,
                port + 2 * n + 1
            )
        };
        let words = format!(
            "[cluster]\nname = \"site\"\n{}{}",
            region(US, 0),
            region(EU, 1)
        );
        let path = folder.path().join("topology.toml");
        std::fs::write(&path, words).expect("written");
        let topology = text(&path);
        Site { folder, topology }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn cert(&self, words: &[&str]) -> String {
        meridian(&[&["cert"], words].concat())
            .await
            .success()
            .stdout
    }

    async fn init(&self, name: &str) {
        let out = text(&self.path(name));
        self.cert(&["init", "--out", &out, "--topology", &self.topology])
            .await;
    }

    async fn issue(&self, ca: &str, region: &str, out: &str, more: &[&str]) -> String {
        let (ca, out) = (text(&self.path(ca)), text(&self.path(out)));
        let words = ["issue", "--ca", &ca, "--region", region, "--out", &out];
        self.cert(&[&words, more].concat()).await
    }

    /// The arguments of `serve` for a region with the files in `identity`.
    fn serve(&self, region: &str, identity: &str) -> Vec<String> {
        let identity = text(&self.path(identity));
        let words = ["serve", "--region", region, "--topology", &self.topology];
        let rest = ["--in-memory", "--identity", &identity];
        words.iter().chain(&rest).map(|w| (*w).to_owned()).collect()
    }

    async fn status(&self, region: &str) -> Value {
        let words = ["status", "--json", "--topology", &self.topology];
        let finished = meridian(&words).await.success();
        let all: Value = serde_json::from_str(&finished.stdout).expect("JSON");
        let regions = all["regions"].as_array().expect("regions").clone();
        let of = |seen: &Value| seen["name"] == region;
        regions.into_iter().find(of).expect("the region")
    }

    async fn connected(&self, wanted: bool) {
        for region in [US, EU] {
            wait_for("the link is as it should be", async || {
                let seen = self.status(region).await;
                let is = seen["links"][0]["connected"] == wanted;
                is.then_some(()).ok_or_else(|| seen.to_string())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn regions_run_on_issued_certificates_and_take_renewed_ones_without_a_restart() {
    let site = Site::new();
    site.init("ca").await;
    let shown = site.issue("ca", US, "us", &["--days", "5"]).await;
    for words in [US, "member", " days left)", "valid until", "sha256"] {
        assert!(shown.contains(words), "no '{words}' in {shown}");
    }
    site.issue("ca", EU, "eu", &[]).await;
    for name in [
        "ca/ca.key",
        "us/us-east-1.key",
        "us/us-east-1.pem",
        "us/ca.pem",
    ] {
        let mode = std::fs::metadata(site.path(name))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(
        !site.path("us/ca.key").exists(),
        "the CA's key stays where it is"
    );

    let us = Process::spawn(&site.serve(US, "us"));
    let _eu = Process::spawn(&site.serve(EU, "eu"));
    site.connected(true).await;
    let soon = site.status(US).await;
    let days = |seen: &Value| seen["certificate"]["days_left"].as_u64();
    assert!(days(&soon).is_some_and(|days| days <= 5), "{soon}");
    assert_eq!(soon["notices"][0]["code"], "certificate_expiring", "{soon}");
    let pid = us.pid();

    let (ca, us_files) = (text(&site.path("ca")), text(&site.path("us")));
    site.cert(&[
        "renew",
        "--ca",
        &ca,
        "--region",
        US,
        "--identity",
        &us_files,
    ])
    .await;
    wait_for("the renewed certificate is in use", async || {
        let seen = site.status(US).await;
        let renewed =
            days(&seen).is_some_and(|days| days >= 364) && seen["notices"] == Value::Array(vec![]);
        renewed.then_some(()).ok_or_else(|| seen.to_string())
    })
    .await;
    let seen = site.status(US).await;
    assert_eq!(
        (&seen["pid"], &seen["certificate"]["reloads"]),
        (&pid.into(), &1.into())
    );
    assert_eq!(seen["links"][0]["connected"], true, "{seen}");

    // A file that cannot be used is said, and not used.
    std::fs::write(site.path("us/us-east-1.pem"), "no certificate").expect("written");
    wait_for("the damaged file is told of", async || {
        let seen = site.status(US).await;
        let told = seen["notices"][0]["code"] == "certificate_unusable";
        told.then_some(()).ok_or_else(|| seen.to_string())
    })
    .await;
    assert_eq!(site.status(US).await["links"][0]["connected"], true);
}

#[tokio::test]
async fn a_stranger_is_refused_and_both_sides_say_so() {
    let site = Site::new();
    site.init("ca").await;
    site.init("other").await;
    site.issue("ca", US, "us", &[]).await;
    site.issue("other", EU, "eu", &[]).await;
    let us = Process::spawn(&site.serve(US, "us"));
    let eu = Process::spawn(&site.serve(EU, "eu"));
    let words = "the certificate of 'eu-west-1' was not signed by this cluster's authority";
    for (region, process) in [(US, &us), (EU, &eu)] {
        wait_for("the refusal is in the status", async || {
            let seen = site.status(region).await;
            // A region that does not answer yet has none.
            let mut notices = seen["notices"].as_array().into_iter().flatten();
            let refused = notices.find(|n| n["code"] == "link_refused");
            let text = refused.and_then(|n| n["text"].as_str());
            let told = text.is_some_and(|text| text.contains(words));
            told.then_some(()).ok_or_else(|| seen.to_string())
        })
        .await;
        wait_for("the refusal is in the log", async || {
            process
                .log()
                .contains(words)
                .then_some(())
                .ok_or_else(|| process.log())
        })
        .await;
    }
    let shown = meridian(&["status", "--topology", &site.topology])
        .await
        .success()
        .stdout;
    assert!(shown.contains(words) && shown.contains("hint: "), "{shown}");
    site.connected(false).await;
}

#[tokio::test]
async fn files_are_never_overwritten_and_misuse_is_explained() {
    let site = Site::new();
    site.init("ca").await;
    site.issue("ca", US, "us", &[]).await;
    let (ca, us) = (text(&site.path("ca")), text(&site.path("us")));
    let again = ["cert", "issue", "--ca", &ca, "--region", US, "--out", &us];
    let said = meridian(&again).await.refused();
    assert!(
        said.contains("is not overwritten") && said.contains("cert renew"),
        "{said}"
    );
    let again = ["cert", "init", "--out", &ca, "--topology", &site.topology];
    assert!(
        meridian(&again)
            .await
            .refused()
            .contains("is not overwritten")
    );
    let bad = ["cert", "init", "--out", &ca, "--cluster", "xyz"];
    assert!(
        meridian(&bad)
            .await
            .refused()
            .contains("32 hexadecimal digits")
    );

    site.issue("ca", EU, "eu", &["--role", "observer"]).await;
    let said = meridian(&site.serve(EU, "eu")).await.refused();
    assert!(
        said.contains("observer") && said.contains("may not originate"),
        "{said}"
    );
    let said = meridian(&site.serve(EU, "us")).await.refused();
    assert!(said.contains("eu-west-1.pem"), "{said}");
    let said = meridian(&["cert", "show", &site.topology]).await.refused();
    assert!(said.contains("no usable PEM"), "{said}");
    let shown = site.cert(&["show", &text(&site.path("us/ca.pem"))]).await;
    assert!(shown.starts_with("authority meridian "), "{shown}");
}
