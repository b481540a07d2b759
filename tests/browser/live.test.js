// Pages that keep themselves up to date: what they ask, when they do not, and what an answer must not do.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, login, url } from './browser.js';

let browser;
let page;
before(async () => {
  browser = await launch();
  page = await login(browser);
});
after(() => browser?.close());

const stream = (request) => request.url().endsWith('/events');
const refresh = (request) => 'x-tidewaiter-background' in request.headers();

/** What a browser does when the tab goes to the back or comes to the front; a headless one shows every tab. */
const become = (state) =>
  page.evaluate((state) => {
    Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, state);

async function open(address) {
  const opened = page.waitForRequest(stream);
  await page.goto(url + address);
  await opened;
}

/** Leaves the tab and comes back, upon which the page asks again. */
async function look() {
  await become('hidden');
  const asked = page.waitForRequest(refresh);
  await become('visible');
  return asked;
}

/** Answers refreshes with `answer(route)` while `during` runs. */
async function answering(answer, during) {
  const handler = (route) => (refresh(route.request()) ? answer(route) : route.fallback());
  await page.route('**/*', handler);
  try {
    await during();
  } finally {
    await page.unroute('**/*', handler);
  }
}

test('a hidden tab holds no connection and asks when it is seen again', async () => {
  await open('/tasks?tab=all');
  const closed = page.waitForEvent('requestfailed', stream);
  await become('hidden');
  await closed;
  const again = page.waitForRequest(stream);
  const asked = page.waitForRequest(refresh);
  await become('visible');
  await again;
  assert.match((await asked).url(), /\/tasks\?tab=all$/);
});

test('an answer that is no list says that what is shown may be old, and a good one takes it back', async () => {
  await open('/images');
  const rows = await page.locator('tr[data-row]').count();
  await answering(
    (route) => route.fulfill({ status: 500, body: 'broken' }),
    async () => {
      await look();
      await page.locator('#content[data-stale]').waitFor();
      assert.equal(await page.locator('tr[data-row]').count(), rows);
    },
  );
  await look();
  await page.locator('#content:not([data-stale])').waitFor();
});

test('an answer for another address is dropped', async () => {
  await open('/images');
  const all = await page.locator('tr[data-row]').count();
  let late;
  await answering(
    (route) => void (late ??= route),
    async () => {
      await look();
      await page.getByRole('searchbox', { name: 'Search by name, tag or digest' }).fill('deb12');
      await page.waitForURL('**/images?q=deb12');
      await page.waitForFunction((count) => document.querySelectorAll('tr[data-row]').length < count, all);
      const few = await page.locator('tr[data-row]').count();
      const done = page.waitForEvent('requestfinished', refresh);
      await late.continue();
      await done;
      await page.evaluate(() => new Promise(requestAnimationFrame));
      assert.equal(await page.locator('tr[data-row]').count(), few);
      assert.match(await page.locator('#select [name=query]').getAttribute('value'), /deb12/);
    },
  );
});

test('"select all that match" does not stay when something else matches', async () => {
  await open('/images?q=deb12');
  await page.getByLabel(/Select all .* that match/).check();
  await page.getByRole('link', { name: /Remove filter/ }).first().click();
  await page.waitForURL((address) => !address.search.includes('deb12'));
  await page.waitForFunction(() => !document.querySelector('.tw-chips'));
  assert.equal(await page.getByLabel(/Select all .* that match/).isChecked(), false);
  assert.equal(await page.getByRole('button', { name: 'Perform SmartState Analysis', includeHidden: true }).first().isDisabled(), true);
});

test('after a refresh links lead where they say, and an open menu is up to date and stays open', async () => {
  await open('/images');
  const menu = page.locator('.tw-pagination details');
  await menu.locator('summary').click();
  await answering(
    async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: (await answer.text()).replaceAll('per=100', 'per=100&fresh=1').replaceAll('sort=tag', 'sort=tag&fresh=1') });
    },
    async () => {
      await look();
      await menu.locator('a[href*="fresh=1"]').waitFor();
    },
  );
  await menu.getByText('100 a page').click();
  await page.waitForURL(/per=100&fresh=1/);
  await page.locator('.tw-pagination details:not([open]) summary', { hasText: '100 a page' }).waitFor();
});

test('what a file held can be corrected before it is sent', async () => {
  await page.goto(`${url}/providers/new`);
  await page.locator('#file').setInputFiles({ name: 'config', mimeType: 'text/plain', buffer: Buffer.from('server: https://wrong') }, { force: true });
  await page.waitForFunction(() => document.querySelector('#kubeconfig').value === 'server: https://wrong');
  assert.equal(await page.locator('#file').evaluate((input) => input.files.length), 0);
});

test('no page complained in the console', () => assert.deepEqual(page.errors.filter((error) => !/status of 500/.test(error)), []));
