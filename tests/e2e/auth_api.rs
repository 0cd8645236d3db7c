//! Who asks, when proxies stand in between, and whom the API and the console answer.

use std::io;

use crate::support::{Server, http, rtmp};

/// A header of the PROXY protocol before whatever a client says.
fn dial_behind(addr: std::net::SocketAddr, header: &[u8]) -> io::Result<std::net::TcpStream> {
    let mut wire = rtmp::socket(addr)?;
    io::Write::write_all(&mut wire, header)?;
    Ok(wire)
}

#[test]
fn the_proxy_protocol_tells_the_address_on_every_port_when_the_proxy_is_trusted() {
    let server = Server::builder()
        .set("security.enable", "true")
        .set("security.allow", "[\"all 203.0.113.5\", \"all 2001:db8::7\"]")
        .set("security.trusted_proxies", "[127.0.0.1]")
        .set("limits.connections_per_ip", "2")
        .start();
    let v1 = |ip: &str| format!("PROXY TCP4 {ip} 192.0.2.1 5000 1935\r\n").into_bytes();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24".to_vec();
    v2.extend("2001:db8::7".parse::<std::net::Ipv6Addr>().expect("an address").octets());
    v2.extend([0; 16]);
    v2.extend([0x13, 0x88, 0x07, 0x8f]);
    let publish = |header: &[u8], name: &str| {
        let wire = dial_behind(server.rtmp(), header)?;
        let mut client = rtmp::Client::over(Box::new(wire))?;
        let status = client.start_publish(server.rtmp(), "live", name)?;
        Ok::<_, io::Error>((client, status))
    };
    let (_first, status) = publish(&v1("203.0.113.5"), "a").expect("answered");
    assert_eq!(status.code(), "NetStream.Publish.Start");
    let (_second, status) = publish(&v2, "b").expect("answered");
    assert_eq!(status.code(), "NetStream.Publish.Start");
    let (_, status) = publish(&v1("203.0.113.6"), "c").expect("answered");
    assert_eq!(status.code(), "NetStream.Publish.Denied");
    server.wait_for_line(&["203.0.113.5:5000", "publishes by RTMP"]);
    // Limits count those whom it speaks for.
    let (_third, status) = publish(&v1("203.0.113.5"), "d").expect("answered");
    assert_eq!(status.code(), "NetStream.Publish.Start");
    assert!(publish(&v1("203.0.113.5"), "e").is_err(), "the third of one address is turned away");
    // HTTP, with header and request in one piece; and what is no header although it begins like one.
    let head = |header: &[u8]| {
        let mut wire = dial_behind(server.http(), header).expect("a connection");
        let text = "HEAD /live/x.flv HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        io::Write::write_all(&mut wire, text.as_bytes()).expect("sent");
        http::Stream::read_head(io::BufReader::new(Box::new(wire)), "HEAD").map(|answer| answer.head.status)
    };
    assert_eq!(head(&v2).expect("answered"), 404);
    assert_eq!(head(&v1("203.0.113.6")).expect("answered"), 403);
    assert!(head(b"PROXY TCP4 nonsense\r\n").is_err());
    assert!(head(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff").is_err());
    // Of anybody else it is garbage.
    let stranger = Server::start();
    let mut wire = dial_behind(stranger.http(), &v1("203.0.113.5")).expect("a connection");
    io::Write::write_all(&mut wire, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    let answer = http::Stream::read_head(io::BufReader::new(Box::new(wire)), "GET").expect("answered");
    assert!((400..600).contains(&answer.head.status), "{:?}", answer.head);
}

/// A request to the API or the console, from wherever the PROXY header says.
fn api(server: &Server, header: &str, method: &str, target: &str, fields: &str) -> http::Answer {
    let mut wire = dial_behind(server.api(), header.as_bytes()).expect("a connection");
    let text = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{fields}Connection: close\r\n\r\n");
    io::Write::write_all(&mut wire, text.as_bytes()).expect("sent");
    let stream = http::Stream::read_head(io::BufReader::new(Box::new(wire)), method).expect("answered");
    stream.finish().expect("a body").0
}

#[test]
fn without_a_credential_the_api_answers_this_machine_alone_and_says_so() {
    let server = Server::builder().set("security.trusted_proxies", "[127.0.0.1]").start();
    server.wait_for_line(&["open to:", "API and console this machine alone"]);
    server.wait_for_line(&["access", "auth.api"]);
    let elsewhere = "PROXY TCP4 203.0.113.5 192.0.2.1 5000 1985\r\n";
    let here = "PROXY TCP6 ::1 ::1 5000 1985\r\n";
    for target in ["/", "/api/v2/streams", "/api/v1/streams/", "/metrics", "/console/", "/studio"] {
        let answer = api(&server, elsewhere, "GET", target, "");
        assert_eq!(answer.head.status, 403, "{target}");
        assert!(answer.text().contains("auth.api.username"), "{}", answer.text());
    }
    assert_eq!(api(&server, here, "GET", "/api/v2/streams", "").head.status, 200);
    // A proxy on this machine, believed or not, has its clients elsewhere.
    let told = "X-Forwarded-For: 203.0.113.5\r\n";
    assert_eq!(api(&server, here, "GET", "/api/v2/streams", told).head.status, 403);
    assert_eq!(api(&server, "", "GET", "/api/v2/streams", told).head.status, 403);
    // Media and signalling are for everybody.
    assert_eq!(api(&server, elsewhere, "HEAD", "/live/x.flv", "").head.status, 404);
    assert_eq!(
        api(&server, elsewhere, "POST", "/rtc/v1/whip/?app=live&stream=x", "Content-Length: 0\r\n")
            .head
            .status,
        400
    );
    // A page of another site may look, from a browser on this machine, and touch nothing.
    let evil = "Origin: https://evil.example\r\n";
    let kick = "/api/v1/clients/none?method=DELETE";
    let plain = Server::start();
    assert_eq!(api(&plain, "", "GET", "/api/v2/streams", evil).head.status, 200);
    assert_eq!(api(&plain, "", "DELETE", "/api/v1/clients/none", evil).head.status, 403);
    assert_eq!(api(&plain, "", "GET", kick, evil).head.status, 403);
    assert_ne!(api(&plain, "", "GET", kick, "").head.status, 403);
    assert_eq!(api(&plain, "", "OPTIONS", "/api/v1/clients/none", evil).head.status, 200);
    // A script of it has no origin to show, and the browser says whose it is.
    let script = "Sec-Fetch-Site: cross-site\r\n";
    let scripted = "/api/v1/clients/none?callback=f&method=DELETE";
    assert_eq!(api(&plain, "", "GET", scripted, script).head.status, 403);
    assert_eq!(api(&plain, "", "GET", "/api/v1/streams/?callback=f", script).head.status, 200);
    assert_eq!(api(&plain, "", "GET", scripted, "Sec-Fetch-Site: same-origin\r\n").head.status, 200);
    // Asking what is allowed is nothing but that, whatever the query means.
    let asked = api(&server, elsewhere, "OPTIONS", "/api/v1/clients/?callback=f&method=GET", "");
    assert!(asked.head.status == 200 && !asked.text().contains("clients"), "{}", asked.text());
    // A proxy that speaks for this machine speaks for somebody all the same; what is no text speaks for nobody.
    for told in ["X-Forwarded-For: 127.0.0.1\r\n", "X-Real-IP: ::1\r\n"] {
        assert_eq!(api(&server, "", "GET", "/api/v2/streams", told).head.status, 403, "{told}");
    }
}

#[test]
fn with_a_credential_the_api_answers_who_shows_it() {
    let server = Server::builder()
        .set("auth.api.username", "admin")
        .set("auth.api.password", "open sesame")
        .set("auth.api.token", "a-long-token")
        .set("security.trusted_proxies", "[127.0.0.1]")
        .start();
    server.wait_for_line(&["open to:", "API and console who has its credential"]);
    let basic =
        |text: &str| format!("Authorization: Basic {}\r\n", data_encoding::BASE64.encode(text.as_bytes()));
    let elsewhere = "PROXY TCP4 203.0.113.5 192.0.2.1 5000 1985\r\n";
    let get = |target: &str, fields: &str| api(&server, elsewhere, "GET", target, fields);
    for (fields, challenge) in [
        (String::new(), Some("Basic")),
        (basic("admin:wrong"), Some("Basic")),
        (basic("other:open sesame"), Some("Basic")),
        ("Authorization: Bearer wrong-token\r\n".to_owned(), Some("Basic")),
        // As in SRS: what cannot be read is not asked for again.
        ("Authorization: Basic %%%\r\n".to_owned(), None),
    ] {
        for target in ["/api/v2/streams", "/api/v1/streams", "/metrics"] {
            let answer = get(target, &fields);
            assert_eq!(
                (answer.head.status, answer.head.field("www-authenticate")),
                (401, challenge),
                "{target} {fields}"
            );
        }
    }
    for fields in [basic("admin:open sesame"), "Authorization: Bearer a-long-token\r\n".to_owned()] {
        assert_eq!(get("/api/v2/streams", &fields).head.status, 200, "{fields}");
    }
    // The console asks for the credential itself, and so its documents come first.
    assert_eq!(get("/", "Accept: text/html\r\n").head.status, 200);
    let asked = get("/api/v2/streams", "X-Requested-With: fetch\r\n");
    assert_eq!((asked.head.status, asked.head.field("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(get("/api/v2/streams?token=a-long-token", "").head.status, 200);
    assert_eq!(get("/api/v2/streams?token=wrong", "").head.status, 401);
    assert_eq!(api(&server, "", "GET", "/api/v2/streams", "").head.status, 401, "this machine, too");
    assert_eq!(api(&server, elsewhere, "HEAD", "/live/x.flv", "").head.status, 404, "media is not concerned");
}
