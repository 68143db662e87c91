//! The layers of the configuration: environment, `.env`, `stockroom.toml`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::dotenv::{self, Ambiguity, Content, Unreadable};
use super::environment::Environment;
use super::problem::{Fault, Problem, Source, fault};
use super::variable;

/// No configuration file is longer; whatever is (a device, a log) was named by mistake.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) text: String,
    pub(super) source: Source,
}

/// The settings that one source gives, by name.
#[derive(Default)]
pub(super) struct Layer {
    pub(super) found: BTreeMap<String, Found>,
    /// Names that stand there with something that cannot be read. They are a problem already and
    /// must not be reported once more as missing.
    pub(super) refused: BTreeSet<String>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl Layer {
    fn refuse(&mut self, name: Option<&str>, source: Source, fault: Fault) {
        self.refused.extend(name.map(str::to_owned));
        self.problems.push(Problem::new(name, source, fault));
    }
}

/// The variables of the process. Names that are not known are left alone: Kubernetes, for one, adds
/// `S3_PORT` for a service called `s3`. Only what is one slip away from a setting gets a warning.
pub(super) fn environment(environment: &Environment) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in &environment.vars {
        if !variable::is_known(name) {
            if let Some(meant) = variable::suggestion(name)
                && variable::has_our_prefix(name)
            {
                let unknown = fault(
                    "is not a setting of Stockroom and was ignored",
                    format!("If {meant} is meant, correct the name"),
                );
                layer
                    .warnings
                    .push(Problem::new(Some(name), Source::Environment, unknown));
            }
            continue;
        }
        match value.to_str() {
            Some(text) => {
                let found = Found {
                    text: text.to_owned(),
                    source: Source::Environment,
                };
                layer.found.insert(name.clone(), found);
            }
            None => layer.refuse(Some(name), Source::Environment, not_utf8()),
        }
    }
    layer
}

/// `.env`. Settings of other programs are ignored: the file may be shared with the shop.
pub(super) fn dotenv(environment: &Environment) -> Layer {
    let named = environment.env_file.as_deref();
    let name = named.unwrap_or(Path::new(".env"));
    match read(&environment.working_dir.join(name), named.is_some()) {
        Ok(content) => settings_in(name, &content),
        Err(fault) => {
            let mut layer = Layer::default();
            let file = name.to_owned();
            layer.refuse(None, Source::DotEnv { file, line: None }, fault);
            layer
        }
    }
}

/// The settings in a file that has the form of `.env`.
pub(super) fn settings_in(name: &Path, content: &[u8]) -> Layer {
    let mut layer = Layer::default();
    for line in dotenv::parse(content) {
        let source = Source::DotEnv {
            file: name.to_owned(),
            line: Some(line.number),
        };
        match line.content {
            Content::Unreadable(reason) => layer.refuse(None, source, unreadable(reason)),
            Content::Setting { name, value } => dotenv_setting(&mut layer, name, value, source),
        }
    }
    layer
}

/// `stockroom.toml`: the settings as flat keys in lower case. The file is Stockroom's own, so every
/// key that is not known is a problem.
pub(super) fn toml(environment: &Environment) -> Layer {
    let named = environment.config_file.as_deref();
    let name = named.unwrap_or(Path::new("stockroom.toml"));
    let at = |line| Source::Toml {
        file: name.to_owned(),
        line,
    };
    let mut layer = Layer::default();
    let text = read(&environment.working_dir.join(name), named.is_some())
        .and_then(|content| String::from_utf8(content).map_err(|_| not_utf8()));
    let text = match text {
        Ok(text) => text,
        Err(fault) => {
            layer.refuse(None, at(None), fault);
            return layer;
        }
    };

    let (table, mut syntax_errors) = DeTable::parse_recoverable(&text);
    syntax_errors.sort_by_key(|error| error.span().map(|span| span.start));
    let mut last_line = None;
    for error in &syntax_errors {
        let line = error.span().map(|span| line_of(&text, span.start));
        // One slip makes several errors on its line. The error's own display would quote the line,
        // secrets and all; its message is made of fixed words.
        if last_line != Some(line) {
            let wrong = format!("is not valid TOML: {}", error.message());
            layer.refuse(None, at(line), fault(wrong, "Write name = \"value\""));
        }
        last_line = Some(line);
    }
    let mut settings: Vec<_> = table.get_ref().iter().collect();
    settings.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in settings {
        let source = at(Some(line_of(&text, key.span().start)));
        // After a syntax error a piece of a value can look like a key. It must not be quoted.
        let is_sure = syntax_errors.is_empty();
        toml_setting(&mut layer, key.get_ref(), value.get_ref(), source, is_sure);
    }
    layer
}

