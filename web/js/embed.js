// The player for other people's pages: `/player/app/name`, mostly in an iframe. It asks the API nothing, so that viewers need
// no credentials but the stream's own.
//
// `protocol=auto|whep|http|ws` how (auto: WebRTC, else FLV) · `muted=0|1` (1) · `controls=0|1` (1) · `autoplay=0|1` (1) ·
// `token=…` is passed on. A page around it may send `{shardcast: 'play' | 'pause' | 'mute' | 'unmute'}` by postMessage.

import { keyOf } from '/js/addresses.js';
import { h } from '/js/dom.js';
import { PROTOCOLS } from '/js/players/player.js';
import { makeScreen } from '/js/players/screen.js';
import { typeface } from '/js/vendor.js';

const page = document.getElementById('page');
const query = new URLSearchParams(location.search);
const on = (name) => !['0', 'false', 'no', 'off'].includes(query.get(name) ?? '1');
const key = keyOf(location.pathname.replace(/^\/player\/?/, ''));

typeface();
if (key) {
  const errors = [];
  const screen = makeScreen({ errors, muted: on('muted'), controls: on('controls') });
  const protocol = query.get('protocol') in PROTOCOLS ? query.get('protocol') : 'auto';
  const begin = () => screen.player.play(key, { protocol, token: query.get('token') ?? '' });
  document.title = `${key} – Shardcast`;
  page.append(h('h1', { class: 'hidden' }, key), screen.root);
  window.shardcast = { video: screen.video, player: screen.player, errors, get protocol() { return screen.player.protocol; } };
  document.addEventListener('keydown', (event) => screen.keys(event));
  window.addEventListener('pagehide', () => screen.player.stop());
  window.addEventListener('message', ({ data }) => {
    if (data?.shardcast === 'play') begin();
    if (data?.shardcast === 'pause') screen.video.pause();
    if (data?.shardcast === 'mute') screen.video.muted = true;
    if (data?.shardcast === 'unmute') screen.video.muted = false;
  });
  setInterval(async () => screen.showEdge((await screen.player.stats())?.delay ?? null), 1000);
  if (on('autoplay')) {
    begin();
  } else {
    const start = h('button', { type: 'button', class: 'button solid begin', onclick: () => { start.remove(); begin(); } }, `Play ${key}`);
    screen.root.append(start);
  }
} else {
  page.append(h('p', { class: 'empty' }, 'This address names no stream. A player’s address is /player/app/name.'));
}
