//! People who log in by day, and single refreshes.

use anyhow::{Context, Result, bail};
use rollcall_proto::v1;
use rollcall_proto::v1::authenticate_response::Outcome;

use super::Years;
use crate::life::Kind;
use crate::model::{Run, User};
use crate::rollcall::TENANT;

/// Refused without asking the directory.
const UNASKED: [&str; 4] = ["LOCAL_USER", "UNKNOWN_LOGIN", "DEACTIVATED", "AMBIGUOUS_LOGIN"];

impl Years {
    /// People log in, and the product asks for somebody's entry to be read anew.
    pub(super) async fn logins(&mut self, night: usize) -> Result<()> {
        if self.was_away {
            // Changes come to light later while the directory is held to be away.
            return Ok(());
        }
        for kind in [Kind::Login, Kind::Refresh] {
            let count = if self.life.has(kind) {
                self.life.dice.below(4)
            } else {
                0
            };
            for _ in 0..count {
                let users = self.model.users.clone();
                let Some(user) = self.life.dice.pick(&users) else {
                    continue;
                };
                // What a hold is about is not handed out meanwhile; a model of that would be another guard.
                if user.sync.is_some_and(|number| self.model.waits(number)) {
                    continue;
                }
                match kind {
                    Kind::Login => self.login(night, user).await?,
                    _ => self.refresh(night, user).await?,
                }
            }
        }
        Ok(())
    }

    async fn login(&mut self, night: usize, user: &User) -> Result<()> {
        let tree = self.company.server.edit(|tree| tree.clone());
        let mut all = tree.entries().iter();
        let entry = all.find(|entry| entry.text("entryUUID") == Some(user.id.as_str()));
        let right = entry.and_then(|entry| entry.password.clone());
        let right = right.filter(|_| !self.life.dice.one_in(6));
        let password = right.unwrap_or_else(|| format!("wrong in night {night}"));
        let by_mail = !user.email.is_empty() && self.life.dice.one_in(2);
        let typed = if by_mail { &user.email } else { &user.login };
        if typed.is_empty() {
            return Ok(());
        }
        self.story
            .push(format!("night {night}: {typed} logs in with {password:?}"));
        let syncs = &self.company.syncs;
        // By now somebody else may have the login of the user who was picked.
        let subject = self.model.named(typed).map_or(typed, |named| &named.id).clone();
        let (expected, run) = self.model.login(typed, &password, syncs, &tree, self.now);
        let request = v1::AuthenticateRequest {
            tenant: TENANT.to_owned(),
            login: typed.clone(),
            password,
            ..v1::AuthenticateRequest::default()
        };
        let answer = self
            .company
            .rollcall
            .auth()
            .authenticate(request)
            .await?
            .into_inner();
        let outcome = match answer.outcome.context("no outcome")? {
            Outcome::Authenticated(authenticated) => {
                let user = authenticated.user.context("no user")?;
                Ok((user.external_id, user.login))
            }
            Outcome::Denial(denial) => {
                Err(denial.reason().as_str_name().trim_start_matches("DENIAL_REASON_"))
            }
        };
        let reason = self.company.rollcall.last_login().await?;
        // Of refusals without a bind only the first is an event at once; those that follow within a minute are counted.
        let is_first = !UNASKED.contains(&expected.reason) || self.refused.insert((subject, expected.reason));
        let is_told = reason == expected.reason || (reason.is_empty() && !is_first);
        if outcome != expected.outcome || !is_told {
            bail!(
                "night {night}: the login of {typed} should be {expected:?} and is {outcome:?}, since {reason}"
            );
        }
        self.changed(night, &run).await
    }

    async fn refresh(&mut self, night: usize, user: &User) -> Result<()> {
        let tree = self.company.server.edit(|tree| tree.clone());
        let users = self.company.rollcall.all_users().await?;
        let Some(name) = users.iter().find(|found| found.external_id == user.id) else {
            return Ok(());
        };
        self.story
            .push(format!("night {night}: {} is refreshed", user.dn));
        let syncs = &self.company.syncs;
        let run = self.model.refresh(&user.id, syncs, &tree, self.now);
        let request = v1::RefreshUserRequest {
            name: name.name.clone(),
        };
        self.company.rollcall.user_syncs().refresh_user(request).await?;
        self.changed(night, &run).await
    }

    /// What changed outside of runs.
    async fn changed(&mut self, night: usize, run: &Run) -> Result<()> {
        let differs = self.differences(run).await?;
        if differs.is_empty() {
            return Ok(());
        }
        bail!(
            "night {night}, by a login or a refresh: Rollcall and the model differ\n  {}",
            differs.join("\n  ")
        )
    }
}
