// The core of the product works without JavaScript.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { api, images, launch, login, url } from './browser.js';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test('an image is analysed without JavaScript', { timeout: 400_000 }, async () => {
  const page = await login(browser, { javaScriptEnabled: false });
  const id = (await images()).get('samples/scratch');
  await page.goto(`${url}/images/${id}`);
  await page.locator('summary', { hasText: 'Configuration' }).first().click();
  await page.getByRole('button', { name: 'Perform SmartState Analysis' }).click();
  assert.match(await page.locator('body').innerText(), /SmartState Analysis requested/);
  await page.getByRole('link', { name: 'Follow its task' }).click();
  const task = page.url().match(/\/tasks\/(\d+)/)[1];
  const deadline = Date.now() + 300_000;
  let state = '';
  while (state !== 'Finished' && Date.now() < deadline) {
    ({ state } = await api(`/api/tasks/${task}`));
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  assert.equal(state, 'Finished');
  await page.reload();
  assert.match(await page.locator('main').innerText(), /Finished/);
  assert.match(await page.locator('main').innerText(), /No operating system found/);
});

test('lists are searched, filtered and sorted by their address alone', async () => {
  const page = await login(browser, { javaScriptEnabled: false });
  await page.goto(`${url}/images`);
  await page.getByRole('searchbox', { name: 'Search by name, tag or digest' }).fill('deb12');
  await page.getByRole('button', { name: 'Search' }).last().click();
  assert.match(page.url(), /q=deb12/);
  assert.equal(await page.locator('tr[data-row]').count(), 2);
  await page.goto(`${url}/images?sort=name&dir=desc`);
  const names = (await page.locator('tr[data-row] th a').allInnerTexts()).map((name) => name.replace(/:.*/, ''));
  assert.deepEqual(names, names.toSorted().reverse());
});
