//! Label values that no other type of Rollcall defines.

use rollcall_core::audit::LoginOutcome;
use rollcall_core::text_enum;

text_enum! {
    /// A step of a login.
    pub enum LoginStage {
        /// Finding the user whom the login means.
        Resolve = "resolve",
        /// Reserving a slot of the soft lock.
        Reserve = "reserve",
        /// Trying the password at the directory, or waiting in its place.
        Verify = "verify",
        /// Dealing with what the entry shows.
        Reconcile = "reconcile",
        /// The commit.
        Record = "record",
        /// The whole login.
        Whole = "whole",
    }
}

text_enum! {
    /// What connections to a directory are for.
    pub enum Pool {
        /// Searches, as the service account.
        Service = "service",
        /// Password checks.
        Bind = "bind",
    }
}

text_enum! {
    /// What connections do.
    pub enum Connections {
        /// Nothing at the moment.
        Idle = "idle",
        /// An operation.
        Busy = "busy",
    }
}

text_enum! {
    /// Whether a host is tried.
    pub enum Breaker {
        /// It is.
        Closed = "closed",
        /// It failed, and is left alone or tried once in a while.
        Open = "open",
    }
}

text_enum! {
    /// An operation on a directory.
    pub enum LdapOperation {
        /// A connection with its TLS, and the service account's bind.
        Open = "open",
        /// A password's bind.
        Bind = "bind",
        /// A search request, or a page of one.
        Search = "search",
    }
}

text_enum! {
    /// How an operation on a directory ended.
    pub enum LdapEnd {
        /// With an answer.
        Answered = "answered",
        /// The server refused it, or the service account.
        Refused = "refused",
        /// There was no answer in time.
        Timeout = "timeout",
        /// No connection came about.
        Unreachable = "unreachable",
        /// No TLS came about.
        Tls = "tls",
        /// The connection broke.
        Lost = "lost",
        /// The server broke the protocol.
        Protocol = "protocol",
        /// Too much was under way.
        Busy = "busy",
        /// This process has no connection left.
        Exhausted = "exhausted",
        /// The host is left alone.
        BreakerOpen = "breaker_open",
        /// The settings or the egress policy do not allow it.
        Misconfigured = "misconfigured",
    }
}

text_enum! {
    /// What a server answered to a password's bind: the result, and Active Directory's sub-code after a hyphen.
    pub enum BindEnd {
        /// 0.
        Success = "success",
        /// 49, without a sub-code.
        Invalid = "invalid_credentials",
        /// 49, data 525: no such user.
        NoUser = "invalid_credentials-525",
        /// 49, data 52e: wrong password.
        WrongPassword = "invalid_credentials-52e",
        /// 49, data 530: not at this time.
        Hours = "invalid_credentials-530",
        /// 49, data 531: not from there.
        Workstation = "invalid_credentials-531",
        /// 49, data 532: password expired.
        PasswordExpired = "invalid_credentials-532",
        /// 49, data 533: disabled.
        Disabled = "invalid_credentials-533",
        /// 49, data 701: account expired.
        AccountExpired = "invalid_credentials-701",
        /// 49, data 773: the password must change.
        MustChange = "invalid_credentials-773",
        /// 49, data 775: locked.
        Locked = "invalid_credentials-775",
        /// 49, with another sub-code.
        OtherSubCode = "invalid_credentials-other",
        /// 19: a policy forbids it, often a lockout.
        Constraint = "constraint_violation",
        /// 8 or 13: not on such a connection.
        StrongerAuth = "stronger_auth_required",
        /// 48.
        Inappropriate = "inappropriate_authentication",
        /// 51.
        Busy = "busy",
        /// 52.
        Unavailable = "unavailable",
        /// 53.
        Unwilling = "unwilling_to_perform",
        /// Any other result.
        OtherResult = "other",
        /// Nothing was sent.
        NotSent = "not_sent",
        /// It was sent, and no answer came.
        NoAnswer = "no_answer",
    }
}

text_enum! {
    /// How a run ended, or what it waits for.
    pub enum RunEnd {
        /// It is a preview, whose plan is ready.
        Planned = "planned",
        /// It is held for a person to look at.
        Held = "held",
        /// All done.
        Succeeded = "succeeded",
        /// All done but what issues name.
        SucceededWithIssues = "succeeded_with_issues",
        /// Without doing its work.
        Failed = "failed",
        /// A person stopped it.
        Cancelled = "cancelled",
        /// Its plan became worthless.
        Superseded = "superseded",
        /// Nobody applied it in time.
        Expired = "expired",
    }
}

text_enum! {
    /// A part of a run.
    pub enum RunPhase {
        /// The entries are read and planned for.
        Pull = "pull",
        /// Those who are absent are confirmed by id.
        Absences = "absences",
        /// The claims are settled and the guard looks.
        Judge = "judge",
        /// The plan is written.
        Apply = "apply",
    }
}

text_enum! {
    /// A change of a user by a run.
    pub enum UserChange {
        /// A new user.
        Created = "created",
        /// A user was changed.
        Updated = "updated",
        /// A user came back.
        Reactivated = "reactivated",
        /// A user lost access.
        Removed = "removed",
    }
}

text_enum! {
    /// What became of a pending bind password that was tried.
    pub enum PendingPassword {
        /// The directory accepted it.
        Accepted = "accepted",
        /// The directory refused it too.
        Refused = "refused",
        /// The directory did not say.
        Unanswered = "unanswered",
    }
}

text_enum! {
    /// What became of an attempt to send a mail.
    pub enum SentMail {
        /// The mail server took it.
        Sent = "sent",
        /// It is tried again.
        Deferred = "deferred",
        /// It failed too often, or never can be sent.
        GivenUp = "given_up",
    }
}

text_enum! {
    /// What has an end.
    pub enum Expiring {
        /// The certificate that this process shows.
        ServerCertificate = "server_certificate",
        /// The authorities of callers' certificates.
        ClientAuthority = "client_authority",
        /// The certificate that this process shows to a service that it calls, and the authorities of such services.
        OutgoingCertificate = "outgoing_certificate",
        /// Callers' tokens.
        CallerToken = "caller_token",
        /// Certificates that hosts of directories showed.
        DirectoryCertificate = "directory_certificate",
    }
}

text_enum! {
    /// The result of reloading the files.
    pub enum Reload {
        /// They are in use.
        Taken = "taken",
        /// A mistake kept the old ones.
        Refused = "refused",
    }
}

text_enum! {
    /// What is asked of the database.
    pub enum Statement {
        /// A statement that returns rows.
        Query = "query",
        /// A statement that changes rows.
        Change = "change",
        /// The begin of a transaction, with the wait for a connection.
        Begin = "begin",
        /// What reads for logins, many at once.
        LoginRead = "login_read",
        /// What commits logins, many at once.
        LoginCommit = "login_commit",
    }
}

pub(crate) fn outcome_label(outcome: LoginOutcome) -> &'static str {
    match outcome {
        LoginOutcome::Authenticated => "authenticated",
        LoginOutcome::Denied => "denied",
        LoginOutcome::Error => "error",
        LoginOutcome::Newer(_) => "unknown",
    }
}
