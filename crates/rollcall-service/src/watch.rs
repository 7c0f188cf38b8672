//! Metrics of both services that are read when somebody asks for them.

use chrono::{DateTime, Utc};
use rollcall_ldap::{HostStatus, Load, PoolLoad};
use rollcall_metrics::{Breaker, Connections, Expiring, Metrics, Pool, at_each_scrape};
use rollcall_runtime::clock::Clock;
use rollcall_store::Store;

use crate::directories::Directories;

/// Reports the connections to directories and to the database at each scrape. Call it once a process.
pub fn watch(store: Store, directories: Directories, clock: Clock) {
    at_each_scrape(move |metrics| {
        let (all, idle) = store.connections();
        let busy = i64::from(all) - count(idle);
        metrics.database_connections.set(Connections::Idle, count(idle));
        metrics.database_connections.set(Connections::Busy, busy.max(0));
        tell_directories(metrics, &directories, clock.now());
    });
}

fn tell_directories(metrics: &Metrics, directories: &Directories, now: DateTime<Utc>) {
    let (mut service, mut bind) = (PoolLoad::default(), PoolLoad::default());
    let (mut open, mut usable, mut unusable, mut unreachable) = (0, 0, 0, 0);
    let mut first_end: Option<DateTime<Utc>> = None;
    directories.each(|load: Load, hosts: &[HostStatus]| {
        open += 1;
        add(&mut service, load.service);
        add(&mut bind, load.bind);
        let good = hosts.iter().filter(|host| host.usable).count();
        usable += good;
        unusable += hosts.len() - good;
        unreachable += i64::from(good == 0);
        let ends = hosts.iter().filter_map(|host| host.certificate_end);
        first_end = first_end.into_iter().chain(ends).min();
    });
    for (pool, load) in [(Pool::Service, service), (Pool::Bind, bind)] {
        metrics
            .ldap_connections
            .set((pool, Connections::Idle), count(load.idle));
        metrics
            .ldap_connections
            .set((pool, Connections::Busy), count(load.busy));
        metrics.ldap_waiting.set(pool, count(load.waiting));
    }
    metrics.ldap_hosts.set(Breaker::Closed, count(usable));
    metrics.ldap_hosts.set(Breaker::Open, count(unusable));
    metrics.directories_open.set(open);
    metrics.directories_unreachable.set(unreachable);
    let days = rollcall_runtime::expiry::days_until(first_end, now);
    metrics.expires_in_days.set(Expiring::DirectoryCertificate, days);
}

fn add(sum: &mut PoolLoad, more: PoolLoad) {
    sum.idle += more.idle;
    sum.busy += more.busy;
    sum.waiting += more.waiting;
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
