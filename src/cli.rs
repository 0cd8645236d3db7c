//! The command line: what to load, what to print instead of serving.

use crate::{access, log};
use clap::{Args, Parser, Subcommand, ValueEnum};
use config::{Config, Listen, Loaded, LogFormat, LogLevel, MANUAL, Millis, Rotate, Sources};
use shards::media::StreamKey;
use std::{
    ffi::OsString,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};
use tracing_subscriber::filter::LevelFilter;

const EXAMPLES: &str = "\
Examples:
  shardcast                                          serve with the defaults: RTMP 1935, HTTP 8080, WebSocket 8081
  shardcast --demo                                   the same, and publish a test picture as live/demo
  shardcast --print-manual > shardcast.yaml          a file to edit: every key, explained, at its default
  shardcast --config shardcast.yaml --check-config   check a file without serving
  shardcast -c shardcast.yaml --set rtmp.port=1936   change one value
  SHARDCAST_RTMP__PORT=1936 shardcast                the same by the environment
  shardcast --set shards=[0,2] --set log.level=debug --print-config
                                                     what counts in the end
  shardcast sign -c shardcast.yaml --key live/cam --action play --expires 1h
                                                     addresses that carry their own permission

Later wins: defaults, file, environment, --set. No file is read unless --config names it.
RUST_LOG refines what is logged: RUST_LOG=shardcast::sessions=debug";

/// A live media server: publish by RTMP or WebSocket-FLV, play by RTMP, HTTP-FLV or WebSocket-FLV.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "shardcast", version, after_help = EXAMPLES)]
pub struct Cli {
    /// The YAML file to read.
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Set one key, over the file and the environment; may be repeated.
    #[arg(long = "set", value_name = "KEY.PATH=VALUE", global = true)]
    pub sets: Vec<String>,

    /// Publish a test picture with a clock and a tone (demo.enable=true).
    #[arg(long)]
    pub demo: bool,

    /// Check the configuration, print OK or every error, and exit with 0 or 2.
    #[arg(long)]
    pub check_config: bool,

    /// Print the effective configuration as YAML and exit.
    #[arg(long)]
    pub print_config: bool,

    /// Print the default file, in which every key is explained, and exit.
    #[arg(long)]
    pub print_manual: bool,

    /// Something else than to serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else there is to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Sign addresses, so that who has one may publish or play until it expires.
    Sign(Sign),
}

/// What is to be signed.
#[derive(Args, Clone, Debug)]
pub struct Sign {
    /// The stream, APP/NAME.
    #[arg(long)]
    pub key: StreamKey,

    /// What the address is good for.
    #[arg(long)]
    pub action: SignAction,

    /// For how long, from now on: 90s, 10m, 1h.
    #[arg(long)]
    pub expires: Millis,

    /// The host in the addresses.
    #[arg(long, default_value = "localhost")]
    pub host: String,
}

/// What an address is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum SignAction {
    Publish,
    Play,
}

/// What the command line comes to.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// Serve with this configuration.
    Run(Box<Loaded>),
    /// Look whether this configuration could be served, and say so.
    Check(Box<Loaded>),
    /// Print this to standard output; exit with 0.
    Done(String),
    /// Print this to standard error; exit with 2, as for a wrong command line.
    Refused(String),
}

impl Cli {
    /// Loads the configuration, with `env` as its environment (`std::env::vars_os()`).
    pub fn prepare(mut self, env: impl IntoIterator<Item = (OsString, OsString)>) -> Prepared {
        if self.print_manual {
            return Prepared::Done(MANUAL.trim_end().to_owned());
        }
        if self.demo {
            self.sets.push("demo.enable=true".to_owned());
        }
        match Config::load(Sources { file: self.config, env, sets: &self.sets }) {
            Err(errors) => Prepared::Refused(errors.to_string()),
            Ok(loaded) if self.command.is_some() => match self.command {
                Some(Command::Sign(sign)) => sign.run(&loaded.config, SystemTime::now()),
                None => Prepared::Run(Box::new(loaded)),
            },
            Ok(loaded) if self.check_config => Prepared::Check(Box::new(loaded)),
            Ok(loaded) if self.print_config => Prepared::Done(loaded.config.to_yaml().trim_end().to_owned()),
            Ok(loaded) => Prepared::Run(Box::new(loaded)),
        }
    }
}

impl Sign {
    /// The addresses, one a line.
    fn run(&self, config: &Config, now: SystemTime) -> Prepared {
        let Some(secret) = config.auth.sign_keys.reveal().next() else {
            let why =
                "auth.sign_keys is empty: there is no key to sign with (--config FILE, or the environment)";
            return Prepared::Refused(why.to_owned());
        };
        let until = now.duration_since(UNIX_EPOCH).unwrap_or_default() + self.expires.duration();
        let action = match self.action {
            SignAction::Publish => access::Action::Publish,
            SignAction::Play => access::Action::Play,
        };
        let query = access::signed_query(secret.as_bytes(), action, &self.key, until.as_secs());
        let mut lines = Vec::new();
        let mut line = |listen: &Listen, scheme: &str, path: String| {
            if listen.enable {
                let port = listen.port;
                lines.push(format!("{scheme}://{}:{port}/{path}{query}", self.host));
            }
        };
        let key = &self.key;
        let query_of = format!("app={}&stream={}&", encoded(key.app()), encoded(key.name()));
        line(&config.rtmp, "rtmp", format!("{key}?"));
        match self.action {
            SignAction::Publish => line(&config.ws_stream, "ws", format!("publish?{query_of}")),
            SignAction::Play => {
                line(&config.httpflv, "http", format!("{}.flv?", encoded(key.as_str())));
                line(&config.httpflv, "ws", format!("{}.flv?", encoded(key.as_str())));
            }
        }
        if config.webrtc.enable {
            let door = if self.action == SignAction::Publish { "whip" } else { "whep" };
            line(&config.httpflv, "http", format!("{door}/{}?", encoded(key.as_str())));
        }
        lines.push(query.clone());
        Prepared::Done(lines.join("\n"))
    }
}

