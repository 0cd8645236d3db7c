//! Who may use the API and the console.
//!
//! Once a credential is configured, whoever shows it: user name and password (RFC 7617, as SRS has it), or a token as
//! Bearer or as the parameter `token`. Without one, whoever sits at this machine, which a request that came through a proxy
//! does not prove. Media, signalling and the player's pages are not covered, nor is the version, which SRS's clients
//! ask for first, nor whether the server is alive. The console's documents hold nothing secret and ask for the credential
//! themselves, so that they are for everybody once there is one.

use std::net::IpAddr;

use data_encoding::BASE64;

use super::{Digest, digest, same};

/// The credentials; empty texts are none.
#[derive(Clone, Default)]
pub struct GuardOptions {
    /// Of basic authentication.
    pub username: String,
    /// Of basic authentication.
    pub password: String,
    /// The token.
    pub token: String,
}

/// See the module.
#[derive(Clone)]
pub struct Guard {
    basic: Option<Digest>,
    token: Option<Digest>,
}

impl Default for Guard {
    fn default() -> Self {
        Self::new(GuardOptions::default())
    }
}

/// A request at the door.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'r> {
    /// The path, decoded.
    pub path: &'r str,
    /// `Authorization`.
    pub authorization: Option<&'r str>,
    /// The parameter `token`.
    pub token: Option<&'r str>,
    /// Who asks.
    pub ip: IpAddr,
    /// It says that it came through a proxy, whoever that is.
    pub is_forwarded: bool,
    /// It changes something.
    pub is_change: bool,
    /// `Origin`: the site whose page asks.
    pub origin: Option<&'r str>,
    /// What the browser says of who asks (`Sec-Fetch-Site`): scripts of other pages have no origin to show.
    pub site: Option<&'r str>,
    /// It asks for an answer that a page can run (JSONP).
    pub is_script: bool,
}

impl Default for Knock<'_> {
    fn default() -> Self {
        Self {
            path: "/",
            authorization: None,
            token: None,
            ip: IpAddr::from([0, 0, 0, 0]),
            is_forwarded: false,
            is_change: false,
            origin: None,
            site: None,
            is_script: false,
        }
    }
}

/// Why a request is turned away; the sentences are for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Turned {
    /// No credential, or a wrong one.
    #[error("user name and password are needed here, or a token: auth.api of the configuration")]
    Unauthorized,
    /// `Authorization` is nothing that can be read.
    #[error("the header Authorization cannot be read")]
    Malformed,
    /// No credential is configured.
    #[error(
        "the API and the console answer only to this machine until a credential is configured: auth.api.username and auth.api.password, or auth.api.token"
    )]
    NotLocal,
    /// A page of another site asks for a change, in the browser of somebody at this machine.
    #[error(
        "pages of other sites may change nothing here by what the browser knows: let them show the token of auth.api.token"
    )]
    Foreign,
}

impl Guard {
    /// With these credentials; user name and password count together.
    pub fn new(options: GuardOptions) -> Self {
        let GuardOptions { username, password, token } = options;
        let basic = (!username.is_empty()).then(|| digest(format!("{username}:{password}").as_bytes()));
        Self { basic, token: (!token.is_empty()).then(|| digest(token.as_bytes())) }
    }

    /// Whether only this machine is answered.
    pub fn is_local(&self) -> bool {
        self.basic.is_none() && self.token.is_none()
    }

