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
