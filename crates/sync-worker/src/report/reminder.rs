//! The mails about what admins have to see to. They contain no links, since people are taught not to follow links in
//! mails.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::reminder::{Matter, Remembered, Subject};
use rollcall_core::security_review::{ReviewedDirectory, ReviewedSync};
use rollcall_core::wording::counted;
use rollcall_proto::resource_name;
use rollcall_store::{MailPurpose, Mailing, NewMail, StoreError};

use super::content::{Content, Item, MAX_NAME, MAX_TEXT, Section, clean};
use super::outgoing::Reports;
use super::render::Composed;

const FOOTER: &str = "You get one mail when something begins and one when it is settled, and a summary each week while \
                      anything is open. The contact addresses of the directory say who gets these mails, or else the \
                      report addresses of its user syncs.";

/// What the reminders of a tenant can be about, and who gets them.
pub(crate) struct Readers<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) directories: &'a [ReviewedDirectory],
    pub(crate) user_syncs: &'a [ReviewedSync],
}

/// What is new, for all readers whom it concerns.
pub(crate) struct News<'a> {
    pub(crate) begun: Vec<&'a Matter>,
    pub(crate) ended: &'a [Remembered],
    /// All that is open, if a summary is due.
    pub(crate) summary: Option<&'a [Matter]>,
}

/// What one address is told.
#[derive(Default)]
struct Told {
    begun: Vec<Item>,
    ended: Vec<Item>,
    /// If it tells only one thing, that thing, for the subject line.
    first: Option<String>,
}

impl Readers<'_> {
    /// The addresses that get mails about this subject; none if nobody is to be told.
    pub(crate) fn of(&self, subject: &Subject) -> BTreeSet<&str> {
        match subject {
            Subject::Tenant => {
                let each = self.directories.iter();
                each.flat_map(|it| self.of_directory(&it.directory.id)).collect()
            }
            Subject::Directory(id) => self.of_directory(id),
            Subject::UserSync(id) => {
                let Some(sync) = self.user_syncs.iter().find(|it| it.user_sync.id == *id) else {
                    return BTreeSet::new();
                };
                let settings = &sync.user_sync.settings;
                match settings.report.addresses.is_empty() {
                    true => self.of_directory(&settings.directory),
                    false => settings.report.addresses.iter().map(String::as_str).collect(),
                }
            }
        }
    }

    fn of_directory(&self, id: &DirectoryId) -> BTreeSet<&str> {
        let directory = self.directories.iter().find(|it| it.directory.id == *id);
        let contacts = directory.map(|it| it.directory.settings.contact_addresses.as_slice());
        let contacts = contacts.unwrap_or_default();
        if !contacts.is_empty() {
            return contacts.iter().map(String::as_str).collect();
        }
        let syncs = self.user_syncs.iter().map(|it| &it.user_sync.settings);
        syncs
            .filter(|settings| settings.directory == *id)
            .flat_map(|settings| &settings.report.addresses)
            .map(String::as_str)
            .collect()
    }

    /// The subject's name for people.
    fn name(&self, subject: &Subject) -> String {
        let name = match subject {
            Subject::Tenant => None,
            Subject::Directory(id) => self
                .directories
                .iter()
                .find(|it| it.directory.id == *id)
                .map(|it| &it.directory.settings.display_name),
            Subject::UserSync(id) => self
                .user_syncs
                .iter()
                .find(|it| it.user_sync.id == *id)
                .map(|it| &it.user_sync.settings.display_name),
        };
        clean(name.map_or("Security review", String::as_str), MAX_NAME)
    }

    fn resource(&self, subject: &Subject) -> String {
        match subject {
            Subject::Tenant => resource_name::security_review(self.tenant),
            Subject::Directory(id) => resource_name::directory(self.tenant, id),
            Subject::UserSync(id) => resource_name::user_sync(self.tenant, id),
        }
    }

    fn item(&self, matter: &Matter) -> Item {
        let name = self.name(&matter.subject);
        Item {
            text: format!("{name}: {}", clean(&matter.message, MAX_TEXT)),
            details: vec![
                ("What to do", matter.hint.to_owned()),
                ("Where", self.resource(&matter.subject)),
            ],
        }
    }
}

