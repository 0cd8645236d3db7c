// `/`: what is live, as cards. Cards stay the same elements while their numbers change, so that focus and previews survive.

import { ApiError, call } from '/js/api.js';
import { path, publishAddresses } from '/js/addresses.js';
import { h, icon, reconcile, say, show } from '/js/dom.js';
import { carries, clock, count, plural, rate } from '/js/format.js';
import { copyable, empty, figure, problem } from '/js/parts.js';
import { Previews } from '/js/previews.js';
import { store, watch } from '/js/store.js';

const SORTED = 'shardcast.sort';
const ORDERS = {
  name: ['Name', (a, b) => (a.key < b.key ? -1 : 1)],
  viewers: ['Most viewers', (a, b) => b.viewers - a.viewers || (a.key < b.key ? -1 : 1)],
  newest: ['Newest', (a, b) => a.uptime_ms - b.uptime_ms],
};

// Private windows may refuse storage; the page works without.
const stored = () => { try { return localStorage.getItem(SORTED); } catch { return null; } };
const keep = (value) => { try { localStorage.setItem(SORTED, value); } catch { /* see above */ } };

function card(previews, stream) {
  const heard = stream.tracks?.length > 0 && !stream.tracks.some(({ kind }) => kind === 'video');
  const parts = {
    uptime: h('span', { class: 'badge live' }),
    viewers: h('span', {}),
    carries: h('span', { class: 'card-carries' }),
    rate: h('span', { class: 'card-rate' }),
  };
  const frame = h('div', { class: 'frame' }, h('div', { class: 'frame-sign' }, icon(heard ? 'sound' : 'streams')),
    parts.uptime, h('span', { class: 'badge viewers' }, icon('eye'), parts.viewers, h('span', { class: 'hidden' }, ' viewers')));
  const link = h('a', { href: `/watch/${path(stream.key)}` }, stream.name);
  const row = h('li', { class: 'card' }, frame,
    h('div', { class: 'card-text' }, h('h2', {}, link), h('p', { class: 'card-key' }, stream.key),
      h('p', { class: 'card-facts' }, parts.carries, parts.rate)));
  row.parts = parts;
  previews.add(frame, row, stream.key);
  row.addEventListener('gone', () => previews.remove(frame));
  return row;
}

function renew({ parts }, stream) {
  say(parts.uptime, clock(stream.uptime_ms));
  say(parts.viewers, count(stream.viewers ?? 0));
  say(parts.carries, carries(stream.tracks));
  say(parts.rate, rate(stream.bitrate_kbps));
}

/** What to do when nothing is live. */
function nothing() {
  const { server, name, ffmpeg } = publishAddresses('live/cam');
  const trouble = h('p', { class: 'trouble', role: 'alert', hidden: true });
  const demo = h('button', { type: 'button', class: 'button', onclick: async () => {
    demo.disabled = true;
    show(trouble, false);
    try {
      await call('POST', '/api/v2/demo');
      say(demo, 'The demo is starting …');
    } catch (error) {
      demo.disabled = false;
      say(trouble, error instanceof ApiError && error.kind === 'missing'
        ? 'This server starts its demo on the command line: shardcast --demo' : error.message);
      show(trouble, true);
    }
  } }, 'Start the demo stream');
  return empty('streams', 'Nothing is live yet',
    h('p', { class: 'muted' }, 'Send a stream and it appears here by itself.'),
    h('div', { class: 'actions' }, h('a', { class: 'button solid', href: '/studio' }, 'Publish from this browser'), demo), trouble,
    h('div', { class: 'recipes' },
      h('section', {}, h('h3', {}, 'ffmpeg'), copyable(ffmpeg, 'the ffmpeg command')),
      h('section', {}, h('h3', {}, 'OBS Studio'), h('p', { class: 'muted small' }, 'Settings → Stream → Service “Custom…”'),
        h('dl', { class: 'pairs' }, h('dt', {}, 'Server'), h('dd', {}, copyable(server, 'the server for OBS')),
          h('dt', {}, 'Stream key'), h('dd', {}, copyable(name, 'the stream key for OBS'))))));
}

/** Builds the page. */
export function streams(root, { signIn }) {
  const previews = new Previews();
  let order = stored() in ORDERS ? stored() : 'name';
  const figures = { streams: figure('Live streams'), viewers: figure('Viewers'), incoming: figure('Coming in'), outgoing: figure('Going out') };
  const search = h('input', { type: 'search', placeholder: 'Find a stream', 'aria-label': 'Find a stream', title: 'Press / to search', oninput: () => render() });
  const sort = h('select', { 'aria-label': 'Order', onchange: () => { order = sort.value; keep(order); render(); } },
    Object.entries(ORDERS).map(([value, [label]]) => h('option', { value, selected: value === order }, label)));
  const tools = h('div', { class: 'tools' }, search, sort);
  const list = h('ul', { class: 'cards' });
  const place = h('div', {});
  const awaited = h('ul', { class: 'awaited' });
  const waiting = h('section', { class: 'section', hidden: true }, h('h2', {}, 'Awaited'),
    h('p', { class: 'muted small' }, 'Somebody wants to watch these, and nobody publishes them.'), awaited);
  root.append(
    h('div', { class: 'page-head' }, h('h1', {}, 'Live now'), tools),
    h('dl', { class: 'figures' }, Object.values(figures).map((one) => one.root)),
    list, place, waiting);

  show(tools, false);
  let placed = null;
  function fill(kind, make) {
    if (placed === kind) return;
    placed = kind;
    place.replaceChildren(...(make ? [make()] : []));
  }

  function render() {
    if (!store.loaded) {
      if (store.trouble) fill(store.trouble.kind + store.trouble.message, () => problem(store.trouble, { signIn }));
      else fill('loading', () => h('ul', { class: 'cards', 'aria-hidden': 'true' }, [1, 2, 3].map(() => h('li', { class: 'card ghost' }, h('div', { class: 'frame' })))));
      return;
    }
    const all = store.streams;
    const sum = (value) => all.reduce((total, stream) => total + (value(stream) ?? 0), 0);
    figures.streams.set(count(all.length), store.awaited.length ? `${store.awaited.length} awaited` : '');
    figures.viewers.set(count(sum(({ viewers }) => viewers)));
    figures.incoming.set(rate(sum(({ bitrate_kbps: kbps }) => kbps)));
    figures.outgoing.set(rate(store.server?.kbps_out));
    const wanted = search.value.trim().toLowerCase();
    const found = all.filter(({ key }) => key.toLowerCase().includes(wanted)).sort(ORDERS[order][1]);
    show(tools, all.length > 1);
    reconcile(list, found, { key: ({ key }) => key, make: (stream) => card(previews, stream), update: renew });
    if (!all.length) fill('nothing', nothing);
    else if (!found.length) fill('unfound', () => empty('search', 'No stream has that in its name', h('p', { class: 'muted' }, `${plural(all.length, 'other stream')} ${all.length === 1 ? 'is' : 'are'} live.`)));
    else fill(null);
    show(waiting, store.awaited.length > 0);
    reconcile(awaited, store.awaited, {
      key: ({ key }) => key,
      make: ({ key }) => h('li', {}, h('a', { href: `/watch/${path(key)}` }, key), h('span', { class: 'muted small' })),
      update: (row, { viewers }) => say(row.lastChild, plural(viewers ?? 0, 'viewer')),
    });
  }

  const leave = watch(['streams', 'trouble'], render);
  render();
  return {
    title: 'Live now',
    end() {
      leave();
      previews.end();
    },
  };
}
