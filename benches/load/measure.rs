//! CPU of a process, its memory, and what many rounds say together.

use std::fs;

use super::Result;

/// Nanoseconds that process `pid` has been on a CPU, all its threads together, as exact as the kernel's scheduler.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both calls write to the places that they are given, which live here.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) != 0 || libc::clock_gettime(clock, &mut time) != 0
    };
    if failed {
        Err("no CPU clock of that process".into())
    } else {
        Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

pub fn own_cpu_ns() -> Result<u64> {
    cpu_ns(std::process::id())
}

/// Keeps this process, and what it starts from here on, on one CPU; false: there is no such.
pub fn pin(cpu: usize) -> bool {
    // SAFETY: an all-zero set is an empty one, and it lives here.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0
    }
}

/// A figure of `/proc/PID/smaps_rollup` or `/proc/meminfo`, in bytes.
pub fn figure(file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|l| l.strip_prefix(name)).ok_or_else(|| format!("{file} has no {name}"))?;
    Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Median, and the middle half.
#[derive(Clone, Copy)]
pub struct Middle {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

pub fn middle(values: &[f64]) -> Middle {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: f64| sorted.get((sorted.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
    Middle { median: at(0.5), low: at(0.25), high: at(0.75) }
}

impl std::fmt::Display for Middle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.low, self.high)
    }
}
