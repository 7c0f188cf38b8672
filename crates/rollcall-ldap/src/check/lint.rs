//! What is odd about a filter that can be sent: conditions that never match, no entries at all, or all of them.

use std::time::Duration;

use rollcall_core::check::StageKind;
use rollcall_core::filter::{Filter, Undefined};
use rollcall_core::schema::Schema;
use rollcall_core::user_sync::{Search, SearchScope};
use rollcall_core::wording::counted;
use tokio::time::Instant;

use super::count::Count;
use super::stages::Stages;
use crate::directory::LdapDirectory;

/// Entries that are not people. For Active Directory, computers are persons too.
const NO_PERSON: &str = "(|(!(objectClass=person))(objectClass=computer))";
/// Time for finding out whether a filter matches everything.
const LIMIT: Duration = Duration::from_secs(2);

/// Reports the parts of a filter that the server does not know. True if there are none, as far as the schema can be
/// read.
pub(super) fn undefined(filter: &Filter, schema: &Schema, stages: &mut Stages) -> bool {
    match Undefined::of(filter, schema).message_and_hint() {
        Some((message, hint)) => {
            stages.warn(StageKind::SearchFilter, message, hint);
            false
        }
        None => true,
    }
}

/// Reports how many entries match a filter all of whose parts the server knows.
pub(super) fn count(count: Count, everything: bool, stages: &mut Stages) {
    let kind = StageKind::SearchFilter;
    match (count.entries, count.exact) {
        (0, true) => stages.warn(
            kind,
            "The filter matches no entry.",
            "Check base, scope and filter, and that the bind account may read the attributes of the filter: what it \
             may not read never matches.",
        ),
        (_, _) if everything => stages.warn(
            kind,
            "The filter matches every entry under the base, those that are no people too.",
            "Narrow it to people, for example with (objectClass=person), on Active Directory with \
             (&(objectCategory=person)(objectClass=user)).",
        ),
        (entries, true) => {
            let entries = counted(entries, "entry", "entries");
            stages.pass(kind, format!("The filter matches {entries}."));
        }
        (entries, false) => {
            let entries = counted(entries, "entry", "entries");
            stages.pass(kind, format!("The filter matches at least {entries}."));
        }
    }
}

/// True if the filter leaves out nothing under the base, although some entries there are not people. Also false if that
/// cannot be found out in time.
pub(super) async fn matches_everything(
    directory: &LdapDirectory,
    search: &Search,
    filter: &Filter,
    deadline: Instant,
) -> bool {
    if search.scope == SearchScope::Base {
        return false;
    }
    let deadline = deadline.min(Instant::now() + LIMIT);
    let none = ["1.1".to_owned()];
    let any = async |filter: String| {
        let found = directory.find(&search.base_dn, search.scope, &filter, &none, 1, deadline);
        found.await.map(|found| !found.entries.is_empty())
    };
    any(format!("(&{filter}{NO_PERSON})")).await == Ok(true) && any(format!("(!{filter})")).await == Ok(false)
}
