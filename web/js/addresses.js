// Where a stream can be had and where one can be sent. The page's own host and port are known to reach the server, so
// everything over HTTP uses them; RTMP has a port of its own.

import { store } from '/js/store.js';

/** A stream's key as a path, whatever characters are in it. */
export const path = (key) => key.split('/').map(encodeURIComponent).join('/');

/** The key in the rest of a page's path; null where there is none. */
export function keyOf(rest) {
  try {
    const key = rest.split('/').filter(Boolean).map(decodeURIComponent).join('/');
    return key.includes('/') ? key : null;
  } catch {
    return null;
  }
}

const secure = () => (location.protocol === 'https:' ? 's' : '');

/** The address of a stream by one protocol, for this page's own players. `token` is added where there is one. */
export function addressOf(key, protocol, token = '') {
  const query = token ? `?token=${encodeURIComponent(token)}` : '';
  switch (protocol) {
    case 'whep': return `/whep/${path(key)}${query}`;
    case 'whip': return `/whip/${path(key)}${query}`;
    case 'ws': return `ws${secure()}://${location.host}/${path(key)}.flv${query}`;
    default: return `${location.origin}/${path(key)}.flv${query}`;
  }
}

function rtmpBase() {
  const port = store.server?.ports?.rtmp;
  return `rtmp://${location.hostname}${!port || port === 1935 ? '' : `:${port}`}`;
}

/** Every address that plays a stream: what it is called, the address, what takes it. */
export function playAddresses(key, token = '') {
  const query = token ? `?token=${encodeURIComponent(token)}` : '';
  const rtmp = store.server?.ports?.rtmp !== null;
  return [
    { name: 'Player page', url: `${location.origin}/player/${path(key)}${query}`, use: 'any browser' },
    { name: 'WHEP', url: `${location.origin}${addressOf(key, 'whep', token)}`, use: 'WebRTC players, lowest delay' },
    { name: 'HTTP-FLV', url: addressOf(key, 'http', token), use: 'mpegts.js, ffplay, VLC' },
    { name: 'WS-FLV', url: addressOf(key, 'ws', token), use: 'mpegts.js, flv.js' },
    rtmp && { name: 'RTMP', url: `${rtmpBase()}/${path(key)}${query}`, use: 'ffplay, VLC, OBS' },
  ].filter(Boolean);
}

/** The player as a part of another page. */
export function embedding(key, token = '') {
  const [{ url }] = playAddresses(key, token);
  return `<iframe src="${url}" width="640" height="360" allow="autoplay; fullscreen"></iframe>`;
}

/** Where encoders send `key`: the parts that OBS asks for, and a line for ffmpeg. */
export function publishAddresses(key) {
  const cut = key.lastIndexOf('/');
  const server = `${rtmpBase()}/${path(key.slice(0, cut))}`;
  return {
    server,
    name: key.slice(cut + 1),
    whip: `${location.origin}${addressOf(key, 'whip')}`,
    ffmpeg: `ffmpeg -re -i video.mp4 -c:v libx264 -tune zerolatency -g 60 -c:a aac -f flv ${rtmpBase()}/${path(key)}`,
  };
}
