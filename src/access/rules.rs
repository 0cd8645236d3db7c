//! From where one may publish and play, as SRS's `security` has it.
//!
//! Who matches a deny rule is refused. Who is left must match an allow rule, if there are any. Without any rule at all
//! everybody is refused. Rules are two words: `publish`, `play` or `all`, then `all`, an address or a range.

use std::net::IpAddr;

use super::{Action, Actions, Network, NetworkError};

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not two words.
    #[error("a rule is two words, like `publish 10.0.0.0/8` or `play all`")]
    Words,
    /// The first is none of three.
    #[error("a rule begins with publish, play or all")]
    Action,
    /// The second is no range.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    actions: Actions,
    /// `None`: everywhere.
    from: Option<Network>,
}

impl Rule {
    fn parse(text: &str) -> Result<Self, RuleError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [action, from] = words[..] else { return Err(RuleError::Words) };
        let actions = Actions::of(action).ok_or(RuleError::Action)?;
        let from = if from == "all" { None } else { Some(from.parse()?) };
        Ok(Self { actions, from })
    }

    fn fits(&self, action: Action, ip: IpAddr) -> bool {
        self.actions.has(action) && self.from.is_none_or(|network| network.has(ip))
    }
}

/// All rules.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
}

impl Rules {
    /// From texts.
    ///
    /// # Errors
    /// The first text that is no rule, and why.
    pub fn parse<'t>(
        allow: impl Iterator<Item = &'t str>,
        deny: impl Iterator<Item = &'t str>,
    ) -> Result<Self, (String, RuleError)> {
        let rule = |text: &str| Rule::parse(text).map_err(|error| (text.to_owned(), error));
        Ok(Self {
            allow: allow.map(rule).collect::<Result<_, _>>()?,
            deny: deny.map(rule).collect::<Result<_, _>>()?,
        })
    }

    /// Whether `action` may be done from `ip`.
    pub fn permit(&self, action: Action, ip: IpAddr) -> bool {
        if self.deny.iter().any(|rule| rule.fits(action, ip)) {
            return false;
        }
        // SRS counts the allow rules of both actions here.
        let is_list = !self.allow.is_empty() || self.deny.is_empty();
        !is_list || self.allow.iter().any(|rule| rule.fits(action, ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str], deny: &[&str]) -> Rules {
        Rules::parse(allow.iter().copied(), deny.iter().copied()).unwrap()
    }

    fn may(rules: &Rules, action: Action, ip: &str) -> bool {
        rules.permit(action, ip.parse().unwrap())
    }

    #[test]
    fn deny_comes_first_and_then_one_must_be_allowed() {
        let rules = rules(&["publish 10.0.0.0/8", "play all"], &["all 10.0.0.66", "play 2001:db8::/32"]);
        assert!(may(&rules, Action::Publish, "10.1.2.3"));
        assert!(may(&rules, Action::Publish, "::ffff:10.1.2.3"));
        assert!(!may(&rules, Action::Publish, "10.0.0.66") && !may(&rules, Action::Play, "10.0.0.66"));
        assert!(!may(&rules, Action::Publish, "192.0.2.1") && may(&rules, Action::Play, "192.0.2.1"));
        assert!(!may(&rules, Action::Play, "2001:db8::1"));
    }

    #[test]
    fn without_rules_everybody_is_refused_and_with_deny_rules_alone_the_others_are_not() {
        assert!(!may(&rules(&[], &[]), Action::Play, "127.0.0.1"));
        let deny = rules(&[], &["publish all"]);
        assert!(!may(&deny, Action::Publish, "127.0.0.1") && may(&deny, Action::Play, "127.0.0.1"));
        // As in SRS: what is allowed for one action says that there is a list.
        let publish = rules(&["publish 127.0.0.1"], &[]);
        assert!(may(&publish, Action::Publish, "127.0.0.1") && !may(&publish, Action::Play, "127.0.0.1"));
    }

    #[test]
    fn what_is_no_rule_is_told_so() {
        for (text, error) in [
            ("publish", RuleError::Words),
            ("allow publish all", RuleError::Words),
            ("watch all", RuleError::Action),
            ("play here", RuleError::Network(NetworkError("here".to_owned()))),
        ] {
            assert_eq!(
                Rules::parse([text].into_iter(), [].into_iter()).err(),
                Some((text.to_owned(), error))
            );
        }
    }
}
