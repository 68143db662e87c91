//! Reading settings one by one: finds the value, has it parsed, and notes what is wrong and what is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::environment::Environment;
use super::files::{self, Found, Layer};
use super::problem::{Fault, Problem, Source, fault};
use super::variable::{self, Variable};

/// One line of the report: a setting that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportLine {
    /// The name of the setting.
    pub name: &'static str,
    /// Its value, or in place of a secret that there is one.
    pub value: String,
    /// Where the value stands.
    pub source: Source,
}

/// The setting has no usable value, and the problem is in the reader's notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noted;

/// Settings in; typed values, problems and a report out.
pub(super) struct Reader<'a> {
    environment: &'a Environment,
    found: BTreeMap<&'static str, Found>,
    refused: BTreeSet<&'static str>,
    /// The only file that is read; none where all sources are.
    file: Option<PathBuf>,
    notes: Notes,
}

/// What there is to say when all settings were read.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) report: Vec<ReportLine>,
}

impl<'a> Reader<'a> {
    /// Reads all sources. For each setting the first source that gives it counts.
    pub(super) fn new(environment: &'a Environment) -> Self {
        let mut reader = Self {
            environment,
            found: BTreeMap::new(),
            refused: BTreeSet::new(),
            file: None,
            notes: Notes::default(),
        };
        reader.add(files::environment(environment));
        reader.add(files::dotenv(environment));
        reader.add(files::toml(environment));
        reader.add_second_file();
        reader
    }

