//! The guard: when a plan must wait for a person. The worst incidents of this field are mass changes after an error in a
//! directory or a slip in a filter; a plan that looks like one is held before anything is written.
//!
//! It looks at the finished plan: what an entry asked for and was refused changes nothing, and does not count. What changed
//! by itself in the last week counts too, so that a hundred changes each quarter of an hour do not pass.
//!
//! [`judge`] says whether a plan is held and which removals may be carried out all the same. [`Totals`] is what it counts.

mod hold;
mod limit;
mod totals;
mod withhold;

#[cfg(test)]
mod tests;

pub use hold::{HoldReason, HoldRule};
pub use limit::{GrowthLimit, RemovalLimit};
pub use totals::{Totals, Watched};
pub use withhold::{Withheld, withhold};

/// How far back changes count.
pub const WINDOW: chrono::TimeDelta = chrono::TimeDelta::days(7);

/// What the guard looks at.
#[derive(Clone, Copy, Debug)]
pub struct GuardInput<'a> {
    /// Users of this sync that could log in before the run.
    pub active: u64,
    /// Of those, the ones whose entry a pull without gaps did not bring, before anything was confirmed.
    pub absent: u64,
    /// What the plan changes.
    pub plan: &'a Totals,
    /// What changed by itself in the last week: by runs that nobody released and by refreshes at logins.
    pub recent: &'a Totals,
    /// No Complete run of this sync was applied yet.
    pub first: bool,
    /// The searches, the mapping, the role rules or the identity attribute changed since a Complete run was last
    /// applied.
    pub configuration_changed: bool,
}

/// What becomes of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Why it must wait. Empty: it may be applied.
    pub reasons: Vec<HoldReason>,
    /// Which of its removals do not wait.
    pub leavers: Leavers,
}

/// The removals that a hold does not keep waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Leavers {
    /// There are none, or they are themselves why the plan is held.
    #[default]
    None,
    /// Those that the entries themselves state: disabled or expired accounts. The hold is about the absences.
    Stated,
    /// All.
    All,
}

impl GuardInput<'_> {
    /// How many users could log in when the week began, worked out from the week's counts.
    fn active_at_start(&self) -> u64 {
        let came = self.recent.of(&Watched::Growth) + self.recent.of(&Watched::Return);
        (self.active + self.recent.of(&Watched::Removal)).saturating_sub(came)
    }

    /// How many users a Partial pull may still create.
    pub fn room_for_creations(&self, limit: &GrowthLimit) -> u64 {
        if self.first {
            // How large the directory is will be known only after a first import without gaps; until then each run may
            // create the limit's fixed number.
            return limit.allowed(0);
        }
        let others = self.plan.of(&Watched::Takeover) + self.plan.of(&Watched::Link);
        limit
            .allowed(self.active_at_start())
            .saturating_sub(self.recent.of(&Watched::Growth) + others)
    }

    /// True if this many removals may be carried out while the rest of the plan waits.
    fn may_remove(&self, removals: u64, limit: &RemovalLimit) -> bool {
        let with_recent = removals + self.recent.of(&Watched::Removal);
        removals > 0 && with_recent <= limit.allowed(self.active) && removals <= self.active / 2
    }
}

/// Says whether a plan must wait for a person, and what of it does not wait in any case.
pub fn judge(input: &GuardInput<'_>, removal_limit: &RemovalLimit, growth_limit: &GrowthLimit) -> Verdict {
    let mut reasons = Vec::new();
    removals(input, removal_limit, &mut reasons);
    // People taken over are part of the set that they are counted against.
    let set = input.active + input.plan.of(&Watched::Takeover);
    let limit = RemovalLimit::default().allowed(set);
    for (watched, changed) in input.plan.counts() {
        let recent = input.recent.of(watched);
        if changed > 0 && changed + recent > limit {
            reasons.extend(HoldReason::over_limit(watched, (changed, recent), set, limit));
        }
    }
    let links = input.plan.of(&Watched::Link);
    if links > 0 && !input.first {
        reasons.push(HoldReason::links(links));
    }
    let (growth, recent) = (input.plan.of(&Watched::Growth), input.recent.of(&Watched::Growth));
    let allowed = growth_limit.allowed(input.active_at_start());
    if growth > 0 && !input.first && growth + recent > allowed {
        reasons.push(HoldReason::growth(
            growth,
            recent,
            input.active_at_start(),
            allowed,
        ));
    }
    let relinked = input.plan.of(&Watched::Relink);
    if relinked > 0 {
        reasons.push(HoldReason::relinked(relinked));
    }
    // Absences that could not be confirmed remove nobody, so they do not count. Otherwise the run that takes the new
    // configuration would be held each time while the directory does not answer.
    let (lost, roles) = (input.plan.of(&Watched::Removal), input.plan.of(&Watched::Role));
    let by_configuration = input.configuration_changed && lost + roles > 0;
    if by_configuration {
        reasons.push(HoldReason::configuration(lost, roles));
    }
    let leavers = match (by_configuration, lost, input.plan.stated()) {
        (false, all, _) if input.may_remove(all, removal_limit) => Leavers::All,
        (true, _, stated) if input.may_remove(stated, removal_limit) => Leavers::Stated,
        _ => Leavers::None,
    };
    Verdict { reasons, leavers }
}

fn removals(input: &GuardInput<'_>, limit: &RemovalLimit, reasons: &mut Vec<HoldReason>) {
    let (removals, recent) = (
        input.plan.of(&Watched::Removal),
        input.recent.of(&Watched::Removal),
    );
    let allowed = limit.allowed(input.active);
    // Without removals of its own the plan cannot make it worse, so earlier removals are no reason to hold it.
    if removals > 0 && removals + recent > allowed {
        reasons.push(HoldReason::removals((removals, recent), input.active, allowed));
    }
    let lost = input.absent.max(removals);
    if input.active > 0 && lost > input.active / 2 {
        reasons.push(HoldReason::most_users(lost, input.active));
    }
}
