//! A real Fluvio cluster on loopback, for tests and benches: a controller (SC) and SPUs, with their data in
//! a temporary directory.
//!
//! The server is the program `fluvio-run`, found by the variable `FLUVIO_RUN` or on `PATH`. Where there is none,
//! [`TestCluster::start`] says so and gives nothing, and the test passes without having tested.
//!
//! However this process ends, the servers are killed and the directory is removed: see `process.rs`.

mod authority;
mod process;

use std::{
    env,
    ffi::OsString,
    fs,
    io::{Write, stderr},
    net::TcpListener,
    path::{Path, PathBuf},
    thread,
};

pub use authority::{Authority, Identity};
use process::{Directory, Process};

/// How many lines of a server's log are shown of a test that fails.
const SHOWN_LINES: usize = 30;
/// The number of the first SPU.
const FIRST_SPU: i32 = 5001;

/// The domain of the certificates of a cluster with TLS: the controller's is for this, those of the SPUs for
/// what is right below it.
pub const DOMAIN: &str = "topline.test";
/// A domain for which there is a certificate of the controller, and none of the SPUs.
pub const CONTROLLER_DOMAIN: &str = "controller.test";

/// A cluster that runs; dropping it ends it.
#[derive(Debug)]
pub struct TestCluster {
    program: PathBuf,
    tls: Option<Tls>,
    controller: Server,
    spus: Vec<Server>,
    // Last, so that it goes when the servers are gone.
    directory: Directory,
}

/// What a cluster with TLS shows, and asks of its clients.
#[derive(Debug)]
struct Tls {
    authority: Authority,
    server: Identity,
}

/// A server of the cluster, running or not.
#[derive(Debug)]
struct Server {
    process: Option<Process>,
    public: u16,
    private: u16,
    /// Without TLS, where there is some.
    plain: u16,
}

impl Server {
    fn new() -> Self {
        Self { process: None, public: free_port(), private: free_port(), plain: free_port() }
    }
}

impl TestCluster {
    /// Starts a controller and so many SPUs, which are not registered yet. `None` if there is no
    /// `fluvio-run`.
    ///
    /// # Panics
    /// If a server cannot be started.
    pub fn start(spus: usize) -> Option<Self> {
        Self::start_with(spus, |_| None)
    }

    /// The same with TLS on the public listeners: they have certificates of [`TestCluster::authority`] for
    /// [`DOMAIN`], and take only clients with a certificate of the same authority.
    ///
    /// # Panics
    /// If a server cannot be started.
    pub fn start_with_tls(spus: usize) -> Option<Self> {
        Self::start_with(spus, |directory| {
            let authority = Authority::new(directory, "authority");
            let domains = [DOMAIN, &format!("*.{DOMAIN}"), CONTROLLER_DOMAIN];
            let server = authority.sign("server", &domains);
            Some(Tls { authority, server })
        })
    }

    fn start_with(spus: usize, tls: impl FnOnce(&Path) -> Option<Tls>) -> Option<Self> {
        let Some(program) = fluvio_run() else {
            // Not by a macro: those of a test that passes are not shown.
            let _ = stderr().write_all(b"\nskipped: no fluvio-run\n");
            return None;
        };
        let directory = Directory::new();
        let spus = (0..spus).map(|_| Server::new()).collect();
        let tls = tls(directory.path());
        let mut cluster = Self { program, tls, controller: Server::new(), spus, directory };
        cluster.start_controller();
        (0..cluster.spus.len()).for_each(|spu| cluster.start_spu(spu));
        Some(cluster)
    }

    /// Who signs the certificates of a cluster with TLS.
    ///
    /// # Panics
    /// If it has none.
    pub fn authority(&self) -> &Authority {
        &self.tls.as_ref().expect("it was started with TLS").authority
    }

