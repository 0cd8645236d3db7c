//! All of it together: whether one may publish or play, and until when.
//!
//! First the rules about addresses, then, where permission is needed, a signature in the address, a token that is
//! written down, or a JWT. What is shown must be true: who shows a wrong one is refused, and told so.

use std::{net::IpAddr, sync::Arc, time::Duration};

use shards::media::StreamKey;

use super::{
    Action, Denied, Guard, Jwt, Limits, Proxies, Rules, Signer, TOKEN_BYTES_MAX, Tokens,
    jwt::{Checked, JwtError},
    sign::SignError,
    tokens::Fit,
};

/// Whether an action needs a permission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Need {
    /// Everybody may.
    #[default]
    Nothing,
    /// Who shows a token or a signature that is good for it.
    Permission,
}

/// What a policy is made of.
#[derive(Debug, Default)]
pub struct Options {
    /// Who may publish.
    pub publish: Need,
    /// Who may play.
    pub play: Need,
    /// Tokens that are written down.
    pub tokens: Tokens,
    /// What checks JWTs.
    pub jwt: Option<Arc<Jwt>>,
    /// What checks signatures.
    pub signer: Option<Signer>,
    /// From where; `None`: from everywhere.
    pub rules: Option<Rules>,
    /// How many.
    pub limits: Limits,
    /// Whose word about others is taken.
    pub proxies: Proxies,
    /// Who may use the API.
    pub guard: Guard,
}

/// See the module. One immutable value.
#[derive(Debug, Default)]
pub struct Policy(Options);

/// Who wants what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// What.
    pub action: Action,
    /// Of which stream.
    pub key: &'r StreamKey,
    /// From where.
    pub ip: IpAddr,
    /// The token that was shown.
    pub token: Option<&'r str>,
    /// The parameters of the address.
    pub query: &'r str,
}

/// A decision.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may, until then since 1970, if it ends at all.
    Granted {
        /// The end.
        until: Option<Duration>,
    },
    /// It may not.
    Denied(Denied),
    /// It may not, as far as the keys go that are known now: newer ones may know better.
    UnknownKey(Denied),
}

impl Policy {
    /// Made of these.
    pub fn new(options: Options) -> Self {
        Self(options)
    }

    /// How many there may be.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Whose word about others is taken.
    pub fn proxies(&self) -> &Proxies {
        &self.0.proxies
    }

    /// Who may use the API.
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Decides, at `now` since 1970.
    pub fn decide(&self, request: &Request<'_>, now: Duration, checked: &mut Checked) -> Verdict {
        let Request { action, key, ip, .. } = *request;
        if self.0.rules.as_ref().is_some_and(|rules| !rules.permit(action, ip)) {
            let why = match action {
                Action::Publish => "publishing is not allowed from your address",
                Action::Play => "playing is not allowed from your address",
            };
            return Verdict::Denied(Denied::Forbidden(why.to_owned()));
        }
        let need = match action {
            Action::Publish => self.0.publish,
            Action::Play => self.0.play,
        };
        if need == Need::Nothing {
            return Verdict::Granted { until: None };
        }
        if let Some(signer) = &self.0.signer
            && let Some(outcome) = signer.check(request.query, action, key, now)
        {
            return match outcome {
                Ok(until) => Verdict::Granted { until: Some(until) },
                Err(wrong @ SignError::Wrong) => Verdict::Denied(Denied::Forbidden(wrong.to_string())),
                Err(error) => Verdict::Denied(Denied::Unauthorized(error.to_string())),
            };
        }
        match request.token.filter(|token| !token.is_empty()) {
            Some(token) => self.token(token, request, now, checked),
            None => {
                let why = format!("a token is needed to {action} {key}");
                Verdict::Denied(Denied::Unauthorized(why))
            }
        }
    }

    fn token(&self, token: &str, request: &Request<'_>, now: Duration, checked: &mut Checked) -> Verdict {
        let Request { action, key, .. } = *request;
        let unauthorized = |why: &str| Denied::Unauthorized(why.to_owned());
        let elsewhere =
            || Verdict::Denied(Denied::Forbidden(format!("this token is not good to {action} {key}")));
        if token.len() > TOKEN_BYTES_MAX {
            return Verdict::Denied(unauthorized("the token is too long"));
        }
        match self.0.tokens.look(token, action, key) {
            Fit::Yes => return Verdict::Granted { until: None },
            Fit::Elsewhere => return elsewhere(),
            Fit::No => {}
        }
        // Three parts, two dots: a JWT, whatever it is worth.
        let Some(jwt) = self.0.jwt.as_ref().filter(|_| token.matches('.').count() == 2) else {
            return Verdict::Denied(unauthorized("the token is not valid"));
        };
        match jwt.verify_once(token, now, checked) {
            Ok(claims) if claims.permit(action, key) => Verdict::Granted { until: Some(claims.until()) },
            Ok(_) => elsewhere(),
            Err(error @ JwtError::UnknownKey) => Verdict::UnknownKey(unauthorized(&error.to_string())),
            Err(error) => Verdict::Denied(unauthorized(&error.to_string())),
        }
    }
}
