//! Result codes (RFC 4511 section 4.1.9) and what they mean for a search or a service bind.

use std::fmt;

/// A result code as the server sent it. Servers use codes beyond the RFC's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ResultCode(pub u32);

/// What a result code says about the answer that it ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ResultClass {
    /// The operation was done.
    Success,
    /// The answer is true but cut short: size, time or administrative limit.
    Truncated,
    /// The server refers to another one.
    Referral,
    /// The server is busy, unwilling or broken at the moment; another one may do better.
    Infrastructure,
    /// The server wants a protected connection or another way of authenticating.
    Configuration,
    /// The name or the password is not accepted.
    Credentials,
    /// The object or attribute asked for is not there.
    NotFound,
    /// The account may not do this.
    Access,
    /// Anything else.
    Other,
}

impl ResultCode {
    /// `success`.
    pub const SUCCESS: Self = Self(0);
    /// `timeLimitExceeded`.
    pub(crate) const TIME_LIMIT_EXCEEDED: Self = Self(3);
    /// `sizeLimitExceeded`.
    pub const SIZE_LIMIT_EXCEEDED: Self = Self(4);
    /// `adminLimitExceeded`; OpenLDAP's answer to a page size that it does not allow.
    pub const ADMIN_LIMIT_EXCEEDED: Self = Self(11);
    /// `unavailableCriticalExtension`; also Active Directory's answer to a lost paging cookie.
    pub(crate) const UNAVAILABLE_CRITICAL_EXTENSION: Self = Self(12);
    /// `noSuchObject`.
    pub const NO_SUCH_OBJECT: Self = Self(32);
    /// `invalidCredentials`.
    pub const INVALID_CREDENTIALS: Self = Self(49);
    /// `unwillingToPerform`.
    pub const UNWILLING_TO_PERFORM: Self = Self(53);

    /// What the code says.
    pub fn class(self) -> ResultClass {
        match self.0 {
            0 => ResultClass::Success,
            3 | 4 | 11 => ResultClass::Truncated,
            9 | 10 => ResultClass::Referral,
            1 | 2 | 12 | 14 | 51 | 52 | 54 | 80 => ResultClass::Infrastructure,
            7 | 8 | 13 => ResultClass::Configuration,
            48 | 49 => ResultClass::Credentials,
            16 | 32 | 34 => ResultClass::NotFound,
            50 => ResultClass::Access,
            _ => ResultClass::Other,
        }
    }

    /// True if another host may do better.
    pub fn is_infrastructure(self) -> bool {
        matches!(self.class(), ResultClass::Infrastructure | ResultClass::Referral)
    }

    /// The name that RFC 4511 gives the code; empty for one that it does not have.
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "success",
            1 => "operationsError",
            2 => "protocolError",
            3 => "timeLimitExceeded",
            4 => "sizeLimitExceeded",
            5 => "compareFalse",
            6 => "compareTrue",
            7 => "authMethodNotSupported",
            8 => "strongerAuthRequired",
            10 => "referral",
            11 => "adminLimitExceeded",
            12 => "unavailableCriticalExtension",
            13 => "confidentialityRequired",
            14 => "saslBindInProgress",
            16 => "noSuchAttribute",
            17 => "undefinedAttributeType",
            18 => "inappropriateMatching",
            19 => "constraintViolation",
            20 => "attributeOrValueExists",
            21 => "invalidAttributeSyntax",
            32 => "noSuchObject",
            33 => "aliasProblem",
            34 => "invalidDNSyntax",
            36 => "aliasDereferencingProblem",
            48 => "inappropriateAuthentication",
            49 => "invalidCredentials",
            50 => "insufficientAccessRights",
            51 => "busy",
            52 => "unavailable",
            53 => "unwillingToPerform",
            54 => "loopDetect",
            64 => "namingViolation",
            65 => "objectClassViolation",
            66 => "notAllowedOnNonLeaf",
            67 => "notAllowedOnRDN",
            68 => "entryAlreadyExists",
            69 => "objectClassModsProhibited",
            71 => "affectsMultipleDSAs",
            80 => "other",
            _ => "",
        }
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "" => write!(f, "{}", self.0),
            name => write!(f, "{} ({name})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_never_success_and_a_referral_is_no_answer() {
        for code in [3, 4, 11] {
            assert_eq!(ResultCode(code).class(), ResultClass::Truncated);
        }
        assert_eq!(ResultCode(10).class(), ResultClass::Referral);
        assert_eq!(ResultCode(16654).class(), ResultClass::Other);
        assert_eq!(ResultCode(49).to_string(), "49 (invalidCredentials)");
        assert_eq!(ResultCode(92).to_string(), "92");
    }
}
