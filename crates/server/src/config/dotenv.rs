//! `.env`, read literally.
//!
//! A line is `NAME=value`, with `export ` before it if you like; it is a comment when its first
//! character that is not blank is `#`. The value is everything after the `=` up to the end of the
//! line (LF or CRLF). A value in matching single or double quotes loses them. Nothing else is
//! interpreted: no escapes, no `$NAME`, no comment behind a value, no value over several lines.
//! Where readers of such files disagree about what a line means, the line is refused: a value that
//! is silently cut (dotenvy 0.15 reads `p` for `p$word`) is worse than a program that does not start.

use std::collections::BTreeMap;

/// One line that is neither empty nor a comment.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// What stands there.
    pub content: Content,
}

/// What stands on a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// `NAME=value`.
    Setting {
        /// The name.
        name: String,
        /// The value, or why it has several readings.
        value: Result<String, Ambiguity>,
    },
    /// Not even a name can be read.
    Unreadable(Unreadable),
}

/// Why a value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ambiguity {
    /// It begins with a quote that does not end, or ends with one that does not begin.
    UnbalancedQuote,
    /// Something stands behind the closing quote.
    TextAfterQuote,
    /// It has no quotes, and begins or ends with blanks.
    OuterBlank,
    /// A carriage return stands within the line.
    CarriageReturn,
    /// The name was given a value on an earlier line.
    Duplicate {
        /// That line.
        first: usize,
    },
}

/// Why a line is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not UTF-8.
    NotUtf8,
    /// It holds a NUL character.
    Nul,
    /// It has no `=`.
    NoEquals,
    /// What stands before the `=` is no name.
    BadName,
}

/// Reads a whole file. A byte order mark at its start is skipped.
#[must_use]
pub fn parse(file: &[u8]) -> Vec<Line> {
    let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    let mut lines: Vec<Line> = file
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter_map(|(index, line)| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            parse_line(line).map(|content| Line {
                number: index + 1,
                content,
            })
        })
        .collect();
    refuse_duplicates(&mut lines);
    lines
}

