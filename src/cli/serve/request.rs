//! What a client asks for, read with a limit on everything, and refused where it is not meant for us.

use std::io::{ErrorKind, Read, Write};

use percent_encoding::percent_decode;

use super::{LANGUAGES, Typed};

/// Bytes of a prompt.
const PROMPT: usize = 4096;
/// Bytes of a form, in which each byte of the prompt may be three characters.
const BODY: usize = 3 * PROMPT + 256;
/// Bytes of a request before its body, and how many headers.
const HEAD: usize = 16 << 10;
const HEADERS: usize = 64;

/// What there is to ask for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    Form,
    Style,
    Page(Typed),
}

/// Why it is not given: a status, and one sentence in English and, for those who type prompts, in Chinese.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub sentence: String,
    pub chinese: &'static str,
}

impl Refusal {
    pub fn new(status: u16, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into(), chinese: "" }
    }

    fn chinese(self, chinese: &'static str) -> Self {
        Self { chinese, ..self }
    }

    /// Too many pages are being made.
    pub fn full() -> Self {
        let sentence = "Other pages are being made, and as many as may wait are waiting; try again in a minute.";
        Self::new(503, sentence).chinese("其他页面正在生成，等候的人已满；请稍后再试。")
    }

    /// The program ends.
    pub fn ending() -> Self {
        Self::new(503, "This program is ending, so the page is not made.").chinese("程序正在结束，页面不会生成。")
    }

    fn too_long() -> Self {
        Self::new(413, format!("The prompt is longer than {PROMPT} bytes; shorten it.")).chinese("提示词太长；请缩短。")
    }

    fn slow() -> Self {
        Self::new(408, "The request did not arrive in time.")
    }

    fn malformed() -> Self {
        Self::new(400, "This is not a request that can be understood.")
    }
}

/// Reads a request that was sent to `port`; and whether its answer is wanted without its body. Nothing where nobody asked for anything.
///
/// # Errors
/// When it is refused.
pub fn read(from: &mut (impl Read + Write), port: u16) -> Result<Option<(bool, Wanted)>, Refusal> {
    let Some((bytes, length)) = head(from)? else { return Ok(None) };
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(&bytes[..length]) {
        Ok(httparse::Status::Complete(n)) if n == length => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::new(431, "There are too many headers.")),
        _ => return Err(Refusal::malformed()),
    }
    let head = Head { headers: request.headers };
    // First of all, so that nothing is learned by a page elsewhere whose name leads to this machine.
    head.is_ours(port)?;
    let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let wanted = match path {
        "/" => Wanted::Form,
        "/style.css" => Wanted::Style,
        _ => return Err(Refusal::new(404, "There is nothing at this address; the form is at /.")),
    };
    match (method, &wanted) {
        ("GET", _) => Ok(Some((false, wanted))),
        ("HEAD", _) => Ok(Some((true, wanted))),
        ("POST", Wanted::Form) => {
            head.comes_from_here(port)?;
            let body = body(&head, &bytes[length..], from)?;
            Ok(Some((false, Wanted::Page(typed(&body)?))))
        }
        _ => Err(Refusal::new(405, "This address can only be read, and the form sent.")),
    }
}

/// The bytes that came up to the end of the head, perhaps with some of the body; and where the head ends.
fn head(from: &mut impl Read) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
    let mut bytes = vec![];
    let mut chunk = [0; 2048];
    loop {
        let looked_at = bytes.len().saturating_sub(3);
        match from.read(&mut chunk) {
            Ok(0) if bytes.is_empty() => return Ok(None),
            Ok(0) => return Err(Refusal::malformed()),
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(e) => return unread(&e).map(|()| None),
        }
        let end = bytes[looked_at..].windows(4).position(|four| four == b"\r\n\r\n");
        let length = end.map(|end| looked_at + end + 4);
        if length.unwrap_or(bytes.len()) > HEAD {
            return Err(Refusal::new(431, format!("The headers are longer than {HEAD} bytes.")));
        }
        if let Some(length) = length {
            return Ok(Some((bytes, length)));
        }
    }
}

/// Whether a client that cannot be read is told so: not one that went away.
fn unread(e: &std::io::Error) -> Result<(), Refusal> {
    match e.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Err(Refusal::slow()),
        _ => Ok(()),
    }
}

/// The headers of a request.
struct Head<'a> {
    headers: &'a [httparse::Header<'a>],
}

