// Small pictures for the cards: a still, drawn from a short play, for each card that is seen, and a live picture for the one
// that is pointed at. At most one still is fetched at a time and one card lives, however many cards there are, because each
// is a viewer to the server.

import { addressOf } from '/js/addresses.js';
import { entry } from '/js/store.js';
import { FlvConnection, obstacle as flvObstacle } from '/js/players/flv.js';
import { WhepConnection, obstacle as whepObstacle } from '/js/players/whep.js';

/** A still is drawn again after this long while its card is seen, in milliseconds. */
const STALE = 60_000;
/** How long a still may take. */
const PATIENCE = 10_000;
/** How long a card is pointed at before it lives. */
const HOVER = 250;
const WIDTH = 480;

const stills = new Map();

function open(video, key, tell) {
  const tracks = entry(key)?.tracks ?? [];
  if (!flvObstacle(tracks)) return new FlvConnection(video, addressOf(key, 'http'), key, tracks, tell);
  if (!whepObstacle()) return new WhepConnection(video, addressOf(key, 'whep'), key, tell);
  return null;
}

function silent() {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  return video;
}

const hasPicture = (key) => entry(key)?.tracks?.some(({ kind }) => kind === 'video') ?? false;

/** Plays until the first picture and draws it; null when none comes. */
function take(key) {
  return new Promise((resolve) => {
    const video = silent();
    let connection = null;
    const finish = (canvas) => {
      clearTimeout(timer);
      connection?.stop();
      resolve(canvas);
    };
    const timer = setTimeout(() => finish(null), PATIENCE);
    const draw = () => {
      const canvas = document.createElement('canvas');
      canvas.width = WIDTH;
      canvas.height = Math.round(WIDTH * video.videoHeight / video.videoWidth) || WIDTH * 9 / 16;
      canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
      finish(canvas);
    };
    connection = open(video, key, (kind) => (kind === 'ready' ? video.play().catch(() => {}) : kind !== 'quiet' && finish(null)));
    if (!connection) return finish(null);
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(draw);
    else video.addEventListener('playing', draw, { once: true });
    connection.start();
  });
}

/** The previews of one page of cards. */
export class Previews {
  constructor() {
    this.queue = [];
    this.cards = new Map();
    this.busy = false;
    this.ended = false;
    this.seen = new IntersectionObserver((changes) => changes.forEach(({ target, isIntersecting }) => {
      const card = this.cards.get(target);
      if (!card) return;
      card.seen = isIntersecting;
      if (isIntersecting) this.ask(target);
    }), { rootMargin: '80px' });
    this.timer = setInterval(() => this.cards.forEach((card, frame) => card.seen && this.ask(frame)), 5000);
  }

  /** `frame` gets the pictures of `key`; pointing at `area`, or focusing in it, makes it live. */
  add(frame, area, key) {
    this.cards.set(frame, { key, seen: false, live: null });
    const still = stills.get(key);
    if (still) this.put(frame, still.canvas);
    this.seen.observe(frame);
    let timer;
    const begin = () => { clearTimeout(timer); timer = setTimeout(() => this.liven(frame), HOVER); };
    const end = () => { clearTimeout(timer); this.still(frame); };
    area.addEventListener('pointerenter', (event) => event.pointerType === 'mouse' && begin());
    area.addEventListener('pointerleave', end);
    area.addEventListener('focusin', () => area.querySelector(':focus-visible') && begin());
    area.addEventListener('focusout', end);
  }

  remove(frame) {
    this.still(frame);
    this.seen.unobserve(frame);
    this.cards.delete(frame);
    this.queue = this.queue.filter((waiting) => waiting !== frame);
  }

  put(frame, canvas) {
    if (!canvas) return;
    const old = frame.querySelector('canvas');
    const copy = document.createElement('canvas');
    [copy.width, copy.height] = [canvas.width, canvas.height];
    copy.getContext('2d').drawImage(canvas, 0, 0);
    if (old) old.replaceWith(copy);
    else frame.prepend(copy);
    frame.classList.add('drawn');
  }

  ask(frame) {
    const { key, live } = this.cards.get(frame) ?? {};
    const fresh = stills.get(key)?.at > Date.now() - STALE;
    if (!key || live || fresh || document.hidden || this.queue.includes(frame)) return;
    this.queue.push(frame);
    this.work();
  }

  async work() {
    if (this.busy) return;
    this.busy = true;
    while (this.queue.length && !this.ended) {
      const frame = this.queue.shift();
      const card = this.cards.get(frame);
      if (!card?.seen || !hasPicture(card.key)) continue;
      const canvas = await take(card.key);
      // A failure is remembered as well, so that one broken stream is not asked for again and again.
      stills.set(card.key, { canvas: canvas ?? stills.get(card.key)?.canvas ?? null, at: Date.now() });
      if (this.cards.has(frame)) this.put(frame, canvas);
    }
    this.busy = false;
  }

  liven(frame) {
    const card = this.cards.get(frame);
    if (!card || card.live || !hasPicture(card.key)) return;
    this.cards.forEach((other, place) => other.live && this.still(place));
    const video = silent();
    const connection = open(video, card.key, (kind) => (kind === 'ready' ? video.play().catch(() => {}) : kind !== 'quiet' && this.still(frame)));
    if (!connection) return;
    card.live = { video, connection };
    video.addEventListener('playing', () => frame.classList.add('alive'), { once: true });
    video.setAttribute('aria-hidden', 'true');
    frame.append(video);
    connection.start();
  }

  still(frame) {
    const card = this.cards.get(frame);
    if (!card?.live) return;
    card.live.connection.stop();
    card.live.video.remove();
    card.live = null;
    frame.classList.remove('alive');
  }

  end() {
    this.ended = true;
    clearInterval(this.timer);
    this.seen.disconnect();
    [...this.cards.keys()].forEach((frame) => this.remove(frame));
  }
}
