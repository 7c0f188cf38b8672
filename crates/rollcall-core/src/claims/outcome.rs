//! What becomes of a claimant.

/// What became of one wish.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Settled {
    /// Nothing else was asked for.
    #[default]
    Unasked,
    /// The person gets it.
    Granted,
    /// The person does not get it.
    Refused(Refusal),
}

/// Why a wish is not granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The entry of this claimant offers it or asks for it too.
    Rival(usize),
    /// This claimant holds it and does not release it, although its entry does not offer it any more.
    NotReleased(usize),
    /// Somebody has it whom this run does not change.
    Outside,
}

/// What became of a claimant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// The login that it asked for.
    pub login: Settled,
    /// The e-mail address that it asked for.
    pub email: Settled,
    /// It is deactivated, and an enabled entry gets its login.
    pub gives_up_login: bool,
    /// It is deactivated, and the enabled entry of this claimant gets its e-mail address.
    pub gives_up_email: Option<usize>,
    /// It keeps a login that its entry does not offer any more, and this claimant's enabled entry asks for it.
    pub ambiguous_with: Option<usize>,
    /// What it gets from others, who must release it first.
    pub needs: Vec<(String, usize)>,
}
