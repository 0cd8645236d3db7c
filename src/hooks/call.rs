//! One HTTP call to the operator's backend, and what its answer means. Blocking: for the side threads alone.
//!
//! Each call has a connection of its own, as SRS does it: a kept one may be dead, and a decision is asked once only.
//! Invariant: no answer is read beyond its bound, and no call lasts longer than its time-out, the name's look-up included.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

/// The longest answer of a hook that is read, in bytes: all that counts is a number.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// The longest document that is fetched, in bytes.
pub const DOCUMENT_BYTES_MAX: u64 = 1024 * 1024;

/// How often a document may have moved.
const REDIRECTS_MAX: u32 = 3;

/// Why a call was not answered with yes. The sentences are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An answer came, and it is not yes.
    #[error("{0}")]
    Rejected(String),
    /// No whole answer came.
    #[error("{0}")]
    Unanswered(String),
}

/// Who calls: time-outs and trust.
#[derive(Clone, Debug)]
pub struct Client {
    hooks: Agent,
    documents: Agent,
}

impl Client {
    /// Calls last `timeout` at most. The authorities in the PEM file `ca` are trusted, or else those that browsers trust.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn new(timeout: Duration, ca: Option<&Path>) -> Result<Self, String> {
        let roots = match ca {
            None => RootCerts::WebPki,
            Some(path) => authorities(path)?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(roots)
            .build();
        let agent = |redirects: u32| {
            Agent::config_builder()
                .tls_config(tls.clone())
                .timeout_global(Some(timeout))
                // The environment's proxy is for people; operators name their backend.
                .proxy(None)
                .http_status_as_error(false)
                .max_redirects(redirects)
                .max_redirects_will_error(false)
                .max_idle_connections(0)
                .user_agent(concat!("Shardcast/", env!("CARGO_PKG_VERSION")))
                .build()
                .new_agent()
        };
        Ok(Self { hooks: agent(0), documents: agent(REDIRECTS_MAX) })
    }

    /// Tells a hook `body`, and hears its answer.
    ///
    /// # Errors
    /// When it is not yes.
    pub fn ask(&self, url: &str, body: &str) -> Result<(), Failure> {
        let unanswered = |error: ureq::Error| Failure::Unanswered(error.to_string());
        let request = self.hooks.post(url).header("Content-Type", "application/json");
        let mut response = request.send(body).map_err(unanswered)?;
        let status = response.status().as_u16();
        match response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec() {
            Ok(answer) => verdict(status, &answer).map_err(Failure::Rejected),
            Err(ureq::Error::BodyExceedsLimit(limit)) => {
                Err(Failure::Rejected(format!("its answer is longer than {limit} bytes")))
            }
            Err(error) => Err(unanswered(error)),
        }
    }

    /// Fetches a document.
    ///
    /// # Errors
    /// Why there is none; the sentence names no secret of the address.
    pub fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let mut response = self.documents.get(url).call().map_err(|error| error.to_string())?;
        match response.status().as_u16() {
            200 => {}
            status => return Err(format!("the answer has status {status}")),
        }
        let body = response.body_mut().with_config().limit(DOCUMENT_BYTES_MAX).read_to_vec();
        body.map_err(|error| error.to_string())
    }
}

/// The authorities of a file.
fn authorities(path: &Path) -> Result<RootCerts, String> {
    let told = |why: &dyn std::fmt::Display| format!("hooks.ca: {}: {why}", path.display());
    let own: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(|certs| certs.collect())
        .map_err(|error| told(&error))?;
    if own.is_empty() {
        return Err(told(&"there is no certificate in it"));
    }
    let certificates: Vec<Certificate<'static>> =
        own.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    Ok(RootCerts::new_with_certs(&certificates))
}

/// Whether a hook's answer is yes: status 200 or 201, and `0` or an object whose `code` is the integer 0.
///
/// # Errors
/// What it is instead.
pub fn verdict(status: u16, body: &[u8]) -> Result<(), String> {
    if !matches!(status, 200 | 201) {
        return Err(format!("it answered with status {status}"));
    }
    let text = body.trim_ascii();
    if text == b"0" {
        return Ok(());
    }
    if text.is_empty() {
        return Err("its answer is empty".to_owned());
    }
    let answer: serde_json::Value =
        serde_json::from_slice(text).map_err(|_| "its answer is neither 0 nor JSON".to_owned())?;
    match answer.get("code") {
        Some(code) if code.as_i64() == Some(0) => Ok(()),
        Some(code) if code.is_number() => Err(format!("it answered with code {code}")),
        Some(_) => Err("the code in its answer is no number".to_owned()),
        None => Err("its answer has no code".to_owned()),
    }
}

/// An address as it may stand in a log: without user, password and parameters, where secrets are.
pub fn shown(url: &str) -> String {
    let address = url.split(['?', '#']).next().unwrap_or_default();
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_code_zero_are_yes_and_all_else_is_no() {
        for yes in ["0", "0\n", " 0 ", r#"{"code":0}"#, r#"{"code": 0, "data": {"urls": []}}"#] {
            assert_eq!(verdict(200, yes.as_bytes()), Ok(()), "{yes:?}");
            assert_eq!(verdict(201, yes.as_bytes()), Ok(()), "{yes:?}");
            for status in [0, 100, 202, 204, 301, 307, 400, 401, 404, 500, 502, 503] {
                assert!(verdict(status, yes.as_bytes()).is_err(), "{status} {yes:?}");
            }
        }
        let nonsense: [&[u8]; 16] = [
            b"",
            b" ",
            b"1",
            b"00",
            b"0.0",
            b"ok",
            b"true",
            b"[0]",
            b"{}",
            br#"{"code":1}"#,
            br#"{"code":"0"}"#,
            br#"{"code":null}"#,
            br#"{"code":0.5}"#,
            br#"{"code":0"#,
            b"<html>0</html>",
            b"\xff\xfe0",
        ];
        for no in nonsense {
            assert!(verdict(200, no).is_err(), "{:?}", String::from_utf8_lossy(no));
        }
        let deep = [&b"[".repeat(50_000)[..], b"0"].concat();
        assert!(verdict(200, &deep).is_err(), "a deep nest is no answer, and no harm");
    }

    #[test]
    fn secrets_of_an_address_are_not_shown() {
        assert_eq!(shown("https://user:pass@host:8443/hook?key=secret#x"), "https://host:8443/hook");
        assert_eq!(shown("http://host"), "http://host");
        assert_eq!(shown("http://host/a@b?c"), "http://host/a@b");
        assert_eq!(shown("nonsense?key=x"), "nonsense");
    }

    #[test]
    fn a_file_without_authorities_is_named() {
        let error = Client::new(Duration::from_secs(1), Some(Path::new("/nowhere.pem"))).unwrap_err();
        assert!(error.starts_with("hooks.ca: /nowhere.pem: "), "{error}");
        assert!(Client::new(Duration::from_secs(1), None).is_ok());
    }
}
