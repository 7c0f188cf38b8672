#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const GUID: [u8; 16] = [
    0xe4, 0x41, 0xba, 0x85, 0x9d, 0x3f, 0x2c, 0x4a, 0x8e, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
];

fn taken(kind: IdKind, value: &[u8]) -> Result<ExternalId, ExternalIdProblem> {
    ExternalId::from_values(kind, &[value.to_vec()])
}

#[test]
fn an_object_guid_reads_mixed_endian_and_is_searched_raw() {
    let id = taken(IdKind::ObjectGuid, &GUID).unwrap();
    assert_eq!(id.to_string(), "85ba41e4-3f9d-4a2c-8e01-020304050607");
    assert_eq!(id.bytes(), GUID);
    assert_eq!(id.assertion_value(), GUID);
    assert!(
        id.filter().to_string().starts_with("(|(objectGUID=\\e4A\\ba\\85"),
        "{}",
        id.filter()
    );
}

#[test]
fn a_guid_as_text_is_the_same_person_as_its_16_bytes_and_is_looked_for_in_both_forms() {
    for text in [
        "85ba41e4-3f9d-4a2c-8e01-020304050607",
        "85BA41E4-3F9D-4A2C-8E01-020304050607",
    ] {
        let id = taken(IdKind::ObjectGuid, text.as_bytes()).unwrap();
        assert_eq!(id, taken(IdKind::ObjectGuid, &GUID).unwrap());
        assert!(
            id.filter().to_string().contains(&format!("(objectGUID={text})")),
            "{}",
            id.filter()
        );
    }
    let id = taken(IdKind::Guid, b"61626364-6566-6768-696a-6b6c6d6e6f70").unwrap();
    assert_eq!(id, taken(IdKind::Guid, b"abcdefghijklmnop").unwrap());
}

#[test]
fn an_e_directory_guid_keeps_its_order_even_if_it_looks_like_text() {
    let id = taken(IdKind::Guid, b"abcdefghijklmnop").unwrap();
    assert_eq!(id.to_string(), "61626364-6566-6768-696a-6b6c6d6e6f70");
    assert_eq!(id.assertion_value(), b"abcdefghijklmnop");
}

#[test]
fn textual_uuids_are_stored_as_their_16_bytes() {
    for kind in [IdKind::EntryUuid, IdKind::IpaUniqueId] {
        let id = taken(kind, b"85BA41E4-3F9D-4A2C-8E01-020304050607").unwrap();
        assert_eq!(id.bytes()[..4], [0x85, 0xba, 0x41, 0xe4]);
        assert_eq!(id.assertion_value(), b"85ba41e4-3f9d-4a2c-8e01-020304050607");
    }
}

#[test]
fn ns_unique_ids_have_four_groups() {
    let id = taken(IdKind::NsUniqueId, b"3a2f9c01-d43b11ef-8f0aB1c2-d3e4f506").unwrap();
    assert_eq!(id.bytes()[..4], [0x3a, 0x2f, 0x9c, 0x01]);
    assert_eq!(
        id.filter().to_string(),
        "(nsUniqueId=3a2f9c01-d43b11ef-8f0ab1c2-d3e4f506)"
    );
}

#[test]
fn values_of_another_form_are_no_ids() {
    use ExternalIdProblem::*;
    let other = || IdKind::of_attribute("employeeNumber").unwrap();
    for (kind, value) in [
        (IdKind::ObjectGuid, &GUID[..15]),
        (IdKind::ObjectGuid, b"85ba41e4-3f9d-4a2c-8e01-02030405060"),
        (IdKind::Guid, b""),
        (IdKind::EntryUuid, &GUID),
        (IdKind::EntryUuid, b"85ba41e43f9d4a2c8e01020304050607"),
        (IdKind::EntryUuid, b"{85ba41e4-3f9d-4a2c-8e01-020304050607}"),
        (IdKind::IpaUniqueId, b"autogenerate"),
        (IdKind::NsUniqueId, b"85ba41e4-3f9d-4a2c-8e01-020304050607"),
        (IdKind::NsUniqueId, b"3a2f9c01-d43b11ef-8f0ab1c2-d3e4f50g"),
        (
            IdKind::NsUniqueId,
            "3a2f9c01-d43b11ef-8f0ab1c2-d3e4f5\u{e9}".as_bytes(),
        ),
        (other(), b""),
        (other(), &[b'1'; 256]),
    ] {
        assert_eq!(taken(kind.clone(), value), Err(Malformed), "{kind:?} {value:?}");
    }
    assert_eq!(ExternalId::from_values(IdKind::EntryUuid, &[]), Err(Missing));
    let two = [GUID.to_vec(), GUID.to_vec()];
    assert_eq!(
        ExternalId::from_values(IdKind::ObjectGuid, &two),
        Err(SeveralValues)
    );
    assert_eq!(
        ExternalId::from_bytes(IdKind::EntryUuid, &GUID[..15]),
        Err(Malformed)
    );
}

#[test]
fn kinds_are_found_by_attribute_name() {
    assert_eq!(IdKind::of_attribute("OBJECTGUID"), Some(IdKind::ObjectGuid));
    assert_eq!(IdKind::of_attribute("nsuniqueid"), Some(IdKind::NsUniqueId));
    assert_eq!(
        IdKind::of_attribute("employeeNumber").unwrap().attribute(),
        "employeeNumber"
    );
    assert_eq!(IdKind::of_attribute("employee_number"), None);
}

proptest! {
    #[test]
    fn texts_and_bytes_lead_back_to_the_id(kind in 0usize..6, value in any::<[u8; 16]>(), text in any::<String>()) {
        let name = ["objectGUID", "entryUUID", "nsUniqueId", "ipaUniqueID", "GUID", "x"][kind];
        let kind = IdKind::of_attribute(name).unwrap();
        let mut ids = vec![ExternalId::from_bytes(kind.clone(), &value).unwrap()];
        if let (IdKind::Other(_), 1..=255) = (&kind, text.len()) {
            ids.push(taken(kind.clone(), text.as_bytes()).unwrap());
        }
        for id in ids {
            prop_assert_eq!(ExternalId::parse(kind.clone(), &id.to_string()), Ok(id.clone()));
            prop_assert_eq!(ExternalId::from_bytes(kind.clone(), id.bytes()), Ok(id.clone()));
            prop_assert_eq!(taken(kind.clone(), &id.assertion_value()), Ok(id));
        }
    }

    #[test]
    fn any_text_gets_an_answer(text in any::<String>(), groups in "[0-9a-f\u{e9}-]{0,40}") {
        for kind in [IdKind::ObjectGuid, IdKind::NsUniqueId, IdKind::EntryUuid] {
            let _ = ExternalId::parse(kind.clone(), &text);
            let _ = ExternalId::parse(kind, &groups);
        }
    }
}
