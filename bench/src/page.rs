//! Page: sections of a document that a run replaces, while the words around them stay.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::Outcome;

/// What a part of the run has to say.
#[derive(Debug)]
pub(crate) struct Section {
    /// What the section is found by: it lies between `<!-- NAME -->` and `<!-- /NAME -->`.
    pub(crate) name: &'static str,
    /// Paragraphs and tables.
    pub(crate) text: Vec<String>,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Vec<&str> = self.text.iter().map(|it| it.trim_end()).collect();
        let (name, text) = (self.name, text.join("\n\n"));
        write!(f, "<!-- {name} -->\n{text}\n<!-- /{name} -->")
    }
}

/// Puts sections into a document: each in the place of the one with its name, else at the end.
pub(crate) fn write(path: &Path, sections: &[Section]) -> Outcome<()> {
    let before = fs::read_to_string(path).unwrap_or_default();
    let after = sections.iter().fold(before, |document, section| {
        replaced(&document, section).unwrap_or_else(|| format!("{document}\n{section}\n"))
    });
    fs::write(path, after)?;
    Ok(())
}

fn replaced(document: &str, section: &Section) -> Option<String> {
    let end = format!("<!-- /{} -->", section.name);
    let (before, rest) = document.split_once(&format!("<!-- {} -->", section.name))?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{section}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_around_a_section_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.md");
        let of = |text: &str| Section {
            name: "one",
            text: vec![text.to_owned()],
        };
        fs::write(&path, "# Head\n").unwrap();
        write(&path, &[of("old")]).unwrap();
        fs::write(&path, fs::read_to_string(&path).unwrap() + "\nFoot.\n").unwrap();
        write(&path, &[of("new")]).unwrap();
        let page = fs::read_to_string(&path).unwrap();
        assert_eq!(
            page,
            "# Head\n\n<!-- one -->\nnew\n<!-- /one -->\n\nFoot.\n"
        );
    }
}
