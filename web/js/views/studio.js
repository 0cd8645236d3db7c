// `/studio`: publishes from this browser by WHIP: camera, screen or sound alone, with the device and codec of choice, and what
// goes out by the second.
//
// Invariant: a source is stopped when another is chosen or the page is left, so that no camera's light stays on.

import { addressOf, path, publishAddresses } from '/js/addresses.js';
import { Chart } from '/js/chart.js';
import { announce, h, icon, say, show } from '/js/dom.js';
import { clock, count, millis, percent, rate } from '/js/format.js';
import { copyable, empty, field, figure, segmented } from '/js/parts.js';
import { WhipSession, codecs } from '/js/players/whip.js';
import { PAST } from '/js/store.js';

const SIZES = { '640x360': '360p', '1280x720': '720p', '1920x1080': '1080p' };
const RATES = [[0, 'As the browser decides'], [500, '500 kbit/s'], [1000, '1 Mbit/s'], [2500, '2.5 Mbit/s'], [5000, '5 Mbit/s'], [8000, '8 Mbit/s']];
const LIMITS = { none: 'full quality', cpu: 'held back by this computer', bandwidth: 'held back by the network', other: 'held back' };

/** Why no source came, and what to do. */
function explain(error, source) {
  const what = source === 'screen' ? 'screen' : source === 'sound' ? 'microphone' : 'camera';
  switch (error.name) {
    case 'NotAllowedError': return `The browser does not let this page use the ${what}. Allow it in the address bar, then choose the source again.`;
    case 'NotFoundError': return `This device has no ${what}. Connect one, or choose another source.`;
    case 'NotReadableError': return `Another program uses the ${what}. Close it, then choose the source again.`;
    case 'OverconstrainedError': return `The ${what} cannot do that. Choose another size.`;
    default: return `The ${what} cannot be opened. ${error.message ?? ''}`.trim();
  }
}

function encoders() {
  const { server, name, ffmpeg, whip } = publishAddresses('live/cam');
  return h('section', { class: 'section', 'aria-labelledby': 'encoders-title' }, h('h2', { id: 'encoders-title' }, 'Or with an encoder'),
    h('div', { class: 'recipes' },
      h('section', {}, h('h3', {}, 'OBS Studio'), h('p', { class: 'muted small' }, 'Settings → Stream → Service “Custom…”, or “WHIP” for WebRTC.'),
        h('dl', { class: 'pairs' }, h('dt', {}, 'Server'), h('dd', {}, copyable(server, 'the server for OBS')),
          h('dt', {}, 'Stream key'), h('dd', {}, copyable(name, 'the stream key for OBS')),
          h('dt', {}, 'WHIP'), h('dd', {}, copyable(whip, 'the WHIP address')))),
      h('section', {}, h('h3', {}, 'ffmpeg'), copyable(ffmpeg, 'the ffmpeg command'))));
}

