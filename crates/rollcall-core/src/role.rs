//! The role that the rules of a user sync give to an entry, when not every rule could be evaluated.
//!
//! The server evaluates a rule: the entry matches, or it does not. Where the server gives no answer, both count as
//! possible, so an entry may have several possible roles. Nobody loses a role that is still possible, and nobody
//! gets one that is only possible.

use std::collections::BTreeMap;

use crate::user_sync::RoleRule;

/// What the server says about one rule and one entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RuleAnswer {
    /// The entry matches.
    Matches,
    /// It does not match.
    DoesNot,
    /// The rule could not be evaluated.
    Unknown,
}

/// What is known about the role of one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoleFinding {
    /// Each role once, in the order of the rules; the base role comes last. Never empty.
    possible: Vec<String>,
    /// The sync's base role, which those have whom no rule matches.
    base: String,
    unevaluated: Vec<usize>,
}

impl RoleFinding {
    /// The finding of a sync with role rules. `answers` has one answer for each rule, in order; rules behind the last
    /// answer count as unknown.
    pub fn of(base: &str, rules: &[RoleRule], answers: &[RuleAnswer]) -> Self {
        let mut finding = Self {
            possible: Vec::new(),
            base: base.to_owned(),
            unevaluated: Vec::new(),
        };
        for (index, rule) in rules.iter().enumerate() {
            match answers.get(index).copied().unwrap_or(RuleAnswer::Unknown) {
                RuleAnswer::DoesNot => {}
                RuleAnswer::Matches => {
                    finding.add(&rule.role);
                    return finding;
                }
                RuleAnswer::Unknown => {
                    finding.add(&rule.role);
                    finding.unevaluated.push(index);
                }
            }
        }
        finding.add(base);
        finding
    }

    /// The finding of a sync without role rules: everybody has the base role.
    pub fn certain(base: &str) -> Self {
        Self::of(base, &[], &[])
    }

    /// The role of a user who has the role `present`. It stays as long as it is possible. If it is not, it is lost:
    /// the user gets the one possible role, or the base role while several are possible.
    pub fn for_known<'a>(&'a self, present: &'a str) -> &'a str {
        match self.possible.as_slice() {
            [only] => only,
            several if several.iter().any(|role| role == present) => present,
            _ => &self.base,
        }
    }

    /// The role of a new user. `None` while several are possible: the new user waits.
    pub fn for_new(&self) -> Option<&str> {
        match self.possible.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The roles that the entry may have, each once, in the order of the rules. The base role is last.
    pub fn possible(&self) -> impl Iterator<Item = &str> {
        self.possible.iter().map(String::as_str)
    }

    /// The indices of the rules that could not be evaluated and that bear on this entry. A rule after one that
    /// matches does not. Where all rules give one role, it is certain all the same.
    pub fn unevaluated(&self) -> &[usize] {
        &self.unevaluated
    }

    fn add(&mut self, role: &str) {
        if !self.possible.iter().any(|known| known == role) {
            self.possible.push(role.to_owned());
        }
    }
}

/// For how many people a rule mattered that could not be evaluated, or whose group does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleEffect {
    /// New users with several possible roles, who are not created.
    pub waiting: u64,
    /// Users who keep their role, since it is possible.
    pub keeping: u64,
    /// Users who lose their role, since it is not.
    pub losing: u64,
}

