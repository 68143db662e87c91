//! The texts of a listing, bounded.

use crate::http::problem::Problem;

/// The longest title, in characters.
const MAX_TITLE: usize = 200;
/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 20_000;
/// The longest name of a licence, in characters.
const MAX_LICENSE: usize = 200;
/// The most tags.
const MAX_TAGS: usize = 50;
/// The longest tag, in characters.
const MAX_TAG: usize = 50;

/// A title: one line, not empty.
///
/// # Errors
/// 400 with what is wrong.
pub fn title(text: &str) -> Result<String, Problem> {
    one_line("title", text, MAX_TITLE)
}

/// A licence: one line, not empty.
///
/// # Errors
/// 400 with what is wrong.
pub fn license(text: &str) -> Result<String, Problem> {
    one_line("license", text, MAX_LICENSE)
}

/// A description: any lines of text.
///
/// # Errors
/// 400 with what is wrong.
pub fn description(text: &str) -> Result<String, Problem> {
    bounded("description", text, MAX_DESCRIPTION)?;
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err(Problem::invalid("description has a control character."));
    }
    Ok(text.to_owned())
}

/// Tags: a few short lines, each once.
///
/// # Errors
/// 400 with what is wrong.
pub fn tags(texts: &[String]) -> Result<Vec<String>, Problem> {
    if texts.len() > MAX_TAGS {
        return Err(Problem::invalid(format!(
            "tags has more than {MAX_TAGS} entries."
        )));
    }
    let mut tags = Vec::with_capacity(texts.len());
    for text in texts {
        let tag = one_line("tags", text, MAX_TAG)?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

/// The shop's own name for an order: one line, not empty.
///
/// # Errors
/// 400 with what is wrong.
pub fn order_ref(text: &str) -> Result<String, Problem> {
    one_line("order_ref", text, 255)
}

/// What a key is called: one line, not empty.
///
/// # Errors
/// 400 with what is wrong.
pub fn key_name(text: &str) -> Result<String, Problem> {
    one_line("name", text, MAX_TITLE)
}

/// What an endpoint is, for people: one line, not empty.
///
/// # Errors
/// 400 with what is wrong.
pub fn endpoint_description(text: &str) -> Result<String, Problem> {
    one_line("description", text, MAX_TITLE)
}

/// One line of text, not empty and without control characters.
fn one_line(field: &str, text: &str, max_characters: usize) -> Result<String, Problem> {
    bounded(field, text, max_characters)?;
    if text.trim().is_empty() {
        return Err(Problem::invalid(format!("{field} is empty.")));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::invalid(format!(
            "{field} has a control character."
        )));
    }
    Ok(text.to_owned())
}

fn bounded(field: &str, text: &str, max_characters: usize) -> Result<(), Problem> {
    if text.chars().count() > max_characters {
        return Err(Problem::invalid(format!(
            "{field} is longer than {max_characters} characters."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_plain() {
        assert_eq!(title("Helmet \u{1f6e1}").unwrap(), "Helmet \u{1f6e1}");
        for bad in ["", "  ", "a\nb", "a\0", &"x".repeat(201)] {
            assert!(title(bad).is_err(), "{bad:?}");
        }
        assert!(description("two\nlines\tand a tab").is_ok());
        assert!(description("bell \u{7}").is_err());
        let twice = ["a".to_owned(), "b".to_owned(), "a".to_owned()];
        assert_eq!(tags(&twice).unwrap(), ["a", "b"]);
        assert!(tags(&vec!["a".to_owned(); 51]).is_err());
    }
}
