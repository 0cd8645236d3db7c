//! Layers laid over each other: defaults, file, environment, command line.

use crate::{
    check::check,
    error::{Errors, Fault, Problem},
    node::{DEPTH_MAX, Node, printable},
    origin::{File, Layer, Origins},
    schema::Config,
    section::{Apply, Setting},
};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The largest file, in bytes: more than twice the manual. What the parser needs for nested brackets grows with the
/// square of their number; this many cost it under 2 s even unoptimised.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 10;
/// What begins a variable that is ours.
const ENV_PREFIX: &str = "SHARDCAST_";

/// Where values come from; later ones win.
#[derive(Clone, Debug)]
pub struct Sources<'a, E> {
    /// A YAML file.
    pub file: Option<PathBuf>,
    /// The environment, `std::env::vars_os()`; only `SHARDCAST_…` is looked at.
    pub env: E,
    /// The texts behind `--set`, `key.path=value` each.
    pub sets: &'a [String],
}

/// A configuration that holds, and where its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The effective values.
    pub config: Config,
    /// Where they were written.
    pub origins: Origins,
}

impl Config {
    /// Lays all sources over the defaults and checks the result.
    ///
    /// # Errors
    /// Everything that is wrong in any of them; contradictions only when all else is right.
    pub fn load<E>(sources: Sources<'_, E>) -> Result<Loaded, Errors>
    where
        E: IntoIterator<Item = (OsString, OsString)>,
    {
        let mut loader = Loader::default();
        if let Some(path) = sources.file {
            match read(&path) {
                Ok(text) => loader.file(File { path, text }),
                Err(error) => loader.blame(&path.display().to_string(), Fault::Unreadable(error.to_string())),
            }
        }
        loader.env(sources.env);
        sources.sets.iter().for_each(|set| loader.set(set));
        loader.finish()
    }

    /// The effective values as YAML that [`Config::load`] reads back to the same.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).expect("structs of plain values are YAML")
    }
}

/// A text of at most [`FILE_BYTES_MAX`].
fn read(path: &Path) -> io::Result<String> {
    let refused = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(refused(format!("larger than {} KiB", FILE_BYTES_MAX >> 10)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        refused(format!("line {} is not UTF-8", 1 + good.iter().filter(|byte| **byte == b'\n').count()))
    })
}

#[derive(Default)]
pub(crate) struct Loader {
    config: Config,
    origins: Origins,
    errors: Errors,
}

impl Loader {
    pub fn file(&mut self, file: File) {
        match Node::from_yaml(&file.text) {
            Ok(node) => self.layer(&node, &Layer::File(Arc::new(file))),
            Err(error) => {
                let line = error.location().map_or(String::new(), |place| format!(":{}", place.line()));
                let place = format!("{}{line}", file.path.display());
                self.blame(&place, Fault::Syntax(reason(&error)));
            }
        }
    }

    /// `SHARDCAST_RTMP__PORT` is `rtmp.port`.
    pub fn env(&mut self, env: impl IntoIterator<Item = (OsString, OsString)>) {
        let ours = |(name, value): (OsString, OsString)| {
            let key = name.to_str()?.strip_prefix(ENV_PREFIX)?.to_owned();
            (!is_service_link(&key)).then_some((key, value))
        };
        // In alphabetical order, so that the same environment gives the same errors.
        for (key, value) in env.into_iter().filter_map(ours).collect::<BTreeMap<_, _>>() {
            let name = format!("{ENV_PREFIX}{key}");
            self.value(&key.to_lowercase().replace("__", "."), &value, &Layer::Env(name.into()));
        }
    }

    /// `rtmp.port=1936`.
    pub fn set(&mut self, set: &str) {
        let layer = Layer::Set(set.into());
        match set.split_once('=') {
            Some((path, value)) => self.value(path.trim(), OsStr::new(value), &layer),
            None => {
                let place = layer.origin::<&str>(&[]).to_string();
                self.blame(&place, Fault::Syntax("found no `=`, allowed: key.path=value".into()));
            }
        }
    }

    /// # Errors
    /// Everything that was noted.
    pub fn finish(mut self) -> Result<Loaded, Errors> {
        if self.errors.is_empty() {
            check(&self.config, &self.origins, &mut self.errors);
        }
        match self.errors.is_empty() {
            true => Ok(Loaded { config: self.config, origins: self.origins }),
            false => Err(self.errors),
        }
    }

    /// One value for the key at `path`, `rtmp.port`.
    fn value(&mut self, path: &str, value: &OsStr, layer: &Layer) {
        let fault = match value.to_str().map(Node::from_plain) {
            // A tree as deep as a path is long would be dropped by a recursion just as deep.
            Some(_) if path.split('.').count() > DEPTH_MAX => "no key has so many levels".to_owned(),
            Some(Ok(value)) => {
                let wrap = |inner, key: &str| Node::Map(vec![(key.to_owned(), inner)]);
                return self.layer(&path.rsplit('.').fold(value, wrap), layer);
            }
            Some(Err(error)) => reason(&error),
            None => "the value is not UTF-8".to_owned(),
        };
        let place = layer.origin::<&str>(&[]).to_string();
        self.blame(&place, Fault::Syntax(fault));
    }

    fn layer(&mut self, node: &Node, layer: &Layer) {
        let mut at = Apply::new(layer, &mut self.origins, &mut self.errors);
        self.config.apply(node, None, &mut at);
    }

    fn blame(&mut self, place: &str, fault: Fault) {
        self.errors.push(|| Problem { place: place.to_owned(), key: String::new(), fault });
    }
}

/// What the parser says, without the place, which stands before it.
fn reason(error: &serde_yaml::Error) -> String {
    let mut text = error.to_string();
    if let Some(place) = error.location() {
        text = text.replacen(&format!(" at line {} column {}", place.line(), place.column()), "", 1);
    }
    printable(&text, 200)
}

/// Kubernetes tells every pod about a service called `shardcast` in variables like `SHARDCAST_PORT_1935_TCP`.
fn is_service_link(key: &str) -> bool {
    key == "PORT" || key.starts_with("PORT_") || key.starts_with("SERVICE_")
}
