//! A backend that is quick, slow, dead or mad, and what the caller makes of it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Mutex,
    thread,
};

use super::*;

const PATIENCE: Patience = Patience { retries: 3, pause: Duration::from_millis(20), waiting_max: 100 };

/// A backend: each call's path and body are kept, and `answer` is what goes back.
struct Backend {
    addr: SocketAddr,
    heard: Arc<Mutex<Vec<(String, String)>>>,
}

impl Backend {
    fn start(answer: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, heard) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let (answer, seen) = (Arc::new(answer), Arc::clone(&heard));
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                thread::spawn(move || {
                    let Some((path, body)) = hear(&socket) else { return };
                    seen.lock().unwrap().push((path.clone(), body.clone()));
                    let words = answer(&path, &body);
                    let _ = (&socket).write_all(words.as_bytes());
                });
            }
        });
        Self { addr, heard }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    fn heard(&self) -> Vec<(String, String)> {
        self.heard.lock().unwrap().clone()
    }
}

fn hear(socket: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(socket);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok()?;
        if field.trim().is_empty() {
            break;
        }
        if let Some(value) = field.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, String::from_utf8(body).ok()?))
}

fn says(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn options(on_error: OnError) -> Options {
    Options::new(Duration::from_millis(500), on_error, PATIENCE)
}

fn who(client: &str) -> Who {
    Who { client_id: client.to_owned(), ..Who::default() }
}

fn begin(options: Options) -> (Hooks, Keeper) {
    start(Identity::new(""), options).unwrap()
}

fn decide(hooks: &Hooks, action: Action) -> Result<(), Refusal> {
    futures_lite::future::block_on(hooks.decide(action, who("c"))).map(drop)
}

fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < deadline, "waited for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn all_urls_are_asked_in_order_until_one_says_no() {
    let backend = Backend::start(|path, _| match path {
        "/no" => says("200 OK", r#"{"code":7}"#),
        _ => says("200 OK", "0"),
    });
    let urls = ["/a", "/no", "/b"].map(|path| backend.url(path));
    let options = options(OnError::Allow)
        .calling(Action::Publish, urls.iter().map(String::as_str))
        .calling(Action::Play, [&*urls[0], &*urls[2]]);
    let (hooks, keeper) = begin(options);
    assert_eq!(decide(&hooks, Action::Publish), Err(Refusal::Rejected(Action::Publish)));
    assert_eq!(decide(&hooks, Action::Play), Ok(()));
    assert_eq!(decide(&hooks, Action::Connect), Ok(()), "nobody is asked");
    let paths: Vec<String> = backend.heard().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/a", "/no", "/a", "/b"]);
    keeper.finish(Duration::from_secs(5));
    assert_eq!(hooks.stats().rejected, 1);
}

#[test]
fn silence_is_what_the_operator_says_it_is_and_a_wrong_answer_is_always_no() {
    let backend = Backend::start(|path, _| match path {
        "/slow" => {
            thread::sleep(Duration::from_secs(2));
            says("200 OK", "0")
        }
        "/torn" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0".to_owned(),
        "/mad" => "SSH-2.0-OpenSSH\r\n".to_owned(),
        "/mute" => String::new(),
        "/error" => says("500 Internal Server Error", "0"),
        "/moved" => "HTTP/1.1 302 Found\r\nLocation: /yes\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/long" => says("200 OK", &" ".repeat(100_000)),
        _ => says("200 OK", "0"),
    });
    // Nobody listens there.
    let dead = {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", closed.local_addr().unwrap())
    };
    let silent = ["/slow", "/torn", "/mad", "/mute"].map(|path| backend.url(path));
    for url in silent.iter().map(String::as_str).chain([dead.as_str(), "http://no-such-host.invalid/"]) {
        for (on_error, expected) in
            [(OnError::Allow, Ok(())), (OnError::Deny, Err(Refusal::Unanswered(Action::Play)))]
        {
            let (hooks, keeper) = begin(options(on_error).calling(Action::Play, [url]));
            let asked = Instant::now();
            assert_eq!(decide(&hooks, Action::Play), expected, "{url}");
            assert!(asked.elapsed() < Duration::from_secs(2), "{url} took {:?}", asked.elapsed());
            until("the count", || hooks.stats().unanswered == 1);
            keeper.finish(Duration::from_secs(5));
        }
    }
    for path in ["/error", "/moved", "/long"] {
        let url = backend.url(path);
        let (hooks, keeper) = begin(options(OnError::Allow).calling(Action::Play, [url.as_str()]));
        assert_eq!(decide(&hooks, Action::Play), Err(Refusal::Rejected(Action::Play)), "{path}");
        keeper.finish(Duration::from_secs(5));
    }
    assert!(!backend.heard().iter().any(|(path, _)| path == "/yes"), "no redirection is followed");
}

#[test]
fn two_hundred_wait_at_a_slow_door_side_by_side() {
    let backend = Backend::start(|_, _| {
        thread::sleep(Duration::from_secs(1));
        says("200 OK", "0")
    });
    let url = backend.url("/");
    let options = Options { timeout: Duration::from_secs(20), ..options(OnError::Deny) };
    let (hooks, keeper) = begin(options.calling(Action::Publish, [url.as_str()]));
    let asked = Instant::now();
    let waiting: Vec<_> = (0..200).map(|n| hooks.decide(Action::Publish, who(&n.to_string()))).collect();
    for one in waiting {
        assert!(futures_lite::future::block_on(one).is_ok());
    }
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    keeper.finish(Duration::from_secs(5));
}

#[test]
fn news_reach_a_backend_that_comes_back_in_order_and_are_given_up_where_it_does_not() {
    let calls = Mutex::new(0);
    let backend = Backend::start(move |_, _| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        if *calls <= 2 { says("503 Busy", "") } else { says("200 OK", "0") }
    });
    let url = backend.url("/");
    let options = options(OnError::Deny)
        .calling(Action::Unpublish, [url.as_str()])
        .calling(Action::Close, [url.as_str(), "http://127.0.0.1:1/dead"]);
    let (hooks, keeper) = begin(options);
    hooks.tell(Action::Unpublish, &who("c"));
    hooks.tell(Action::Close, &who("c"));
    until("the end of all tries", || hooks.stats().dropped == 1 && backend.heard().len() == 4);
    let actions: Vec<&str> = backend
        .heard()
        .iter()
        .map(|(_, body)| if body.contains("on_unpublish") { "on_unpublish" } else { "on_close" })
        .collect();
    assert_eq!(actions, ["on_unpublish", "on_unpublish", "on_unpublish", "on_close"]);
    let stats = hooks.stats();
    assert_eq!((stats.rejected, stats.unanswered, stats.retried), (2, 4, 5));
    keeper.finish(Duration::from_secs(5));
}

