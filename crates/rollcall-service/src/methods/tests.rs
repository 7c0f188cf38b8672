#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use rollcall_proto::FILE_DESCRIPTOR_SET;

use super::*;

/// The contract's own files.
fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let own = |file: &FileDescriptorProto| file.package() == "rollcall.v1";
    set.file.into_iter().filter(own).collect()
}

/// Each method with what the contract says of it.
fn contract() -> BTreeMap<String, String> {
    /// Field numbers of `service` in a file and of `method` in a service, by which comments are found.
    const SERVICE: i32 = 6;
    const METHOD: i32 = 2;
    let mut methods = BTreeMap::new();
    for file in files() {
        let locations = file.source_code_info.clone().unwrap_or_default().location;
        let comments: BTreeMap<Vec<i32>, String> = locations
            .into_iter()
            .map(|location| (location.path.clone(), location.leading_comments().to_owned()))
            .collect();
        for (service, number) in file.service.iter().zip(0..) {
            for (method, index) in service.method.iter().zip(0..) {
                let comment = comments.get(&vec![SERVICE, number, METHOD, index]).unwrap();
                let words: Vec<&str> = comment.split_whitespace().collect();
                methods.insert(format!("{}.{}", service.name(), method.name()), words.join(" "));
            }
        }
    }
    methods
}

#[test]
fn each_method_of_the_contract_has_one_row_and_says_what_it_needs() {
    let contract = contract();
    let named: Vec<&str> = METHODS.iter().map(|row| row.name).collect();
    let mut once = named.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), named.len(), "a method has two rows");
    assert_eq!(once, contract.keys().map(String::as_str).collect::<Vec<_>>());
    for row in METHODS {
        let needs = format!("Needs the permission \"{}\"", row.permission.as_str());
        let said = &contract[row.name];
        assert!(said.contains(&needs), "{}: {said}", row.name);
        assert_eq!(said.matches("the permission").count(), 1, "{}: {said}", row.name);
        let for_all = matches!(row.whose, Whose::ForAll | Whose::TenantForAll);
        assert_eq!(said.contains("for all tenants"), for_all, "{}: {said}", row.name);
    }
}

/// What a request names first decides whose it is: no field of another tenant can be looked at instead.
#[test]
fn a_row_names_the_field_that_the_contract_has_for_it() {
    let files = files();
    let message = |name: &str| {
        let mut all = files.iter().flat_map(|file| &file.message_type);
        all.find(|message| message.name() == name).unwrap()
    };
    for row in METHODS {
        let (_, method) = row.name.split_once('.').unwrap();
        let request = message(&format!("{method}Request"));
        let has = |name: &str| request.field.iter().any(|field| field.name() == name);
        let expected = ["parent", "name", "tenant"].into_iter().find(|&name| has(name));
        match row.field.split_once('.') {
            Some((outer, field)) => assert!(has(outer) && field == "name", "{}", row.name),
            None if row.whose == Whose::ForAll || row.whose == Whose::Own => assert_eq!(row.field, ""),
            None => assert_eq!(Some(row.field), expected, "{}", row.name),
        }
    }
}