    /// Whether a request may be answered.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, knock: &Knock<'_>) -> Result<(), Turned> {
        match (Place::of(knock.path), self.is_local()) {
            (Place::Free, _) | (Place::Document, false) => Ok(()),
            (Place::Api | Place::Document, true) => local(knock),
            // A browser adds what it knows of Basic by itself, for whatever page asks; of a token it knows nothing.
            (Place::Api, false) if knock.brings_basic() && is_foreign(knock) => Err(Turned::Foreign),
            (Place::Api, false) => self.credential(knock),
        }
    }

    fn credential(&self, knock: &Knock<'_>) -> Result<(), Turned> {
        let fits =
            |known: &Option<Digest>, shown: &[u8]| known.as_ref().is_some_and(|known| same(known, shown));
        if knock.token.is_some_and(|token| fits(&self.token, token.as_bytes())) {
            return Ok(());
        }
        let Some(header) = knock.authorization else { return Err(Turned::Unauthorized) };
        let (scheme, word) = header.trim().split_once(' ').ok_or(Turned::Malformed)?;
        let word = word.trim();
        let may = match scheme {
            _ if scheme.eq_ignore_ascii_case("basic") => {
                let both = BASE64.decode(word.as_bytes()).map_err(|_| Turned::Malformed)?;
                fits(&self.basic, &both)
            }
            _ if scheme.eq_ignore_ascii_case("bearer") => fits(&self.token, word.as_bytes()),
            _ => return Err(Turned::Malformed),
        };
        if may { Ok(()) } else { Err(Turned::Unauthorized) }
    }
}

/// Without a credential: who sits here.
fn local(knock: &Knock<'_>) -> Result<(), Turned> {
    if knock.is_forwarded || !knock.ip.to_canonical().is_loopback() {
        return Err(Turned::NotLocal);
    }
    match knock.origin {
        Some(origin) if knock.is_change && !is_here(origin) => Err(Turned::Foreign),
        _ if knock.is_change && is_foreign(knock) => Err(Turned::Foreign),
        _ => Ok(()),
    }
}

/// Whether a page of another site asks, in somebody's browser, for a change or for what it can run.
fn is_foreign(knock: &Knock<'_>) -> bool {
    (knock.is_change || knock.is_script) && knock.site.is_some_and(|site| site.ends_with("-site"))
}

impl Knock<'_> {
    fn brings_basic(&self) -> bool {
        let scheme = self.authorization.and_then(|header| header.trim().split_once(' '));
        scheme.is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
    }
}

/// Whether an origin is a page of this machine's.
fn is_here(origin: &str) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// What tells or changes something.
    Api,
    /// A document of the console.
    Document,
    /// For everybody.
    Free,
}

