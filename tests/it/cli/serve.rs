//! `explain --serve`: the form, its pages, and whoever should not get one or wants to keep others from theirs.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use crate::bin::{Done, Place};

/// How long nobody has to wait on any machine. A test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program at work.
struct Serving {
    place: Place,
    port: u16,
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Option<ChildStderr>,
}

/// What it answered.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let named = |line: &&str| line.split_once(": ").is_some_and(|(own, _)| own.eq_ignore_ascii_case(name));
        let mut lines = self.head.lines().filter(named);
        let line = lines.next().unwrap_or_else(|| panic!("no {name} in {}", self.head));
        assert!(lines.next().is_none(), "{name} twice in {}", self.head);
        line.split_once(": ").unwrap().1
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Refused with `status` and one sentence that has `says` in it.
    #[track_caller]
    fn is_refusal(&self, status: u16, says: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.text().contains(says), "{}", self.text());
        let main = self.text().split_once("<p>").unwrap().1.split_once("</p>").unwrap().0;
        assert!(main.ends_with('.') && !main.contains('\n') && main.len() < 700, "{main}");
        self.is_guarded();
    }

    /// Has every header that keeps it apart from other pages.
    #[track_caller]
    fn is_guarded(&self) {
        let policy = self.header("Content-Security-Policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(self.header("X-Content-Type-Options"), "nosniff");
        assert_eq!(self.header("Cache-Control"), "no-store");
        assert_eq!(self.header("Cross-Origin-Resource-Policy"), "same-origin");
        assert_eq!(self.header("Cross-Origin-Opener-Policy"), "same-origin");
        // `no-referrer` would hide from us that the form is ours.
        assert!(["same-origin", "no-referrer"].contains(&self.header("Referrer-Policy")));
        assert_eq!(self.header("Content-Length"), self.body.len().to_string());
    }
}

/// Reads an answer to its end; none where the connection ended without one.
fn answer(stream: &mut TcpStream) -> Option<Answer> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = vec![];
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // Whoever was cut off may have got all of it before.
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        Err(e) => panic!("no answer: {e}"),
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answer { status, head, body: bytes[end + 4..].to_vec() })
}

/// A form's field as browsers write it.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

impl Serving {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(more: &[&str]) -> Self {
        let place = Place::new();
        fs_err::create_dir(place.path("temporary")).unwrap();
        let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
        // A temporary file would be seen as well.
        command.args(["explain", "--serve"]).args(more).env("TMPDIR", place.path("temporary"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut address = String::new();
        stdout.read_line(&mut address).unwrap();
        let port = address.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.trim_end().strip_suffix('/'));
        let port = port.unwrap_or_else(|| panic!("not an address: {address:?}")).parse().unwrap();
        let stderr = child.stderr.take();
        Self { place, port, child, stdout, stderr }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).unwrap()
    }

    /// The answer to these lines and this body. `HOST` is the header that a browser sends.
    #[track_caller]
    fn ask(&self, lines: &[&str], body: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(self.request(lines, body).as_bytes()).unwrap();
        answer(&mut stream).expect("an answer")
    }

    fn request(&self, lines: &[&str], body: &str) -> String {
        format!("{}\r\n\r\n{body}", lines.join("\r\n")).replace("HOST", &format!("Host: 127.0.0.1:{}", self.port))
    }

    /// A form as a request.
    fn form(&self, prompt: &str, language: &str, more: &[&str]) -> String {
        let body = format!("prompt={}&lang={language}", encoded(prompt));
        let length = format!("Content-Length: {}", body.len());
        let kind = "Content-Type: application/x-www-form-urlencoded";
        self.request(&[&["POST / HTTP/1.1", "HOST", kind, &length], more].concat(), &body)
    }

    #[track_caller]
    fn send(&self, prompt: &str, language: &str, more: &[&str]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(self.form(prompt, language, more).as_bytes()).unwrap();
        answer(&mut stream).expect("an answer")
    }

    /// It still does what it is for.
    #[track_caller]
    fn still_serves(&self) {
        let form = self.ask(&["GET / HTTP/1.1", "HOST"], "");
        assert!(form.status == 200 && form.text().contains("<form "), "{form:?}");
        let page = self.send("Mary gave a drink to", "en", &[]);
        assert!(page.status == 200 && page.text().ends_with("</html>\n"), "{} {}", page.status, page.text());
    }