/// As it stands in a path or in a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes().fold(String::new(), |mut text, byte| {
        match plain(byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

/// What the log needs of the configuration; `directives` are those of `RUST_LOG`.
pub fn log_options(config: &config::Log, directives: Option<String>) -> log::Options {
    log::Options {
        level: match config.level {
            LogLevel::Off => LevelFilter::OFF,
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        },
        directives,
        format: match config.format {
            LogFormat::Text => log::Format::Text,
            LogFormat::Json => log::Format::Json,
        },
        file: (!config.file.as_os_str().is_empty()).then(|| log::LogFile {
            path: config.file.clone(),
            rotate: match config.rotate {
                Rotate::Never => log::Rotate::Never,
                Rotate::Hourly => log::Rotate::Hourly,
                Rotate::Daily => log::Rotate::Daily,
            },
            keep: usize::try_from(config.keep).unwrap_or(usize::MAX),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn prepare(line: &str) -> Prepared {
        Cli::try_parse_from(line.split_whitespace()).expect(line).prepare([])
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_arguments_the_defaults_are_served() {
        let Prepared::Run(loaded) = prepare("shardcast") else { panic!("it serves") };
        assert_eq!(loaded.config, Config::default());
    }

    #[test]
    fn sets_are_repeatable_and_demo_is_one_of_them() {
        let Prepared::Run(loaded) = prepare("shardcast --set rtmp.port=1 --set shards=2 --demo") else {
            panic!("it serves")
        };
        assert_eq!(loaded.config.rtmp.port, 1);
        assert!(loaded.config.demo.enable);
    }

    #[test]
    fn a_checked_configuration_is_ok_or_told_what_is_wrong() {
        assert!(matches!(prepare("shardcast --check-config"), Prepared::Check(_)));
        let Prepared::Refused(text) = prepare("shardcast --check-config --set rtmp.port=0 -c /nowhere.yaml")
        else {
            panic!("it is wrong")
        };
        assert_eq!(
            text,
            "/nowhere.yaml: cannot be read: No such file or directory (os error 2)\n\
             --set rtmp.port=0: rtmp.port: found `0`, allowed: a whole number from 1 to 65535"
        );
    }

    #[test]
    fn what_is_printed_can_be_loaded_again() {
        let Prepared::Done(text) = prepare("shardcast --print-config --set rtmp.port=7") else {
            panic!("it prints")
        };
        assert!(text.contains("  port: 7\n"), "{text}");
        assert!(
            matches!(prepare("shardcast --print-manual"), Prepared::Done(text) if text.contains("coalesce: auto"))
        );
    }

    #[test]
    fn what_is_signed_is_printed_for_each_protocol_and_alone() {
        let line = "shardcast sign --set auth.sign_keys=[0123456789abcdef] --key live/cam --expires 1h --host h --action";
        let Prepared::Done(text) = prepare(&format!("{line} play")) else { panic!("it signs") };
        let lines: Vec<&str> = text.lines().collect();
        let [rtmp, http, ws, whep, query] = lines[..] else { panic!("{text}") };
        assert_eq!(rtmp, format!("rtmp://h:1935/live/cam?{query}"));
        assert_eq!(http, format!("http://h:8080/live/cam.flv?{query}"));
        assert_eq!(ws, format!("ws://h:8080/live/cam.flv?{query}"));
        assert_eq!(whep, format!("http://h:8080/whep/live/cam?{query}"));
        assert!(query.starts_with("expires=") && query.contains("&sign="), "{query}");
        let Prepared::Done(text) = prepare(&format!("{line} publish")) else { panic!("it signs") };
        assert!(text.contains("\nws://h:8081/publish?app=live&stream=cam&expires="), "{text}");
        assert!(text.contains("\nhttp://h:8080/whip/live/cam?expires="), "{text}");
        assert!(matches!(
            prepare("shardcast sign --key live/cam --expires 1h --action play"),
            Prepared::Refused(why) if why.contains("auth.sign_keys")
        ));
        assert_eq!(encoded("live/a b&é"), "live/a%20b%26%C3%A9");
    }

    #[test]
    fn a_wrong_command_line_is_told_so() {
        let error = Cli::try_parse_from(["shardcast", "--chek-config"]).expect_err("no such option");
        assert!(error.to_string().contains("--check-config"), "{error}");
        assert!(Cli::try_parse_from(["shardcast", "file.yaml"]).is_err());
    }

    #[test]
    fn the_log_gets_what_the_file_says() {
        let config =
            config::Log { file: "x.log".into(), rotate: Rotate::Daily, keep: 3, ..Default::default() };
        let options = log_options(&config, None);
        let expected = log::LogFile { path: "x.log".into(), rotate: log::Rotate::Daily, keep: 3 };
        assert_eq!((options.level, options.file), (LevelFilter::INFO, Some(expected)));
        assert_eq!(log_options(&config::Log::default(), None).file, None);
    }
}