impl Head<'_> {
    /// The one header of this name.
    fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut all = self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            (Some(one), None) => std::str::from_utf8(one.value).map(Some).map_err(|_| Refusal::malformed()),
            (Some(_), Some(_)) => Err(Refusal::new(400, format!("There are two headers called {name}."))),
        }
    }

    /// Refuses a request to another name: a page from elsewhere can make its own name lead to this machine.
    fn is_ours(&self, port: u16) -> Result<(), Refusal> {
        match self.one("Host")? {
            Some(host) if names_us(host, port) => Ok(()),
            _ => {
                Err(Refusal::new(403, format!("Only requests to 127.0.0.1:{port} and localhost:{port} are answered.")))
            }
        }
    }

    /// Refuses a form that another page sent. Browsers say where it comes from by headers that no page can change; without any of them,
    /// it was no browser.
    fn comes_from_here(&self, port: u16) -> Result<(), Refusal> {
        let ours = match (self.one("Sec-Fetch-Site")?, self.one("Origin")?) {
            (Some(site), None) => site == "same-origin",
            (site, Some(origin)) => {
                let same = origin.strip_prefix("http://").is_some_and(|host| names_us(host, port));
                same && site.is_none_or(|site| site == "same-origin")
            }
            (None, None) => true,
        };
        match ours {
            true => Ok(()),
            false => Err(Refusal::new(403, "The form was sent by another site.")),
        }
    }
}

/// Whether this is what an address of ours begins with.
fn names_us(host: &str, port: u16) -> bool {
    let (name, of_port) = match host.rsplit_once(':') {
        Some((name, digits)) if !digits.ends_with(']') => (name, digits.to_owned()),
        _ => (host, "80".to_owned()),
    };
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| name.eq_ignore_ascii_case(own)) && of_port == port.to_string()
}

/// The body of a form, of which `begun` came with the head.
fn body(head: &Head, begun: &[u8], from: &mut (impl Read + Write)) -> Result<Vec<u8>, Refusal> {
    let form = head.one("Content-Type")?.and_then(|kind| kind.split(';').next()).map(str::trim);
    if !form.is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
        return Err(Refusal::new(415, "Only a form can be sent here."));
    }
    let unsized_body = || Refusal::new(411, "The form does not say how long it is.");
    if head.one("Transfer-Encoding")?.is_some() {
        return Err(unsized_body());
    }
    let length = head.one("Content-Length")?.ok_or_else(unsized_body)?;
    if length.is_empty() || !length.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Refusal::malformed());
    }
    // A number with too many digits is too long, too.
    let length = length.parse().ok().filter(|length| *length <= BODY).ok_or_else(Refusal::too_long)?;
    let mut body = begun[..begun.len().min(length)].to_vec();
    let waits = head.one("Expect")?.is_some_and(|what| what.eq_ignore_ascii_case("100-continue"));
    if waits && body.len() < length {
        let _ = from.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let read = body.len();
    body.resize(length, 0);
    from.read_exact(&mut body[read..]).map_err(|e| match unread(&e) {
        Err(slow) => slow,
        Ok(()) => Refusal::malformed(),
    })?;
    Ok(body)
}

/// What was typed into the form.
fn typed(body: &[u8]) -> Result<Typed, Refusal> {
    let [mut prompt, mut language] = [None, None];
    for field in body.split(|byte| *byte == b'&').filter(|field| !field.is_empty()) {
        let mut halves = field.splitn(2, |byte| *byte == b'=');
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        let place = match name {
            b"prompt" => &mut prompt,
            b"lang" => &mut language,
            _ => return Err(Refusal::malformed()),
        };
        if place.replace(decoded(value)?).is_some() {
            return Err(Refusal::malformed());
        }
    }
    // Forms send every end of a line as two characters, and a prompt has one.
    let prompt = prompt.unwrap_or_default().replace("\r\n", "\n");
    if prompt.is_empty() {
        return Err(Refusal::new(422, "There is no prompt; type one.").chinese("没有提示词；请输入一句话。"));
    }
    if prompt.len() > PROMPT {
        return Err(Refusal::too_long());
    }
    let language = language.unwrap_or_else(|| "both".to_owned());
    let language = LANGUAGES.into_iter().find(|known| *known == language).ok_or_else(Refusal::malformed)?;
    Ok(Typed { prompt, language })
}

