//! Prices.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An ISO 4217 currency code: three letters, kept in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

/// A price that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The currency is not three letters.
    #[error("a currency is a three-letter ISO 4217 code such as EUR")]
    Currency,
    /// The amount is below zero or beyond what any price can be.
    #[error(
        "an amount is a whole number of minor units from 0 to {}",
        Money::MAX_AMOUNT
    )]
    Amount,
}

/// An amount in minor units (cents) of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Money {
    amount: i64,
    currency: Currency,
}

impl Money {
    /// The largest amount: what a double still holds exactly, since JSON readers use doubles.
    pub const MAX_AMOUNT: i64 = (1 << 53) - 1;

    /// A price of `amount` minor units.
    ///
    /// # Errors
    /// When the amount is negative or larger than [`Money::MAX_AMOUNT`].
    pub fn new(amount: i64, currency: Currency) -> Result<Self, MoneyError> {
        if (0..=Self::MAX_AMOUNT).contains(&amount) {
            Ok(Self { amount, currency })
        } else {
            Err(MoneyError::Amount)
        }
    }

    /// The amount in minor units.
    #[must_use]
    pub const fn amount(self) -> i64 {
        self.amount
    }

    /// The currency of the amount.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            amount: i64,
            currency: Currency,
        }
        let raw = Raw::deserialize(deserializer)?;
        Self::new(raw.amount, raw.currency).map_err(serde::de::Error::custom)
    }
}

impl Currency {
    /// The code in upper case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The bytes are ASCII letters, so the fallback is out of reach.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let code: [u8; 3] = text
            .as_bytes()
            .try_into()
            .map_err(|_| MoneyError::Currency)?;
        if code.iter().all(u8::is_ascii_alphabetic) {
            Ok(Self(code.map(|letter| letter.to_ascii_uppercase())))
        } else {
            Err(MoneyError::Currency)
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_reads_back_and_a_wrong_one_is_refused() {
        let price: Money = serde_json::from_str(r#"{"amount": 1250, "currency": "eur"}"#).unwrap();
        assert_eq!(price.amount(), 1250);
        assert_eq!(price.currency().as_str(), "EUR");
        for bad in [
            r#"{"amount": -1, "currency": "EUR"}"#,
            r#"{"amount": 9007199254740992, "currency": "EUR"}"#,
            r#"{"amount": 1, "currency": "EURO"}"#,
            r#"{"amount": 1, "currency": "E1R"}"#,
            r#"{"amount": 1, "currency": "EUR", "tax": 2}"#,
            r#"{"amount": 1.5, "currency": "EUR"}"#,
        ] {
            assert!(serde_json::from_str::<Money>(bad).is_err(), "{bad}");
        }
    }
}
