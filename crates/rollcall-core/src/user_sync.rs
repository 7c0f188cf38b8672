//! User syncs: which accounts of a directory become users, with which role and fields.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::directory::is_attribute_name;
use crate::dn::Dn;
use crate::erasure::{MAX_ERASE_AFTER, MIN_ERASE_AFTER};
use crate::field::TextField;
use crate::filter::Filter;
use crate::guard::{GrowthLimit, HoldReason, RemovalLimit};
use crate::id::{DirectoryId, RunId, TenantId, UserSyncId, UserSyncKey};
use crate::identifier::Email;
use crate::issue::Health;
use crate::local_user::{MAX_CUSTOM_FIELDS, validate_restrictions};
use crate::revision::Revision;
use crate::schedule::Schedule;
use crate::template::Template;
use crate::text_form::is_known_binary;
use crate::violation::{Violations, check_text};
use crate::vocabulary::vocabulary;

/// Said of an empty base DN when the server was not asked for its trees.
const EMPTY_BASE: &str = "is required, like ou=people,dc=example,dc=com; CheckConnection names the trees that the server \
                          has: make one search for each";
/// Most trees that a proposal names, and most characters of each.
const MAX_TREES_SHOWN: usize = 10;
const MAX_TREE_CHARS: usize = 200;
/// Most searches of one user sync.
pub const MAX_SEARCHES: usize = 20;
/// Most role rules of one user sync.
pub(crate) const MAX_ROLE_RULES: usize = 50;
/// Most candidates of one field mapping.
pub(crate) const MAX_CANDIDATES: usize = 8;
/// Most addresses that a report goes to.
pub(crate) const MAX_REPORT_ADDRESSES: usize = 100;
/// Most per cent of a growth limit: a hundredfold.
pub(crate) const MAX_GROWTH_PERCENT: u32 = 10_000;
/// When a user sync runs if it names no schedule: every night at two.
const DEFAULT_CRON: &str = "0 2 * * *";

vocabulary! {
    /// How deep a search goes below its base (RFC 4511 section 4.5.1.2).
    pub closed enum SearchScope {
        /// The base entry only.
        Base = "BASE",
        /// Its direct children.
        OneLevel = "ONE_LEVEL",
        /// The base and everything below.
        Subtree = "SUBTREE",
    }
}

/// One search whose results belong to the sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search {
    /// Where it starts (RFC 4514), at most 8 KiB.
    pub base_dn: String,
    /// How deep it goes.
    pub scope: SearchScope,
    /// Which entries it takes (RFC 4515), at most 8 KiB and 32 levels.
    pub filter: String,
}

/// What makes a role rule match an entry. The server evaluates it, not Rollcall.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoleCondition {
    /// The entry matches this filter.
    Filter(String),
    /// The entry is a member of this group, directly or through other groups.
    GroupDn(String),
}

/// Gives a role to the users that match; the first rule that does wins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoleRule {
    /// When it matches.
    pub condition: RoleCondition,
    /// The role given.
    pub role: String,
}

/// Which attributes fill which fields. Each field has candidates; the first that yields a non-empty value
/// wins. A candidate is an attribute name or a template like `{givenName} {sn}`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FieldMappings {
    /// The login. Required.
    pub login: Vec<String>,
    /// The e-mail address.
    pub email: Vec<String>,
    /// Names, phone number and the like: those that are mapped.
    pub texts: BTreeMap<TextField, Vec<String>>,
    /// Further fields of the product's own.
    pub custom: BTreeMap<String, Vec<String>>,
}

vocabulary! {
    /// What to do with entries that are no user yet.
    pub closed enum NewUsers {
        /// Create a user.
        Create = "CREATE",
        /// Leave them out.
        Ignore = "IGNORE",
    }
}

vocabulary! {
    /// What to do with users whose entry changed.
    pub closed enum ExistingUsers {
        /// Follow the entry.
        Update = "UPDATE",
        /// Keep the user as it is.
        Ignore = "IGNORE",
    }
}

vocabulary! {
    /// What to do with users whose entry is provably gone or out of scope.
    pub closed enum MissingUsers {
        /// Keep the user as it is.
        Ignore = "IGNORE",
        /// Deactivate: no login, identifiers stay taken.
        Deactivate = "DEACTIVATE",
        /// Archive: no login, identifiers are released.
        Archive = "ARCHIVE",
    }
}

