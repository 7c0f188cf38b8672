//! The rows of the table in docs/clients.md.

use crate::language::Language;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Feature {
    Login,
    Errors,
    Deadline,
    Retry,
    Control,
    Feed,
    ListAnew,
    Gzip,
    FourMiB,
    Keepalive,
    Balance,
    Metadata,
    NotGrpc,
    UnknownFields,
    BadText,
    Unread,
}

impl Feature {
    pub(crate) const ALL: [Self; 16] = [
        Self::Login,
        Self::Errors,
        Self::Deadline,
        Self::Retry,
        Self::Control,
        Self::Feed,
        Self::ListAnew,
        Self::Gzip,
        Self::FourMiB,
        Self::Keepalive,
        Self::Balance,
        Self::Metadata,
        Self::NotGrpc,
        Self::UnknownFields,
        Self::BadText,
        Self::Unread,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Login => "every denial of a login",
            Self::Errors => "every error that can be provoked, with its details",
            Self::Deadline => "a deadline of 1 ms binds nobody",
            Self::Retry => "retries bind once, though the gateway is killed",
            Self::Control => "the same without a `request_id` binds twice",
            Self::Feed => "the feed through a restart, without loss",
            Self::ListAnew => "listing anew after an expired cursor",
            Self::Gzip => "gzip both ways",
            Self::FourMiB => "large pages within the usual 4 MiB",
            Self::Keepalive => "a silent connection is noticed",
            Self::Balance => "two gateways share the calls, and one may go",
            Self::Metadata => "20 KB of metadata are refused with a reason",
            Self::NotGrpc => "HTTP/1.1 and gRPC-Web are refused in words",
            Self::UnknownFields => "unknown fields change nothing",
            Self::BadText => "a text that is not UTF-8 is refused, in every field",
            Self::Unread => "1,000 streams that nobody reads harm nobody",
        }
    }

    /// Whether the program in this language tries it. What only the server sees is the same from any of them.
    pub(crate) fn is_tried_in(self, language: Language) -> bool {
        self != Self::Unread || language == Language::Go
    }
}
