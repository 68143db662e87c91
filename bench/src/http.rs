//! HTTP: requests one after the other over one connection, so that the client costs next to nothing.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::Outcome;

/// How long an answer may take, or a piece of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What ends a part of a form. It is in no file: those that are sent are noise or numbers.
const BOUNDARY: &str = "stockroom-bench-8f14e45fceea167a";

/// A connection, and what is said with every request.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// Lines of the head, each with its end.
    head: String,
}

/// An answer whose body was not read yet.
struct Answer {
    status: u16,
    size_bytes: u64,
}

/// Hashes what is written to it.
struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection {
    /// A connection with a key.
    pub(crate) fn open(address: SocketAddr, key: &str) -> Outcome<Self> {
        Self::with_headers(address, &[format!("authorization: Bearer {key}")])
    }

    /// A connection with headers, each as `name: value`.
    pub(crate) fn with_headers(address: SocketAddr, headers: &[String]) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let lines = headers.iter().map(|it| format!("{it}\r\n"));
        Ok(Self {
            stream: BufReader::new(stream),
            head: format!("host: {address}\r\n{}", lines.collect::<String>()),
        })
    }

    /// The JSON behind a path; anything but 200 is an error.
    pub(crate) fn get(&mut self, path: &str) -> Outcome<Value> {
        let answer = self.ask("GET", path, "")?;
        match answer.status {
            200 => self.json(&answer),
            _ => self.refused("GET", path, &answer),
        }
    }

    /// Sends JSON; anything but 200 and 201 is an error.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &Value) -> Outcome<Value> {
        let answer = self.ask(method, path, &body.to_string())?;
        match answer.status {
            200 | 201 => self.json(&answer),
            _ => self.refused(method, path, &answer),
        }
    }

    /// Sends a file as the field `file` of a form; anything but 201 is an error.
    pub(crate) fn form(&mut self, path: &str, filename: &str, file: &Path) -> Outcome<Value> {
        let mut file = File::open(file)?;
        let (opening, end) = form_around(filename);
        let size_bytes = file.metadata()?.len() + (opening.len() + end.len()) as u64;
        let head = &self.head;
        let head = format!(
            "POST {path} HTTP/1.1\r\n{head}content-type: {}\r\ncontent-length: {size_bytes}\r\n\r\n{opening}",
            form_type()
        );
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        // Between a file and a socket the kernel moves the bytes by itself.
        io::copy(&mut file, stream)?;
        stream.write_all(end.as_bytes())?;
        let answer = self.answer()?;
        match answer.status {
            201 => self.json(&answer),
            _ => self.refused("POST", path, &answer),
        }
    }

    /// The status of an answer whose body does not matter.
    pub(crate) fn status(&mut self, path: &str) -> Outcome<u16> {
        let answer = self.ask("GET", path, "")?;
        self.body(&answer, &mut io::sink())?;
        Ok(answer.status)
    }

    /// The SHA-256 of what is behind a path; anything but 200 is an error.
    pub(crate) fn digest(&mut self, path: &str) -> Outcome<String> {
        let answer = self.ask("GET", path, "")?;
        if answer.status != 200 {
            return self.refused("GET", path, &answer);
        }
        let mut hashing = Hashing(Sha256::new());
        self.body(&answer, &mut hashing)?;
        Ok(hex::encode(hashing.0.finalize()))
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> Outcome<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\n{}", self.head);
        if !body.is_empty() {
            let size_bytes = body.len();
            request += "content-type: application/json\r\n";
            request += &format!("content-length: {size_bytes}\r\n");
        }
        request += "\r\n";
        request += body;
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    /// The head of an answer.
    fn answer(&mut self) -> Outcome<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|it| it.get(..3));
        let status = status.ok_or_else(|| format!("no answer of HTTP/1.1: {line}"))?;
        let status = status.parse()?;
        let mut size_bytes = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                size_bytes = Some(value.trim().parse()?);
            }
        }
        Ok(Answer {
            status,
            size_bytes: size_bytes.ok_or("an answer without a length")?,
        })
    }

    fn body(&mut self, answer: &Answer, to: &mut impl io::Write) -> Outcome<()> {
        let mut body = (&mut self.stream).take(answer.size_bytes);
        match io::copy(&mut body, to)? {
            all if all == answer.size_bytes => Ok(()),
            less => Err(format!("{less} of {} bytes were answered", answer.size_bytes).into()),
        }
    }

    fn json(&mut self, answer: &Answer) -> Outcome<Value> {
        let mut body = Vec::new();
        self.body(answer, &mut body)?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Says what a server answered instead. The path may be a signed one, which is nobody's secret here.
    fn refused<T>(&mut self, method: &str, path: &str, answer: &Answer) -> Outcome<T> {
        let mut body = Vec::new();
        self.body(answer, &mut body)?;
        let (status, body) = (answer.status, String::from_utf8_lossy(&body));
        Err(format!("{method} {path} was answered by {status}: {body}").into())
    }
}

/// The media type of a form as `form_around` makes it.
pub(crate) fn form_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// What is before a file in a form, and what comes after it.
pub(crate) fn form_around(filename: &str) -> (String, String) {
    let opening = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\
         content-type: model/stl\r\n\r\n"
    );
    (opening, format!("\r\n--{BOUNDARY}--\r\n"))
}

/// Where a URL without TLS leads, and the path there.
pub(crate) fn split_url(url: &str) -> Outcome<(SocketAddr, &str)> {
    let rest = url.strip_prefix("http://").ok_or("not a URL of http")?;
    let path_at = rest.find('/').ok_or("a URL without a path")?;
    Ok((rest[..path_at].parse()?, &rest[path_at..]))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What a server reads up to the end of a form when it answers like this, and what came of it.
    fn form_answered_by(answer: &'static str) -> (String, Outcome<Value>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (_, end) = form_around("a.stl");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(end.as_bytes()) {
                let mut piece = [0; 512];
                let count = stream.read(&mut piece).unwrap();
                seen.extend_from_slice(&piece[..count]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(seen).unwrap()
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "solid").unwrap();
        let mut connection = Connection::with_headers(address, &["x-buyer: b".into()]).unwrap();
        let outcome = connection.form("/models", "a.stl", &file);
        (server.join().unwrap(), outcome)
    }

    #[test]
    fn a_form_announces_its_whole_length() {
        let (seen, outcome) =
            form_answered_by("HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n{\"size\":5}");
        assert_eq!(outcome.unwrap()["size"], 5);
        let (head, body) = seen.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
        assert!(head.contains("x-buyer: b\r\n") && body.contains("\r\n\r\nsolid\r\n--"));
    }

    #[test]
    fn a_refusal_and_an_answer_that_breaks_off_are_errors() {
        let (_, refused) =
            form_answered_by("HTTP/1.1 415 Unsupported\r\ncontent-length: 4\r\n\r\nwhat");
        assert!(refused.unwrap_err().to_string().ends_with("by 415: what"));
        let (_, cut) = form_answered_by("HTTP/1.1 201 Created\r\ncontent-length: 4\r\n\r\n{}");
        assert_eq!(cut.unwrap_err().to_string(), "2 of 4 bytes were answered");
    }

    #[test]
    fn a_url_is_an_address_and_a_path() {
        let (address, path) = split_url("http://127.0.0.1:80/a?b=c").unwrap();
        assert_eq!((address.port(), path), (80, "/a?b=c"));
        assert!(split_url("https://127.0.0.1:80/a").is_err());
    }
}
