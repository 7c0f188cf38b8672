//! What methods take and return, and what resources are called.

use prost_reflect::{DescriptorPool, Kind, MessageDescriptor, MethodDescriptor};

use super::names::words;
use super::{Element, Finding};
use crate::annotations::{annotation, behaviours, pattern, text};

macro_rules! rules {
    ($($name:ident = $rule:literal;)*) => {
        $(const $name: &str = $rule;)*
        pub(super) const RULES: &[&str] = &[$($name),*];
    };
}

rules! {
    GETTABLE = "core::0121::resource-must-support-get";
    PLURAL = "core::0123::resource-pattern-plural";
    SINGULAR = "core::0123::resource-pattern-singular";
    GET_REQUEST = "core::0131::request-message-name";
    GET_RESPONSE = "core::0131::response-message-name";
    GET_NAME = "core::0131::request-name-required";
    GET_FIELDS = "core::0131::request-unknown-fields";
    GET_SYNONYMS = "core::0131::synonyms";
    LIST_REQUEST = "core::0132::request-message-name";
    LIST_RESPONSE = "core::0132::response-message-name";
    LIST_TYPES = "core::0132::request-field-types";
    LIST_FIELDS = "core::0132::request-unknown-fields";
    LIST_ANSWERS = "core::0132::response-unknown-fields";
    CREATE_REQUEST = "core::0133::request-message-name";
    CREATE_RESPONSE = "core::0133::response-message-name";
    CREATE_PARENT = "core::0133::request-parent-required";
    CREATE_RESOURCE = "core::0133::request-resource-field";
    CREATE_ID = "core::0133::request-id-field";
    CREATE_FIELDS = "core::0133::request-unknown-fields";
    UPDATE_REQUEST = "core::0134::request-message-name";
    UPDATE_RESPONSE = "core::0134::response-message-name";
    UPDATE_RESOURCE = "core::0134::request-resource-required";
    UPDATE_MASK = "core::0134::request-mask-required";
    UPDATE_FIELDS = "core::0134::request-unknown-fields";
    DELETE_REQUEST = "core::0135::request-message-name";
    DELETE_RESPONSE = "core::0135::response-message-name";
    DELETE_NAME = "core::0135::request-name-required";
    DELETE_FIELDS = "core::0135::request-unknown-fields";
    DELETE_REQUIRED = "core::0135::request-required-fields";
    DELETE_FORCE = "core::0135::force-field";
    REQUEST = "core::0136::request-message-name";
    RESPONSE = "core::0136::response-message-name";
    VERB_NOUN = "core::0136::verb-noun";
    PAGE_SIZE = "core::0158::request-page-size-field";
    PAGE_TOKEN = "core::0158::request-page-token-field";
    NEXT_PAGE = "core::0158::response-next-page-token-field";
    FIRST_REPEATED = "core::0158::response-repeated-first-field";
}

const GET_MEANT: [&str; 5] = ["Acquire", "Fetch", "Lookup", "Read", "Retrieve"];
const REQUIRED: i32 = 2;

/// A message that is a resource.
struct Resource {
    message: MessageDescriptor,
    pattern: String,
}

pub(super) fn findings(pool: &DescriptorPool) -> Vec<Finding> {
    let ours = pool
        .all_messages()
        .filter(|message| message.package_name() == "rollcall.v1");
    let resources: Vec<Resource> = ours
        .filter_map(|message| {
            let resource = annotation(pool, &message.options(), "resource")?;
            let pattern = pattern(&resource);
            Some(Resource { message, pattern })
        })
        .collect();
    let services = pool
        .services()
        .filter(|service| service.full_name().starts_with("rollcall.v1."));
    let methods: Vec<MethodDescriptor> = services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    let mut found = Vec::new();
    for resource in &resources {
        let gets = format!("Get{}", resource.message.name());
        let annotation = annotation(pool, &resource.message.options(), "resource").unwrap();
        let mut ends = resource.pattern.rsplit('/');
        let (last, collection) = (ends.next().unwrap(), ends.next().unwrap());
        let singular = format!("{{{}}}", words(&text(&annotation, "singular")).join("_"));
        let file = resource.message.parent_file();
        let element = Element {
            file: file.name(),
            name: resource.message.full_name(),
        };
        found.extend(element.keeps(GETTABLE, methods.iter().any(|method| method.name() == gets)));
        // Of some resources there is one (AIP-156), and no collection.
        let is_one = !last.starts_with('{');
        found.extend(element.keeps(PLURAL, is_one || collection == text(&annotation, "plural")));
        found.extend(element.keeps(SINGULAR, is_one || last == singular));
    }
    found.extend(
        methods
            .iter()
            .flat_map(|method| of_method(pool, method, &resources)),
    );
    found
}

