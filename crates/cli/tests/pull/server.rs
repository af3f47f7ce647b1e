//! A web server for tests: one answer for each request, given by a function.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
pub struct Request {
    /// How many came before it.
    pub number: usize,
    pub path: String,
    headers: Vec<String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The first byte asked for.
    pub fn start(&self) -> usize {
        let range = self.header("Range").and_then(|range| range.strip_prefix("bytes="));
        range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap())
    }
}

/// A server that runs until the test ends.
pub struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn new(
        answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let seen = log.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, count, seen) = (answer.clone(), count.clone(), seen.clone());
                // A client that goes away in the middle is part of some tests.
                thread::spawn(move || talk(&mut stream.unwrap(), &*answer, &count, &seen));
            }
        });
        Server { address, log }
    }

    /// A server that gives the same bytes for every path, or the part of them that is asked for.
    pub fn of(body: Vec<u8>) -> Self {
        Server::new(move |request, stream| send(request, stream, &body))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What all requests so far asked for, with the range if there was one.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

fn talk(
    stream: &mut TcpStream,
    answer: &dyn Fn(&Request, &mut TcpStream) -> io::Result<()>,
    count: &AtomicUsize,
    log: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut lines = Vec::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        match line?.trim() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let Some(first) = lines.first() else { return Ok(()) };
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let number = count.fetch_add(1, Ordering::SeqCst);
    let request = Request { number, headers: lines.split_off(1), path };
    let range = request.header("Range").map_or(String::new(), |range| format!(" {range}"));
    log.lock().unwrap().push(format!("{}{range}", request.path));
    answer(&request, stream)
}

/// Sends a body, or the part of it that is asked for, with a strong entity tag.
pub fn send(request: &Request, stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    send_with(request, stream, body, "ETag: \"one\"\r\n", body.len())
}

/// As [`send`], with these headers, and stopping before the byte `end` of the whole.
pub fn send_with(
    request: &Request,
    stream: &mut TcpStream,
    body: &[u8],
    headers: &str,
    end: usize,
) -> io::Result<()> {
    let fits = request.header("If-Range").is_none_or(|validator| headers.contains(validator));
    let start = if fits { request.start() } else { 0 };
    let (length, status) = match start {
        0 => (body.len(), "200 OK".to_owned()),
        _ if start >= body.len() => {
            return write!(
                stream,
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n"
            );
        }
        _ => {
            let (last, all) = (body.len() - 1, body.len());
            let range = format!("Content-Range: bytes {start}-{last}/{all}");
            (body.len() - start, format!("206 Partial Content\r\n{range}"))
        }
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n")?;
    stream.write_all(&body[start..end.max(start)])
}

/// Sends an answer without a body.
pub fn status(stream: &mut TcpStream, status: &str, headers: &str) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n")
}
