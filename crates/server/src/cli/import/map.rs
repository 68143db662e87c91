//! The text of a map: a CSV file that says what files are sold as.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use csv::StringRecord;
use stockroom_domain::{Currency, Filename, Key, Money, Subject};

use crate::flows::import::{Line, Map, MapFault, MappedModel};
use crate::http::fields;

/// The columns there are, in the order in which they are documented.
const COLUMNS: [&str; 8] = [
    "path", "artist", "title", "model", "filename", "license", "price", "currency",
];
/// Those that have to be there.
const NEEDED: [&str; 2] = ["path", "artist"];

/// Reads a map.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn read(text: impl Read) -> Result<Map, Vec<MapFault>> {
    let mut reader = csv::ReaderBuilder::new().from_reader(text);
    let mut builder = Builder::default();
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => return Err(vec![of_csv(&error)]),
    };
    let columns = match columns(&header) {
        Ok(columns) => columns,
        Err(details) => {
            let faults = details.into_iter();
            return Err(faults.map(|detail| MapFault { line: 1, detail }).collect());
        }
    };
    for record in reader.records() {
        match record {
            Ok(record) => builder.add(&Cells {
                number: record.position().map_or(0, csv::Position::line),
                columns: &columns,
                record: &record,
            }),
            Err(error) => builder.faults.push(of_csv(&error)),
        }
    }
    if builder.faults.is_empty() {
        Ok(builder.map)
    } else {
        Err(builder.faults)
    }
}

fn of_csv(error: &csv::Error) -> MapFault {
    let line = error.position().map_or(1, csv::Position::line);
    let detail = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "It is not UTF-8.".to_owned(),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("It has {len} cells, and the header {expected_len}."),
        _ => format!("It cannot be read: {error}."),
    };
    MapFault { line, detail }
}

/// Where each column stands.
fn columns(header: &StringRecord) -> Result<HashMap<&'static str, usize>, Vec<String>> {
    let mut columns = HashMap::new();
    let mut faults = Vec::new();
    for (index, name) in header.iter().enumerate() {
        // Spreadsheets put a byte order mark before the first cell.
        let name = name.trim_start_matches('\u{feff}').trim();
        match COLUMNS.into_iter().find(|known| *known == name) {
            None => faults.push(format!(
                "There is no column {name:?}; known are {}.",
                COLUMNS.join(", ")
            )),
            Some(known) => {
                if columns.insert(known, index).is_some() {
                    faults.push(format!("The column {known} is there twice."));
                }
            }
        }
    }
    let missing = NEEDED.into_iter().filter(|it| !columns.contains_key(it));
    faults.extend(missing.map(|name| format!("The column {name} is missing.")));
    if faults.is_empty() {
        Ok(columns)
    } else {
        Err(faults)
    }
}

/// The cells of a line.
struct Cells<'a> {
    number: u64,
    columns: &'a HashMap<&'static str, usize>,
    record: &'a StringRecord,
}

impl<'a> Cells<'a> {
    /// A cell without the spaces around it; none when it is empty or its column is not there.
    fn get(&self, column: &str) -> Option<&'a str> {
        let cell = self.record.get(*self.columns.get(column)?)?.trim();
        (!cell.is_empty()).then_some(cell)
    }
}

/// The map as far as it was read.
#[derive(Default)]
struct Builder {
    map: Map,
    models: HashMap<String, usize>,
    filenames: HashSet<(usize, Filename)>,
    faults: Vec<MapFault>,
}

impl Builder {
    fn add(&mut self, cells: &Cells<'_>) {
        if let Err(detail) = self.try_add(cells) {
            self.faults.push(MapFault {
                line: cells.number,
                detail,
            });
        }
    }

    fn try_add(&mut self, cells: &Cells<'_>) -> Result<(), String> {
        let path = cells.get("path").ok_or("The path is empty.")?;
        let key: Key = path
            .parse()
            .map_err(|error| format!("The path {path} is no key: {error}."))?;
        if let Some(first) = self.map.lines.get(path) {
            let line = first.number;
            return Err(format!("The path {path} is in line {line} too."));
        }
        let filename = cells.get("filename").unwrap_or(key.file_name());
        let filename: Filename = filename
            .parse()
            .map_err(|error| format!("The file cannot be sold as {filename}: {error}."))?;
        let (name, model) = model(cells, &filename)?;
        let index = self.model(name, model)?;
        if !self.filenames.insert((index, filename.clone())) {
            return Err(format!(
                "The model has another file named {filename}; give this one another filename."
            ));
        }
        let line = Line {
            number: cells.number,
            filename,
            model: index,
        };
        self.map.lines.insert(path.to_owned(), line);
        Ok(())
    }

    /// The place of a model among those that were named before, or after them.
    fn model(&mut self, name: String, model: Named) -> Result<usize, String> {
        let Some(index) = self.models.get(&name) else {
            let index = self.map.models.len();
            self.map.models.push(MappedModel {
                name: name.clone(),
                title: model.title.unwrap_or(model.other_title),
                artist: model.artist,
                license: model.license,
                price: model.price,
            });
            self.models.insert(name, index);
            return Ok(index);
        };
        let Some(known) = self.map.models.get_mut(*index) else {
            return Ok(*index);
        };
        let contradiction = |what: &str| {
            Err(format!(
                "The {what} is another one than in the line that names the model first."
            ))
        };
        if known.artist != model.artist {
            return contradiction("artist");
        }
        if model.title.is_some_and(|title| title != known.title) {
            return contradiction("title");
        }
        if model.license.is_some() && model.license != known.license {
            return contradiction("license");
        }
        if model.price.is_some() && model.price != known.price {
            return contradiction("price");
        }
        Ok(*index)
    }
}

