// Parts that several pages show: a line to copy, a QR code, what to do when something is missing or wrong.

import { announce, h, icon, newId, s, setIcon } from '/js/dom.js';
import { signedIn } from '/js/api.js';
import { has, qrcode } from '/js/vendor.js';

const COPIED = 1500;

async function copy(text, from) {
  // Clipboard access needs HTTPS or localhost; the old way works elsewhere.
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  if (!done) {
    getSelection().selectAllChildren(from);
    document.execCommand('copy');
  }
  announce('Copied');
}

/** A text in a typewriter's letters with a button that copies it; `what` names it to screen readers. */
export function copyable(text, what, { qr = false } = {}) {
  const code = h('code', { tabindex: '0' }, text);
  const button = h('button', { type: 'button', class: 'icon-button', 'aria-label': `Copy ${what}`, title: 'Copy' }, icon('copy'));
  button.addEventListener('click', async () => {
    await copy(code.textContent, code);
    setIcon(button, 'check');
    button.classList.add('done');
    setTimeout(() => {
      setIcon(button, 'copy');
      button.classList.remove('done');
    }, COPIED);
  });
  const square = qr && has('qrcode.js') && h('button', {
    type: 'button', class: 'icon-button', 'aria-label': `QR code of ${what}`, title: 'QR code', onclick: () => showQr(code.textContent, what),
  }, icon('qr'));
  return h('div', { class: 'copyable' }, code, square, button);
}

/** A code that phones read, as one path: dark on light whatever the colours of the page, with its quiet zone. */
export async function qrSquare(text) {
  const make = await qrcode();
  if (!make) return null;
  const code = make(0, 'M');
  code.addData(text);
  code.make();
  const size = code.getModuleCount();
  let d = '';
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) if (code.isDark(row, column)) d += `M${column + 4} ${row + 4}h1v1h-1z`;
  }
  return s('svg', { class: 'qr', viewBox: `0 0 ${size + 8} ${size + 8}`, role: 'img', 'aria-label': `QR code of ${text}`, 'shape-rendering': 'crispEdges' },
    s('path', { d }));
}

async function showQr(text, what) {
  const square = await qrSquare(text);
  const close = h('button', { type: 'button', class: 'icon-button', 'aria-label': 'Close' }, icon('close'));
  const box = dialog(what[0].toUpperCase() + what.slice(1), [h('p', { class: 'muted' }, 'Scan it with a phone on the same network.'), square, h('p', { class: 'mono small wrap' }, text)], close);
  close.addEventListener('click', () => box.close());
}

/** A dialog that is gone when it is closed; the page behind it rests. */
export function dialog(title, content, corner = null) {
  const id = newId('dialog');
  const box = h('dialog', { class: 'dialog', 'aria-labelledby': id },
    h('header', {}, h('h2', { id }, title), corner), ...content);
  box.addEventListener('close', () => box.remove());
  // A click on the backdrop is one on the dialog itself.
  box.addEventListener('click', ({ target }) => target === box && box.close());
  document.body.append(box);
  box.showModal();
  return box;
}

/** Asks before something that cannot be taken back; true for yes. */
export function confirm(title, sentence, yes) {
  return new Promise((resolve) => {
    let answer = false;
    const no = h('button', { type: 'button', class: 'button', onclick: () => box.close() }, 'Cancel');
    const ok = h('button', { type: 'button', class: 'button danger', onclick: () => { answer = true; box.close(); } }, yes);
    const box = dialog(title, [h('p', { class: 'muted' }, sentence), h('div', { class: 'actions' }, no, ok)]);
    box.addEventListener('close', () => resolve(answer));
    no.focus();
  });
}

/** A quiet place that says what is missing and what to do about it. */
export function empty(sign, title, ...content) {
  return h('div', { class: 'empty' }, h('span', { class: 'empty-sign' }, icon(sign)), h('h2', {}, title), ...content);
}

/** An {@link ApiError} as a place of the page, with the next step. `signIn` opens the form for credentials. */
export function problem(error, { signIn, retry } = {}) {
  const again = retry && h('button', { type: 'button', class: 'button', onclick: retry }, 'Try again');
  const enter = signIn && h('button', { type: 'button', class: 'button solid', onclick: signIn }, 'Sign in');
  switch (error.kind) {
    case 'unauthorized':
      return empty('key', signedIn() ? 'These credentials are not accepted' : 'Who are you?',
        h('p', { class: 'muted' }, error.message), h('div', { class: 'actions' }, enter));
    case 'forbidden':
      return empty('key', 'Not from here', h('p', { class: 'muted' }, error.message),
        h('p', { class: 'muted' }, 'Open this page on the server itself, or configure credentials there and sign in.'),
        h('div', { class: 'actions' }, enter, again));
    case 'missing':
      return empty('warn', 'This server does not offer that', h('p', { class: 'muted' }, error.message), h('div', { class: 'actions' }, again));
    default:
      return empty('warn', error.kind === 'offline' ? 'No answer' : 'That did not work',
        h('p', { class: 'muted' }, error.message), h('div', { class: 'actions' }, again));
  }
}

/** A group of choices of which one counts: `choices` are `[value, label]`. */
export function segmented(legend, choices, chosen, changed) {
  const name = newId('choice');
  const inputs = choices.map(([value, label]) => {
    const input = h('input', { type: 'radio', name, value, checked: value === chosen });
    input.addEventListener('change', () => changed(value));
    return h('label', {}, input, h('span', {}, label));
  });
  return h('fieldset', { class: 'segmented' }, h('legend', { class: 'hidden' }, legend), inputs);
}

/** A labelled field. */
export function field(label, control, hint = '') {
  const id = control.id || newId('field');
  control.id = id;
  const note = hint && h('span', { class: 'hint', id: `${id}-hint` }, hint);
  if (note) control.setAttribute('aria-describedby', `${id}-hint`);
  return h('div', { class: 'field' }, h('label', { for: id }, label), control, note);
}

/** One figure with its name: `root`, and `set(text, note)`. */
export function figure(name, note = '') {
  const value = h('dd', {}, '–');
  const under = h('dd', { class: 'note' }, note);
  return {
    root: h('div', { class: 'figure' }, h('dt', {}, name), value, under),
    set(text, words = note) {
      if (value.textContent !== text) value.textContent = text;
      if (under.textContent !== words) under.textContent = words;
    },
  };
}
