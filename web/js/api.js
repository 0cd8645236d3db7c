// The server's API as the console asks it: with credentials where they are wanted, a time limit, and errors that say
// what to do next.
//
// Credentials of the form live in this tab alone (sessionStorage) and go out only to this page's own origin. What the browser
// knows itself, because it asked before it showed this page, is used as well, until the server has refused it once: a page
// that polls must not open the browser's own password box again and again.

const KEPT = 'shardcast.credentials';
const TIMEOUT = 8000;

/**
 * Why a request brought nothing. `kind`: `unauthorized`, `forbidden`, `missing`, `offline` or `failed`; `problems`: sentences
 * about single things that are wrong, often none.
 */
export class ApiError extends Error {
  constructor(kind, sentence, status = 0, problems = []) {
    super(sentence);
    Object.assign(this, { kind, status, problems });
  }
}

let header = read();
/** Whether what the browser knows by itself may do. */
let ambient = true;

function read() {
  // Private windows may refuse storage; the page works without.
  try { return sessionStorage.getItem(KEPT); } catch { return null; }
}

/** Whether requests carry credentials. */
export const signedIn = () => header !== null;

/** Uses a name and a password from now on. */
export function usePassword(user, password) {
  // UTF-8, as RFC 7617 §2.1 recommends; btoa knows bytes only.
  const octets = new TextEncoder().encode(`${user}:${password}`);
  keep(`Basic ${btoa(String.fromCharCode(...octets))}`);
}

/** Uses a token from now on. */
export const useToken = (token) => keep(`Bearer ${token}`);

/** Forgets them. */
export const signOut = () => keep(null);

function keep(value) {
  header = value;
  try {
    if (value === null) sessionStorage.removeItem(KEPT);
    else sessionStorage.setItem(KEPT, value);
  } catch { /* see above */ }
  gate.dispatchEvent(new Event('changed'));
}

/** Tells `wanted` when the server asks who is there, and `changed` when there is another answer to that. */
export const gate = new EventTarget();

/** What a refusal says: `[sentence, problems]`. */
async function refusal(answer) {
  const text = await answer.text().catch(() => '');
  // Plain words are shown as they are; JSON by the fields that explain, never raw.
  if (!text.trimStart().startsWith('{')) return [text.trim().slice(0, 400), []];
  try {
    const { error, problems } = JSON.parse(text);
    const isSentence = (words) => typeof words === 'string';
    return [isSentence(error) ? error : '', Array.isArray(problems) ? problems.filter(isSentence) : []];
  } catch {
    return ['', []];
  }
}

/**
 * One request. `body` is sent as JSON.
 *
 * Throws an {@link ApiError}.
 */
export async function call(method, path, { body, accept = 'json' } = {}) {
  // A server that sees this header does not make the browser ask.
  const headers = { 'X-Requested-With': 'fetch' };
  const shown = header;
  if (shown) headers.Authorization = shown;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, {
      method, headers, cache: 'no-store', credentials: shown || !ambient ? 'omit' : 'same-origin',
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT),
    });
  } catch {
    throw new ApiError('offline', 'The server does not answer. It may be restarting, or the network is down; this page keeps trying.');
  }
  if (answer.ok) {
    if (accept === 'text') return answer.text();
    return answer.json().catch(() => ({}));
  }
  const [said, problems] = await refusal(answer);
  if (answer.status === 401) {
    ambient = false;
    // An answer to what was shown before says nothing of what is shown now.
    if (shown === header) gate.dispatchEvent(new Event('wanted'));
    throw new ApiError('unauthorized', said || 'The server wants to know who you are.', 401);
  }
  if (answer.status === 403) throw new ApiError('forbidden', said || 'The server does not answer this address.', 403);
  if ([404, 405, 501].includes(answer.status)) throw new ApiError('missing', said || 'This server has no such thing.', answer.status);
  throw new ApiError('failed', said || `The server answered with status ${answer.status}.`, answer.status, problems);
}

export const get = (path) => call('GET', path);

/**
 * Asks again and again while the page is seen: `ask` every `every` ms, less often in a hidden tab. Returns what ends it.
 * What `ask` throws goes to `failed`.
 */
export function poll(ask, every, failed = () => {}) {
  let timer;
  let ended = false;
  let running = false;
  const round = async () => {
    if (running || ended) return;
    running = true;
    clearTimeout(timer);
    try {
      await ask();
    } catch (error) {
      if (!ended) failed(error);
    }
    running = false;
    if (!ended) timer = setTimeout(round, document.hidden ? every * 5 : every);
  };
  const wake = () => document.hidden || round();
  document.addEventListener('visibilitychange', wake);
  gate.addEventListener('changed', round);
  round();
  return () => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', wake);
    gate.removeEventListener('changed', round);
  };
}
