"""Plays by WHEP with aiortc, decoding all that comes: play.py URL SECONDS. One line of JSON at the end."""

import array
import asyncio
import json
import sys
import time
import urllib.error
import urllib.request

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError


def post(url, sdp):
    """The offer out, the answer back: status and body."""
    request = urllib.request.Request(url, sdp.encode(), {"Content-Type": "application/sdp"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def watch(track, seen):
    """Counts what a track yields, until it ends."""
    seen.update({"frames": 0, "backward": 0, "gap": 0.0})
    last, last_pts = None, None
    try:
        while True:
            frame = await track.recv()
            now = time.monotonic()
            if last is not None and seen["frames"] > 30:
                seen["gap"] = max(seen["gap"], now - last)
            last = now
            seen["frames"] += 1
            seen["backward"] += last_pts is not None and frame.pts <= last_pts
            last_pts = frame.pts
            if track.kind == "video":
                seen["size"] = [frame.width, frame.height]
            else:
                samples = array.array("h", bytes(frame.planes[0]))
                seen["loudest"] = max(seen.get("loudest", 0), max(samples), -min(samples))
    except MediaStreamError:
        pass


async def main(url, seconds):
    peer = RTCPeerConnection()
    seen, tasks = {"video": {}, "audio": {}}, []
    peer.addTransceiver("video", direction="recvonly")
    peer.addTransceiver("audio", direction="recvonly")

    @peer.on("track")
    def on_track(track):
        tasks.append(asyncio.ensure_future(watch(track, seen[track.kind])))

    await peer.setLocalDescription(await peer.createOffer())
    loop = asyncio.get_running_loop()
    status, text = await loop.run_in_executor(None, post, url, peer.localDescription.sdp)
    if status != 201:
        print(json.dumps({"status": status, "text": text}))
        return
    await peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
    await asyncio.sleep(seconds)
    received = [s for s in (await peer.getStats()).values() if s.type == "inbound-rtp"]
    result = {"status": status, **seen, "lost": {s.kind: s.packetsLost for s in received}}
    await peer.close()
    for task in tasks:
        task.cancel()
    print(json.dumps(result))


asyncio.run(main(sys.argv[1], float(sys.argv[2])))
