// Plays one live stream at a time in a <video>, through mpegts.js.
//
// The wish (which stream, by which protocol) outlives the connection: when a stream ends or the network breaks, the
// player tries again, a little later each time, until somebody wishes for something else. Times are milliseconds,
// buffers seconds.

const RETRY_FIRST = 1000;
const RETRY_LONGEST = 8000;
// A pause this long gives the connection back; playing again begins at the live edge anyway.
const PAUSE_KEPT = 15000;
// How far behind the newest picture a jump to now lands.
const EDGE_BEHIND = 0.4;

const CONFIG = {
  enableStashBuffer: false,
  // A joiner begins with the cached GOP, up to its length behind: playing a little faster catches up unheard, and only
  // what is far behind (a tab that slept) jumps.
  liveSync: true,
  liveSyncMaxLatency: 0.8,
  liveSyncTargetLatency: 0.4,
  liveSyncPlaybackRate: 1.1,
  liveBufferLatencyChasing: true,
  liveBufferLatencyMaxLatency: 2.5,
  liveBufferLatencyMinRemain: 0.5,
  lazyLoad: false,
  autoCleanupSourceBuffer: true,
  autoCleanupMaxBackwardDuration: 60,
  autoCleanupMinBackwardDuration: 30,
  statisticsInfoReportInterval: 500,
};

/** What stands between this page and playing, as a sentence; null when nothing does. */
export function obstacle() {
  if (!window.mpegts) {
    return 'This server was built without the player library. Run scripts/fetch-web-vendor.sh, build the server again ' +
      '(make run does both) and reload this page. Other players can use the addresses below meanwhile.';
  }
  if (!window.mpegts.getFeatureList().mseLivePlayback) {
    return 'This browser cannot play live streams (it lacks Media Source Extensions). Use one of the addresses below in another player.';
  }
  return null;
}

export class LivePlayer extends EventTarget {
  /**
   * `urlOf(key, protocol)` says where a stream is, `entry(key)` what the list knows of it, if anything; `errors`
   * collects what went wrong.
   */
  constructor(video, { urlOf, entry }, errors) {
    super();
    Object.assign(this, { video, urlOf, entry, errors, player: null, wish: null, speed: 0, retryAfter: RETRY_FIRST });
    video.addEventListener('playing', () => {
      this.retryAfter = RETRY_FIRST;
      this.say('playing');
    });
    video.addEventListener('waiting', () => this.player && this.say('waiting', ''));
    video.addEventListener('pause', () => {
      // An old connection's pause may arrive when the next one plays already.
      if (!this.player || !video.paused || video.ended) return;
      this.say('paused');
      clearTimeout(this.pauseTimer);
      this.pauseTimer = setTimeout(() => this.rest(), PAUSE_KEPT);
    });
    video.addEventListener('play', () => clearTimeout(this.pauseTimer));
  }

  /** Plays the stream `key` until another wish. */
  play(key, protocol) {
    this.wish = { key, protocol };
    this.retryAfter = RETRY_FIRST;
    this.connect();
  }

  /** Gives the wish up. */
  stop() {
    this.wish = null;
    this.drop();
  }

  /** The list has the stream again: no need to wait for the next try. */
  returned() {
    if (this.wish && !this.player && !this.resting) this.connect();
  }

  toggle() {
    if (!this.wish) return;
    if (!this.player) this.connect();
    else if (this.video.paused) this.toEdge();
    else this.video.pause();
  }

  /** Shows the newest picture there is. */
  toEdge() {
    const end = this.bufferEnd();
    if (end !== null) this.video.currentTime = Math.max(this.video.currentTime, end - EDGE_BEHIND);
    this.start();
  }

  /** Seconds received but not yet shown. */
  buffer() {
    const end = this.bufferEnd();
    return end === null ? 0 : Math.max(0, end - this.video.currentTime);
  }

