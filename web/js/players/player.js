// Plays one live stream at a time in a <video>, by WebRTC or FLV.
//
// The wish (which stream, by which protocol) outlives the connection: when a stream ends or the network breaks, the
// player tries again, a little later each time, until somebody wishes for something else. Times are milliseconds.

import { addressOf } from '/js/addresses.js';
import { FlvConnection, obstacle as flvObstacle } from '/js/players/flv.js';
import { WhepConnection, obstacle as whepObstacle } from '/js/players/whep.js';

const RETRY_FIRST = 1000;
const RETRY_LONGEST = 8000;
// A pause this long gives the connection back; playing again begins at the live edge anyway.
const PAUSE_KEPT = 15000;

/** The protocols, as people choose them. */
export const PROTOCOLS = { whep: 'WebRTC', http: 'HTTP-FLV', ws: 'WS-FLV' };

export class LivePlayer extends EventTarget {
  /** `tracksOf(key)` says what the list knows of a stream; `errors` collects what went wrong. */
  constructor(video, { tracksOf = () => [], errors = [] } = {}) {
    super();
    Object.assign(this, { video, tracksOf, errors, connection: null, wish: null, protocol: null, state: 'idle', retryAfter: RETRY_FIRST });
    video.addEventListener('playing', () => {
      if (!this.connection) return;
      this.retryAfter = RETRY_FIRST;
      this.say('playing');
    });
    video.addEventListener('waiting', () => this.connection && this.state === 'playing' && this.say('waiting'));
    video.addEventListener('pause', () => {
      // An old connection's pause may arrive when the next one plays already.
      if (!this.connection || !video.paused || video.ended || this.state === 'connecting') return;
      this.say('paused');
      clearTimeout(this.pauseTimer);
      this.pauseTimer = setTimeout(() => this.rest(), PAUSE_KEPT);
    });
    video.addEventListener('play', () => clearTimeout(this.pauseTimer));
  }

  /** Plays the stream `key` until another wish: by `whep`, `http`, `ws`, or `auto`, which is the first that works. */
  play(key, { protocol = 'auto', token = '' } = {}) {
    this.wish = { key, token, ways: protocol === 'auto' ? ['whep', 'http'] : [protocol] };
    this.retryAfter = RETRY_FIRST;
    this.connect();
  }

  /** Gives the wish up. */
  stop() {
    this.wish = null;
    this.drop();
    this.say('idle');
  }

  /** The list has the stream again: no need to wait for the next try. */
  returned() {
    if (this.wish && !this.connection && !this.resting && this.state !== 'refused') this.connect();
  }

  toggle() {
    if (!this.wish) return;
    if (!this.connection) {
      this.connect();
    } else if (this.video.paused) {
      this.toEdge();
    } else {
      this.video.pause();
    }
  }

  /** Shows the newest picture there is. */
  toEdge() {
    this.connection?.toEdge();
    this.begin();
  }

  /** What the connection can say of the last second; null without one. */
  async stats() {
    return (await this.connection?.stats().catch(() => null)) ?? null;
  }

  rest() {
    if (!this.video.paused) return;
    this.resting = true;
    this.drop();
  }

  connect() {
    this.drop();
    this.resting = false;
    const { key, token, ways } = this.wish;
    const tracks = this.tracksOf(key);
    const obstacles = ways.map((way) => (way === 'whep' ? whepObstacle() : flvObstacle(tracks)));
    const at = obstacles.findIndex((obstacle) => !obstacle);
    if (at < 0) return this.say('blocked', obstacles[0]);
    this.protocol = ways[at];
    this.say('connecting', `Opening ${key} …`);
    const url = addressOf(key, this.protocol, token);
    const connection = this.protocol === 'whep'
      ? new WhepConnection(this.video, url, key, (...words) => this.told(connection, ...words))
      : new FlvConnection(this.video, url, key, tracks, (...words) => this.told(connection, ...words));
    this.connection = connection;
    connection.start();
  }

  begin() {
    const promise = this.video.play();
    // A newer connection interrupts the older one's play(); only a refusal to play with sound needs an answer.
    promise?.catch((error) => {
      if (error.name !== 'NotAllowedError') return;
      if (this.video.muted) return this.say('paused');
      this.video.muted = true;
      this.begin();
    });
  }

  told(connection, kind, sentence) {
    if (connection !== this.connection || !this.wish) return;
    if (kind === 'ready') return this.begin();
    if (kind === 'quiet') return this.say('connecting', sentence);
    this.errors.push({ at: Date.now(), kind, protocol: this.protocol, sentence });
    this.drop();
    const { ways } = this.wish;
    const next = ways[ways.indexOf(this.protocol) + 1];
    if (kind === 'broken' && next && !(next !== 'whep' && flvObstacle(this.tracksOf(this.wish.key)))) {
      this.wish.ways = ways.slice(ways.indexOf(next));
      return this.connect();
    }
    this.say(kind === 'refused' ? 'refused' : 'failed', sentence);
    // Trying the same credentials again would be answered the same.
    if (kind === 'refused') return;
    this.retryTimer = setTimeout(() => this.wish && this.connect(), this.retryAfter);
    this.retryAfter = Math.min(this.retryAfter * 2, RETRY_LONGEST);
  }

  drop() {
    clearTimeout(this.retryTimer);
    clearTimeout(this.pauseTimer);
    const { connection } = this;
    this.connection = null;
    connection?.stop();
  }

  say(state, sentence = '') {
    this.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail: { state, sentence } }));
  }
}