    /// Where the controller is, as HOST:PORT.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.controller.public)
    }

    /// The SPUs as `ID=PUBLIC,PRIVATE`.
    pub fn spus(&self) -> impl Iterator<Item = String> {
        self.spus
            .iter()
            .zip(FIRST_SPU..)
            .map(|(spu, id)| format!("{id}=127.0.0.1:{},127.0.0.1:{}", spu.public, spu.private))
    }

    /// Starts the controller, if it does not run.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_controller(&mut self) {
        let Server { public, private, plain, .. } = self.controller;
        let mut arguments = arguments(&[
            ("--local", self.directory.path().join("sc").into()),
            ("--bind-public", local(public)),
            ("--bind-private", local(private)),
        ]);
        arguments.extend(self.tls_arguments(plain));
        let log = self.directory.path().join("sc.log");
        let start = || Process::start(&self.program, "sc", &arguments, &log);
        self.controller.process.get_or_insert_with(start);
    }

    /// Starts an SPU, the first is 0, if it does not run.
    ///
    /// # Panics
    /// If it cannot be started, or there is none of this number.
    pub fn start_spu(&mut self, spu: usize) {
        let Server { public, private, plain, .. } = self.spus[spu];
        let id = FIRST_SPU + spu as i32;
        let mut arguments = arguments(&[
            ("--id", id.to_string().into()),
            ("--public-server", local(public)),
            ("--private-server", local(private)),
            ("--sc-addr", local(self.controller.private)),
            ("--log-base-dir", self.directory.path().join(format!("spu-{id}")).into()),
        ]);
        arguments.extend(self.tls_arguments(plain));
        let log = self.directory.path().join(format!("spu-{id}.log"));
        let start = || Process::start(&self.program, "spu", &arguments, &log);
        self.spus[spu].process.get_or_insert_with(start);
    }

    /// The server behind TLS listens on `plain`.
    fn tls_arguments(&self, plain: u16) -> Vec<OsString> {
        let Some(Tls { authority, server }) = &self.tls else { return Vec::new() };
        let mut with = arguments(&[
            ("--server-cert", server.certificate.clone().into()),
            ("--server-key", server.key.clone().into()),
            ("--ca-cert", authority.certificate.clone().into()),
            ("--bind-non-tls-public", local(plain)),
        ]);
        with.extend(["--tls".into(), "--enable-client-cert".into()]);
        with
    }

    /// Where an SPU keeps its replicas, each in a directory `TOPIC-PARTITION`.
    ///
    /// # Panics
    /// If there is none of this number.
    pub fn spu_data(&self, spu: usize) -> PathBuf {
        assert!(spu < self.spus.len(), "there is an SPU {spu}");
        let id = FIRST_SPU + spu as i32;
        self.directory.path().join(format!("spu-{id}/spu-logs-{id}"))
    }

    /// Kills the controller with SIGKILL.
    pub fn kill_controller(&mut self) {
        self.controller.process = None;
    }

    /// Kills an SPU with SIGKILL.
    ///
    /// # Panics
    /// If there is none of this number.
    pub fn kill_spu(&mut self, spu: usize) {
        self.spus[spu].process = None;
    }
}

impl Drop for TestCluster {
    /// Shows what the servers have said last, if the test has failed.
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let files = fs::read_dir(self.directory.path()).into_iter().flatten().flatten();
        for file in
            files.map(|file| file.path()).filter(|file| file.extension() == Some("log".as_ref()))
        {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<_> = text.lines().rev().take(SHOWN_LINES).collect();
            eprintln!("the last of {}:", file.display());
            lines.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}

fn local(port: u16) -> OsString {
    format!("127.0.0.1:{port}").into()
}

/// Flags with their values, one after the other.
fn arguments(flags: &[(&str, OsString)]) -> Vec<OsString> {
    flags.iter().flat_map(|(flag, value)| [flag.into(), value.clone()]).collect()
}

/// The program of the server.
fn fluvio_run() -> Option<PathBuf> {
    if let Some(program) = env::var_os("FLUVIO_RUN") {
        return Some(program.into());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join("fluvio-run")).find(|program| program.is_file())
}

/// A port that is free now; the servers take no listener that is open already.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
