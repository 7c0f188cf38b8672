//! Erasing a person.

use rollcall_core::audit::AuditedFieldChange;
use rollcall_core::error::{Error, Reason};
use rollcall_proto::convert::user_write::EraseUser;
use rollcall_proto::resource_name::{self, UserName};
use rollcall_proto::v1::EraseUserResponse;
use rollcall_runtime::clock::Clock;
use rollcall_service::call::Call;
use rollcall_service::directories::Directories;
use rollcall_service::offers::offering_sync;
use rollcall_service::resource::about;
use rollcall_store::{Store, StoreError};

/// Unless the person is put on the exclusion list, asks the directory whether they would come back. Then erases the
/// user and everything else that is kept about them.
///
/// # Errors
/// `USER_STILL_OFFERED`; what the directory and the store say.
pub(crate) async fn erase(
    store: &Store,
    directories: &Directories,
    clock: &Clock,
    call: Call<EraseUser>,
) -> Result<EraseUserResponse, Error> {
    let author = call.author(clock.now())?;
    let EraseUser { user, exclude } = call.request;
    let UserName { tenant, user: id } = &user.name;
    let name = resource_name::user(tenant, *id);
    let origin = match store.user(tenant, *id).await {
        Ok(found) => found.origin,
        // The user was deleted, but something about them may be left.
        Err(StoreError::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(origin) = origin.filter(|_| !exclude)
        && let Some(sync) = offering_sync(store, directories, tenant, &origin).await?
    {
        let message = "the directory still offers this person, so the next run would bring the user back: take the \
                       person out of the searches of the user sync, or erase with exclude";
        let error = Error::new(Reason::UserStillOffered, message).with("resource", name);
        return Err(error.with("user_sync", resource_name::user_sync(tenant, &sync)));
    }
    let asked = exclude.then(|| AuditedFieldChange::asked("exclude", "true"));
    let record = author.event(tenant, &name, asked.into_iter().collect());
    let erase = rollcall_store::EraseUser {
        tenant,
        user: *id,
        expected_revision: user.revision,
        exclude,
        left_before: None,
    };
    store.erase_user(erase, &record).await.map_err(about(&name))?;
    let swept = store.sweep_erased(tenant, Some(*id), clock.now()).await?;
    Ok(EraseUserResponse {
        run_under_way: !swept,
    })
}
