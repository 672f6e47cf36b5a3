// SPDX-License-Identifier: GPL-3.0-or-later
// The dashboards of dashboards.json, drawn from what Prometheus says. No library: what a person has to trust is this file.
'use strict';

const PROMETHEUS = 'prometheus/api/v1/';
// Seconds from one point to the next: some 150 points, whatever the range.
const RANGES = new Map([
  ['1h', { seconds: 3600, step: 30, title: '1 h' }],
  ['6h', { seconds: 21600, step: 120, title: '6 h' }],
  ['24h', { seconds: 86400, step: 600, title: '24 h' }],
  ['7d', { seconds: 604800, step: 3600, title: '7 d' }],
]);
const REFRESH_SECONDS = 30;
// A long range changes slowly, and is dear to ask for.
const SLOWEST_REFRESH_SECONDS = 300;
const TIMEOUT_SECONDS = 20;
// The metrics host may be small, and has alerts to watch.
const AT_ONCE = 3;
const SHORTEST_WINDOW_SECONDS = 300;
const SERIES_SHOWN = 12;
const ROWS_SHOWN = 200;
const COLORS = 6;
const GRAPH_HEIGHT = 165;

// ---------------------------------------------------------------- what is on the page

const byId = (id) => document.getElementById(id);

// An element with attributes and children. Text is only ever set as text: labels come from whoever is measured.
const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

