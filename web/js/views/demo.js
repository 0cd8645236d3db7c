// The demo stream's switch.

import { call, get, poll } from '/js/api.js';
import { path } from '/js/addresses.js';
import { announce, h, say, show } from '/js/dom.js';

const EVERY = 5000;

/** Builds the switch; it is hidden where a server has none. */
export function demo() {
  let running = false;
  const what = h('span', { class: 'muted small' });
  const button = h('button', { type: 'button', class: 'button small', onclick: () => turn() });
  const root = h('div', { class: 'tools', hidden: true }, what, button);

  function render({ running: now, stream, width, height, frame_rate: rate }) {
    running = now === true;
    say(button, running ? 'Stop the demo' : 'Start the demo');
    if (running && stream) what.replaceChildren(h('a', { href: `/watch/${path(stream)}` }, stream), width ? ` ${width}×${height}, ${rate} a second` : '');
    else what.replaceChildren();
    show(root, true);
  }

  async function turn() {
    button.disabled = true;
    try {
      render(await call(running ? 'DELETE' : 'POST', '/api/v2/demo'));
      announce(running ? 'The demo runs' : 'The demo has stopped');
    } catch (error) {
      say(what, error.message);
    }
    button.disabled = false;
  }

  const end = poll(async () => { if (!button.disabled) render(await get('/api/v2/demo')); }, EVERY, () => show(root, false));
  return { root, end };
}
