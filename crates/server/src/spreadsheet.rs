//! What spreadsheets make of the cells of a CSV file.

/// A text that others chose, so that no spreadsheet takes it for a formula
/// (owasp.org/www-community/attacks/CSV_Injection).
#[must_use]
pub fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_becomes_a_formula() {
        for text in ["=1+1", "+1", "-1", "@x", "\tx"] {
            assert_eq!(harmless(text), format!("'{text}"));
        }
        assert_eq!(harmless("helmet=1.stl"), "helmet=1.stl");
    }
}
