//! The role that the rules of a user sync give to an entry, when not every rule could be evaluated.
//!
//! The server evaluates a rule: the entry matches, or it does not. Where the server gives no answer, both count as
//! possible, so an entry may have several possible roles. Nobody loses a role that is still possible, and nobody
//! gets one that is only possible.

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

    /// The roles that the entry may have, each once: in the order of the rules, the base role last.
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
                known => std::slice::from_ref(known),
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
