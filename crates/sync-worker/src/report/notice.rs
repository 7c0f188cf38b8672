//! The mail about a new endpoint: people's passwords go there from now on.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rollcall_core::directory::Directory;
use rollcall_core::error::Error;
use rollcall_core::user_sync::UserSync;
use rollcall_proto::resource_name;
use rollcall_store::{MailPurpose, NewMail};

use super::content::{Content, Item, MAX_NAME, MAX_TEXT, Section, clean};
use super::outgoing::Reports;
use super::render::Composed;

/// Why a changed endpoint is used from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Confirmation {
    /// Known people were found there.
    SamePeople,
    /// Somebody has confirmed that it is meant to be another directory.
    NewDirectory,
}

/// Writes the notice. Times are in UTC, since its readers may be of several user syncs.
pub(super) fn compose(
    directory: &Directory,
    confirmation: Confirmation,
    caller: &str,
    time: DateTime<Utc>,
) -> Composed {
    let settings = &directory.settings;
    let name = clean(&settings.display_name, MAX_NAME);
    let hosts: Vec<String> = settings.hosts.iter().map(ToString::to_string).collect();
    let (subject, headline, next) = match confirmation {
        Confirmation::SamePeople => (
            "its new endpoint is in use",
            "The endpoint of a directory was changed, and known people were found there: it is used from now on.",
            "Nothing, if one of you made the change.",
        ),
        Confirmation::NewDirectory => (
            "confirmed as a new directory",
            "The endpoint of a directory was changed, and confirmed as another directory than before: it is used from \
             now on.",
            "If the people there are the same as before, run the user syncs in mode RELINK and look at who was found: \
             until that is applied, they cannot log in.",
        ),
    };
    let items = [
        next,
        "If nobody of you made the change, switch the directory off at once (UpdateDirectory, disabled) and ask who \
         did: passwords of people who log in go to the new endpoint.",
    ];
    let content = Content {
        subject: format!("[Rollcall] {name}: {subject}"),
        headline: headline.to_owned(),
        facts: vec![
            ("Directory", name),
            ("Name", resource_name::directory(&directory.tenant, &directory.id)),
            ("Hosts", clean(&hosts.join(", "), MAX_TEXT)),
            ("Bind DN", clean(&settings.bind_dn, MAX_TEXT)),
            ("Confirmed by", clean(caller, MAX_NAME)),
            ("Time", time.format("%Y-%m-%d %H:%M UTC").to_string()),
        ],
        sections: vec![Section {
            title: "What to do".to_owned(),
            items: items
                .iter()
                .map(|text| Item {
                    text: (*text).to_owned(),
                    details: Vec::new(),
                })
                .collect(),
        }],
        footer:
            "The report addresses of the user syncs on this directory get this mail, whenever else they get \
                 reports."
                .to_owned(),
    };
    Composed::of(content)
}

/// Everybody who gets reports of one of these user syncs, once.
fn recipients(user_syncs: &[UserSync]) -> BTreeSet<&String> {
    user_syncs
        .iter()
        .flat_map(|sync| &sync.settings.report.addresses)
        .collect()
}

impl Reports {
    /// Tells the report addresses of a directory's user syncs that its new endpoint is used from now on.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn tell_of_endpoint(
        &self,
        caller: &str,
        directory: &Directory,
        confirmation: Confirmation,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let Some(limits) = self.limits else {
            return Ok(());
        };
        let (tenant, id) = (&directory.tenant, &directory.id);
        let user_syncs = self.store.user_syncs_of_directory(tenant, id).await?;
        let notice = compose(directory, confirmation, caller, now);
        let mail = |address: &String| NewMail {
            id: format!("{tenant}.{id}.endpoint-{}", directory.revision),
            to: vec![address.clone()],
            subject: notice.subject.clone(),
            text: notice.text.clone(),
            html: notice.html.clone(),
        };
        let mails = recipients(&user_syncs).into_iter().map(mail).collect();
        let mailing = self
            .addressed(tenant, MailPurpose::Endpoint, limits, mails)
            .await?;
        self.store.enqueue_mails(tenant, &mailing, now).await?;
        Ok(())
    }
}
