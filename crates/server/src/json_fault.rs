//! What is wrong with JSON, in words that do not repeat its values.
//!
//! The parser's own messages hold the value that did not fit. A secret that was put into the wrong
//! field would then stand in an answer, and in the logs of whoever called. Names of fields are
//! repeated: they show a misspelt one.

/// What is wrong: a part of a sentence, without a full stop.
#[must_use]
pub fn describe(error: &serde_json::Error) -> String {
    without_values(&error.to_string())
}

/// Takes the value out of a message of serde, which writes it in one of two ways:
/// `invalid type: string "...", expected ...` and ``unknown variant `...`, expected ...``.
/// Source: <https://docs.rs/serde/1/src/serde_core/de/mod.rs.html>, `Unexpected` and `Error`.
fn without_values(message: &str) -> String {
    const STRING: &str = "string \"";
    const VARIANT: &str = "unknown variant `";
    const EXPECTED: &str = ", expected ";
    let value = match (message.find(STRING), message.strip_prefix(VARIANT)) {
        (_, Some(_)) => Some((VARIANT.len() - 1, "")),
        (Some(at), None) if message.starts_with("invalid ") => Some((at, "a string")),
        _ => None,
    };
    let Some((begins, instead)) = value else {
        return message.to_owned();
    };
    // The last one is the parser's own: what it expects are names of ours. Should a message ever end
    // in another way, all that follows the value is left out with it.
    let ends = message.rfind(EXPECTED).unwrap_or(message.len()).max(begins);
    let (before, after) = (&message[..begins], &message[ends..]);
    format!(
        "{}{instead}{after}",
        if instead.is_empty() {
            before.trim_end()
        } else {
            before
        }
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its parsing is looked at")]
    struct Body {
        count: Option<u64>,
        role: Option<Role>,
        list: Option<Vec<u8>>,
        text: Option<String>,
        inner: Option<Box<Body>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Role {
        Operator,
        Service,
    }

    fn described(json: &str) -> String {
        describe(&serde_json::from_str::<Body>(json).unwrap_err())
    }

    #[test]
    fn what_is_expected_stays_and_what_came_does_not() {
        for (json, description) in [
            (
                r#"{"count": "canary"}"#,
                "invalid type: a string, expected u64 at line 1 column 18",
            ),
            (
                r#"{"count": "a\", expected \"canary"}"#,
                "invalid type: a string, expected u64 at line 1 column 34",
            ),
            (
                r#"{"role": "canary"}"#,
                "unknown variant, expected `operator` or `service` at line 1 column 17",
            ),
            (
                r#"{"role": "a`, expected canary"}"#,
                "unknown variant, expected `operator` or `service` at line 1 column 30",
            ),
            (
                r#""canary""#,
                "invalid type: a string, expected struct Body at line 1 column 8",
            ),
            (
                r#"{"count": -1}"#,
                "invalid value: integer `-1`, expected u64 at line 1 column 12",
            ),
            (
                r#"{"counts": 1}"#,
                "unknown field `counts`, expected one of `count`, `role`, `list`, `text`, `inner` at line 1 column 9",
            ),
            (
                r#"{"text": "canary"#,
                "EOF while parsing a string at line 1 column 16",
            ),
        ] {
            assert_eq!(described(json), description, "{json}");
        }
    }

    proptest! {
        #[test]
        fn no_value_is_repeated(
            before in r#"[`", expctd\\]{0,12}"#,
            after in r#"[`", expctd\\]{0,12}"#,
            field in "count|role|list|inner",
            depth in 0_usize..3,
        ) {
            let value = serde_json::json!(format!("{before}CANARY{after}"));
            let mut body = serde_json::json!({field: value});
            for _ in 0..depth {
                body = serde_json::json!({"inner": body});
            }
            let description = described(&body.to_string());
            prop_assert!(!description.contains("CANARY"), "{}", description);
        }
    }
}
