// A browser that is logged in to the running demo (TIDEWAITER_URL, TIDEWAITER_USER, TIDEWAITER_PASSWORD; see `make -s demo-env`).
import { chromium } from 'playwright-core';

const setting = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run \`make test\`, or \`eval "$(make -s demo-env)"\` beside a running demo`);
  return value;
};

export const url = setting('TIDEWAITER_URL');
const user = setting('TIDEWAITER_USER');
const password = setting('TIDEWAITER_PASSWORD');

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });

/** A logged-in page in a context of its own; console errors are collected in `page.errors`. */
export async function login(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.errors = [];
  page.on('console', (message) => message.type() === 'error' && page.errors.push(`${page.url()}: ${message.text()}`));
  page.on('pageerror', (error) => page.errors.push(`${page.url()}: ${error.message}`));
  await page.goto(`${url}/login`);
  await page.fill('input[name=userid]', user);
  await page.fill('input[name=password]', password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.waitForURL((address) => !address.pathname.startsWith('/login'));
  return page;
}

/** JSON of an API call. */
export async function api(path, body) {
  const response = await fetch(url + path, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** Ids of images by name, e.g. `samples/deb12-bad`. */
export async function images() {
  const { resources } = await api('/api/container_images?expand=resources');
  return new Map(resources.map((image) => [image.name, image.id]));
}
