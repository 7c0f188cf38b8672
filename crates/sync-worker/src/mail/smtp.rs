//! The way to the SMTP server: always under TLS with a verified certificate.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use parking_lot::RwLock;
use rollcall_runtime::config::Mistakes;
use rollcall_store::NewMail;

use super::message;
use super::settings::{Mail, Security};

/// Sends single mails, each over a connection of its own. Clones share the account, also when it is replaced.
#[derive(Clone)]
pub struct Smtp(Arc<RwLock<Account>>);

/// How mails are handed to the server.
#[derive(Clone)]
struct Account {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
}

/// Why a mail was not sent. What the server wrote is left out: it repeats addresses.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendProblem {
    #[error("the mail has no valid recipient")]
    Unsendable,
    #[error("the server refused it with code {0}")]
    Refused(u16),
    #[error("no TLS with the server")]
    Tls,
    #[error("the server does not answer in time")]
    Timeout,
    #[error("the server does not offer what is configured")]
    Unsupported,
    #[error("the server cannot be reached")]
    Unreachable,
}

impl SendProblem {
    /// True if another attempt could only fail the same way. A refusal is not final: the server may refuse because of
    /// the sender or of the account, which an operator can mend. Until then no mail must be lost.
    pub(super) fn is_final(&self) -> bool {
        *self == Self::Unsendable
    }
}

impl Smtp {
    /// Reads the files that the settings name; connects to nothing.
    ///
    /// # Errors
    /// Files that cannot be read or hold something else, all of them, and a sender that is no address.
    pub fn open(settings: &Mail) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let mut tls = TlsParameters::builder(settings.host.clone());
        if let Some(path) = &settings.ca_file {
            match fs::read(path) {
                Ok(pem) => match Certificate::from_pem(&pem) {
                    Ok(certificate) => tls = tls.add_root_certificate(certificate),
                    Err(_) => mistakes.add("mail.ca_file", "holds no PEM certificate"),
                },
                Err(error) => {
                    mistakes.add("mail.ca_file", format!("cannot read {}: {error}", path.display()))
                }
            }
        }
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.clone())
            .port(settings.port)
            .timeout(Some(settings.timeout));
        if let Some(path) = &settings.password_file {
            match fs::read_to_string(path) {
                Ok(text) => {
                    let password = text.trim_end_matches(['\r', '\n']).to_owned();
                    transport = transport.credentials(Credentials::new(settings.username.clone(), password));
                }
                Err(error) => {
                    mistakes.add(
                        "mail.password_file",
                        format!("cannot read {}: {error}", path.display()),
                    );
                }
            }
        }
        let from = settings
            .from
            .parse()
            .map_err(|_| mistakes.add("mail.from", "is no e-mail address"));
        let tls = tls
            .build_rustls()
            .map_err(|_| mistakes.add("mail.ca_file", "holds a certificate that is no authority's"));
        let (Ok(from), Ok(tls), true) = (from, tls, mistakes.iter().next().is_none()) else {
            return Err(mistakes);
        };
        let tls = match settings.security {
            Security::StartTls => Tls::Required(tls),
            Security::Tls => Tls::Wrapper(tls),
        };
        Ok(Self(Arc::new(RwLock::new(Account {
            transport: transport.tls(tls).build(),
            from,
            timeout: settings.timeout,
        }))))
    }

    /// Sends with the account of `other` from now on.
    pub(crate) fn replace(&self, other: &Self) {
        let account = other.0.read().clone();
        *self.0.write() = account;
    }

    /// Hands a mail to the server, which is responsible for it once this has succeeded.
    pub(super) async fn send(&self, mail: &NewMail, now: DateTime<Utc>) -> Result<(), SendProblem> {
        let Account {
            transport,
            from,
            timeout,
        } = self.0.read().clone();
        let message = message::build(mail, &from, now).map_err(|_| SendProblem::Unsendable)?;
        match tokio::time::timeout(timeout, transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(problem(&error)),
            Err(_) => Err(SendProblem::Timeout),
        }
    }
}

fn problem(error: &lettre::transport::smtp::Error) -> SendProblem {
    match error.status() {
        Some(code) => SendProblem::Refused(code.into()),
        None if error.is_timeout() => SendProblem::Timeout,
        None if error.is_tls() => SendProblem::Tls,
        None if error.is_client() || error.is_response() => SendProblem::Unsupported,
        None => SendProblem::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mail_that_cannot_be_written_is_given_up_at_once() {
        for problem in [
            SendProblem::Refused(550),
            SendProblem::Tls,
            SendProblem::Timeout,
            SendProblem::Unsupported,
            SendProblem::Unreachable,
        ] {
            assert!(!problem.is_final(), "{problem}");
        }
        assert!(SendProblem::Unsendable.is_final());
    }
}
