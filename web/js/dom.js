// Elements without markup: everything shown goes through text nodes and attributes, so that a stream's name, a user
// agent or a log line can never become HTML.

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element. `props` are attributes, except `on…` (listeners), `class` and `dataset`; `false`, `null` and `undefined`
 * leave an attribute out. Children are nodes or text; nothing for `null` and `false`.
 */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Writes a text only when it is another, so that selections and screen readers are left alone. */
export function say(element, text) {
  const value = String(text ?? '');
  if (element.textContent !== value) element.textContent = value;
}

/** Shows or hides. */
export function show(element, visible) {
  element.hidden = !visible;
}

/**
 * Keeps the children of `list` in step with `items`: `key(item)` names one, `make(item)` builds it, `update(row, item)`
 * brings it up to date. Rows stay the same elements, so focus and running previews survive a refresh.
 */
export function reconcile(list, items, { key, make, update }) {
  const rows = new Map([...list.children].filter((row) => row.dataset.key !== undefined).map((row) => [row.dataset.key, row]));
  items.forEach((item, index) => {
    const name = key(item);
    let row = rows.get(name);
    if (row) {
      rows.delete(name);
    } else {
      row = make(item);
      row.dataset.key = name;
    }
    update?.(row, item);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  rows.forEach((row) => {
    row.dispatchEvent(new Event('gone'));
    row.remove();
  });
}

const ICONS = {
  streams: 'M4 5h7v6H4zM13 5h7v6h-7zM4 13h7v6H4zM13 13h7v6h-7z',
  publish: 'M12 16V5M7.5 9.5 12 5l4.5 4.5M5 19h14',
  server: 'M4 5h16v6H4zM4 13h16v6H4zM7.5 8h.01M7.5 16h.01',
  sun: 'M12 8.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM12 3v1.8M12 19.2V21M3 12h1.8M19.2 12H21M5.6 5.6l1.3 1.3M17.1 17.1l1.3 1.3M5.6 18.4l1.3-1.3M17.1 6.9l1.3-1.3',
  moon: 'M19.5 14.2A8 8 0 0 1 9.8 4.5a8 8 0 1 0 9.7 9.7z',
  auto: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 4v16M12 8.5h5.5M12 12h8M12 15.5h5.5',
  play: 'M8 5.5 18 12 8 18.5z',
  pause: 'M8.5 5.5v13M15.5 5.5v13',
  loud: 'M4.5 9.5v5h3.5l4.5 3.5V6L8 9.5zM16 9a4.2 4.2 0 0 1 0 6M18.4 6.5a8 8 0 0 1 0 11',
  mute: 'M4.5 9.5v5h3.5l4.5 3.5V6L8 9.5zM16 9.5l5 5M21 9.5l-5 5',
  full: 'M4.5 9V4.5H9M15 4.5h4.5V9M19.5 15v4.5H15M9 19.5H4.5V15',
  copy: 'M9 9h10v10H9zM5 15V5h10',
  check: 'M5 12.5 10 17.5 19 7',
  qr: 'M4.5 4.5h6v6h-6zM13.5 4.5h6v6h-6zM4.5 13.5h6v6h-6zM13.5 13.5h2.5v2.5h-2.5zM19.5 13.5v2M16.5 19.5h3v-1.5',
  close: 'M6 6l12 12M18 6 6 18',
  eye: 'M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6z',
  camera: 'M4 7.5h10.5v9H4zM14.5 11l5.5-3v8l-5.5-3z',
  screen: 'M4 5h16v11H4zM9 20h6M12 16v4',
  mic: 'M12 4a2.6 2.6 0 0 0-2.6 2.6v5a2.6 2.6 0 0 0 5.2 0v-5A2.6 2.6 0 0 0 12 4zM6 11.5a6 6 0 0 0 12 0M12 17.5V20.5',
  sound: 'M4 10v4M8 7v10M12 4v16M16 8v8M20 10.5v3',
  key: 'M14.5 4.5a5 5 0 1 0 0 10 5 5 0 0 0 0-10zM11 13l-6.5 6.5M7 17l2 2',
  warn: 'M12 4.5 20.5 19h-17zM12 10v4M12 16.6v.01',
  link: 'M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1',
  back: 'M14.5 5.5 8 12l6.5 6.5',
  search: 'M11 4.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM16 16l4 4',
};

/** A drawn sign of 24 × 24 units; what it means must stand beside it or in the label of its button. */
export function icon(name) {
  return s('svg', { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' }, s('path', { d: ICONS[name] }));
}

/** Changes the sign that a button shows. */
export function setIcon(element, name) {
  element.querySelector('path').setAttribute('d', ICONS[name]);
}

let lastId = 0;
/** A new id for labels that name other elements. */
export const newId = (prefix) => `${prefix}-${++lastId}`;

/** A word in a small rounded frame. */
export const chip = (text, kind = '') => h('span', { class: `chip ${kind}` }, text);

/** A text that is read out when it changes, without taking the focus. */
export function announce(text) {
  const place = document.getElementById('announcer');
  if (place) say(place, text);
}
