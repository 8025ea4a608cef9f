//! A cluster with TLS, which asks its clients for certificates: everything works over it, and who does not
//! show the right thing is told what is wrong.

mod common;

use std::process::{Command, Output};

use common::cluster::setup;
use fluvio_testing::{Authority, CONTROLLER_DOMAIN, DOMAIN, Identity, TestCluster};

/// The flags of TLS.
fn flags<'a>(domain: &'a str, authority: &'a Authority, identity: &'a Identity) -> [&'a str; 8] {
    let text = |path: &'a std::path::Path| path.to_str().expect("text");
    [
        "--fluvio-tls-domain",
        domain,
        "--fluvio-tls-ca",
        text(&authority.certificate),
        "--fluvio-tls-cert",
        text(&identity.certificate),
        "--fluvio-tls-key",
        text(&identity.key),
    ]
}

fn topline(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_topline"));
    command.env_clear().args(args).output().expect("the binary starts")
}

/// What `setup` says, which fails.
fn refused(cluster: &TestCluster, args: &[&str]) -> String {
    let address = cluster.address();
    let setup = ["setup", "--fluvio", &address, "--fluvio-wait", "1s"];
    let ended = topline(&[&setup[..], args].concat());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success(), "{said}");
    said
}

/// Asserts that it says where and what.
fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "'{part}' is not in: {said}");
    }
}

#[test]
fn everything_goes_over_tls_and_who_is_wrong_is_told() {
    let Some(cluster) = TestCluster::start_with_tls(2) else { return };
    let directory = tempfile::tempdir().unwrap();
    let ours = cluster.authority();
    let other = Authority::new(directory.path(), "other");
    let (client, stranger) = (ours.sign("client", &[]), other.sign("stranger", &[]));
    let (address, good) = (cluster.address(), flags(DOMAIN, ours, &client));
    setup(&cluster, "purchases", &[&good[..], &["--partitions", "2"]].concat());

    // Who shows the wrong thing, or nothing, or sees the wrong thing.
    let controller = format!("the Fluvio controller at {address} cannot be used");
    let unknown = refused(&cluster, &flags(DOMAIN, &other, &client));
    says(&unknown, &[&controller, "invalid peer certificate: UnknownIssuer", "--fluvio-tls-ca"]);
    let strange = refused(&cluster, &flags(DOMAIN, ours, &stranger));
    says(&strange, &[&controller, "alert: UnknownCA", "see --fluvio-tls-cert"]);
    let elsewhere = refused(&cluster, &flags("elsewhere.test", ours, &client));
    says(
        &elsewhere,
        &[&controller, "not valid for name \"elsewhere.test\"", "--fluvio-tls-domain"],
    );
    let plain = refused(&cluster, &[]);
    says(&plain, &[&controller, "if it speaks TLS only, see --fluvio-tls-domain"]);
    says(&refused(&cluster, &good[..4]), &["not provided", "--fluvio-tls-cert"]);

    // The connections to the SPUs are held to the same.
    let half = flags(CONTROLLER_DOMAIN, ours, &client);
    setup(&cluster, "purchases", &[&half[..], &["--partitions", "2"]].concat());
    let ingest = ["ingest", "--fluvio", &address, "--fluvio-wait", "1s"];
    let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let ended = topline(&[&ingest[..], &listen, &half].concat());
    let said = String::from_utf8_lossy(&ended.stderr);
    let names = ["the SPU at 127.0.0.1:", "not valid for name \"custom-spu-500"];
    assert!(!ended.status.success(), "{said}");
    says(&said, &names);

    // A cluster without TLS.
    let without = TestCluster::start(1).expect("there is a fluvio-run");
    says(&refused(&without, &good), &[&without.address(), "does it speak TLS there?"]);

    let demo = ["demo", "--exit", "--fluvio", &address, "--purchases-per-hour", "20"];
    let demo = topline(&[&demo[..], &listen, &good].concat());
    let (said, log) =
        (String::from_utf8_lossy(&demo.stdout), String::from_utf8_lossy(&demo.stderr));
    assert!(demo.status.success(), "{said}\n{log}");
    assert!(said.contains(" 0 differences"), "{said}");
}
