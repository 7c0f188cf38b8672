//! The requests of DirectoryService but for its checks.

use rollcall_core::directory::DirectorySettings;
use rollcall_core::error::Error;
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::revision::Revision;
use rollcall_core::secret::Password;
use rollcall_core::user::UserDisposition;
use rollcall_core::violation::Violations;

use super::{DirectorySecrets, decode, settings, wire};
use crate::convert::named_request;
use crate::decode::{Repeatable, choice, finish, parent, repeatable, required, resource_id, root};
use crate::etag::decode_etag;
use crate::page::AskedPage;
use crate::resource_name::{self, DirectoryName};
use crate::{update_mask, v1};

/// CreateDirectory.
pub struct CreateDirectory {
    /// How to recognise a repeat.
    pub repeatable: Option<Repeatable>,
    /// The tenant.
    pub tenant: TenantId,
    /// The id; `None` to have one generated.
    pub id: Option<DirectoryId>,
    /// The settings.
    pub settings: DirectorySettings,
    /// The secrets, with a bind password.
    pub secrets: DirectorySecrets,
}

/// ListDirectories.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListDirectories {
    /// The tenant.
    pub tenant: TenantId,
    /// Which page.
    pub page: AskedPage,
}

/// UpdateDirectory.
pub struct UpdateDirectory {
    /// The directory.
    pub name: DirectoryName,
    /// The revision that the caller expects, if it does.
    pub revision: Option<Revision>,
    /// The secrets to replace.
    pub secrets: DirectorySecrets,
    /// The caller says that the endpoint is another directory on purpose.
    pub confirm_new_directory: bool,
    wire: v1::Directory,
    paths: Vec<String>,
}

/// DeleteDirectory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteDirectory {
    /// The directory.
    pub name: DirectoryName,
    /// The revision that the caller expects, if it does.
    pub revision: Option<Revision>,
    /// Delete its user syncs too, and do this with their users. `None`: only if it has none.
    pub force: Option<UserDisposition>,
}

/// RotateBindPassword.
pub struct RotateBindPassword {
    /// The directory.
    pub name: DirectoryName,
    /// The revision that the caller expects, if it does.
    pub revision: Option<Revision>,
    /// The new password.
    pub bind_password: Password,
    /// It is kept until the directory refuses the present one.
    pub pending: bool,
}

named_request!(GetDirectoryRequest => DirectoryName, parse_directory, DIRECTORY);

impl UpdateDirectory {
    /// The settings after the update.
    ///
    /// # Errors
    /// INVALID_FIELD, with all fields that would not be valid.
    pub fn apply(&self, current: &DirectorySettings) -> Result<DirectorySettings, Error> {
        let mut merged = wire(current);
        self.paths
            .iter()
            .for_each(|path| merged.overlay(&self.wire, path));
        let mut inner = Violations::new();
        let settings = settings(&mut inner, &merged);
        let had_key = current.client_certificate.is_some() || self.secrets.client_private_key.is_some();
        inner.require(
            settings.client_certificate.is_none() || had_key,
            "client_private_key",
            "is required with client_certificate",
        );
        inner.require(
            settings.client_certificate.is_some() || self.secrets.client_private_key.is_none(),
            "client_certificate",
            "is required with client_private_key",
        );
        let mut found = Violations::new();
        found.nest("directory", inner);
        finish(found, Some(settings))
    }
}

impl TryFrom<v1::CreateDirectoryRequest> for CreateDirectory {
    type Error = Error;

    fn try_from(mut request: v1::CreateDirectoryRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let repeatable = repeatable(&mut found, "CreateDirectory", &mut request, |it| {
            &mut it.request_id
        });
        let tenant = parent(&mut found, &request.parent);
        let id = resource_id(
            &mut found,
            "directory_id",
            &request.directory_id,
            DirectoryId::parse,
        );
        let directory = required(&mut found, "directory", request.directory).map(|mut wire| {
            let mut inner = Violations::new();
            let has_password = !wire.bind_password.is_empty();
            inner.require(has_password, "bind_password", "is required");
            let secrets = DirectorySecrets::take(&mut inner, &mut wire);
            let settings = settings(&mut inner, &wire);
            let (certificate, key) = (
                settings.client_certificate.is_some(),
                secrets.client_private_key.is_some(),
            );
            inner.require(
                key || !certificate,
                "client_private_key",
                "is required with client_certificate",
            );
            inner.require(
                certificate || !key,
                "client_certificate",
                "is required with client_private_key",
            );
            found.nest("directory", inner);
            (settings, secrets)
        });
        let value = tenant.zip(directory);
        finish(
            found,
            value.map(|(tenant, (settings, secrets))| Self {
                repeatable,
                tenant,
                id,
                settings,
                secrets,
            }),
        )
    }
}