    /// Ends it as Ctrl-C or another signal does, and gives what it said; nothing was written by it.
    #[cfg(unix)]
    #[track_caller]
    fn end(mut self, signal: i32) -> Done {
        // SAFETY: the child is ours, and was not waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
        let (mut out, mut said) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let code = self.child.wait().unwrap().code();
        let there: Vec<_> = self.place.contents().into_keys().collect();
        assert_eq!(there, [self.place.path("temporary")]);
        assert!(!said.contains("panicked"), "{said}");
        Done { code, stdout: out, stderr: said }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Invariant: A page that is served has the bytes of the command's, in every language, and serving writes no file.
#[test]
#[cfg(unix)]
fn a_page_that_is_served_is_the_commands() {
    let serving = Serving::start();
    let other = Place::new();
    let prompts = [
        ("When Mary and John went to the store, John gave a drink to", "en"),
        ("When Mary and John went to the store, John gave a drink to", "zh"),
        ("When Mary and John went to the store, John gave a drink to", "both"),
        (" --help & 100% <script>alert(1)</script>", "en"),
        ("-m gpt2", "en"),
    ];
    let mut pages = vec![];
    for (i, (prompt, language)) in prompts.into_iter().enumerate() {
        let folder = format!("{i}");
        other.ok(["explain", "-q", "--lang", language, "--out", &folder, "--", prompt]);
        let page = serving.send(prompt, language, &["Sec-Fetch-Site: same-origin"]);
        assert_eq!(page.status, 200, "{prompt}: {page:?}");
        assert_eq!(page.header("Content-Type"), "text/html; charset=utf-8");
        page.is_guarded();
        assert!(page.body == other.read(&format!("{i}/explain.html")), "{prompt} in {language} is another page");
        pages.push(page.body);
    }
    assert!(pages[0] != pages[1] && pages[1] != pages[2] && pages[0] != pages[3]);
    // A line that is typed ends as it does in a file.
    other.ok(["explain", "-q", "--lang", "en", "--out", "lines", "--", "Mary went.\nJohn"]);
    assert!(serving.send("Mary went.\r\nJohn", "en", &[]).body == other.read("lines/explain.html"));
    let done = serving.end(libc::SIGINT);
    assert_eq!((done.code, done.stdout.as_str()), (Some(130), ""), "{}", done.stderr);
    assert!(done.stderr.contains("error: interrupted") && done.stderr.contains("hint: "), "{}", done.stderr);
}

/// Invariant: What is served can be asked for from this machine alone, by its own name, and by no page of another site.
#[test]
fn nobody_else_is_answered() {
    let serving = Serving::start();
    let port = serving.port;
    for elsewhere in ["127.0.0.2", "::1"] {
        let connected = TcpStream::connect((elsewhere, port));
        assert!(connected.is_err(), "it listens at {elsewhere}");
    }
    let of = |host: &str| format!("Host: {host}").replace("PORT", &port.to_string());
    for ours in ["127.0.0.1:PORT", "localhost:PORT", "LocalHost:PORT", "[::1]:PORT"] {
        let form = serving.ask(&["GET / HTTP/1.1", &of(ours)], "");
        assert_eq!(form.status, 200, "{ours}");
        form.is_guarded();
    }
    for other in [
        "evil.example", "evil.example:PORT", "127.0.0.1", "localhost", "localhost:1", "127.0.0.1.evil.example:PORT", "",
    ] {
        serving.ask(&["GET / HTTP/1.1", &of(other)], "").is_refusal(403, "127.0.0.1");
        // Not even what there is.
        serving.ask(&["GET /nothing HTTP/1.1", &of(other)], "").is_refusal(403, "127.0.0.1");
    }
    serving.ask(&["GET / HTTP/1.0"], "").is_refusal(403, "127.0.0.1");
    serving.ask(&["GET / HTTP/1.1", "HOST", "Host: evil.example"], "").is_refusal(400, "two headers");
    for other in [
        "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: http://evil.example", "Origin: null",
        "Origin: http://localhost:1",
    ] {
        serving.send("Mary", "en", &[other]).is_refusal(403, "another site");
    }
    assert_eq!(serving.send("Mary", "en", &[&format!("Origin: http://localhost:{port}")]).status, 200);
}

/// Invariant: Nothing but the form, its style and pages can be asked for.
#[test]
fn there_is_nothing_but_the_form() {
    let serving = Serving::start();
    let style = serving.ask(&["GET /style.css HTTP/1.1", "HOST"], "");
    assert_eq!((style.status, style.header("Content-Type")), (200, "text/css; charset=utf-8"));
    let head = serving.ask(&["HEAD / HTTP/1.1", "HOST"], "");
    assert!(head.status == 200 && head.body.is_empty() && head.header("Content-Length") != "0");
    for path in [
        "/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "/....//etc/passwd",
        "//etc/passwd", "/style.css/../../Cargo.toml", "/temporary", "/.", "/?", "/favicon.ico", "/explain.html",
        "http://127.0.0.1/", "*", "../etc/passwd", "/\\..\\..\\etc\\passwd",
    ] {
        serving.ask(&[&format!("GET {path} HTTP/1.1"), "HOST"], "").is_refusal(404, "nothing at this address");
    }
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get"] {
        let refused = serving.ask(&[&format!("{method} / HTTP/1.1"), "HOST"], "");
        refused.is_refusal(405, "form");
        assert_eq!(refused.header("Allow"), "GET, HEAD, POST");
    }
    let form = serving.ask(&["GET / HTTP/1.1", "HOST"], "");
    for part in ["<form method=\"post\" action=\"/\">", "name=\"prompt\"", "name=\"lang\"", "demo", "lang=\"zh\""] {
        assert!(form.text().contains(part), "{part}");
    }
    assert!(!form.text().contains("<script") && !form.text().contains("style="));
    serving.still_serves();
}

/// Invariant: What is sent has limits, which are said in one sentence.
#[test]
fn what_is_too_much_is_refused_at_once() {
    let serving = Serving::start();
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let post = |more: &[&str], body: &str| serving.ask(&[&["POST / HTTP/1.1", "HOST", kind], more].concat(), body);
    // Before any of it was sent.
    post(&["Content-Length: 10000000000"], "").is_refusal(413, "shorten it");
    post(&["Content-Length: 99999999999999999999999999"], "").is_refusal(413, "shorten it");
    serving.send(&"a".repeat(4097), "en", &[]).is_refusal(413, "shorten it");
    serving.send(&"你".repeat(1366), "en", &[]).is_refusal(413, "shorten it");
    post(&["Transfer-Encoding: chunked"], "5\r\nprompt\r\n").is_refusal(411, "how long");
    post(&[], "").is_refusal(411, "how long");
    post(&["Content-Length: -1"], "").is_refusal(400, "understood");
    post(&["Content-Length: 5", "Content-Length: 6"], "lang=").is_refusal(400, "two headers");
    serving
        .ask(&["POST / HTTP/1.1", "HOST", "Content-Length: 2", "Content-Type: text/plain"], "{}")
        .is_refusal(415, "form");
    serving.ask(&["GET / HTTP/1.1", "HOST", &format!("X: {}", "x".repeat(1 << 20))], "").is_refusal(431, "headers");
    serving.ask(&["GET / HTTP/1.1", "HOST", &["X: x"; 200].join("\r\n")], "").is_refusal(431, "headers");
    serving.ask(&["\u{0}\u{1}nonsense"], "").is_refusal(400, "understood");
    serving.send("", "en", &[]).is_refusal(422, "no prompt");
    serving.send("Mary", "xx", &[]).is_refusal(400, "understood");
    // What the model cannot read, in its own words.
    serving.send(&"Mary and ".repeat(400), "en", &[]).is_refusal(422, "tokens");
    // A body that has no end is cut off.
    let mut endless = serving.connect();
    endless.set_write_timeout(Some(PATIENCE)).unwrap();
    let head = serving.request(&["POST / HTTP/1.1", "HOST", kind, "Content-Length: 100000000000"], "");
    endless.write_all(head.as_bytes()).unwrap();
    let begun = Instant::now();
    while endless.write_all(&[b'a'; 1 << 16]).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it reads without end");
    }
    serving.still_serves();
}