vocabulary! {
    /// What to do when an entry's login is not the user's any more.
    pub closed enum LoginChanges {
        /// Keep the login and report it.
        Reject = "REJECT",
        /// Follow the entry.
        Allow = "ALLOW",
    }
}

vocabulary! {
    /// When a report is sent after a run.
    pub closed enum ReportWhen {
        /// After every run.
        Always = "ALWAYS",
        /// If the run failed, is held or has issues.
        OnIssues = "ON_ISSUES",
        /// Never.
        Never = "NEVER",
    }
}

/// Who is told about runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// When.
    pub when: ReportWhen,
    /// To which e-mail addresses.
    pub addresses: Vec<String>,
}

/// What a tenant's admin sets about a user sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserSyncSettings {
    /// Name for people, 1 to 200 characters.
    pub display_name: String,
    /// The directory that it reads.
    pub directory: DirectoryId,
    /// Switched off: no run, and its users cannot log in.
    pub disabled: bool,
    /// Which entries it takes; an entry found twice is one user.
    pub searches: Vec<Search>,
    /// Role of every user that no rule gives another.
    pub role: String,
    /// Rules in order.
    pub role_rules: Vec<RoleRule>,
    /// Attributes to fields.
    pub field_mappings: FieldMappings,
    /// Entries that are no user yet.
    pub new_users: NewUsers,
    /// Users whose entry changed.
    pub existing_users: ExistingUsers,
    /// Users whose entry is gone.
    pub missing_users: MissingUsers,
    /// Link a LOCAL user of this tenant that has the same login, unless it is the owner.
    pub overwrite_local_users: bool,
    /// Logins that change.
    pub login_changes: LoginChanges,
    /// Run by the schedule.
    pub auto_sync: bool,
    /// Cron expression of five fields.
    pub cron: String,
    /// IANA name of the time zone in which the expression is read.
    pub time_zone: String,
    /// Opaque values of the product, stamped on the users.
    pub restrictions: Vec<String>,
    /// When a run is held for its removals.
    pub removal_limit: RemovalLimit,
    /// When a run is held for its new users.
    pub growth_limit: GrowthLimit,
    /// Who is told.
    pub report: Report,
    /// How long to keep users who left; for ever if absent.
    pub erase_after: Option<Duration>,
}

/// A user sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserSync {
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// Its id within the tenant.
    pub id: UserSyncId,
    /// What the admin set.
    pub settings: UserSyncSettings,
    /// Counts the changes; the etag.
    pub revision: Revision,
    /// The revision at which the searches, the mapping, the role rules or the identity attribute last changed. A run that
    /// is the first since and would remove anyone, or change anyone's role, is held.
    pub scope_revision: Revision,
    /// The `scope_revision` under which a run last applied.
    pub applied_scope_revision: Revision,
    /// Revision of the configuration in force: that of the last Complete run that was applied. `None` before the
    /// first. A newer revision is a draft: logins and refreshes go by the one in force.
    pub in_force_revision: Option<Revision>,
    /// Why the newest plan is held; empty if it is not. It stays until another plan is applied: a run that failed, or a
    /// plan that was cancelled, lifts nothing. Runs change it without a new revision.
    pub hold: Vec<HoldReason>,
    /// When a pull of this sync last ended Complete.
    pub last_complete_pull_time: Option<DateTime<Utc>>,
    /// The newest run.
    pub last_run: Option<RunId>,
    /// When the schedule fires next; `None` while `auto_sync` is off.
    pub next_run_time: Option<DateTime<Utc>>,
    /// The error icon and what is behind it.
    pub health: Health,
    /// When it was created.
    pub create_time: DateTime<Utc>,
    /// When it was last changed.
    pub update_time: DateTime<Utc>,
}

impl UserSync {
    /// Its tenant and id.
    pub fn key(&self) -> UserSyncKey {
        UserSyncKey {
            tenant: self.tenant.clone(),
            user_sync: self.id.clone(),
        }
    }

    /// True if the searches, the mapping, the role rules or the identity attribute changed since a Complete run was last
    /// applied. A sync that never had other ones has not changed.
    pub fn configuration_changed(&self) -> bool {
        self.applied_scope_revision != self.scope_revision && self.scope_revision > Revision::FIRST
    }
}

impl FieldMappings {
    /// The fixed fields with their candidates, in the contract's order.
    pub fn fixed(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        let texts = TextField::ALL.iter();
        let texts = texts.map(|field| (field.name(), self.text(*field)));
        [("login", self.login.as_slice()), ("email", &self.email)]
            .into_iter()
            .chain(texts)
    }

