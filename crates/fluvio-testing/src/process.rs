//! A server under a shell that ends it.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// Starts the server, says its process id, and kills it when the pipe from us closes.
const SHELL: &str =
    r#"log=$1; shift; "$@" >>"$log" 2>&1 & echo $!; cat >/dev/null; kill -9 $!; wait"#;

#[derive(Debug)]
pub(crate) struct Process {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Process {
    pub(crate) fn start(program: &Path, role: &str, arguments: &[OsString], log: &Path) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SHELL, "sh"])
            .arg(log)
            .arg(program)
            .arg(role)
            .args(arguments)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let pipe = shell.stdin.take();
        let said = shell.stdout.take().expect("it is piped");
        let mut id = String::new();
        BufReader::new(said).read_line(&mut id).expect("the shell says the id");
        assert!(id.trim().parse::<u32>().is_ok(), "{} does not start", program.display());
        Self { shell, pipe }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.shell.wait();
    }
}
