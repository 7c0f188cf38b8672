//! Which attributes a server knows (RFC 4512 section 4.1.2): a filter on one that it does not know matches
//! nothing, without any error.

use std::collections::BTreeSet;

use rollcall_core::entry::Entry;

/// The names and OIDs of all attribute types, in lower case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Schema(BTreeSet<String>);

impl Schema {
    /// From `attributeTypes` of the subschema subentry. Values that cannot be read are passed over.
    pub(crate) fn from_entry(entry: &Entry) -> Self {
        Self(entry.texts("attributeTypes").flat_map(names).collect())
    }

    /// True if nothing was read, so that nothing can be said.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the server knows the attribute, given without options.
    pub(crate) fn defines(&self, attribute: &str) -> bool {
        self.0.contains(&attribute.to_lowercase())
    }
}

/// `( 2.5.4.3 NAME ( 'cn' 'commonName' ) DESC '...' ... )`: the OID and the names.
fn names(description: &str) -> Vec<String> {
    let mut words = description.trim_start_matches(['(', ' ']).split_whitespace();
    let mut names: Vec<String> = words.next().map(str::to_lowercase).into_iter().collect();
    if words.next().is_none_or(|word| !word.eq_ignore_ascii_case("NAME")) {
        return names;
    }
    for word in words {
        match word {
            "(" => {}
            quoted if quoted.trim_start_matches('(').starts_with('\'') => {
                names.push(quoted.trim_matches(['(', ')', '\'']).to_lowercase());
                if !description.contains("NAME (") && !description.contains("NAME  (") {
                    break;
                }
            }
            _ => break,
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_several_names_and_no_name() {
        let one = "( 0.9.2342.19200300.100.1.1 NAME 'uid' DESC 'user id' EQUALITY caseIgnoreMatch )";
        assert_eq!(names(one), ["0.9.2342.19200300.100.1.1", "uid"]);
        let several = "( 2.5.4.3 NAME ( 'cn' 'commonName' ) DESC 'RFC4519' SUP name )";
        assert_eq!(names(several), ["2.5.4.3", "cn", "commonname"]);
        assert_eq!(names("( 1.2.3 DESC 'x' )"), ["1.2.3"]);
        let microsoft = "( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' SYNTAX '1.3.6' SINGLE-VALUE )";
        assert_eq!(names(microsoft), ["1.2.840.113556.1.4.221", "samaccountname"]);
        assert!(names("").is_empty());
    }
}