    /// The candidates of a plain text.
    pub fn text(&self, field: TextField) -> &[String] {
        self.texts.get(&field).map_or(&[], Vec::as_slice)
    }

    fn validate(&self) -> Violations {
        let mut found = Violations::new();
        found.require(
            !self.login.is_empty(),
            "login",
            "needs at least one attribute, like uid or sAMAccountName",
        );
        let custom = self
            .custom
            .iter()
            .map(|(field, candidates)| (format!("custom[{field}]"), candidates.as_slice()));
        let fixed = self
            .fixed()
            .map(|(field, candidates)| (field.to_owned(), candidates));
        for (field, candidates) in fixed.chain(custom) {
            found.require(
                candidates.len() <= MAX_CANDIDATES,
                &field,
                format!("at most {MAX_CANDIDATES} candidates are allowed"),
            );
            for (index, candidate) in candidates.iter().enumerate() {
                let at = format!("{field}[{index}]");
                let Some(template) = found.take(&at, Template::parse(candidate)) else {
                    continue;
                };
                for binary in template.attributes().iter().filter(|name| is_known_binary(name)) {
                    found.add(
                        &at,
                        format!("{binary} holds bytes and no text, so no field can have its value"),
                    );
                }
            }
        }
        found.require(
            self.custom.len() <= MAX_CUSTOM_FIELDS,
            "custom",
            format!("at most {MAX_CUSTOM_FIELDS} custom fields are allowed"),
        );
        for field in self.custom.keys() {
            let valid = is_attribute_name(&field.replace('_', "-")) && !field.contains('.');
            found.require(
                valid && field.len() <= 64,
                format!("custom[{field}]"),
                "is not a field name: up to 64 letters, digits, hyphens and underscores, beginning with a letter",
            );
        }
        found
    }
}

