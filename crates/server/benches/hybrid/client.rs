//! Clients that keep their connections. They share the machine with what they measure, so they
//! do as little as they can: each blocks on a thread of its own, sends requests that were made
//! before, and looks at the status and the length of the answers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::series::{Sample, quantile};

/// How many there are, each with one connection.
pub(crate) const CLIENTS: usize = 4;

/// What the clients do in one turn.
pub(crate) struct Work {
    pub(crate) address: SocketAddr,
    /// What each answer must say.
    pub(crate) status: u16,
    /// How many of the first requests of each client do not count.
    pub(crate) warm_up: usize,
    /// For each client.
    pub(crate) requests: Vec<Vec<Bytes>>,
}

/// How it went for one client.
struct Course {
    begun: Instant,
    ended: Instant,
    latencies: Vec<Duration>,
}

/// Makes the first request alone, on a new connection.
pub(crate) fn exchange_once(work: &Work) {
    let request = work.requests.iter().flatten().next().expect("a request");
    let status = Connection::open(work.address).exchange(request);
    assert_eq!(status, work.status);
}

impl Work {
    /// Lets all clients begin together and waits for the last one.
    pub(crate) fn run(&self) -> Sample {
        let ready = Barrier::new(self.requests.len() + 1);
        let (courses, cpu) = thread::scope(|scope| {
            let requests = self.requests.iter();
            let clients: Vec<_> = requests
                .map(|requests| scope.spawn(|| self.client(requests, &ready)))
                .collect();
            ready.wait();
            let cpu_before = cpu_time();
            let courses = clients.into_iter().map(|client| client.join().unwrap());
            let courses: Vec<Course> = courses.collect();
            (courses, cpu_time().saturating_sub(cpu_before))
        });
        let begun = courses.iter().map(|it| it.begun).min().unwrap();
        let ended = courses.iter().map(|it| it.ended).max().unwrap();
        let latencies = courses.into_iter().flat_map(|it| it.latencies);
        let mut latencies: Vec<Duration> = latencies.collect();
        latencies.sort_unstable();
        let count = latencies.len() as f64;
        Sample {
            p50_s: quantile(&latencies, 0.5).as_secs_f64(),
            p99_s: quantile(&latencies, 0.99).as_secs_f64(),
            per_second: count / (ended - begun).as_secs_f64(),
            cpu_s: cpu.as_secs_f64() / count,
        }
    }

    fn client(&self, requests: &[Bytes], ready: &Barrier) -> Course {
        let mut connection = Connection::open(self.address);
        let mut exchange = |request| assert_eq!(connection.exchange(request), self.status);
        let (warm_up, counted) = requests.split_at(self.warm_up);
        warm_up.iter().for_each(&mut exchange);
        ready.wait();
        let begun = Instant::now();
        let mut ended = begun;
        let mut latencies = Vec::with_capacity(counted.len());
        for request in counted {
            exchange(request);
            let now = Instant::now();
            latencies.push(now - ended);
            ended = now;
        }
        Course {
            begun,
            ended,
            latencies,
        }
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            received: vec![0; 256 << 10],
        }
    }

    /// Sends a request and reads the answer to its announced end; its status.
    fn exchange(&mut self, request: &Bytes) -> u16 {
        self.stream.write_all(request).unwrap();
        let mut filled = 0;
        let head_bytes = loop {
            filled += self.read(filled);
            let mut windows = self.received[..filled].windows(4);
            if let Some(position) = windows.position(|end| end == b"\r\n\r\n") {
                break position + 4;
            }
        };
        let head = std::str::from_utf8(&self.received[..head_bytes]).unwrap();
        let status = head.split(' ').nth(1).expect("a status").parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let body_bytes: usize = length.expect("an announced length").parse().unwrap();
        let end = head_bytes + body_bytes;
        while filled < end {
            filled += self.read(0);
        }
        assert_eq!(filled, end, "more than one answer");
        status
    }

    fn read(&mut self, offset: usize) -> usize {
        let count = self.stream.read(&mut self.received[offset..]).unwrap();
        assert!(count > 0, "the server closed the connection");
        count
    }
}

/// How much processor time this process has had, clients and S3 servers included, in steps of
/// 10 ms; nothing where the system is not Linux. Source: proc_pid_stat(5), fields 14 and 15.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is a name in brackets, which may hold spaces.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields = after_name.split(' ').skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