impl TryFrom<v1::ListDirectoriesRequest> for ListDirectories {
    type Error = Error;

    fn try_from(request: v1::ListDirectoriesRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let tenant = parent(&mut found, &request.parent);
        let binding = ["ListDirectories", &request.parent];
        let page = AskedPage::decode(&mut found, request.page_size, request.page_token, &binding);
        finish(found, tenant.map(|tenant| Self { tenant, page }))
    }
}

impl TryFrom<v1::UpdateDirectoryRequest> for UpdateDirectory {
    type Error = Error;

    fn try_from(request: v1::UpdateDirectoryRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let Some(mut wire) = required(&mut found, "directory", request.directory) else {
            return Err(Error::invalid(found));
        };
        let name = directory_name(&mut found, "directory.name", &wire.name);
        let revision = decode_etag(&mut found, "directory.etag", &wire.etag);
        let (writable, populated) = (v1::Directory::WRITABLE, wire.populated());
        let mask = request.update_mask;
        let has_password = !wire.bind_password.is_empty();
        let mut paths = update_mask::paths(
            &mut found,
            mask.clone(),
            writable,
            v1::Directory::is_writable,
            populated,
        );
        let names_password = mask.is_some_and(|mask| mask.paths.iter().any(|path| path == "bind_password"));
        found.require(
            has_password || !names_password,
            "directory.bind_password",
            "is named in update_mask, but empty",
        );
        let mut inner = Violations::new();
        let mut secrets = DirectorySecrets::take(&mut inner, &mut wire);
        if !paths.iter().any(|path| path == "bind_password") {
            secrets.bind_password = None;
        }
        if !paths.iter().any(|path| path == "client_private_key") {
            secrets.client_private_key = None;
        }
        decode(&mut inner, &wire);
        let mut changed = Violations::new();
        for violation in inner
            .iter()
            .filter(|violation| paths.iter().any(|path| path == root(&violation.field)))
        {
            changed.add(&violation.field, &violation.description);
        }
        found.nest("directory", changed);
        paths.retain(|path| path != "bind_password" && path != "client_private_key");
        let confirm_new_directory = request.confirm_new_directory;
        finish(
            found,
            name.map(|name| Self {
                name,
                revision,
                secrets,
                confirm_new_directory,
                wire,
                paths,
            }),
        )
    }
}

impl TryFrom<v1::DeleteDirectoryRequest> for DeleteDirectory {
    type Error = Error;

    fn try_from(request: v1::DeleteDirectoryRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let name = directory_name(&mut found, "name", &request.name);
        let revision = decode_etag(&mut found, "etag", &request.etag);
        let disposition =
            choice::<v1::UserDisposition, _>(&mut found, "user_disposition", request.user_disposition);
        found.require(
            !request.force || disposition.is_some(),
            "user_disposition",
            "is required with force",
        );
        let force = disposition.filter(|_| request.force);
        finish(
            found,
            name.map(|name| Self {
                name,
                revision,
                force,
            }),
        )
    }
}

impl TryFrom<v1::RotateBindPasswordRequest> for RotateBindPassword {
    type Error = Error;

    fn try_from(request: v1::RotateBindPasswordRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let name = directory_name(&mut found, "name", &request.name);
        let revision = decode_etag(&mut found, "etag", &request.etag);
        let password = found.take("bind_password", Password::new(request.bind_password));
        let value = name.zip(password);
        finish(
            found,
            value.map(|(name, bind_password)| Self {
                name,
                revision,
                bind_password,
                pending: request.pending,
            }),
        )
    }
}

fn directory_name(found: &mut Violations, field: &str, text: &str) -> Option<DirectoryName> {
    resource_name::decode(
        found,
        field,
        text,
        resource_name::DIRECTORY,
        resource_name::parse_directory,
    )
}
