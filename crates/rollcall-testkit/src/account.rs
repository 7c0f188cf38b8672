/// Somebody who may log in to a test server.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The entry's DN, as the server writes it.
    pub dn: String,
    /// The login: `sAMAccountName` or `uid`.
    pub login: String,
    /// The password, another one on every machine.
    pub password: String,
}

impl Account {
    /// The one of this login among those of a server.
    #[expect(clippy::expect_used, reason = "tests ask for those that there are")]
    pub(crate) fn of(accounts: &[Self], login: &str) -> Self {
        let account = accounts.iter().find(|account| account.login == login);
        account
            .cloned()
            .expect("every login that is asked for is in the list of accounts")
    }
}
