//! The server and its machine, from what the side thread saw last.

use serde_json::{Map, Value, json};

use super::super::{Api, unix_ms, watch::Sight};
use crate::settings;

/// Three numbers of a version, and the version.
pub fn versions() -> Value {
    let [major, minor, revision] = version();
    json!({ "data": {
        "major": major, "minor": minor, "revision": revision, "version": env!("CARGO_PKG_VERSION"),
    } })
}

/// Major, minor and revision.
pub(in crate::api) fn version() -> [u32; 3] {
    let mut parts = env!("CARGO_PKG_VERSION").split(['.', '-']).map(|part| part.parse().unwrap_or_default());
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// `now_ms`, the process and the system.
pub fn summaries(api: &Api) -> Value {
    let (sight, pages) = (api.sight(), api.pages());
    let sample = &sight.sample;
    let (received, sent) = pages
        .iter()
        .fold((0, 0), |(received, sent), page| (received + page.traffic.0, sent + page.traffic.1));
    let argv = settings::shown_arguments(std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()));
    let cwd = std::env::current_dir().map(|cwd| cwd.display().to_string()).unwrap_or_default();
    let (memory, resident) = (&sample.memory, sample.resident_kb());
    let memory_share = if memory.total == 0 { 0.0 } else { resident as f64 / memory.total as f64 };
    json!({ "data": {
        "ok": is_sampled(&sight),
        "now_ms": unix_ms(),
        "self": {
            "version": env!("CARGO_PKG_VERSION"),
            "pid": api.identity().pid,
            "ppid": std::os::unix::process::parent_id(),
            "argv": argv,
            "cwd": cwd,
            "mem_kbyte": resident,
            "mem_percent": memory_share,
            "cpu_percent": sample.process_share,
            "srs_uptime": api.uptime().as_secs(),
        },
        "system": {
            "cpu_percent": sample.system_share,
            "disk_read_KBps": sample.disk.read_rate,
            "disk_write_KBps": sample.disk.write_rate,
            "disk_busy_percent": sample.disk.busy_share,
            "mem_ram_kbyte": memory.total,
            "mem_ram_percent": memory.share(),
            "mem_swap_kbyte": memory.swap_total,
            "mem_swap_percent": memory.swap_share(),
            "cpus": sample.cpus.0,
            "cpus_online": sample.cpus.1,
            "uptime": sample.uptime,
            // SRS spells it so.
            "ilde_time": sample.idle,
            "load_1m": sample.load[0],
            "load_5m": sample.load[1],
            "load_15m": sample.load[2],
            "net_sample_time": sample.at_ms,
            "net_recv_bytes": sample.network.received,
            "net_send_bytes": sample.network.sent,
            "net_recvi_bytes": sample.network.received_inner,
            "net_sendi_bytes": sample.network.sent_inner,
            "srs_sample_time": unix_ms(),
            "srs_recv_bytes": received,
            "srs_send_bytes": sent,
            "conn_sys": sample.sockets.all,
            "conn_sys_et": sample.sockets.established,
            "conn_sys_tw": sample.sockets.time_wait,
            "conn_sys_udp": sample.sockets.udp,
            "conn_srs": pages.iter().map(|page| page.connections).sum::<usize>(),
        },
    } })
}

fn is_sampled(sight: &Sight) -> bool {
    sight.sample.at_ms > 0
}

/// What `getrusage` says. Times are whole seconds, as SRS has them.
pub fn rusages(api: &Api) -> Value {
    let sight = api.sight();
    let usage = &sight.sample.usage;
    let mut data = begin(&sight);
    data.insert("ru_utime".to_owned(), (usage.user_us / 1_000_000).into());
    data.insert("ru_stime".to_owned(), (usage.system_us / 1_000_000).into());
    data.extend(usage.fields().map(|(name, value)| (name.to_owned(), value.into())));
    json!({ "data": data })
}

/// `/proc/self/stat`.
pub fn self_proc_stats(api: &Api) -> Value {
    let sight = api.sight();
    let process = &sight.sample.process;
    let mut data = begin(&sight);
    data.insert("percent".to_owned(), sight.sample.process_share.into());
    data.insert("comm".to_owned(), process.comm.as_str().into());
    data.insert("state".to_owned(), process.state.as_str().into());
    for (name, value) in process.fields() {
        // One of them uses all 64 bits, some are negative.
        let value = match i64::try_from(value) {
            Ok(value) => Value::from(value),
            Err(_) => u64::try_from(value).unwrap_or_default().into(),
        };
        data.insert(name.to_owned(), value);
    }
    json!({ "data": data })
}

/// The line of all processors in `/proc/stat`.
pub fn system_proc_stats(api: &Api) -> Value {
    let sight = api.sight();
    let mut data = begin(&sight);
    data.insert("percent".to_owned(), sight.sample.system_share.into());
    data.extend(sight.sample.system.fields().map(|(name, value)| (name.to_owned(), value.into())));
    json!({ "data": data })
}

/// `/proc/meminfo`, in kB.
pub fn meminfos(api: &Api) -> Value {
    let sight = api.sight();
    let memory = &sight.sample.memory;
    json!({ "data": {
        "ok": is_sampled(&sight),
        "sample_time": sight.sample.at_ms,
        "percent_ram": memory.share(),
        "percent_swap": memory.swap_share(),
        "MemActive": memory.active(),
        "RealInUse": memory.in_use(),
        "NotInUse": memory.not_in_use(),
        "MemTotal": memory.total,
        "MemFree": memory.free,
        "Buffers": memory.buffers,
        "Cached": memory.cached,
        "SwapTotal": memory.swap_total,
        "SwapFree": memory.swap_free,
    } })
}

/// What all samples begin with.
fn begin(sight: &Sight) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("ok".to_owned(), is_sampled(sight).into());
    data.insert("sample_time".to_owned(), sight.sample.at_ms.into());
    data
}

/// Whose work it is.
pub fn authors() -> Value {
    json!({ "data": {
        "license": env!("CARGO_PKG_LICENSE"),
        "contributors": "the authors of Shardcast, in the history of its repository",
    } })
}

/// What the server can do, in SRS's words for what it was built with.
pub fn features(api: &Api) -> Value {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let has = api.abilities();
    json!({ "data": {
        "options": format!("--rust {build}"),
        "options2": format!("--rust --{build} --arch={}", std::env::consts::ARCH),
        "build": api.shared.built,
        "build2": env!("CARGO_PKG_VERSION"),
        "features": {
            "ssl": true,
            "hls": has.hls,
            "hds": false,
            "callback": has.hooks,
            "api": true,
            "httpd": true,
            "dvr": has.dvr,
            "transcode": has.transcode,
            "ingest": has.ingest,
            "stat": true,
            "caster": false,
            "complex_send": true,
            "tcp_nodelay": true,
            "so_sendbuf": true,
            "mr": true,
        },
    } })
}
