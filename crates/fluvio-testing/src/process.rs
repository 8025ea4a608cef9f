//! A server under a shell that ends it, and a directory under one that removes it.
//!
//! Each shell waits on a pipe from this process. However this process ends, the pipe closes, and the
//! shell does its work. It is deaf to what a terminal sends to all processes at once.

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Starts the server, says its process id, and kills it when the pipe from us closes.
const SERVE: &str = r#"trap '' HUP INT QUIT TERM
log=$1; shift; "$@" >>"$log" 2>&1 & echo $!; cat >/dev/null; kill -9 $!; wait"#;

/// Removes the directory when the pipe closes: again as long as servers that are just being killed write there.
const REMOVE: &str = r#"trap '' HUP INT QUIT TERM
cat >/dev/null
for attempt in $(seq 100); do rm -rf "$1" 2>/dev/null && exit; sleep 0.1; done"#;

/// A shell; dropping it waits until its work is done.
#[derive(Debug)]
struct Shell {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Shell {
    fn start(script: &str, arguments: &[&OsStr]) -> (Self, ChildStdout) {
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .args(arguments)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let pipe = child.stdin.take();
        let said = child.stdout.take().expect("it is piped");
        (Self { child, pipe }, said)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.child.wait();
    }
}

/// A server that runs; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    _shell: Shell,
}

impl Process {
    pub(crate) fn start(program: &Path, role: &str, arguments: &[OsString], log: &Path) -> Self {
        let mut all = vec![log.as_os_str(), program.as_os_str(), role.as_ref()];
        all.extend(arguments.iter().map(OsString::as_os_str));
        let (shell, said) = Shell::start(SERVE, &all);
        let mut id = String::new();
        BufReader::new(said).read_line(&mut id).expect("the shell says the id");
        assert!(id.trim().parse::<u32>().is_ok(), "{} does not start", program.display());
        Self { _shell: shell }
    }
}

/// A new directory; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    _shell: Shell,
}

impl Directory {
    pub(crate) fn new() -> Self {
        let path = tempfile::tempdir().expect("a temporary directory").keep();
        let (shell, _) = Shell::start(REMOVE, &[path.as_os_str()]);
        Self { path, _shell: shell }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        os::unix::process::CommandExt as _,
        panic::{AssertUnwindSafe, catch_unwind},
        thread,
        time::Duration,
    };

    use super::*;

    /// Tells the test below that it is the process that is to end, and says where it has its directory.
    const PLACE: &str = "FLUVIO_TESTING_PLACE";

    fn eventually<T>(mut done: impl FnMut() -> Option<T>) -> T {
        for _ in 0..1000 {
            if let Some(value) = done() {
                return value;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("never");
    }

    /// Something that runs for long, in a directory; and the number of its process.
    fn start() -> (Process, Directory, u32) {
        let directory = Directory::new();
        let log = directory.path().join("log");
        let script = "echo $$; exec sleep 1000".into();
        let process = Process::start(Path::new("sh"), "-c", &[script], &log);
        let id = eventually(|| fs::read_to_string(&log).ok()?.trim().parse().ok());
        (process, directory, id)
    }

    fn runs(id: u32) -> bool {
        // One that nobody has waited for yet has no command any more.
        fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|command| !command.is_empty())
    }

    #[test]
    fn a_panic_ends_it() {
        let mut known = None;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let (_process, directory, id) = start();
            assert!(runs(id));
            known = Some((directory.path().to_owned(), id));
            panic!("as a test that fails");
        }));
        assert!(outcome.is_err());
        let (path, id) = known.expect("it has started");
        assert!(!runs(id) && !path.exists());
    }

    /// Starts this test again as a process of its own, ends it with `signal`, as a terminal does, and looks
    /// what is left.
    #[test]
    fn a_signal_ends_it() {
        if let Some(place) = env::var_os(PLACE) {
            let (_process, directory, id) = start();
            let told = format!("{id} {}", directory.path().display());
            fs::write(Path::new(&place).join("new"), told).expect("written");
            fs::rename(Path::new(&place).join("new"), Path::new(&place).join("told"))
                .expect("renamed");
            thread::sleep(Duration::from_hours(1));
            return;
        }
        for signal in ["INT", "TERM", "KILL"] {
            let place = tempfile::tempdir().expect("a temporary directory");
            let mut helper = Command::new(env::current_exe().expect("it runs"))
                .args(["--exact", "process::tests::a_signal_ends_it"])
                .env(PLACE, place.path())
                .stdout(Stdio::null())
                .process_group(0)
                .spawn()
                .expect("it starts again");
            let told = eventually(|| fs::read_to_string(place.path().join("told")).ok());
            let (id, path) = told.split_once(' ').expect("both");
            let id = id.parse().expect("a number");
            assert!(runs(id));
            // Only the process itself gets what cannot be ignored; the others go to all of its group.
            let target = if signal == "KILL" { "" } else { "-" };
            let target = format!("{target}{}", helper.id());
            let mut send = Command::new("sh");
            send.args(["-c", r#"kill -s "$0" -- "$1""#, signal, &target]);
            assert!(send.status().expect("there is a shell").success());
            assert!(!helper.wait().expect("a child").success());
            eventually(|| (!runs(id) && !Path::new(path).exists()).then_some(()));
        }
    }
}
