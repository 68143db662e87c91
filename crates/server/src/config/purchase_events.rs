//! The secrets that events about orders are signed with.

use super::problem::{Fault, fault};
use super::reader::{Noted, Reader};
use super::variable;
use crate::flows::orders::stripe;
use crate::flows::signatures::standard;

/// The secrets that events about orders are signed with, newest first. An event is taken when it is
/// signed with any of them, so that a secret can be exchanged while events arrive.
#[derive(Debug, Clone, Default)]
pub struct PurchaseEventSettings {
    /// Those of senders that follow the Standard Webhooks specification; none for no such sender.
    pub standard: Vec<standard::SigningSecret>,
    /// Those of endpoints at Stripe; none for no such endpoint.
    pub stripe: Vec<stripe::SigningSecret>,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<PurchaseEventSettings, Noted> {
    let standard = reader.read_optional(&variable::PURCHASE_WEBHOOK_SECRETS, |text| {
        each(
            text,
            |text| standard::SigningSecret::parse(text).ok(),
            "Write whsec_ and the base64 of 24 to 64 bytes, for example whsec_ and what openssl rand -base64 32 prints",
        )
    });
    let stripe = reader.read_optional(&variable::STRIPE_WEBHOOK_SECRETS, |text| {
        each(
            text,
            |text| stripe::SigningSecret::parse(text).ok(),
            "Copy the signing secret that Stripe shows for the endpoint, whsec_ included",
        )
    });
    Ok(PurchaseEventSettings {
        standard: standard?.unwrap_or_default(),
        stripe: stripe?.unwrap_or_default(),
    })
}

/// Several secrets with commas in between.
fn each<T>(
    text: &str,
    parse: impl Fn(&str) -> Option<T>,
    fix: &'static str,
) -> Result<Vec<T>, Fault> {
    text.split(',')
        .enumerate()
        .map(|(index, entry)| {
            let wrong = || format!("has something else than a secret at place {}", index + 1);
            parse(entry).ok_or_else(|| fault(wrong(), fix))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Environment;
    use super::*;

    // The base64 is of: not a real secret, not a real one
    const STANDARD: &str = "whsec_bm90IGEgcmVhbCBzZWNyZXQsIG5vdCBhIHJlYWwgb25l";
    const STRIPE: &str = "whsec_not-a-real-secret-of-an-endpoint";

    fn read_from(
        vars: &[(&str, &str)],
    ) -> (
        Result<PurchaseEventSettings, Noted>,
        super::super::reader::Notes,
    ) {
        let environment = Environment {
            vars: vars
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).into()))
                .collect(),
            ..Environment::default()
        };
        let mut reader = Reader::new(&environment);
        let settings = read(&mut reader);
        (settings, reader.into_notes())
    }

    #[test]
    fn without_a_secret_no_event_is_taken() {
        for vars in [
            &[][..],
            &[
                ("PURCHASE_WEBHOOK_SECRETS", ""),
                ("STRIPE_WEBHOOK_SECRETS", ""),
            ],
        ] {
            let (settings, notes) = read_from(vars);
            let settings = settings.expect("settings");
            assert!(settings.standard.is_empty() && settings.stripe.is_empty());
            assert!(notes.report.iter().all(|line| line.value == "none"));
        }
    }

    #[test]
    fn several_secrets_are_read_and_none_is_shown() {
        let two = format!("{STANDARD},{STANDARD}");
        let (settings, notes) = read_from(&[
            ("PURCHASE_WEBHOOK_SECRETS", &two),
            ("STRIPE_WEBHOOK_SECRETS", STRIPE),
        ]);
        let settings = settings.expect("settings");
        assert_eq!((settings.standard.len(), settings.stripe.len()), (2, 1));
        let shown = format!("{settings:?} {:?}", notes.report);
        assert!(!shown.contains("whsec_"), "{shown}");
        assert_eq!(notes.report[0].value, "(set, not shown)");
    }

    #[test]
    fn what_is_no_secret_is_refused_at_its_place_without_being_repeated() {
        let (settings, notes) = read_from(&[
            (
                "PURCHASE_WEBHOOK_SECRETS",
                &format!("{STANDARD},whsec_canary"),
            ),
            (
                "STRIPE_WEBHOOK_SECRETS",
                &format!("{STRIPE}, {STRIPE}-canary"),
            ),
        ]);
        assert_eq!(settings.err(), Some(Noted));
        assert_eq!(notes.problems.len(), 2);
        for problem in notes.problems {
            assert!(problem.wrong.ends_with("place 2"), "{problem}");
            assert!(!format!("{problem} {problem:?}").contains("canary"));
        }
    }
}
