//! Whether the container or the unit gives the memory that a service needs: told at the start, before the kernel ends the process.

use std::path::{Path, PathBuf};

/// What a service needs when little is asked of it, with room: a gateway with 32 logins at a time holds below 100 MB, a worker
/// with a run of a million people 141 MB (docs/operations.md).
pub const LEAST: u64 = 192 << 20;

const CGROUPS: &str = "/sys/fs/cgroup";

/// Logs a warning if there is too little.
pub(crate) fn tell() {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let read = |file: PathBuf| std::fs::read_to_string(file).ok();
    if let Some(shortage) = shortage(files(&own).into_iter().filter_map(read)) {
        tracing::warn!("{shortage}");
    }
}

/// The files that may hold a limit, of the control groups that `/proc/self/cgroup` names and of those above them: a unit of
/// systemd has one of its own, and a container sees its own as the topmost.
fn files(own: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, name) = match controllers {
            "" => (PathBuf::from(CGROUPS), "memory.max"),
            "memory" => (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        found.extend(groups.map(|group| root.join(group).join(name)));
    }
    found
}

fn shortage(limits: impl Iterator<Item = String>) -> Option<String> {
    // "max" is no number: there is no limit.
    let most: u64 = limits.filter_map(|limit| limit.trim().parse().ok()).min()?;
    (most < LEAST).then(|| {
        format!(
            "this process may have {} MiB of memory; less than {} MiB is too little",
            most >> 20,
            LEAST >> 20
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(limits: &[&str]) -> Option<String> {
        shortage(limits.iter().map(|limit| (*limit).to_owned()))
    }

    #[test]
    fn what_is_too_little_is_told_with_both_numbers() {
        for enough in ["max\n", "", "268435456"] {
            assert_eq!(told(&[enough]), None);
        }
        let told = told(&["max\n", "268435456", "134217728\n"]).unwrap_or_default();
        assert!(told.contains("128 MiB") && told.contains("192 MiB"), "{told}");
    }

    #[test]
    fn units_and_containers_are_asked_of_both_kinds_of_control_groups() {
        let found = |own| {
            let files: Vec<String> = files(own).iter().map(|file| file.display().to_string()).collect();
            files
        };
        assert_eq!(found("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(
            found("0::/system.slice/rollcall.service\n"),
            [
                "/sys/fs/cgroup/system.slice/rollcall.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            found("8:pids:/x\n4:memory:/x\n"),
            [
                "/sys/fs/cgroup/memory/x/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
    }
}
