//! From a run to the mails about it.

use rollcall_core::id::TenantId;
use rollcall_core::issue::Issue;
use rollcall_core::run::{Run, RunState, RunTrigger};
use rollcall_core::user_sync::{ReportWhen, UserSync};
use rollcall_store::{MailPurpose, Mailing, NewMail, PageRequest, Store, StoreError};

use super::content::About;
use super::news::{Issues, is_news, known_after};
use super::own_domains::OwnDomains;
use super::{compose, is_wanted};
use crate::mail::MailLimits;

/// Issues that a report shows.
const SHOWN_ISSUES: usize = 20;
/// Issues read from the store at a time.
const ISSUES_AT_ONCE: u32 = 1_000;

/// Writes reports for the outbox. They go there in the transaction that ends or holds the run, so each is written
/// exactly once; after that each is sent at least once.
pub(crate) struct Reports {
    pub(super) store: Store,
    /// `None` while no mails are sent.
    pub(super) limits: Option<MailLimits>,
}

impl Reports {
    /// Writes reports within these limits, or none if mails are not sent.
    pub(crate) fn new(store: Store, limits: Option<MailLimits>) -> Self {
        Self { store, limits }
    }

    /// The mails about a run, which is given as it is about to be stored. There is one mail for each recipient, so that
    /// one refused address does not keep others from getting theirs. None without a run. A report that cannot be
    /// written does not fail the run.
    pub(crate) async fn about(&self, sync: &UserSync, run: Option<Run>) -> Mailing {
        let Some(run) = run.filter(|_| sync.settings.report.when != ReportWhen::Never) else {
            return Mailing::default();
        };
        match self.write(sync, &run).await {
            Ok(mailing) => mailing,
            Err(error) => {
                tracing::warn!(run.id = %run.id, %error, "no report could be written");
                Mailing::default()
            }
        }
    }

    async fn write(&self, sync: &UserSync, run: &Run) -> Result<Mailing, StoreError> {
        let (store, settings) = (&self.store, &sync.settings);
        let (key, id) = (&run.user_sync, run.id);
        let wanted = &settings.report;
        let Some(limits) = self.limits else {
            tracing::debug!(run.id = %id, "no report: mail is switched off");
            return Ok(Mailing::default());
        };
        let told = store.told(key).await?;
        let (issues, shown) = self.issues(run).await?;
        let known = known_after(run, &issues, &wanted.addresses, &told);
        // That something is right again is not reported, but it counts as known from then on.
        if !is_wanted(wanted.when, run) {
            return Ok(Mailing {
                told: known.filter(|_| run.state == RunState::Succeeded),
                ..Mailing::default()
            });
        }
        if !is_news(wanted.when, &told, known.as_ref()) {
            tracing::info!(run.id = %id, "no report: nothing is new since the last one");
            return Ok(Mailing::default());
        }
        let directory = store.directory(&key.tenant, &settings.directory).await?;
        let report = compose(&About {
            run,
            issues: &shown,
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
        let mails = wanted.addresses.iter().map(mail).collect();
        let mailing = self.addressed(&key.tenant, purpose(run), limits, mails).await?;
        Ok(Mailing {
            told: known,
            ..mailing
        })
    }

    /// These mails, without those to domains that mails may not go to.
    pub(super) async fn addressed(
        &self,
        tenant: &TenantId,
        purpose: MailPurpose,
        limits: MailLimits,
        mut mails: Vec<NewMail>,
    ) -> Result<Mailing, StoreError> {
        let wanted = mails.len();
        if limits.only_verified_domains {
            let own = OwnDomains::of(&self.store, tenant).await?;
            mails.retain(|mail| mail.to.iter().all(|address| own.have(address)));
        }
        let unverified = u32::try_from(wanted - mails.len()).unwrap_or(u32::MAX);
        if unverified > 0 {
            tracing::warn!(%tenant, unverified, "mails are not sent: the domains of their addresses are not verified for the tenant");
        }
        Ok(Mailing {
            mails,
            purpose,
            per_day: match purpose {
                MailPurpose::Report => limits.reports_per_day,
                MailPurpose::Alarm | MailPurpose::Endpoint | MailPurpose::Reminder => limits.alarms_per_day,
            },
            unverified,
            told: None,
        })
    }

    /// All issues of a run, and the first of them.
    async fn issues(&self, run: &Run) -> Result<(Issues, Vec<Issue>), StoreError> {
        let (mut all, mut shown) = (Issues::default(), Vec::new());
        let mut page = PageRequest::first(ISSUES_AT_ONCE);
        loop {
            let found = self
                .store
                .list_issues(&run.user_sync, run.id, None, &page)
                .await?;
            for issue in found.items {
                all.add(&issue);
                if shown.len() < SHOWN_ISSUES {
                    shown.push(issue);
                }
            }
            match found.next {
                Some(next) => page.after = Some(next),
                None => return Ok((all, shown)),
            }
        }
    }
}

/// Mails that callers can bring about must not use up the budget of alarms.
fn purpose(run: &Run) -> MailPurpose {
    let is_alarm = matches!(run.state, RunState::Held | RunState::Failed | RunState::Expired);
    match is_alarm && run.trigger != RunTrigger::Call {
        true => MailPurpose::Alarm,
        false => MailPurpose::Report,
    }
}
