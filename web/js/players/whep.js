// One WHEP session (draft-ietf-wish-whep): offer, answer, and the resource that is deleted at the end.
//
// It is started once and stopped once; whoever owns it decides what follows. Times are milliseconds.

// How long until there is a connection; then this way does not work.
const CONNECT = 8000;
// How long a connection may bring nothing until that is said: its publisher may not have come yet.
const QUIET = 2500;

/** What stands between this page and WebRTC, as a sentence; null when nothing does. */
export function obstacle() {
  return window.RTCPeerConnection ? null : 'This browser has no WebRTC. Choose HTTP-FLV, or use another player.';
}

/** STUN and TURN servers of the answer's Link header (RFC 9725 §4.6). */
export function iceServers(link) {
  return [...(link ?? '').matchAll(/<((?:stun|turns?):[^>]+)>([^<]*)/g)]
    .filter(([, , rest]) => /rel="?ice-server"?/.test(rest))
    .map(([, urls, rest]) => {
      const value = (name) => rest.match(new RegExp(`${name}="([^"]*)"`))?.[1];
      return { urls, username: value('username'), credential: value('credential') };
    });
}

/** How far apart are the numbers of two reports, per second. */
export function perSecond(now, before, name) {
  const passed = (now?.timestamp ?? 0) - (before?.timestamp ?? 0);
  return before && passed > 0 ? ((now[name] ?? 0) - (before[name] ?? 0)) * 1000 / passed : 0;
}

/** The pair of addresses that media travels between, and by what. */
export function chosenPair(reports) {
  const all = [...reports.values()];
  const transport = all.find(({ type }) => type === 'transport');
  const pair = reports.get(transport?.selectedCandidatePairId)
    ?? all.find(({ type, nominated, state }) => type === 'candidate-pair' && nominated && state === 'succeeded');
  const local = pair && reports.get(pair.localCandidateId);
  return { pair, way: local?.protocol?.toUpperCase() ?? null };
}

export class WhepConnection {
  /** `tell(kind, sentence)` says `ready` when there is something to play, `quiet` when it is late, and how it ended: `absent`, `refused`, `ended`, `broken`. */
  constructor(video, url, key, tell) {
    Object.assign(this, { video, url, key, tell, pc: null, resource: null, stopped: false, before: {}, waited: null });
    this.shown = [];
  }

