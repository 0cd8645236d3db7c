// One FLV connection, by HTTP or WebSocket, through Media Source Extensions and mpegts.js.
//
// It is started once and stopped once; whoever owns it decides what follows. Buffers are seconds.

import { has, mpegts } from '/js/vendor.js';

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

/** What stands between this page and FLV, as a sentence; null when nothing does. */
export function obstacle(tracks = []) {
  if (!has('mpegts.js')) {
    return 'This server was built without the FLV player (mpegts.js). Run scripts/fetch-web-vendor.sh, build the server '
      + 'again (make run does both) and reload this page. WebRTC and other players work meanwhile.';
  }
  if (!window.MediaSource) {
    return 'This browser cannot play FLV, because it has no Media Source Extensions. Choose WebRTC, or use another player.';
  }
  // The first picture track is the one that FLV carries.
  const picture = tracks.find(({ kind }) => kind === 'video');
  if (picture?.mime && !MediaSource.isTypeSupported(`video/mp4; codecs="${picture.mime}"`)) {
    return `This browser cannot decode ${picture.codec} in FLV. Choose WebRTC, or use another player.`;
  }
  return null;
}

export class FlvConnection {
  /** `tracks` are those of the list, if it is known; `tell` is that of `WhepConnection`. */
  constructor(video, url, key, tracks, tell) {
    Object.assign(this, { video, url, key, tracks, tell, player: null, speed: 0, stopped: false });
    this.frames = { count: 0, at: 0 };
  }

  async start() {
    const library = await mpegts().catch(() => null);
    if (this.stopped) return;
    if (!library) return void this.tell('broken', 'The FLV player cannot be loaded from the server.');
    const kinds = new Set(this.tracks.map(({ kind }) => kind));
    const source = { type: 'flv', isLive: true, url: this.url };
    // Without tracks the stream is not known yet, and the flags in its FLV header decide.
    if (kinds.size) Object.assign(source, { hasVideo: kinds.has('video'), hasAudio: kinds.has('audio') });
    const player = library.createPlayer(source, CONFIG);
    this.player = player;
    const mine = (then) => (...values) => { if (!this.stopped) then(...values); };
    player.on(library.Events.ERROR, mine((type, detail, info) => this.tell(...this.explain(type, detail, info))));
    player.on(library.Events.LOADING_COMPLETE, mine(() => this.tell('ended', `${this.key} has ended. Waiting for it to come back …`)));
    player.on(library.Events.STATISTICS_INFO, mine((info) => { this.speed = info.speed || 0; }));
    player.attachMediaElement(this.video);
    player.load();
    this.tell('ready');
  }

  explain(type, detail, info) {
    const status = detail === 'HttpStatusCodeInvalid' ? info?.code : 0;
    if (status === 404) return ['absent', `Nobody is publishing ${this.key} at the moment.`];
    if (status === 401 || status === 403) return ['refused', `The server does not let this page play ${this.key}.`];
    if (status) return ['broken', `The server refused ${this.key} with status ${status}.`];
    if (type === 'NetworkError') return ['broken', `The connection to the server broke while playing ${this.key}.`];
    const codecs = this.tracks.map((track) => track.codec).join(' and ') || 'its codecs';
    return ['broken', `This browser could not decode ${this.key} (${codecs}). ${info?.msg || detail || ''}`.trim()];
  }

  end() {
    const ranges = this.video.buffered;
    return ranges.length ? ranges.end(ranges.length - 1) : null;
  }

  /** Shows the newest picture there is. */
  toEdge() {
    const end = this.end();
    if (end !== null) this.video.currentTime = Math.max(this.video.currentTime, end - EDGE_BEHIND);
  }

  /** What can be said of the last second; see `WhepConnection.stats`. */
  async stats() {
    const quality = this.video.getVideoPlaybackQuality?.();
    const [count, at] = [quality?.totalVideoFrames ?? 0, performance.now()];
    const fps = this.frames.at ? Math.max(0, (count - this.frames.count) * 1000 / (at - this.frames.at)) : 0;
    this.frames = { count, at };
    const end = this.end();
    const behind = end === null ? null : Math.max(0, end - this.video.currentTime) * 1000;
    return {
      width: this.video.videoWidth, height: this.video.videoHeight, fps,
      // The library counts KiB per second.
      kbps: this.speed * 8.192, frames: count, dropped: quality?.droppedVideoFrames ?? 0,
      delay: behind, delayIs: 'Received and not yet shown: the buffer of the player.', lost: null, way: null,
    };
  }

  stop() {
    this.stopped = true;
    const { player } = this;
    this.player = null;
    // One that failed in the middle of its set-up may throw while it is taken down; it is gone either way.
    try {
      player?.destroy();
    } catch (error) {
      console.debug('mpegts.js while closing:', error);
    }
  }
}