/** Builds the page. */
export function studio(root) {
  root.append(h('div', { class: 'page-head' }, h('h1', {}, 'Publish')));
  if (!navigator.mediaDevices || !window.RTCPeerConnection) {
    const here = `https://${location.host}/studio`;
    root.append(window.isSecureContext
      ? empty('camera', 'This browser cannot publish', h('p', { class: 'muted' }, 'It has no camera access or no WebRTC. Use another browser, or an encoder as below.'))
      : empty('camera', 'The camera needs a safe connection',
        h('p', { class: 'muted' }, 'Browsers open cameras only for HTTPS and for localhost. Give the server a certificate (tls.cert and tls.key) and open:'), copyable(here, 'the safe address')),
    encoders());
    return { title: 'Publish' };
  }

  const state = { source: 'camera', media: null, session: null, since: 0, token: '' };
  const video = h('video', { muted: true, playsinline: true, autoplay: true, tabindex: '-1' });
  video.muted = true;
  const notice = h('p', { role: 'status' }, 'Choose what to send.');
  const onAir = h('span', { class: 'badge live', hidden: true }, 'LIVE');
  const screen = h('div', { class: 'screen', dataset: { state: 'empty' } }, video, h('div', { class: 'cover' }, notice), onAir);
  const meter = h('meter', { class: 'level', min: 0, max: 1, low: 0, high: 0.85, optimum: 0.4, value: 0, 'aria-label': 'Loudness of the microphone' });

  const cameras = h('select', { onchange: () => acquire() });
  const mics = h('select', { onchange: () => acquire() });
  const size = h('select', { onchange: () => acquire() }, Object.entries(SIZES).map(([value, label]) => h('option', { value, selected: value === '1280x720' }, label)));
  const codec = h('select', {}, h('option', { value: '' }, 'Any'), codecs('video').map((name) => h('option', { value: name, selected: name === 'H264' }, name === 'H264' ? 'H264, plays everywhere' : name)));
  const bound = h('select', {}, RATES.map(([value, label]) => h('option', { value }, label)));
  const name = h('input', { type: 'text', value: 'live/cam', required: true, pattern: '[^?#\\\\]+/[^?#\\\\]+', spellcheck: 'false', autocapitalize: 'none', autocomplete: 'off' });
  const token = h('input', { type: 'password', autocomplete: 'off', spellcheck: 'false' });
  const fields = {
    camera: field('Camera', cameras), mic: field('Microphone', mics), size: field('Size', size),
    codec: field('Picture codec', codec), bound: field('Most bit rate', bound),
  };
  const start = h('button', { type: 'submit', class: 'button solid wide' }, 'Go live');
  const stop = h('button', { type: 'button', class: 'button danger wide', hidden: true, onclick: () => end() }, 'Stop');
  const trouble = h('p', { class: 'trouble', role: 'alert', hidden: true });
  const where = h('p', { class: 'muted', hidden: true });
  const sources = segmented('What to send', [['camera', 'Camera'], ['screen', 'Screen'], ['sound', 'Sound only']], state.source, (value) => {
    state.source = value;
    acquire();
  });
  const form = h('form', { class: 'section fields', novalidate: true, onsubmit: (event) => { event.preventDefault(); begin(); } },
    h('h2', {}, 'What to send'), sources, h('div', { class: 'two' }, fields.camera, fields.mic, fields.size, fields.codec, fields.bound),
    h('h2', {}, 'Where to'), field('Stream', name, 'app/name, as in its addresses'), field('Token', token, 'Only if the server asks for one.'),
    trouble, start, stop, where);
  const figures = { time: figure('On air'), picture: figure('Picture'), sent: figure('Sent'), trip: figure('Round trip'), lost: figure('Lost packets') };
  const charts = {
    sent: new Chart({ name: 'Sent', format: rate, tick: (v) => (v >= 1000 ? `${v / 1000} M` : `${v} k`), hue: 'blue', past: PAST, floor: 100, note: 'pictures and sound' }),
    trip: new Chart({ name: 'Round trip', format: millis, tick: (v) => `${v} ms`, hue: 'amber', past: PAST, floor: 20, note: 'to the server and back' }),
  };
  const points = { sent: [], trip: [] };
  const numbers = h('section', { class: 'section numbers', hidden: true, 'aria-labelledby': 'air-title' }, h('h2', { id: 'air-title' }, 'On air'),
    h('dl', { class: 'figures' }, Object.values(figures).map((one) => one.root)), h('div', { class: 'charts pair' }, Object.values(charts).map((chart) => chart.root)));
  root.append(h('div', { class: 'studio' }, h('section', { class: 'stage', 'aria-label': 'What this page sends' }, screen,
    h('div', { class: 'level-row' }, icon('mic'), meter)), form, numbers), encoders());

  // ---- The source.

  let turn = 0;
  async function acquire() {
    // Choices may come faster than cameras open; only the last one counts.
    const mine = ++turn;
    const { source } = state;
    show(fields.camera, source === 'camera');
    show(fields.size, source !== 'sound');
    show(fields.codec, source !== 'sound');
    show(fields.bound, source !== 'sound');
    show(trouble, false);
    const [width, height] = size.value.split('x').map(Number);
    const audio = mics.value === 'none' ? false : mics.value ? { deviceId: { exact: mics.value } } : true;
    const picture = { width: { ideal: width }, height: { ideal: height }, ...(cameras.value && { deviceId: { exact: cameras.value } }) };
    let media;
    try {
      if (source === 'screen') {
        media = await navigator.mediaDevices.getDisplayMedia({ video: { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } }, audio: true });
        if (audio && !media.getAudioTracks().length) {
          const voice = await navigator.mediaDevices.getUserMedia({ audio }).catch(() => null);
          voice?.getTracks().forEach((track) => media.addTrack(track));
        }
      } else {
        media = await navigator.mediaDevices.getUserMedia({ audio: source === 'sound' ? audio || true : audio, video: source === 'camera' && picture });
      }
    } catch (error) {
      if (mine !== turn) return;
      release();
      return idle(explain(error, source));
    }
    if (mine !== turn || left) return media.getTracks().forEach((track) => track.stop());
    const live = state.session;
    const same = live && kinds(state.media) === kinds(media);
    if (!same) end();
    release();
    state.media = media;
    video.srcObject = media;
    video.play().catch(() => {});
    screen.dataset.state = media.getVideoTracks().length ? 'playing' : 'empty';
    say(notice, media.getVideoTracks().length ? '' : 'Sound only: listeners see no picture.');
    media.getTracks().forEach((track) => track.addEventListener('ended', () => state.media === media && (end(), release(), idle('The source has ended. Choose what to send.'))));
    if (same) media.getTracks().forEach((track) => live.replace(track));
    listen(media);
    await list();
  }

  const kinds = (media) => media?.getTracks().map(({ kind }) => kind).sort().join() ?? '';

  function idle(sentence) {
    screen.dataset.state = 'empty';
    say(notice, sentence);
    end();
  }

  function release() {
    state.media?.getTracks().forEach((track) => track.stop());
    state.media = null;
    video.srcObject = null;
    listen(null);
  }

  async function list() {
    const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    const used = (kind) => state.media?.getTracks().find((track) => track.kind === kind)?.getSettings().deviceId;
    const options = (kind, word, chosen) => devices.filter((device) => device.kind === kind)
      .map(({ deviceId, label }, index) => h('option', { value: deviceId, selected: deviceId === chosen }, label || `${word} ${index + 1}`));
    cameras.replaceChildren(...options('videoinput', 'Camera', used('video')));
    const off = mics.value === 'none';
    mics.replaceChildren(...options('audioinput', 'Microphone', off ? null : used('audio')), h('option', { value: 'none', selected: off }, 'None'));
  }

  let ear = null;
  function listen(media) {
    ear?.close();
    ear = null;
    meter.value = 0;
    if (!media?.getAudioTracks().length || !window.AudioContext) return;
    ear = new AudioContext();
    ear.tester = ear.createAnalyser();
    ear.tester.fftSize = 1024;
    ear.createMediaStreamSource(media).connect(ear.tester);
  }

  // ---- The session.

  function begin() {
    const key = name.value.trim().replace(/^\/+|\/+$/g, '');
    if (!/^[^?#\\\s][^?#\\]*\/[^?#\\]+$/.test(key)) {
      name.focus();
      return complain('A stream is called app/name, such as live/cam, without ? # and \\.');
    }
    if (!state.media) {
      complain('There is nothing to send yet: choose a camera, a screen or a microphone.');
      return void acquire();
    }
    show(trouble, false);
    const session = new WhipSession(addressOf(key, 'whip', token.value.trim()));
    state.session = session;
    state.since = 0;
    session.addEventListener('state', ({ detail: { state: now, sentence } }) => {
      if (state.session !== session) return;
      if (now === 'live') {
        state.since ||= Date.now();
        where.replaceChildren('On air as ', h('a', { href: `/watch/${path(key)}` , target: '_blank', rel: 'noopener' }, key), '.');
        show(where, true);
        show(onAir, true);
        show(numbers, true);
        announce(`On air as ${key}`);
      } else if (now === 'connecting') {
        where.replaceChildren(sentence);
        show(where, true);
      } else {
        end();
        complain(now === 'refused' ? `${sentence} ${token.value ? 'Is the token right?' : 'Does this server ask for a token?'}` : sentence);
        if (now === 'refused') token.focus();
      }
    });
    lock(true);
    points.sent = [];
    points.trip = [];
    session.start(state.media, { codec: state.source === 'sound' ? '' : codec.value, kbps: Number(bound.value) });
  }

  function complain(sentence) {
    say(trouble, sentence);
    show(trouble, true);
  }

  function lock(live) {
    show(start, !live);
    show(stop, live);
    [name, token, codec, bound].forEach((control) => { control.disabled = live; });
    if (live) stop.focus();
  }

  function end() {
    const { session } = state;
    state.session = null;
    session?.stop();
    show(onAir, false);
    show(where, false);
    show(numbers, false);
    lock(false);
  }

  const second = setInterval(async () => {
    const stats = await state.session?.stats().catch(() => null);
    if (!stats) return;
    const t = Date.now();
    figures.time.set(clock(t - state.since), stats.way ? `over ${stats.way}` : '');
    figures.picture.set(stats.width ? `${stats.width}×${stats.height}` : '–', stats.width ? `${stats.fps.toFixed(0)} a second · ${LIMITS[stats.limit] ?? ''}` : 'sound only');
    figures.sent.set(rate(stats.videoKbps + stats.audioKbps), stats.codecs.join(' + '));
    figures.trip.set(millis(stats.trip));
    figures.lost.set(count(stats.lost), stats.share === null ? '' : `${percent(stats.share)} just now`);
    points.sent.push({ t, v: stats.videoKbps + stats.audioKbps });
    points.trip.push({ t, v: stats.trip });
    Object.values(points).forEach((line) => { while (line[0].t < t - PAST - 5000) line.shift(); });
    charts.sent.draw(points.sent);
    charts.trip.draw(points.trip);
  }, 1000);
  const loud = setInterval(() => {
    if (!ear) return;
    const samples = new Float32Array(ear.tester.fftSize);
    ear.tester.getFloatTimeDomainData(samples);
    meter.value = Math.min(1, Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length) * 4);
  }, 100);

  let left = false;
  const plugged = () => list();
  navigator.mediaDevices.addEventListener?.('devicechange', plugged);
  acquire();
  return {
    title: 'Publish',
    end() {
      left = true;
      clearInterval(second);
      clearInterval(loud);
      navigator.mediaDevices.removeEventListener?.('devicechange', plugged);
      end();
      release();
      Object.values(charts).forEach((chart) => chart.end());
    },
  };
}
