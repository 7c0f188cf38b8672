//! The first import, into an empty store.

use anyhow::{Result, ensure};
use system_tests::System;
use system_tests::bench::Usage;

use crate::company::Company;
use crate::run::watched;

pub(crate) const HEADER: [&str; 9] = [
    "store",
    "dump s",
    "import s",
    "ratio",
    "plan s",
    "peak MB",
    "updates",
    "silence s",
    "estimate off",
];

pub(crate) async fn measure(store: &str, company: &Company, system: &System) -> Result<Vec<String>> {
    let before = company.dump().await?;
    let run = watched(system, "tenants/acme").await?;
    let after = company.dump().await?;
    ensure!(
        usize::try_from(run.counts.applied)? == company.people,
        "not everybody was taken"
    );
    let dump = (before + after).as_secs_f64() / 2.0;
    let peak = Usage::of(system.worker.pid())?.peak_resident;
    Ok(vec![
        store.to_owned(),
        format!("{dump:.2}"),
        format!("{:.2}", run.time.as_secs_f64()),
        format!("{:.2}", run.time.as_secs_f64() / dump),
        format!("{:.2}", run.planned.as_secs_f64()),
        format!("{}", peak >> 20),
        run.updates.to_string(),
        format!("{:.1}", run.longest_silence.as_secs_f64()),
        run.estimate_error
            .map_or("-".to_owned(), |error| format!("{:.0} %", error * 100.0)),
    ])
}
