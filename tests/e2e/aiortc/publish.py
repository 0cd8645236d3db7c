"""Publishes a film by WHIP with aiortc: publish.py URL FILE SECONDS [CODEC]. One line of JSON at the end.

aiortc has its own ICE, DTLS, SRTP, SDP and encoders, so it checks the server against a third implementation.
"""

import asyncio
import json
import sys
import time
import urllib.error
import urllib.request

from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer


def post(url, sdp):
    """The offer out, the answer back: status, Location, body."""
    request = urllib.request.Request(url, sdp.encode(), {"Content-Type": "application/sdp"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers.get("Location"), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, None, error.read().decode()


async def main(url, path, seconds, codec):
    peer = RTCPeerConnection()
    film = MediaPlayer(path, loop=True)
    peer.addTrack(film.audio)
    sender = peer.addTrack(film.video)
    wanted = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType.lower() == f"video/{codec}"]
    next(t for t in peer.getTransceivers() if t.sender is sender).setCodecPreferences(wanted)
    await peer.setLocalDescription(await peer.createOffer())
    loop = asyncio.get_running_loop()
    status, location, text = await loop.run_in_executor(None, post, url, peer.localDescription.sdp)
    if status != 201:
        print(json.dumps({"status": status, "text": text}))
        return
    await peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
    connected = loop.create_future()

    @peer.on("connectionstatechange")
    def changed():
        if peer.connectionState == "connected" and not connected.done():
            connected.set_result(time.monotonic())

    if peer.connectionState == "connected" and not connected.done():
        connected.set_result(time.monotonic())
    await asyncio.wait_for(connected, 20)
    print("connected", file=sys.stderr, flush=True)
    await asyncio.sleep(seconds)
    sent = [s for s in (await peer.getStats()).values() if s.type == "outbound-rtp"]
    result = {"status": status, "location": location, "sent": {s.kind: s.packetsSent for s in sent}}
    await peer.close()
    print(json.dumps(result))


asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "h264"))
