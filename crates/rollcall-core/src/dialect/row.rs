//! What one kind of directory server is: every way in which it differs from others.

use super::state::{AccountState, Reading};
use crate::external_id::IdKind;

/// One kind of server. No field has a default, so a new kind has to state each of them.
#[derive(Debug)]
pub struct Row {
    /// The stored word. It stays for ever.
    pub word: &'static str,
    /// What the contract calls it, without the enum's prefix.
    pub contract_name: &'static str,
    /// What a check calls it.
    pub name: &'static str,
    /// The servers that the tests ran against, for the README; "none" if there were none.
    pub tried_on: &'static str,
    /// When a server is looked at for the signs of this kind: the lower the sooner, since the first kind that shows is its.
    pub turn: u8,
    /// What shows in a root DSE that a server is of this kind: any of these.
    pub signs: &'static [Sign],

    /// The attributes that may hold the stable id, the best first.
    pub external_ids: &'static [IdKind],
    /// It is not known which of [`external_ids`](Self::external_ids) such a server has.
    pub guesses_external_ids: bool,
    /// The ids that nobody but the server writes, whatever its schema says.
    pub server_written_ids: &'static [IdKind],
    /// An entry can be read, and bound as, by `<GUID=...>` in place of its DN (MS-ADTS 3.1.1.3.1.2.4).
    pub takes_guid_names: bool,
    /// People are in the default naming context alone, and not in all that are not the server's own.
    pub has_one_domain: bool,
    /// Copies of people stand in `cn=compat`, as FreeIPA's plug-in makes them.
    pub has_compat_copies: bool,

    /// How each attribute of the account's state is read.
    pub(super) readings: &'static [(&'static str, Reading)],
    /// The attribute of the state that every account has: an entry that does not show it hides it.
    pub(super) always_present: Option<&'static str>,
    /// How it shows which attributes of the state may not be read.
    pub hidden_state: HiddenState,

    /// The attribute that tells, at a login, when the user's password expires. Other servers tell by controls of the
    /// bind.
    pub login_expiry: Option<&'static str>,
    /// The attributes that tell of any account when its password expires. A server sends them only if asked for them.
    pub password_expiry: &'static [&'static str],
    /// A bind may carry the password policy control (draft-behera-ldap-password-policy-10 6.1).
    pub takes_password_policy: bool,
    /// What its result 49 tells.
    pub refusals: Refusals,
    /// How it answers the right password of an account in this state.
    pub foretell: fn(AccountState) -> Foretold,

    /// A search may ask it not to chase references (LDAP_SERVER_DOMAIN_SCOPE_OID, MS-ADTS 3.1.1.3.4.1.13).
    pub takes_domain_scope: bool,
    /// It follows nested groups by itself (LDAP_MATCHING_RULE_IN_CHAIN, MS-ADTS 3.1.1.3.4.4.3).
    pub has_in_chain: bool,
    /// A group may have a filter in place of members (`groupOfURLs`).
    pub has_computed_groups: bool,
    /// A `groupOfNames` has a member at all times (RFC 4519 sections 3.5 and 3.6).
    pub keeps_a_member: bool,

    /// How it tells what the bind account may do.
    pub privilege: PrivilegeSource,
    /// Where it says after how many wrong passwords it locks an account.
    pub lockout: &'static [LockoutPolicy],
    /// What lets us read that.
    pub lockout_hint: &'static str,
    /// What else counts once it was read. May be empty.
    pub lockout_note: &'static str,
}

/// Something in a root DSE.
#[derive(Clone, Copy, Debug)]
pub enum Sign {
    /// This value of `supportedCapabilities`.
    Capability(&'static str),
    /// This value of `objectClass`.
    ObjectClass(&'static str),
    /// This word, in lower case, in `vendorName` or `vendorVersion`.
    Vendor(&'static str),
    /// This attribute.
    Attribute(&'static str),
}

/// How a server shows that an attribute may not be read, which looks like its absence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HiddenState {
    /// All users have the attributes, so an entry that shows none hides them.
    AbsentFromAll,
    /// A filter on such an attribute is Undefined (RFC 4511 section 4.5.1.7).
    UndefinedInFilters,
    /// It does not show.
    Untold,
}

/// What a server's result 49 tells of the password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusals {
    /// The diagnostic message has a code, which says whether the password was right.
    Coded,
    /// The password was right if it is refused because of its age.
    AgesAfterCompare,
    /// Nobody knows in which order it looks.
    Unordered,
}

/// The answer to a right password.
#[derive(Clone, Copy, Default, Debug)]
pub struct Foretold {
    /// The result code.
    pub result_code: u32,
    /// The diagnostic message.
    pub diagnostic: &'static str,
    /// The Netscape control that tells of an expired password.
    pub netscape_expired: bool,
    /// The password policy control says that the password must be changed.
    pub change_after_reset: bool,
}

/// How a server tells what an account may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrivilegeSource {
    /// Computed attributes name what may be written (MS-ADTS 3.1.1.4.5).
    AllowedAttributes,
    /// The control Get Effective Rights (draft-ietf-ldapext-acl-model).
    EffectiveRights,
    /// It does not tell; some things show nevertheless, slapd-config(5) among them if there is one.
    Signs {
        /// Whether the configuration is in `cn=config`.
        has_configuration: bool,
    },
}

/// Where a policy of wrong passwords stands, and how it is written.
#[derive(Debug)]
pub struct LockoutPolicy {
    /// Where.
    pub base: LockoutBase,
    /// Which entries.
    pub filter: &'static str,
    /// The attribute that switches it on, and whether it is off where the attribute is absent: otherwise it is unknown.
    pub switch: Option<(&'static str, bool)>,
    /// Wrong passwords until an account is locked.
    pub threshold: &'static str,
    /// How long they are remembered.
    pub window: &'static str,
    /// The window is a negative number of 100 ns, and not one of seconds.
    pub window_in_ticks: bool,
}

/// Where policies stand.
#[derive(Clone, Copy, Debug)]
pub enum LockoutBase {
    /// In the first entry of each naming context that holds data.
    NamingContexts,
    /// Anywhere in them.
    BelowNamingContexts,
    /// Right below this container of each.
    Container(&'static str),
    /// In this entry.
    Entry(&'static str),
}
