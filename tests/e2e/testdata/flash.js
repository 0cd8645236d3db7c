// A source whose sound and picture can be told apart from a recording: once a second, at the same moment, the picture turns
// white for a fifth of a second and a beep of 60 ms begins. `window.flashes(rate)` gives it as a MediaStream of 640x360.
window.flashes = async (rate = 25) => {
    const canvas = document.createElement('canvas');
    canvas.width = 640;
    canvas.height = 360;
    document.body.append(canvas);
    const pen = canvas.getContext('2d');

    const sound = new AudioContext({sampleRate: 48000});
    await sound.resume();
    const out = sound.createMediaStreamDestination();
    const tone = new OscillatorNode(sound, {frequency: 1000});
    const gate = new GainNode(sound, {gain: 0});
    tone.connect(gate).connect(out);
    tone.start();

    const PERIOD = 1000, WHITE = 200, BEEP = 0.06, AHEAD = 300;
    let flash = performance.now() + 2 * PERIOD, planned = flash;
    const draw = () => {
        const now = performance.now();
        if (now >= flash + WHITE) flash += PERIOD;
        // The beep is planned ahead on the sound's own clock, which stands still between two blocks that are made.
        if (planned <= now + AHEAD) {
            const at = sound.currentTime + (planned - performance.now()) / 1000;
            gate.gain.setValueAtTime(0.8, at);
            gate.gain.setValueAtTime(0, at + BEEP);
            planned += PERIOD;
        }
        const white = now >= flash;
        pen.fillStyle = white ? '#fff' : '#222';
        pen.fillRect(0, 0, 640, 360);
        // Something that moves, so that every picture is another one.
        pen.fillStyle = '#484';
        pen.fillRect((now / 8) % 600, 300, 40, 40);
        // The next picture is due by the clock, and a flash begins with a picture of its own.
        const next = Math.min(1000 / rate, white ? Infinity : Math.max(flash - performance.now(), 0));
        setTimeout(draw, next);
    };
    draw();
    return new MediaStream([...canvas.captureStream().getVideoTracks(), ...out.stream.getAudioTracks()]);
};
