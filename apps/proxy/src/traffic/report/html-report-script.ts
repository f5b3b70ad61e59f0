import { duration, grouped } from './printable-text.js';

/** Rows shown at first, and with each press of "Show more". */
export const rowsShown = 200;

/**
 * What makes the report page sort, filter and unfold. Without it (scripts switched off) the table is whole, but has no details. It reads the digests from the
 * page's JSON, in the order of the table's rows, and writes whatever comes from there as text content only. Must hold neither an end tag of a script nor a comment's begin.
 * Two functions of the server's side are in it by their source, so that figures read the same everywhere.
 */
export const htmlReportScript = String.raw`'use strict';
(() => {
  ${String(duration)}
  ${String(grouped)}
  const byId = (id) => document.getElementById(id);
  const { overall, digests } = JSON.parse(byId('data').textContent);
  const body = byId('rows');
  const rows = [...body.children];
  // So that the browser need not lay out thousands of rows before the script comes to take most of them out.
  for (const row of rows) row.classList.remove('later');
  const details = new Map();
  const isDefined = (value) => value !== undefined;

  function element(name, properties, ...children) {
    const made = document.createElement(name);
    Object.assign(made, properties);
    made.append(...children.filter(isDefined));
    return made;
  }

  function svg(name, attributes, text) {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // The plot: a bucket's bound is 10 * 2 ** (n / 4) microseconds, so that buckets are equally wide on a logarithmic axis.
  const width = 640, height = 220, left = 44, right = 12, top = 34, bottom = 26;
  let plots = 0;

  function shares(latencies) {
    return latencies ? latencies.buckets.map((count) => count / latencies.count) : [];
  }

  function outline(parts, x, y) {
    const first = parts.findIndex((share) => share > 0);
    let path = 'M' + x(first - 1).toFixed(1) + ',' + y(0).toFixed(1);
    for (let index = first; index < parts.length; index++) path += 'V' + y(parts[index]).toFixed(1) + 'H' + x(index).toFixed(1);
    return path + 'V' + y(0).toFixed(1) + 'Z';
  }

  function said(name, latencies) {
    return latencies ? name + ': ' + grouped(latencies.count) + ' commands, p50 ' + duration(latencies.p50Us) + ', p95 ' + duration(latencies.p95Us) + ', p99 ' + duration(latencies.p99Us) + ', at most ' + duration(latencies.maxUs) : name + ': not known';
  }

  function ticks(first, last) {
    const found = [];
    const decades = (last - first) * Math.log10(2) / 4;
    for (let power = 1; power < 12; power++) {
      for (const step of decades > 2.5 ? [1] : decades > 1 ? [1, 3] : [1, 1.5, 2, 3, 5, 7]) {
        const index = Math.log2(10 ** (power - 1) * step) * 4;
        if (index >= first && index <= last) found.push([index, step * 10 ** power]);
      }
    }
    return found;
  }

  function plot(then, now) {
    const both = [shares(then), shares(now)];
    const used = both.flatMap((parts) => parts.flatMap((share, index) => (share > 0 ? [index] : [])));
    const first = Math.max(0, Math.min(...used) - 2), last = Math.max(...used) + 2;
    const highest = Math.max(...both.flat());
    const x = (index) => left + ((index - first + 1) / (last - first + 1)) * (width - left - right);
    const y = (share) => height - bottom - (share / highest) * (height - top - bottom);
    const id = 'plot-' + plots++;
    const picture = svg('svg', { class: 'plot', viewBox: '0 0 ' + width + ' ' + height, role: 'img', 'aria-labelledby': id + ' ' + id + '-desc' });
    picture.append(svg('title', { id }, 'Latencies then and now'), svg('desc', { id: id + '-desc' }, said('Then', then) + '. ' + said('Now', now) + '.'));
    for (const share of [0, highest / 2, highest]) {
      picture.append(svg('line', { class: 'axis', x1: left, x2: width - right, y1: y(share), y2: y(share) }), svg('text', { x: left - 6, y: y(share) + 4, 'text-anchor': 'end' }, (100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0) + ' %'));
    }
    for (const [index, us] of ticks(first, last)) {
      picture.append(svg('line', { class: 'axis', x1: x(index), x2: x(index), y1: height - bottom, y2: height - bottom + 5 }), svg('text', { x: x(index), y: height - 7, 'text-anchor': 'middle' }, duration(us)));
    }
    const marked = [['then', then, both[0], 12], ['now', now, both[1], 27]].filter(([, latencies]) => latencies).map(([name, latencies, parts, labelY]) => {
      picture.append(svg('path', { class: name, d: outline(parts, x, y) }));
      const at = Math.min(width - right, Math.max(left, x(Math.log2(Math.max(1, latencies.p95Us) / 10) * 4)));
      return { name, at, labelY, label: 'p95 ' + name + ' ' + duration(latencies.p95Us) };
    });
    const rightmost = Math.max(...marked.map(({ at }) => at));
    for (const { name, at, labelY, label } of marked) {
      // Away from the other mark, where there is room.
      const before = at < rightmost ? at > 170 : at > width - 105;
      picture.append(svg('line', { class: 'mark ' + name, x1: at, x2: at, y1: labelY - 8, y2: height - bottom }));
      picture.append(svg('text', { class: name + '-label', x: at + (before ? -5 : 5), y: labelY, 'text-anchor': before ? 'end' : 'start' }, label));
    }
    return picture;
  }

  function table(heads, lines, caption) {
    const head = element('tr', {}, ...heads.map(([text, className]) => element('th', { scope: 'col', textContent: text, className })));
    const made = lines.map(([first, ...rest]) => element('tr', {}, element('th', { scope: 'row', textContent: first }), ...rest.map((text, index) => element('td', { textContent: text, className: heads[index + 1][1] }))));
    return element('table', { className: 'small' }, element('caption', { className: 'unseen', textContent: caption }), element('thead', {}, head), element('tbody', {}, ...made));
  }

  function panel(title, className, ...children) {
    return element('section', { className: 'panel ' + className }, element('h3', { textContent: title }), ...children);
  }

  function latencyPanels({ then, now }, outcomes) {
    if (!then && !now) return [outcomes];
    const figures = [['p50', 'p50Us'], ['p95', 'p95Us'], ['p99', 'p99Us'], ['mean', 'meanUs'], ['greatest', 'maxUs']];
    const figure = (latencies, key) => (latencies ? duration(latencies[key]) : '–');
    const lines = figures.map(([name, key]) => [name, figure(then, key), figure(now, key), then && now ? '× ' + (now[key] / Math.max(1, then[key])).toFixed(2) : '–']);
    const heads = [['Latency', ''], ['then', 'num then-text'], ['now', 'num now-text'], ['ratio', 'num']];
    const percentiles = panel('Percentiles', '', table(heads, lines, 'Latencies then and now'));
    return [panel('Latency distribution', '', plot(then, now)), element('div', { className: 'stack' }, percentiles, outcomes)];
  }

  function outcomeLines(digest) {
    const names = [['equal', 'equal'], ['of these in another order', 'otherOrder'], ['different results', 'different'], ['new errors', 'newError'], ['another error', 'otherError'], ['errors gone', 'errorGone'], ['the same error', 'sameError'], ['not compared', 'notCompared']];
    const sent = names.map(([name, key]) => [name, digest[key]]);
    const skipped = Object.entries(digest.skipped).map(([reason, count]) => ['not sent: ' + reason, count]);
    return [...sent, ...skipped].filter(([, count]) => count > 0).map(([name, count]) => [name, grouped(count)]);
  }

  function planSide(name, lines, others, mark) {
    const known = new Set(others);
    const texts = lines.flatMap((line) => [known.has(line) ? line : element('span', { className: mark, textContent: line }), '\n']);
    return element('div', {}, element('h3', { textContent: name, className: name + '-text' }), element('pre', { tabIndex: 0 }, ...texts));
  }

  function planPanel({ then, now, changed }) {
    const sides = element('div', { className: 'plans' }, planSide('then', then, now, 'less'), planSide('now', now, then, 'more'));
    return panel(changed ? 'Plan: changed' : 'Plan: the same', 'wide', sides);
  }

  function examplesPanel(examples) {
    const heads = [['What', ''], ['captured at', ''], ['connection', 'num'], ['command', 'num']];
    return panel('First differences', 'wide', table(heads, examples.map(({ what, connectionId, ordinal, at }) => [what, at, String(connectionId), String(ordinal)]), 'The first commands that differ'));
  }

  function detailsOf(index) {
    const digest = digests[index];
    const statement = panel('Statement', 'wide', element('pre', { textContent: digest.text, tabIndex: 0 }), element('p', { className: 'soft mono', textContent: digest.digest }));
    const outcomes = panel('Outcomes', '', table([['Outcome', ''], ['commands', 'num']], outcomeLines(digest), 'How its commands ended'));
    const differences = digest.examples.length > 0 ? examplesPanel(digest.examples) : undefined;
    const plans = digest.plan && planPanel(digest.plan);
    const grid = element('div', { className: 'grid' }, statement, differences, ...latencyPanels(digest, outcomes), plans);
    return element('tr', { className: 'detail', id: 'detail-' + index }, element('td', { colSpan: 7 }, grid));
  }

  const differing = (digest) => digest.different + digest.newError + digest.otherError + digest.errorGone;
  const compared = (digest) => digest.equal + digest.sameError + differing(digest);
  const ratio = ({ then, now }) => (then && now ? now.p95Us / Math.max(1, then.p95Us) : undefined);
  const planChanged = ({ plan }) => Boolean(plan && plan.changed);
  const sortKeys = {
    statement: (digest) => digest.text,
    found: (digest) => differing(digest) + (planChanged(digest) ? 0.5 : 0),
    commands: (digest) => digest.commands,
    equal: (digest) => (compared(digest) > 0 ? (digest.equal + digest.sameError) / compared(digest) : undefined),
    then: ({ then }) => then && then.p95Us,
    now: ({ now }) => now && now.p95Us,
    ratio,
  };
  const filters = {
    all: () => true,
    differing: (digest) => differing(digest) > 0 || planChanged(digest),
    results: (digest) => digest.different > 0,
    errors: (digest) => digest.newError + digest.otherError + digest.errorGone > 0,
    plans: planChanged,
    slower: (digest) => ratio(digest) >= 1.5,
  };
  let sorted = { key: '', descending: true };
  let limit = ${rowsShown};
  let order = [];

  function arrange() {
    const words = byId('query').value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = filters[document.querySelector('input[name=kind]:checked').value];
    order = digests.flatMap((digest, index) => {
      if (!wanted(digest)) return [];
      const text = (digest.text + ' ' + digest.digest).toLowerCase();
      return words.every((word) => text.includes(word)) ? [index] : [];
    });
    const keyOf = sortKeys[sorted.key];
    if (keyOf) {
      const keys = digests.map(keyOf);
      const sign = sorted.descending ? -1 : 1;
      // What is not known comes last, whichever way.
      order.sort((a, b) => (keys[a] === undefined || keys[b] === undefined ? (keys[a] === undefined) - (keys[b] === undefined) : sign * (keys[a] > keys[b] ? 1 : keys[a] < keys[b] ? -1 : 0)) || a - b);
    }
    show();
  }

  function show() {
    const shown = order.slice(0, limit);
    body.replaceChildren(...shown.flatMap((index) => (details.has(index) ? [rows[index], details.get(index)] : [rows[index]])));
    byId('none').hidden = order.length > 0;
    byId('more').hidden = shown.length === order.length;
    byId('shown').textContent = grouped(order.length) + ' of ' + grouped(digests.length) + (digests.length === 1 ? ' digest' : ' digests') + (order.length > shown.length ? ', ' + grouped(shown.length) + ' shown' : '');
  }

  function rearrange() {
    limit = ${rowsShown};
    arrange();
  }

  function turn(index, open) {
    const button = rows[index].querySelector('.open');
    if (open === details.has(index)) return;
    button.setAttribute('aria-expanded', String(open));
    if (!open) {
      details.get(index).remove();
      details.delete(index);
      button.removeAttribute('aria-controls');
      return;
    }
    const detail = detailsOf(index);
    details.set(index, detail);
    rows[index].after(detail);
    button.setAttribute('aria-controls', detail.id);
  }

  function sortBy(head) {
    const { key } = head.dataset;
    const first = key !== 'statement';
    if (sorted.key !== key) sorted = { key, descending: first };
    else if (sorted.descending === first) sorted = { key, descending: !first };
    else sorted = { key: '', descending: true };
    for (const other of document.querySelectorAll('th[data-key]')) {
      if (other.dataset.key === sorted.key) other.setAttribute('aria-sort', sorted.descending ? 'descending' : 'ascending');
      else other.removeAttribute('aria-sort');
    }
    rearrange();
  }

  function goTo(hash) {
    const index = rows.findIndex((row) => '#' + row.id === hash);
    if (index < 0) return;
    if (!order.slice(0, limit).includes(index)) {
      byId('query').value = '';
      document.querySelector('input[value=all]').checked = true;
      arrange();
      limit = Math.max(limit, order.indexOf(index) + 1);
      show();
    }
    turn(index, true);
    rows[index].scrollIntoView({ block: 'center' });
    rows[index].querySelector('.open').focus({ preventScroll: true });
  }

  if (overall.then || overall.now) byId('overview').append(plot(overall.then, overall.now));
  body.addEventListener('click', (event) => {
    const row = event.target.closest('tr.digest');
    if (!row || (!event.target.closest('.open') && String(getSelection()))) return;
    const index = rows.indexOf(row);
    turn(index, !details.has(index));
  });
  for (const head of document.querySelectorAll('th[data-key]')) head.firstElementChild.addEventListener('click', () => sortBy(head));
  for (const kind of document.querySelectorAll('input[name=kind]')) kind.addEventListener('change', rearrange);
  byId('query').addEventListener('input', rearrange);
  byId('more').addEventListener('click', () => { limit += ${rowsShown}; show(); });
  addEventListener('hashchange', () => goTo(location.hash));
  document.addEventListener('click', (event) => {
    const link = event.target.closest('.why a');
    // A second click on the same link changes no hash.
    if (link && link.hash === location.hash) goTo(link.hash);
  });
  addEventListener('keydown', (event) => {
    if (event.key === '/' && event.target !== byId('query') && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      byId('query').focus();
    } else if (event.key === 'Escape' && event.target === byId('query')) {
      byId('query').value = '';
      rearrange();
    }
  });
  byId('tools').hidden = false;
  arrange();
  goTo(location.hash);
})();
`;