/// A model as one line names it.
struct Named {
    artist: Subject,
    title: Option<String>,
    /// What the model is called when no line has a title.
    other_title: String,
    license: Option<String>,
    price: Option<Money>,
}

/// The model of a line, with what tells it from the others.
fn model(cells: &Cells<'_>, filename: &Filename) -> Result<(String, Named), String> {
    let artist: Subject = cells
        .get("artist")
        .ok_or("The artist is empty.")?
        .parse()
        .map_err(|error| format!("The artist cannot be used: {error}."))?;
    let own_name = cells.get("model");
    let stem = match filename.as_str().rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => filename.as_str(),
    };
    let title = |text: &str| fields::title(text).map_err(|problem| problem.detail().to_owned());
    let named_title = cells.get("title").map(title).transpose()?;
    let other_title = title(own_name.unwrap_or(stem))?;
    let name = match own_name {
        Some(own_name) => format!("name {own_name}"),
        None => {
            let title = named_title.as_ref().unwrap_or(&other_title);
            format!("title {artist} {title}")
        }
    };
    let license = cells.get("license").map(fields::license).transpose();
    let named = Named {
        artist,
        title: named_title,
        other_title,
        license: license.map_err(|problem| problem.detail().to_owned())?,
        price: price(cells)?,
    };
    Ok((name, named))
}

fn price(cells: &Cells<'_>) -> Result<Option<Money>, String> {
    let (amount, currency) = match (cells.get("price"), cells.get("currency")) {
        (None, None) => return Ok(None),
        (Some(amount), Some(currency)) => (amount, currency),
        _ => return Err("A price needs a currency, and a currency a price.".to_owned()),
    };
    let amount: i64 = amount.parse().map_err(|_| {
        format!("The price {amount} is no whole number; write it in minor units: 1250 for 12.50.")
    })?;
    let currency: Currency = currency
        .parse()
        .map_err(|error| format!("The currency {currency} cannot be used: {error}."))?;
    Money::new(amount, currency)
        .map(Some)
        .map_err(|error| format!("The price cannot be used: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let faults = read(text.as_bytes()).unwrap_err();
        let shown = |fault: &MapFault| format!("{}: {}", fault.line, fault.detail);
        faults.iter().map(shown).collect()
    }

    #[test]
    fn files_with_the_same_name_of_a_model_belong_to_one() {
        let text = "\u{feff}path,artist,title,model,filename,license,price,currency\n\
                    models/1.stl,kaethe,Helmet,h-1,,CC-BY-4.0,1250,EUR\n\
                    models/2.stl,kaethe,,h-1,base.stl,,,\n\
                    models/3.stl,kaethe,Helmet,,,,,\n\
                    \"models/a, b.stl\",kaethe,Helmet,,,,,\n\
                    models/5.stl,otto,,,,,,\n";
        let map = read(text.as_bytes()).unwrap();
        let titles: Vec<(&str, &str)> = map
            .models
            .iter()
            .map(|model| (model.artist.as_str(), model.title.as_str()))
            .collect();
        assert_eq!(
            titles,
            [("kaethe", "Helmet"), ("kaethe", "Helmet"), ("otto", "5")]
        );
        let line = |path: &str| (map.lines[path].model, map.lines[path].filename.as_str());
        assert_eq!(line("models/1.stl"), (0, "1.stl"));
        assert_eq!(line("models/2.stl"), (0, "base.stl"));
        assert_eq!(line("models/3.stl"), (1, "3.stl"));
        assert_eq!(line("models/a, b.stl"), (1, "a, b.stl"));
        let price = map.models[0].price.unwrap();
        assert_eq!((price.amount(), map.models[1].price), (1_250, None));
    }

    #[test]
    fn what_cannot_be_meant_is_told_all_at_once() {
        assert_eq!(
            faults("path,color\n"),
            [
                "1: There is no column \"color\"; known are path, artist, title, model, filename, \
                 license, price, currency.",
                "1: The column artist is missing."
            ]
        );
        let text = "path,artist,title,model,filename,license,price,currency\n\
                    ,a,,,,,,\n\
                    avatars/1,a,,,,,,\n\
                    models/1.stl,,,,,,,\n\
                    models/2.stl,a,T,m,,,,\n\
                    models/2.stl,a,T,m,,,,\n\
                    models/x/2.stl,a,T,m,,,,\n\
                    models/4.stl,b,T,m,,,,\n\
                    models/5.stl,a,U,m,,,,\n\
                    models/6.stl,a,T,m,,,12.50,EUR\n\
                    models/7.stl,a,T,m,,,12,\n\
                    models/8.stl,a,T,m,a/b,,,\n\
                    models/9.stl,a\n";
        let faults = faults(text);
        let expected = [
            "2: The path is empty.",
            "3: The path avatars/1 is no key",
            "4: The artist is empty.",
            "6: The path models/2.stl is in line 5 too.",
            "7: The model has another file named 2.stl",
            "8: The artist is another one",
            "9: The title is another one",
            "10: The price 12.50 is no whole number",
            "11: A price needs a currency",
            "12: The file cannot be sold as a/b",
            "13: It has 2 cells, and the header 8.",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}");
        }
    }
}
