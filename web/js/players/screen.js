// The picture with everything on it: what is being waited for, what went wrong, sound, pause, full screen. The watch page
// and the embedded player both show one.

import { h, icon, say, setIcon, show } from '/js/dom.js';
import { LivePlayer } from '/js/players/player.js';

const VOLUME = 'shardcast.volume';
const AWAKE = 2500;

// Private windows may refuse storage; the page works without.
const stored = () => { try { return localStorage.getItem(VOLUME); } catch { return null; } };
const keep = (value) => { try { localStorage.setItem(VOLUME, value); } catch { /* see above */ } };

/**
 * Builds it: `root` to show, `player` to command, `video`, and `keys` for the page's keyboard. `tracksOf` and `errors` are
 * the player's; `askToken()` is called when the server refuses.
 */
export function makeScreen({ tracksOf, errors, muted = true, controls = true, askToken = null }) {
  const video = h('video', { playsinline: true, disableremoteplayback: true, tabindex: '-1' });
  video.muted = muted;
  video.volume = Number(stored() ?? 0.8);
  const notice = h('p', { role: 'status' });
  const again = h('button', { type: 'button', class: 'button solid', onclick: () => player.connect(), hidden: true }, 'Try again');
  const token = h('button', { type: 'button', class: 'button solid', onclick: () => askToken?.(), hidden: true }, 'Enter a token');
  const cover = h('div', { class: 'cover' }, h('div', { class: 'spinner', 'aria-hidden': 'true' }), notice, again, token);
  const unmute = h('button', { type: 'button', class: 'unmute', hidden: true, onclick: () => setMuted(false) }, icon('mute'), 'Tap for sound');
  const play = h('button', { type: 'button', title: 'Play or pause (space)', onclick: () => player.toggle() }, icon('pause'));
  const mute = h('button', { type: 'button', title: 'Sound on or off (M)', onclick: () => setMuted(!video.muted) }, icon('mute'));
  const volume = h('input', { type: 'range', min: 0, max: 1, step: 0.05, value: video.volume, 'aria-label': 'Volume' });
  const live = h('button', { type: 'button', class: 'edge', title: 'Jump to now (L)', onclick: () => player.toEdge() }, 'LIVE');
  const full = h('button', { type: 'button', title: 'Full screen (F)', 'aria-label': 'Full screen', onclick: fullScreen }, icon('full'));
  const bar = h('div', { class: 'controls' }, play, mute, volume, live, h('span', { class: 'space' }), full);
  const root = h('div', { class: 'screen', dataset: { state: 'idle' } }, video, cover, unmute, controls && bar);

  const player = new LivePlayer(video, { tracksOf, errors });
  player.addEventListener('state', ({ detail: { state, sentence } }) => {
    root.dataset.state = state;
    const tracks = tracksOf?.(player.wish?.key) ?? [];
    const heardOnly = state === 'playing' && tracks.length > 0 && !tracks.some(({ kind }) => kind === 'video');
    root.classList.toggle('heard-only', heardOnly);
    say(notice, heardOnly ? 'This stream is sound only.' : sentence);
    show(again, state === 'failed');
    show(token, state === 'refused' && askToken);
    refresh();
  });

  function refresh() {
    const tracks = tracksOf?.(player.wish?.key) ?? [];
    const silent = tracks.length > 0 && !tracks.some(({ kind }) => kind === 'audio');
    show(unmute, video.muted && !silent && player.state === 'playing' && controls);
    setIcon(mute, video.muted ? 'mute' : 'loud');
    mute.setAttribute('aria-label', video.muted ? 'Unmute' : 'Mute');
    const resting = video.paused || !player.connection;
    setIcon(play, resting ? 'play' : 'pause');
    play.setAttribute('aria-label', resting ? 'Play' : 'Pause');
  }

  function setMuted(value) {
    video.muted = value;
    if (!value && video.volume === 0) video.volume = 0.8;
    refresh();
  }

  function fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (root.requestFullscreen) root.requestFullscreen();
    else video.webkitEnterFullscreen?.();
  }

  let sleep;
  function awake() {
    root.classList.add('awake');
    clearTimeout(sleep);
    sleep = setTimeout(() => root.classList.remove('awake'), AWAKE);
  }

  volume.addEventListener('input', () => {
    video.volume = Number(volume.value);
    setMuted(video.volume === 0);
    keep(volume.value);
  });
  ['volumechange', 'play', 'pause'].forEach((name) => video.addEventListener(name, refresh));
  video.addEventListener('click', () => (unmute.hidden ? awake() : setMuted(false)));
  refresh();

  const commands = { m: () => setMuted(!video.muted), f: fullScreen, l: () => player.toEdge(), ' ': () => player.toggle() };
  /** Handles a key of the page; true when it was one of the player's. */
  function keys(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches('input, select, textarea')) return false;
    const key = event.key.toLowerCase();
    // Space presses the button that has the focus.
    if (!(key in commands) || (key === ' ' && event.target.matches('button, a, summary'))) return false;
    commands[key]();
    awake();
    event.preventDefault();
    return true;
  }

  /** Colours LIVE by how far behind the picture is, in milliseconds. */
  const showEdge = (delay) => live.classList.toggle('now', player.state === 'playing' && delay !== null && delay < 2000);

  return { root, video, player, keys, showEdge };
}
