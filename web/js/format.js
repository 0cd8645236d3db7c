// Numbers as people read them. Rates are kbit/s, times milliseconds, sizes bytes. A missing number is a dash.

const NONE = '–';
const NARROW = '\u202f';
const missing = (value) => value === null || value === undefined || Number.isNaN(value);

/** A count with its thousands apart. */
export function count(value) {
  return missing(value) ? NONE : Math.round(value).toLocaleString('en').replaceAll(',', NARROW);
}

/** `3 viewers`, `1 viewer`. */
export function plural(value, word) {
  return `${count(value)} ${word}${value === 1 ? '' : 's'}`;
}

/** kbit/s in the unit that fits: `850 kbit/s`, `4.2 Mbit/s`, `1.20 Gbit/s`. */
export function rate(kbps) {
  if (missing(kbps)) return NONE;
  if (kbps < 1000) return `${Math.round(kbps)} kbit/s`;
  if (kbps < 1e6) return `${(kbps / 1000).toFixed(kbps < 1e4 ? 2 : 1)} Mbit/s`;
  return `${(kbps / 1e6).toFixed(2)} Gbit/s`;
}

/** Bytes by thousands, as networks count. */
export function bytes(value) {
  if (missing(value)) return NONE;
  for (const [unit, size] of [['TB', 1e12], ['GB', 1e9], ['MB', 1e6], ['kB', 1e3]]) {
    if (value >= size) return `${(value / size).toFixed(value < 10 * size ? 2 : 1)} ${unit}`;
  }
  return `${value} B`;
}

/** A time that passed, in its two largest units: `4 s`, `12 min 03 s`, `3 h 05 min`, `2 d 4 h`. */
export function span(ms) {
  if (missing(ms)) return NONE;
  const seconds = Math.floor(ms / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  const two = (value) => String(value).padStart(2, '0');
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${two(minutes)} min`;
  return minutes ? `${minutes} min ${two(seconds % 60)} s` : `${seconds} s`;
}

/** The same as a running clock: `0:04`, `12:03`, `3:05:09`. */
export function clock(ms) {
  if (missing(ms)) return NONE;
  const seconds = Math.floor(ms / 1000);
  const two = (value) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** A short time: `0.4 ms`, `38 ms`, `2.40 s`. */
export function millis(ms) {
  if (missing(ms)) return NONE;
  if (ms < 1) return ms === 0 ? '0 ms' : `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** A share of 1 as percent. */
export function percent(share) {
  if (missing(share)) return NONE;
  const value = share * 100;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)}${NARROW}%`;
}

/** What a stream carries, in a few words: `1280×720 · H264 + AAC`. */
export function carries(tracks) {
  const heard = (tracks ?? []).filter(({ kind }) => kind !== 'data');
  const size = heard.find(({ width }) => width);
  const codecs = heard.map(({ codec }) => codec).join(' + ') || 'no tracks yet';
  return size ? `${size.width}×${size.height} · ${codecs}` : codecs;
}
