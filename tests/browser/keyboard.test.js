// What scripts add for people at a keyboard and on a small screen: keys, the theme at once, the menu that folds.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, login, url } from './browser.js';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test('keys lead to pages, the search, the help and along the rows', async () => {
  const page = await login(browser);
  await page.goto(`${url}/`);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), 'Skip to content');
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keys' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('g');
  await page.keyboard.press('i');
  await page.waitForURL('**/images');
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.name), 'q');
  await page.locator('h1').click();
  for (const key of ['j', 'j', 'k', 'x']) await page.keyboard.press(key);
  assert.equal(await page.locator('[data-check]').first().isChecked(), true);
  assert.equal(await page.locator('[data-selected]').innerText(), '1 selected');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/images\/\d+$/);
  assert.deepEqual(page.errors, []);
  await page.context().close();
});

test('a list is searched while one types and sorted in place, and Back leads back', async () => {
  const page = await login(browser);
  await page.goto(`${url}/images`);
  await page.evaluate(() => (window.notReloaded = true));
  const rows = page.locator('tbody tr[data-row]');
  const before = await rows.count();
  await page.keyboard.press('/');
  await page.keyboard.type('deb12');
  await page.waitForURL('**/images?q=deb12');
  await page.waitForFunction((count) => document.querySelectorAll('tbody tr[data-row]').length < count, before);
  assert.equal(await page.evaluate(() => `${document.activeElement.name} ${document.activeElement.value}`), 'q deb12');
  await page.locator('thead').getByRole('link', { name: 'Name' }).click();
  await page.waitForURL('**/images?q=deb12&sort=name&dir=desc');
  await page.locator('th[aria-sort=descending]').waitFor();
  assert.equal(await page.evaluate(() => window.notReloaded), true);
  await page.goBack();
  await page.waitForURL('**/images?q=deb12');
  await page.locator('th[aria-sort=ascending]').waitFor();
  assert.deepEqual(page.errors, []);
  await page.context().close();
});

test('the theme is switched at once and stays', async () => {
  const page = await login(browser, { colorScheme: 'light' });
  const dark = () => page.evaluate(() => document.documentElement.classList.contains('pf-v6-theme-dark'));
  assert.equal(await dark(), false);
  const saved = page.waitForResponse((response) => response.url().endsWith('/theme'));
  await page.getByRole('button', { name: 'Switch between light and dark' }).click();
  assert.equal(await dark(), true);
  await saved;
  await page.reload();
  assert.equal(await dark(), true);
  await page.context().close();
});

test('the menu folds on a small screen', async () => {
  const page = await login(browser, { viewport: { width: 390, height: 844 } });
  assert.equal(await page.getByRole('navigation', { name: 'Main', exact: true }).count(), 0);
  await page.locator('header summary[aria-label=Menu]').click();
  await page.getByRole('navigation', { name: 'Main, folded' }).getByRole('link', { name: 'Pods' }).click();
  await page.waitForURL('**/pods');
  await page.locator('tbody tr[data-row]').first().waitFor();
  await page.context().close();
});
