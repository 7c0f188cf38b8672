//! Is somebody in a group, directly or through other groups? For servers that cannot answer that by a filter.

use std::collections::HashSet;

use rollcall_core::dn::Dn;
use rollcall_core::filter::{Attribute, Filter};
use rollcall_core::user_sync::SearchScope;
use tokio::time::Instant;

use crate::directory::LdapDirectory;
use crate::error::LdapError;
use crate::result_code::ResultCode;

/// Most groups that are looked at on the way up from an entry.
const MAX_GROUPS: usize = 2_000;
/// The attributes that name members by DN.
const MEMBERS: [&str; 2] = ["member", "uniqueMember"];

impl LdapDirectory {
    /// Goes up from an entry through the groups that name it, level by level, and says whether `group` is
    /// among them. `contexts` are the trees where groups may be.
    ///
    /// # Errors
    /// No answer, or more groups than can be looked at: then nothing is known.
    pub async fn is_member(
        &self,
        dn: &str,
        group: &str,
        contexts: &[String],
        deadline: Instant,
    ) -> Result<bool, LdapError> {
        let Ok(wanted) = Dn::parse(group) else {
            return Ok(false);
        };
        let mut seen = HashSet::new();
        let mut frontier = vec![dn.to_owned()];
        while let Some(member) = frontier.pop() {
            for parent in self.groups_of(&member, contexts, deadline).await? {
                let Ok(parent_dn) = Dn::parse(&parent) else {
                    continue;
                };
                if parent_dn == wanted {
                    return Ok(true);
                }
                // A group may be in itself, by way of others.
                if seen.insert(parent_dn) {
                    frontier.push(parent);
                }
            }
            if seen.len() > MAX_GROUPS {
                return Err(LdapError::SearchRefused(ResultCode::ADMIN_LIMIT_EXCEEDED));
            }
        }
        Ok(false)
    }

    async fn groups_of(
        &self,
        member: &str,
        contexts: &[String],
        deadline: Instant,
    ) -> Result<Vec<String>, LdapError> {
        let names = MEMBERS.into_iter().filter_map(Attribute::parse);
        let filter = Filter::or(
            names
                .map(|name| Filter::equality(name, member.as_bytes()))
                .collect(),
        );
        let (filter, attributes) = (filter.to_string(), ["1.1".to_owned()]);
        let limit = u32::try_from(MAX_GROUPS).unwrap_or(u32::MAX);
        let mut groups = Vec::new();
        for context in contexts {
            let scope = SearchScope::Subtree;
            let found = self
                .find(context, scope, &filter, &attributes, limit, deadline)
                .await?;
            if found.more {
                return Err(LdapError::SearchRefused(ResultCode::SIZE_LIMIT_EXCEEDED));
            }
            groups.extend(found.entries.into_iter().map(|entry| entry.dn));
        }
        Ok(groups)
    }
}
