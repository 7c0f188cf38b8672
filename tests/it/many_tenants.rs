//! A small night of many tenants, with processes that die in it. `cargo bench --bench tenants` lives the large ones.

use std::time::Duration;

use anyhow::Result;
use system_tests::nights::{Disturbance, Nights, Sizes};
use system_tests::number;

fn sizes() -> Result<Sizes> {
    let small = usize::try_from(number("ROLLCALL_MANY_TENANTS")?.unwrap_or(60))?;
    Ok(Sizes {
        small,
        people: 3,
        large: 20 * small,
        syncs: small / 2,
        slow: 2,
        dead: 2,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tenant_has_its_run_and_none_waits_for_another() -> Result<()> {
    let sizes = sizes()?;
    let mut nights = Nights::start(sizes, 2, false).await?;
    for (number, disturbance) in [Disturbance::None, Disturbance::None, Disturbance::Crashes]
        .into_iter()
        .enumerate()
    {
        let night = nights.night(disturbance).await?;
        eprintln!("night {number}: {night:#?}");
        assert_eq!((night.due, night.runs), (night.of, night.of), "each runs once");
        let dead: Vec<String> = (0..sizes.dead)
            .map(|number| format!("t{number:05}/staff0 FAILED"))
            .collect();
        let mut failed = night.failed;
        failed.sort();
        assert_eq!(failed, dead, "who has no directory, and nobody else");
        // The tenant with many user syncs has one run to each of theirs, beside those of it that were under way.
        let share = sizes.small + 2;
        assert!(
            night.last_place <= 2 * share,
            "a small tenant came as number {} of {}",
            night.last_place,
            night.runs
        );
        assert!(night.descriptors.iter().all(|open| *open < 1024));
        if disturbance == Disturbance::None && number > 0 {
            assert!(night.logins.passed > 0, "{:?}", night.logins);
            assert_eq!(night.logins.failed, Vec::<String>::new());
        }
    }
    assert!(nights.idle_statements(Duration::from_secs(1)).await? < 100);
    Ok(())
}
