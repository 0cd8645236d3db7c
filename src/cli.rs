//! The command line: what to load, what to print instead of serving.

use crate::log;
use clap::Parser;
use config::{Config, Errors, Loaded, LogFormat, LogLevel, MANUAL, Rotate, Sources};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
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

Later wins: defaults, file, environment, --set. No file is read unless --config names it.
RUST_LOG refines what is logged: RUST_LOG=shardcast::sessions=debug";

/// A live media server: publish by RTMP or WebSocket-FLV, play by RTMP, HTTP-FLV or WebSocket-FLV.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "shardcast", version, after_help = EXAMPLES)]
pub struct Cli {
    /// The YAML file to read.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set one key, over the file and the environment; may be repeated.
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
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

    /// Take the ports over from this process, which serves them: an upgrade without a refused connection. It ends when those
    /// who are connected to it have been told to come again.
    #[arg(long, value_name = "PID")]
    pub take_over: Option<u32>,

    /// Print the default file, in which every key is explained, and exit.
    #[arg(long)]
    pub print_manual: bool,
}

/// What the command line comes to.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// Serve with this configuration.
    Run(Box<Loaded>),
    /// Print this to standard output; exit with 0.
    Done(String),
    /// Print this to standard error; exit with 2, as for a wrong command line.
    Refused(String),
}

impl Cli {
    /// Loads the configuration, as often as need be, with `env` as its environment (`std::env::vars_os()`).
    ///
    /// # Errors
    /// Everything that is wrong in any of its sources.
    pub fn load(&self, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Loaded, Errors> {
        let mut sets = self.sets.clone();
        if self.demo {
            sets.push("demo.enable=true".to_owned());
        }
        Config::load(Sources { file: self.config.clone(), env, sets: &sets })
    }

    /// What to do: the configuration is loaded with `env` as its environment (`std::env::vars_os()`).
    pub fn prepare(&self, env: impl IntoIterator<Item = (OsString, OsString)>) -> Prepared {
        if self.print_manual {
            return Prepared::Done(MANUAL.trim_end().to_owned());
        }
        match self.load(env) {
            Err(errors) => Prepared::Refused(errors.to_string()),
            Ok(_) if self.check_config => Prepared::Done("OK".to_owned()),
            Ok(loaded) if self.print_config => Prepared::Done(loaded.config.to_yaml().trim_end().to_owned()),
            Ok(loaded) => Prepared::Run(Box::new(loaded)),
        }
    }
}

/// What the log needs of the configuration; `directives` are those of `RUST_LOG`.
pub fn log_options(config: &config::Log, directives: Option<String>) -> log::Options {
    let file = |path: &Path| {
        (!path.as_os_str().is_empty()).then(|| log::LogFile {
            path: path.to_owned(),
            rotate: match config.rotate {
                Rotate::Never => log::Rotate::Never,
                Rotate::Hourly => log::Rotate::Hourly,
                Rotate::Daily => log::Rotate::Daily,
            },
            keep: usize::try_from(config.keep).unwrap_or(usize::MAX),
        })
    };
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
        file: file(&config.file),
        sessions: file(&config.sessions),
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
        assert!(matches!(prepare("shardcast --check-config"), Prepared::Done(text) if text == "OK"));
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