impl Place {
    fn of(path: &str) -> Self {
        // Twice the slash, or a dot, must not be another path here than where it is answered.
        let levels: Vec<&str> = path.split('/').filter(|level| !level.is_empty() && *level != ".").collect();
        match levels[..] {
            ["api", "v1", "versions"] => Self::Free,
            ["api" | "metrics", ..] => Self::Api,
            [] | ["console" | "watch", ..] | ["studio" | "server"] => Self::Document,
            // The players' pages, and what is no page: scripts, styles, pictures.
            ["player" | "players", ..] => Self::Free,
            [.., last] if last.ends_with(".html") && last != "player.html" => Self::Document,
            _ => Self::Free,
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "basic: {}, token: {}", self.basic.is_some(), self.token.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn closed() -> Guard {
        Guard::new(GuardOptions {
            username: "admin".to_owned(),
            password: "open:sesame".to_owned(),
            token: "a-long-token".to_owned(),
        })
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64.encode(text.as_bytes()))
    }

    #[test]
    fn without_a_credential_this_machine_is_answered_and_no_other() {
        let guard = Guard::default();
        let at = |ip| Knock { path: "/api/v2/clients", ip, ..Knock::default() };
        assert!(guard.is_local());
        assert_eq!(guard.check(&at(HERE)), Ok(()));
        assert_eq!(guard.check(&at("::1".parse().unwrap())), Ok(()));
        assert_eq!(guard.check(&at("::ffff:127.0.0.1".parse().unwrap())), Ok(()));
        assert_eq!(guard.check(&at(ELSEWHERE)), Err(Turned::NotLocal));
        let proxied = Knock { is_forwarded: true, ..at(HERE) };
        assert_eq!(
            guard.check(&proxied),
            Err(Turned::NotLocal),
            "a proxy on this machine has clients elsewhere"
        );
    }

    #[test]
    fn a_page_of_another_site_may_look_and_not_touch() {
        let guard = Guard::default();
        let knock = |origin, is_change| Knock {
            path: "/api/v1/clients/x",
            ip: HERE,
            origin: Some(origin),
            is_change,
            ..Knock::default()
        };
        assert_eq!(guard.check(&knock("https://evil.example", true)), Err(Turned::Foreign));
        assert_eq!(guard.check(&knock("null", true)), Err(Turned::Foreign));
        assert_eq!(guard.check(&knock("https://evil.example", false)), Ok(()));
        for origin in ["http://localhost:8080", "http://127.0.0.1:1985", "http://[::1]:8080"] {
            assert_eq!(guard.check(&knock(origin, true)), Ok(()), "{origin}");
        }
    }

    #[test]
    fn with_one_everybody_shows_it() {
        let guard = closed();
        let with = |authorization: &str, token: Option<&str>| {
            let authorization = (!authorization.is_empty()).then_some(authorization);
            guard.check(&Knock {
                path: "/api/v1/streams",
                authorization,
                token,
                ip: HERE,
                ..Knock::default()
            })
        };
        assert_eq!(with("", None), Err(Turned::Unauthorized), "this machine, too");
        assert_eq!(with(&basic("admin:open:sesame"), None), Ok(()));
        assert_eq!(with(&basic("admin:open"), None), Err(Turned::Unauthorized));
        assert_eq!(with(&basic("admin"), None), Err(Turned::Unauthorized));
        assert_eq!(with("Bearer a-long-token", None), Ok(()));
        assert_eq!(with("bearer a-long-tokem", None), Err(Turned::Unauthorized));
        assert_eq!(with("", Some("a-long-token")), Ok(()));
        assert_eq!(with("", Some("admin:open:sesame")), Err(Turned::Unauthorized));
        for wrong in ["Basic", "Basic %%%", "Digest x", "x"] {
            assert_eq!(with(wrong, None), Err(Turned::Malformed), "{wrong}");
        }
    }

    #[test]
    fn an_empty_password_opens_nothing_by_itself() {
        let guard = Guard::new(GuardOptions { token: "a-long-token".to_owned(), ..GuardOptions::default() });
        let authorization = basic(":");
        let knock =
            Knock { path: "/api/", authorization: Some(&authorization), ip: HERE, ..Knock::default() };
        assert_eq!(guard.check(&knock), Err(Turned::Unauthorized));
        assert_eq!(
            guard.check(&Knock { authorization: None, token: Some(""), ..knock }),
            Err(Turned::Unauthorized)
        );
    }

    #[test]
    fn documents_are_for_everybody_once_there_is_a_credential() {
        for path in [
            "/",
            "//",
            "/index.html",
            "/console/",
            "/studio",
            "/server",
            "/watch/live/cam",
            "/console/en_index.html",
        ] {
            let knock = Knock { path, ip: ELSEWHERE, ..Knock::default() };
            assert_eq!(Guard::default().check(&knock), Err(Turned::NotLocal), "{path}");
            assert_eq!(closed().check(&knock), Ok(()), "{path}");
        }
    }

    #[test]
    fn media_signalling_players_and_the_version_are_free() {
        for path in [
            "/api/v1/versions",
            "/api/v1/versions/",
            "/rtc/v1/whip/",
            "/live/cam.flv",
            "/whip/live/cam",
            "/player/live/cam",
            "/players/whip.html",
            "/crossdomain.xml",
            "/app.js",
            "/healthz",
            "/readyz",
        ] {
            assert_eq!(closed().check(&Knock { path, ip: ELSEWHERE, ..Knock::default() }), Ok(()), "{path}");
        }
        for path in [
            "/api",
            "/api/",
            "/api/v1",
            "//api/v1/clients",
            "/./api/v1/clients/",
            "/api/v1/versions/x",
            "/metrics",
            "/api/v2/config",
        ] {
            let knock = Knock { path, ip: ELSEWHERE, ..Knock::default() };
            assert_eq!(closed().check(&knock), Err(Turned::Unauthorized), "{path}");
        }
    }
}
