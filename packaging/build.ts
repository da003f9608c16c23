import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { rolldown } from 'rolldown';
import { BUILT_FROM, builtFolder, sourcesDigest } from '../cli/built.ts';

/**
 * `npm run build`: bundles each daemon, and each of their threads, into one file under dist/ (or the folder named), which `wardcast` starts as long as the sources stay the same.
 * All is bundled but what brings compiled code of its own and looks for it beside itself.
 */
const PROGRAMS = {
  agent: 'agent/main.ts',
  gateway: 'gateway/main.ts',
  provider: 'provider/main.ts',
  // Threads, which are looked for beside the daemon that starts them.
  'checker-thread': 'provider/record/checker-thread.ts',
  'maker-thread': 'provider/patch/maker-thread.ts',
  'expand-thread': 'agent/patch/expand-thread.ts',
};
const PROJECT = path.resolve(import.meta.dirname, '..');

const digest = sourcesDigest();
const target = path.resolve(process.argv[2] ?? builtFolder());
// Beside its place, so that nobody ever starts half a build.
const folder = await mkdtemp(`${target}-`);
for (const [name, source] of Object.entries(PROGRAMS)) {
  const bundle = await rolldown({ input: path.join(PROJECT, source), platform: 'node', external: ['classic-level'], logLevel: 'warn' });
  const file = path.join(folder, `${name}.js`);
  // Names stay: errors and logs show them.
  await bundle.write({ file, format: 'esm', codeSplitting: false, minify: { mangle: false, compress: true, codegen: true } });
  await bundle.close();
  await writeFile(file, escaped(await readFile(file, 'utf8')));
}
await writeFile(path.join(folder, BUILT_FROM), digest);
await rm(target, { recursive: true, force: true });
await rename(folder, target);

/** In ASCII alone: V8 keeps any other source in two bytes a character. (Nothing here uses String.raw, the one place where that would show.) */
function escaped(source: string): string {
  return source.replace(/[^\n\t\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
