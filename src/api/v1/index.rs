//! What there is, in SRS's words, and the request as the server saw it.

use serde_json::{Map, Value, json};

use crate::api::{unix_ms, visit::Visit};

/// Headers whose values stay between the client and the server: a script of another page may read the answer.
const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// `GET /` of the control port.
pub fn root() -> Value {
    json!({ "urls": {
        "api": "the api root",
        "rtc": { "v1": {
            "play": "Play stream",
            "publish": "Publish stream",
            "nack": "Simulate the NACK (not built in)",
        } },
    } })
}

/// `GET /api/`.
pub fn api() -> Value {
    json!({ "urls": { "v1": "the api version 1.0" } })
}

/// `GET /api/v1/`.
pub fn v1() -> Value {
    json!({
        "urls": {
            "versions": "the version of the server",
            "summaries": "the summary(pid, argv, pwd, cpu, mem) of the server",
            "rusages": "the rusage of the server",
            "self_proc_stats": "the self process stats",
            "system_proc_stats": "the system process stats",
            "meminfos": "the meminfo of system",
            "authors": "the license, copyright, authors and contributors",
            "features": "the supported features of the server",
            "requests": "the request itself, as the server saw it",
            "vhosts": "manage all vhosts or specified vhost",
            "streams": "manage all streams or specified stream",
            "clients": "manage all clients or specified client, default query top 10 clients",
            "raw": "raw api for the server: the state of the http api",
            "clusters": "origin cluster server API",
            "perf": "not kept here: /metrics and /api/v2/server have the figures",
            "tcmalloc": "not built in: the allocator is mimalloc",
        },
        "tests": {
            "requests": "show the request info",
            "errors": "always return an error 100",
            "redirects": "always redirect to /api/v1/tests/errors",
            "[vhost]": "http vhost for http://error.srs.com:1985/api/v1/tests/errors",
        },
    })
}

/// `GET /api/v1/tests/requests`: keys as SRS spells them.
pub fn test_request(visit: &Visit) -> Value {
    let target = &visit.request.target;
    json!({ "data": {
        "uri": target.raw(),
        "path": target.path(),
        "METHOD": format!("{:?}", visit.method).to_uppercase(),
        "headers": {
            "sigature": "Shardcast",
            "version": env!("CARGO_PKG_VERSION"),
            "link": "https://ossrs.net/lts/zh-cn/docs/v7/doc/http-api",
            "time": unix_ms(),
        },
    } })
}

/// `GET /api/v1/requests`: all that the server knows of the request.
pub fn requests(visit: &Visit) -> Value {
    let request = &visit.request;
    let mut headers = Map::new();
    for (name, value) in request.headers.iter() {
        let value = match SECRET.contains(&name) {
            true => "(not shown)".to_owned(),
            false => String::from_utf8_lossy(value).into_owned(),
        };
        headers.insert(name.to_owned(), value.into());
    }
    let query: Map<String, Value> =
        request.query.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let mut all = test_request(visit);
    let data = &mut all["data"];
    data["host"] = request.host().into();
    data["query"] = query.into();
    data["request_headers"] = headers.into();
    data["ip"] = visit.caller.ip.to_string().into();
    data["peer"] = visit.caller.peer.to_string().into();
    data["keep_alive"] = request.keep_alive.into();
    all
}
