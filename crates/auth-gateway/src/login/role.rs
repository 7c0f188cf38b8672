//! Which role an entry has now, by the sync's rules. The server evaluates them.

use rollcall_core::dialect::Dialect;
use rollcall_core::role::RoleFinding;
use rollcall_core::user_sync::{RoleCondition, UserSyncSettings};
use rollcall_service::directories::OpenDirectory;
use rollcall_service::role::{Person, RuleProblemKind, Rules};
use tokio::time::Instant;

/// What is known about the role of the entry at `dn`.
pub async fn role(
    directory: &OpenDirectory,
    dialect: Dialect,
    settings: &UserSyncSettings,
    dn: &str,
    deadline: Instant,
) -> RoleFinding {
    let by_group =
        |rule: &rollcall_core::user_sync::RoleRule| matches!(rule.condition, RoleCondition::GroupDn(_));
    let naming_contexts = match settings.role_rules.iter().any(by_group) {
        true => directory.naming_contexts(deadline).await,
        false => Ok([].into()),
    };
    let Ok(naming_contexts) = naming_contexts else {
        // Without them it is not known where nested groups are, so no rule has an answer.
        return RoleFinding::of(&settings.role, &settings.role_rules, &[]);
    };
    let rules = Rules::new(&directory.ldap, dialect, &naming_contexts, settings);
    let (finding, problems) = rules.role(&Person::at(dn), deadline).await;
    for problem in problems {
        if problem.kind == RuleProblemKind::Unevaluated {
            tracing::warn!(problem = %problem.message, "a role rule could not be evaluated during a login");
        }
    }
    finding
}
