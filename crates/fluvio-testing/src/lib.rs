//! A real Fluvio cluster on loopback, for tests and benches: a controller (SC) and SPUs, with their data in
//! a temporary directory.
//!
//! The server is the program `fluvio-run`, found by the variable `FLUVIO_RUN` or on `PATH`. Where there is none,
//! [`TestCluster::start`] says so and gives nothing, and the test passes without having tested.
//!
//! Each server is the child of a small shell that waits on a pipe from this process: however this process
//! ends, the pipe closes, and the shell kills its server.

mod process;

use std::{
    env,
    ffi::OsStr,
    io::{Write, stderr},
    net::TcpListener,
    path::PathBuf,
};

use process::Process;
use tempfile::TempDir;

/// The number of the first SPU.
const FIRST_SPU: i32 = 5001;

/// A cluster that runs; dropping it ends it.
#[derive(Debug)]
pub struct TestCluster {
    program: PathBuf,
    controller: Server,
    spus: Vec<Server>,
    // Last, so that it goes when the servers are gone.
    directory: TempDir,
}

/// A server of the cluster, running or not.
#[derive(Debug)]
struct Server {
    process: Option<Process>,
    public: u16,
    private: u16,
}

impl Server {
    fn new() -> Self {
        Self { process: None, public: free_port(), private: free_port() }
    }
}

impl TestCluster {
    /// Starts a controller and so many SPUs, which are not registered yet. `None` if there is no
    /// `fluvio-run`.
    ///
    /// # Panics
    /// If a server cannot be started.
    pub fn start(spus: usize) -> Option<Self> {
        let Some(program) = fluvio_run() else {
            // Not by a macro: those of a test that passes are not shown.
            let _ = stderr().write_all(b"\nskipped: no fluvio-run\n");
            return None;
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let spus = (0..spus).map(|_| Server::new()).collect();
        let mut cluster = Self { program, controller: Server::new(), spus, directory };
        cluster.start_controller();
        (0..cluster.spus.len()).for_each(|spu| cluster.start_spu(spu));
        Some(cluster)
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
        let Server { public, private, .. } = self.controller;
        let data = self.directory.path().join("sc");
        let (public, private) = (format!("127.0.0.1:{public}"), format!("127.0.0.1:{private}"));
        let arguments: [&OsStr; 7] = [
            "sc".as_ref(),
            "--local".as_ref(),
            data.as_ref(),
            "--bind-public".as_ref(),
            public.as_ref(),
            "--bind-private".as_ref(),
            private.as_ref(),
        ];
        let log = self.directory.path().join("sc.log");
        let program = &self.program;
        self.controller.process.get_or_insert_with(|| Process::start(program, &arguments, &log));
    }

    /// Starts an SPU, the first is 0, if it does not run.
    ///
    /// # Panics
    /// If it cannot be started, or there is none of this number.
    pub fn start_spu(&mut self, spu: usize) {
        let id = (FIRST_SPU + spu as i32).to_string();
        let data = self.directory.path().join(format!("spu-{id}"));
        let log = self.directory.path().join(format!("spu-{id}.log"));
        let controller = format!("127.0.0.1:{}", self.controller.private);
        let (program, server) = (&self.program, &mut self.spus[spu]);
        let public = format!("127.0.0.1:{}", server.public);
        let private = format!("127.0.0.1:{}", server.private);
        let arguments: [&OsStr; 11] = [
            "spu".as_ref(),
            "--id".as_ref(),
            id.as_ref(),
            "--public-server".as_ref(),
            public.as_ref(),
            "--private-server".as_ref(),
            private.as_ref(),
            "--sc-addr".as_ref(),
            controller.as_ref(),
            "--log-base-dir".as_ref(),
            data.as_ref(),
        ];
        server.process.get_or_insert_with(|| Process::start(program, &arguments, &log));
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
