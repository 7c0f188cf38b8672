//! Mails that are not sent, and how a user sync says so.

use crate::issue::{Health, HealthLevel};
use crate::wording::counted;

/// Mails about a run that its addresses do not get.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MailsWithheld {
    /// Because the tenant's budget of the day is used up.
    pub over_budget: u32,
    /// Because the tenant has not verified the addresses' domains.
    pub unverified: u32,
}

impl MailsWithheld {
    /// The health of the user sync with what was not sent.
    pub fn shown_in(self, mut health: Health) -> Health {
        let mails = |count: u32| counted(count.into(), "report mail was", "report mails were");
        if self.over_budget > 0 {
            health.problems.push(format!(
                "{} not sent: the tenant has sent as many today as it may. The days are those of UTC.",
                mails(self.over_budget)
            ));
        }
        if self.unverified > 0 {
            health.problems.push(format!(
                "{} not sent: the domains of the addresses are not verified for the tenant.",
                mails(self.unverified)
            ));
        }
        if self != Self::default() && health.level == HealthLevel::Ok {
            health.level = HealthLevel::Warning;
        }
        health
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_sent_is_said_and_makes_nothing_better() {
        let healthy = Health {
            level: HealthLevel::Ok,
            problems: Vec::new(),
        };
        assert_eq!(MailsWithheld::default().shown_in(healthy.clone()), healthy);
        let missing = MailsWithheld {
            over_budget: 1,
            unverified: 2,
        };
        let shown = missing.shown_in(healthy.clone());
        assert_eq!(shown.level, HealthLevel::Warning);
        assert!(shown.problems[0].starts_with("1 report mail was not sent: the tenant has sent"));
        assert!(shown.problems[1].starts_with("2 report mails were not sent: the domains"));
        let broken = Health {
            level: HealthLevel::Error,
            ..healthy
        };
        assert_eq!(missing.shown_in(broken).level, HealthLevel::Error);
    }
}
