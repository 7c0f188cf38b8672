//! Resource names, as far as a client must take them apart.

use crate::failure::Failure;

/// `tenants/{tenant}` of a name that begins with it.
pub(crate) fn tenant_of(name: &str) -> Result<String, Failure> {
    let mut parts = name.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("tenants"), Some(tenant), Some(_)) if !tenant.is_empty() => Ok(format!("tenants/{tenant}")),
        _ => Err(Failure::Local(format!(
            "\"{name}\" must begin with tenants/{{tenant}}/"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_is_the_beginning_of_a_name() {
        assert_eq!(
            tenant_of("tenants/acme/directories/main").ok().as_deref(),
            Some("tenants/acme")
        );
        for bad in [
            "",
            "tenants",
            "tenants/acme",
            "tenants//directories/main",
            "acme/directories/main",
        ] {
            assert!(tenant_of(bad).is_err(), "{bad}");
        }
    }
}
