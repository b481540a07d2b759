// The first tutorial, clicked through: select all images, analyse them, follow the tasks, read what is true of each image.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { api, images, launch, login, url } from './browser.js';

let browser;
let page;
before(async () => {
  browser = await launch();
  page = await login(browser);
});
after(() => browser?.close());

const text = async (address) => {
  await page.goto(url + address);
  return page.locator('main').innerText();
};

test('the provider is connected', async () => {
  const shown = await text('/providers');
  assert.match(shown, /lab/);
  assert.match(shown, /Connected/);
});

test('every image that runs is listed once', async () => {
  await page.goto(`${url}/images?per=100`);
  const rows = await page.locator('tr[data-row]').count();
  const { count } = await api('/api/container_images');
  assert.equal(rows, count);
  const names = await page.locator('tr[data-row] th a').allInnerTexts();
  assert.equal(new Set(names).size, names.length, 'an image is listed twice');
  for (const name of ['alpine', 'bad-status', 'deb12-bad', 'deb12-tiny', 'debian-main', 'distroless', 'empty', 'ml', 'rpm-sqlite', 'scratch', 'evil-fifo', 'vault']) {
    assert.ok(names.some((shown) => shown.startsWith(`samples/${name}`)), `${name} is not listed`);
  }
});

test('all images are analysed, and the task list shows it live', { timeout: 1_300_000 }, async () => {
  await page.goto(`${url}/images`);
  await page.getByLabel(/Select all .* that match/).check();
  await page.locator('summary', { hasText: 'Configuration' }).first().click();
  await page.getByRole('button', { name: 'Perform SmartState Analysis' }).click();
  await page.waitForURL(/\/tasks/);
  assert.match(await page.locator('body').innerText(), /SmartState Analysis of \d+ images requested/);
  const whole = page.locator('tr[data-row]', { hasText: /\d+ images/ }).first();
  await whole.getByText(/Active|Waiting|Queued/).first().waitFor({ timeout: 60_000 });
  // No reload: the page keeps itself up to date.
  await whole.getByText(/Finished/).first().waitFor({ timeout: 1_200_000 });
  const { resources } = await api("/api/tasks?expand=resources&filter[]=kind='image_scan'&filter[]=state!='Finished'");
  assert.deepEqual(resources, []);
});

test('deb12-bad fails the high rules that it breaks, deb12-tiny none of them', async () => {
  const known = await images();
  const shown = async (name) => text(`/images/${known.get(name)}/openscap?result=fail&severity=high&layer=benchmark&per=100`);
  const bad = await shown('samples/deb12-bad');
  const tiny = await shown('samples/deb12-tiny');
  for (const rule of [/empty password|without a password|password is empty/i, /u(ser )?id 0/i, /passwd.*(world|everyone|writable|mode)|(world|everyone).*passwd/i, /shadow/i]) {
    assert.match(bad, rule);
    assert.doesNotMatch(tiny, rule);
  }
});

test('packages are listed as they are inside the image', async () => {
  const known = await images();
  assert.match(await text(`/images/${known.get('samples/alpine')}/packages`), /apk/);
  assert.match(await text(`/images/${known.get('samples/distroless')}/packages`), /deb/);
  await page.goto(`${url}/images/${known.get('samples/rpm-sqlite')}/packages`);
  assert.equal(await page.locator('tr[data-row]').count(), 4);
});

test('what could not be checked is said', async () => {
  const known = await images();
  for (const name of ['scratch', 'empty']) assert.match(await text(`/images/${known.get(`samples/${name}`)}`), /No operating system found/);
  assert.match(await text(`/images/${known.get('samples/bad-status')}`), /package database of this image cannot be read/);
});

test('a Debian installed from main alone fails on CVEs that the upgraded one passes', async () => {
  const known = await images();
  const failed = async (name) => {
    const image = await api(`/api/container_images/${known.get(name)}?attributes=openscap_rule_results`);
    assert.ok(image.openscap_rule_results.every((rule) => rule.layer !== 'vulnerabilities' || rule.result !== 'pass'), 'those that passed are counted alone');
    return image.openscap_rule_results.filter((rule) => rule.layer === 'vulnerabilities' && rule.result === 'fail').map((rule) => rule.cves);
  };
  const madeUp = /^CVE-2030-/; // named by source package; no version mends them
  const [before, after] = [await failed('samples/debian-main'), await failed('samples/debian-upgraded')];
  assert.ok(before.some((cves) => /CVE-\d+-\d+/.test(cves) && !madeUp.test(cves)));
  assert.deepEqual(after.filter((cves) => !madeUp.test(cves)), []);
  for (const failures of [before, after]) assert.equal(failures.filter((cves) => madeUp.test(cves)).length, 5);
  const page = await text(`/images/${known.get('samples/debian-main')}/openscap?layer=vulnerabilities&result=fail`);
  assert.match(page, /CVE-\d+-\d+/);
  assert.match(page, /of 40,000 definitions evaluated, .* the others concern packages that are not installed/);
});

test('hostile images end with a clear result', async () => {
  const { resources } = await api("/api/container_images?expand=resources&attributes=last_scan_result&filter[]=name='samples/evil*'");
  assert.ok(resources.length >= 6);
  for (const image of resources) {
    assert.ok(image.last_scan_result, `${image.name} has no result`);
    assert.notEqual(image.last_scan_result.scan_message, '', image.name);
  }
});

test('the standard HTML report stands in a sandboxed frame, and report and ARF can be downloaded', async () => {
  const id = (await images()).get('samples/deb12-bad');
  await page.goto(`${url}/images/${id}/openscap/report/benchmark`);
  const frame = page.frameLocator('iframe[sandbox]');
  await frame.getByText('Rule Overview').first().waitFor({ timeout: 60_000 });
  const download = async (name) => {
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name }).click()]);
    return file.suggestedFilename();
  };
  assert.match(await download('Download HTML'), /\.html$/);
  assert.match(await download('Download ARF'), /\.arf\.xml$/);
});

test('lists and summaries are linked both ways', async () => {
  const id = (await images()).get('samples/alpine');
  await page.goto(`${url}/images/${id}`);
  for (const term of ['Pods', 'Containers', 'Projects', 'Nodes', 'Image Registry', 'Provider']) {
    await page.goto(`${url}/images/${id}`);
    await page.locator('dl div', { has: page.locator('dt', { hasText: new RegExp(`^\\s*${term}\\s*$`) }) }).locator('a').first().click();
    await page.waitForLoadState();
    assert.equal((await page.locator('h1').count()) > 0, true, term);
    assert.doesNotMatch(await page.locator('h1').first().innerText(), /Not found|broke/, term);
  }
});

test('no page complained in the console', () => assert.deepEqual(page.errors, []));
