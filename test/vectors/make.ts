// Writes the golden files anew: `node test/vectors/make.ts`. Only when the format is meant to change, for deployed sites read the old one.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { example } from '../shared/delta/trees.ts';
import { makeVectors } from '../shared/trust/vectors.ts';

for (const [name, bytes] of makeVectors()) {
  const file = join(import.meta.dirname, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
}

writeFileSync(join(import.meta.dirname, 'patch.hex'), `${(await example()).patch.toString('hex').replaceAll(/(.{128})/g, '$1\n')}\n`);
