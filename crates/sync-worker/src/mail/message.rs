//! A mail as it goes over the wire (RFC 5322).

use chrono::{DateTime, Utc};
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use rollcall_store::NewMail;

/// A message with text and HTML as alternatives. The header fields are encoded, so that no text can add one.
///
/// # Errors
/// An address that is not valid, or no recipient.
pub(super) fn build(
    mail: &NewMail,
    from: &Mailbox,
    now: DateTime<Utc>,
) -> Result<Message, lettre::error::Error> {
    let mut builder = Message::builder()
        .from(from.clone())
        .date(now.into())
        .message_id(Some(format!("<rollcall.{}@{}>", mail.id, from.email.domain())))
        // RFC 3834: automatic responders must not answer.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .subject(mail.subject.as_str());
    for address in &mail.to {
        let address = address.parse().map_err(|_| lettre::error::Error::MissingTo)?;
        builder = builder.to(Mailbox::new(None, address));
    }
    builder.multipart(MultiPart::alternative_plain_html(
        mail.text.clone(),
        mail.html.clone(),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mail(to: &str, subject: &str) -> NewMail {
        NewMail {
            id: "run.held".into(),
            to: vec![to.into()],
            subject: subject.into(),
            text: ".\r\nBcc: text@example.org\r\n".into(),
            html: "<p>ü</p>".into(),
        }
    }

    fn built(mail: &NewMail) -> Result<String, lettre::error::Error> {
        let from = "Rollcall <rollcall@example.org>".parse().unwrap();
        let now = "2026-03-02T07:00:00Z".parse().unwrap();
        build(mail, &from, now).map(|message| String::from_utf8(message.formatted()).unwrap())
    }

    #[test]
    fn a_subject_cannot_add_a_header_field() {
        for subject in [
            "a\r\nBcc: evil@example.org",
            "a\nBcc: evil@example.org",
            "é\r\n\r\n<html>",
            "=?utf-8?q?=0D=0ABcc:_evil@example.org?=",
        ] {
            let text = built(&mail("admin@example.org", subject)).unwrap();
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            let names: Vec<_> = head
                .split("\r\n")
                .filter(|line| !line.starts_with(' '))
                .map(|line| line.split(':').next().unwrap())
                .collect();
            let expected = [
                "From",
                "Date",
                "Message-ID",
                "Auto-Submitted",
                "Subject",
                "To",
                "MIME-Version",
                "Content-Type",
            ];
            assert_eq!(names, expected, "{head}");
        }
    }

    #[test]
    fn the_message_id_stays_the_same_over_retries() {
        let text = built(&mail("admin@example.org", "a")).unwrap();
        assert!(
            text.contains("Message-ID: <rollcall.run.held@example.org>"),
            "{text}"
        );
        assert!(text.contains("Date: Mon, 02 Mar 2026 07:00:00 +0000"), "{text}");
    }

    #[test]
    fn an_address_that_is_none_is_an_error() {
        for to in [
            "",
            "admin",
            "a@b\r\nRCPT TO:<evil@example.org>",
            "a b@example.org",
        ] {
            assert!(built(&mail(to, "a")).is_err(), "{to}");
        }
    }
}