/// A value of a form as text.
fn decoded(value: &[u8]) -> Result<String, Refusal> {
    let spaced: Vec<u8> = value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let bytes: Vec<u8> = percent_decode(&spaced).collect();
    String::from_utf8(bytes).map_err(|_| Refusal::new(400, "The prompt is not text in UTF-8."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn asked(head: &str, body: &str) -> Result<Option<(bool, Wanted)>, u16> {
        let request = format!("{head}\r\n\r\n{body}").replace("HOST", "Host: 127.0.0.1:7");
        read(&mut Cursor::new(request.into_bytes()), 7).map_err(|refusal| refusal.status)
    }

    fn posted(headers: &str, body: &str) -> Result<Option<(bool, Wanted)>, u16> {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        asked(&format!("POST / HTTP/1.1\r\nHOST\r\n{kind}\r\nContent-Length: {}{headers}", body.len()), body)
    }

    #[test]
    fn only_names_of_this_machine_with_the_port_are_ours() {
        for ours in ["127.0.0.1:7", "localhost:7", "LocalHost:7", "[::1]:7"] {
            assert!(names_us(ours, 7), "{ours}");
        }
        for not in ["127.0.0.1", "localhost:8", "evil.example:7", "127.0.0.1.evil.example:7", "localhost:07", "", ":7"]
        {
            assert!(!names_us(not, 7), "{not}");
        }
        for unsaid in ["127.0.0.1", "localhost", "[::1]"] {
            assert!(names_us(unsaid, 80) && !names_us(unsaid, 7), "{unsaid}");
        }
    }

    #[test]
    fn a_form_gives_the_text_that_was_typed() {
        let page =
            |prompt: &str, language| Ok(Some((false, Wanted::Page(Typed { prompt: prompt.to_owned(), language }))));
        assert_eq!(posted("", "prompt=a+b%2B%0D%0A%E4%BD%A0&lang=zh"), page("a b+\n你", "zh"));
        assert_eq!(posted("", "prompt=+x"), page(" x", "both"));
        assert_eq!(posted("", "prompt=%ff"), Err(400));
        assert_eq!(posted("", "lang=en"), Err(422));
        assert_eq!(posted("", "prompt=a&lang=fr"), Err(400));
        assert_eq!(posted("", "prompt=a&prompt=b"), Err(400));
        assert_eq!(posted("", &format!("prompt={}", "a".repeat(PROMPT))).map(|_| ()), Ok(()));
        assert_eq!(posted("", &format!("prompt={}", "a".repeat(PROMPT + 1))), Err(413));
        assert_eq!(posted("", &format!("prompt={}", "%61".repeat(PROMPT))).map(|_| ()), Ok(()));
    }

    #[test]
    fn what_another_site_sends_is_refused() {
        let status = |headers: &str| posted(&format!("\r\n{headers}"), "prompt=a").map(|_| ());
        assert_eq!(status("Sec-Fetch-Site: same-origin"), Ok(()));
        assert_eq!(status("Origin: http://127.0.0.1:7"), Ok(()));
        assert_eq!(status("Origin: http://localhost:7\r\nSec-Fetch-Site: same-origin"), Ok(()));
        for other in [
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-site",
            "Origin: null",
            "Origin: https://127.0.0.1:7",
            "Origin: http://127.0.0.1:8",
            "Origin: http://evil.example",
            "Origin: http://127.0.0.1:7\r\nSec-Fetch-Site: cross-site",
            "Origin: http://evil.example\r\nSec-Fetch-Site: same-origin",
        ] {
            assert_eq!(status(other), Err(403), "{other}");
        }
    }

    #[test]
    fn heads_are_bounded_and_whole() {
        assert_eq!(asked("GET / HTTP/1.1\r\nHOST", ""), Ok(Some((false, Wanted::Form))));
        assert_eq!(asked("HEAD / HTTP/1.1\r\nHOST", ""), Ok(Some((true, Wanted::Form))));
        assert_eq!(asked("GET / HTTP/1.1", ""), Err(403));
        assert_eq!(asked("GET / HTTP/1.1\r\nHOST\r\nHOST", ""), Err(400));
        assert_eq!(asked("DELETE / HTTP/1.1\r\nHOST", ""), Err(405));
        assert_eq!(asked("POST /style.css HTTP/1.1\r\nHOST", ""), Err(405));
        assert_eq!(asked("GET /../x HTTP/1.1\r\nHOST", ""), Err(404));
        assert_eq!(asked("GET http://127.0.0.1:7/ HTTP/1.1\r\nHOST", ""), Err(404));
        assert_eq!(asked(&format!("GET / HTTP/1.1\r\nHOST\r\nX: {}", "x".repeat(HEAD)), ""), Err(431));
        assert_eq!(asked(&format!("GET / HTTP/1.1\r\nHOST{}", "\r\nX: x".repeat(HEADERS)), ""), Err(431));
        assert_eq!(asked("nonsense", ""), Err(400));
        assert_eq!(posted("0000000000", "prompt=a"), Err(413));
        assert_eq!(posted("x", "prompt=a"), Err(400));
        assert_eq!(posted("\r\nTransfer-Encoding: chunked", "prompt=a"), Err(411));
        assert_eq!(read(&mut Cursor::new(vec![]), 7), Ok(None));
    }
}
