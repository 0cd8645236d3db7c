// The page: what is live, which of it plays, and where else it can be watched.
//
// `?stream=live/demo&protocol=ws&autoplay=1` chooses a stream and how to receive it; `autoplay=0` waits for a click.
// `window.shardcast` shows tests the video element, the player underneath and what went wrong.

import { LivePlayer, obstacle } from '/player.js';

const REFRESH = 1500;
const DEMO = 'live/demo';
const STORED = { theme: 'shardcast.theme', volume: 'shardcast.volume' };

const $ = (id) => document.getElementById(id);
const video = $('video');
const errors = [];
const query = new URLSearchParams(location.search);
const page = {
  streams: [],
  ports: { rtmp: 1935, http: 8080, ws: 8081 },
  chosen: query.get('stream')?.replace(/^\/+|\/+$/g, '') || null,
  protocol: query.get('protocol') === 'ws' ? 'ws' : 'http',
  mayStart: query.get('autoplay') !== '0',
  started: false,
};

const path = (key) => key.split('/').map(encodeURIComponent).join('/');
const entry = (key) => page.streams.find((stream) => stream.key === key);
const player = new LivePlayer(video, { urlOf: (key, protocol) => addresses(key)[protocol], entry }, errors);
window.shardcast = { video, errors, get player() { return player.player; }, get protocol() { return page.protocol; } };

/** Where a stream can be had. This page's own host and port are known to reach the server, so FLV uses them. */
function addresses(key) {
  const secure = location.protocol === 'https:' ? 's' : '';
  const port = page.ports.rtmp === 1935 ? '' : `:${page.ports.rtmp}`;
  return {
    rtmp: `rtmp://${location.hostname}${port}/${path(key)}`,
    http: `http${secure}://${location.host}/${path(key)}.flv`,
    ws: `ws${secure}://${location.host}/${path(key)}.flv`,
  };
}

// ---- Choosing and playing.

function choose(key, { play = true } = {}) {
  page.chosen = key;
  page.started ||= play;
  const here = new URL(location);
  here.searchParams.set('stream', key);
  here.searchParams.set('protocol', page.protocol);
  history.replaceState(null, '', here.toString().replaceAll('%2F', '/'));
  if (play) player.play(key, page.protocol);
  showChosen();
  showStreams();
}

player.addEventListener('state', ({ detail: { state, sentence } }) => {
  $('screen').dataset.state = state;
  const tracks = entry(page.chosen)?.tracks || [];
  const heardOnly = state === 'playing' && tracks.length > 0 && !tracks.some(({ kind }) => kind === 'video');
  $('screen').classList.toggle('heard-only', heardOnly);
  $('notice').textContent = heardOnly ? 'This stream is sound only.' : sentence;
  $('again').hidden = state !== 'failed' || Boolean(obstacle());
  showSound();
  showPlay();
});

function showChosen() {
  const stream = entry(page.chosen);
  document.title = page.chosen ? `${page.chosen} – Shardcast` : 'Shardcast';
  $('name').textContent = page.chosen || 'No stream chosen';
  $('chips').replaceChildren(...(stream?.tracks || []).map((track) => make('span', {}, track.codec)));
  $('links').hidden = $('about').hidden = !page.chosen;
  if (!page.chosen) return;
  const { rtmp, http, ws } = addresses(page.chosen);
  const rows = [['RTMP', rtmp], ['HTTP-FLV', http], ['WS-FLV', ws]];
  const list = $('links').querySelector('ul');
  if (list.dataset.key === `${rtmp} ${http}`) return;
  list.dataset.key = `${rtmp} ${http}`;
  list.replaceChildren(...rows.map(([label, url]) => make('li', {}, label, copyable(url))));
}

// ---- The list.

function showStreams() {
  $('count').textContent = page.streams.length;
  $('none').hidden = page.streams.length > 0;
  const list = $('streams');
  const rows = new Map([...list.children].map((row) => [row.dataset.key, row]));
  page.streams.forEach((stream, index) => {
    const row = rows.get(stream.key) || make('li', { 'data-key': stream.key }, make('button', { type: 'button' }));
    rows.delete(stream.key);
    const button = row.firstChild;
    button.onclick = () => choose(stream.key);
    button.setAttribute('aria-current', String(stream.key === page.chosen));
    const viewers = stream.viewers === 1 ? '1 viewer' : `${stream.viewers ?? 0} viewers`;
    button.replaceChildren(make('span', { class: 'dot' }), make('b', {}, stream.key),
      make('small', { class: 'viewers' }, viewers), make('small', {}, describe(stream)));
    // Rows stay the same elements, so the keyboard's focus survives a refresh.
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] || null);
  });
  rows.forEach((row) => row.remove());
}