  async start() {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.pc = pc;
    const media = new MediaStream();
    pc.ontrack = ({ track }) => {
      media.addTrack(track);
      if (this.stopped || this.video.srcObject === media) return;
      // A new source pauses the element, so whoever plays it is told.
      this.video.srcObject = media;
      this.tell('ready');
    };
    pc.onconnectionstatechange = () => {
      if (this.stopped) return;
      if (pc.connectionState === 'connected') this.expect(QUIET, 'quiet', `Waiting for a picture of ${this.key} …`);
      if (pc.connectionState === 'failed') this.fail('broken', `The WebRTC connection of ${this.key} broke.`);
      if (pc.connectionState === 'disconnected') this.lost = setTimeout(() => this.fail('ended', `${this.key} has ended. Waiting for it to come back …`), 3000);
      else clearTimeout(this.lost);
      if (pc.connectionState === 'closed') this.fail('ended', `${this.key} has ended. Waiting for it to come back …`);
    };
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.addTransceiver('audio', { direction: 'recvonly' });
    this.expect(CONNECT, 'broken', `No connection for ${this.key} came about by WebRTC: a firewall may block UDP.`);
    this.video.addEventListener('timeupdate', this.arrived = () => clearTimeout(this.deadline), { once: true });
    try {
      const offer = await pc.createOffer();
      const answer = await fetch(this.url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: offer.sdp });
      const text = await answer.text();
      if (answer.status !== 201) return this.fail(...this.explain(answer.status, text));
      this.resource = new URL(answer.headers.get('Location') ?? '', new URL(this.url, location.href)).href;
      if (this.stopped) return this.release();
      const servers = iceServers(answer.headers.get('Link'));
      if (servers.length) pc.setConfiguration({ bundlePolicy: 'max-bundle', iceServers: servers });
      await pc.setLocalDescription(offer);
      await pc.setRemoteDescription({ type: 'answer', sdp: text });
      this.follow();
    } catch (error) {
      if (!this.stopped) this.fail('broken', `The WebRTC connection of ${this.key} could not be made. ${error.message ?? ''}`.trim());
    }
  }

  explain(status, text) {
    const why = text.trim().slice(0, 200);
    if (status === 404) return ['absent', `Nobody is publishing ${this.key} at the moment.`];
    if (status === 401 || status === 403) return ['refused', why || `The server does not let this page play ${this.key}.`];
    return ['broken', `WebRTC is refused for ${this.key}${why ? `: ${why}` : '.'}`];
  }

  /** Tells this after a time, unless something else comes before. */
  expect(ms, kind, sentence) {
    clearTimeout(this.deadline);
    this.deadline = setTimeout(() => this.fail(kind, sentence), ms);
  }

  fail(kind, sentence) {
    if (this.stopped) return;
    clearTimeout(this.deadline);
    this.tell(kind, sentence);
  }

  /** Notes how long each picture took from its last packet to the screen. */
  follow() {
    const next = (now, picture) => {
      if (this.stopped) return;
      if (picture.receiveTime) this.shown.push(picture.expectedDisplayTime - picture.receiveTime);
      if (this.shown.length > 60) this.shown.shift();
      this.video.requestVideoFrameCallback(next);
    };
    this.video.requestVideoFrameCallback?.(next);
  }

  toEdge() { /* WebRTC is always there. */ }

  /**
   * What can be said of the last second: `kbps`, `fps`, size, `frames`, `dropped`, `lost` packets, the `way` they came, and
   * `delay`: half a round trip, plus the time from a picture's last packet to the screen.
   */
  async stats() {
    const { pc, before } = this;
    if (!pc || pc.connectionState === 'closed') return null;
    const reports = await pc.getStats();
    const inbound = [...reports.values()].filter(({ type }) => type === 'inbound-rtp');
    const picture = inbound.find(({ kind }) => kind === 'video');
    const sound = inbound.find(({ kind }) => kind === 'audio');
    const { pair, way } = chosenPair(reports);
    const octets = [picture, sound].reduce((sum, report) => sum + perSecond(report, before[report?.kind], 'bytesReceived'), 0);
    const trip = pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000;
    const now = this.shown.length ? this.shown.reduce((sum, time) => sum + time, 0) / this.shown.length : buffered(picture ?? sound, before);
    // Single pictures scatter: what is shown follows calmly, and outlives a second without one.
    if (now !== null) this.waited = this.waited === null ? now : this.waited * 0.6 + now * 0.4;
    const stats = {
      width: picture?.frameWidth ?? 0, height: picture?.frameHeight ?? 0, fps: perSecond(picture, before.video, 'framesDecoded'),
      kbps: octets * 8 / 1000, frames: picture?.framesDecoded ?? 0, dropped: picture?.framesDropped ?? 0,
      delay: trip === null || this.waited === null ? this.waited : trip / 2 + this.waited,
      delayIs: 'Half a round trip on the network, plus the time from a picture’s last packet to the screen.',
      lost: inbound.reduce((sum, { packetsLost }) => sum + Math.max(0, packetsLost ?? 0), 0), way, trip,
    };
    this.before = { video: picture, audio: sound };
    this.shown = [];
    return stats;
  }

  /** Ends the session at the server, unless it is over there already, and then here. */
  async release() {
    const { pc, resource } = this;
    this.resource = null;
    // The page may be on its way out: keepalive lets the request outlive it.
    if (resource && ['new', 'connecting', 'connected'].includes(pc.connectionState)) {
      await fetch(resource, { method: 'DELETE', keepalive: true }).catch(() => {});
    }
    pc?.close();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.deadline);
    clearTimeout(this.lost);
    this.video.removeEventListener('timeupdate', this.arrived);
    this.release();
    this.video.srcObject = null;
  }
}

/** The mean time in the jitter buffer since the report before. */
function buffered(now, before) {
  const old = before[now?.kind];
  const count = (now?.jitterBufferEmittedCount ?? 0) - (old?.jitterBufferEmittedCount ?? 0);
  return count > 0 ? ((now.jitterBufferDelay ?? 0) - (old?.jitterBufferDelay ?? 0)) * 1000 / count : null;
}
