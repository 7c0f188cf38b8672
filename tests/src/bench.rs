//! What benchmarks measure with: a process's CPU time and memory, percentiles, tables, and the release build.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Ticks of the kernel's accounting in a second, on every architecture of Linux.
const TICKS_PER_SECOND: u64 = 100;

/// What a process has used so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// CPU time of all its threads, those that ended included; to 10 ms.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// The most resident memory so far, in bytes.
    pub peak_resident: u64,
}

impl Usage {
    /// Reads it from `/proc`.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name before may hold anything, but no closing bracket follows it.
        let (_, fields) = stat.rsplit_once(')').context("a bad stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |index: usize| -> Result<u64> { Ok(fields.get(index).context("a bad stat")?.parse()?) };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self {
            cpu: Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / TICKS_PER_SECOND),
            resident: kilobytes(&status, "VmRSS:")? * 1024,
            peak_resident: kilobytes(&status, "VmHWM:")? * 1024,
        })
    }
}

/// CPU time so far of this process and of all that it started and that still run, by program, to 10 ms.
///
/// # Errors
/// There is no `/proc`.
pub fn cpu_by_program() -> Result<BTreeMap<String, Duration>> {
    let mut processes = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        // One that has ended meanwhile is none of these.
        if let Ok(stat) = std::fs::read_to_string(path.join("stat"))
            && let Some(process) = Process::parse(&stat)
        {
            processes.insert(process.pid, process);
        }
    }
    let own = std::process::id();
    let is_ours = |process: &Process| {
        std::iter::successors(Some(process), |process| processes.get(&process.parent))
            .any(|ancestor| ancestor.pid == own)
    };
    let mut sums = BTreeMap::new();
    for process in processes.values().filter(|process| is_ours(process)) {
        let program = if process.pid == own {
            "callers"
        } else {
            &process.program
        };
        *sums.entry(program.to_owned()).or_default() += process.cpu;
    }
    Ok(sums)
}

struct Process {
    pid: u32,
    program: String,
    parent: u32,
    cpu: Duration,
}

impl Process {
    fn parse(stat: &str) -> Option<Self> {
        // The name may hold anything, but no closing bracket follows it.
        let (name, fields) = stat.rsplit_once(')')?;
        let (pid, program) = name.split_once('(')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            pid: pid.trim().parse().ok()?,
            program: program.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            cpu: Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / TICKS_PER_SECOND),
        })
    }
}

fn kilobytes(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("the process has ended")?.parse()?)
}

/// The value that this share (0 to 1) of the values does not exceed; zero if there are none. Sorts them.
pub fn percentile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index from a share"
    )]
    let index = (last as f64 * share).round() as usize;
    values.get(index).copied().unwrap_or_default()
}

/// The middle one of the values; zero if there are none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Rows under a header, in columns: the first to the left, the others to the right.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        longest.max(header[column].chars().count())
    };
    let line = |cells: &[&str]| {
        let padded = cells.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = width(column)),
            _ => format!("{cell:>width$}", width = width(column)),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(header);
    for row in rows {
        text += &line(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    text
}

/// Builds both services as they are shipped, into the directory that this benchmark runs from.
///
/// # Errors
/// The build fails; the message has the command to repeat.
pub fn build_release() -> Result<()> {
    let arguments = [
        "build",
        "--release",
        "--locked",
        "-p",
        "auth-gateway",
        "-p",
        "sync-worker",
    ];
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments).current_dir(root);
    // ring's build script would be run anew, and all that needs ring built anew, for other values of these.
    for name in ["MANIFEST_DIR", "MANIFEST_LINKS", "PKG_NAME"] {
        cargo.env_remove(format!("CARGO_{name}"));
    }
    for part in ["MAJOR", "MINOR", "PATCH", "PRE"] {
        cargo.env_remove(format!("CARGO_PKG_VERSION_{part}"));
    }
    let status = cargo.status()?;
    ensure!(status.success(), "run cargo {}", arguments.join(" "));
    Ok(())
}