    /// Reads these settings from one file only, which has the form of `.env` and which `variable`
    /// names.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn of_file(
        &mut self,
        variable: &Variable,
        name: &Path,
        only: &[Variable],
    ) -> Result<Self, Noted> {
        let content = files::read(&self.environment.working_dir.join(name), true)
            .map_err(|fault| self.problem(variable, fault))?;
        let mut layer = files::settings_in(name, &content);
        let belongs = |name: &str| {
            only.iter().any(|it| {
                it.name == name || it.file_name().is_some_and(|file_name| file_name == name)
            })
        };
        layer.found.retain(|name, _| belongs(name));
        let mut reader = Self {
            environment: self.environment,
            found: BTreeMap::new(),
            refused: BTreeSet::new(),
            file: Some(name.to_owned()),
            notes: Notes::default(),
        };
        reader.add(layer);
        Ok(reader)
    }

    /// Takes over what a reader of one file noted.
    pub(super) fn absorb(&mut self, of_file: Self) {
        let Notes {
            problems,
            warnings,
            report,
        } = of_file.notes;
        self.notes.problems.extend(problems);
        self.notes.warnings.extend(warnings);
        // What the file does not give is reported for the first bucket.
        let given = report
            .into_iter()
            .filter(|line| !matches!(line.source, Source::Default | Source::DerivedFrom(_)));
        self.notes.report.extend(given);
    }

    /// A setting with a default, which is written and parsed like any value.
    pub(super) fn read<T>(
        &mut self,
        variable: &Variable,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<T, Noted> {
        let text = self.text(variable)?.unwrap_or_else(|| default.to_owned());
        self.parsed(variable, &text, parse)
    }

    /// A setting without a default.
    pub(super) fn read_optional<T>(
        &mut self,
        variable: &Variable,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, Noted> {
        match self.text(variable)? {
            Some(text) => self.parsed(variable, &text, parse).map(Some),
            None => {
                self.report(variable, "none", self.source_of(variable));
                Ok(None)
            }
        }
    }

    /// Notes a problem with the value of a setting, or with its absence.
    pub(super) fn problem(&mut self, variable: &Variable, fault: Fault) -> Noted {
        self.problem_at(variable, self.place_of(variable), fault)
    }

    /// Notes a problem with a setting whose value comes from a place that the layers do not know.
    pub(super) fn problem_at(
        &mut self,
        variable: &Variable,
        source: Source,
        fault: Fault,
    ) -> Noted {
        let problem = Problem::new(Some(variable.name), source, fault);
        self.notes.problems.push(problem);
        Noted
    }

    /// Notes something that works but was probably not meant.
    pub(super) fn warning(&mut self, variable: &Variable, source: Source, fault: Fault) {
        let warning = Problem::new(Some(variable.name), source, fault);
        self.notes.warnings.push(warning);
    }

    /// Puts another value, or another source, into the report.
    pub(super) fn report(&mut self, variable: &Variable, value: impl Into<String>, source: Source) {
        self.notes.report.retain(|line| line.name != variable.name);
        self.notes.report.push(ReportLine {
            name: variable.name,
            value: value.into(),
            source,
        });
    }

    /// Where the value of a setting stands.
    pub(super) fn source_of(&self, variable: &Variable) -> Source {
        self.found
            .get(variable.name)
            .map_or(Source::Default, |found| found.source.clone())
    }

    /// Where the value of a setting stands, or would stand.
    fn place_of(&self, variable: &Variable) -> Source {
        match (self.source_of(variable), &self.file) {
            (Source::Default, Some(file)) => Source::DotEnv {
                file: file.clone(),
                line: None,
            },
            (source, _) => source,
        }
    }

    /// Whether nobody gave this setting a value.
    pub(super) fn is_default(&self, variable: &Variable) -> bool {
        self.source_of(variable) == Source::Default
    }

    /// The path a setting names, seen from the working directory.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        files::resolve(&self.environment.working_dir, path)
    }

    /// The problems, the warnings and the report, in the order of the list of settings.
    pub(super) fn into_notes(self) -> Notes {
        let mut notes = self.notes;
        notes.report.sort_by_key(|line| {
            variable::ALL
                .iter()
                .position(|known| known.name == line.name)
        });
        notes
    }

    /// The file of a second bucket, when the command line names one.
    fn add_second_file(&mut self) {
        let Some(path) = &self.environment.second_file else {
            return;
        };
        let (variable, source) = (
            &variable::S3_SECOND_FILE,
            Source::Argument("--target-config"),
        );
        match path.to_str() {
            Some(text) => {
                let text = text.to_owned();
                self.refused.remove(variable.name);
                self.found.insert(variable.name, Found { text, source });
            }
            None => {
                let fault = fault("is not UTF-8 text", "Give the file another name");
                self.problem_at(variable, source, fault);
                self.refused.insert(variable.name);
            }
        }
    }

    fn add(&mut self, mut layer: Layer) {
        self.notes.problems.append(&mut layer.problems);
        self.notes.warnings.append(&mut layer.warnings);
        for variable in &variable::ALL {
            let name = variable.name;
            let file_name = variable.file_name();
            let named = file_name
                .as_ref()
                .and_then(|name| layer.found.remove_entry(name));
            let direct = layer.found.remove(name);
            let is_refused = |name: &String| layer.refused.contains(name);
            if layer.refused.contains(name) || file_name.as_ref().is_some_and(is_refused) {
                self.refused.insert(name);
                continue;
            }
            match (direct, named) {
                (Some(direct), Some((file_name, _))) => {
                    let both = fault(
                        format!("is set, and so is {file_name}"),
                        "Remove one of the two",
                    );
                    self.problem_at(variable, direct.source, both);
                    self.refused.insert(name);
                }
                (Some(direct), None) => {
                    self.found.entry(name).or_insert(direct);
                }
                (None, Some((file_name, path))) if !self.found.contains_key(name) => {
                    self.add_named_file(variable, file_name, path);
                }
                (None, _) => {}
            }
        }
    }

    fn add_named_file(&mut self, variable: &Variable, file_name: String, path: Found) {
        let content = if path.text.is_empty() {
            Err(fault("is not named: the value is empty", "Name the file"))
        } else {
            files::named_file(Path::new(&self.resolve(&path.text)))
        };
        let source = Source::NamedFile {
            variable: file_name,
            set_in: Box::new(path.source),
        };
        match content {
            Ok(text) => {
                self.found.insert(variable.name, Found { text, source });
            }
            Err(fault) => {
                self.problem_at(variable, source, fault);
                self.refused.insert(variable.name);
            }
        }
    }

    /// The value of a setting; `None` when there is none.
    fn text(&mut self, variable: &Variable) -> Result<Option<String>, Noted> {
        if self.refused.contains(variable.name) {
            return Err(Noted);
        }
        let Some(text) = self
            .found
            .get(variable.name)
            .map(|found| found.text.clone())
        else {
            return Ok(None);
        };
        if text.is_empty() && variable.empty_is_none {
            return Ok(None);
        }
        well_formed(&text).map_err(|fault| self.problem(variable, fault))?;
        Ok(Some(text))
    }

    fn parsed<T>(
        &mut self,
        variable: &Variable,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<T, Noted> {
        let value = parse(text).map_err(|fault| self.problem(variable, fault))?;
        let shown = if variable.secret {
            "(set, not shown)"
        } else {
            text
        };
        self.report(variable, shown, self.source_of(variable));
        Ok(value)
    }
}

/// What holds for the value of every setting. Quotes and blanks at its ends come from a tool that
/// does not take them off (`docker run --env-file` is one); they would be sent as part of a key.
fn well_formed(text: &str) -> Result<(), Fault> {
    const QUOTES: [char; 7] = [
        '"', '\'', '`', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}',
    ];
    if text.is_empty() {
        return Err(fault("is empty", "Give it a value, or remove it"));
    }
    if text.trim() != text {
        return Err(fault(
            "begins or ends with a blank",
            "Remove the blank; if it is in no file, look at the tool that sets the variable",
        ));
    }
    if text.starts_with(QUOTES) || text.ends_with(QUOTES) {
        return Err(fault(
            "has quotes around the value that are part of it",
            "Remove the quotes; some tools, docker's --env-file for one, pass them on",
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(fault(
            "holds a control character, perhaps a line end",
            "Write the value on one line",
        ));
    }
    Ok(())
}
