//! `.env` files.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use stockroom::config::dotenv::{Ambiguity, Content, parse};

fuzz_target!(|file: &[u8]| {
    let lines = parse(file);
    let written: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
    let mut last = 0;
    let mut seen = BTreeSet::new();
    for line in &lines {
        assert!(line.number > last && line.number <= written.len());
        last = line.number;
        let Content::Setting { name, value } = &line.content else {
            continue;
        };
        let source = std::str::from_utf8(written[line.number - 1]).expect("it was read");
        assert!(source.contains(name.as_str()));
        assert!(!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()));
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        );
        // No line counts after the first one with its name.
        let is_first = seen.insert(name.clone());
        match value {
            Ok(value) => {
                assert!(is_first);
                // Nothing is interpreted: a value stands in the file as it is.
                assert!(source.contains(value.as_str()));
                assert!(!value.contains(['\n', '\r', '\0']));
                read_again(name, value);
            }
            Err(Ambiguity::Duplicate { first }) => {
                assert!(!is_first && *first < line.number);
            }
            Err(_) => assert!(is_first),
        }
    }
});

/// A value in quotes that it does not hold has one reading.
fn read_again(name: &str, value: &str) {
    for quote in ['"', '\''] {
        if value.contains(quote) {
            continue;
        }
        let file = format!("export {name}={quote}{value}{quote}\r\n");
        let lines = parse(file.as_bytes());
        assert_eq!(lines.len(), 1);
        let expected = Content::Setting {
            name: name.to_owned(),
            value: Ok(value.to_owned()),
        };
        assert_eq!(lines[0].content, expected);
    }
}
