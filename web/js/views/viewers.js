// The table of those who publish and watch one stream, and the way to send one of them away.

import { call, get, poll } from '/js/api.js';
import { announce, chip, h, icon, reconcile, say, show } from '/js/dom.js';
import { bytes, clock, count, millis, rate } from '/js/format.js';
import { confirm, problem } from '/js/parts.js';

const EVERY = 2000;
/** Rows of one page of the table. */
const PAGE = 50;

const COLUMNS = ['Who', 'How', 'Connected', 'Rate', 'Data', 'Lag', 'Skips'];

const CALLED = { whep: 'WebRTC', whip: 'WebRTC', webrtc: 'WebRTC', flv: 'HTTP-FLV', 'ws-flv': 'WS-FLV', rtmp: 'RTMP' };

/** A program in a word or two: browsers say a lot before their name. */
export function program(agent) {
  if (!agent) return '';
  const known = [[/Edg\/(\d+)/, 'Edge'], [/OPR\/(\d+)/, 'Opera'], [/Firefox\/(\d+)/, 'Firefox'], [/Chrome\/(\d+)/, 'Chrome'],
    [/Version\/(\d+)[\d.]* .*Safari/, 'Safari'], [/^VLC\/([\d.]+)/, 'VLC'], [/^Lavf\/([\d.]+)/, 'ffmpeg (Lavf)'], [/^OBS[^/]*\/([\d.]+)/, 'OBS']];
  for (const [pattern, name] of known) {
    const found = agent.match(pattern);
    if (found) return `${name} ${found[1]}`;
  }
  return agent.length > 32 ? `${agent.slice(0, 31)}…` : agent;
}

/** Builds the section; it asks by itself until it is ended. */
export function viewers(key, { signIn }) {
  const summary = h('span', { class: 'muted small' });
  const body = h('tbody', {});
  const table = h('table', {},
    h('caption', { class: 'hidden' }, `Connections of ${key}`),
    h('thead', {}, h('tr', {}, COLUMNS.map((name, index) => h('th', { scope: 'col', class: index > 1 ? 'number' : '' }, name)),
      h('th', { scope: 'col' }, h('span', { class: 'hidden' }, 'Send away')))), body);
  const scroller = h('div', { class: 'scroller', tabindex: '0', role: 'region', 'aria-label': 'Table of connections' }, table);
  const none = h('p', { class: 'muted', hidden: true }, 'Nobody publishes or watches this stream.');
  const place = h('div', {});
  const more = h('button', { type: 'button', class: 'button', hidden: true, onclick: () => { shown += PAGE; round(); } }, 'Show more');
  const root = h('section', { class: 'section', 'aria-labelledby': 'viewers-title' },
    h('div', { class: 'section-head' }, h('h2', { id: 'viewers-title' }, 'Connections'), summary), scroller, none, place, more);
  let shown = PAGE;

  function make(client) {
    const cells = COLUMNS.map((name, index) => h('td', index > 1 ? { class: 'number', 'data-name': name } : { class: index ? '' : 'wide' }));
    const who = h('b', { class: 'mono' });
    const by = h('span', { class: 'muted small' });
    cells[0].append(who, by);
    const label = `Kick ${client.ip || client.peer}`;
    const kick = h('button', { type: 'button', class: 'button small quiet', 'aria-label': label, onclick: () => sendAway(client, kick) }, icon('close'), 'Kick');
    const row = h('tr', { class: 'client' }, cells, h('td', { class: 'end' }, kick));
    Object.assign(row, { shownIn: cells, who, by });
    return row;
  }

  function update(row, client) {
    const [, how, connected, speed, data, lag, skips] = row.shownIn;
    const publishes = client.role === 'publish';
    say(row.who, client.ip || client.peer || '–');
    const way = client.reception;
    const far = way && typeof way.round_trip_ms === 'number' ? ` · ${millis(way.round_trip_ms)} there and back` : '';
    const lossy = way?.loss_percent > 0 ? ` · ${way.loss_percent} % lost` : '';
    say(row.by, `${program(client.user_agent) || client.id}${far}${lossy}`);
    row.title = [client.id, client.peer, client.user_agent, client.page_url].filter(Boolean).join('\n');
    const words = `${CALLED[client.protocol] ?? client.protocol}${publishes}`;
    if (how.dataset.words !== words) {
      how.dataset.words = words;
      how.replaceChildren(chip(CALLED[client.protocol] ?? client.protocol ?? '–'), publishes ? chip('publisher', 'live') : '');
    }
    say(connected, clock(client.uptime_ms));
    say(speed, rate(publishes ? client.kbps_in : client.kbps_out));
    say(data, bytes(publishes ? client.bytes_in : client.bytes_out));
    say(lag, publishes ? '–' : millis(client.lag_ms));
    lag.classList.toggle('warn', client.lag_ms > 1500);
    say(skips, publishes ? '–' : count(client.skips));
  }

  async function sendAway(client, button) {
    const what = client.role === 'publish' ? 'the publisher' : `the viewer at ${client.ip || client.peer}`;
    const sure = await confirm(`Send ${what} away?`, 'The connection is closed at once. Nothing stops the program from coming back; to keep it out, deny it in the configuration.', 'Send away');
    if (!sure) return;
    button.disabled = true;
    try {
      await call('DELETE', `/api/v2/clients/${encodeURIComponent(client.id)}`);
      announce('Sent away');
      await round();
    } catch (error) {
      button.disabled = false;
      place.replaceChildren(problem(error, { signIn }));
      failure = 'kick';
    }
  }

  let failure = null;
  async function round() {
    const { clients = [], total = clients.length, late_shards: late = [] } = await get(`/api/v2/clients?stream=${encodeURIComponent(key)}&start=0&count=${shown}`);
    if (failure !== 'kick') place.replaceChildren();
    failure = null;
    const order = (client) => (client.role === 'publish' ? 0 : 1);
    clients.sort((a, b) => order(a) - order(b) || b.uptime_ms - a.uptime_ms);
    reconcile(body, clients, { key: ({ id }) => id, make, update });
    say(summary, [`${count(total)} in all`, late.length && `shard ${late.join(', ')} did not answer in time`].filter(Boolean).join(' · '));
    show(scroller, clients.length > 0);
    show(none, clients.length === 0);
    show(more, total > clients.length);
  }

  const end = poll(round, EVERY, (error) => {
    if (failure === error.message) return;
    failure = error.message;
    show(scroller, false);
    show(none, false);
    say(summary, '');
    place.replaceChildren(error.kind === 'missing'
      ? h('p', { class: 'muted' }, 'This server does not list its connections.') : problem(error, { signIn }));
  });
  return { root, end };
}
