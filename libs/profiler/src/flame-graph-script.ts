import { marginX, pictureWidth } from './flame-graph-layout.js';
import { characterWidth, headerHeight, rowHeight, textMargin } from './flame-graph-style.js';

/**
 * What makes a flame graph interactive. It reads frames back from the document, whose first line of a title is a function's name, and
 * writes names as text content only. Without it (an image, scripts switched off) the picture is whole, but still. Must not hold `]]>`.
 */
export const flameGraphScript = String.raw`'use strict';
(() => {
  const svg = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const levels = [...document.querySelectorAll('#chart > g')];
  const frames = levels.flatMap((row, level) => [...row.children].map((g) => {
    const [title, rect, text] = g.children;
    const about = title.textContent.split('\n');
    return { g, rect, text, level, about, name: about[0], x: Number(rect.getAttribute('x')), width: Number(rect.getAttribute('width')) };
  }));
  const frameOf = new Map(frames.map((frame) => [frame.g, frame]));
  const height = Number(svg.getAttribute('height'));
  // Positions in the document are rounded to a thousandth of a pixel.
  const slack = 0.002;
  let zoomed = frames[0];
  let inverted = false;
  let width = 0;

  function inView(frame) {
    return frame.x + slack >= zoomed.x && frame.x + frame.width <= zoomed.x + zoomed.width + slack;
  }

  function below(frame) {
    return frame.level < zoomed.level && frame.x <= zoomed.x + slack && frame.x + frame.width + slack >= zoomed.x + zoomed.width;
  }

  function write(frame, left, pixels) {
    const room = Math.floor((pixels - ${2 * textMargin}) / ${characterWidth});
    if (room < 3) {
      if (frame.text) frame.text.textContent = '';
      return;
    }
    if (!frame.text) {
      frame.text = document.createElementNS('http://www.w3.org/2000/svg', 'text');
      frame.text.setAttribute('y', '13');
      frame.g.append(frame.text);
    }
    frame.text.setAttribute('x', left + ${textMargin});
    frame.text.textContent = frame.name.length > room ? frame.name.slice(0, room - 1) + '…' : frame.name;
  }

  function draw() {
    if (!zoomed) return;
    const room = width - ${2 * marginX};
    const scale = room / zoomed.width;
    for (const frame of frames) {
      const past = below(frame);
      const shown = past || (frame.level >= zoomed.level && inView(frame));
      const left = past ? 0 : (frame.x - zoomed.x) * scale;
      const pixels = past ? room : frame.width * scale;
      frame.g.classList.toggle('off', !shown);
      frame.g.classList.toggle('past', past);
      if (!shown) continue;
      frame.rect.setAttribute('x', left.toFixed(2));
      frame.rect.setAttribute('width', pixels.toFixed(2));
      write(frame, left, pixels);
    }
  }

  function fit() {
    width = Math.max(700, Math.floor(svg.getBoundingClientRect().width));
    svg.setAttribute('viewBox', '0 0 ' + width + ' ' + height);
    byId('keys').setAttribute('transform', 'translate(' + (width - ${pictureWidth}) + ',0)');
    draw();
  }

  function matcher(query) {
    const pattern = /^\/(.+)\/$/.exec(query);
    try {
      if (pattern) return new RegExp(pattern[1], 'i');
    } catch {
      // Not a pattern after all: taken as text.
    }
    const wanted = query.toLowerCase();
    return { test: (text) => text.toLowerCase().includes(wanted) };
  }

  function search() {
    const query = byId('query').value.trim();
    const wanted = query && matcher(query);
    const hits = frames.filter((frame) => {
      const hit = Boolean(wanted) && frame.level > 0 && wanted.test(frame.name);
      frame.g.classList.toggle('hit', hit);
      return hit && frame.level >= zoomed.level && inView(frame);
    });
    // From left to right and from the root up: what lies on a hit that was counted is part of it, as in a recursion.
    hits.sort((a, b) => a.x - b.x || a.level - b.level);
    let end = -1;
    let sum = 0;
    for (const hit of hits) {
      if (hit.x + slack < end) continue;
      sum += hit.width;
      end = hit.x + hit.width;
    }
    const where = zoomed === frames[0] ? '' : ' of this view';
    byId('matched').textContent = query ? 'Matched: ' + ((100 * sum) / zoomed.width).toFixed(2) + ' %' + where + ', ' + hits.length + (hits.length === 1 ? ' frame' : ' frames') : '';
  }

  function tell(frame) {
    byId('details').textContent = frame && frame.level > 0 ? frame.about.join('  ·  ') : '';
  }

  function zoom(frame) {
    zoomed = frame;
    draw();
    if (byId('query').value) search();
    tell(frame);
  }

  function turn() {
    inverted = !inverted;
    place();
  }

  function place() {
    levels.forEach((row, level) => {
      const y = ${headerHeight} + (inverted ? level : levels.length - 1 - level) * ${rowHeight};
      row.setAttribute('transform', 'translate(${marginX},' + y + ')');
    });
    byId('invert').setAttribute('aria-pressed', String(inverted));
    scrollTo(0, inverted ? 0 : height);
  }

  function reset() {
    if (zoomed !== frames[0]) zoom(frames[0]);
  }

  function clear() {
    byId('query').value = '';
    byId('query').blur();
    search();
  }

  function press(id, action) {
    byId(id).addEventListener('click', action);
    byId(id).addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      action();
    });
  }

  const framed = (event) => frameOf.get(event.target.closest('#chart > g > g'));
  addEventListener('resize', fit);
  addEventListener('scroll', () => byId('head').setAttribute('transform', 'translate(0,' + scrollY + ')'));
  fit();
  if (!zoomed) return;
  byId('tools').removeAttribute('visibility');
  press('reset', reset);
  press('invert', turn);
  byId('chart').addEventListener('click', (event) => {
    const frame = framed(event);
    if (frame) zoom(frame);
  });
  byId('chart').addEventListener('mouseover', (event) => tell(framed(event)));
  byId('chart').addEventListener('mouseleave', () => tell(zoomed));
  byId('query').addEventListener('input', search);
  addEventListener('keydown', (event) => {
    const typing = event.target === byId('query');
    if (event.key === 'Escape') {
      if (byId('query').value || typing) clear();
      else reset();
    } else if ((event.key === '/' && !typing) || (event.key === 'f' && (event.ctrlKey || event.metaKey))) {
      event.preventDefault();
      byId('query').focus();
    } else if (event.key === 'i' && !typing && !event.ctrlKey && !event.metaKey) turn();
  });
  scrollTo(0, height);
})();
`;
