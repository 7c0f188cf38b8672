//! Whether the container has as much memory as a service needs. A warning at the start is better than a process that
//! the kernel kills later.

/// What a service with little work needs, with some reserve; an estimate.
const LEAST: u64 = 192 << 20;

/// Logs a warning if there is too little.
pub(crate) fn tell() {
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    if let Some(shortage) = shortage(&limit) {
        tracing::warn!("{shortage}");
    }
}

fn shortage(limit: &str) -> Option<String> {
    // "max" is no number: there is no limit.
    let most: u64 = limit.trim().parse().ok().filter(|most| *most < LEAST)?;
    Some(format!(
        "this process may have {} MiB of memory; less than {} MiB is too little",
        most >> 20,
        LEAST >> 20
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_little_is_told_with_both_numbers() {
        for enough in ["max\n", "", "268435456"] {
            assert_eq!(shortage(enough), None);
        }
        let told = shortage("134217728\n").unwrap_or_default();
        assert!(told.contains("128 MiB") && told.contains("192 MiB"), "{told}");
    }
}
