//! Whether the machine gives what the configuration asks for: told at the start, before somebody is turned away.

use crate::config::Shared;
use crate::process::max_descriptors;

/// Descriptors beside connections: files of the database, listeners, what the runtime needs.
const OTHER_DESCRIPTORS: u64 = 128;
/// Connections to directories that a process should have room for.
const DIRECTORY_CONNECTIONS: u64 = 256;
/// What a service needs when little is asked of it, with room; an estimate.
const LEAST_MEMORY: u64 = 192 << 20;

/// Logs what is too little.
pub(crate) fn tell(config: &Shared) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let memory = std::fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    let descriptors = max_descriptors(&limits).and_then(|most| u64::try_from(most).ok());
    for shortage in shortages(
        config.server.max_connections,
        config.store.max_connections,
        descriptors,
        &memory,
    ) {
        tracing::warn!("{shortage}");
    }
}

fn shortages(callers: u32, store: u32, descriptors: Option<u64>, memory: &str) -> Vec<String> {
    let mut found = Vec::new();
    let wanted = u64::from(callers) + u64::from(store) + DIRECTORY_CONNECTIONS + OTHER_DESCRIPTORS;
    if let Some(most) = descriptors.filter(|most| *most < wanted) {
        found.push(format!(
            "this process may have {most} descriptors open, and its configuration asks for up to {wanted}: raise the limit \
             (LimitNOFILE, ulimit -n), or lower server.max_connections"
        ));
    }
    // "max" is no number: there is no limit.
    if let Some(most) = memory
        .trim()
        .parse()
        .ok()
        .filter(|most: &u64| *most < LEAST_MEMORY)
    {
        found.push(format!(
            "this process may have {} MiB of memory; less than {} MiB is too little",
            most >> 20,
            LEAST_MEMORY >> 20
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_little_is_told_with_both_numbers() {
        assert_eq!(
            shortages(10_000, 16, Some(1 << 20), "max\n"),
            Vec::<String>::new()
        );
        assert_eq!(shortages(10_000, 16, None, ""), Vec::<String>::new());
        let found = shortages(10_000, 16, Some(1_024), "134217728\n");
        assert!(
            found[0].contains("1024") && found[0].contains("10400"),
            "{found:?}"
        );
        assert!(
            found[1].contains("128 MiB") && found[1].contains("192 MiB"),
            "{found:?}"
        );
        assert_eq!(shortages(500, 16, Some(1_024), "268435456").len(), 0);
    }
}
