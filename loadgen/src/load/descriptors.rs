//! Open files: each client has a socket, and the system allows a process only so many.

use rustix::process::{Resource, getrlimit, setrlimit};

use super::LoadError;

/// Open files besides the sockets of clients: those of the run, event loops, and connections that are not measured.
const OTHERS: u64 = 64;

/// Raises what this process may have open as far as it may by itself.
///
/// # Errors
/// If that is too little for `clients`: what failed for want of files would look like the server's doing.
pub(crate) fn make_room(clients: u32) -> Result<(), LoadError> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let needed = u64::from(clients) + OTHERS;
    match limit.current {
        Some(allowed) if allowed < needed => {
            Err(LoadError::Descriptors { clients, needed, allowed })
        }
        _ => Ok(()),
    }
}
