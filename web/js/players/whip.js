// One WHIP session (RFC 9725): offer, answer, the resource that is deleted at the end, and what it sends by the second.
//
// Rates are kbit/s, times milliseconds.

import { chosenPair, iceServers, perSecond } from '/js/players/whep.js';

/** Codecs that are no codecs: they mend or pack others. */
const HELPERS = /\/(rtx|red|ulpfec|flexfec-03|cn|telephone-event)$/i;

/** What this browser can send, without repetitions: `['H264', 'VP8', …]`. */
export function codecs(kind) {
  const all = window.RTCRtpSender?.getCapabilities?.(kind)?.codecs ?? [];
  return [...new Set(all.filter(({ mimeType }) => !HELPERS.test(mimeType)).map(({ mimeType }) => mimeType.split('/')[1].toUpperCase()))];
}

export class WhipSession extends EventTarget {
  /** `url` is where to send the offer. Tells `state` with `{state, sentence}`: `connecting`, `live`, `failed`. */
  constructor(url) {
    super();
    Object.assign(this, { url, pc: null, resource: null, stopped: false, before: {}, senders: {} });
  }

  /** Sends `media`; `codec` is the only one offered for pictures, unless it is empty; `kbps` bounds them, unless 0. */
  async start(media, { codec = '', kbps = 0 } = {}) {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.pc = pc;
    pc.onconnectionstatechange = () => {
      if (this.stopped) return;
      if (pc.connectionState === 'connected') this.say('live');
      if (pc.connectionState === 'failed') this.say('failed', 'The connection broke, or the server cannot be reached by UDP.');
      if (pc.connectionState === 'closed') this.say('failed', 'The server ended the connection.');
      if (pc.connectionState === 'disconnected') this.say('connecting', 'The connection is interrupted …');
    };
    this.say('connecting', 'Connecting …');
    for (const track of media.getTracks()) {
      const sendEncodings = track.kind === 'video' && kbps ? [{ maxBitrate: kbps * 1000 }] : undefined;
      const line = pc.addTransceiver(track, { direction: 'sendonly', streams: [media], sendEncodings });
      this.senders[track.kind] = line.sender;
      if (track.kind === 'video' && codec && line.setCodecPreferences) {
        const all = RTCRtpSender.getCapabilities('video').codecs;
        const wanted = all.filter(({ mimeType }) => mimeType.toUpperCase() === `VIDEO/${codec}`);
        if (wanted.length) line.setCodecPreferences([...wanted, ...all.filter(({ mimeType }) => HELPERS.test(mimeType))]);
      }
    }
    try {
      const offer = await pc.createOffer();
      const answer = await fetch(this.url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: offer.sdp });
      const text = await answer.text();
      if (answer.status !== 201) return this.say(answer.status === 401 || answer.status === 403 ? 'refused' : 'failed', explain(answer.status, text));
      this.resource = new URL(answer.headers.get('Location') ?? '', new URL(this.url, location.href)).href;
      if (this.stopped) return this.release();
      const servers = iceServers(answer.headers.get('Link'));
      if (servers.length) pc.setConfiguration({ bundlePolicy: 'max-bundle', iceServers: servers });
      await pc.setLocalDescription(offer);
      await pc.setRemoteDescription({ type: 'answer', sdp: text });
    } catch (error) {
      if (!this.stopped) this.say('failed', `The connection could not be made. ${error.message ?? ''}`.trim());
    }
  }

  /** Sends another source of the same kind instead, without a new session. */
  replace(track) {
    return this.senders[track.kind]?.replaceTrack(track);
  }

  /** What was sent in the last second. */
  async stats() {
    if (!this.pc || this.pc.connectionState !== 'connected') return null;
    const reports = await this.pc.getStats();
    const all = [...reports.values()];
    const sent = all.filter(({ type }) => type === 'outbound-rtp');
    const heard = all.filter(({ type }) => type === 'remote-inbound-rtp');
    const picture = sent.find(({ kind }) => kind === 'video');
    const sound = sent.find(({ kind }) => kind === 'audio');
    const { pair, way } = chosenPair(reports);
    const { before } = this;
    const codec = (report) => reports.get(report?.codecId)?.mimeType?.split('/')[1] ?? '';
    const stats = {
      way,
      videoKbps: perSecond(picture, before.video, 'bytesSent') * 8 / 1000,
      audioKbps: perSecond(sound, before.audio, 'bytesSent') * 8 / 1000,
      fps: perSecond(picture, before.video, 'framesEncoded'),
      width: picture?.frameWidth ?? 0, height: picture?.frameHeight ?? 0,
      codecs: [codec(picture), codec(sound)].filter(Boolean),
      // Why the pictures are smaller or fewer than asked for: `cpu`, `bandwidth`.
      limit: picture?.qualityLimitationReason ?? 'none',
      trip: (pair?.currentRoundTripTime ?? heard[0]?.roundTripTime ?? null) === null ? null : (pair?.currentRoundTripTime ?? heard[0].roundTripTime) * 1000,
      lost: heard.reduce((sum, { packetsLost }) => sum + Math.max(0, packetsLost ?? 0), 0),
      share: heard.find(({ kind }) => kind === 'video')?.fractionLost ?? null,
      keyframes: picture?.keyFramesEncoded ?? 0, again: picture?.nackCount ?? 0,
    };
    this.before = { video: picture, audio: sound };
    return stats;
  }

  say(state, sentence = '') {
    this.dispatchEvent(new CustomEvent('state', { detail: { state, sentence } }));
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
    this.release();
  }
}

function explain(status, text) {
  const why = text.trim().slice(0, 300);
  if (status === 409) return why || 'Somebody publishes under this name already. Choose another one.';
  return why || `The server refused with status ${status}.`;
}