/// Invariant: Clients that are silent, slow or many keep nobody from a page.
#[test]
fn slow_clients_keep_nobody_waiting() {
    let serving = Serving::start();
    let mut trickle = serving.connect();
    // Far more than it serves at one time, some of which have begun.
    let silent: Vec<TcpStream> = (0..200)
        .map(|i| {
            let mut stream = serving.connect();
            if i % 2 == 0 {
                let _ = stream.write_all(b"POST / HTTP/1.1\r\nHost: 127");
            }
            stream
        })
        .collect();
    serving.still_serves();
    #[cfg(target_os = "linux")]
    {
        let folder = format!("/proc/{}", serving.child.id());
        let counted = |name: &str| fs_err::read_dir(format!("{folder}/{name}")).unwrap().count();
        let processors = std::thread::available_parallelism().unwrap().get();
        assert!(counted("task") < 80 + 20 * processors, "{} threads", counted("task"));
        assert!(counted("fd") < 150, "{} files", counted("fd"));
    }
    // Those that came first had to go.
    assert_eq!(answer(&mut trickle), None);
    drop(silent);
    // One that sends a byte now and then gains no time.
    let mut trickle = serving.connect();
    trickle.set_nodelay(true).unwrap();
    let reads = trickle.try_clone().unwrap();
    let told = std::thread::spawn(move || answer(&mut { reads }));
    let begun = Instant::now();
    trickle.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    while !told.is_finished() && begun.elapsed() < PATIENCE {
        let _ = trickle.write_all(b"x");
        std::thread::sleep(Duration::from_millis(50));
    }
    told.join().unwrap().expect("an answer").is_refusal(408, "in time");
    serving.still_serves();
}

