//! The host names and origins that clients may use.

use axum::http::HeaderValue;

use super::{args::ServeArgs, validation::Validator};

impl ServeArgs {
    /// Reads `ORDERS_ALLOWED_HOSTS`.
    pub(super) fn allowed_hosts(&self, validator: &mut Validator) -> Vec<String> {
        let names = self.allowed_hosts.as_deref().unwrap_or_default().split(',');
        let mut hosts = vec![];
        for name in names.map(str::trim).filter(|name| !name.is_empty()) {
            let is_name = name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            if is_name {
                hosts.push(name.to_owned());
            } else {
                validator.add(format!(
                    "ORDERS_ALLOWED_HOSTS: {name:?} is not a host name such as shop.example, \
                     without scheme and port"
                ));
            }
        }
        hosts
    }

    /// Reads `ORDERS_CORS_ORIGINS`.
    pub(super) fn cors_origins(&self, validator: &mut Validator) -> Vec<String> {
        let mut origins = vec![];
        for origin in self
            .cors_origins
            .iter()
            .flat_map(|origins| origins.split(','))
        {
            let origin = origin.trim();
            let has_scheme = origin.starts_with("http://") || origin.starts_with("https://");
            let has_no_path =
                origin.splitn(4, '/').count() == 3 && HeaderValue::try_from(origin).is_ok();
            if origin == "*" || (has_scheme && has_no_path) {
                origins.push(origin.to_owned());
            } else if !origin.is_empty() {
                validator.add(format!(
                    "ORDERS_CORS_ORIGINS: {origin:?} is not an origin such as https://shop.example"
                ));
            }
        }
        origins
    }
}
