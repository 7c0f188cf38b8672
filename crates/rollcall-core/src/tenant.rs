//! Tenants: the customers of the SaaS product.

use chrono::{DateTime, Utc};

use crate::id::TenantId;
use crate::revision::Revision;
use crate::violation::{Violations, check_text};

/// Most verified domains of one tenant.
pub(crate) const MAX_VERIFIED_DOMAINS: usize = 100;

/// What the product sets about a tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantSettings {
    /// Name for people, 1 to 200 characters.
    pub display_name: String,
    /// The add-on switch: without it no run starts and no login is answered.
    pub user_sync_enabled: bool,
    /// Domains that the product has proven to be this tenant's, in lower case. An e-mail login under one of
    /// them needs no tenant. A domain belongs to one tenant of the deployment.
    pub verified_domains: Vec<String>,
}

/// A tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What the product set.
    pub settings: TenantSettings,
    /// Counts the changes; the etag.
    pub revision: Revision,
    /// When it was created.
    pub create_time: DateTime<Utc>,
    /// When it was last changed.
    pub update_time: DateTime<Utc>,
}

impl TenantSettings {
    /// All mistakes in the settings.
    pub fn validate(&self) -> Violations {
        let mut found = Violations::new();
        check_text(&mut found, "display_name", &self.display_name, 1, 200);
        found.require(
            self.verified_domains.len() <= MAX_VERIFIED_DOMAINS,
            "verified_domains",
            format!("at most {MAX_VERIFIED_DOMAINS} domains are allowed"),
        );
        for (index, domain) in self.verified_domains.iter().enumerate() {
            let field = format!("verified_domains[{index}]");
            found.require(
                is_domain(domain),
                &field,
                "is not a domain name in lower case, like example.com",
            );
            found.require(
                !self.verified_domains[..index].contains(domain),
                &field,
                "stands in the list twice",
            );
        }
        found
    }
}

/// True for two or more lower-case LDH labels (RFC 1123 section 2.1), in punycode where needed.
pub fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_lower_case_ldh_names() {
        for good in ["example.com", "a.b", "xn--mnchen-3ya.de", "1.example"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in [
            "",
            "com",
            "Example.com",
            "-a.com",
            "a..b",
            "a.b.",
            "münchen.de",
            "a b.com",
        ] {
            assert!(!is_domain(bad), "{bad}");
        }
    }

    #[test]
    fn every_mistake_is_reported() {
        let settings = TenantSettings {
            display_name: String::new(),
            user_sync_enabled: true,
            verified_domains: vec!["a.b".into(), "a.b".into(), "nope".into()],
        };
        let found = settings.validate();
        let fields: Vec<_> = found.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(
            fields,
            ["display_name", "verified_domains[1]", "verified_domains[2]"]
        );
    }
}
