// axe on every page, in light and dark, wide and narrow: nothing serious or critical; no page scrolls sideways.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { AxeBuilder } from '@axe-core/playwright';
import { api, images, launch, login, url } from './browser.js';

let browser;
let addresses;
before(async () => {
  browser = await launch();
  const image = (await images()).get('samples/deb12-bad');
  const { resources } = await api('/api/tasks?expand=resources&limit=1&sort_by=id&sort_order=desc');
  addresses = ['/', '/containers', '/providers', '/providers/new', '/providers/1', '/projects', '/projects/1', '/pods', '/pods/1', '/containers/all', '/nodes', '/nodes/1',
    '/registries', '/registries/1', '/images', `/images/${image}`, `/images/${image}/openscap`, `/images/${image}/openscap/report/benchmark`, `/images/${image}/packages`,
    `/images/${image}/scans`, '/tasks?tab=all', '/tasks?tab=my', `/tasks/${resources[0].id}`, '/configuration/server', '/settings', '/nowhere'];
});
after(() => browser?.close());

for (const [width, height] of [[1440, 900], [390, 844]]) {
  for (const colorScheme of ['light', 'dark']) {
    test(`every page is accessible at ${width} px in ${colorScheme}`, { timeout: 600_000 }, async () => {
      const page = await login(browser, { viewport: { width, height }, colorScheme });
      const findings = [];
      for (const address of addresses) {
        await page.goto(url + address);
        // What oscap writes into its report is not ours.
        const axe = new AxeBuilder({ page }).exclude('iframe');
        if (colorScheme === 'dark') axe.withRules(['color-contrast']); // the rest does not depend on the theme
        const { violations } = await axe.analyze();
        for (const found of violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')) {
          findings.push(`${address}: ${found.id}: ${found.nodes.map(({ html }) => html.slice(0, 160)).slice(0, 3).join(' | ')}`);
        }
        const excess = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        if (excess > 0) findings.push(`${address}: ${excess} px wider than the window`);
      }
      await page.context().close();
      assert.deepEqual(findings, []);
    });
  }
}

test('the login page is accessible', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${url}/login`);
  const { violations } = await new AxeBuilder({ page }).analyze();
  assert.deepEqual(violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id }) => id), []);
});
