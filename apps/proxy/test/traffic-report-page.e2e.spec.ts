import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chromium, type Browser, type Page } from 'playwright-core';
import { htmlReport, htmlReportSecurityPolicy } from '../src/traffic/report/html-report.js';
import { readReport } from '../src/traffic/report/report-file.js';
import { hostileTexts, plantedReport } from './planted-report.js';
import { digestOf } from './traffic-reports.js';

const executablePath = '/usr/bin/chromium';
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

let server: Server;
let browser: Browser;
let origin: string;
const complaints: string[] = [];

beforeAll(async () => {
  if (!existsSync(executablePath)) throw new Error(`${executablePath} is missing: apt-get install chromium`);
  const pages: Record<string, string> = { '/': htmlReport(plantedReport()), '/5000': htmlReport(plantedReport(5_000)) };
  server = createServer(({ url }, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': htmlReportSecurityPolicy }).end(pages[url!]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  browser = await chromium.launch({ executablePath, args: flags });
});

afterAll(async () => {
  await browser?.close();
  server?.closeAllConnections();
  server?.close();
});

async function open(path = '/'): Promise<Page> {
  complaints.length = 0;
  const page = await browser.newPage({ viewport: { width: 1320, height: 900 } });
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(origin + path);
  return page;
}

const texts = (page: Page): Promise<string[]> => page.locator('#rows tr.digest code').allTextContents();

test('the verdict, why, and the digests that differ stand first', async () => {
  const page = await open();
  expect(await page.locator('h1').textContent()).toMatch(/^✗ FAIL40 new errors, \d+ different results, 12 errors gone, 2 plans changed, 1 slower digest; /);
  expect(await page.title()).toBe('FAIL · traffic report');
  expect(await page.locator('.why li').first().textContent()).toContain('40 new errors in 40 commands (error 0 -> 1146): SELECT name FROM old_view');
  expect((await texts(page))[0]).toContain('FROM old_view');
  expect(await page.locator('#overview svg').getAttribute('role')).toBe('img');
  expect(complaints).toEqual([]);
  await page.close();
});

test('no statement, plan or name becomes markup, opened or not, and nothing is loaded', async () => {
  const page = await open();
  const requests: string[] = [];
  page.on('request', (request) => requests.push(request.url()));
  for (const row of await page.locator('#rows .open').all()) await row.click();
  expect(await page.locator('.detail').count()).toBe(60);
  for (const text of hostileTexts) expect(await texts(page)).toContain(text.replace(/[\u0000\u001b\u202e\ud800]/g, '\ufffd').replace('\u2028', ' '));
  expect(await page.locator('script').count()).toBe(2);
  expect(await page.locator('img, iframe, link, object, [onerror], [onmouseover], [style]').count()).toBe(0);
  expect(await page.evaluate('window.planted')).toBeUndefined();
  expect(await page.locator('.detail pre', { hasText: '</pre><script>window.planted = 8</script>' }).count()).toBe(1);
  expect([requests, complaints]).toEqual([[], []]);
  await page.close();
});

test('the policy stops what would get through all the same', async () => {
  const page = await open();
  const refused = await page.evaluate<boolean[]>(`(() => {
    const thrown = (action) => { try { action(); return false; } catch { return true; } };
    const script = document.createElement('script');
    script.append('window.planted = 10');
    document.body.append(script);
    const image = new Image();
    image.src = 'http://127.0.0.1:9/';
    document.body.append(image);
    return [thrown(() => { document.body.innerHTML = 'x'; }), thrown(() => image.setAttribute('onerror', 'window.planted = 11'))];
  })()`);
  expect(refused).toEqual([true, true]);
  expect(await page.evaluate('window.planted')).toBeUndefined();
  expect(complaints.join()).toMatch(/127\.0\.0\.1:9.*Content Security Policy/);
  await page.close();
});

test('the page says its policy of itself, for it is opened from disk too', async () => {
  const page = await browser.newPage();
  await page.setContent(htmlReport(plantedReport()));
  expect(await page.locator('#rows tr.digest').count()).toBe(60);
  const meta = await page.locator('meta[http-equiv]').getAttribute('content');
  expect(htmlReportSecurityPolicy).toBe(`${meta!}; frame-ancestors 'self'`);
  await page.close();
});

test('a digest unfolds to its statement, its distribution, its differences and its plans', async () => {
  const page = await open();
  const row = page.locator('tr.digest', { hasText: 'FROM orders o' });
  const button = row.locator('.open');
  await button.focus();
  await page.keyboard.press('Enter');
  expect(await button.getAttribute('aria-expanded')).toBe('true');
  const detail = page.locator(`#${await button.getAttribute('aria-controls')}`);
  expect(await detail.locator('.plot desc').textContent()).toMatch(/^Then: 400 commands, p50 [\d.]+ ms, p95 .*\. Now: 400 commands, /);
  expect(await detail.locator('.less').allTextContents()).toEqual(['1   ref    o       ix_status  Using index condition']);
  expect(await detail.locator('.more').allTextContents()).toEqual(['1   ALL    o                  Using where; Using filesort']);
  await page.keyboard.press('Enter');
  expect([await page.locator('.detail').count(), await button.getAttribute('aria-expanded')]).toEqual([0, 'false']);
  await page.locator('tr.digest', { hasText: 'FROM old_view' }).click();
  expect(await page.locator('.detail').textContent()).toContain('error 0 -> 1146');
  await page.close();
});

test('the table sorts both ways and back, and filters by words and by kind', async () => {
  const page = await open();
  const first = await texts(page);
  const commands = page.locator('th[data-key=commands]');
  const counts = async () => (await page.locator('tr.digest td:nth-child(3)').allTextContents()).map((text) => Number(text.replace(',', '')));
  await commands.locator('button').click();
  expect([await commands.getAttribute('aria-sort'), await counts()]).toEqual(['descending', (await counts()).toSorted((a, b) => b - a)]);
  await commands.locator('button').click();
  expect([await commands.getAttribute('aria-sort'), await counts()]).toEqual(['ascending', (await counts()).toSorted((a, b) => a - b)]);
  await commands.locator('button').click();
  expect([await commands.getAttribute('aria-sort'), await texts(page)]).toEqual([null, first]);
  await page.keyboard.press('/');
  await page.keyboard.type('FROM sbtest1 sum');
  expect([await texts(page), await page.locator('#shown').textContent()]).toEqual([['SELECT SUM(k) FROM sbtest1 WHERE id BETWEEN ? AND ?'], '1 of 60 digests']);
  await page.keyboard.type(' nowhere');
  expect(await page.locator('#none').isVisible()).toBe(true);
  await page.keyboard.press('Escape');
  await page.getByRole('radio', { name: /^Plans/ }).check();
  expect(await texts(page)).toHaveLength(2);
  await page.close();
});

test('a reason leads to its digest, whatever is filtered', async () => {
  const page = await open();
  await page.locator('#query').fill('nothing like it');
  await page.locator('.why a', { hasText: 'FROM orders o' }).first().click();
  expect(await page.locator('.detail').count()).toBe(1);
  expect(await page.evaluate('document.activeElement.closest("tr").id')).toBe(`d-${digestOf(await page.locator('tr.digest', { hasText: 'FROM orders o' }).locator('code').textContent() as string)}`);
  await page.close();
});

test('5,000 digests load, sort and filter while a person would wait', async () => {
  const page = await open('/5000');
  const took = await page.evaluate<number[]>(`(() => {
    const timed = (action) => { const from = performance.now(); action(); document.body.offsetHeight; return performance.now() - from; };
    const query = document.getElementById('query');
    const type = (text) => { query.value = text; query.dispatchEvent(new Event('input')); };
    return [performance.timing.domContentLoadedEventEnd - performance.timing.responseEnd, timed(() => document.querySelector('th[data-key=commands] button').click()), timed(() => type('table_4'))];
  })()`);
  expect(await page.locator('#shown').textContent()).toMatch(/^1,1\d\d of 5,000 digests, 200 shown$/);
  // Far from what they take, and far below what would annoy: machines differ.
  expect(took.map((ms) => ms < 10_000)).toEqual([true, true, true]);
  expect(Math.max(took[1]!, took[2]!)).toBeLessThan(1_000);
  await page.locator('#more').click();
  expect(await page.locator('tr.digest').count()).toBe(400);
  expect(complaints).toEqual([]);
  await page.close();
});

test('without scripts every digest is readable', async () => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${origin}/5000`);
  expect(await page.locator('tr.digest').last().isVisible()).toBe(true);
  expect(await page.locator('#tools').isVisible()).toBe(false);
  await context.close();
});

test('a page made of a file that was written down is the same page', () => {
  const report = plantedReport();
  expect(htmlReport(readReport(JSON.stringify(report)))).toBe(htmlReport(report));
});