/// A client that is sent away while the backend thinks about it: the backend that says yes hears that it is gone, before its
/// connection's end; one that says no hears of that alone.
#[test]
fn a_yes_that_nobody_hears_is_followed_by_its_farewell() {
    for (answer, expected) in
        [("0", &["on_publish", "on_unpublish", "on_close"][..]), ("1", &["on_publish", "on_close"])]
    {
        let backend = Backend::start(move |_, body| {
            thread::sleep(Duration::from_millis(200));
            says("200 OK", if body.contains("on_publish") { answer } else { "0" })
        });
        let url = backend.url("/");
        let options = Options { timeout: Duration::from_secs(20), ..options(OnError::Deny) };
        let actions = [Action::Publish, Action::Unpublish, Action::Close];
        let calling = |options: Options, action| options.calling(action, [url.as_str()]);
        let (hooks, keeper) = begin(actions.into_iter().fold(options, calling));
        let waiting = hooks.decide(Action::Publish, who("c"));
        until("the question", || !backend.heard().is_empty());
        drop(waiting);
        // The connection ends, while the backend thinks.
        hooks.tell(Action::Close, &who("c"));
        keeper.finish(Duration::from_secs(10));
        let heard = backend.heard();
        assert_eq!(heard.len(), expected.len(), "{heard:?}");
        for ((_, body), action) in heard.iter().zip(expected) {
            assert!(body.contains(action) && body.contains("\"client_id\":\"c\""), "{body}");
        }
    }
}

