//! For whom a calling service says that it acts. Nothing here is proven: it is the caller's word.

use crate::violation::Violations;

/// Longest name of an actor, in bytes.
const MAX_NAME: usize = 256;
/// Longest address, in bytes: an IPv6 address with a zone.
const MAX_ADDRESS: usize = 64;
/// Longest reason, in bytes.
const MAX_REASON: usize = 1_000;

/// A person or a program behind a call, as the calling service names them. Empty where it names nobody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Actor {
    /// Who, for instance an e-mail address.
    pub name: String,
    /// From which network address.
    pub address: String,
    /// Why, for instance the number of a ticket.
    pub reason: String,
}

impl Actor {
    /// Looks at what a caller sent. The fields are called as their metadata keys are.
    pub fn check(&self, found: &mut Violations) {
        for (field, text, limit) in [
            ("rollcall-actor", &self.name, MAX_NAME),
            ("rollcall-actor-address", &self.address, MAX_ADDRESS),
            ("rollcall-reason", &self.reason, MAX_REASON),
        ] {
            if text.len() > limit {
                found.add(field, format!("must have at most {limit} bytes"));
            }
            let clean = !text.chars().any(char::is_control);
            found.require(
                clean,
                field,
                "must hold no line break and no other control character",
            );
        }
        let somebody = !self.name.is_empty() || (self.address.is_empty() && self.reason.is_empty());
        found.require(
            somebody,
            "rollcall-actor",
            "must be set where an address or a reason is",
        );
    }

    /// Whether the caller names nobody.
    pub fn is_nobody(&self) -> bool {
        self.name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, address: &str, reason: &str) -> Vec<String> {
        let actor = Actor {
            name: name.to_owned(),
            address: address.to_owned(),
            reason: reason.to_owned(),
        };
        let mut found = Violations::new();
        actor.check(&mut found);
        found.iter().map(|violation| violation.field.clone()).collect()
    }

    #[test]
    fn an_actor_is_a_short_line_of_text() {
        assert_eq!(found("", "", ""), [""; 0]);
        assert_eq!(found("ada@example.com", "192.0.2.7", "ticket 12"), [""; 0]);
        assert_eq!(found(&"é".repeat(128), "", ""), [""; 0]);
        assert_eq!(found(&"é".repeat(129), "", ""), ["rollcall-actor"]);
        assert_eq!(
            found("a\nb", "a\0", "\u{85}"),
            ["rollcall-actor", "rollcall-actor-address", "rollcall-reason"]
        );
    }

    #[test]
    fn an_address_or_a_reason_is_somebody_s() {
        assert_eq!(found("", "192.0.2.7", ""), ["rollcall-actor"]);
        assert_eq!(found("", "", "ticket 12"), ["rollcall-actor"]);
    }
}