/// What the file that a `NAME_FILE` setting names holds, without one line end at its end.
pub(super) fn named_file(path: &Path) -> Result<String, Fault> {
    let content = read(path, true)?;
    let mut text = String::from_utf8(content).map_err(|_| not_utf8())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Reads a file of bounded length; nothing when it does not exist and need not.
pub(super) fn read(path: &Path, must_exist: bool) -> Result<Vec<u8>, Fault> {
    let mut content = Vec::new();
    let result = File::open(path).and_then(|file| {
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut content)
            .map(drop)
    });
    match result {
        Ok(()) if content.len() as u64 > MAX_FILE_BYTES => Err(fault(
            "is longer than 1 MiB",
            "Name a file that holds settings only",
        )),
        Ok(()) => Ok(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => Ok(Vec::new()),
        // The error of the operating system does not repeat the path.
        Err(error) => Err(fault(
            format!("cannot be read: {error}"),
            "Name a file that exists and that this user may read",
        )),
    }
}

fn dotenv_setting(
    layer: &mut Layer,
    name: String,
    value: Result<String, Ambiguity>,
    source: Source,
) {
    if !variable::is_known(&name) {
        if variable::has_our_prefix(&name) {
            layer.refuse(Some(&name), source, unknown(&name));
        } else if value == Err(Ambiguity::UnbalancedQuote) {
            // The value of another program may go on over the next lines, which then would be
            // taken for settings.
            layer.refuse(Some(&name), source, ambiguous(Ambiguity::UnbalancedQuote));
        }
        return;
    }
    match value {
        Ok(text) => {
            layer.found.insert(name, Found { text, source });
        }
        // A name that is refused on one line has no value at all, so neither of two values wins.
        Err(ambiguity) => layer.refuse(Some(&name), source, ambiguous(ambiguity)),
    }
}

fn toml_setting(layer: &mut Layer, key: &str, value: &DeValue<'_>, source: Source, is_sure: bool) {
    let name = key.to_ascii_uppercase();
    if !variable::is_known(&name) || key != name.to_ascii_lowercase() {
        if is_sure {
            let shown = shown_key(key);
            layer.refuse(Some(&shown), source, unknown_in_toml(key));
        }
        return;
    }
    let text = match value {
        DeValue::String(text) => text.clone().into_owned(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        other => {
            let wrong = format!("is written as {}", other.type_str());
            let fault = fault(wrong, "Write it as a string in double quotes");
            layer.refuse(Some(&name), source, fault);
            return;
        }
    };
    layer.found.insert(name, Found { text, source });
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// A key as it may be shown: a quoted key can be any text.
fn shown_key(key: &str) -> Cow<'_, str> {
    let is_plain = key.len() <= 64
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_plain {
        Cow::Borrowed(key)
    } else {
        Cow::Borrowed("a key")
    }
}

fn unknown(name: &str) -> Fault {
    let fix = match variable::suggestion(name) {
        Some(meant) => format!("If {meant} is meant, correct the name"),
        None => "Remove it, or look its name up in the list of settings".to_owned(),
    };
    fault("is not a setting of Stockroom", fix)
}

fn unknown_in_toml(key: &str) -> Fault {
    let fix = match variable::suggestion(key) {
        Some(meant) => format!(
            "If {} is meant, correct the name",
            meant.to_ascii_lowercase()
        ),
        None => "Remove it; keys are the names of settings in lower case, without sections".into(),
    };
    fault("is not a setting of Stockroom", fix)
}

fn not_utf8() -> Fault {
    fault("is not UTF-8 text", "Save it as UTF-8")
}

fn unreadable(reason: Unreadable) -> Fault {
    match reason {
        Unreadable::NotUtf8 => not_utf8(),
        Unreadable::Nul => fault("holds a NUL character", "Save the file as plain UTF-8 text"),
        Unreadable::NoEquals => fault(
            "has no `=`",
            "Write NAME=value on one line, or begin a comment with #",
        ),
        Unreadable::BadName => fault(
            "does not begin with a name",
            "Write NAME=value: letters, digits and underscores, and no space before the `=`",
        ),
    }
}

fn ambiguous(ambiguity: Ambiguity) -> Fault {
    match ambiguity {
        Ambiguity::UnbalancedQuote => fault(
            "has a quote at only one end of the value",
            "Put the whole value, on one line, between two quotes of the kind it does not contain",
        ),
        Ambiguity::TextAfterQuote => fault(
            "has text behind the closing quote",
            "Move a comment to a line of its own; quote a value with the kind of quote it does not contain",
        ),
        Ambiguity::OuterBlank => fault(
            "has blanks at an end of the value",
            "Remove them, or put the value in quotes if they belong to it",
        ),
        Ambiguity::CarriageReturn => fault(
            "has a carriage return within the line",
            "Save the file with line ends of one kind",
        ),
        Ambiguity::Duplicate { first } => fault(
            format!("was already given a value on line {first}"),
            "Keep one of the two lines",
        ),
    }
}

/// The path a setting names, seen from the working directory.
pub(super) fn resolve(working_dir: &Path, path: &str) -> PathBuf {
    // Going through the components drops `./` in the middle.
    working_dir.join(path).components().collect()
}