/// Invariant: One page is made at a time, some wait, and others are told so; nobody is left without an answer.
#[test]
fn fifty_at_once_get_a_page_or_a_sentence() {
    let serving = Serving::start();
    let request = serving.form("Mary gave a drink to", "en", &[]);
    let mut streams: Vec<TcpStream> = (0..50).map(|_| serving.connect()).collect();
    for stream in &mut streams {
        stream.write_all(request.as_bytes()).unwrap();
    }
    let answers: Vec<Answer> = streams.iter_mut().map(|stream| answer(stream).expect("an answer")).collect();
    let (pages, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(pages.len() >= 9 && !refused.is_empty(), "{} pages, {} refused", pages.len(), refused.len());
    assert!(pages.iter().all(|page| page.body == pages[0].body));
    for refused in refused {
        refused.is_refusal(503, "try again");
        assert_eq!(refused.header("Retry-After"), "60");
    }
    // Those who went away leave the queue.
    for _ in 0..9 {
        serving.connect().write_all(request.as_bytes()).unwrap();
    }
    let begun = Instant::now();
    while serving.send("Mary gave a drink to", "en", &[]).status != 200 {
        assert!(begun.elapsed() < PATIENCE, "the queue never empties");
    }
    serving.still_serves();
}

/// Invariant: Serving ends as other commands end, also while a page is made.
#[test]
#[cfg(unix)]
fn signals_end_it_while_somebody_waits() {
    for (signal, code, word) in [(libc::SIGTERM, 143, "terminated"), (libc::SIGINT, 130, "interrupted")] {
        let serving = Serving::start();
        let mut waiting: Vec<TcpStream> = (0..5).map(|_| serving.connect()).collect();
        let request = serving.form("When Mary and John went to the store, John gave a drink to", "both", &[]);
        waiting.iter_mut().for_each(|stream| stream.write_all(request.as_bytes()).unwrap());
        // Those who have a page coming or wait are told; a silent client does not matter.
        let _silent = serving.connect();
        std::thread::sleep(Duration::from_millis(200));
        let done = serving.end(signal);
        assert_eq!(done.code, Some(code), "{}", done.stderr);
        assert!(done.stderr.contains(&format!("error: {word}")), "{}", done.stderr);
        // Some may not have been read yet.
        let answers: Vec<Answer> = waiting.iter_mut().filter_map(answer).collect();
        assert!(!answers.is_empty(), "nobody who waited was told");
        for answer in answers {
            match answer.status {
                200 => assert!(answer.text().ends_with("</html>\n")),
                _ => answer.is_refusal(503, "ending"),
            }
        }
    }
}

#[test]
fn what_does_not_fit_to_serving_is_refused() {
    let place = Place::new();
    place.refused(["explain", "--serve", "Mary"], 2, "typed into the form");
    place.refused(["explain", "--serve", "--ids", "1,2"], 2, "typed into the form");
    place.refused(["explain", "--serve", "--out", "x"], 2, "--out");
    place.refused(["explain", "--port", "1", "Mary"], 2, "--serve");
    place.refused(["explain", "--serve", "--port", "70000"], 2, "--port");
    let serving = Serving::start();
    place.refused(["explain", "--serve", "--port", &serving.port.to_string()], 1, "--port");
}
