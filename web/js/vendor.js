// The packages that the build found (`scripts/fetch-web-vendor.sh`). The server runs without them; whoever needs one asks
// here first, so that nothing is requested that is not there, and the page can say which player is missing.

import { files } from '/vendor/manifest.js';

/** Whether a file was there when the server was built. */
export const has = (file) => files.includes(file);

let flv;
/** mpegts.js, loaded when it is first needed; null without it. */
export function mpegts() {
  if (!has('mpegts.js')) return Promise.resolve(null);
  flv ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = '/vendor/mpegts.js';
    script.onload = () => {
      window.mpegts.LoggingControl.enableAll = false;
      resolve(window.mpegts);
    };
    script.onerror = () => {
      flv = null;
      reject(new Error('The player library cannot be loaded.'));
    };
    document.head.append(script);
  });
  return flv;
}

/** The maker of QR codes; null without it. */
export async function qrcode() {
  return has('qrcode.js') ? (await import('/vendor/qrcode.js')).default : null;
}

/** The typeface; the system's own stays where it is missing or slow. */
export function typeface() {
  if (!has('inter.woff2') || !('FontFace' in window)) return;
  const face = new FontFace('Inter', "url('/vendor/inter.woff2') format('woff2')", { weight: '100 900', display: 'swap' });
  document.fonts.add(face);
  face.load().catch(() => { /* the system's typeface it is */ });
}

/** What the licences of these packages are called. */
export const licences = () => files.filter((file) => file.endsWith('.LICENSE.txt'));
