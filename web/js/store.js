// What the console knows of the server: the list of streams and the server's own figures, asked for by one poll for all
// pages, with a short past of each stream so that charts do not begin empty.

import { get, poll } from '/js/api.js';

const EVERY = 1500;
/** How far back the charts reach, in milliseconds. */
export const PAST = 120_000;

/** Tells `streams`, `server` and `trouble`. */
export const store = Object.assign(new EventTarget(), {
  /** Live ones first by name; those that only have waiting viewers are in `awaited`. */
  streams: [],
  awaited: [],
  /** `/api/v2/server`, once it has answered. */
  server: null,
  /** The error of the last request, or null. */
  trouble: null,
  /** Whether the list has come at least once. */
  loaded: false,
  past: new Map(),
});

/** The entry of a stream, live or awaited. */
export const entry = (key) => store.streams.find((stream) => stream.key === key)
  ?? store.awaited.find((stream) => stream.key === key) ?? null;

/** The past of a stream, oldest first: `{t, bitrate, viewers, lag, frames}`. */
export const past = (key) => store.past.get(key) ?? [];

function remember(stream, t) {
  const ring = store.past.get(stream.key) ?? [];
  ring.push({ t, bitrate: stream.bitrate_kbps ?? 0, viewers: stream.viewers ?? 0, lag: stream.lag_ms ?? 0, frames: stream.frames ?? 0 });
  while (ring.length && ring[0].t < t - PAST - 5000) ring.shift();
  store.past.set(stream.key, ring);
}

/** Shard figures as rates: what changed since the answer before. */
function rates(before, now, passed) {
  now.shards?.forEach((shard, index) => {
    const old = before?.shards?.[index];
    if (!old || passed <= 0 || shard.bytes_out < old.bytes_out) return;
    shard.kbps_out = (shard.bytes_out - old.bytes_out) * 8 / passed;
  });
  const known = now.shards?.filter(({ kbps_out: kbps }) => kbps !== undefined) ?? [];
  // The server's own figure is smoother, where it tells one.
  if (known.length) now.kbps_out ??= known.reduce((sum, { kbps_out: kbps }) => sum + kbps, 0);
}

let serverAt = 0;

async function refresh() {
  const [list, server] = await Promise.all([get('/api/v2/streams'), get('/api/v2/server')]);
  const t = Date.now();
  const all = (list.streams ?? []).filter(({ key }) => typeof key === 'string').sort((a, b) => (a.key < b.key ? -1 : 1));
  // A stream that only has viewers waiting, or whose publisher just went, is not live.
  store.streams = all.filter(({ live }) => live !== false);
  store.awaited = all.filter(({ live }) => live === false);
  all.forEach((stream) => remember(stream, t));
  const known = new Set(all.map(({ key }) => key));
  for (const [key, ring] of store.past) {
    if (!known.has(key) && (ring.at(-1)?.t ?? 0) < t - PAST) store.past.delete(key);
  }
  rates(store.server, server, t - serverAt);
  serverAt = t;
  store.server = server;
  store.trouble = null;
  store.loaded = true;
  store.dispatchEvent(new Event('server'));
  store.dispatchEvent(new Event('streams'));
}

/** Begins to ask. */
export function start() {
  poll(refresh, EVERY, (error) => {
    store.trouble = error;
    store.dispatchEvent(new Event('trouble'));
  });
}

/** Listens to several tellings until the returned function is called. */
export function watch(names, listener) {
  names.forEach((name) => store.addEventListener(name, listener));
  return () => names.forEach((name) => store.removeEventListener(name, listener));
}