fn parse_line(line: &[u8]) -> Option<Content> {
    let Ok(line) = std::str::from_utf8(line) else {
        return Some(Content::Unreadable(Unreadable::NotUtf8));
    };
    let line = line.trim_start_matches([' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if line.contains('\0') {
        return Some(Content::Unreadable(Unreadable::Nul));
    }
    let Some((name, value)) = without_export(line).split_once('=') else {
        return Some(Content::Unreadable(Unreadable::NoEquals));
    };
    if !is_name(name) {
        return Some(Content::Unreadable(Unreadable::BadName));
    }
    Some(Content::Setting {
        name: name.to_owned(),
        value: parse_value(value),
    })
}

fn without_export(line: &str) -> &str {
    line.strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .map_or(line, |rest| rest.trim_start_matches([' ', '\t']))
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn parse_value(value: &str) -> Result<String, Ambiguity> {
    if value.contains('\r') {
        return Err(Ambiguity::CarriageReturn);
    }
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let (inner, after) = value[1..]
            .split_once(quote)
            .ok_or(Ambiguity::UnbalancedQuote)?;
        // Blanks behind a closing quote can mean nothing; anything else could.
        return if after.trim_matches([' ', '\t']).is_empty() {
            Ok(inner.to_owned())
        } else {
            Err(Ambiguity::TextAfterQuote)
        };
    }
    if value.trim() != value {
        return Err(Ambiguity::OuterBlank);
    }
    if value.ends_with(['"', '\'']) {
        return Err(Ambiguity::UnbalancedQuote);
    }
    Ok(value.to_owned())
}

fn refuse_duplicates(lines: &mut [Line]) {
    let mut first_lines = BTreeMap::new();
    for line in lines {
        if let Content::Setting { name, value } = &mut line.content {
            let first = *first_lines.entry(name.clone()).or_insert(line.number);
            if first != line.number {
                *value = Err(Ambiguity::Duplicate { first });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn only(file: &[u8]) -> Content {
        let mut lines = parse(file);
        assert_eq!(lines.len(), 1, "{file:?}");
        lines.remove(0).content
    }

    fn setting(name: &str, value: Result<&str, Ambiguity>) -> Content {
        Content::Setting {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    #[test]
    fn values_are_read_literally() {
        for (line, value) in [
            ("N=", ""),
            ("N=plain", "plain"),
            ("N=p$word", "p$word"),
            ("N=${HOME}/x", "${HOME}/x"),
            ("N=a #b", "a #b"),
            ("N=#b", "#b"),
            ("N=a=b==", "a=b=="),
            ("N=a\\nb\\", "a\\nb\\"),
            ("N=it's", "it's"),
            ("N=a\"b\"c", "a\"b\"c"),
            ("N=a  b", "a  b"),
            ("N=\"\"", ""),
            ("N=''", ""),
            ("N=\"a b \"", "a b "),
            ("N=\"a b\" \t", "a b"),
            ("N=\" #$'\\n\"", " #$'\\n"),
            ("N='say \"hi\"'", "say \"hi\""),
            ("N=grün ☂", "grün ☂"),
            ("  N=indented", "indented"),
            ("export N=exported", "exported"),
            ("\texport \t N=exported", "exported"),
        ] {
            for ending in ["", "\n", "\r\n"] {
                let file = format!("{line}{ending}");
                assert_eq!(only(file.as_bytes()), setting("N", Ok(value)), "{file:?}");
            }
        }
        assert_eq!(only(b"export=1"), setting("export", Ok("1")));
        assert_eq!(only(b"\xEF\xBB\xBFN=bom"), setting("N", Ok("bom")));
    }

    #[test]
    fn values_with_two_readings_are_refused() {
        for (line, ambiguity) in [
            ("N=\"abc", Ambiguity::UnbalancedQuote),
            ("N='abc\"", Ambiguity::UnbalancedQuote),
            ("N=\"", Ambiguity::UnbalancedQuote),
            ("N=abc'", Ambiguity::UnbalancedQuote),
            ("N=\"abc\" # why", Ambiguity::TextAfterQuote),
            ("N=\"a\"b\"", Ambiguity::TextAfterQuote),
            ("N='a''b'", Ambiguity::TextAfterQuote),
            ("N=abc ", Ambiguity::OuterBlank),
            ("N=abc\t", Ambiguity::OuterBlank),
            ("N= abc", Ambiguity::OuterBlank),
            ("N= \"abc\"", Ambiguity::OuterBlank),
            ("N= ", Ambiguity::OuterBlank),
            // A no-break space, as it comes with text copied from a web page.
            ("N=abc\u{a0}", Ambiguity::OuterBlank),
            ("N=a\rM=b", Ambiguity::CarriageReturn),
            ("N=a\r\r", Ambiguity::CarriageReturn),
        ] {
            assert_eq!(
                only(format!("{line}\n").as_bytes()),
                setting("N", Err(ambiguity)),
                "{line:?}"
            );
        }
    }

    #[test]
    fn lines_that_are_no_setting_are_refused() {
        for (line, reason) in [
            (b"no equals".as_slice(), Unreadable::NoEquals),
            (b"export N", Unreadable::NoEquals),
            (b"N =1", Unreadable::BadName),
            (b"=1", Unreadable::BadName),
            (b"1N=1", Unreadable::BadName),
            (b"my-name=1", Unreadable::BadName),
            ("NÄME=1".as_bytes(), Unreadable::BadName),
            ("\u{feff}N=1".as_bytes(), Unreadable::BadName),
            (b"N=a\0b", Unreadable::Nul),
            (b"N=\xff", Unreadable::NotUtf8),
            (b"\xff\xfeN\0=\0", Unreadable::NotUtf8),
        ] {
            // The first line takes the place where a byte order mark would be skipped.
            let file = [b"\n", line].concat();
            assert_eq!(only(&file), Content::Unreadable(reason), "{line:?}");
        }
    }

    #[test]
    fn lines_are_counted_from_one_past_comments_and_empty_lines() {
        let file = b"# A=1\r\n\r\n  # B=2\nC=3\n \t\nD=4\nC=5\nnonsense\n";
        let expected = [
            (4, setting("C", Ok("3"))),
            (6, setting("D", Ok("4"))),
            (7, setting("C", Err(Ambiguity::Duplicate { first: 4 }))),
            (8, Content::Unreadable(Unreadable::NoEquals)),
        ];
        let expected = expected.map(|(number, content)| Line { number, content });
        assert_eq!(parse(file), expected);
    }

    /// A way to write the value that has one reading, if there is one.
    fn written(value: &str) -> Option<String> {
        let has = |quote| value.contains(quote);
        match (has('"'), has('\'')) {
            (false, _) => Some(format!("\"{value}\"")),
            (true, false) => Some(format!("'{value}'")),
            (true, true) => {
                let bare = value.trim() == value
                    && !value.starts_with(['"', '\''])
                    && !value.ends_with(['"', '\'']);
                bare.then(|| value.to_owned())
            }
        }
    }

    proptest! {
        #[test]
        fn any_value_survives_a_round_trip(
            value in r#"([^\x00\r\n]|[ \t"'#$\\=]){0,40}"#,
            crlf: bool,
            export: bool,
        ) {
            let written = written(&value);
            prop_assume!(written.is_some());
            let file = format!(
                "# before\n{}NAME={}{}AFTER=1\n",
                if export { "export " } else { "" },
                written.unwrap_or_default(),
                if crlf { "\r\n" } else { "\n" },
            );
            let lines = parse(file.as_bytes());
            prop_assert_eq!(lines.len(), 2);
            prop_assert_eq!(&lines[0].content, &setting("NAME", Ok(&value)));
            prop_assert_eq!(&lines[1].content, &setting("AFTER", Ok("1")));
        }

        #[test]
        fn a_value_is_read_whole_or_refused(value in r#"([^\x00\r\n]|[ \t"'#$\\=]){0,40}"#) {
            let content = only(format!("NAME={value}\n").as_bytes());
            if let Content::Setting { value: Ok(read), .. } = &content {
                let quotes_taken = value.len() - read.len();
                prop_assert!(read == &value || value.trim_matches([' ', '\t']).len() == read.len() + 2,
                    "{quotes_taken} bytes are missing");
            }
        }

        #[test]
        fn no_file_makes_it_panic(file in proptest::collection::vec(any::<u8>(), 0..200)) {
            let lines = parse(&file);
            prop_assert!(lines.len() <= file.len() + 1);
        }
    }
}
