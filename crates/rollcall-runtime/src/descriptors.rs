//! File descriptors: how many this process may have open, and how they are divided. A process without a free descriptor
//! fails in ways that look like somebody else's outage, so the limits are set so that none ever runs out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Shared;
use crate::exit::Failure;

/// No more than this many are used.
pub const MOST: u64 = 65_536;
/// With fewer than this, nothing works for long.
const LEAST: u64 = 256;
/// For the store's connections and files, the health listener, logs and what is open for a moment.
const OTHERS: u64 = 128;
/// The part of these that is not for the store.
const OTHERS_WITHOUT_STORE: u64 = 64;
/// A connection to a directory takes the socket, and the pair of sockets behind which ldap3 sits.
const OF_A_DIRECTORY_S_CONNECTION: u64 = 3;
/// Most connections to directories: each takes about 75 KB of memory.
const MOST_CONNECTIONS: u64 = 2_000;

/// How many descriptors this process may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptors(u64);

impl Descriptors {
    /// Raises the limit as far as this process may.
    ///
    /// # Errors
    /// There are too few to work with.
    pub(crate) fn raise() -> Result<Self, Failure> {
        let limit = getrlimit(Resource::Nofile);
        let wanted = limit.maximum.unwrap_or(MOST).min(MOST);
        if limit.current.is_some_and(|current| current < wanted) {
            let raised = Rlimit {
                current: Some(wanted),
                ..limit
            };
            if let Err(error) = setrlimit(Resource::Nofile, raised) {
                tracing::warn!(%error, wanted, "the limit of open files could not be raised");
            }
        }
        let allowed = Self::allowed();
        match allowed.0 >= LEAST {
            true => Ok(allowed),
            false => Err(Failure::because(format!(
                "this process may have {} open files, and needs {LEAST}: raise the hard limit (ulimit -Hn, LimitNOFILE=)",
                allowed.0
            ))),
        }
    }

    /// The limit as it is.
    pub fn allowed() -> Self {
        Self(getrlimit(Resource::Nofile).current.unwrap_or(MOST))
    }

    /// Connections to all directories together.
    pub fn for_directories(self) -> usize {
        let connections = self.shared() * 3 / 4 / OF_A_DIRECTORY_S_CONNECTION;
        usize::try_from(connections.min(MOST_CONNECTIONS)).unwrap_or(usize::MAX)
    }

    /// Connections of callers: as many as the operator wants, if there are enough descriptors.
    pub(crate) fn for_callers(self, wanted: u32) -> u32 {
        u32::try_from(self.shared() / 4)
            .unwrap_or(u32::MAX)
            .min(wanted)
            .max(1)
    }

    /// Logs which numbers of the configuration were reduced.
    pub(crate) fn tell(self, config: &Shared) {
        for shortage in self.shortages(config.server.max_connections, config.store.max_connections) {
            tracing::warn!("{shortage}");
        }
    }

    fn shortages(self, callers: u32, store: u32) -> Vec<String> {
        let (limit, of_callers, of_directories) = (self.0, self.for_callers(callers), self.for_directories());
        let mut found = Vec::new();
        if of_callers < callers {
            found.push(format!(
                "this process may have {limit} open files, so it takes at most {of_callers} connections of callers, and not the \
                 {callers} of server.max_connections, and opens at most {of_directories} to directories: raise the hard limit \
                 (ulimit -Hn, LimitNOFILE=)"
            ));
        }
        let of_directories = u64::try_from(of_directories).unwrap_or(u64::MAX);
        let taken =
            of_directories * OF_A_DIRECTORY_S_CONNECTION + u64::from(of_callers) + OTHERS_WITHOUT_STORE;
        let left = limit.saturating_sub(taken);
        if u64::from(store) > left {
            found.push(format!(
                "this process may have {limit} open files, of which {left} are left for connections to the database, and not the \
                 {store} of store.max_connections: raise the hard limit (ulimit -Hn, LimitNOFILE=)"
            ));
        }
        found
    }

    /// The descriptors that directories and callers share.
    fn shared(self) -> u64 {
        self.0.min(MOST).saturating_sub(OTHERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_fit_into_the_limit() {
        for (limit, directories, callers) in [
            (256, 32, 32),
            (1_024, 224, 224),
            (4_096, 992, 992),
            (65_536, 2_000, 10_000),
            (1_000_000, 2_000, 10_000),
        ] {
            let descriptors = Descriptors(limit);
            let (of_directories, of_callers) =
                (descriptors.for_directories(), descriptors.for_callers(10_000));
            assert_eq!((of_directories, of_callers), (directories, callers), "{limit}");
            let together = directories as u64 * OF_A_DIRECTORY_S_CONNECTION + u64::from(callers) + OTHERS;
            assert!(together <= limit, "{limit}");
        }
        assert_eq!(Descriptors(64).for_callers(10), 1);
    }

    #[test]
    fn what_the_configuration_asks_for_and_does_not_get_is_told_with_numbers() {
        let told = |limit, callers, store| Descriptors(limit).shortages(callers, store);
        assert_eq!(told(65_536, 10_000, 1_000), Vec::<String>::new());
        let [callers] = &told(1_024, 10_000, 16)[..] else {
            unreachable!("callers get fewer than they might have, and nobody else does")
        };
        for number in [
            "1024",
            "10000",
            "224 connections of callers",
            "224 to directories",
        ] {
            assert!(callers.contains(number), "{number} is not in {callers}");
        }
        assert_eq!(told(1_024, 224, 64), Vec::<String>::new());
        let [store] = &told(1_024, 224, 65)[..] else {
            unreachable!("the store gets fewer than it might have, and nobody else does")
        };
        assert!(
            store.contains("64 are left") && store.contains("65 of"),
            "{store}"
        );
    }
}
