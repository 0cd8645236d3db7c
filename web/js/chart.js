// A small chart that moves: one line over the last two minutes, in SVG, with the newest number beside its name and any
// other under the pointer. It draws nothing of its own accord: `draw` gives it all points it shows.

import { h, s, say } from '/js/dom.js';

/** Room left of the plot for the scale, and below it. */
const LEFT = 44;
/** Room for the newest point's dot. */
const RIGHT = 5;
const BELOW = 16;
const HEIGHT = 132;

/** The next round number: 1, 2 or 5 times a power of ten. */
function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

export class Chart {
  /**
   * `name` is its heading, `format` writes a value in words, `tick` on the scale, `hue` is the name of its colour, `past`
   * how many milliseconds it shows. `floor` is the least that the scale reaches up to.
   */
  constructor({ name, format, tick = format, hue, past, floor = 1, note = '' }) {
    Object.assign(this, { name, format, tick, past, floor, points: [] });
    this.value = h('span', { class: 'chart-value' }, '–');
    this.note = h('span', { class: 'chart-note' }, note);
    this.grid = s('g', { class: 'grid' });
    this.area = s('path', { class: 'area' });
    this.line = s('path', { class: 'line' });
    this.dot = s('circle', { class: 'dot', r: 3.5, visibility: 'hidden' });
    this.rule = s('line', { class: 'rule', visibility: 'hidden' });
    this.plot = s('svg', { role: 'img', 'aria-label': `${name}: nothing yet`, height: HEIGHT, preserveAspectRatio: 'none' },
      this.grid, this.area, this.line, this.rule, this.dot);
    this.root = h('figure', { class: `chart ${hue}` },
      h('figcaption', {}, h('span', { class: 'chart-name' }, name), this.value), this.plot, this.note);
    this.plot.addEventListener('pointermove', ({ offsetX }) => this.point(offsetX));
    this.plot.addEventListener('pointerleave', () => this.point(null));
    this.pointed = null;
    this.sized = new ResizeObserver(() => this.paint());
    this.sized.observe(this.plot);
  }

  /** Shows these points, `{t, v}` with `t` in milliseconds of the wall clock, oldest first; `v` null is a hole. */
  draw(points, note) {
    this.points = points;
    if (note !== undefined) say(this.note, note);
    this.paint();
  }

  end() {
    this.sized.disconnect();
  }

  point(x) {
    this.pointed = x;
    this.paint();
  }

  paint() {
    const width = this.plot.clientWidth;
    if (!width) return;
    this.plot.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    const now = Date.now();
    const top = roundUp(Math.max(this.floor, ...this.points.map(({ v }) => v ?? 0)) * 1.05);
    const x = (t) => width - RIGHT - (now - t) / this.past * (width - RIGHT - LEFT);
    const y = (v) => HEIGHT - BELOW - v / top * (HEIGHT - BELOW - 8);
    const seen = this.points.filter(({ t, v }) => v !== null && x(t) >= LEFT);
    const last = seen.at(-1);
    this.scale(width, top, y);
    // A hole starts a new stroke.
    const strokes = [];
    let open = null;
    for (const { t, v } of this.points) {
      if (v === null || x(t) < LEFT) { open = null; continue; }
      if (!open) strokes.push(open = []);
      open.push([x(t), y(v)]);
    }
    const path = (points) => points.map(([px, py], i) => `${i ? 'L' : 'M'}${px.toFixed(1)} ${py.toFixed(1)}`).join('');
    this.line.setAttribute('d', strokes.map(path).join(''));
    this.area.setAttribute('d', strokes.filter((stroke) => stroke.length > 1)
      .map((stroke) => `${path(stroke)}L${stroke.at(-1)[0].toFixed(1)} ${y(0)}L${stroke[0][0].toFixed(1)} ${y(0)}Z`).join(''));
    const chosen = this.pointed === null ? null
      : seen.reduce((best, point) => (!best || Math.abs(x(point.t) - this.pointed) < Math.abs(x(best.t) - this.pointed) ? point : best), null);
    const mark = chosen ?? last;
    this.dot.setAttribute('visibility', mark ? 'visible' : 'hidden');
    this.rule.setAttribute('visibility', chosen ? 'visible' : 'hidden');
    if (mark) {
      this.dot.setAttribute('cx', x(mark.t));
      this.dot.setAttribute('cy', y(mark.v));
    }
    if (chosen) {
      for (const [name, value] of [['x1', x(chosen.t)], ['x2', x(chosen.t)], ['y1', 4], ['y2', y(0)]]) this.rule.setAttribute(name, value);
    }
    const ago = chosen ? ` · ${Math.round((now - chosen.t) / 1000)} s ago` : '';
    say(this.value, mark ? this.format(mark.v) + ago : '–');
    const label = last ? `${this.name}, now ${this.format(last.v)}, at most ${this.format(Math.max(...seen.map(({ v }) => v)))} in the last two minutes` : `${this.name}: nothing yet`;
    if (this.plot.getAttribute('aria-label') !== label) this.plot.setAttribute('aria-label', label);
  }

  scale(width, top, y) {
    const key = `${width} ${top}`;
    if (this.scaled === key) return;
    this.scaled = key;
    const lines = [0, top / 2, top].flatMap((v) => [
      s('line', { x1: LEFT, x2: width, y1: y(v), y2: y(v) }),
      s('text', { x: LEFT - 8, y: y(v) + 4, 'text-anchor': 'end' }, v ? this.tick(v) : '0'),
    ]);
    const times = [[1, '2 min'], [0.5, '1 min'], [0, 'now']].map(([share, text]) => s('text', {
      x: share ? width - RIGHT - share * (width - RIGHT - LEFT) : width, y: HEIGHT - 1, 'text-anchor': share === 1 ? 'start' : share ? 'middle' : 'end',
    }, text));
    this.grid.replaceChildren(...lines, ...times);
  }
}
