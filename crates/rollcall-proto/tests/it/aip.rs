//! The contract keeps those API improvement proposals (google.aip.dev) that its users rely on. The rules have the names that
//! api-linter gives them, and what is kept against one, with its reason, stands in proto/api-linter.yaml for both.
//! api-linter knows more rules; it runs where it can be had. What annotations have to say is in `annotations.rs`.

mod exceptions;
mod methods;
mod names;

use prost_reflect::DescriptorPool;

/// A rule that something in the contract does not keep.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Finding {
    rule: &'static str,
    /// Below `proto/`.
    file: String,
    /// The full name.
    element: String,
}

/// Whatever has a name, a file and a comment.
struct Element<'a> {
    file: &'a str,
    name: &'a str,
}

impl Element<'_> {
    /// A finding, unless the rule is kept.
    fn keeps(&self, rule: &'static str, kept: bool) -> Option<Finding> {
        (!kept).then(|| Finding {
            rule,
            file: self.file.to_owned(),
            element: self.name.to_owned(),
        })
    }
}

fn findings() -> Vec<Finding> {
    let pool = DescriptorPool::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut findings = names::findings(&pool);
    findings.extend(methods::findings(&pool));
    findings.sort();
    findings
}

#[test]
fn the_contract_keeps_the_proposals_but_for_what_is_excepted_with_a_reason() {
    let exceptions = exceptions::read();
    let unexcepted: Vec<_> = findings()
        .into_iter()
        .filter(|finding| !exceptions.iter().any(|exception| exception.covers(finding)))
        .collect();
    assert!(unexcepted.is_empty(), "{unexcepted:#?}");
}

#[test]
fn no_exception_stands_for_nothing() {
    let findings = findings();
    let known = [names::RULES, methods::RULES].concat();
    let mut tried = 0;
    for exception in exceptions::read() {
        if known.contains(&exception.rule.as_str()) {
            let needed = findings.iter().any(|finding| exception.covers(finding));
            assert!(needed, "nothing needs {exception:?}");
            tried += 1;
        }
    }
    assert!(
        tried > 15,
        "only {tried} exceptions are of rules that are known here"
    );
}
