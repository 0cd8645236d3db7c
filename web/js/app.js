// The console's frame: which page is shown, the bar above it, what the keyboard does everywhere.
//
// Pages are paths (`/`, `/watch/app/name`, `/studio`, `/server`) that the server answers with the same document. A page is
// built into `main` and says what ends it. `window.shardcast` shows tests the player and what went wrong.

import * as theme from '/js/theme.js';
import { useToken } from '/js/api.js';
import { keyOf, path } from '/js/addresses.js';
import { announce, h, icon, say, setIcon, show } from '/js/dom.js';
import { plural, span } from '/js/format.js';
import { answerGate, signIn } from '/js/signin.js';
import { start, store, watch } from '/js/store.js';
import { typeface } from '/js/vendor.js';
import { server } from '/js/views/server.js';
import { streams } from '/js/views/streams.js';
import { studio } from '/js/views/studio.js';
import { stream } from '/js/views/watch.js';

const main = document.getElementById('page');
let shown = { end() {} };

window.shardcast = { errors: [], video: null, player: null, get protocol() { return this.player?.protocol ?? null; } };

function missing(root) {
  root.append(h('div', { class: 'empty' }, h('h1', {}, 'There is no such page'),
    h('p', { class: 'muted' }, 'A stream’s page is at /watch/app/name.'), h('a', { class: 'button solid', href: '/' }, 'See what is live')));
  return { title: 'No such page' };
}

/** Which page an address means, and which part of the bar it belongs to. */
function route({ pathname }) {
  const at = pathname.replace(/\/+$/, '') || '/';
  if (at === '/' || at === '/index.html' || at === '/console') return [streams, '/'];
  if (at === '/studio') return [studio, '/studio'];
  if (at === '/server') return [server, '/server'];
  if (at.startsWith('/watch/')) {
    const key = keyOf(at.slice('/watch/'.length));
    if (key) return [(root, context) => stream(root, { ...context, key }), '/'];
  }
  return [missing, null];
}

/** `/?token=…` opens the console for who has a token; it does not stay in the address. Elsewhere a token is the stream's. */
function takeToken() {
  const here = new URL(location);
  const token = here.searchParams.get('token');
  if (!token || here.pathname.startsWith('/watch/')) return;
  useToken(token);
  here.searchParams.delete('token');
  history.replaceState(null, '', here);
}

/** `/?stream=live/demo&protocol=ws` was a stream's page once, and still leads there. */
function oldAddress() {
  const query = new URLSearchParams(location.search);
  const key = location.pathname === '/' && query.get('stream')?.replace(/^\/+|\/+$/g, '');
  if (!key) return;
  query.delete('stream');
  const rest = query.toString();
  history.replaceState(null, '', `/watch/${path(key)}${rest ? `?${rest}` : ''}`);
}

function open({ focus = true } = {}) {
  shown.end?.();
  main.replaceChildren();
  window.shardcast.video = null;
  window.shardcast.player = null;
  const [page, tab] = route(location);
  shown = page(main, { signIn, go, query: new URLSearchParams(location.search), shared: window.shardcast });
  document.title = shown.title ? `${shown.title} – Shardcast` : 'Shardcast';
  document.querySelectorAll('.tabs a').forEach((link) => {
    if (link.pathname === tab) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  });
  window.scrollTo(0, 0);
  if (focus) {
    // Who follows by ear or keyboard continues at the top of the new page.
    main.focus({ preventScroll: true });
    announce(document.title);
  }
}

/** Goes to another page of the console. */
function go(href) {
  history.pushState(null, '', href);
  open();
}

document.addEventListener('click', (event) => {
  const link = event.target.closest('a[href]');
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
  const [page] = route(link);
  if (link.hash && link.pathname === location.pathname) return;
  if (page === missing) return;
  event.preventDefault();
  go(link.href);
});
window.addEventListener('popstate', () => open());
window.addEventListener('pagehide', () => shown.end?.());
// A page that comes back out of the browser's cache begins anew.
window.addEventListener('pageshow', (event) => event.persisted && open({ focus: false }));

document.addEventListener('keydown', (event) => {
  if (document.querySelector('dialog[open]')) return;
  if (shown.keys?.(event)) return;
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches('input, select, textarea')) return;
  if (event.key === '/') {
    const search = main.querySelector('input[type=search]');
    if (!search) return;
    search.focus();
    event.preventDefault();
  } else if (['1', '2', '3'].includes(event.key)) {
    go(['/', '/studio', '/server'][event.key - 1]);
  }
});

// ---- The bar.

const THEMES = { auto: ['auto', 'Colours: as the system'], dark: ['moon', 'Colours: dark'], light: ['sun', 'Colours: light'] };
const themeButton = document.getElementById('theme');
themeButton.append(icon('auto'));
function showTheme(name) {
  const [sign, label] = THEMES[name];
  setIcon(themeButton, sign);
  themeButton.setAttribute('aria-label', label);
  themeButton.title = label;
}
themeButton.addEventListener('click', () => {
  showTheme(theme.next());
  announce(themeButton.title);
});
showTheme(theme.current());

document.querySelectorAll('.tabs a').forEach((link) => link.prepend(icon(link.dataset.icon)));

const TROUBLES = { unauthorized: 'not signed in', forbidden: 'not allowed', offline: 'no connection' };
const health = document.getElementById('health');
const offline = document.getElementById('offline');
watch(['server', 'trouble'], () => {
  const { server: facts, trouble } = store;
  health.dataset.state = trouble ? 'bad' : 'good';
  say(health, trouble ? TROUBLES[trouble.kind] ?? 'trouble' : `${plural(facts.shards?.length ?? 0, 'shard')} · up ${span(facts.uptime_ms)}`);
  // The page itself shows what a first answer lacks; this is for the connection that breaks later.
  show(offline, Boolean(trouble) && store.loaded);
  if (trouble) say(offline, trouble.message);
});

typeface();
answerGate();
oldAddress();
takeToken();
open({ focus: false });
start();