/// Questions of those who are gone, and those that are still queued when all have ended, are not asked any more.
#[test]
fn nobody_is_asked_about_who_does_not_wait() {
    let backend = Backend::start(|_, _| {
        thread::sleep(Duration::from_millis(300));
        says("200 OK", "0")
    });
    let url = backend.url("/");
    let options = Options { concurrency: 1, timeout: Duration::from_secs(20), ..options(OnError::Deny) };
    let options = options.calling(Action::Play, [url.as_str()]).calling(Action::Close, [url.as_str()]);
    let (hooks, keeper) = begin(options);
    let _first = hooks.decide(Action::Play, who("first"));
    until("the first question", || !backend.heard().is_empty());
    drop(hooks.decide(Action::Play, who("gone")));
    let _queued = hooks.decide(Action::Play, who("queued"));
    hooks.tell(Action::Close, &who("queued"));
    keeper.finish(Duration::from_secs(20));
    let heard = backend.heard();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard[1].1.contains("on_close") && heard[1].1.contains("queued"), "{heard:?}");
}

/// What was to be told when the process ends is told, and a dead backend does not hold the end up.
#[test]
fn the_end_waits_for_news_but_not_for_ever() {
    let backend = Backend::start(|_, _| says("200 OK", "0"));
    let url = backend.url("/");
    let (hooks, keeper) = begin(options(OnError::Deny).calling(Action::Stop, [url.as_str()]));
    (0..50).for_each(|n| hooks.tell(Action::Stop, &who(&n.to_string())));
    keeper.finish(Duration::from_secs(10));
    assert_eq!(backend.heard().len(), 50);

    let patience = Patience { pause: Duration::from_secs(10), ..PATIENCE };
    let options = Options { patience, ..options(OnError::Deny) };
    let (hooks, keeper) = begin(options.calling(Action::Stop, ["http://127.0.0.1:1/"]));
    hooks.tell(Action::Stop, &who("c"));
    let asked = Instant::now();
    keeper.finish(Duration::from_millis(300));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[test]
fn options_change_for_those_who_come_later() {
    let backend = Backend::start(|path, _| says("200 OK", if path == "/no" { "1" } else { "0" }));
    let (no, yes) = (backend.url("/no"), backend.url("/yes"));
    let (hooks, keeper) = begin(options(OnError::Deny).calling(Action::Play, [no.as_str()]));
    assert!(decide(&hooks, Action::Play).is_err());
    let better = options(OnError::Deny).calling(Action::Play, [yes.as_str()]);
    hooks.change(Hooks::prepare(better).unwrap());
    assert_eq!(decide(&hooks, Action::Play), Ok(()));
    let bad = Options { ca: Some("/nowhere.pem".into()), ..options(OnError::Deny) };
    assert!(Hooks::prepare(bad).is_err());
    keeper.finish(Duration::from_secs(5));
}

#[test]
fn documents_are_fetched_whole_or_not_at_all() {
    let backend = Backend::start(|path, _| match path {
        "/keys" => says("200 OK", "{\"keys\":[]}"),
        "/moved" => "HTTP/1.1 302 Found\r\nLocation: /keys\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/huge" => says("200 OK", &"x".repeat(DOCUMENT_BYTES_MAX as usize + 1)),
        _ => says("404 Not Found", ""),
    });
    let (hooks, keeper) = begin(options(OnError::Deny));
    let fetch = |path: &str| hooks.fetch(&backend.url(path)).wait(Duration::from_secs(5)).unwrap();
    for path in ["/keys", "/moved"] {
        assert_eq!(fetch(path), Ok(b"{\"keys\":[]}".to_vec()), "{path}");
    }
    assert_eq!(fetch("/nothing"), Err("the answer has status 404".to_owned()));
    assert!(fetch("/huge").is_err());
    keeper.finish(Duration::from_secs(5));
}