fn of_method(pool: &DescriptorPool, method: &MethodDescriptor, resources: &[Resource]) -> Vec<Finding> {
    let (name, input, output) = (method.name(), method.input(), method.output());
    let named = input.name() == format!("{name}Request");
    let answers = output.name() == format!("{name}Response");
    let is = |field: &str, kind: Kind| {
        input
            .get_field_by_name(field)
            .is_some_and(|field| field.kind() == kind)
    };
    let has = |field: &str| input.get_field_by_name(field).is_some();
    let only = |allowed: &[&str]| input.fields().all(|field| allowed.contains(&field.name()));
    let noun = |verb: &str| {
        name.strip_prefix(verb)
            .filter(|rest| rest.starts_with(char::is_uppercase))
    };
    let of = |noun: &str| resources.iter().find(|resource| resource.message.name() == noun);
    let rules = if let Some(noun) = noun("Get") {
        vec![
            (GET_REQUEST, named),
            (GET_RESPONSE, output.name() == noun),
            (GET_NAME, is("name", Kind::String)),
            (GET_FIELDS, only(&["name", "read_mask", "view"])),
        ]
    } else if noun("List").is_some() {
        let next = output.get_field_by_name("next_page_token");
        let first = output.get_field(1);
        let told = |name: &str| ["next_page_token", "total_size", "unreachable"].contains(&name);
        vec![
            (LIST_REQUEST, named),
            (LIST_RESPONSE, answers),
            (LIST_TYPES, !has("filter") || is("filter", Kind::String)),
            (
                LIST_FIELDS,
                only(&[
                    "parent",
                    "page_size",
                    "page_token",
                    "skip",
                    "filter",
                    "order_by",
                    "show_deleted",
                    "view",
                ]),
            ),
            (
                LIST_ANSWERS,
                output
                    .fields()
                    .all(|field| field.number() == 1 || told(field.name())),
            ),
            (PAGE_SIZE, is("page_size", Kind::Int32)),
            (PAGE_TOKEN, is("page_token", Kind::String)),
            (NEXT_PAGE, next.is_some_and(|field| field.kind() == Kind::String)),
            (FIRST_REPEATED, first.is_some_and(|field| field.is_list())),
        ]
    } else if let Some(noun) = noun("Create") {
        let field = words(noun).join("_");
        let id = format!("{field}_id");
        let is_top = of(noun).is_some_and(|resource| resource.pattern.matches('/').count() == 1);
        vec![
            (CREATE_REQUEST, named),
            (CREATE_RESPONSE, output.name() == noun),
            (CREATE_PARENT, is_top || is("parent", Kind::String)),
            (CREATE_RESOURCE, is(&field, Kind::Message(output.clone()))),
            (CREATE_ID, is(&id, Kind::String)),
            (
                CREATE_FIELDS,
                only(&["parent", &field, &id, "request_id", "validate_only"]),
            ),
        ]
    } else if let Some(noun) = noun("Update") {
        let field = words(noun).join("_");
        let mask = pool.get_message_by_name("google.protobuf.FieldMask").unwrap();
        vec![
            (UPDATE_REQUEST, named),
            (UPDATE_RESPONSE, output.name() == noun),
            (UPDATE_RESOURCE, is(&field, Kind::Message(output.clone()))),
            (UPDATE_MASK, is("update_mask", Kind::Message(mask))),
            (
                UPDATE_FIELDS,
                only(&[
                    &field,
                    "update_mask",
                    "allow_missing",
                    "request_id",
                    "validate_only",
                ]),
            ),
        ]
    } else if let Some(noun) = noun("Delete") {
        let has_children = of(noun).is_some_and(|parent| {
            let below = format!("{}/", parent.pattern);
            resources
                .iter()
                .any(|resource| resource.pattern.starts_with(&below))
        });
        let required = input
            .fields()
            .filter(|field| behaviours(pool, field).contains(&REQUIRED));
        vec![
            (DELETE_REQUEST, named),
            (
                DELETE_RESPONSE,
                output.full_name() == "google.protobuf.Empty" || output.name() == noun,
            ),
            (DELETE_NAME, is("name", Kind::String)),
            (
                DELETE_FIELDS,
                only(&[
                    "name",
                    "force",
                    "allow_missing",
                    "etag",
                    "request_id",
                    "validate_only",
                ]),
            ),
            (
                DELETE_REQUIRED,
                required.map(|field| field.name().to_owned()).eq(["name"]),
            ),
            (DELETE_FORCE, !has_children || is("force", Kind::Bool)),
        ]
    } else {
        let own = input.get_field_by_name("name");
        let own = own.and_then(|name| annotation(pool, &name.options(), "resource_reference"));
        let own = own.map(|reference| text(&reference, "type"));
        vec![
            (GET_SYNONYMS, !GET_MEANT.iter().any(|verb| noun(verb).is_some())),
            (REQUEST, named),
            (
                RESPONSE,
                answers || own == Some(format!("rollcall/{}", output.name())),
            ),
            (VERB_NOUN, words(name).len() > 1),
        ]
    };
    let file = method.parent_file();
    let element = Element {
        file: file.name(),
        name: method.full_name(),
    };
    rules
        .into_iter()
        .filter_map(|(rule, kept)| element.keeps(rule, kept))
        .collect()
}

/// Not a rule of the linter's, but what a retry and two people at once rely on (AIP-155, AIP-154).
#[test]
fn whatever_creates_takes_a_request_id_and_whatever_changes_an_etag() {
    let pool = DescriptorPool::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap();
    let messages: Vec<MessageDescriptor> = pool
        .all_messages()
        .filter(|message| message.package_name() == "rollcall.v1")
        .collect();
    let with = |verb: &str| {
        let requests = messages
            .iter()
            .filter(|message| message.name().ends_with("Request"));
        let requests: Vec<_> = requests
            .filter(|message| message.name().starts_with(verb))
            .cloned()
            .collect();
        assert!(requests.len() >= 4, "{verb}");
        requests
    };
    for (verb, field) in [("Create", "request_id"), ("Delete", "etag")] {
        for request in with(verb) {
            let field = request.get_field_by_name(field);
            assert!(
                field.is_some_and(|field| field.kind() == Kind::String),
                "{}",
                request.name()
            );
        }
    }
    // An update sends the resource, and with it the resource's etag.
    for request in with("Update") {
        let resources = request
            .fields()
            .filter_map(|field| field.kind().as_message().cloned());
        let mut ours = resources.filter(|message| message.package_name() == "rollcall.v1");
        let resource = ours.next().unwrap();
        assert!(
            resource.get_field_by_name("etag").is_some(),
            "{}",
            resource.name()
        );
    }
}
