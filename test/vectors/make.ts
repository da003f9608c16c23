// Writes the golden files anew: `node test/vectors/make.ts`. Only when the format is meant to change, for deployed sites read the old one.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeVectors } from '../shared/trust/vectors.ts';

for (const [name, bytes] of makeVectors()) {
  const file = join(import.meta.dirname, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
}
