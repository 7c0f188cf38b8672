//! All tables: which tenant their rows belong to, when the rows go, and what deletes them. A test compares this with
//! the live schema, so that no table is forgotten.

use Goes::*;

/// A table.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// What its rows are.
    pub purpose: &'static str,
    /// The column that names the tenant of a row; `None` if rows belong to no tenant.
    pub tenant: Option<&'static str>,
    /// When its rows go.
    pub goes: Goes,
    /// What deletes them because of their age.
    pub swept: Option<Sweep>,
}

/// When the rows of a tenant go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goes {
    /// With this table's row, by a foreign key with ON DELETE CASCADE.
    WithRowOf(&'static str),
    /// Before the tenant can be deleted: a foreign key without ON DELETE keeps it until then.
    BeforeTenant,
    /// Before the tenant, each with an event. Code that inserts one locks the tenant's row, so that none is left
    /// behind.
    Erased,
    /// With the tenant, by a statement of its own, in the order of [`TABLES`].
    WithTenant,
    /// With the user, by a statement in the transaction that writes users.
    WithUser,
    /// Not at all, for this reason.
    Never(&'static str),
}

/// Defines the sweeps and the list of all, which so cannot lack one.
macro_rules! sweeps {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What is deleted because of its age, a little at a time.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Sweep {
            $($(#[$doc])* $name,)*
        }

        impl Sweep {
            /// All, in the order in which they are carried out.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

sweeps! {
    /// Runs that ended.
    Runs,
    /// User events.
    Events,
    /// Sealed audit events.
    Audit,
    /// Soft locks.
    SoftLocks,
    /// Request ids of logins.
    LoginRequests,
    /// Request ids of creations.
    CreateRequests,
    /// Mails that nobody sent.
    Mail,
}

/// The statements that delete the rows that go with a tenant, in this order. Each takes the tenant as its value.
pub(crate) fn with_tenant() -> impl Iterator<Item = String> {
    let going = TABLES.iter().filter(|table| table.goes == WithTenant);
    going.filter_map(|table| Some(format!("DELETE FROM {} WHERE {} = $1", table.name, table.tenant?)))
}

const fn table(name: &'static str, purpose: &'static str, tenant: Option<&'static str>, goes: Goes) -> Table {
    Table {
        name,
        purpose,
        tenant,
        goes,
        swept: None,
    }
}

const fn swept(table: Table, sweep: Sweep) -> Table {
    Table {
        swept: Some(sweep),
        ..table
    }
}

const TENANT: Option<&str> = Some("tenant");
const RECORD: &str = "its content is emptied; the places in the chain or feed stay until they are too old";

/// All tables of the schema.
pub const TABLES: &[Table] = &[
    swept(
        table("mail_outbox", "mails to be sent", TENANT, WithTenant),
        Sweep::Mail,
    ),
    table(
        "erasures",
        "who was erased, until every text was swept",
        TENANT,
        WithTenant,
    ),
    table(
        "login_refusals",
        "repeated refusals, until they are counted in the record",
        TENANT,
        WithTenant,
    ),
    swept(
        table("sync_runs", "runs of user syncs", TENANT, WithTenant),
        Sweep::Runs,
    ),
    swept(
        table("login_throttles", "soft locks", TENANT, WithTenant),
        Sweep::SoftLocks,
    ),
    table("last_logins", "when each user logged in last", TENANT, WithTenant),
    swept(
        table("create_requests", "request ids of creations", TENANT, WithTenant),
        Sweep::CreateRequests,
    ),
    table(
        "mail_budgets",
        "how many mails a tenant may still send",
        TENANT,
        WithTenant,
    ),
    table("tenants", "tenants", Some("id"), WithTenant),
    table("tenant_domains", "verified domains", TENANT, WithRowOf("tenants")),
    table(
        "tenant_turns",
        "whose turn it is to run",
        TENANT,
        WithRowOf("tenants"),
    ),
    table(
        "reminders",
        "what was told of what people have to see to",
        TENANT,
        WithRowOf("tenants"),
    ),
    table(
        "check_results",
        "the last check of each directory and user sync",
        TENANT,
        WithRowOf("tenants"),
    ),
    table(
        "security_reviews",
        "recorded reviews",
        TENANT,
        WithRowOf("tenants"),
    ),
    table(
        "directories",
        "directories with their sealed secrets",
        TENANT,
        BeforeTenant,
    ),
    table(
        "exclusions",
        "who was erased for good",
        TENANT,
        WithRowOf("directories"),
    ),
    table("user_syncs", "user syncs", TENANT, BeforeTenant),
    table(
        "user_sync_settings",
        "settings that runs ran with",
        TENANT,
        WithRowOf("user_syncs"),
    ),
    table(
        "guard_counts",
        "changes in the guard's window",
        TENANT,
        WithRowOf("user_syncs"),
    ),
    table("sync_plan_chunks", "plans", TENANT, WithRowOf("sync_runs")),
    table(
        "sync_run_issues",
        "issues of runs",
        TENANT,
        WithRowOf("sync_runs"),
    ),
    table("users", "users", TENANT, Erased),
    table(
        "user_identifiers",
        "logins and e-mail addresses, and whose they are",
        TENANT,
        WithUser,
    ),
    swept(
        table("user_events", "what happened to users", TENANT, Never(RECORD)),
        Sweep::Events,
    ),
    table(
        "audit_unsealed",
        "audit events that no chain has yet",
        TENANT,
        Never(RECORD),
    ),
    swept(
        table("audit_events", "the audit record, a chain", TENANT, Never(RECORD)),
        Sweep::Audit,
    ),
    swept(
        table("audit_payloads", "what audit events tell", TENANT, Never(RECORD)),
        Sweep::Audit,
    ),
    table(
        "audit_ends",
        "where the chain begins and ends",
        None,
        Never("nobody's"),
    ),
    table(
        "feed_heads",
        "where each feed stands",
        None,
        Never("a cursor must not fit a later tenant's feed"),
    ),
    swept(
        table(
            "login_requests",
            "request ids of logins, hashed",
            None,
            Never("nobody can tell whose they are"),
        ),
        Sweep::LoginRequests,
    ),
    table(
        "leases",
        "what one process does alone",
        None,
        Never("they expire"),
    ),
    table(
        "purpose_keys",
        "keys that never retire, sealed",
        None,
        Never("nobody's"),
    ),
    table(
        "keyring_checks",
        "what tells a wrong keyring",
        None,
        Never("nobody's"),
    ),
];
