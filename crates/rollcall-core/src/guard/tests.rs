//! What is held and what passes, what a hold lets through, and what a login does not hand out meanwhile.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::external_id::{ExternalId, IdKind};
use crate::field::TextField;
use crate::id::{DirectoryId, TenantId, UserId, UserSyncId, Uuid};
use crate::plan::{Change, ChangeKind};
use crate::revision::Revision;
use crate::user::{Origin, Profile, StateReason, User, UserState};

const RULES: [(Watched, HoldRule); 5] = [
    (Watched::Role, HoldRule::RoleChanges),
    (Watched::Login, HoldRule::LoginChanges),
    (Watched::Email, HoldRule::EmailChanges),
    (Watched::Return, HoldRule::Returns),
    (Watched::Takeover, HoldRule::Takeovers),
];

fn totals(counts: &[(Watched, u64)]) -> Totals {
    counts.iter().cloned().collect()
}

/// A plan for a sync of 200 users that ran before.
fn verdict(plan: &[(Watched, u64)], recent: &[(Watched, u64)]) -> Verdict {
    verdict_of(200, plan, recent, |_| {})
}

fn verdict_of(
    active: u64,
    plan: &[(Watched, u64)],
    recent: &[(Watched, u64)],
    edit: impl FnOnce(&mut GuardInput<'_>),
) -> Verdict {
    let (plan, recent) = (totals(plan), totals(recent));
    let mut input = GuardInput {
        active,
        absent: 0,
        plan: &plan,
        recent: &recent,
        first: false,
        configuration_changed: false,
    };
    edit(&mut input);
    judge(&input, &RemovalLimit::default(), &GrowthLimit::default())
}

fn rules(verdict: &Verdict) -> Vec<HoldRule> {
    verdict.reasons.iter().filter_map(|reason| reason.rule).collect()
}

#[test]
fn each_kind_has_a_limit_of_its_own_over_the_window() {
    for (watched, rule) in RULES {
        // People taken over are part of the set: 22 are a tenth of 222.
        let limit = if watched == Watched::Takeover { 22 } else { 20 };
        let of = |count| [(watched.clone(), count)];
        assert_eq!(rules(&verdict(&of(limit), &[])), [], "{watched:?}");
        assert_eq!(rules(&verdict(&of(limit + 1), &[])), [rule], "{watched:?}");
        assert_eq!(rules(&verdict(&of(1), &of(20))), [rule], "{watched:?}");
        assert_eq!(
            rules(&verdict(&[], &of(500))),
            [],
            "earlier ones alone hold nothing"
        );
    }
    let all: Vec<(Watched, u64)> = RULES.iter().map(|(watched, _)| (watched.clone(), 20)).collect();
    assert_eq!(rules(&verdict(&all, &[])), [], "they do not add up");
}

#[test]
fn one_field_that_vanishes_is_held_by_its_name() {
    let lost = |field: &str, count| (Watched::Lost(field.to_owned()), count);
    let several = [lost("phone_number", 20), lost("custom.badge", 20)];
    assert_eq!(rules(&verdict(&several, &[])), []);
    let held = verdict(&[lost("phone_number", 1), lost("custom.badge", 21)], &[]);
    assert_eq!(rules(&held), [HoldRule::LostField]);
    assert_eq!(held.reasons[0].field.as_deref(), Some("custom.badge"));
    let weekly = verdict(&[lost("custom.badge", 1)], &[lost("custom.badge", 20)]);
    assert_eq!(rules(&weekly), [HoldRule::LostField]);
}

#[test]
fn removals_are_held_beyond_the_limit_above_half_and_when_nobody_is_left() {
    let removed = |active, count| verdict_of(active, &[(Watched::Removal, count)], &[], |_| {});
    assert_eq!(rules(&removed(200, 20)), []);
    assert_eq!(rules(&removed(200, 21)), [HoldRule::Removals]);
    assert_eq!(rules(&removed(12, 5)), []);
    assert_eq!(rules(&removed(4, 3)), [HoldRule::MostUsers]);
    assert_eq!(rules(&removed(1, 1)), [HoldRule::MostUsers]);
    let absent = |absent| verdict_of(200, &[], &[], |input| input.absent = absent);
    assert_eq!(rules(&absent(100)), []);
    assert_eq!(rules(&absent(101)), [HoldRule::MostUsers]);
    assert!(absent(200).reasons[0].message.contains("none of the 200 users"));
}

#[test]
fn a_removal_limit_of_none_concerns_removals_alone() {
    let plan = totals(&[
        (Watched::Role, 20),
        (Watched::Login, 20),
        (Watched::Email, 20),
        (Watched::Return, 20),
        (Watched::Growth, 90),
    ]);
    let none = RemovalLimit {
        max_count: Some(0),
        max_percent: None,
    };
    let recent = Totals::default();
    let input = GuardInput {
        active: 200,
        absent: 0,
        plan: &plan,
        recent: &recent,
        first: false,
        configuration_changed: false,
    };
    assert_eq!(judge(&input, &none, &GrowthLimit::default()), Verdict::default());
    let one = totals(&[(Watched::Removal, 1)]);
    let held = judge(
        &GuardInput { plan: &one, ..input },
        &none,
        &GrowthLimit::default(),
    );
    assert_eq!(rules(&held), [HoldRule::Removals]);
    assert_eq!(held.leavers, Leavers::None, "none may go by itself");
}

#[test]
fn growth_is_measured_by_the_users_at_the_beginning_of_the_week() {
    let grown = |active, growth, recent| {
        let (plan, recent) = ([(Watched::Growth, growth)], [(Watched::Growth, recent)]);
        rules(&verdict_of(active, &plan, &recent, |_| {}))
    };
    assert_eq!(grown(40, 100, 0), []);
    assert_eq!(grown(40, 199_960, 0), [HoldRule::Growth]);
    assert_eq!(grown(1000, 500, 0), []);
    assert_eq!(grown(1000, 501, 0), [HoldRule::Growth]);
    // 1,400 that were 1,000 a week ago.
    assert_eq!(grown(1400, 100, 400), []);
    assert_eq!(grown(1400, 101, 400), [HoldRule::Growth]);
    let first = verdict_of(0, &[(Watched::Growth, 200_000)], &[], |input| input.first = true);
    assert_eq!(first, Verdict::default());
    let none = GrowthLimit {
        max_count: Some(0),
        max_percent: None,
    };
    assert_eq!(none.allowed(1_000_000), 0);
}

#[test]
fn a_pull_with_gaps_creates_a_bounded_number() {
    let room = |active, growth, first| {
        let (plan, recent) = (
            totals(&[(Watched::Takeover, 3), (Watched::Growth, 50)]),
            totals(&[(Watched::Growth, growth)]),
        );
        let input = GuardInput {
            active,
            absent: 0,
            plan: &plan,
            recent: &recent,
            first,
            configuration_changed: false,
        };
        input.room_for_creations(&GrowthLimit::default())
    };
    assert_eq!(room(0, 0, true), 100);
    assert_eq!(
        room(500, 400, true),
        100,
        "a hundred each run, until one was complete"
    );
    assert_eq!(room(40, 0, false), 97);
    assert_eq!(room(140, 99, false), 0);
}

#[test]
fn local_users_are_linked_by_the_first_run_alone() {
    let link = [(Watched::Link, 1), (Watched::Growth, 1)];
    assert_eq!(rules(&verdict(&link, &[])), [HoldRule::Links]);
    let first = verdict_of(0, &link, &[], |input| input.first = true);
    assert_eq!(rules(&first), []);
}

#[test]
fn a_changed_configuration_takes_from_nobody_and_gives_no_role_by_itself() {
    let changed =
        |plan: &[(Watched, u64)]| verdict_of(200, plan, &[], |input| input.configuration_changed = true);
    assert_eq!(rules(&changed(&[])), []);
    assert_eq!(rules(&changed(&[(Watched::Email, 1), (Watched::Growth, 1)])), []);
    for watched in [Watched::Removal, Watched::Role] {
        assert_eq!(rules(&changed(&[(watched, 1)])), [HoldRule::ConfigurationChanged]);
    }
    let absent = verdict_of(200, &[], &[], |input| {
        (input.configuration_changed, input.absent) = (true, 1);
    });
    assert_eq!(rules(&absent), [], "an absence in doubt removes nobody");
}

#[test]
fn a_hold_keeps_no_leaver_unless_it_is_about_leavers() {
    let with = |removals, rest: &[(Watched, u64)], recent: &[(Watched, u64)]| {
        let mut plan = vec![(Watched::Removal, removals)];
        plan.extend_from_slice(rest);
        let verdict = verdict(&plan, recent);
        assert!(!verdict.reasons.is_empty());
        verdict.leavers
    };
    let roles = [(Watched::Role, 21)];
    assert_eq!(with(1, &roles, &[]), Leavers::All);
    assert_eq!(with(20, &roles, &[]), Leavers::All);
    assert_eq!(with(21, &roles, &[]), Leavers::None);
    assert_eq!(with(1, &roles, &[(Watched::Removal, 20)]), Leavers::None);
    assert_eq!(with(0, &roles, &[]), Leavers::None);
}

#[test]
fn after_a_change_of_configuration_only_those_go_whose_entries_say_so() {
    let mut plan = Totals::default();
    plan.add(&removal(1, StateReason::OutOfScope));
    let recent = Totals::default();
    let judged = |plan: &Totals| {
        let input = GuardInput {
            active: 20,
            absent: 1,
            plan,
            recent: &recent,
            first: false,
            configuration_changed: true,
        };
        judge(&input, &RemovalLimit::default(), &GrowthLimit::default()).leavers
    };
    assert_eq!(judged(&plan), Leavers::None);
    plan.add(&removal(2, StateReason::DisabledInDirectory));
    assert_eq!(judged(&plan), Leavers::Stated);
    for number in 3..8 {
        plan.add(&removal(number, StateReason::ExpiredInDirectory));
    }
    assert_eq!(judged(&plan), Leavers::None, "six are more than five");
}

fn user() -> User {
    User {
        tenant: TenantId::parse("acme").unwrap(),
        id: UserId(Uuid::from_u128(1)),
        origin: Some(origin(1)),
        profile: Profile {
            login: "ada".into(),
            email: Some("ada@example.com".into()),
            texts: [(TextField::PhoneNumber, "1".to_owned())].into(),
            role: "editor".into(),
            custom: [("badge".to_owned(), "7".to_owned())].into(),
            ..Profile::default()
        },
        state: UserState::Active,
        state_reason: None,
        owner: false,
        login_ambiguous: false,
        login_asked_by: None,
        block: None,
        revision: Revision::new(4),
        create_time: chrono::DateTime::UNIX_EPOCH,
        update_time: chrono::DateTime::UNIX_EPOCH,
    }
}

fn origin(number: u128) -> Origin {
    Origin {
        user_sync: UserSyncId::parse("staff").unwrap(),
        directory: DirectoryId::parse("main").unwrap(),
        external_id: ExternalId::from_bytes(IdKind::EntryUuid, &number.to_be_bytes()).unwrap(),
        dn: "uid=ada".into(),
        linked: false,
    }
}

fn update(user: &User, edit: impl FnOnce(&mut Profile)) -> Change {
    let mut profile = user.profile.clone();
    edit(&mut profile);
    Change {
        kind: ChangeKind::Update,
        user: user.id,
        expected_revision: user.revision,
        state_before: Some(user.state),
        origin: user.origin.clone().unwrap(),
        changes: Vec::new(),
        profile,
        state: user.state,
        state_reason: user.state_reason,
        login_ambiguous: false,
        login_asked_by: None,
    }
    .compared(Some(user))
}

fn removal(number: u128, reason: StateReason) -> Change {
    let user = User {
        id: UserId(Uuid::from_u128(number)),
        ..user()
    };
    Change {
        kind: ChangeKind::Deactivate,
        state: UserState::Deactivated,
        state_reason: Some(reason),
        ..update(&user, |_| {})
    }
}

#[test]
fn a_change_counts_for_all_that_it_is_and_for_nothing_else() {
    let of = |change: &Change| Watched::of(change);
    let ada = user();
    let none = update(&ada, |profile| {
        profile.set_text(TextField::PhoneNumber, Some("2".into()))
    });
    assert_eq!(of(&none), []);
    let all = update(&ada, |profile| {
        profile.role = "owner".into();
        profile.login = "ada.l".into();
        profile.email = None;
        profile.set_text(TextField::PhoneNumber, None);
        profile.custom.clear();
    });
    let lost = |field: &str| Watched::Lost(field.into());
    let mut kinds = of(&all);
    kinds.sort();
    assert_eq!(
        kinds,
        [
            Watched::Role,
            Watched::Login,
            Watched::Email,
            lost("custom.badge"),
            lost("phone_number")
        ]
    );
    let archived = User {
        state: UserState::Archived,
        ..user()
    };
    let taken_over = Change {
        kind: ChangeKind::Transfer,
        state: UserState::Active,
        ..update(&archived, |profile| profile.role = "guest".into())
    };
    assert_eq!(
        of(&taken_over),
        [Watched::Role, Watched::Return, Watched::Takeover, Watched::Growth]
    );
    let created = Change {
        kind: ChangeKind::Create,
        state_before: None,
        ..update(&ada, |_| {})
    };
    assert_eq!(of(&created), [Watched::Growth]);
    assert_eq!(of(&removal(1, StateReason::Gone)), [Watched::Removal]);
    let away = Change {
        kind: ChangeKind::Transfer,
        state: UserState::Deactivated,
        ..update(&ada, |_| {})
    };
    assert!(
        of(&away).contains(&Watched::Removal),
        "it takes access, whatever it is called"
    );
}

#[test]
fn what_is_taken_back_does_not_count() {
    let mut totals = Totals::default();
    let gone = removal(1, StateReason::DisabledInDirectory);
    totals.add(&gone);
    totals.add(&removal(2, StateReason::Gone));
    assert_eq!((totals.of(&Watched::Removal), totals.stated()), (2, 1));
    totals.remove(&gone);
    assert_eq!((totals.of(&Watched::Removal), totals.stated()), (1, 0));
}

fn hold(rules: &[(HoldRule, Option<&str>)]) -> Vec<HoldReason> {
    let reason = |(rule, field): &(HoldRule, Option<&str>)| HoldReason {
        rule: Some(*rule),
        field: field.map(Into::into),
        message: String::new(),
    };
    rules.iter().map(reason).collect()
}

#[test]
fn a_login_gets_what_the_hold_is_not_about_and_loses_what_it_loses() {
    let ada = user();
    let all = hold(&[
        (HoldRule::RoleChanges, None),
        (HoldRule::LoginChanges, None),
        (HoldRule::EmailChanges, None),
        (HoldRule::LostField, Some("phone_number")),
    ]);
    let mut change = update(&ada, |profile| {
        profile.role = "owner".into();
        profile.login = "ada.l".into();
        profile.email = None;
        profile.set_text(TextField::PhoneNumber, None);
        profile.set_text(TextField::GivenName, Some("Ada".into()));
        profile.custom.clear();
    });
    let withheld = withhold(&mut change, &ada, &all, "user");
    let fields = ["login", "email", "phone_number", "role"].map(String::from);
    assert_eq!(withheld, Withheld::Fields(fields.into()));
    // One role for another: the old one is lost, the new one waits.
    let expected = update(&ada, |profile| {
        profile.role = "user".into();
        profile.set_text(TextField::GivenName, Some("Ada".into()));
        profile.custom.clear();
    });
    assert_eq!(change, expected);

    let mut change = update(&ada, |profile| profile.role = "user".into());
    assert_eq!(withhold(&mut change, &ada, &all, "user"), Withheld::Nothing);
    assert_eq!(change.profile.role, "user", "a lost role is lost");
    let base = User {
        profile: Profile {
            role: "user".into(),
            ..ada.profile.clone()
        },
        ..user()
    };
    let mut change = update(&base, |profile| profile.role = "owner".into());
    assert!(matches!(
        withhold(&mut change, &base, &all, "user"),
        Withheld::Fields(_)
    ));
    assert_eq!(change, update(&base, |_| {}));

    let mut change = update(&ada, |profile| profile.role = "owner".into());
    let other = hold(&[(HoldRule::Growth, None), (HoldRule::LoginChanges, None)]);
    assert_eq!(withhold(&mut change, &ada, &other, "user"), Withheld::Nothing);
    assert_eq!(change.profile.role, "owner");
}

#[test]
fn nobody_returns_while_returns_are_held_and_everybody_may_go() {
    let away = User {
        state: UserState::Deactivated,
        state_reason: Some(StateReason::DisabledInDirectory),
        ..user()
    };
    let back = Change {
        kind: ChangeKind::Reactivate,
        state: UserState::Active,
        state_reason: None,
        ..update(&away, |_| {})
    };
    let returns = hold(&[(HoldRule::Returns, None), (HoldRule::Removals, None)]);
    assert_eq!(
        withhold(&mut back.clone(), &away, &returns, "user"),
        Withheld::Return
    );
    assert_eq!(withhold(&mut back.clone(), &away, &[], "user"), Withheld::Nothing);
    let mut gone = removal(1, StateReason::DisabledInDirectory);
    assert_eq!(withhold(&mut gone, &user(), &returns, "user"), Withheld::Nothing);
    assert_eq!(gone.state, UserState::Deactivated);
}

#[test]
fn a_removal_comes_apart_into_the_loss_of_access_and_the_rest() {
    let whole = Change {
        kind: ChangeKind::Deactivate,
        state: UserState::Deactivated,
        state_reason: Some(StateReason::DisabledInDirectory),
        ..update(&user(), |profile| profile.login = "zz-ada".into())
    }
    .compared(Some(&user()));
    let (first, rest) = whole.clone().split_removal();
    let fields = |change: &Change| -> Vec<String> {
        change
            .changes
            .iter()
            .map(|changed| changed.field.clone())
            .collect()
    };
    assert!(first.is_leaver());
    assert_eq!(fields(&first), ["state", "state_reason"]);
    assert_eq!(
        (first.profile.login.as_str(), first.state),
        ("ada", UserState::Deactivated)
    );
    let rest = rest.unwrap();
    assert_eq!(
        (rest.kind, rest.expected_revision),
        (ChangeKind::Update, Revision::new(5))
    );
    assert_eq!(
        (fields(&rest), rest.state),
        (vec!["login".to_owned()], UserState::Deactivated)
    );
    assert_eq!(removal(1, StateReason::Gone).split_removal().1, None);
}

proptest! {
    #[test]
    fn an_emptied_set_never_passes(active in 1u64..1_000_000, count in any::<u32>(), percent in 0u32..=100) {
        let limit = RemovalLimit { max_count: Some(count), max_percent: Some(percent) };
        let (plan, recent) = (totals(&[(Watched::Removal, active)]), Totals::default());
        let input = GuardInput {
            active, absent: active, plan: &plan, recent: &recent, first: false, configuration_changed: false,
        };
        let verdict = judge(&input, &limit, &GrowthLimit::default());
        prop_assert!(!verdict.reasons.is_empty());
        prop_assert_eq!(verdict.leavers, Leavers::None);
    }

    /// What goes at once never exceeds what a plan of nothing else might do unheld.
    #[test]
    fn leavers_are_never_more_than_may_go(
        active in 0u64..1000, removals in 0u64..200, recent in 0u64..200, roles in 0u64..300, changed in any::<bool>()
    ) {
        let plan = [(Watched::Removal, removals), (Watched::Role, roles)];
        let recent = [(Watched::Removal, recent)];
        let verdict = verdict_of(active, &plan, &recent, |input| input.configuration_changed = changed);
        if verdict.leavers == Leavers::All {
            let alone = verdict_of(active, &plan[..1], &recent, |_| {});
            prop_assert!(removals > 0 && alone.reasons.is_empty());
        }
    }

    #[test]
    fn more_of_anything_never_releases_a_held_plan(
        active in 0u64..10_000, count in 0u64..10_000, more in 0u64..10_000, recent in 0u64..10_000, kind in 0usize..8
    ) {
        use Watched::*;
        let watched = [Removal, Role, Login, Email, Return, Link, Growth, Relink][kind].clone();
        let of = |count| [(watched.clone(), count)];
        let held = |count, recent| !verdict_of(active, &of(count), &of(recent), |_| {}).reasons.is_empty();
        if held(count, recent) {
            prop_assert!(held(count + more, recent));
        }
    }

    /// Night after night, however the losses are spread: what goes by itself within any seven days is within
    /// the limit, and a small loss passes once the earlier ones are a week old.
    #[test]
    fn no_week_takes_more_than_the_limit(
        people in 1u64..500,
        nights in prop::collection::vec((0i64..5, 0u64..60), 1..60),
    ) {
        let limit = RemovalLimit::default();
        let week = WINDOW.num_days();
        let (mut day, mut active) = (0, people);
        let mut gone: Vec<(i64, u64)> = Vec::new();
        for (pause, loss) in nights {
            day += pause;
            let loss = loss.min(active);
            let recent = gone.iter().filter(|(when, _)| *when >= day - week).map(|(_, count)| count).sum();
            let plan = [(Watched::Removal, loss)];
            let verdict = verdict_of(active, &plan, &[(Watched::Removal, recent)], |input| input.absent = loss);
            let held = !verdict.reasons.is_empty();
            if recent == 0 && loss <= limit.allowed(active) && loss <= active / 2 {
                prop_assert!(!held || active == loss, "{} of {}", loss, active);
            }
            if !held {
                active -= loss;
                gone.push((day, loss));
            }
        }
        for (first, _) in &gone {
            let days = *first..=*first + week;
            let within: u64 = gone.iter().filter(|(day, _)| days.contains(day)).map(|(_, count)| count).sum();
            prop_assert!(within <= limit.allowed(people), "{} of {} from day {}", within, people, first);
        }
    }
}
