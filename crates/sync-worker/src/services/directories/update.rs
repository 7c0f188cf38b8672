//! UpdateDirectory: a stored secret never travels to a new endpoint, and a new endpoint has to be proven or
//! confirmed.

use rollcall_core::audit::{AuditedFieldChange, SecretChange};
use rollcall_core::directory::DirectorySettings;
use rollcall_core::error::Error;
use rollcall_proto::convert::directory::UpdateDirectory;
use rollcall_proto::resource_name::{self, DirectoryName};
use rollcall_proto::v1;
use rollcall_store::{DirectoryUpdate, NewSecrets};

use super::{Directories, expect_usable_trust, new_secrets, password_required};
use crate::report::Confirmation;
use rollcall_service::call::Call;
use rollcall_service::resource::{changed_meanwhile, expect_revision};

impl Directories {
    pub(super) async fn update(
        &self,
        call: Result<Call<UpdateDirectory>, Error>,
    ) -> Result<v1::Directory, Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let request = call.request;
        let DirectoryName {
            tenant,
            directory: id,
        } = &request.name;
        let name = resource_name::directory(tenant, id);
        let current = self.find(&request.name).await?;
        expect_revision(request.revision, current.revision, &name)?;
        let settings = request.apply(&current.settings)?;
        let moves = !current.settings.has_same_endpoint(&settings);
        if moves && request.secrets.bind_password.is_none() {
            return Err(password_required(&name));
        }
        let new_key = request.secrets.client_private_key.as_ref();
        let trust = |settings: &DirectorySettings| {
            let DirectorySettings {
                ca_certificates,
                tls_server_name,
                client_certificate,
                ..
            } = settings.clone();
            (ca_certificates, tls_server_name, client_certificate)
        };
        // A field that is not changed may have a value of a former release, which is not this caller's mistake.
        if new_key.is_some() || trust(&settings) != trust(&current.settings) {
            let stored = match new_key.is_none() && settings.client_certificate.is_some() {
                true => self.0.store.client_key(tenant, id).await?,
                false => None,
            };
            expect_usable_trust(&settings, new_key.or(stored.as_ref()))?;
        }
        self.expect_own_contacts(tenant, &current.settings.contact_addresses, &settings)
            .await?;
        let confirmed = match moves {
            _ if request.confirm_new_directory => true,
            // Without known users nobody could be mistaken for somebody else there.
            true => !self.0.has_users(tenant, id).await?,
            false => current.endpoint_confirmed,
        };
        let secrets = NewSecrets {
            bind_password: request.secrets.bind_password.as_ref(),
            client_key: request.secrets.client_private_key.as_ref(),
        };
        let mut besides = new_secrets(&secrets, Some(&current));
        if settings.client_certificate.is_none() && current.settings.client_certificate.is_some() {
            besides.push(AuditedFieldChange::secret(
                "client_private_key",
                SecretChange::Removed,
            ));
        }
        if request.confirm_new_directory {
            besides.push(AuditedFieldChange::asked("confirm_new_directory", "true"));
        }
        let record = author.change::<_, v1::Directory>(tenant, &name, besides);
        let updated = self
            .0
            .store
            .update_directory(
                tenant,
                id,
                DirectoryUpdate {
                    expected_revision: current.revision,
                    settings: &settings,
                    secrets,
                    endpoint_confirmed: confirmed,
                },
                record,
            )
            .await;
        let directory = updated.map_err(changed_meanwhile(request.revision, &name))?;
        if request.confirm_new_directory && (moves || !current.endpoint_confirmed) {
            self.0
                .reports()
                .tell_of_endpoint(
                    author.caller().name(),
                    &directory,
                    Confirmation::NewDirectory,
                    self.0.now(),
                )
                .await?;
        }
        Ok(self.to_wire(&directory))
    }
}
