import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { createKeyPair, type KeyPair } from '../../certs/build.ts';
import { loadCredentials } from '../../certs/credentials.ts';
import { systemClock } from '../../shared/base/clock.ts';
import type { ErrorCode } from '../../shared/base/errors.ts';
import { badPapers, DEVICE, GATEWAY, OPS, type Papers, PROVIDER, Workshop, writePapers } from '../support/bad-certificates.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

let workshop: Workshop;
let foreign: Workshop;
let spare: KeyPair;
beforeAll(async () => {
  [workshop, foreign, spare] = await Promise.all([Workshop.open(), Workshop.open(), createKeyPair()]);
});

async function folderOf(papers: Papers): Promise<string> {
  return writePapers(join(await temporaryDirectory(), 'credentials'), papers);
}

test('a folder of every role loads with its identity, trust domain and expiry', async () => {
  for (const identity of [DEVICE, GATEWAY, PROVIDER, OPS]) {
    const credentials = await loadCredentials(await folderOf(workshop.leaf(identity)), systemClock);
    expect(credentials).toEqual(expect.objectContaining({ identity, trustDomain: 'example.com', rootPem: workshop.root.pem }));
    expect(credentials.expires.getTime()).toBeGreaterThan(workshop.now);
    expect(credentials.key.type).toBe('private');
  }
});

test.each<[string, ErrorCode]>([
  ['expired', 'CERT_EXPIRED'],
  ['not yet valid', 'CERT_NOT_YET_VALID'],
  ['foreign CA', 'CERT_FOREIGN_CA'],
  ['URI and issuer disagree', 'CERT_ISSUER_MISMATCH'],
  ['a leaf used as CA', 'CERT_LEAF_AS_CA'],
  ['server-only EKU', 'CERT_WRONG_USAGE'],
  ['key and certificate mismatch', 'CERT_KEY_MISMATCH'],
  ['wrong trust root', 'CERT_FOREIGN_CA'],
])('a folder that is no use (%s) is refused before any peer refuses it: %s', async (name, code) => {
  const papers = badPapers(workshop, foreign, spare)[name];
  if (papers === undefined) throw new Error(name);
  await expect(loadCredentials(await folderOf(papers), systemClock)).rejects.toEqual(expect.objectContaining({ code, remedy: expect.any(String) }));
});

test('a missing, malformed or too large file is refused by name', async () => {
  for (const [file, code] of [
    ['key.pem', 'KEY_UNUSABLE'],
    ['chain.pem', 'CERT_INVALID'],
    ['root.pem', 'CERT_INVALID'],
  ] as const) {
    const folder = await folderOf(workshop.leaf(DEVICE));
    for (const text of ['nonsense', 'x'.repeat(100_000), undefined]) {
      if (text === undefined) await rm(join(folder, file));
      else await writeFile(join(folder, file), text);
      await expect(loadCredentials(folder, systemClock)).rejects.toEqual(expect.objectContaining({ code, remedy: expect.any(String) }));
    }
  }
});

test('a key that others may read is refused', async () => {
  const folder = await folderOf(workshop.leaf(DEVICE));
  await chmod(join(folder, 'key.pem'), 0o640);
  await expect(loadCredentials(folder, systemClock)).rejects.toEqual(
    expect.objectContaining({ code: 'KEY_UNUSABLE', message: expect.stringContaining('640') }),
  );
});

test('no refusal quotes the key', async () => {
  const papers = { ...workshop.leaf(DEVICE), keyPem: workshop.leafKey.keyPem.replace('A', '!') };
  const error: unknown = await loadCredentials(await folderOf(papers), systemClock).catch((reason: unknown) => reason);
  expect(error).toEqual(expect.objectContaining({ code: 'KEY_UNUSABLE' }));
  expect(error).not.toHaveProperty('cause');
});