function describe(stream) {
  const tracks = (stream.tracks || []).filter(({ kind }) => kind !== 'data');
  const size = tracks.find(({ width }) => width);
  const parts = [tracks.map(({ codec }) => codec).join(' + ') || 'no tracks yet'];
  if (size) parts.unshift(`${size.width}×${size.height}`);
  if (stream.bitrate_kbps) parts.push(rate(stream.bitrate_kbps));
  if (stream.uptime_ms !== undefined) parts.push(span(stream.uptime_ms));
  return parts.map((part) => part.replaceAll(' ', '\u00a0')).join(' · ');
}

function rate(kbps) {
  return kbps < 1000 ? `${Math.round(kbps)} kbit/s` : `${(kbps / 1000).toFixed(1)} Mbit/s`;
}

function span(ms) {
  const seconds = Math.floor(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min` : `${seconds} s`;
}

async function refresh() {
  try {
    const answer = await fetch('/api/v2/streams', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const { streams = [], shards, version } = await answer.json();
    const absent = page.chosen && !entry(page.chosen);
    // A stream that only has viewers waiting, or whose publisher just went, is not live.
    page.streams = streams.filter(({ live }) => live !== false).sort((a, b) => (a.key < b.key ? -1 : 1));
    if (absent && entry(page.chosen)) player.returned();
    const cores = shards === 1 ? '1 shard' : `${shards} shards`;
    $('server').textContent = [version && `v${version}`, shards && cores].filter(Boolean).join(' · ');
    showStreams();
    showChosen();
    startSomething();
  } catch (error) {
    $('server').textContent = 'The server does not answer; still trying.';
    console.warn('the list of streams:', error);
  }
  setTimeout(refresh, document.hidden ? 4 * REFRESH : REFRESH);
}

/** What plays without a click: the stream in the address, else the demo. */
function startSomething() {
  if (page.started) return;
  const blocked = obstacle();
  const demo = page.streams.some(({ key }) => key === DEMO);
  if (blocked) {
    // The addresses are of use all the same.
    page.chosen ??= demo ? DEMO : page.streams[0]?.key ?? null;
    showChosen();
    idle('failed', blocked);
  } else if (page.mayStart && (page.chosen || demo)) {
    choose(page.chosen || DEMO);
  } else if (page.streams.length) {
    idle('empty', 'Choose a stream to watch.');
  } else {
    idle('empty', 'Nothing is live yet. Publish a stream with ffmpeg or OBS, and it will show up here by itself.');
  }
}

function idle(state, sentence) {
  $('screen').dataset.state = state;
  $('notice').textContent = sentence;
}

// ---- Sound, pause, full screen.

const ICON = {
  play: 'M8 5l11 7-11 7z', pause: 'M8 5v14M16 5v14',
  loud: 'M4 9v6h4l5 4V5L8 9zM16.5 8.5a5 5 0 0 1 0 7M19 6a9 9 0 0 1 0 12', mute: 'M4 9v6h4l5 4V5L8 9zM16 9l5 6M21 9l-5 6',
};

function showSound() {
  const stream = entry(page.chosen);
  const silent = stream?.tracks?.length > 0 && !stream.tracks.some(({ kind }) => kind === 'audio');
  $('unmute').hidden = !video.muted || silent || $('screen').dataset.state !== 'playing';
  $('mute-icon').setAttribute('d', video.muted ? ICON.mute : ICON.loud);
  $('mute').setAttribute('aria-label', video.muted ? 'Unmute' : 'Mute');
}

function showPlay() {
  const resting = video.paused || !player.player;
  $('play-icon').setAttribute('d', resting ? ICON.play : ICON.pause);
  $('play').setAttribute('aria-label', resting ? 'Play' : 'Pause');
}

function setMuted(muted) {
  video.muted = muted;
  if (!muted && video.volume === 0) video.volume = 0.8;
  showSound();
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if ($('screen').requestFullscreen) $('screen').requestFullscreen();
  else video.webkitEnterFullscreen?.();
}

video.volume = Number(stored('volume') ?? 0.8);
$('volume').value = video.volume;
$('volume').oninput = ({ target }) => {
  video.volume = Number(target.value);
  setMuted(video.volume === 0);
  store('volume', target.value);
};
video.addEventListener('volumechange', showSound);
$('unmute').onclick = () => setMuted(false);
$('mute').onclick = () => setMuted(!video.muted);
$('play').onclick = () => player.toggle();
$('edge').onclick = () => player.toEdge();
$('full').onclick = fullScreen;
$('again').onclick = () => player.connect();
video.onclick = () => (video.muted && !$('unmute').hidden ? setMuted(false) : awake());

let sleep;
function awake() {
  $('screen').classList.add('awake');
  clearTimeout(sleep);
  sleep = setTimeout(() => $('screen').classList.remove('awake'), 2500);
}

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches('input')) return;
  const onButton = event.target.matches('button, a');
  const moves = { ArrowDown: 1, ArrowUp: -1 };
  const keys = { m: () => setMuted(!video.muted), f: fullScreen, l: () => player.toEdge(), ' ': () => player.toggle() };
  if (event.key in moves) {
    const buttons = [...$('streams').querySelectorAll('button')];
    const at = buttons.indexOf(document.activeElement);
    buttons[(at + moves[event.key] + buttons.length) % buttons.length]?.focus();
  } else if (event.key.toLowerCase() in keys && !(event.key === ' ' && onButton)) {
    keys[event.key.toLowerCase()]();
    awake();
  } else {
    return;
  }
  event.preventDefault();
});

for (const choice of document.querySelectorAll('[name=protocol]')) {
  choice.checked = choice.value === page.protocol;
  choice.onchange = () => {
    page.protocol = choice.value;
    if (page.chosen) choose(page.chosen);
  };
}

// ---- Numbers under the picture.

let last = { frames: 0, at: performance.now() };
setInterval(() => {
  const quality = video.getVideoPlaybackQuality?.();
  const frames = quality?.totalVideoFrames ?? 0;
  const at = performance.now();
  const fps = Math.max(0, (frames - last.frames) * 1000 / (at - last.at));
  last = { frames, at };
  const buffer = player.buffer();
  const playing = Boolean(player.player);
  $('stat-picture').textContent = playing && video.videoWidth ? `${video.videoWidth}×${video.videoHeight} · ${fps.toFixed(0)} fps` : '–';
  $('stat-frames').textContent = playing && frames ? `${frames.toLocaleString('en')} (${quality.droppedVideoFrames} lost)` : '–';
  $('stat-buffer').textContent = playing ? `${buffer.toFixed(2)} s` : '–';
  $('stat-speed').textContent = playing && player.speed ? `${Math.round(player.speed * 8.192).toLocaleString('en')} kbit/s` : '–';
  $('edge').classList.toggle('now', playing && !video.paused && buffer < 2);
  showPlay();
}, 1000);

// ---- Small things.

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children);
  return element;
}

function copyable(text) {
  const line = make('div', { class: 'code' }, make('code', {}, text));
  addCopy(line);
  return line;
}

function addCopy(line) {
  const button = make('button', { type: 'button' }, 'Copy');
  button.onclick = async () => {
    const code = line.querySelector('code');
    // Clipboard access needs HTTPS or localhost; the old way works elsewhere.
    const copied = await navigator.clipboard?.writeText(code.textContent).then(() => true, () => false);
    if (!copied) {
      getSelection().selectAllChildren(code);
      document.execCommand('copy');
    }
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  };
  line.append(button);
}

function showPublish() {
  const app = addresses('live/cam').rtmp.replace(/\/cam$/, '');
  $('obs-server').textContent = app;
  $('with-ffmpeg').textContent = `ffmpeg -re -i video.mp4 -c:v libx264 -tune zerolatency -g 60 -c:a aac -f flv ${app}/cam`;
}

// Private windows may refuse storage; the page works without.
function stored(name) {
  try { return localStorage.getItem(STORED[name]); } catch { return null; }
}
function store(name, value) {
  try { localStorage.setItem(STORED[name], value); } catch { /* see above */ }
}

const THEMES = { auto: ['Auto', 'as the system says'], dark: ['Dark', 'dark'], light: ['Light', 'light'] };
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $('theme').textContent = THEMES[theme][0];
  $('theme').title = `Colours: ${THEMES[theme][1]}`;
}
$('theme').onclick = () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
  store('theme', next);
  setTheme(next);
};
setTheme(stored('theme') in THEMES ? stored('theme') : 'auto');

document.querySelectorAll('.publish .code').forEach(addCopy);
showPublish();
showChosen();
fetch('/api/v2/server').then((answer) => answer.json()).then(({ ports }) => {
  Object.assign(page.ports, ports);
  showPublish();
  showChosen();
}).catch((error) => console.warn('the server’s ports:', error));
refresh();
