//! Who is calling: from headers to a [`Caller`].

use axum::extract::FromRequestParts;
use http::header::{self, HeaderMap};
use http::request::Parts;
use stockroom_catalog::{KeyHash, KeyRow};
use stockroom_domain::{Caller, KeyId, Role, Subject, Timestamp};
use subtle::ConstantTimeEq as _;

use crate::app::App;
use crate::flows::keys;
use crate::http::audit::OperatorKey;
use crate::http::codes::Code;
use crate::http::problem::Problem;
use crate::secret_key::SecretKey;

/// The header with which a service key names the user it acts for.
pub const ACT_AS: &str = "stockroom-act-as";

/// What a request says about its caller, before the catalog was asked.
#[derive(Debug, Clone)]
pub struct Credentials {
    key_hash: Option<KeyHash>,
    acting_for: Option<Subject>,
    /// Who wants to know when it is an operator.
    record: Option<OperatorKey>,
}

/// A caller whose key was found and is valid.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Who it is, for the gate.
    pub caller: Caller,
    /// The key, when one was sent.
    pub key: Option<KeyId>,
    /// The role of the key, when one was sent.
    pub role: Option<Role>,
}

impl Credentials {
    /// Reads the headers.
    ///
    /// # Errors
    /// 401 when `Authorization` holds anything but one well-formed key; 400 when
    /// `Stockroom-Act-As` is no subject.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let key_hash = match one(headers, header::AUTHORIZATION.as_str()) {
            One::None => None,
            One::Value(value) => {
                let secret = bearer(value).ok_or_else(Problem::unauthenticated)?;
                Some(secret.hash())
            }
            One::Unreadable => return Err(Problem::unauthenticated()),
        };
        let acting_for = match one(headers, ACT_AS) {
            One::None => None,
            One::Value(value) => Some(value.parse().map_err(|error| {
                Problem::invalid(format!("The header Stockroom-Act-As is no user: {error}."))
            })?),
            One::Unreadable => {
                return Err(Problem::invalid(
                    "Send the header Stockroom-Act-As once, with visible ASCII characters only.",
                ));
            }
        };
        Ok(Self {
            key_hash,
            acting_for,
            record: None,
        })
    }

    /// What the catalog knows the key by.
    #[must_use]
    pub const fn key_hash(&self) -> Option<KeyHash> {
        self.key_hash
    }

    /// The user that the caller says it acts for.
    #[must_use]
    pub const fn acting_for(&self) -> Option<&Subject> {
        self.acting_for.as_ref()
    }

    /// The caller, once the catalog said which key it is: what every call with a key passes. It
    /// is counted, the use of the key is noted, and an operator is put on record.
    ///
    /// # Errors
    /// As [`Credentials::identify`]; 429 when the key calls too often.
    pub fn recognise(
        &self,
        app: &App,
        found: Option<&KeyRow>,
        now: Timestamp,
    ) -> Result<Identity, Problem> {
        let identity = self.identify(found, now)?;
        self.admit(app, found, &identity, now)?;
        Ok(identity)
    }

    /// Counts a call of a caller that was identified, notes the use of the key, and puts an operator
    /// on record.
    ///
    /// # Errors
    /// 429 when the key calls too often.
    pub fn admit(
        &self,
        app: &App,
        found: Option<&KeyRow>,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<(), Problem> {
        if let Some(key) = found
            && identity.key.is_some()
        {
            app.rate_limits.admit_key(key.id)?;
            if let Some(record) = &self.record {
                record.note(identity);
            }
            keys::note_use(app, key, now);
        }
        Ok(())
    }

    /// The caller by the catalog's row of the key.
    ///
    /// # Errors
    /// 401 when a key was sent that does not exist, was revoked or has expired; 403 when a key
    /// that belongs to one user names another.
    pub fn identify(&self, found: Option<&KeyRow>, now: Timestamp) -> Result<Identity, Problem> {
        let Some(sent) = self.key_hash else {
            return match self.acting_for {
                None => Ok(Identity {
                    caller: Caller::Anonymous,
                    key: None,
                    role: None,
                }),
                Some(_) => Err(Problem::unauthenticated()),
            };
        };
        let key = found
            // The query found it by this hash. Were it ever to find another, that opens nothing.
            .filter(|key| key.hash.0.ct_eq(&sent.0).into())
            .filter(|key| key.is_usable(now))
            .ok_or_else(Problem::unauthenticated)?;
        let caller = match (key.role, key.subject.clone(), self.acting_for.clone()) {
            (Role::Operator, _, None) => Caller::Operator,
            (Role::Operator | Role::Service, _, acting_for) => Caller::Service { acting_for },
            (Role::Artist, Some(subject), None) => Caller::Artist(subject),
            (Role::Buyer, Some(subject), None) => Caller::Buyer(subject),
            (Role::Artist | Role::Buyer, _, Some(_)) => {
                return Err(Problem::new(
                    Code::Forbidden,
                    "Only a service key may act for a user. Leave the header Stockroom-Act-As out.",
                ));
            }
            // The catalog refuses such a row; were there one, it would open nothing.
            (Role::Artist | Role::Buyer, None, None) => return Err(Problem::unauthenticated()),
        };
        Ok(Identity {
            caller,
            key: Some(key.id),
            role: Some(key.role),
        })
    }
}

impl Identity {
    /// Lets only keys of these roles through.
    ///
    /// # Errors
    /// 401 without a key, 403 with another one.
    pub fn require(&self, roles: &[Role]) -> Result<(), Problem> {
        match self.role {
            None => Err(Problem::unauthenticated()),
            Some(role) if roles.contains(&role) => Ok(()),
            Some(role) => Err(Problem::new(
                Code::Forbidden,
                format!("A key of the role {role} may not do this."),
            )),
        }
    }

