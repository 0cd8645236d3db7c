// The form for credentials: a name and a password, or a token. It opens when the server asks, once, and by its button.

import { gate, signOut, signedIn, usePassword, useToken } from '/js/api.js';
import { h } from '/js/dom.js';
import { dialog, field, segmented } from '/js/parts.js';

let box = null;
let declined = false;

/** Opens the form; after an answer that the last credentials were wrong it says so. */
export function signIn({ refused = false } = {}) {
  if (box) return;
  const user = h('input', { type: 'text', autocomplete: 'username', required: true, spellcheck: 'false', autocapitalize: 'none' });
  const password = h('input', { type: 'password', autocomplete: 'current-password' });
  const token = h('input', { type: 'password', autocomplete: 'off', spellcheck: 'false' });
  const byPassword = h('div', { class: 'fields' }, field('Name', user), field('Password', password));
  const byToken = h('div', { class: 'fields', hidden: true }, field('Token', token, 'It is sent as “Authorization: Bearer …”.'));
  let way = 'password';
  const choose = (value) => {
    way = value;
    byPassword.hidden = value !== 'password';
    byToken.hidden = value !== 'token';
    user.required = value === 'password';
  };
  const form = h('form', { class: 'fields', onsubmit: (event) => {
    event.preventDefault();
    if (way === 'password') usePassword(user.value, password.value);
    else useToken(token.value.trim());
    declined = false;
    box.close();
  } },
  segmented('How to sign in', [['password', 'Password'], ['token', 'Token']], way, choose),
  refused && h('p', { class: 'trouble', role: 'alert' }, 'The server did not accept these credentials.'),
  byPassword, byToken,
  h('div', { class: 'actions' },
    signedIn() && h('button', { type: 'button', class: 'button', onclick: () => { signOut(); box.close(); } }, 'Sign out'),
    h('button', { type: 'button', class: 'button', onclick: () => { declined = true; box.close(); } }, 'Cancel'),
    h('button', { type: 'submit', class: 'button solid' }, 'Sign in')));
  box = dialog('Sign in', [h('p', { class: 'muted' }, 'Credentials stay in this tab and are forgotten when it is closed.'), form]);
  box.addEventListener('close', () => { box = null; });
  user.focus();
}

/** Opens it when the server asks, unless it was sent away before. */
export function answerGate() {
  gate.addEventListener('wanted', () => {
    // One that is closing is asked again by the next answer.
    if (declined || box) return;
    declined = true;
    signIn({ refused: signedIn() });
  });
}
