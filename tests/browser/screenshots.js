// Pictures for the README, from a demo whose images were analysed.
import { images, launch, login, url } from './browser.js';

const browser = await launch();
const page = await login(browser);
const id = (await images()).get('samples/deb12-bad');
for (const [name, address] of [['image', `/images/${id}`], ['images', '/images?sort=failed&dir=desc'], ['results', `/images/${id}/openscap?result=fail`], ['tasks', '/tasks?tab=all']]) {
  await page.goto(url + address);
  await page.screenshot({ path: `../../docs/images/${name}.png` });
}
await browser.close();