/// Proposes for each empty base DN one search for every tree that the server names.
pub fn propose_bases(violations: &mut Violations, trees: &[String]) {
    let shown = trees.iter().take(MAX_TREES_SHOWN).map(|tree| {
        let tree: String = tree.chars().take(MAX_TREE_CHARS).collect();
        // Quoted, so that no control character gets into the sentence.
        format!("{tree:?}")
    });
    let shown: Vec<String> = shown.collect();
    let proposal = match shown.as_slice() {
        [] => return,
        [tree] => format!("is required: the server has one tree, {tree}, so search there or below"),
        trees => format!(
            "is required: make one search for each tree of the server that has people: {}",
            trees.join(", ")
        ),
    };
    let more = match trees.len().saturating_sub(MAX_TREES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    violations.reword(EMPTY_BASE, &(proposal + &more));
}

impl UserSyncSettings {
    /// The settings of a user sync of which only the directory is set: the contract's defaults. They are not valid,
    /// since a name, a role, a search and a login are required.
    pub fn with_defaults(directory: DirectoryId) -> Self {
        Self {
            display_name: String::new(),
            directory,
            disabled: false,
            searches: Vec::new(),
            role: String::new(),
            role_rules: Vec::new(),
            field_mappings: FieldMappings::default(),
            new_users: NewUsers::Create,
            existing_users: ExistingUsers::Update,
            missing_users: MissingUsers::Ignore,
            overwrite_local_users: false,
            login_changes: LoginChanges::Reject,
            auto_sync: false,
            cron: DEFAULT_CRON.to_owned(),
            time_zone: "UTC".to_owned(),
            restrictions: Vec::new(),
            removal_limit: RemovalLimit::default(),
            growth_limit: GrowthLimit::default(),
            report: Report {
                when: ReportWhen::Never,
                addresses: Vec::new(),
            },
            erase_after: None,
        }
    }

    /// Whether a complete run confirms where everybody is. One that leaves users alone who moved or went does not.
    pub fn runs_confirm_dns(&self) -> bool {
        self.existing_users != ExistingUsers::Ignore && self.missing_users != MissingUsers::Ignore
    }

    /// All mistakes in the settings, with the paths of `UserSync`'s fields.
    pub fn validate(&self) -> Violations {
        let mut found = Violations::new();
        check_text(&mut found, "display_name", &self.display_name, 1, 200);
        found.require(!self.searches.is_empty(), "searches", "needs at least one search");
        found.require(
            self.searches.len() <= MAX_SEARCHES,
            "searches",
            format!("at most {MAX_SEARCHES} searches are allowed"),
        );
        for (index, search) in self.searches.iter().enumerate() {
            found.take(&format!("searches[{index}].base_dn"), Dn::parse(&search.base_dn));
            found.require(
                !search.base_dn.trim().is_empty(),
                format!("searches[{index}].base_dn"),
                EMPTY_BASE,
            );
            check_filter(&mut found, &format!("searches[{index}].filter"), &search.filter);
            let twice = self.searches[..index].contains(search);
            found.require(!twice, format!("searches[{index}]"), "stands in the list twice");
        }
        check_role(&mut found, "role", &self.role);
        self.validate_rules(&mut found);
        found.nest("field_mappings", self.field_mappings.validate());
        if let Err(error) = Schedule::parse(&self.cron, &self.time_zone) {
            found.add(error.field(), error.to_string());
        }
        validate_restrictions(&mut found, &self.restrictions);
        found.require(
            self.removal_limit
                .max_percent
                .is_none_or(|percent| percent <= 100),
            "removal_limit.max_percent",
            "must be from 0 to 100",
        );
        let kept = self.erase_after.unwrap_or(MIN_ERASE_AFTER);
        found.require(
            (MIN_ERASE_AFTER..=MAX_ERASE_AFTER).contains(&kept),
            "erase_after",
            "must be from 8 days to 10 years: the guard looks back for 7 days",
        );
        found.require(
            self.report.addresses.len() <= MAX_REPORT_ADDRESSES,
            "report.addresses",
            format!("at most {MAX_REPORT_ADDRESSES} values are allowed"),
        );
        found.require(
            self.growth_limit
                .max_percent
                .is_none_or(|percent| percent <= MAX_GROWTH_PERCENT),
            "growth_limit.max_percent",
            format!("must be from 0 to {MAX_GROWTH_PERCENT}"),
        );
        for (index, address) in self.report.addresses.iter().enumerate() {
            let field = format!("report.addresses[{index}]");
            found.take(&field, Email::parse(address));
        }
        found.require(
            self.report.when == ReportWhen::Never || !self.report.addresses.is_empty(),
            "report.addresses",
            "needs at least one address, unless the report is NEVER",
        );
        found
    }

    fn validate_rules(&self, found: &mut Violations) {
        found.require(
            self.role_rules.len() <= MAX_ROLE_RULES,
            "role_rules",
            format!("at most {MAX_ROLE_RULES} rules are allowed"),
        );
        for (index, rule) in self.role_rules.iter().enumerate() {
            check_role(found, &format!("role_rules[{index}].role"), &rule.role);
            match &rule.condition {
                RoleCondition::Filter(filter) => {
                    check_filter(found, &format!("role_rules[{index}].filter"), filter);
                }
                RoleCondition::GroupDn(dn) => {
                    found.require(
                        !dn.is_empty(),
                        format!("role_rules[{index}].group_dn"),
                        "is required",
                    );
                    found.take(&format!("role_rules[{index}].group_dn"), Dn::parse(dn));
                }
            }
        }
    }

    /// True if `new` chooses or identifies entries differently, or gives other roles, so that its first run may look like
    /// a mass removal, or hand out roles to all.
    pub fn changes_scope(&self, new: &UserSyncSettings) -> bool {
        // Every setting is named, so that those who add one decide whether it belongs here.
        let Self {
            directory,
            searches,
            field_mappings,
            role_rules,
            display_name: _,
            disabled: _,
            role: _,
            new_users: _,
            existing_users: _,
            missing_users: _,
            overwrite_local_users: _,
            login_changes: _,
            auto_sync: _,
            cron: _,
            time_zone: _,
            restrictions: _,
            removal_limit: _,
            growth_limit: _,
            report: _,
            erase_after: _,
        } = self;
        *directory != new.directory
            || *searches != new.searches
            || *field_mappings != new.field_mappings
            || *role_rules != new.role_rules
    }
}

fn check_filter(found: &mut Violations, field: &str, filter: &str) {
    if let Some(filter) = found.take(field, Filter::parse(filter)) {
        found.take(field, filter.check_permitted());
    }
}

fn check_role(found: &mut Violations, field: &str, role: &str) {
    let valid = role.len() <= 64
        && role.starts_with(|c: char| c.is_ascii_alphabetic())
        && role
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    found.require(
        valid,
        field,
        "is not a role: up to 64 letters, digits, hyphens and underscores, a letter first",
    );
}

#[cfg(test)]
pub(crate) mod tests;