    /// Lets only an operator through.
    ///
    /// # Errors
    /// 401 without a key, 403 with another one.
    pub fn require_operator(&self) -> Result<(), Problem> {
        self.require(&[Role::Operator])
    }

    /// The user on whose behalf the call is made.
    ///
    /// # Errors
    /// 401 without a key; 400 when a shop's key names no user.
    pub fn require_subject(&self) -> Result<&Subject, Problem> {
        match (self.caller.subject(), self.role) {
            (Some(subject), _) => Ok(subject),
            (None, None) => Err(Problem::unauthenticated()),
            (None, Some(_)) => Err(Problem::invalid(
                "Name the user whose this is in the header Stockroom-Act-As.",
            )),
        }
    }
}

impl FromRequestParts<App> for Credentials {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let mut credentials = Self::from_headers(&parts.headers)?;
        credentials.record = parts.extensions.get().cloned();
        Ok(credentials)
    }
}

impl FromRequestParts<App> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let credentials = Credentials::from_request_parts(parts, app).await?;
        let now = app.clock.now();
        let found = match credentials.key_hash() {
            Some(hash) => app.catalog.known_key(&hash, now).await?,
            None => None,
        };
        credentials.recognise(app, found.as_ref(), now)
    }
}

enum One<'a> {
    None,
    Value(&'a str),
    Unreadable,
}

fn one<'a>(headers: &'a HeaderMap, name: &str) -> One<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => One::None,
        (Some(value), None) => value.to_str().map_or(One::Unreadable, One::Value),
        (Some(_), Some(_)) => One::Unreadable,
    }
}

fn bearer(value: &str) -> Option<SecretKey> {
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    SecretKey::parse(token.trim_matches(' ')).ok()
}

#[cfg(test)]
mod tests {
    use stockroom_domain::{SeededEntropy, SystemEntropy};

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_unix_ms(1_000)
    }

    /// The secret that the rows here belong to.
    fn secret() -> SecretKey {
        SecretKey::generate(&SeededEntropy::new(1))
    }

    fn row(role: Role, subject: Option<&str>) -> KeyRow {
        KeyRow {
            id: KeyId::generate(now(), &SystemEntropy),
            hash: secret().hash(),
            role,
            subject: subject.map(|text| text.parse().unwrap()),
            name: None,
            created_at: now(),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        }
    }

    fn credentials(pairs: &[(&'static str, &str)]) -> Result<Credentials, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        Credentials::from_headers(&headers)
    }

    fn code(result: Result<Identity, Problem>) -> Option<Code> {
        result.err().map(|problem| problem.code())
    }

    #[test]
    fn a_key_says_who_is_calling() {
        let secret = secret().reveal();
        let bearer = format!("Bearer {secret}");
        let plain = credentials(&[("authorization", &bearer)]).unwrap();
        let acting = credentials(&[("authorization", &bearer), (ACT_AS, "u-1")]).unwrap();
        let identify = |c: &Credentials, row: KeyRow| c.identify(Some(&row), now());

        let caller = identify(&plain, row(Role::Buyer, Some("b")))
            .unwrap()
            .caller;
        assert_eq!(caller, Caller::Buyer("b".parse().unwrap()));
        let caller = identify(&plain, row(Role::Operator, None)).unwrap().caller;
        assert_eq!(caller, Caller::Operator);
        let for_user = Caller::Service {
            acting_for: Some("u-1".parse().unwrap()),
        };
        assert_eq!(
            identify(&acting, row(Role::Service, None)).unwrap().caller,
            for_user
        );
        // An operator that acts for a user gets what the user gets, and no more.
        assert_eq!(
            identify(&acting, row(Role::Operator, None)).unwrap().caller,
            for_user
        );
        assert_eq!(
            code(identify(&acting, row(Role::Artist, Some("a")))),
            Some(Code::Forbidden)
        );
    }

    #[test]
    fn keys_that_ended_and_keys_that_never_were_open_nothing() {
        let secret = secret().reveal();
        let plain = credentials(&[("authorization", &format!("Bearer {secret}"))]).unwrap();
        let mut revoked = row(Role::Operator, None);
        revoked.revoked_at = Some(now());
        let mut expired = row(Role::Operator, None);
        expired.expires_at = Some(now());
        // A row of another key, whatever brought it here.
        let mut another = row(Role::Operator, None);
        another.hash.0[31] ^= 1;
        for found in [
            None,
            Some(revoked),
            Some(expired),
            Some(row(Role::Buyer, None)),
            Some(another),
        ] {
            assert_eq!(
                code(plain.identify(found.as_ref(), now())),
                Some(Code::Unauthenticated)
            );
        }
    }

    #[test]
    fn odd_headers_are_refused() {
        let secret = secret().reveal();
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Basic abc",
            &secret,
            "Bearer sr_live_00",
        ] {
            let problem = credentials(&[("authorization", value)]).unwrap_err();
            assert_eq!(problem.code(), Code::Unauthenticated, "{value:?}");
        }
        let bearer = format!("bearer {secret}");
        assert!(credentials(&[("authorization", &bearer), ("authorization", &bearer)]).is_err());
        assert!(credentials(&[("authorization", &bearer)]).is_ok());
        let problem = credentials(&[(ACT_AS, "two words")]).unwrap_err();
        assert_eq!(problem.code(), Code::InvalidRequest);
        let lonely = credentials(&[(ACT_AS, "u-1")]).unwrap();
        assert_eq!(
            code(lonely.identify(None, now())),
            Some(Code::Unauthenticated)
        );
    }
}
