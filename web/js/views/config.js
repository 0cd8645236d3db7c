// The configuration that counts: each key with its value, where that comes from, and whether it changes without a restart.

import { call, get, poll } from '/js/api.js';
import { chip, h, reconcile, say, show } from '/js/dom.js';
import { plural } from '/js/format.js';
import { empty, problem } from '/js/parts.js';

const EVERY = 15_000;

/** A value as the file spells it. */
function spell(value) {
  if (value === null || value === undefined || value === '') return '""';
  if (Array.isArray(value)) return `[${value.map(spell).join(', ')}]`;
  if (typeof value === 'object') return Object.entries(value).map(([key, inner]) => `${key}: ${spell(inner)}`).join(', ');
  return String(value);
}

/** Builds the section. `changed()` is called when there are new values; `value(key)` gives one. */
export function configuration({ signIn, changed }) {
  let keys = [];
  const search = h('input', { type: 'search', placeholder: 'Find a key', 'aria-label': 'Find a key of the configuration', oninput: () => render() });
  const only = h('input', { type: 'checkbox', onchange: () => render() });
  const reload = h('button', { type: 'button', class: 'button small', onclick: () => again() }, 'Read the file again');
  const summary = h('span', { class: 'muted small' });
  const said = h('div', { class: 'muted', role: 'status', hidden: true });
  const body = h('tbody', {});
  const scroller = h('div', { class: 'scroller tall', tabindex: '0', role: 'region', 'aria-label': 'Table of keys' }, h('table', { class: 'config' },
    h('caption', { class: 'hidden' }, 'The configuration that counts'),
    h('thead', {}, h('tr', {}, ['Key', 'Value', 'From', 'Change'].map((name) => h('th', { scope: 'col' }, name)))), body));
  const place = h('div', {});
  const tools = h('div', { class: 'tools' }, h('label', { class: 'check' }, only, 'Changed only'), search, reload);
  const root = h('section', { class: 'section', 'aria-labelledby': 'config-title' },
    h('div', { class: 'section-head' }, h('h2', { id: 'config-title' }, 'Configuration'), summary, tools), said, scroller, place);

  const isChanged = ({ value, default: usual }) => spell(value) !== spell(usual);

  function make({ key }) {
    const parts = { value: h('b', { class: 'mono' }), usual: h('span', { class: 'muted small' }), origin: h('td', {}), change: h('td', { class: 'muted small' }) };
    const row = h('tr', {}, h('th', { scope: 'row', class: 'mono key' }, key), h('td', { class: 'wide' }, parts.value, parts.usual), parts.origin, parts.change);
    row.parts = parts;
    return row;
  }

  function update(row, entry) {
    const { parts } = row;
    const differs = isChanged(entry);
    say(parts.value, spell(entry.value));
    say(parts.usual, differs ? `usually ${spell(entry.default)}` : '');
    row.classList.toggle('changed', differs);
    const origin = String(entry.origin ?? 'default');
    if (parts.origin.dataset.origin !== origin) {
      parts.origin.dataset.origin = origin;
      parts.origin.replaceChildren(chip(origin, origin === 'default' ? '' : 'accent'));
    }
    say(parts.change, entry.reloadable ? 'by a reload' : 'by a restart');
  }

  function render() {
    const wanted = search.value.trim().toLowerCase();
    const found = keys.filter((entry) => entry.key.toLowerCase().includes(wanted) && (!only.checked || isChanged(entry)));
    reconcile(body, found, { key: ({ key }) => key, make, update });
    say(summary, `${plural(keys.filter(isChanged).length, 'key')} of ${keys.length} changed`);
    show(scroller, found.length > 0);
    if (!found.length) place.replaceChildren(empty('search', 'No such key', h('p', { class: 'muted' }, only.checked ? 'Nothing that differs from its default has that in its name.' : 'No key has that in its name.')));
    else place.replaceChildren();
  }

  async function again() {
    reload.disabled = true;
    try {
      const { changed: done = [] } = await call('POST', '/api/v2/reload');
      said.replaceChildren(h('p', {}, done.length ? `Changed: ${done.join(', ')}.` : 'The file says what it said before.'));
      await round();
    } catch (error) {
      said.replaceChildren(h('p', {}, `${error.message}${error.problems?.length ? ':' : ''}`));
      if (error.problems?.length) said.append(h('ul', {}, error.problems.map((words) => h('li', {}, words))));
    }
    show(said, true);
    reload.disabled = false;
  }

  async function round() {
    keys = ((await get('/api/v2/config')).keys ?? []).filter(({ key }) => typeof key === 'string');
    failure = null;
    show(tools, true);
    render();
    changed();
  }

  let failure = null;
  const end = poll(round, EVERY, (error) => {
    if (failure === error.message) return;
    failure = error.message;
    show(scroller, false);
    show(tools, false);
    say(summary, '');
    place.replaceChildren(error.kind === 'missing'
      ? h('p', { class: 'muted' }, 'This server does not tell its configuration here; shardcast --print-config does.') : problem(error, { signIn }));
  });
  return { root, end, value: (key) => keys.find((entry) => entry.key === key)?.value };
}
