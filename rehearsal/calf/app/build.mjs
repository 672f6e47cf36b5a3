// SPDX-License-Identifier: GPL-3.0-or-later
// Minifies app/frontend into public/packs under hashed names, with a manifest that the pages read.

import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { extname, basename, join } from 'node:path';

import { minify } from 'terser';

const root = fileURLToPath(new URL('.', import.meta.url));
const source = join(root, 'app', 'frontend');
const target = join(root, 'public', 'packs');

const compiled = async (name) => {
  const text = await readFile(join(source, name), 'utf8');
  return extname(name) === '.js' ? (await minify(text, { module: true })).code : text;
};

await rm(target, { recursive: true, force: true });
await mkdir(join(target, 'assets'), { recursive: true });
await mkdir(join(target, '.vite'));

const manifest = {};
for (const name of (await readdir(source)).filter((entry) => /\.(js|css|svg)$/.test(entry)).sort()) {
  const code = await compiled(name);
  if (name === 'sw.js') {
    // A service worker keeps its name: browsers come back for it.
    await writeFile(join(target, name), code);
    continue;
  }
  const hash = createHash('sha256').update(code).digest('base64url').slice(0, 8);
  const file = `assets/${basename(name, extname(name))}-${hash}${extname(name)}`;
  await writeFile(join(target, file), code);
  manifest[name] = { file, src: name, isEntry: true };
}
await writeFile(join(target, '.vite', 'manifest.json'), JSON.stringify(manifest, null, 2));
console.log(`${Object.keys(manifest).length + 1} files in public/packs`);
