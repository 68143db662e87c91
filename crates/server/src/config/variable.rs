//! The list of settings: their names, which of them are secret, and which may stand in a file.

/// One setting, by the name it has in the environment and in `.env`.
/// In `stockroom.toml` the same name is written in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: &'static str,
    /// Its value is never shown.
    pub(super) secret: bool,
    /// `NAME_FILE` may name a file that holds the value.
    pub(super) file_form: bool,
    /// An empty value means none. For all others an empty value is a problem: it would choose a
    /// default, perhaps another store, because some other variable happened to be empty.
    pub(super) empty_is_none: bool,
}

impl Variable {
    /// The name of the variable that names a file with the value.
    pub(super) fn file_name(&self) -> Option<String> {
        self.file_form.then(|| format!("{}_FILE", self.name))
    }

    const fn named(name: &'static str) -> Self {
        Self {
            name,
            secret: false,
            file_form: false,
            empty_is_none: false,
        }
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn or_file(mut self) -> Self {
        self.file_form = true;
        self
    }

    const fn or_none(mut self) -> Self {
        self.empty_is_none = true;
        self
    }
}

pub(super) const DATA_DIR: Variable = Variable::named("DATA_DIR");
pub(super) const STORAGE_MODE: Variable = Variable::named("STORAGE_MODE");
pub(super) const STORAGE_DIR: Variable = Variable::named("STORAGE_DIR");
pub(super) const S3_ENDPOINT: Variable = Variable::named("S3_ENDPOINT").or_file().or_none();
pub(super) const S3_REGION: Variable = Variable::named("S3_REGION").or_file().or_none();
pub(super) const S3_BUCKET: Variable = Variable::named("S3_BUCKET").or_file().or_none();
// A key id is no secret, but it is where an application key lands when the two are mixed up.
pub(super) const S3_KEY_ID: Variable = Variable::named("S3_KEY_ID").secret().or_file().or_none();
pub(super) const S3_APPLICATION_KEY: Variable = Variable::named("S3_APPLICATION_KEY")
    .secret()
    .or_file()
    .or_none();
pub(super) const S3_PATH_STYLE: Variable = Variable::named("S3_PATH_STYLE");
pub(super) const S3_PUBLIC_ENDPOINT: Variable = Variable::named("S3_PUBLIC_ENDPOINT").or_none();
pub(super) const S3_CA_FILE: Variable = Variable::named("S3_CA_FILE").or_none();
pub(super) const S3_STORE_NAME: Variable = Variable::named("S3_STORE_NAME");
pub(super) const S3_SECOND_FILE: Variable = Variable::named("S3_SECOND_FILE").or_none();
pub(super) const HYBRID_READ: Variable = Variable::named("HYBRID_READ");
pub(super) const HYBRID_ACK: Variable = Variable::named("HYBRID_ACK");
pub(super) const DELETE_GRACE: Variable = Variable::named("DELETE_GRACE");
pub(super) const ENGINE_CONCURRENCY: Variable = Variable::named("ENGINE_CONCURRENCY");
pub(super) const ENGINE_MAX_BYTES_PER_SECOND: Variable =
    Variable::named("ENGINE_MAX_BYTES_PER_SECOND");
pub(super) const SCRUB_LOCAL_BYTES_PER_DAY: Variable = Variable::named("SCRUB_LOCAL_BYTES_PER_DAY");
pub(super) const SCRUB_S3_BYTES_PER_DAY: Variable = Variable::named("SCRUB_S3_BYTES_PER_DAY");
pub(super) const DATABASE_URL: Variable = Variable::named("DATABASE_URL").secret().or_file();
pub(super) const LISTEN: Variable = Variable::named("LISTEN");
pub(super) const PUBLIC_URL: Variable = Variable::named("PUBLIC_URL");
pub(super) const DELIVERY: Variable = Variable::named("DELIVERY");
pub(super) const FILE_CACHE_BYTES: Variable = Variable::named("FILE_CACHE_BYTES");
pub(super) const MAX_UPLOAD_BYTES: Variable = Variable::named("MAX_UPLOAD_BYTES");
pub(super) const MAX_FORM_FILES: Variable = Variable::named("MAX_FORM_FILES");
pub(super) const HEADER_TIMEOUT: Variable = Variable::named("HEADER_TIMEOUT");
pub(super) const IDLE_TIMEOUT: Variable = Variable::named("IDLE_TIMEOUT");
pub(super) const SHUTDOWN_GRACE: Variable = Variable::named("SHUTDOWN_GRACE");
pub(super) const RATE_LIMIT_PER_KEY: Variable = Variable::named("RATE_LIMIT_PER_KEY");
pub(super) const RATE_LIMIT_PER_ADDRESS: Variable = Variable::named("RATE_LIMIT_PER_ADDRESS");
pub(super) const TRUSTED_PROXIES: Variable = Variable::named("TRUSTED_PROXIES");
pub(super) const CORS_ORIGINS: Variable = Variable::named("CORS_ORIGINS");
pub(super) const SIGNING_KEYS: Variable = Variable::named("SIGNING_KEYS").secret().or_file();
pub(super) const PURCHASE_WEBHOOK_SECRETS: Variable = Variable::named("PURCHASE_WEBHOOK_SECRETS")
    .secret()
    .or_file()
    .or_none();
pub(super) const STRIPE_WEBHOOK_SECRETS: Variable = Variable::named("STRIPE_WEBHOOK_SECRETS")
    .secret()
    .or_file()
    .or_none();
pub(super) const WEBHOOK_ALLOWED_NETWORKS: Variable = Variable::named("WEBHOOK_ALLOWED_NETWORKS");
pub(super) const WEBHOOK_CA_FILE: Variable = Variable::named("WEBHOOK_CA_FILE").or_none();
pub(super) const LOG: Variable = Variable::named("LOG");
pub(super) const LOG_FORMAT: Variable = Variable::named("LOG_FORMAT");

/// All settings. What is not in this list is read from nowhere.
pub(super) const ALL: [Variable; 41] = [
    DATA_DIR,
    STORAGE_MODE,
    STORAGE_DIR,
    S3_ENDPOINT,
    S3_REGION,
    S3_BUCKET,
    S3_KEY_ID,
    S3_APPLICATION_KEY,
    S3_PATH_STYLE,
    S3_PUBLIC_ENDPOINT,
    S3_CA_FILE,
    S3_STORE_NAME,
    S3_SECOND_FILE,
    HYBRID_READ,
    HYBRID_ACK,
    DELETE_GRACE,
    ENGINE_CONCURRENCY,
    ENGINE_MAX_BYTES_PER_SECOND,
    SCRUB_LOCAL_BYTES_PER_DAY,
    SCRUB_S3_BYTES_PER_DAY,
    DATABASE_URL,
    LISTEN,
    PUBLIC_URL,
    DELIVERY,
    FILE_CACHE_BYTES,
    MAX_UPLOAD_BYTES,
    MAX_FORM_FILES,
    HEADER_TIMEOUT,
    IDLE_TIMEOUT,
    SHUTDOWN_GRACE,
    RATE_LIMIT_PER_KEY,
    RATE_LIMIT_PER_ADDRESS,
    TRUSTED_PROXIES,
    CORS_ORIGINS,
    SIGNING_KEYS,
    PURCHASE_WEBHOOK_SECRETS,
    STRIPE_WEBHOOK_SECRETS,
    WEBHOOK_ALLOWED_NETWORKS,
    WEBHOOK_CA_FILE,
    LOG,
    LOG_FORMAT,
];

/// Every name a setting can be given by: the settings and their `NAME_FILE` forms.
pub(super) fn known_names() -> impl Iterator<Item = String> {
    ALL.iter()
        .flat_map(|variable| [Some(variable.name.to_owned()), variable.file_name()])
        .flatten()
}

/// Whether the name is a setting or the `NAME_FILE` form of one.
pub(super) fn is_known(name: &str) -> bool {
    known_names().any(|known| known == name)
}

/// Whether a name that is not known was surely meant for Stockroom.
pub(super) fn has_our_prefix(name: &str) -> bool {
    ["S3_", "HYBRID_", "STORAGE_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// The settings of one bucket: what the file of a second one may hold.
pub(super) const OF_A_BUCKET: [Variable; 9] = [
    S3_ENDPOINT,
    S3_REGION,
    S3_BUCKET,
    S3_KEY_ID,
    S3_APPLICATION_KEY,
    S3_PATH_STYLE,
    S3_PUBLIC_ENDPOINT,
    S3_CA_FILE,
    S3_STORE_NAME,
];

/// The setting that was probably meant by a name that is not known.
pub(super) fn suggestion(unknown: &str) -> Option<String> {
    // What other programs call the same thing.
    const ALIASES: [(&str, Variable); 9] = [
        ("S3_ACCESS_KEY", S3_KEY_ID),
        ("S3_ACCESS_KEY_ID", S3_KEY_ID),
        ("S3_SECRET_KEY", S3_APPLICATION_KEY),
        ("S3_SECRET_ACCESS_KEY", S3_APPLICATION_KEY),
        ("S3_APP_KEY", S3_APPLICATION_KEY),
        ("S3_BUCKET_NAME", S3_BUCKET),
        ("S3_URL", S3_ENDPOINT),
        ("S3_FORCE_PATH_STYLE", S3_PATH_STYLE),
        ("STORAGE_PATH", STORAGE_DIR),
    ];
    let unknown = unknown.to_ascii_uppercase();
    if let Some((_, meant)) = ALIASES.iter().find(|(alias, _)| *alias == unknown) {
        return Some(meant.name.to_owned());
    }
    known_names()
        .map(|known| (strsim::osa_distance(&known, &unknown), known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: Vec<String> = known_names().collect();
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(names.len(), unique.len());
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        for (unknown, meant) in [
            ("S3_BUKET", Some("S3_BUCKET")),
            ("storage_mdoe", Some("STORAGE_MODE")),
            ("S3_KEY_ID_FIEL", Some("S3_KEY_ID_FILE")),
            ("S3_SECRET_ACCESS_KEY", Some("S3_APPLICATION_KEY")),
            ("S3_SOMETHING_ELSE", None),
        ] {
            assert_eq!(suggestion(unknown).as_deref(), meant, "{unknown}");
        }
    }
}