impl RuleEffect {
    /// The numbers as part of a sentence: "2 new users wait, 1 user loses a role". Empty if nobody is concerned.
    pub fn summary(&self) -> String {
        let part = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let parts = [
            part(self.waiting, "new user waits", "new users wait"),
            part(self.keeping, "user keeps the role", "users keep their role"),
            part(self.losing, "user loses the role", "users lose their role"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        parts.join(", ")
    }
}

/// Counts, over a run, the people for whom a rule mattered that could not be evaluated, or whose group does not exist.
#[derive(Clone, Debug, Default)]
pub struct RoleTally {
    effects: BTreeMap<usize, RuleEffect>,
    /// The rules whose groups do not exist, with their roles.
    missing: Vec<(usize, String)>,
}

impl RoleTally {
    /// A tally without people yet. `missing` are the indices of the rules whose groups do not exist.
    pub fn new(rules: &[RoleRule], missing: impl IntoIterator<Item = usize>) -> Self {
        let role = |index: usize| Some((index, rules.get(index)?.role.clone()));
        Self {
            effects: BTreeMap::new(),
            missing: missing.into_iter().filter_map(role).collect(),
        }
    }

    /// Counts a person: a user with the role `present`, or somebody new.
    pub fn note(&mut self, finding: &RoleFinding, present: Option<&str>) {
        let lost = present.is_some_and(|present| finding.for_known(present) != present);
        if finding.for_new().is_none() {
            for rule in finding.unevaluated() {
                let effect = self.effects.entry(*rule).or_default();
                match present {
                    None => effect.waiting += 1,
                    Some(_) if lost => effect.losing += 1,
                    Some(_) => effect.keeping += 1,
                }
            }
        }
        for (rule, role) in &self.missing {
            if lost && present == Some(role) {
                self.effects.entry(*rule).or_default().losing += 1;
            }
        }
    }

    /// For whom this rule mattered so far.
    pub fn effect(&self, rule: usize) -> RuleEffect {
        self.effects.get(&rule).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::user_sync::RoleCondition;

    const ROLES: [&str; 4] = ["admin", "editor", "viewer", "member"];

    fn rules(roles: &[&str]) -> Vec<RoleRule> {
        let rule = |role: &&str| RoleRule {
            condition: RoleCondition::Filter("(cn=x)".to_owned()),
            role: (*role).to_owned(),
        };
        roles.iter().map(rule).collect()
    }

    /// What the rules give when each has an answer.
    fn first_match(base: &str, rules: &[RoleRule], answers: &[RuleAnswer]) -> String {
        let matching = rules
            .iter()
            .zip(answers)
            .find(|(_, answer)| **answer == RuleAnswer::Matches);
        matching.map_or(base, |(rule, _)| &rule.role).to_owned()
    }

    /// Every way in which the unknown answers may turn out.
    fn outcomes(answers: &[RuleAnswer]) -> Vec<Vec<RuleAnswer>> {
        let mut outcomes = vec![Vec::new()];
        for answer in answers {
            let either: &[RuleAnswer] = match answer {
                RuleAnswer::Unknown => &[RuleAnswer::Matches, RuleAnswer::DoesNot],
                RuleAnswer::Matches | RuleAnswer::DoesNot => std::slice::from_ref(answer),
            };
            outcomes = outcomes
                .into_iter()
                .flat_map(|begun: Vec<RuleAnswer>| {
                    either.iter().map(move |answer| {
                        let mut next = begun.clone();
                        next.push(*answer);
                        next
                    })
                })
                .collect();
        }
        outcomes
    }

    #[test]
    fn who_is_matched_before_an_unknown_rule_does_not_wait_for_it() {
        use RuleAnswer::{DoesNot, Matches, Unknown};
        let rules = rules(&["admin", "editor"]);
        let of = |answers: &[RuleAnswer]| RoleFinding::of("member", &rules, answers);
        assert_eq!(of(&[Matches, Unknown]).for_new(), Some("admin"));
        assert_eq!(of(&[Matches, Unknown]).unevaluated(), [0; 0]);
        assert_eq!(of(&[DoesNot, Unknown]).for_new(), None);
        assert_eq!(of(&[DoesNot, Unknown]).unevaluated(), [1]);
        assert_eq!(of(&[Unknown, Matches]).for_new(), None);
        assert_eq!(of(&[Unknown, Matches]).for_known("admin"), "admin");
        assert_eq!(of(&[Unknown, Matches]).for_known("editor"), "editor");
        // It is certain that a viewer is a viewer no more, and nothing else is.
        assert_eq!(of(&[Unknown, Matches]).for_known("viewer"), "member");
        assert_eq!(of(&[DoesNot, Unknown]).for_known("admin"), "member");
        assert_eq!(of(&[DoesNot, DoesNot]).for_known("admin"), "member");
        assert_eq!(of(&[]).unevaluated(), [0, 1]);
        assert_eq!(RoleFinding::certain("member").for_new(), Some("member"));
        assert_eq!(RoleFinding::certain("member").for_known("admin"), "member");
    }

    #[test]
    fn where_all_rules_give_one_role_it_is_certain() {
        let finding = RoleFinding::of("member", &rules(&["member"]), &[RuleAnswer::Unknown]);
        assert_eq!(finding.for_new(), Some("member"));
        assert_eq!(finding.for_known("admin"), "member");
        assert_eq!(finding.unevaluated(), [0]);
    }

    #[test]
    fn a_run_tells_who_waits_who_keeps_and_who_loses() {
        use RuleAnswer::{DoesNot, Matches, Unknown};
        let rules = rules(&["admin", "editor", "viewer"]);
        let mut tally = RoleTally::new(&rules, [1]);
        let open = RoleFinding::of("member", &rules, &[Unknown, DoesNot, DoesNot]);
        for present in [
            None,
            None,
            Some("admin"),
            Some("member"),
            Some("editor"),
            Some("viewer"),
        ] {
            tally.note(&open, present);
        }
        // Nothing depends on a rule where the role is certain.
        tally.note(
            &RoleFinding::of("member", &rules, &[Matches, Unknown, DoesNot]),
            None,
        );
        let effect = RuleEffect {
            waiting: 2,
            keeping: 2,
            losing: 2,
        };
        assert_eq!(tally.effect(0), effect);
        let summary = "2 new users wait, 2 users keep their role, 2 users lose their role";
        assert_eq!(effect.summary(), summary);
        let lost = RuleEffect {
            losing: 1,
            ..RuleEffect::default()
        };
        assert_eq!((tally.effect(1), tally.effect(2)), (lost, RuleEffect::default()));
        assert_eq!(lost.summary(), "1 user loses the role");
    }

    fn answer() -> impl Strategy<Value = RuleAnswer> {
        prop_oneof![
            Just(RuleAnswer::Matches),
            Just(RuleAnswer::DoesNot),
            Just(RuleAnswer::Unknown)
        ]
    }

    proptest! {
        #[test]
        fn unknown_counts_as_either_answer(
            judged in prop::collection::vec((prop::sample::select(&ROLES[..]), answer()), 0..7),
            base in prop::sample::select(&ROLES[..]),
            present in prop::sample::select(&ROLES[..]),
        ) {
            let (roles, answers): (Vec<&str>, Vec<RuleAnswer>) = judged.into_iter().unzip();
            let rules = rules(&roles);
            let finding = RoleFinding::of(base, &rules, &answers);
            let mut expected: Vec<String> =
                outcomes(&answers).iter().map(|answers| first_match(base, &rules, answers)).collect();
            expected.sort_unstable();
            expected.dedup();
            let mut possible: Vec<&str> = finding.possible().collect();
            possible.sort_unstable();
            prop_assert_eq!(&possible, &expected);

            // Nobody keeps a role that is impossible, nobody loses one that is possible.
            let kept = finding.for_known(present);
            match (expected.as_slice(), expected.iter().any(|role| role == present)) {
                ([only], _) => {
                    prop_assert_eq!(kept, only);
                    prop_assert_eq!(finding.for_new(), Some(only.as_str()));
                }
                (_, true) => prop_assert_eq!(kept, present),
                (_, false) => prop_assert_eq!(kept, base),
            }
            prop_assert_eq!(finding.for_new().is_none(), expected.len() > 1);
            // What is certain needs no rule; what is open names one.
            prop_assert!(expected.len() == 1 || !finding.unevaluated().is_empty());
        }
    }
}