impl Reports {
    /// The mails that tell this, each with the budget that pays for it. None if mails are not sent.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn of_reminders(
        &self,
        readers: &Readers<'_>,
        news: &News<'_>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Mailing>, StoreError> {
        let Some(limits) = self.limits else {
            return Ok(Vec::new());
        };
        let tenant = readers.tenant;
        let mail = |purpose: &str, (address, content): (&str, Content)| {
            let composed = Composed::of(content);
            NewMail {
                id: format!("{tenant}.{purpose}-{}", now.timestamp()),
                to: vec![address.to_owned()],
                subject: composed.subject,
                text: composed.text,
                html: composed.html,
            }
        };
        let told = of_news(readers, news).into_iter();
        let news_mails = told.map(|it| mail("reminder", it)).collect();
        let summaries = of_summary(readers, news).into_iter();
        let summaries = summaries.map(|it| mail("summary", it)).collect();
        let mut mailings = Vec::new();
        for (purpose, mails) in [
            (MailPurpose::Reminder, news_mails),
            (MailPurpose::Report, summaries),
        ] {
            mailings.push(self.addressed(tenant, purpose, limits, mails).await?);
        }
        Ok(mailings)
    }
}

fn of_news<'a>(readers: &'a Readers<'_>, news: &News<'_>) -> BTreeMap<&'a str, Content> {
    let mut told: BTreeMap<&str, Told> = BTreeMap::new();
    for matter in &news.begun {
        for address in readers.of(&matter.subject) {
            let told = told.entry(address).or_default();
            let item = readers.item(matter);
            told.first.get_or_insert_with(|| item.text.clone());
            told.begun.push(item);
        }
    }
    for ended in news.ended {
        let subject = Subject::of(&ended.key);
        for address in readers.of(&subject) {
            let told = told.entry(address).or_default();
            let name = readers.name(&subject);
            told.first.get_or_insert_with(|| format!("{name}: settled"));
            told.ended.push(Item {
                text: format!("{name}: {}", clean(&ended.message, MAX_TEXT)),
                details: Vec::new(),
            });
        }
    }
    let each = told.into_iter();
    each.map(|(address, told)| (address, content_of(readers.tenant, told)))
        .collect()
}

fn content_of(tenant: &TenantId, told: Told) -> Content {
    let (begun, ended) = (told.begun.len() as u64, told.ended.len() as u64);
    let things = |count| counted(count, "thing", "things");
    let subject = match (begun, ended, told.first) {
        (1, 0, Some(first)) | (0, 1, Some(first)) => first.trim_end_matches('.').to_owned(),
        (0, settled, _) => format!("{} settled", things(settled)),
        (begun, _, _) => format!("{} to see to", things(begun)),
    };
    let headline = match begun {
        0 => "What you were reminded of is settled. There is nothing to do.".to_owned(),
        1 => "There is something to see to.".to_owned(),
        begun => format!("There are {} to see to.", things(begun)),
    };
    let sections = [("To see to", told.begun), ("Settled", told.ended)];
    Content {
        subject: format!("[Rollcall] {subject}"),
        headline,
        facts: vec![("Tenant", tenant.to_string())],
        sections: sections
            .into_iter()
            .filter(|(_, items)| !items.is_empty())
            .map(|(title, items)| Section {
                title: title.to_owned(),
                items,
            })
            .collect(),
        footer: FOOTER.to_owned(),
    }
}

fn of_summary<'a>(readers: &'a Readers<'_>, news: &News<'_>) -> BTreeMap<&'a str, Content> {
    let mut open: BTreeMap<&str, Vec<Item>> = BTreeMap::new();
    for matter in news.summary.unwrap_or_default() {
        for address in readers.of(&matter.subject) {
            open.entry(address).or_default().push(readers.item(matter));
        }
    }
    let content = |items: Vec<Item>| {
        let things = counted(items.len() as u64, "thing", "things");
        Content {
            subject: format!("[Rollcall] Weekly summary: {things} to see to"),
            headline: format!("This week {things} to see to are still open."),
            facts: vec![("Tenant", readers.tenant.to_string())],
            sections: vec![Section {
                title: "Still open".to_owned(),
                items,
            }],
            footer: FOOTER.to_owned(),
        }
    };
    open.into_iter()
        .map(|(address, items)| (address, content(items)))
        .collect()
}
