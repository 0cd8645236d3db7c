// `/watch/app/name`: one stream. Its picture by the protocol of choice, what it costs and how it goes as charts, where else it
// can be had, and who watches.
//
// `?protocol=whep|http|ws|auto` chooses how, `?autoplay=0` waits for a click, `?token=…` goes along with every request for it.

import { embedding, playAddresses } from '/js/addresses.js';
import { Chart } from '/js/chart.js';
import { chip, h, icon, say, show } from '/js/dom.js';
import { bytes, carries, count, millis, plural, rate, span } from '/js/format.js';
import { copyable, dialog, field, figure, qrSquare, segmented } from '/js/parts.js';
import { makeScreen } from '/js/players/screen.js';
import { PAST, entry, past, store, watch } from '/js/store.js';
import { viewers } from '/js/views/viewers.js';

const PROTOCOL = 'shardcast.protocol';
const CHOICES = [['whep', 'WebRTC'], ['http', 'HTTP-FLV'], ['ws', 'WS-FLV']];
/** Names by which other machines do not find this one. */
const HERE = /^(localhost|127\.|\[?::1)/;
const KEYS = [['space', 'pause'], ['M', 'sound'], ['L', 'now'], ['F', 'full screen'], ['1', 'streams'], ['2', 'publish'], ['3', 'server']];
const CALLED = Object.fromEntries(CHOICES);

// Private windows may refuse storage; the page works without.
const stored = () => { try { return localStorage.getItem(PROTOCOL); } catch { return null; } };
const keep = (value) => { try { localStorage.setItem(PROTOCOL, value); } catch { /* see above */ } };

/** Measures the time between pictures as they are shown: the mean and the longest of each second. */
class Intervals {
  constructor(video) {
    Object.assign(this, { video, points: [], sum: 0, count: 0, longest: 0, last: null, ended: false });
    this.follow();
  }

  follow() {
    if (!this.video.requestVideoFrameCallback || this.ended) return;
    this.video.requestVideoFrameCallback((now) => {
      if (this.last !== null) {
        const passed = now - this.last;
        this.sum += passed;
        this.count += 1;
        this.longest = Math.max(this.longest, passed);
      }
      this.last = now;
      this.follow();
    });
  }

  /** Closes a second. */
  take(t, playing) {
    if (!playing) this.last = null;
    this.points.push({ t, v: playing && this.count ? this.sum / this.count : null, longest: this.longest });
    while (this.points.length && this.points[0].t < t - PAST - 5000) this.points.shift();
    const longest = this.count ? this.longest : null;
    [this.sum, this.count, this.longest] = [0, 0, 0];
    return longest;
  }
}

function addresses(root, key, token) {
  const rows = playAddresses(key, token).map(({ name, url, use }) => h('li', {},
    h('div', { class: 'address-name' }, h('b', {}, name), h('span', { class: 'muted small' }, use)),
    copyable(url, `the ${name} address`, { qr: true })));
  rows.push(h('li', {}, h('div', { class: 'address-name' }, h('b', {}, 'Embed'), h('span', { class: 'muted small' }, 'in a page of your own')),
    copyable(embedding(key, token), 'the HTML that embeds the player')));
  const place = h('div', { class: 'address-qr', hidden: true });
  qrSquare(playAddresses(key, token)[0].url).then((square) => {
    if (!square) return;
    place.append(square, h('p', { class: 'muted small' }, HERE.test(location.hostname)
      ? 'Open this page by this machine’s own address instead of localhost, and a phone can follow the code.' : 'Watch on a phone in the same network.'));
    place.hidden = false;
  });
  root.replaceChildren(h('ul', { class: 'addresses' }, rows), place);
}

function facts(root, stream) {
  const rows = [];
  const row = (name, ...value) => rows.push(h('div', {}, h('dt', {}, name), h('dd', {}, ...value)));
  for (const track of stream.tracks ?? []) {
    const parts = [track.codec, track.width && `${track.width}×${track.height}`, track.sample_rate && `${count(track.sample_rate)} Hz`,
      track.channels && plural(track.channels, 'channel'), track.mime];
    row(track.id, parts.filter(Boolean).join(' · '));
  }
  const made = new Map((stream.transcodes ?? []).map((one) => [one.codec, one]));
  made.forEach((one) => row('Made from it', `${one.codec} from ${one.from}`));
  if (stream.publisher) row('Published by', `${stream.publisher.protocol.toUpperCase()} from ${stream.publisher.peer}`);
  row('Received', bytes(stream.bytes_in), ' · ', plural(stream.frames, 'frame'));
  row('Sent', bytes(stream.bytes_out));
  row('Kept for joiners', stream.gop ? `${bytes(stream.gop.bytes)}${stream.gop.overflows ? ` · ${plural(stream.gop.overflows, 'overflow')}` : ''}` : '–');
  row('Shards', `owned by ${stream.shard}${stream.mirrors?.length ? `, mirrored on ${stream.mirrors.map(({ shard }) => shard).join(', ')}` : ''}`);
  const lost = Object.entries(stream.dropped ?? {}).filter(([, value]) => value > 0).map(([name, value]) => `${count(value)} ${name.replaceAll('_', ' ')}`);
  row('Left out', lost.join(', ') || 'nothing');
  const { jumps = 0, stumbles = 0 } = stream.repairs ?? {};
  row('Clock repairs', jumps + stumbles ? `${plural(jumps, 'jump')}, ${plural(stumbles, 'stumble')}` : 'none');
  root.replaceChildren(...rows);
}

/** Builds the page of the stream `key`. */
export function stream(root, { key, query, shared, signIn }) {
  const tracksOf = (wanted) => entry(wanted)?.tracks ?? [];
  let token = query.get('token') ?? '';
  // Without a choice it is WebRTC, and FLV where that does not work.
  let protocol = query.get('protocol') ?? stored() ?? 'auto';
  if (!(protocol in CALLED)) protocol = 'auto';
  const screen = makeScreen({ tracksOf, errors: shared.errors, askToken });
  Object.assign(shared, { video: screen.video, player: screen.player });
  const { player } = screen;
  let started = false;

  const title = h('h1', {}, key);
  const chips = h('p', { class: 'chips' });
  const choice = segmented('How this page receives the stream', CHOICES, protocol === 'auto' ? 'whep' : protocol, (value) => {
    protocol = value;
    keep(value);
    const here = new URL(location);
    here.searchParams.set('protocol', value);
    history.replaceState(null, '', here);
    play();
  });
  const figures = {
    picture: figure('Picture'), rate: figure('Received'), delay: figure('Delay'), lost: figure('Lost'),
  };
  const charts = {
    bitrate: new Chart({ name: 'Bit rate', format: rate, tick: (v) => (v >= 1000 ? `${v / 1000} M` : `${v} k`), hue: 'blue', past: PAST, note: 'as the publisher sends' }),
    viewers: new Chart({ name: 'Viewers', format: count, tick: (v) => (Number.isInteger(v) ? v : ''), hue: 'green', past: PAST, floor: 2, note: 'by every protocol' }),
    interval: new Chart({ name: 'Frame interval', format: millis, tick: (v) => `${v} ms`, hue: 'violet', past: PAST, floor: 40, note: 'between two pictures on this screen' }),
    lag: new Chart({ name: 'Lag', format: millis, tick: (v) => (v >= 1000 ? `${v / 1000} s` : `${v} ms`), hue: 'amber', past: PAST, floor: 100, note: 'of the viewer farthest behind' }),
  };
  const places = { addresses: h('div', {}), facts: h('dl', { class: 'facts' }) };
  const table = viewers(key, { signIn });
  const absent = h('p', { class: 'muted', hidden: true }, 'Nobody publishes this stream at the moment. It plays as soon as somebody does.');
  root.append(
    h('p', { class: 'crumb' }, h('a', { href: '/' }, icon('back'), 'All streams')),
    h('div', { class: 'watch' },
      h('section', { class: 'stage', 'aria-label': 'Player' }, screen.root,
        h('div', { class: 'stage-head' }, h('div', {}, title, chips), choice), absent,
        h('dl', { class: 'figures tight' }, Object.values(figures).map((one) => one.root)),
        h('p', { class: 'keys muted small' }, KEYS.map(([key, what]) => h('span', {}, h('kbd', {}, key), what)))),
      h('section', { class: 'section side', 'aria-labelledby': 'addresses-title' }, h('h2', { id: 'addresses-title' }, 'Watch it elsewhere'), places.addresses)),
    h('section', { class: 'section', 'aria-labelledby': 'charts-title' }, h('h2', { id: 'charts-title' }, 'The last two minutes'),
      h('div', { class: 'charts' }, Object.values(charts).map((chart) => chart.root))),
    table.root,
    h('section', { class: 'section', 'aria-labelledby': 'facts-title' }, h('h2', { id: 'facts-title' }, 'About this stream'), places.facts));
  addresses(places.addresses, key, token);

  function play() {
    started = true;
    player.play(key, { protocol, token });
  }

  function askToken() {
    const input = h('input', { type: 'password', autocomplete: 'off', spellcheck: 'false', required: true });
    const form = h('form', { class: 'fields', onsubmit: (event) => {
      event.preventDefault();
      token = input.value.trim();
      box.close();
      addresses(places.addresses, key, token);
      play();
    } }, field('Token', input, 'Whoever runs this server can give you one for this stream.'),
    h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'button solid' }, 'Play')));
    const box = dialog('This stream asks for a token', [form]);
    input.focus();
  }

  player.addEventListener('state', () => {
    const now = choice.querySelector(`input[value="${player.protocol}"]`);
    if (now && player.state === 'playing') now.checked = true;
  });

  let absentBefore = null;
  function render() {
    const now = entry(key);
    const live = now !== null && now.live !== false;
    if (live && absentBefore === true) player.returned();
    if (store.loaded) absentBefore = !live;
    show(absent, store.loaded && !live && player.state !== 'playing');
    const words = now ? [carries(now.tracks), live ? `live for ${span(now.uptime_ms)}` : 'not live', plural(now.viewers ?? 0, 'viewer')] : [];
    const text = words.join('|');
    if (chips.dataset.text !== text) {
      chips.dataset.text = text;
      chips.replaceChildren(...words.map((word, index) => chip(word, index === 1 && live ? 'live' : '')));
    }
    if (now) facts(places.facts, now);
    const points = past(key);
    const line = (name) => points.map(({ t, [name]: v }) => ({ t, v }));
    charts.bitrate.draw(line('bitrate'));
    charts.viewers.draw(line('viewers'));
    charts.lag.draw(line('lag'), now?.skips ? `of the viewer farthest behind · ${plural(now.skips, 'skip')} so far` : undefined);
    if (!started && query.get('autoplay') !== '0' && (store.loaded || store.trouble)) play();
    if (!started && query.get('autoplay') === '0' && player.state === 'idle') {
      started = true;
      player.wish = { key, token, ways: protocol === 'auto' ? ['whep', 'http'] : [protocol] };
      player.say('failed', 'Press play to watch.');
    }
  }

  const intervals = new Intervals(screen.video);
  const second = setInterval(async () => {
    const playing = player.state === 'playing';
    const t = Date.now();
    const longest = intervals.take(t, playing);
    charts.interval.draw(intervals.points, longest === null ? 'between two pictures on this screen' : `longest of the last second: ${millis(longest)}`);
    const stats = player.connection ? await player.stats() : null;
    if (!stats || !playing) return Object.values(figures).forEach((one) => one.set('–', ''));
    figures.picture.set(stats.width ? `${stats.width}×${stats.height}` : '–', stats.width ? `${stats.fps.toFixed(0)} a second` : '');
    figures.rate.set(stats.kbps ? rate(stats.kbps) : '–', [CALLED[player.protocol], stats.way && `over ${stats.way}`].filter(Boolean).join(' '));
    figures.delay.set(millis(stats.delay), player.protocol === 'whep' ? 'network and player' : 'buffer of the player');
    figures.delay.root.title = stats.delayIs;
    figures.lost.set(count(stats.dropped), stats.lost === null ? 'pictures' : `pictures · ${plural(stats.lost, 'packet')}`);
    screen.showEdge(stats.delay);
  }, 1000);

  const leave = watch(['streams', 'trouble'], render);
  render();
  return {
    title: key,
    keys: screen.keys,
    end() {
      leave();
      clearInterval(second);
      intervals.ended = true;
      table.end();
      Object.values(charts).forEach((chart) => chart.end());
      player.stop();
    },
  };
}
