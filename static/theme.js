// Runs before the first paint: without a choice of the user's (the cookie, which the server renders), the theme is the system's.
(() => {
  const root = document.documentElement;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const follow = () => {
    if (!root.classList.contains('tw-chosen')) root.classList.toggle('pf-v6-theme-dark', dark.matches);
  };
  follow();
  dark.addEventListener('change', follow);
})();