const drawn = (name, attributes = {}, ...children) => {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

const byNumber = new Intl.Collator('en', { numeric: true }).compare;

// ---------------------------------------------------------------- values as a person reads them

const plain = (value) => {
  const size = Math.abs(value);
  if (size >= 1000) return value.toLocaleString('en', { maximumFractionDigits: 0 });
  if (size < 0.001) return String(Number(value.toPrecision(1)));
  return Number(value.toPrecision(3)).toLocaleString('en', { maximumSignificantDigits: 3 });
};

const scaled = (value, steps) => {
  const [least, name] = steps.find(([from]) => Math.abs(value) >= from) ?? steps.at(-1);
  return `${plain(value / least)}\u00a0${name}`;
};

const SHORT = [[1e9, 'G'], [1e6, 'M'], [1e4, 'k']];
const BYTES = [[2 ** 40, 'TiB'], [2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB'], [1, 'B']];
const SECONDS = [[172800, 'd', 86400], [7200, 'h', 3600], [120, 'min', 60], [1, 's', 1], [1e-3, 'ms', 1e-3],
  [1e-6, 'µs', 1e-6]];

const count = (value) => {
  const step = SHORT.find(([from]) => Math.abs(value) >= from);
  if (!step) return plain(value);
  return `${plain(value / (step[1] === 'k' ? 1e3 : step[0]))}\u00a0${step[1]}`;
};

const seconds = (value) => {
  if (value === 0) return '0\u00a0s';
  const [, name, unit] = SECONDS.find(([from]) => Math.abs(value) >= from) ?? SECONDS.at(-1);
  return `${plain(value / unit)}\u00a0${name}`;
};

const UNITS = {
  count,
  ratio: (value) => `${plain(value * 100)}\u00a0%`,
  seconds,
  bytes: (value) => scaled(value, BYTES),
  bytes_per_second: (value) => `${scaled(value, BYTES)}/s`,
  per_second: (value) => `${count(value)}/s`,
};

const clock = (at, range) => new Date(at * 1000).toLocaleString('en-GB', range.seconds > 86400
  ? { weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' }
  : { hour: '2-digit', minute: '2-digit', second: range.seconds > 3600 ? undefined : '2-digit' });

const legendOf = (legend, labels) => legend.replace(/\{(\w+)\}/g, (_all, label) => labels[label] ?? '').trim() || 'all';

// critical, warning, good, or nothing where the panel knows no limits
const levelOf = (panel, value) => {
  if (panel.critical === undefined && panel.warning === undefined) return '';
  if (panel.critical !== undefined && value >= panel.critical) return 'critical';
  return panel.warning !== undefined && value >= panel.warning ? 'warning' : 'good';
};

// ---------------------------------------------------------------- questions to Prometheus

class Trouble extends Error {}

// Only while a view is shown are its questions of interest.
let view = new AbortController();
let asking = 0;
const waiting = [];

const next = () => {
  while (asking < AT_ONCE && waiting.length) {
    asking += 1;
    waiting.shift()().finally(() => {
      asking -= 1;
      next();
    });
  }
};

// An address without the name and the password that may stand in that of the page: fetch refuses those.
const addressOf = (path, parameters = {}) => {
  const address = new URL(path, location.href);
  address.username = '';
  address.password = '';
  address.hash = '';
  address.search = new URLSearchParams(parameters);
  return address;
};

const fetched = async (address, who, signal) => {
  const late = AbortSignal.timeout(TIMEOUT_SECONDS * 1000);
  let answer;
  try {
    answer = await fetch(address, { signal: signal ? AbortSignal.any([signal, late]) : late, cache: 'no-store' });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Trouble(late.aborted ? `${who} did not answer within ${TIMEOUT_SECONDS} s.` : `${who} cannot be reached.`);
  }
  const body = await answer.json().catch(() => null);
  if (body?.status === 'error') throw new Trouble(`${who} says: ${body.error}`);
  if (answer.status === 401 || answer.status === 403) {
    throw new Trouble('Name and password are no longer accepted: load the page again.');
  }
  if (!answer.ok) throw new Trouble(`${who} answers with status ${answer.status}.`);
  if (body === null) throw new Trouble(`${who} answers with something that is no JSON.`);
  return body;
};

const ask = (what, parameters, signal, asked = new Map()) => {
  const address = addressOf(PROMETHEUS + what, parameters);
  // The same question of several panels is asked once.
  if (asked.has(address.href)) return asked.get(address.href);
  const promise = new Promise((resolve, reject) => {
    waiting.push(() => {
      if (signal?.aborted) {
        reject(signal.reason);
        return Promise.resolve();
      }
      return fetched(address, 'Prometheus', signal).then((body) => resolve(body.data), reject);
    });
  });
  asked.set(address.href, promise);
  next();
  return promise;
};

// The parts of a query's answer: {labels, legend, unit, points: [[time, value]]}; what is no number is left out.
const seriesOf = (query, panel, data) => data.result.map(({ metric, values, value }) => ({
  labels: metric,
  legend: legendOf(query.legend, metric),
  unit: query.unit ?? panel.unit,
  points: (values ?? [value]).map(([at, text]) => [at, Number(text)]).filter(([, number]) => Number.isFinite(number)),
}));

const asks = async (panel, query, range, asked) => {
  const graph = panel.kind === 'graph';
  const windowSeconds = graph ? Math.max(SHORTEST_WINDOW_SECONDS, range.step) : SHORTEST_WINDOW_SECONDS;
  const parameters = { query: query.expr.replaceAll('$window', `${windowSeconds}s`), timeout: `${TIMEOUT_SECONDS}s` };
  if (graph) {
    // Points at round times stay where they are from one refresh to the next.
    const end = Math.floor(Date.now() / 1000 / range.step) * range.step;
    Object.assign(parameters, { start: end - range.seconds, end, step: range.step });
  }
  const data = await ask(graph ? 'query_range' : 'query', parameters, view.signal, asked);
  if (data.resultType === 'scalar') return seriesOf(query, panel, { result: [{ metric: {}, value: data.result }] });
  return seriesOf(query, panel, data);
};

// ---------------------------------------------------------------- stats and tables

const nothing = (why) => element('div', { class: 'none' }, 'No data', element('span', {}, why));

const whyNothing = (found) => (found.flat().length
  ? 'It is measured, and nothing happened.'
  : 'Nothing measures this, or its target is down.');

const valueOf = (panel, series) => {
  const [, value] = series.points.at(-1);
  const level = series.unit === panel.unit ? levelOf(panel, value) : '';
  return { text: UNITS[series.unit](value), level, value };
};

const showStat = (panel, found) => {
  const shown = found.flat().filter((series) => series.points.length);
  if (!shown.length) return [nothing(whyNothing(found))];
  return shown.map((series) => {
    const { text, level } = valueOf(panel, series);
    const value = element('span', { class: level ? `${level}-value` : '' }, text);
    const badge = ['warning', 'critical'].includes(level) ? [' ', element('span', { class: `badge ${level}` }, level)] : [];
    return element('div', { class: 'value' }, value, ...badge, ' ', element('span', { class: 'note' }, series.legend));
  });
};

const showTable = (panel, found) => {
  const rows = new Map();
  const labels = new Set();
  found.forEach((list, column) => list.filter((series) => series.points.length).forEach((series) => {
    const own = Object.entries(series.labels).filter(([label]) => label !== '__name__').sort();
    own.forEach(([label]) => labels.add(label));
    const key = JSON.stringify(own);
    if (!rows.has(key)) rows.set(key, { labels: series.labels, cells: [] });
    rows.get(key).cells[column] = valueOf(panel, series);
  }));
  if (!rows.size) return [nothing(whyNothing(found))];
  const heads = [...labels].sort((one, other) => (other === 'instance') - (one === 'instance') || byNumber(one, other));
  const sorted = [...rows.values()].sort((one, other) => heads.map((label) =>
    byNumber(one.labels[label] ?? '', other.labels[label] ?? '')).find((order) => order) ?? 0);
  const table = element('table', {},
    element('thead', {}, element('tr', {}, ...heads.map((label) => element('th', { scope: 'col' }, label)),
      ...panel.queries.map((query) => element('th', { scope: 'col', class: 'number' }, query.legend)))),
    element('tbody', {}, ...sorted.slice(0, ROWS_SHOWN).map((row) => element('tr', {},
      ...heads.map((label) => element('th', { scope: 'row' }, row.labels[label] ?? '')),
      ...panel.queries.map((_query, column) => cell(row.cells[column]))))));
  const wide = element('div', { class: 'wide', tabindex: '0', role: 'region', 'aria-label': panel.title }, table);
  const more = sorted.length - ROWS_SHOWN;
  return [wide, ...(more > 0 ? [element('p', { class: 'note' }, `and ${more} more`)] : []), ...missing(panel, found)];
};

const cell = (value) => {
  if (!value) return element('td', { class: 'number soft' }, element('abbr', { title: 'no data' }, '–'));
  const loud = ['warning', 'critical'].includes(value.level);
  return element('td', { class: `number ${value.level ? `${value.level}-value` : ''}` },
    ...(loud ? [element('span', { class: `badge ${value.level}` }, value.level), ' '] : []), value.text);
};

// What some queries of a panel answer must not hide that others answer nothing.
const missing = (panel, found) => {
  const without = panel.queries.filter((_query, number) => !found[number].some((series) => series.points.length));
  if (!without.length) return [];
  return [element('p', { class: 'note' }, `No data for: ${without.map((query) => query.legend).join(', ')}.`)];
};

// ---------------------------------------------------------------- graphs

const NICE_SECONDS = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800];

// The distance of lines on the value's axis: about four of them, at values that a person finds round.
const valueStep = (most, unit) => {
  const wanted = most / 4;
  if (unit === 'seconds' && wanted > 30) {
    return NICE_SECONDS.find((each) => each >= wanted) ?? Math.ceil(wanted / 86400) * 86400;
  }
  if (unit.startsWith('bytes') && wanted >= 1) {
    const power = 1024 ** Math.floor(Math.log(wanted) / Math.log(1024));
    return [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024].find((each) => each * power >= wanted) * power;
  }
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 5, 10].find((each) => each * power >= wanted * 0.999) * power;
  return unit === 'count' ? Math.max(step, 1) : step;
};

const timeTicks = (start, end, room) => {
  const step = NICE_SECONDS.find((each) => (end - start) / each <= room) ?? 172800;
  // Round by the clock on the wall, not by that of Greenwich.
  const offset = new Date(end * 1000).getTimezoneOffset() * 60;
  const first = Math.ceil((start - offset) / step) * step + offset;
  const ticks = [];
  for (let at = first; at <= end; at += step) ticks.push(at);
  const form = step >= 86400 ? { weekday: 'short', day: 'numeric' } : { hour: '2-digit', minute: '2-digit' };
  return ticks.map((at) => [at, new Date(at * 1000).toLocaleString('en-GB', form)]);
};

const most = (series) => series.points.reduce((found, [, value]) => Math.max(found, value), -Infinity);
const least = (series) => series.points.reduce((found, [, value]) => Math.min(found, value), Infinity);

const showGraph = (panel, found, range, width) => {
  const all = found.flat().filter((series) => series.points.length);
  if (!all.length) return [nothing(whyNothing(found))];
  // The highest are shown; their order and color do not depend on who is highest now.
  const shown = [...all].sort((one, other) => most(other) - most(one)).slice(0, SERIES_SHOWN)
    .sort((one, other) => byNumber(one.legend, other.legend));
  const graph = new Graph(panel, shown, range, width);
  const more = all.length - shown.length;
  return [graph.element, ...missing(panel, found),
    ...(more > 0 ? [element('p', { class: 'note' }, `The ${shown.length} highest of ${all.length} are shown.`)] : [])];
};

class Graph {
  constructor(panel, shown, range, width) {
    Object.assign(this, { panel, shown, range, width, unit: UNITS[panel.unit] });
    this.end = Math.floor(Date.now() / 1000 / range.step) * range.step;
    this.start = this.end - range.seconds;
    this.at = null;
    this.measure();
    this.svg = drawn('svg', { height: GRAPH_HEIGHT, tabindex: '0', role: 'img', 'aria-label': this.summary() });
    this.svg.append(...this.axes(), ...this.limits(), ...this.lines(), (this.cursor = drawn('g')));
    this.said = element('span', { class: 'hidden', role: 'status' });
    this.element = element('div', { class: 'plot' }, this.svg, this.legend(), this.said);
    this.listen();
  }

  measure() {
    const top = Math.max(...this.shown.map(most), 0);
    this.low = Math.min(...this.shown.map(least), 0);
    // A limit that is near belongs into the picture; one that is far would press the lines flat.
    const near = [this.panel.warning, this.panel.critical].filter((limit) => limit <= top * 3 && limit > top);
    const high = Math.max(top, ...near) || (this.low < 0 ? 0 : 1);
    this.step = valueStep(high - this.low, this.panel.unit);
    this.high = Math.max(Math.ceil(high / this.step - 1e-9) * this.step, this.step);
    this.low = Math.floor(this.low / this.step) * this.step;
    const texts = this.values().map((value) => this.unit(value));
    this.left = Math.max(...texts.map((text) => text.length)) * 6.4 + 8;
    this.right = this.width - 6;
    this.top = 8;
    this.bottom = GRAPH_HEIGHT - 20;
  }

  values() {
    const number = Math.round((this.high - this.low) / this.step);
    return Array.from({ length: number + 1 }, (_each, index) => this.low + index * this.step);
  }

  x(at) {
    return this.left + ((at - this.start) / (this.end - this.start)) * (this.right - this.left);
  }

  y(value) {
    return this.bottom - ((value - this.low) / (this.high - this.low)) * (this.bottom - this.top);
  }

  axes() {
    const lines = this.values().flatMap((value) => {
      const y = Math.round(this.y(value)) + 0.5;
      return [drawn('line', { class: 'grid', x1: this.left, x2: this.right, y1: y, y2: y }),
        drawn('text', { x: this.left - 6, y: y + 3.5, 'text-anchor': 'end' }, this.unit(value))];
    });
    const times = timeTicks(this.start, this.end, (this.right - this.left) / 58).flatMap(([at, text]) => {
      const x = Math.round(this.x(at)) + 0.5;
      const marks = [drawn('line', { class: 'grid', x1: x, x2: x, y1: this.bottom, y2: this.bottom + 4 })];
      if (x - this.left > 14 && this.right - x > 14) {
        marks.push(drawn('text', { x, y: GRAPH_HEIGHT - 4, 'text-anchor': 'middle' }, text));
      }
      return marks;
    });
    return [...lines, ...times];
  }

  limits() {
    return ['warning', 'critical'].filter((name) => this.panel[name] <= this.high).map((name) => {
      const y = this.y(this.panel[name]);
      return drawn('line', { class: `limit ${name}`, x1: this.left, x2: this.right, y1: y, y2: y },
        drawn('title', {}, `${name} from ${this.unit(this.panel[name])}`));
    });
  }

  look(number) {
    return `series s${number % COLORS}${number >= COLORS ? ' dashed' : ''}`;
  }

  lines() {
    this.paths = this.shown.map((series, number) => {
      let path = '';
      let before = -Infinity;
      series.points.forEach(([at, value]) => {
        // Where nothing was measured, no line is drawn; a point alone is one of no length, which round ends show.
        const apart = at - before > this.range.step * 1.5;
        const place = `${this.x(at).toFixed(1)} ${this.y(value).toFixed(1)}`;
        path += apart ? `M${place}L${place}` : `L${place}`;
        before = at;
      });
      return drawn('path', { class: this.look(number), d: path });
    });
    return this.paths;
  }

  legend() {
    this.rows = this.shown.map((series, number) => {
      const key = drawn('svg', { 'aria-hidden': 'true' },
        drawn('line', { class: this.look(number), x1: 2, x2: 20, y1: 4, y2: 4 }));
      const texts = [series.points.at(-1)[1], least(series), most(series)].map((value) => this.unit(value));
      const cells = texts.map((text) => element('td', { class: 'number' }, text));
      const row = element('tr', {}, element('th', { scope: 'row' }, key, series.legend), ...cells);
      row.addEventListener('pointerenter', () => this.choose(number));
      row.addEventListener('pointerleave', () => this.choose(null));
      return { row, now: cells[0], last: texts[0] };
    });
    this.head = element('th', { scope: 'col', class: 'number' }, 'now');
    const heads = ['least', 'most'].map((text) => element('th', { scope: 'col', class: 'number' }, text));
    return element('table', { class: 'legend' },
      element('thead', {}, element('tr', {}, element('td'), this.head, ...heads)),
      element('tbody', {}, ...this.rows.map(({ row }) => row)));
  }

  choose(number) {
    this.element.classList.toggle('chosen', number !== null);
    this.paths.forEach((path, each) => path.classList.toggle('on', each === number));
  }

  summary() {
    const now = this.shown.map((series) => `${series.legend} ${this.unit(series.points.at(-1)[1])}`);
    return `${this.panel.title}, the last ${this.range.title}. Now: ${now.join(', ')}. Arrow keys tell of other times.`;
  }

  listen() {
    const follow = (event) => {
      const part = (event.clientX - this.svg.getBoundingClientRect().left - this.left) / (this.right - this.left);
      this.point(this.start + part * (this.end - this.start));
    };
    this.svg.addEventListener('pointermove', follow);
    this.svg.addEventListener('pointerdown', follow);
    this.svg.addEventListener('pointerleave', () => this.leave());
    this.svg.addEventListener('blur', () => this.leave());
    this.svg.addEventListener('keydown', (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
      if (event.key === 'Escape') this.leave();
      if (!by) return;
      event.preventDefault();
      this.point((this.at ?? this.end) + by * this.range.step);
      this.said.textContent = `${this.head.textContent}: ${this.shown.map((series, number) =>
        `${series.legend} ${this.rows[number].now.textContent}`).join(', ')}`;
    });
  }

  // Show the values of one time: in the legend, and as points on the lines.
  point(wanted) {
    const inside = Math.min(Math.max(wanted, this.start), this.end);
    this.at = Math.round(inside / this.range.step) * this.range.step;
    const x = this.x(this.at);
    const parts = [drawn('line', { class: 'cursor', x1: x, x2: x, y1: this.top, y2: this.bottom })];
    this.shown.forEach((series, number) => {
      const here = series.points.find(([at]) => Math.abs(at - this.at) < this.range.step / 2);
      this.rows[number].now.textContent = here ? this.unit(here[1]) : 'no data';
      if (here) parts.push(drawn('circle', { class: `point f${number % COLORS}`, cx: x, cy: this.y(here[1]), r: 4 }));
    });
    this.head.textContent = clock(this.at, this.range);
    this.cursor.replaceChildren(...parts);
  }

  leave() {
    this.at = null;
    this.cursor.replaceChildren();
    this.head.textContent = 'now';
    this.said.textContent = '';
    this.rows.forEach(({ now, last }) => { now.textContent = last; });
  }
}

// ---------------------------------------------------------------- panels

const SHOW = { stat: showStat, table: showTable, graph: showGraph };

class Panel {
  constructor(panel) {
    this.panel = panel;
    this.trouble = element('p', { class: 'trouble', role: 'alert', hidden: '' });
    this.body = element('div', { class: 'body' }, element('p', { class: 'note' }, 'Loading'));
    const about = element('p', { class: 'about' }, panel.description);
    this.element = element('article', { class: `panel ${panel.kind}`, 'aria-label': panel.title },
      element('h3', {}, panel.title));
    // Of a stat the number comes first: it is read from afar, and more often than what it means.
    this.element.append(...(panel.kind === 'stat' ? [this.trouble, this.body, about] : [about, this.trouble, this.body]));
    this.seen = false;
    this.busy = false;
    this.failed = false;
    this.wanted = false;
    this.shown = null;
  }

  due(range) {
    if (!this.seen || this.busy) return false;
    if (this.shown === null || this.failed || this.wanted) return true;
    const every = this.panel.kind === 'graph' ? Math.min(range.step, SLOWEST_REFRESH_SECONDS) : REFRESH_SECONDS;
    return Date.now() - this.shown >= every * 1000 - 500;
  }

  // Ask and draw; tells whether Prometheus answered.
  async load(range, asked) {
    this.busy = true;
    this.wanted = false;
    const { signal } = view;
    const answers = await Promise.allSettled(this.panel.queries.map((query) => asks(this.panel, query, range, asked)));
    this.busy = false;
    if (signal.aborted) return true;
    const reasons = answers.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
    this.failed = reasons.length > 0;
    this.complain([...new Set(reasons.map((reason) => (reason instanceof Trouble ? reason.message : String(reason))))]);
    if (reasons.length === answers.length) {
      // What was seen last is better than nothing, when it says how old it is.
      if (this.shown === null) this.body.replaceChildren();
      return false;
    }
    this.found = answers.map(({ value }) => value ?? []);
    this.range = range;
    this.shown = Date.now();
    this.draw();
    return !this.failed;
  }

  complain(messages) {
    this.trouble.hidden = !messages.length;
    this.body.classList.toggle('stale', messages.length > 0);
    const since = messages.length && this.shown ? ` Below is what was there at ${clock(this.shown / 1000, RANGES.get('1h'))}.` : '';
    this.trouble.replaceChildren(element('b', {}, 'Not up to date. '), messages.join(' ') + since);
  }

  draw() {
    if (!this.found) return;
    this.width = this.body.clientWidth;
    const focused = this.body.contains(document.activeElement) ? document.activeElement.localName : null;
    this.body.replaceChildren(...SHOW[this.panel.kind](this.panel, this.found, this.range, this.width));
    if (focused) this.body.querySelector(focused)?.focus({ preventScroll: true });
  }
}

// ---------------------------------------------------------------- alerts

const SEVERITIES = ['critical', 'warning'];

const showAlerts = ({ alerts }) => {
  const firing = alerts.filter(({ state }) => state === 'firing');
  const names = new Set(alerts.filter(({ state }) => state === 'pending').map(({ labels }) => labels.alertname));
  const soon = names.size ? ` May fire soon: ${[...names].sort(byNumber).join(', ')}.` : '';
  document.title = `${firing.length ? `(${firing.length}) ` : ''}${title}`;
  if (!firing.length) return [element('p', { class: 'calm' }, `No alert is firing.${soon}`)];
  const groups = new Map();
  firing.forEach((alert) => {
    const key = `${alert.labels.severity} ${alert.labels.alertname}`;
    groups.set(key, [...(groups.get(key) ?? []), alert]);
  });
  const place = ([{ labels }]) => (SEVERITIES.indexOf(labels.severity) + 3) % 3;
  const sorted = [...groups.values()].sort((one, other) => place(one) - place(other)
    || byNumber(one[0].labels.alertname, other[0].labels.alertname));
  return [...sorted.map(showAlert), ...(soon ? [element('p', { class: 'note' }, soon)] : [])];
};

const showAlert = (group) => {
  const [{ labels, annotations }] = group;
  const severity = labels.severity ?? 'warning';
  const runbook = linkOf(annotations.runbook ?? annotations.runbook_url);
  const parts = group.slice(0, 5).map((alert) => element('li', {}, alert.annotations.summary ?? alert.labels.instance ?? '',
    element('span', { class: 'soft' }, ` since ${since(alert.activeAt)}`)));
  if (group.length > 5) parts.push(element('li', { class: 'soft' }, `and ${group.length - 5} more`));
  return element('div', { class: `alert ${severity}` },
    element('div', { class: 'head' }, element('span', { class: `badge ${severity}` }, severity),
      element('b', {}, labels.alertname),
      ...(runbook ? [element('a', { href: runbook, rel: 'noreferrer' }, 'What to do')] : [])),
    element('ul', {}, ...parts));
};

// A link that leads to a page, and never runs a script.
const linkOf = (text) => {
  if (!text) return '';
  try {
    const address = new URL(text, addressOf('.'));
    return ['https:', 'http:'].includes(address.protocol) ? address.href : '';
  } catch {
    return '';
  }
};

const since = (text) => {
  const at = new Date(text);
  return `${at.toLocaleString('en-GB', { weekday: 'short', hour: '2-digit', minute: '2-digit' })} (${seconds(
    Math.max(Math.round((Date.now() - at) / 1000), 0))})`;
};

// ---------------------------------------------------------------- the page

let source;
let title = 'Metrics';
let panels = [];
let place = {};
let answered = null;
let sight;

const placeOf = () => {
  const [name, range] = location.hash.slice(1).split('/');
  const names = source.dashboards.map((dashboard) => dashboard.name);
  return { name: names.includes(name) ? name : names[0], range: RANGES.has(range) ? range : '1h' };
};

const showNavigation = () => {
  const link = (text, name, range, current) => element('a',
    { href: `#${name}/${range}`, ...(current ? { 'aria-current': 'page' } : {}) }, text);
  byId('dashboards').replaceChildren(...source.dashboards.map((each) =>
    link(each.title, each.name, place.range, each.name === place.name)));
  byId('ranges').replaceChildren(...[...RANGES].map(([name, range]) =>
    link(range.title, place.name, name, name === place.range)));
};

// Stats that follow each other stand side by side.
const showRow = (row) => {
  const made = element('section', { 'aria-label': row.title }, element('h2', {}, row.title));
  let group;
  row.panels.forEach((each) => {
    const name = each.kind === 'stat' ? 'stats' : 'panels';
    if (group?.className !== name) made.append((group = element('div', { class: name })));
    const panel = new Panel(each);
    panels.push(panel);
    group.append(panel.element);
  });
  return made;
};

const showView = () => {
  const before = place;
  place = placeOf();
  view.abort();
  view = new AbortController();
  waiting.splice(0).forEach((start) => start());
  sight?.disconnect();
  showNavigation();
  const dashboard = source.dashboards.find((each) => each.name === place.name);
  title = `${dashboard.title} | ${source.title}`;
  document.title = title;
  panels = [];
  byId('main').replaceChildren(...dashboard.rows.map(showRow));
  if (before.name && before.name !== place.name) window.scrollTo(0, 0);
  sight = new IntersectionObserver(notice, { rootMargin: '300px' });
  panels.forEach((panel) => sight.observe(panel.element));
  answered = null;
  refresh();
};

// Nobody asks for what nobody sees.
const notice = (entries) => {
  entries.forEach((entry) => {
    panels.find((panel) => panel.element === entry.target).seen = entry.isIntersecting;
  });
  refresh();
  showState();
};

const showState = () => {
  const last = answered ? clock(answered / 1000, RANGES.get('1h')) : null;
  // Of what is out of sight nobody asks again, so nobody is told that it failed.
  const failing = panels.some((panel) => panel.seen && panel.failed) || alertsFailed;
  byId('state').textContent = failing ? `Not up to date${last ? `; the last answer is of ${last}` : ''}`
    : (last ? `Up to date at ${last}` : 'Loading');
  byId('state').parentElement.classList.toggle('old', failing);
};

let alertsFailed = false;
let alertsShown = 0;

const loadAlerts = async () => {
  if (Date.now() - alertsShown < REFRESH_SECONDS * 1000 - 500) return;
  alertsShown = Date.now();
  try {
    byId('alerts').replaceChildren(...showAlerts(await ask('alerts', {})));
    alertsFailed = false;
    answered = Date.now();
  } catch (error) {
    alertsShown = 0;
    alertsFailed = true;
    byId('alerts').replaceChildren(element('p', { class: 'trouble', role: 'alert' },
      element('b', {}, 'Whether alerts are firing is not known. '), error.message));
  }
  showState();
};

const refresh = () => {
  if (!source || document.hidden) return;
  const asked = new Map();
  const range = RANGES.get(place.range);
  loadAlerts();
  panels.filter((panel) => panel.due(range)).forEach(async (panel) => {
    const { signal } = view;
    const fine = await panel.load(range, asked);
    if (signal.aborted) return;
    if (fine) answered = Date.now();
    showState();
  });
};

const redraw = () => panels.filter((panel) => panel.panel.kind === 'graph' && panel.body.clientWidth !== panel.width)
  .forEach((panel) => panel.draw());

const begin = async () => {
  try {
    source = await fetched(addressOf('dashboards.json'), 'The metrics host');
    if (!source.dashboards?.length) throw new Trouble('dashboards.json holds none.');
  } catch (error) {
    byId('state').textContent = 'Not loaded';
    byId('main').replaceChildren(element('p', { class: 'trouble', role: 'alert' },
      element('b', {}, 'The dashboards cannot be shown. '), error.message));
    return;
  }
  byId('title').textContent = source.title;
  window.addEventListener('hashchange', showView);
  window.addEventListener('resize', () => requestAnimationFrame(redraw));
  document.addEventListener('visibilitychange', refresh);
  byId('refresh').addEventListener('click', () => {
    alertsShown = 0;
    panels.forEach((panel) => { panel.wanted = true; });
    refresh();
  });
  setInterval(refresh, REFRESH_SECONDS * 1000);
  showView();
};

begin();
