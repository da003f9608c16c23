import { closeSync, copyFileSync, createReadStream, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { applyPatch } from '../../shared/delta/apply.ts';
import { makePatch } from '../../shared/delta/make.ts';
import { readable } from './listing.ts';

/** One patch made or applied in a process of its own, so that its time and memory are seen from outside. */
const Work = z.strictObject({ what: z.enum(['make', 'apply']), old: z.string(), new: z.string(), listings: z.string(), patch: z.string(), into: z.string() });
const Files = z.array(z.strictObject({ path: z.string(), size: z.number(), sha256: z.string() }));
const Listings = z.strictObject({ old: Files, new: Files });

const work = Work.parse(JSON.parse(process.argv[2] ?? ''));
const listings = Listings.parse(JSON.parse(readFileSync(work.listings, 'utf8')));
const old = readable(work.old, listings.old);

if (work.what === 'make') {
  const handle = openSync(work.patch, 'w');
  for await (const part of makePatch({ old, files: readable(work.new, listings.new) })) writeSync(handle, part);
  closeSync(handle);
} else {
  // Files come one after the other: one is open.
  let current = -1;
  let handle = -1;
  const follow = (index: number): void => {
    if (handle !== -1) closeSync(handle);
    const file = listings.new[index];
    handle = -1;
    current = index;
    if (file === undefined) return;
    const target = path.join(work.into, file.path);
    mkdirSync(path.dirname(target), { recursive: true });
    handle = openSync(target, 'w');
  };
  await applyPatch({
    patch: createReadStream(work.patch),
    old,
    files: listings.new,
    write: (index, bytes) => {
      while (current < index) follow(current + 1);
      writeSync(handle, bytes);
    },
  });
  while (current < listings.new.length) follow(current + 1);
  // What stands in a release twice is given once.
  for (const index of listings.new.keys()) {
    const first = listings.new.findIndex(({ sha256 }) => sha256 === listings.new[index]?.sha256);
    if (first < index) copyFileSync(path.join(work.into, listings.new[first]?.path ?? ''), path.join(work.into, listings.new[index]?.path ?? ''));
  }
}
