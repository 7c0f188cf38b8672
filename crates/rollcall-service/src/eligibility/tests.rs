#![allow(clippy::unwrap_used)]
use chrono::DateTime;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId, Uuid};
use rollcall_core::revision::Revision;
use rollcall_core::user::{Block, Profile, User};

use super::*;

fn target() -> LoginTarget {
    let (user_sync, directory) = (
        UserSyncId::parse("staff").unwrap(),
        DirectoryId::parse("hq").unwrap(),
    );
    LoginTarget {
        user: User {
            tenant: TenantId::parse("acme").unwrap(),
            id: UserId(Uuid::from_u128(1)),
            origin: Some(Origin {
                user_sync: user_sync.clone(),
                directory: directory.clone(),
                external_id: ExternalId::from_bytes(IdKind::EntryUuid, &[1; 16]).unwrap(),
                dn: "uid=ada,dc=acme".into(),
                linked: false,
            }),
            profile: Profile::default(),
            state: UserState::Active,
            state_reason: None,
            login_ambiguous: false,
            login_asked_by: None,
            owner: false,
            block: None,
            revision: Revision::FIRST,
            create_time: DateTime::UNIX_EPOCH,
            update_time: DateTime::UNIX_EPOCH,
        },
        tenant_enabled: true,
        tenant_revision: Revision::FIRST,
        sync: Some(LoginSync {
            user_sync,
            in_force_revision: None,
            user_sync_revision: Revision::FIRST,
            user_sync_disabled: false,
            directory,
            directory_revision: Revision::FIRST,
            directory_disabled: false,
            endpoint_confirmed: true,
            observe_time: None,
            last_complete_pull_time: None,
        }),
        last_login_time: None,
    }
}

fn told(change: impl Fn(&mut LoginTarget)) -> String {
    let mut target = target();
    change(&mut target);
    match eligibility(&target, "ada") {
        Eligibility::Ask { .. } => "ask".into(),
        Eligibility::Local => "local".into(),
        Eligibility::Refused(reason) => reason.as_str().into(),
        Eligibility::Unable(obstacle) => format!("{} {}", obstacle.reason.as_str(), obstacle.resource),
    }
}

fn block(target: &mut LoginTarget) {
    target.user.block = Some(Block {
        time: DateTime::UNIX_EPOCH,
        reason: String::new(),
    });
}

fn make_local(target: &mut LoginTarget) {
    (target.user.origin, target.sync) = (None, None);
}

#[test]
fn an_active_user_s_directory_is_asked() {
    assert_eq!(told(|_| {}), "ask");
}

#[test]
fn a_block_and_a_deactivation_come_before_everything_else() {
    assert_eq!(told(block), "BLOCKED");
    assert_eq!(
        told(|target| {
            block(target);
            make_local(target);
        }),
        "BLOCKED"
    );
    assert_eq!(
        told(|target| {
            block(target);
            target.tenant_enabled = false;
        }),
        "BLOCKED"
    );
    assert_eq!(
        told(|target| target.user.state = UserState::Deactivated),
        "DEACTIVATED"
    );
    assert_eq!(told(|target| target.user.state = UserState::Archived), "ARCHIVED");
}

#[test]
fn whom_the_directory_disabled_is_asked_about_and_nobody_else_who_is_deactivated() {
    let told = |state, reason| told(|target| (target.user.state, target.user.state_reason) = (state, reason));
    use StateReason::*;
    for (reason, expected) in [
        (Some(DisabledInDirectory), "ask"),
        (Some(ExpiredInDirectory), "ask"),
        (Some(Gone), "DEACTIVATED"),
        (Some(OutOfScope), "DEACTIVATED"),
        (Some(ByProduct), "DEACTIVATED"),
        (Some(SyncDeleted), "DEACTIVATED"),
        (None, "DEACTIVATED"),
    ] {
        assert_eq!(told(UserState::Deactivated, reason), expected, "{reason:?}");
        assert_eq!(told(UserState::Archived, reason), "ARCHIVED", "{reason:?}");
    }
}

#[test]
fn a_local_user_is_the_product_s_own_whatever_is_switched_off() {
    assert_eq!(
        told(|target| {
            make_local(target);
            target.tenant_enabled = false;
        }),
        "local"
    );
    assert_eq!(told(|target| target.sync = None), "USER_SYNC_DELETED");
}

#[test]
fn a_login_that_two_claim_is_nobody_s_and_an_address_of_one_of_them_is_theirs() {
    let told = |login: &str, ambiguous| {
        told(|target| {
            target.user.profile.login = login.into();
            target.user.login_ambiguous = ambiguous;
        })
    };
    assert_eq!(told("Ada", true), "AMBIGUOUS_LOGIN");
    assert_eq!(told("Ada", false), "ask");
    assert_eq!(told("countess", true), "ask");
}

#[test]
fn what_is_switched_off_is_named() {
    let sync = |change: fn(&mut LoginSync)| told(|target| target.sync.iter_mut().for_each(change));
    assert_eq!(
        told(|target| target.tenant_enabled = false),
        "SYNC_DISABLED tenants/acme"
    );
    assert_eq!(
        sync(|sync| sync.user_sync_disabled = true),
        "SYNC_DISABLED tenants/acme/userSyncs/staff"
    );
    assert_eq!(
        sync(|sync| sync.directory_disabled = true),
        "SYNC_DISABLED tenants/acme/directories/hq"
    );
    assert_eq!(
        sync(|sync| sync.endpoint_confirmed = false),
        "ENDPOINT_UNCONFIRMED tenants/acme/directories/hq"
    );
}
