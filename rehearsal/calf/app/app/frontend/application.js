// SPDX-License-Identifier: GPL-3.0-or-later
const version = document.querySelector('meta[name="version"]')?.content;

document.addEventListener('DOMContentLoaded', () => {
  document.body.dataset.version = version ?? '';
  navigator.serviceWorker?.register('/sw.js');
});
