// Colours: as the system says, unless the switch says otherwise. Loaded first and by itself, so that no page flashes.

const STORED = 'shardcast.theme';
const NAMES = ['auto', 'dark', 'light'];

// Private windows may refuse storage; the page works without.
function stored() {
  try { return localStorage.getItem(STORED); } catch { return null; }
}

let theme = NAMES.includes(stored()) ? stored() : 'auto';
document.documentElement.dataset.theme = theme;

/** The one that counts: `auto`, `dark` or `light`. */
export const current = () => theme;

/** The next of the three. */
export function next() {
  theme = NAMES[(NAMES.indexOf(theme) + 1) % NAMES.length];
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem(STORED, theme); } catch { /* see above */ }
  return theme;
}
