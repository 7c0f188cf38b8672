//! What the operating system tells about this process.

use rollcall_metrics::Metrics;

/// Sets what can be read; on a system without `/proc`, nothing can.
pub(crate) fn tell(metrics: &Metrics) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    if let Some(kilobytes) = resident_kilobytes(&read("status")) {
        metrics.process_resident_bytes.set(kilobytes.saturating_mul(1024));
    }
    if let Some(most) = max_descriptors(&read("limits")) {
        metrics.process_max_descriptors.set(most);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // Without the one that reads the list.
        let open = open.count().saturating_sub(1);
        metrics
            .process_open_descriptors
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }
}

fn resident_kilobytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The soft limit; `None` if there is none, or it cannot be read.
fn max_descriptors(limits: &str) -> Option<i64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read() {
        let status = "Name:\tx\nVmHWM:\t  900 kB\nVmRSS:\t  812 kB\n";
        assert_eq!(resident_kilobytes(status), Some(812));
        let limits = "Limit Soft Limit Hard Limit Units\nMax open files            1024                 524288               files\n";
        assert_eq!(max_descriptors(limits), Some(1024));
        assert_eq!(max_descriptors("Max open files unlimited unlimited files"), None);
        assert_eq!(resident_kilobytes(""), None);
    }
}
