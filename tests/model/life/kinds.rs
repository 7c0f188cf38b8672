//! What can happen, each by its name.

/// A kind of change. Each can be switched on by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Somebody new, in any of the two units.
    Hire,
    /// The entry is deleted.
    Delete,
    /// The account is locked by an administrator; or, later, unlocked.
    Disable,
    /// The account's last day comes; or is put off.
    Expire,
    /// The entry moves where no sync looks; or back.
    Move,
    /// The entry moves to the other sync's unit.
    Transfer,
    /// Locked, and the login renamed to `zz$login`.
    Offboard,
    /// The login is gone, or comes back.
    EmptyLogin,
    /// The mail address is gone, or comes back.
    EmptyMail,
    /// A new family name, with display name and mail address.
    Marry,
    /// A new login.
    Rename,
    /// Two people swap mail addresses, or three in a circle.
    SwapMails,
    /// Two people swap logins, or three in a circle.
    SwapLogins,
    /// Two or three people of both units hand on logins, or mail addresses, in a circle.
    Exchange,
    /// Somebody deleted is restored, with the same id.
    Restore,
    /// Somebody deleted is hired again: a new id, the same login.
    Rehire,
    /// A second mail address of one's own, or none any more.
    SecondMail,
    /// A second login of one's own, or none any more.
    SecondLogin,
    /// Somebody writes another's mail address into the own entry, before or after the own one.
    CopyMail,
    /// Somebody writes another's login into the own entry.
    CopyLogin,
    /// An entry is copied, its id too: a careless restore, or a template.
    CopyEntry,
    /// The account's lock has several values, or is no time; or is gone again.
    OddLock,
    /// Into the admins' group, or out of it.
    Group,
    /// To boss, or no longer.
    Boss,
    /// Another telephone number, or none.
    Phone,
    /// A mail address that is none.
    BadMail,
    /// A telephone number that is too long.
    LongPhone,
    /// A family name in Latin-1, as an old directory has it; or mended.
    Latin1,
    /// The worker is killed in the middle of a run, and another one carries it on.
    Kill,
    /// For a night the directory does not answer.
    Outage,
    /// For a night its answers end early.
    Cut,
    /// For a night the bind account may not read an attribute.
    Unreadable,
    /// For a night somebody cannot be seen.
    Invisible,
    /// Many people at once: out of the unit, without a telephone, or disabled.
    Mass,
    /// What is held is released, or cancelled; else the next night supersedes it.
    Decide,
    /// A preview before the run, which is applied now and then.
    Preview,
    /// The rules for roles are edited.
    Rules,
    /// Where display names come from is edited.
    Mapping,
    /// The searches are edited: they leave bosses out, or not any more.
    Searches,
    /// Somebody of the product's own has a login that somebody in the directory has or will have.
    Local,
    /// Nights are a day apart in some lives, so that the guard's window counts.
    Daily,
    /// Missing users are left alone in some lives.
    IgnoreMissing,
    /// New people are left alone in some lives, from the second night on.
    IgnoreNew,
    /// Changed people are left alone in some lives.
    IgnoreExisting,
    /// LOCAL users are linked in some lives.
    Overwrite,
    /// People log in by day, by login and by mail, some with a wrong password.
    Login,
    /// The product has somebody's entry read anew.
    Refresh,
}

impl Kind {
    pub(crate) const ALL: [Kind; 47] = [
        Kind::Hire,
        Kind::Delete,
        Kind::Disable,
        Kind::Expire,
        Kind::Move,
        Kind::Transfer,
        Kind::Offboard,
        Kind::EmptyLogin,
        Kind::EmptyMail,
        Kind::Marry,
        Kind::Rename,
        Kind::SwapMails,
        Kind::SwapLogins,
        Kind::Exchange,
        Kind::Restore,
        Kind::Rehire,
        Kind::SecondMail,
        Kind::SecondLogin,
        Kind::CopyMail,
        Kind::CopyLogin,
        Kind::CopyEntry,
        Kind::OddLock,
        Kind::Group,
        Kind::Boss,
        Kind::Phone,
        Kind::BadMail,
        Kind::LongPhone,
        Kind::Latin1,
        Kind::Kill,
        Kind::Outage,
        Kind::Cut,
        Kind::Unreadable,
        Kind::Invisible,
        Kind::Mass,
        Kind::Decide,
        Kind::Preview,
        Kind::Rules,
        Kind::Mapping,
        Kind::Searches,
        Kind::Local,
        Kind::Daily,
        Kind::IgnoreMissing,
        Kind::IgnoreNew,
        Kind::IgnoreExisting,
        Kind::Overwrite,
        Kind::Login,
        Kind::Refresh,
    ];
}
