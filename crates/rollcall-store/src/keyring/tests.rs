#![allow(clippy::unwrap_used)]
use super::*;

fn keyring(ids: &[(&str, u8)]) -> Keyring {
    let lines: Vec<String> = ids
        .iter()
        .map(|(id, byte)| format!("{id} {}", STANDARD.encode([*byte; 32])))
        .collect();
    Keyring::parse(&lines.join("\n")).ok().unwrap()
}

const OWNER: SealedFor<'static> = SealedFor {
    tenant: "acme",
    directory: "main",
    kind: "bind-password",
};

#[test]
fn a_sealed_secret_opens_for_its_owner_only() {
    let keys = keyring(&[("k1", 1)]);
    let sealed = keys.seal(OWNER, b"tulip").unwrap();
    assert!(!sealed.windows(5).any(|window| window == b"tulip"));
    assert_eq!(keys.open(OWNER, &sealed).unwrap().as_slice(), b"tulip");
    for other in [
        SealedFor {
            tenant: "evil",
            ..OWNER
        },
        SealedFor {
            directory: "other",
            ..OWNER
        },
        SealedFor {
            kind: "client-key",
            ..OWNER
        },
    ] {
        assert!(keys.open(other, &sealed).is_err());
    }
}

#[test]
fn an_altered_secret_does_not_open() {
    let keys = keyring(&[("k1", 1)]);
    let sealed = keys.seal(OWNER, b"tulip").unwrap();
    for index in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[index] ^= 1;
        assert!(keys.open(OWNER, &altered).is_err(), "byte {index}");
        assert!(keys.open(OWNER, &sealed[..index]).is_err(), "cut at {index}");
    }
}

#[test]
fn a_rotated_keyring_opens_the_old_and_seals_with_the_new() {
    let sealed = keyring(&[("k1", 1)]).seal(OWNER, b"tulip").unwrap();
    let both = keyring(&[("k2", 2), ("k1", 1)]);
    assert_eq!(both.open(OWNER, &sealed).unwrap().as_slice(), b"tulip");
    let rewrapped = both.rewrap(OWNER, &sealed).unwrap().unwrap();
    assert!(both.rewrap(OWNER, &rewrapped).unwrap().is_none());
    let new = keyring(&[("k2", 2)]);
    assert_eq!(new.open(OWNER, &rewrapped).unwrap().as_slice(), b"tulip");
    assert!(matches!(new.open(OWNER, &sealed), Err(StoreError::KeyMissing { key_id }) if key_id == "k1"));
}

#[test]
fn a_keyring_names_the_wrong_line() {
    let good = STANDARD.encode([1; 32]);
    let problem = |text: &str| Keyring::parse(text).err();
    assert_eq!(problem(""), Some(KeyringProblem::Empty));
    assert_eq!(problem("# none\n\n"), Some(KeyringProblem::Empty));
    assert_eq!(problem(&format!("k1 {good}\nk2")), Some(KeyringProblem::Line(2)));
    assert_eq!(problem("k1 dG9vIHNob3J0"), Some(KeyringProblem::Line(1)));
    assert_eq!(problem(&format!("K1 {good}")), Some(KeyringProblem::Line(1)));
    assert_eq!(
        problem(&format!("k1 {good}\nk1 {good}")),
        Some(KeyringProblem::Repeated(2))
    );
    assert_eq!(
        Keyring::parse(&format!("# x\n k2  {good} \n"))
            .ok()
            .unwrap()
            .current_id(),
        "k2"
    );
}
