//! Ways to read a large file that the kernel has at hand, compare its chunks and send it, side by side: the trial
//! behind decision 36. Each sends all of a file over loopback in its turn, while another thread throws away what comes.
//!
//!     cargo run --release --manifest-path bench/reading/Cargo.toml -- FOLDER

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Instant;
use std::{env, mem, ptr, thread};

use io_uring::{IoUring, opcode, types};

const CHUNK_BYTES: usize = 1 << 20;
const FILE_BYTES: usize = 256 << 20;
const ROUNDS: usize = 7;

type Way = fn(&File, &mut TcpStream) -> io::Result<u32>;

const WAYS: &[(&str, Way)] = &[
    ("pread of 256 KiB, compared by MiB", |file, to| {
        by_pread(file, to, 256 << 10)
    }),
    ("pread of 1 MiB", |file, to| by_pread(file, to, CHUNK_BYTES)),
    ("mapped", by_map),
    ("io_uring, the next MiB read ahead", by_ring),
    (
        "pread of 1 MiB to compare, sendfile to send",
        compared_and_sent,
    ),
    ("sendfile, nothing compared", |file, to| {
        sendfile(file, to, 0, FILE_BYTES)?;
        Ok(0)
    }),
];

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    let path = folder.join("reading.tmp");
    let mut bytes = vec![0_u8; FILE_BYTES];
    let mut state = 1_u32;
    for byte in &mut bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    fs::write(&path, &bytes)?;
    let file = File::open(&path)?;
    let expected = sums(&bytes);
    drop(bytes);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut to = TcpStream::connect(listener.local_addr()?)?;
    to.set_nodelay(true)?;
    let (mut from, _) = listener.accept()?;
    thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        while matches!(from.read(&mut buffer), Ok(1..)) {}
    });
    let mut taken = vec![Vec::new(); WAYS.len()];
    for round in 0..ROUNDS {
        for turn in 0..WAYS.len() {
            let index = (round + turn) % WAYS.len();
            let (began, cpu) = (Instant::now(), cpu_s());
            let seen = WAYS[index].1(&file, &mut to)?;
            let is_compared = index + 1 < WAYS.len();
            assert!(!is_compared || seen == expected, "{}", WAYS[index].0);
            // The first round does not count.
            if round > 0 {
                taken[index].push((began.elapsed().as_secs_f64(), cpu_s() - cpu));
            }
        }
    }
    fs::remove_file(path)?;
    let gigabytes = FILE_BYTES as f64 / 1e9;
    println!("| way | MB/s | CPU s of the sender per GB |\n|---|---|---|");
    for ((name, _), taken) in WAYS.iter().zip(taken) {
        let wall_s = median(taken.iter().map(|it| it.0));
        let cpu_s = median(taken.iter().map(|it| it.1));
        println!(
            "| {name} | {:.0} | {:.2} |",
            gigabytes * 1e3 / wall_s,
            cpu_s / gigabytes
        );
    }
    Ok(())
}

/// The sums of all chunks, one after the other.
fn sums(bytes: &[u8]) -> u32 {
    bytes
        .chunks(CHUNK_BYTES)
        .fold(0, |all, chunk| all ^ crc32c::crc32c(chunk))
}

fn by_pread(file: &File, to: &mut TcpStream, piece_bytes: usize) -> io::Result<u32> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut all = 0;
    for start in (0..FILE_BYTES).step_by(CHUNK_BYTES) {
        for at in (0..CHUNK_BYTES).step_by(piece_bytes) {
            file.read_exact_at(&mut chunk[at..at + piece_bytes], (start + at) as u64)?;
        }
        all ^= sums(&chunk);
        to.write_all(&chunk)?;
    }
    Ok(all)
}

fn by_map(file: &File, to: &mut TcpStream) -> io::Result<u32> {
    // SAFETY: nobody else has the file while this runs.
    let map = unsafe { memmap2::Mmap::map(file)? };
    let mut all = 0;
    for chunk in map.chunks(CHUNK_BYTES) {
        all ^= sums(chunk);
        to.write_all(chunk)?;
    }
    Ok(all)
}

fn by_ring(file: &File, to: &mut TcpStream) -> io::Result<u32> {
    let mut ring = IoUring::new(4)?;
    let mut buffers = [vec![0_u8; CHUNK_BYTES], vec![0_u8; CHUNK_BYTES]];
    let fd = types::Fd(file.as_raw_fd());
    let chunks = FILE_BYTES / CHUNK_BYTES;
    let read = |ring: &mut IoUring, buffers: &mut [Vec<u8>; 2], number: usize| {
        let buffer = &mut buffers[number % 2];
        let entry = opcode::Read::new(fd, buffer.as_mut_ptr(), CHUNK_BYTES as u32)
            .offset((number * CHUNK_BYTES) as u64)
            .build();
        // SAFETY: the buffer stays, and is left alone until the ring says that it is filled.
        unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
        ring.submit().map(drop)
    };
    let mut all = 0;
    read(&mut ring, &mut buffers, 0)?;
    for number in 0..chunks {
        ring.submit_and_wait(1)?;
        let done = ring.completion().next().map(|it| it.result());
        assert_eq!(done, Some(CHUNK_BYTES as i32), "a read was short");
        if number + 1 < chunks {
            read(&mut ring, &mut buffers, number + 1)?;
        }
        let chunk = &buffers[number % 2];
        all ^= sums(chunk);
        to.write_all(chunk)?;
    }
    Ok(all)
}

fn compared_and_sent(file: &File, to: &mut TcpStream) -> io::Result<u32> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut all = 0;
    for start in (0..FILE_BYTES).step_by(CHUNK_BYTES) {
        file.read_exact_at(&mut chunk, start as u64)?;
        all ^= sums(&chunk);
        sendfile(file, to, start, CHUNK_BYTES)?;
    }
    Ok(all)
}

fn sendfile(file: &File, to: &TcpStream, start: usize, bytes: usize) -> io::Result<()> {
    let mut at = start as libc::off_t;
    let end = (start + bytes) as libc::off_t;
    while at < end {
        // SAFETY: both are open, and the kernel writes only to the offset.
        let sent = unsafe {
            libc::sendfile(
                to.as_raw_fd(),
                file.as_raw_fd(),
                ptr::from_mut(&mut at),
                (end - at) as usize,
            )
        };
        match sent {
            1.. => {}
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

/// The processor time of this thread.
fn cpu_s() -> f64 {
    // SAFETY: a struct of numbers, which the kernel fills.
    let usage = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage
    };
    let s = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    s(usage.ru_utime) + s(usage.ru_stime)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
