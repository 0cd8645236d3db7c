//! An operator's backend: a real HTTP server, plain or TLS, that remembers each call and answers as the story wants.
//!
//! A thread for each connection, so that one slow answer holds nobody else up; or two for all, so that a crowd costs no more.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc::channel},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::until;

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    pub path: String,
    /// The head's fields as they came, a line each.
    pub head: String,
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Call {
    /// A value of the body.
    pub fn get(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

/// See the module.
pub struct Backend {
    addr: SocketAddr,
    scheme: &'static str,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// The words of a whole answer.
pub fn says(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// An address where nobody listens.
pub fn dead() -> String {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}/", closed.local_addr().expect("bound"))
}

impl Backend {
    /// With these answers.
    pub fn start(answer: impl Fn(&Call) -> String + Send + Sync + 'static) -> Self {
        Self::over("http", answer, |socket| Some(Box::new(socket)))
    }

    /// Over TLS.
    pub fn start_tls(
        config: Arc<rustls::ServerConfig>,
        answer: impl Fn(&Call) -> String + Send + Sync + 'static,
    ) -> Self {
        Self::over("https", answer, move |socket| {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).ok()?;
            Some(Box::new(rustls::StreamOwned::new(session, socket)))
        })
    }

    /// That says yes to everything.
    pub fn kind() -> Self {
        Self::start(|_| says("200 OK", "0"))
    }

    /// That takes its time, and then says yes.
    pub fn slow(pause: Duration) -> Self {
        Self::start(move |_| {
            thread::sleep(pause);
            says("200 OK", r#"{"code":0}"#)
        })
    }

    /// That says yes at once, but to those whom `waits` names: when `seats` of them wait, for `pause`, the door opens for all. Its two
    /// threads do as little as can be done, for where the server is measured on the same cores.
    pub fn waiting_room(
        seats: usize,
        pause: Duration,
        waits: impl Fn(&Call) -> bool + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (addr, calls) = (listener.local_addr().expect("bound"), Arc::<Mutex<Vec<Call>>>::default());
        let (door, seated) = channel::<TcpStream>();
        let open = |mut socket: TcpStream| {
            // It may have gone meanwhile.
            let _ = socket.write_all(says("200 OK", "0").as_bytes());
        };
        thread::spawn(move || {
            let waiting: Vec<TcpStream> = seated.iter().take(seats).collect();
            thread::sleep(pause);
            waiting.into_iter().chain(seated).for_each(open);
        });
        let seen = Arc::clone(&calls);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let Some(call) = hear(&mut BufReader::new(&socket)) else { continue };
                if !waits(&call) {
                    open(socket);
                } else if door.send(socket).is_err() {
                    return;
                }
                seen.lock().expect("nothing panics holding it").push(call);
            }
        });
        Self { addr, scheme: "http", calls }
    }

    fn over(
        scheme: &'static str,
        answer: impl Fn(&Call) -> String + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> Option<Box<dyn super::rtmp::Wire>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (addr, calls) = (listener.local_addr().expect("bound"), Arc::<Mutex<Vec<Call>>>::default());
        let (answer, wrap, seen) = (Arc::new(answer), Arc::new(wrap), Arc::clone(&calls));
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (answer, wrap, seen) = (Arc::clone(&answer), Arc::clone(&wrap), Arc::clone(&seen));
                thread::spawn(move || {
                    let mut wire = BufReader::new(wrap(socket)?);
                    let call = hear(&mut wire)?;
                    seen.lock().expect("nothing panics holding it").push(call.clone());
                    wire.get_mut().write_all(answer(&call).as_bytes()).ok()?;
                    wire.get_mut().flush().ok()
                });
            }
        });
        Self { addr, scheme, calls }
    }

    /// Its address at a path, as a list of one for the configuration.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.addr)
    }

    /// What was called so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("nothing panics holding it").clone()
    }

    /// Calls about an action.
    pub fn about(&self, action: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.get("action") == action).collect()
    }

    /// Waits for the first call about an action and a stream.
    pub fn wait(&self, action: &str, stream: &str) -> Call {
        until(&format!("{action} of {stream}"), || {
            self.about(action).into_iter().find(|call| call.get("stream") == stream)
        })
    }
}

fn hear(wire: &mut impl BufRead) -> Option<Call> {
    let mut line = String::new();
    wire.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut field = String::new();
        wire.read_line(&mut field).ok()?;
        if field.trim().is_empty() {
            break;
        }
        if let Some(value) = field.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&field);
    }
    let mut body = vec![0; length];
    wire.read_exact(&mut body).ok()?;
    let text = String::from_utf8(body).ok()?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Some(Call { path, head, body, text })
}
