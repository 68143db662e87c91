//! HTTP: requests one after the other over one connection, so that the client costs next to nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::Outcome;

/// A connection with a key.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    key: String,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr, key: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            key: key.to_owned(),
        })
    }

    /// The JSON behind a path; anything but 200 is an error.
    pub(crate) fn get(&mut self, path: &str) -> Outcome<Value> {
        let key = &self.key;
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: stockroom\r\nauthorization: Bearer {key}\r\n\r\n"
        );
        self.stream.get_mut().write_all(head.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200") {
            return Err(format!("{path} was answered by {line}").into());
        }
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
        let mut body = vec![0; size_bytes.ok_or("an answer without a length")?];
        self.stream.read_exact(&mut body)?;
        Ok(serde_json::from_slice(&body)?)
    }
}
