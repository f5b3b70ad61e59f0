import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import { existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { chromium, type Browser, type Page } from 'playwright-core';
import { flameGraph, flameGraphSecurityPolicy } from '../src/flame-graph.js';
import { profileOf } from './stacks-profile.js';

const executablePath = '/usr/bin/chromium';
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** In nanoseconds: 10 s in all. `walk` calls itself; two names are an attack. */
const profile = profileOf({
  'main;serve;parse': 2e9,
  'main;serve;walk;walk;walk': 3e9,
  'main;serve;walk;sort': 1e9,
  'main;<script>window.planted = 1</script>': 2e9,
  'main;" onload="window.planted = 2': 1e9,
  '(idle)': 1e9,
});

let server: Server;
let browser: Browser;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  if (!existsSync(executablePath)) throw new Error(`${executablePath} is missing: apt-get install chromium`);
  const svg = flameGraph(profile, { title: 'e2e <b>' });
  server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'image/svg+xml', 'content-security-policy': flameGraphSecurityPolicy }).end(svg);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  browser = await chromium.launch({ executablePath, args: flags });
  page = await browser.newPage({ viewport: { width: 1220, height: 800 } });
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
});

afterAll(async () => {
  await browser?.close();
  server?.closeAllConnections();
  server?.close();
});

const frame = (name: string) => page.locator('#chart > g > g').filter({ has: page.locator('title', { hasText: new RegExp(`^${name}\\n`) }) });
const widthOf = async (name: string): Promise<number> => Number(await frame(name).first().locator('rect').getAttribute('width'));
const textOf = (id: string): Promise<string | null> => page.locator(`#${id}`).textContent();

test('a click zooms into a frame, Reset zoom and Escape lead back', async () => {
  const before = await widthOf('parse');
  await frame('serve').click();
  expect(await widthOf('serve')).toBe(1200);
  expect(await widthOf('parse')).toBeGreaterThan(before * 1.5);
  expect(await frame('\\(idle\\)').isVisible()).toBe(false);
  expect(await textOf('details')).toContain('6 s (60.00 %)');
  await page.locator('#reset').click();
  expect(await widthOf('parse')).toBeCloseTo(before, 1);
  await frame('parse').click();
  expect(await widthOf('parse')).toBe(1200);
  await page.keyboard.press('Escape');
  expect(await widthOf('parse')).toBeCloseTo(before, 1);
  expect(await frame('\\(idle\\)').isVisible()).toBe(true);
});

test('a search marks frames and says their share, a recursion counted once', async () => {
  await page.keyboard.press('/');
  await page.keyboard.type('WALK');
  expect(await page.locator('#chart g.hit').count()).toBe(3);
  expect(await textOf('matched')).toBe('Matched: 40.00 %, 3 frames');
  await page.locator('#query').fill('/^(parse|sort)$/');
  expect(await textOf('matched')).toBe('Matched: 30.00 %, 2 frames');
  await page.keyboard.press('Escape');
  expect(await page.locator('#chart g.hit').count()).toBe(0);
  expect(await textOf('matched')).toBe('');
});

test('Ctrl-F searches within the picture, and within a zoom the share is of what is shown', async () => {
  await frame('serve').click();
  await page.keyboard.press('Control+f');
  await page.keyboard.type('parse');
  expect(await textOf('matched')).toBe('Matched: 33.33 % of this view, 1 frame');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  expect(await frame('\\(idle\\)').isVisible()).toBe(true);
});

test('Invert turns the root from the bottom to the top and back', async () => {
  const rootIsBelow = async (): Promise<boolean> => (await frame('all').boundingBox())!.y > (await frame('parse').boundingBox())!.y;
  expect(await rootIsBelow()).toBe(true);
  await page.locator('#invert').click();
  expect(await rootIsBelow()).toBe(false);
  await page.keyboard.press('i');
  expect(await rootIsBelow()).toBe(true);
});

test('markup in names stays text and the policy allows no script but its own', async () => {
  expect(await frame('<script>window\\.planted = 1</script>').count()).toBe(1);
  expect(await page.locator('#chart script').count()).toBe(0);
  expect(await page.locator('[onload]').count()).toBe(0);
  expect(complaints).toEqual([]);
  const planted = await page.evaluate<unknown>(`(() => {
    const script = document.createElementNS('http://www.w3.org/2000/svg', 'script');
    script.textContent = 'window.planted = 3';
    document.documentElement.append(script);
    return window.planted;
  })()`);
  expect(planted).toBeUndefined();
  expect(complaints.join()).toContain('Content Security Policy');
});
