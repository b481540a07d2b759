// Everything here makes pages that already work more pleasant: menus that close, ticked rows, keys, the theme, and live lists.
(() => {
  'use strict';
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const content = one('#content');

  // Menus: one open at a time; Escape and a click elsewhere close it.
  const closeMenus = (except) => all('details[data-menu][open]').forEach((menu) => menu !== except && !menu.contains(except) && (menu.open = false));
  document.addEventListener('click', (event) => closeMenus(event.target.closest('details[data-menu]')));
  document.addEventListener('focusin', (event) => closeMenus(event.target.closest('details[data-menu]')));

  // Ticked rows.
  const boxes = () => all('[data-check]');
  function showSelection() {
    const everything = one('[data-select-all]')?.checked ?? false;
    const ticked = boxes().filter((box) => box.checked);
    const page = one('[data-check-page]');
    if (page) {
      page.checked = ticked.length > 0 && ticked.length === boxes().length;
      page.indeterminate = ticked.length > 0 && !page.checked;
    }
    boxes().forEach((box) => box.closest('tr').classList.toggle('tw-ticked', box.checked || everything));
    const words = one('[data-selected]');
    if (words) words.textContent = everything ? 'All are selected, on other pages too' : ticked.length ? `${ticked.length} selected` : '';
    all('[data-needs-selection]').forEach((button) => {
      button.disabled = !everything && ticked.length === 0;
      button.title = button.disabled ? 'Select rows first' : '';
    });
  }
  document.addEventListener('change', (event) => {
    if (event.target.matches('[data-check-page]')) boxes().forEach((box) => (box.checked = event.target.checked));
    if (event.target.matches('[data-check-page], [data-check], [data-select-all]')) showSelection();
    if (event.target.matches('[data-submit-on-change]')) event.target.form.requestSubmit();
    if (event.target.matches('[data-file-into]')) readFileInto(event.target);
  });
  document.addEventListener('click', (event) => {
    const toast = event.target.closest('[data-close-toast]');
    if (toast) {
      event.preventDefault();
      toast.closest('li').remove();
    }
    if (event.target.closest('[data-help]')) {
      event.preventDefault();
      one('#help').showModal();
    }
  });
  function readFileInto(input) {
    const area = one(input.dataset.fileInto);
    input.files[0]?.text().then((text) => {
      area.value = text;
      input.value = ''; // what is sent is what can be read and corrected
    });
  }

  // The theme changes at once; the cookie is set by the server.
  one('[data-theme-switch]')?.closest('form').addEventListener('submit', (event) => {
    event.preventDefault();
    const root = document.documentElement;
    const dark = !root.classList.contains('pf-v6-theme-dark');
    root.classList.toggle('pf-v6-theme-dark', dark);
    root.classList.add('tw-chosen');
    const body = new URLSearchParams(new FormData(event.target));
    body.set('theme', dark ? 'dark' : 'light');
    fetch('/theme', { method: 'POST', body, redirect: 'manual' });
  });

  // Keys.
  const places = { o: '/', i: '/images', p: '/providers', t: '/tasks' };
  let going = false;
  let row = -1;
  function moveTo(step) {
    const rows = all('.tw-table tbody tr[data-row]');
    if (!rows.length) return;
    row = Math.max(0, Math.min(rows.length - 1, row + step));
    rows.forEach((each, index) => each.classList.toggle('tw-row-current', index === row));
    one('a', rows[row])?.focus();
    rows[row].scrollIntoView({ block: 'nearest' });
  }
  const keys = {
    '/': () => (one('[data-search]') ?? one('[data-global-search]'))?.focus(),
    '?': () => one('#help')?.showModal(),
    j: () => moveTo(1),
    k: () => moveTo(-1),
    x: () => document.activeElement?.closest('tr')?.querySelector('[data-check]')?.click(),
    g: () => {
      going = true;
      setTimeout(() => (going = false), 1500);
    },
  };
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') return closeMenus(null);
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, select, dialog[open]')) return;
    if (going && places[event.key]) {
      location.href = places[event.key];
    } else if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });

  // Live: the server hints which tables changed; the page asks for its own content again and changes only what differs, so that scroll,
  // focus, ticked rows and open menus stay. A hidden page does neither: browsers allow few connections to one server.
  const shown = () => document.visibilityState === 'visible';
  let asking = false;
  let again = false;
  let changes = 0; // how often another address was shown
  async function ask() {
    if (!shown()) return;
    if (asking) return void (again = true);
    asking = true;
    const asked = [changes, location.href].join();
    try {
      const answer = await fetch(location.href, { headers: { 'HX-Request': 'true', 'X-Tidewaiter-Background': '1' }, credentials: 'same-origin' });
      const text = answer.ok ? await answer.text() : '';
      if (asked !== [changes, location.href].join()) return; // search, sort or page changed meanwhile: this is another list
      if (answer.redirected || answer.status === 401) return location.reload();
      content.toggleAttribute('data-stale', !answer.ok);
      if (!answer.ok) return;
      swap(text);
      htmx.process(content); // it keeps the addresses that links had when it first saw them
      listen();
    } catch {
      content.toggleAttribute('data-stale', true);
    } finally {
      asking = false;
      if (again) {
        again = false;
        setTimeout(ask, 500);
      }
    }
  }
  /** `fresh`: HTML or nodes. */
  function swap(fresh) {
    const ticked = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
    const everything = one('[data-select-all]')?.checked ?? false;
    Idiomorph.morph(content, fresh, {
      morphStyle: 'innerHTML',
      ignoreActiveValue: true,
      callbacks: {
        beforeNodeMorphed: (old) => !old.matches?.('input:focus, textarea:focus, select:focus'),
        beforeAttributeUpdated: (name) => name !== 'open',
      },
    });
    boxes().forEach((box) => (box.checked = ticked.has(box.value)));
    const box = one('[data-select-all]');
    if (box) box.checked = everything;
    showSelection();
  }
  // Search, sort and pages of a list change the content in the same way. "All that match" means what matched before, so it does not stay.
  htmx.defineExtension('tidewaiter-morph', {
    isInlineSwap: (style) => style === 'tidewaiter-morph',
    handleSwap(style, target, fragment) {
      changes += 1;
      closeMenus(null);
      all('[data-select-all]').forEach((box) => (box.checked = false));
      swap([...fragment.childNodes]);
      content.removeAttribute('data-stale');
      row = -1;
      return [target];
    },
  });
  const tables = (content?.dataset.live ?? '').split(' ').filter(Boolean);
  let events = null;
  let fresh = shown(); // nothing can have changed yet
  function listen() {
    if (!tables.length || (events && events.readyState !== EventSource.CLOSED)) return;
    events = new EventSource('/events');
    events.addEventListener('changed', (event) => event.data.split(' ').some((table) => tables.includes(table)) && ask());
    events.addEventListener('error', ask);
    events.addEventListener('open', () => {
      if (!fresh) ask(); // hints may have been missed while away
      fresh = false;
    });
  }
  function attend() {
    if (shown()) return listen();
    fresh = false;
    events?.close();
  }
  if (tables.length) {
    attend();
    document.addEventListener('visibilitychange', attend);
    addEventListener('pagehide', () => events?.close());
    addEventListener('pageshow', (event) => event.persisted && location.reload());
    setInterval(ask, 30000); // the relative times
  }
  document.addEventListener('htmx:configRequest', (event) => {
    event.detail.headers['X-CSRF-Token'] = one('meta[name=csrf-token]').content;
  });
  all('form[data-once]').forEach((form) => form.addEventListener('submit', () => all('button', form).forEach((button) => button.setAttribute('aria-busy', 'true'))));
  document.documentElement.classList.add('tw-scripted');
  showSelection();
})();