  bufferEnd() {
    const ranges = this.video.buffered;
    return ranges.length ? ranges.end(ranges.length - 1) : null;
  }

  rest() {
    if (!this.video.paused) return;
    this.resting = true;
    this.drop();
  }

  connect() {
    this.drop();
    this.resting = false;
    const blocked = obstacle();
    if (blocked) return this.say('failed', blocked);
    const { key, protocol } = this.wish;
    const tracks = this.entry(key)?.tracks || [];
    // The first picture track is the one that FLV carries.
    const picture = tracks.find(({ kind }) => kind === 'video');
    if (picture?.mime && !MediaSource.isTypeSupported(`video/mp4; codecs="${picture.mime}"`)) {
      return this.say('failed', `This browser cannot decode ${picture.codec}, which ${key} is sent in. Try another browser, or a player as below.`);
    }
    const kinds = new Set(tracks.map(({ kind }) => kind));
    const source = { type: 'flv', isLive: true, url: this.urlOf(key, protocol) };
    // Without tracks the stream is not known yet, and the flags in its FLV header decide.
    if (kinds.size) Object.assign(source, { hasVideo: kinds.has('video'), hasAudio: kinds.has('audio') });

    const { mpegts } = window;
    mpegts.LoggingControl.enableAll = false;
    const player = mpegts.createPlayer(source, CONFIG);
    this.player = player;
    player.on(mpegts.Events.ERROR, (type, detail, info) => this.failed(player, type, detail, info));
    player.on(mpegts.Events.LOADING_COMPLETE, () => this.again(player, `${key} has ended. Waiting for it to come back …`));
    player.on(mpegts.Events.STATISTICS_INFO, (info) => { this.speed = info.speed || 0; });
    this.say('connecting', `Opening ${key} …`);
    player.attachMediaElement(this.video);
    player.load();
    this.start();
  }

  start() {
    const promise = this.video.play();
    // A newer connection interrupts the older one's play(); only a refusal to play with sound needs an answer.
    promise?.catch((error) => {
      if (error.name === 'NotAllowedError' && !this.video.muted) {
        this.video.muted = true;
        this.start();
      } else if (error.name === 'NotAllowedError') {
        this.say('paused');
      }
    });
  }

  failed(player, type, detail, info) {
    if (player !== this.player) return;
    const sentence = this.explain(type, detail, info);
    this.errors.push({ at: Date.now(), type, detail, info, sentence });
    this.again(player, sentence);
  }

  explain(type, detail, info) {
    const { key } = this.wish;
    const tracks = this.entry(key)?.tracks || [];
    if (detail === 'HttpStatusCodeInvalid' && info?.code === 404) return `Nobody is publishing ${key} at the moment.`;
    if (detail === 'HttpStatusCodeInvalid') return `The server refused ${key} with status ${info?.code}.`;
    if (type === 'NetworkError') return `The connection to the server broke while playing ${key}.`;
    const codecs = tracks.map((track) => track.codec).join(' and ') || 'its codecs';
    return `This browser could not decode ${key} (${codecs}). ${info?.msg || detail || ''}`.trim();
  }

  again(player, sentence) {
    if (player !== this.player || !this.wish) return;
    this.drop();
    this.say('failed', sentence);
    this.retryTimer = setTimeout(() => this.wish && this.connect(), this.retryAfter);
    this.retryAfter = Math.min(this.retryAfter * 2, RETRY_LONGEST);
  }

  drop() {
    clearTimeout(this.retryTimer);
    clearTimeout(this.pauseTimer);
    const player = this.player;
    this.player = null;
    this.speed = 0;
    if (!player) return;
    // One that failed in the middle of its set-up may throw while it is taken down; it is gone either way.
    try {
      player.destroy();
    } catch (error) {
      console.warn('mpegts.js while closing:', error);
    }
  }

  say(state, sentence = '') {
    this.dispatchEvent(new CustomEvent('state', { detail: { state, sentence } }));
  }
}
