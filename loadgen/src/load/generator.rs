//! What the generator itself costs, and what else the machine does.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread, in user and kernel mode.
pub(crate) fn thread_cpu() -> Duration {
    cpu(ClockId::ThreadCPUTime)
}

/// What a thread has had of the cores, and what it wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ThreadUse {
    /// CPU time, in user and kernel mode.
    pub(crate) cpu: Duration,
    /// How long it had something to do and waited for a core; zero where the system does not say.
    pub(crate) waited: Duration,
}

impl ThreadUse {
    /// Of this thread, up to now.
    pub(crate) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
        let waited = stat.as_deref().and_then(Self::parse_waited).unwrap_or_default();
        Self { cpu: thread_cpu(), waited }
    }

    /// The file is `ran waited slices`: nanoseconds, nanoseconds, a number.
    fn parse_waited(stat: &str) -> Option<Duration> {
        Some(Duration::from_nanos(stat.split_whitespace().nth(1)?.parse().ok()?))
    }

    /// From `earlier` to this.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            waited: self.waited.saturating_sub(earlier.waited),
        }
    }
}

/// CPU time of this process, in user and kernel mode.
pub(crate) fn process_cpu() -> Duration {
    cpu(ClockId::ProcessCPUTime)
}

fn cpu(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).expect("CPU time is not negative")
}

/// Time that all cores of the machine together have spent, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    busy: u64,
    idle: u64,
}

impl Machine {
    /// `None` where the system does not say.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line is `cpu  user nice system idle iowait irq softirq steal guest guest_nice`; guests
    /// are in user already.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|n| n.parse().ok()).collect();
        let idle = ticks.get(3)? + ticks.get(4)?;
        let all: u64 = ticks.iter().take(8).sum();
        Some(Self { busy: all - idle, idle })
    }

    /// Share of the time between `earlier` and this that the cores were busy, 0 to 1.
    pub(crate) fn busy_since(self, earlier: Self) -> f64 {
        let busy = self.busy.saturating_sub(earlier.busy) as f64;
        let idle = self.idle.saturating_sub(earlier.idle) as f64;
        busy / (busy + idle).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_busy_time_is_that_between_two_readings() {
        let before = Machine::parse("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3").unwrap();
        let after = Machine::parse("cpu  160 5 60 810 65 0 0 0 0 0\n").unwrap();
        assert!((after.busy_since(before) - 0.75).abs() < 1e-9);
        assert_eq!(Machine::parse("intr 1 2"), None);
    }

    #[test]
    fn the_wait_for_a_core_is_the_second_number() {
        let waited = ThreadUse::parse_waited("8731 56253 1\n");
        assert_eq!(waited, Some(Duration::from_nanos(56_253)));
        assert_eq!(ThreadUse::parse_waited(""), None);
    }

    #[test]
    fn cpu_time_goes_on_while_work_is_done() {
        let before = (thread_cpu(), process_cpu());
        let mut sum = 0_u64;
        while thread_cpu() < before.0 + Duration::from_millis(5) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(process_cpu() >= before.1 + Duration::from_millis(5));
    }
}
