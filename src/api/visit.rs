//! A request as the API understands it: JSONP's method in place of HTTP's, slashes that do not matter taken off.

use std::net::{IpAddr, SocketAddr};

use crate::protocols::http::{Method, Query, Request, Response, Status};

/// What a callback's name may be made of.
fn is_callback(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Who asks, and where.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Its own address, as far as it is known.
    pub ip: IpAddr,
    /// Whether it came to the control port.
    pub at_control: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Visit {
    /// What to do: JSONP's `method`, else HTTP's.
    pub method: Method,
    /// The function that a JSONP answer calls.
    pub callback: Option<String>,
    /// The request as it came.
    pub request: Request,
    /// Who asks.
    pub caller: Caller,
}

/// JSONP with a name that is none.
pub struct BadCallback;

impl Visit {
    /// Reads a request, by JSONP where that is taken.
    ///
    /// # Errors
    /// [`BadCallback`]: its name could end the call and begin another.
    pub fn new(request: &Request, caller: Caller, takes_jsonp: bool) -> Result<Self, BadCallback> {
        let callback = request.query.get("callback").filter(|name| takes_jsonp && !name.is_empty());
        if callback.is_some_and(|name| !is_callback(name)) {
            return Err(BadCallback);
        }
        // A script tag can only GET. What any other method means was looked at by its own name before it came here.
        let may_mean = callback.is_some() && matches!(request.method, Method::Get | Method::Head);
        let told = request.query.get("method").filter(|_| may_mean);
        let method = match told.map(str::to_ascii_uppercase).as_deref() {
            Some("GET") => Method::Get,
            Some("PUT") => Method::Put,
            Some("POST") => Method::Post,
            Some("DELETE") => Method::Delete,
            _ => request.method,
        };
        Ok(Self { method, callback: callback.map(str::to_owned), request: request.clone(), caller })
    }

    /// Whether it only asks.
    pub fn reads(&self) -> bool {
        matches!(self.method, Method::Get | Method::Head)
    }

    /// Parameters of the address.
    pub fn query(&self) -> &Query {
        &self.request.query
    }

    /// The levels of the path behind `prefix`, empty ones left out.
    pub fn levels(&self, prefix: &str) -> Vec<&str> {
        let rest = self.request.target.path().strip_prefix(prefix).unwrap_or_default();
        rest.split('/').filter(|level| !level.is_empty()).collect()
    }

    /// An answer in JSON, or a call of the function that was asked for.
    pub fn json(&self, status: Status, json: &serde_json::Value) -> Response {
        let response = match &self.callback {
            Some(callback) => Response::new(status).body("text/javascript", format!("{callback}({json})")),
            None => Response::json(status, json.to_string()),
        };
        self.dress(response.no_cache())
    }

    /// What every answer of the API has: who serves, and leave for pages of other origins.
    pub fn dress(&self, response: Response) -> Response {
        let response = response.header("Server", SERVER);
        match self.request.headers.get("origin") {
            None => response,
            Some(_) => response
                .cors()
                .header("Access-Control-Allow-Headers", "*")
                .header("Access-Control-Allow-Methods", "*")
                .header("Access-Control-Allow-Credentials", "false")
                .header("Access-Control-Request-Private-Network", "true"),
        }
    }
}

/// Who serves.
pub const SERVER: &str = concat!("Shardcast/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::protocols::http::{Limits, parse};

    fn visit(line: &str) -> Result<Visit, BadCallback> {
        let mut input = BytesMut::from(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        let request = parse(&mut input, &Limits::default()).expect("HTTP").expect("whole");
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        Visit::new(&request, Caller { peer, ip: peer.ip(), at_control: true }, true)
    }

    #[test]
    fn a_script_may_say_delete_but_only_a_script() {
        let jsonp = visit("GET /api/v1/clients/x?callback=cb&method=DELETE").ok().expect("a callback");
        assert_eq!((jsonp.method, jsonp.callback.as_deref()), (Method::Delete, Some("cb")));
        let plain = visit("GET /api/v1/clients/x?method=DELETE").ok().expect("no callback");
        assert_eq!((plain.method, plain.callback), (Method::Get, None));
        assert_eq!(visit("GET /?callback=").ok().expect("none").callback, None);
    }

    #[test]
    fn a_callback_is_a_name_and_nothing_else() {
        assert!(visit("GET /?callback=angular.callbacks._0").is_ok());
        for name in ["a(b)", "a%3Balert(1)", "a%20b", "%3Cscript%3E", "f%C3%BC"] {
            assert!(visit(&format!("GET /?callback={name}")).is_err(), "{name}");
        }
    }

    #[test]
    fn slashes_do_not_matter() {
        for path in ["/api/v1/streams", "/api/v1/streams/", "/api/v1//streams//"] {
            let visit = visit(&format!("GET {path}")).ok().expect("no callback");
            assert_eq!(visit.levels("/api/v1"), ["streams"], "{path}");
        }
    }
}
