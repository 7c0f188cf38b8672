//! From a run to the mails that tell about it.

use rollcall_core::run::Run;
use rollcall_core::user_sync::{ReportWhen, UserSync};
use rollcall_store::{NewMail, PageRequest, Store, StoreError};

use super::content::About;
use super::{compose, is_wanted};

/// Issues that a report shows.
const SHOWN_ISSUES: u32 = 20;

/// Writes reports for the outbox. They go there in the transaction that ends or holds the run, so each is
/// written exactly once; from there they are sent at least once.
pub(crate) struct Reports {
    pub(super) store: Store,
    pub(super) enabled: bool,
}

impl Reports {
    /// Nobody gets a report unless mails are sent: `enabled`.
    pub(crate) fn new(store: Store, enabled: bool) -> Self {
        Self { store, enabled }
    }

    /// The mails about a run, which is given as it is about to be stored; one for each recipient, so that an address that is
    /// refused keeps nobody else from reading. None without a run. A report that cannot be written is no reason to fail
    /// the run.
    pub(crate) async fn about(&self, sync: &UserSync, run: Option<Run>) -> Vec<NewMail> {
        let Some(run) = run.filter(|_| sync.settings.report.when != ReportWhen::Never) else {
            return Vec::new();
        };
        match self.write(sync, &run).await {
            Ok(mails) => mails,
            Err(error) => {
                tracing::warn!(run.id = %run.id, %error, "no report could be written");
                Vec::new()
            }
        }
    }

    async fn write(&self, sync: &UserSync, run: &Run) -> Result<Vec<NewMail>, StoreError> {
        let (store, settings) = (&self.store, &sync.settings);
        let (key, id) = (&run.user_sync, run.id);
        if !is_wanted(settings.report.when, run) {
            return Ok(Vec::new());
        }
        if !self.enabled {
            tracing::debug!(run.id = %id, "no report: mail is switched off");
            return Ok(Vec::new());
        }
        let directory = store.directory(&key.tenant, &settings.directory).await?;
        let issues = store
            .list_issues(key, id, None, &PageRequest::first(SHOWN_ISSUES))
            .await?;
        let report = compose(&About {
            run,
            issues: &issues.items,
            user_sync: &settings.display_name,
            directory: &directory.settings.display_name,
            time_zone: settings.time_zone.parse().unwrap_or_default(),
        });
        let mail = |address: &String| NewMail {
            id: format!("{id}.{:?}", run.state).to_lowercase(),
            to: vec![address.clone()],
            subject: report.subject.clone(),
            text: report.text.clone(),
            html: report.html.clone(),
        };
        Ok(settings.report.addresses.iter().map(mail).collect())
    }
}
