//! Questions: what is asked of a small and of a large shop, each time about another row.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{BOUGHT, FILES_OF_A_MODEL};
use crate::Outcome;
use crate::http::Connection;
use crate::shop::noise;

/// How many different paths are asked for in turns. More than a server keeps answers to.
const PATHS: usize = 20_000;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    Anybody,
    Collector,
    Operator,
}

/// Something to ask.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    pub(super) asker: Asker,
    /// A path, made of a number below `u64::MAX` and the number of models.
    path: fn(u64, u64) -> String,
    /// How many entries the answer has; none when it is no list.
    pub(super) entries: Option<usize>,
}

/// All of them.
pub(super) const QUESTIONS: &[Question] = &[
    Question {
        name: "sign a URL of a file that was bought",
        method: "POST",
        asker: Asker::Collector,
        path: |number, models| {
            let model = number % BOUGHT * (models / BOUGHT);
            let asset = model * FILES_OF_A_MODEL + number / BOUGHT % FILES_OF_A_MODEL;
            format!("/v1/assets/ast_{asset:026}/signed-url")
        },
        entries: None,
    },
    Question {
        name: "what a buyer of 10,000 models bought",
        method: "GET",
        asker: Asker::Collector,
        path: |_, _| "/v1/library".to_owned(),
        entries: Some(20),
    },
    Question {
        name: "the newest models",
        method: "GET",
        asker: Asker::Anybody,
        path: |_, _| "/v1/models".to_owned(),
        entries: Some(20),
    },
    Question {
        name: "a page of models somewhere",
        method: "GET",
        asker: Asker::Anybody,
        path: |number, models| {
            let last = format!("mdl_{:026}", 100 + number % (models - 100));
            format!("/v1/models?cursor={}", cursor(&last))
        },
        entries: Some(20),
    },
    Question {
        name: "models with a word that all have",
        method: "GET",
        asker: Asker::Anybody,
        path: |_, _| "/v1/models?q=dragon".to_owned(),
        entries: Some(20),
    },
    Question {
        name: "models of an artist",
        method: "GET",
        asker: Asker::Anybody,
        path: |number, models| format!("/v1/models?artist=artist-{}", number % (models / 100)),
        entries: Some(20),
    },
    Question {
        name: "the files of a model",
        method: "GET",
        asker: Asker::Operator,
        path: |number, models| format!("/v1/models/mdl_{:026}/assets", number % models),
        entries: Some(FILES_OF_A_MODEL as usize),
    },
    Question {
        name: "100 objects somewhere",
        method: "GET",
        asker: Asker::Operator,
        path: |number, models| {
            let last = format!("models/mdl_{:026}/part-4.stl", number % (models - 20));
            format!("/v1/objects?limit=100&cursor={}", cursor(&last))
        },
        entries: Some(100),
    },
];

impl Question {
    /// What is asked for in a shop of so many models, the same in each run.
    pub(super) fn paths(&self, models: u64) -> Vec<String> {
        let noise = noise(models, PATHS * size_of::<u64>());
        let numbers = noise.chunks_exact(size_of::<u64>());
        numbers
            .filter_map(|bytes| bytes.try_into().ok())
            .map(|bytes| (self.path)(u64::from_le_bytes(bytes), models))
            .collect()
    }

    pub(super) fn ask(&self, connection: &mut Connection, path: &str) -> Outcome<Value> {
        match self.method {
            "GET" => connection.get(path),
            _ => connection.send(self.method, path, &json!({})),
        }
    }

    /// Whether an answer is one to this question.
    pub(super) fn is_answered_by(&self, answer: &Value) -> bool {
        match self.entries {
            Some(count) => answer["data"].as_array().map(Vec::len) == Some(count),
            None => answer["url"].is_string(),
        }
    }

    /// Lua with which wrk asks for these paths, one after the other.
    pub(super) fn requests(&self, paths: &[String]) -> String {
        let paths: Vec<String> = paths.iter().map(|it| format!("'{it}'")).collect();
        let body = match self.method {
            "GET" => "nil",
            _ => "'{}'",
        };
        format!(
            "local paths = {{{}}}\nlocal at = 0\n\
             wrk.headers['content-type'] = 'application/json'\n\
             request = function()\n  at = at % #paths + 1\n  \
             return wrk.format('{}', paths[at], nil, {body})\nend\n",
            paths.join(","),
            self.method,
        )
    }
}

/// The cursor behind an entry of a list.
fn cursor(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_question_is_about_many_rows_of_a_shop() {
        let sign = &QUESTIONS[0];
        for models in [BOUGHT, 100 * BOUGHT] {
            let paths: BTreeSet<String> = sign.paths(models).into_iter().collect();
            assert!(paths.len() > PATHS / 2, "{} paths", paths.len());
            let last = paths.last().unwrap();
            let number = last.strip_prefix("/v1/assets/ast_").unwrap();
            let number: u64 = number[..26].parse().unwrap();
            assert!(number < models * FILES_OF_A_MODEL, "{last}");
        }
    }

    #[test]
    fn only_as_many_entries_as_there_are_to_be_are_an_answer() {
        let newest = &QUESTIONS[2];
        let page = |count: usize| json!({"data": vec![0; count]});
        assert!(newest.is_answered_by(&page(20)));
        assert!(!newest.is_answered_by(&page(19)));
        assert!(!newest.is_answered_by(&json!({"url": "x"})));
        assert!(QUESTIONS[0].is_answered_by(&json!({"url": "x"})));
    }
}
