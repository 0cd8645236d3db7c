// `/server`: the process and its shards, what it may cost, the configuration that counts, and what the log said last.

import { h, reconcile, say, show } from '/js/dom.js';
import { bytes, count, millis, percent, plural, rate, span } from '/js/format.js';
import { figure, problem } from '/js/parts.js';
import { store, watch } from '/js/store.js';
import { licences } from '/js/vendor.js';
import { configuration } from '/js/views/config.js';
import { demo } from '/js/views/demo.js';
import { log } from '/js/views/log.js';

function shardRow() {
  const parts = { name: h('b', {}), cpu: h('span', { class: 'muted small' }), bar: h('div', { class: 'bar-fill' }), busy: h('span', { class: 'bar-value' }), facts: h('span', { class: 'muted small shard-facts' }) };
  const row = h('li', { class: 'shard' }, h('div', { class: 'shard-name' }, parts.name, parts.cpu),
    h('div', { class: 'bar', role: 'img' }, parts.bar), parts.busy, parts.facts);
  row.parts = parts;
  return row;
}

function renewShard({ parts }, shard) {
  say(parts.name, `Shard ${shard.id}`);
  say(parts.cpu, `CPU ${shard.cpu}`);
  const share = Math.min(1, shard.busy ?? 0);
  parts.bar.style.width = `${(share * 100).toFixed(1)}%`;
  parts.bar.dataset.level = share > 0.85 ? 'high' : share > 0.6 ? 'middle' : 'low';
  parts.bar.parentElement.setAttribute('aria-label', `busy ${percent(share)}`);
  say(parts.busy, percent(share));
  const facts = [plural(shard.streams, 'stream'), plural(shard.connections, 'connection'), shard.kbps_out !== undefined && `${rate(shard.kbps_out)} out`,
    shard.mirrors > 0 && plural(shard.mirrors, 'mirror'), shard.window_ms > 0 && `gathers ${millis(shard.window_ms)}`,
    shard.longest_walk_us > 0 && `longest walk ${millis(shard.longest_walk_us / 1000)}`, shard.skips > 0 && plural(shard.skips, 'skip'),
    shard.age_ms > 2000 && `late by ${millis(shard.age_ms)}`].filter(Boolean);
  say(parts.facts, facts.join(' · '));
}

/** A limit as a bar: how much of it is used. */
function limitRow() {
  const parts = { name: h('span', {}), bar: h('div', { class: 'bar-fill' }), value: h('span', { class: 'bar-value' }) };
  const row = h('li', { class: 'limit' }, parts.name, h('div', { class: 'bar', role: 'img' }, parts.bar), parts.value);
  row.parts = parts;
  return row;
}

function renewLimit({ parts }, { name, used, most, format, words }) {
  say(parts.name, name);
  const share = most > 0 ? Math.min(1, used / most) : 0;
  parts.bar.style.width = `${Math.max(share * 100, used > 0 ? 0.5 : 0).toFixed(1)}%`;
  parts.bar.dataset.level = share > 0.9 ? 'high' : share > 0.7 ? 'middle' : 'low';
  parts.bar.parentElement.setAttribute('aria-label', `${percent(share)} used`);
  say(parts.value, words ?? `${format(used)} of ${format(most)}`);
}

/** Builds the page. */
export function server(root, { signIn }) {
  const figures = {
    uptime: figure('Up for'), cpu: figure('CPU'), memory: figure('Memory'), connections: figure('Connections'), out: figure('Going out'), version: figure('Version'),
  };
  const shards = h('ul', { class: 'shards' });
  const limits = h('ul', { class: 'limits' });
  const limitSection = h('section', { class: 'section', 'aria-labelledby': 'limits-title', hidden: true }, h('h2', { id: 'limits-title' }, 'Limits'), limits);
  const place = h('div', {});
  const content = h('div', { class: 'stack', hidden: true });
  const config = configuration({ signIn, changed: () => render() });
  const lines = log({ signIn });
  const terms = licences();
  content.append(
    h('dl', { class: 'figures' }, Object.values(figures).map((one) => one.root)),
    h('div', { class: 'halves' },
      h('section', { class: 'section', 'aria-labelledby': 'shards-title' }, h('div', { class: 'section-head' }, h('h2', { id: 'shards-title' }, 'Shards'), h('span', { class: 'muted small' }, 'share of the time that each one works')), shards),
      limitSection),
    config.root, lines.root);
  const trial = demo();
  root.append(h('div', { class: 'page-head' }, h('h1', {}, 'Server'), trial.root), place, content);
  if (terms.length) {
    root.append(h('p', { class: 'muted small foot' }, 'This page uses ', ...terms.flatMap((file, index) => [index ? ', ' : '', h('a', { href: `/vendor/${file}`, target: '_blank' }, file.replace('.LICENSE.txt', ''))]), ' under the licences behind these names.'));
  }

  let told = null;
  function render() {
    const { server: facts, trouble, loaded } = store;
    show(content, loaded);
    if (!loaded) {
      if (trouble && told !== trouble.message) {
        told = trouble.message;
        place.replaceChildren(problem(trouble, { signIn }));
      }
      return;
    }
    if (told) {
      told = null;
      place.replaceChildren();
    }
    const sum = (value) => facts.shards.reduce((total, shard) => total + (value(shard) ?? 0), 0);
    figures.uptime.set(span(facts.uptime_ms), `process ${facts.pid}`);
    figures.version.set(facts.version, facts.tls ? 'with TLS' : 'without TLS');
    figures.connections.set(count(sum(({ connections }) => connections)), plural(store.streams.length, 'live stream'));
    figures.out.set(rate(facts.kbps_out), `${bytes(sum(({ bytes_out: sent }) => sent))} since the start`);
    const { machine } = facts;
    // A server that does not measure itself still has its shards.
    if (facts.cpu === undefined) figures.cpu.set(percent(sum(({ busy }) => busy) / facts.shards.length), 'of the shards’ time');
    else figures.cpu.set(percent(facts.cpu), machine ? `of ${plural(machine.cpus, 'CPU')} · all programs ${percent(machine.cpu)}` : 'of the machine');
    figures.memory.set(bytes(facts.memory_bytes), machine ? `of ${bytes(machine.memory_bytes)}` : '');
    reconcile(shards, facts.shards, { key: ({ id }) => String(id), make: shardRow, update: renewShard });
    const most = (key) => Number(config.value(key) ?? 0);
    const rows = [
      { name: 'Connections', used: sum(({ connections }) => connections), most: most('limits.connections'), format: count },
      { name: 'WebRTC sessions', used: sum(({ webrtc_sessions: sessions }) => sessions), most: most('webrtc.sessions_max') * facts.shards.length, format: count },
      { name: 'Memory of the machine', used: (machine?.memory ?? 0) * (machine?.memory_bytes ?? 0), most: machine?.memory_bytes ?? 0, format: bytes },
      { name: 'CPU of the machine', used: machine?.cpu ?? 0, most: machine ? 1 : 0, words: percent(machine?.cpu) },
    ].filter((row) => row.most > 0);
    show(limitSection, rows.length > 0);
    reconcile(limits, rows, { key: ({ name }) => name, make: limitRow, update: renewLimit });
  }

  const leave = watch(['server', 'trouble'], render);
  render();
  return {
    title: 'Server',
    end() {
      leave();
      config.end();
      lines.end();
      trial.end();
    },
  };
}
