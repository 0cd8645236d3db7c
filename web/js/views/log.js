// The newest lines of the log, followed until somebody scrolls up to read.

import { get, poll } from '/js/api.js';
import { h, show } from '/js/dom.js';
import { problem } from '/js/parts.js';

const EVERY = 2000;
const LINES = 300;
const LEVELS = [['error', 'Errors'], ['warn', 'Warnings'], ['info', 'Info'], ['debug', 'Debug']];

/** Builds the section. */
export function log({ signIn }) {
  const level = h('select', { 'aria-label': 'Least important level', onchange: () => round().catch(failed) }, LEVELS.map(([value, label]) => h('option', { value, selected: value === 'info' }, label)));
  const search = h('input', { type: 'search', placeholder: 'Find in the log', 'aria-label': 'Find in the log', oninput: () => render() });
  const hold = h('input', { type: 'checkbox' });
  const list = h('ol', { class: 'log' });
  const scroller = h('div', { class: 'scroller tall', tabindex: '0', role: 'region', 'aria-label': 'Lines of the log' }, list);
  const none = h('p', { class: 'muted', hidden: true }, 'No line of the log is like that.');
  const place = h('div', {});
  const tools = h('div', { class: 'tools' }, h('label', { class: 'check' }, hold, 'Hold'), search, level);
  const root = h('section', { class: 'section', 'aria-labelledby': 'log-title' },
    h('div', { class: 'section-head' }, h('h2', { id: 'log-title' }, 'Log'), tools), scroller, none, place);
  let lines = [];
  let shown = '';

  const time = (value) => {
    const at = new Date(value);
    return Number.isNaN(at.getTime()) ? String(value ?? '') : at.toLocaleTimeString('en-GB', { hour12: false });
  };

  function render() {
    const wanted = search.value.trim().toLowerCase();
    const found = lines.filter(({ text = '', conn = '', target = '' }) => `${text} ${conn} ${target}`.toLowerCase().includes(wanted));
    show(none, found.length === 0);
    show(scroller, found.length > 0);
    const last = found.at(-1);
    const state = `${found.length} ${last?.time} ${last?.text} ${wanted}`;
    if (state === shown) return;
    shown = state;
    const atEnd = scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - 8 || list.children.length === 0;
    list.replaceChildren(...found.map(({ time: at, level: grade = '', conn, text }) => h('li', { class: grade.toLowerCase() },
      h('time', {}, time(at)), h('span', { class: 'grade' }, grade.toUpperCase()), h('span', { class: 'conn' }, conn || ''), h('span', { class: 'said' }, text ?? ''))));
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
  }

  async function round() {
    if (hold.checked) return;
    lines = (await get(`/api/v2/log?lines=${LINES}&level=${level.value}`)).lines ?? [];
    failure = null;
    place.replaceChildren();
    show(tools, true);
    render();
  }

  let failure = null;
  function failed(error) {
    if (failure === error.message) return;
    failure = error.message;
    show(scroller, false);
    show(tools, false);
    show(none, false);
    place.replaceChildren(error.kind === 'missing'
      ? h('p', { class: 'muted' }, 'This server does not tell its log here; it writes it to the console or to the file of log.file.') : problem(error, { signIn }));
  }
  const end = poll(round, EVERY, failed);
  return { root, end };
}
