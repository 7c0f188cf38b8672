//! UpdateDirectory: a stored secret never travels to a new endpoint, and a new endpoint has to be proven or
//! confirmed.

use rollcall_core::directory::DirectorySettings;
use rollcall_core::error::Error;
use rollcall_proto::convert::directory::UpdateDirectory;
use rollcall_proto::resource_name::{self, DirectoryName};
use rollcall_proto::v1;
use rollcall_store::NewSecrets;

use super::{Directories, expect_usable_trust, password_required};
use crate::report::Confirmation;
use rollcall_service::call::Call;
use rollcall_service::differences;
use rollcall_service::resource::{changed_meanwhile, expect_revision};

impl Directories {
    pub(super) async fn update(
        &self,
        call: Result<Call<UpdateDirectory>, Error>,
    ) -> Result<v1::Directory, Error> {
        let Call { caller, request, .. } = call?;
        let DirectoryName {
            tenant,
            directory: id,
        } = &request.name;
        caller.may_touch(tenant)?;
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
        // What is not changed may be of an earlier release, and is nobody's mistake now.
        if new_key.is_some() || trust(&settings) != trust(&current.settings) {
            let stored = match new_key.is_none() && settings.client_certificate.is_some() {
                true => self.0.store.client_key(tenant, id).await?,
                false => None,
            };
            expect_usable_trust(&settings, new_key.or(stored.as_ref()))?;
        }
        let confirmed = match moves {
            _ if request.confirm_new_directory => true,
            // Nobody is known yet, so there is nobody who could be somebody else there.
            true => !self.0.has_users(tenant, id).await?,
            false => current.endpoint_confirmed,
        };
        let mut details = differences!(current.settings, settings;
            display_name, disabled, hosts, port, transport_security, allow_plaintext, ca_certificates,
            tls_server_name, client_certificate, bind_dn, connect_timeout, operation_timeout, page_size,
            external_id_attribute);
        let secret = |given: bool, field: &str| given.then(|| (field.to_owned(), "(set)".to_owned()));
        details.extend(secret(request.secrets.bind_password.is_some(), "bind_password"));
        details.extend(secret(
            request.secrets.client_private_key.is_some(),
            "client_private_key",
        ));
        if request.confirm_new_directory {
            details.insert("confirm_new_directory".to_owned(), "true".to_owned());
        }
        let secrets = NewSecrets {
            bind_password: request.secrets.bind_password.as_ref(),
            client_key: request.secrets.client_private_key.as_ref(),
        };
        let updated = self
            .0
            .store
            .update_directory(
                tenant,
                id,
                current.revision,
                &settings,
                secrets,
                confirmed,
                self.0.now(),
            )
            .await;
        let directory = updated.map_err(changed_meanwhile(request.revision, &name))?;
        self.0
            .record(&caller, tenant, "DirectoryService.UpdateDirectory", name, details)
            .await?;
        if request.confirm_new_directory && (moves || !current.endpoint_confirmed) {
            self.0
                .reports()
                .tell_of_endpoint(
                    caller.name(),
                    &directory,
                    Confirmation::NewDirectory,
                    self.0.now(),
                )
                .await?;
        }
        Ok(self.to_wire(&directory))
    }
}
