import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createSigningKey, publicOnly, readSigningKey, tufKey, verificationKey, writeSigningKey } from '../../../shared/trust/keys.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const coded = (code: string): unknown => expect.objectContaining({ code });

describe('signing keys', () => {
  it('live in files of their own that only their owner may read', async () => {
    const directory = await temporaryDirectory();
    const file = join(directory, 'root-1.pem');
    const key = await createSigningKey();
    await writeSigningKey(file, key);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(['root-1.pem']);
    const again = await readSigningKey(file);
    expect(again.keyId).toBe(key.keyId);
    expect(verify(null, Buffer.from('x'), key.publicKey, sign(null, Buffer.from('x'), again.privateKey))).toBe(true);
  });

  it('are never overwritten', async () => {
    const file = join(await temporaryDirectory(), 'k.pem');
    await writeSigningKey(file, await createSigningKey());
    const before = await readFile(file);
    await expect(writeSigningKey(file, await createSigningKey())).rejects.toThrow(coded('CONFLICT'));
    expect(await readFile(file)).toEqual(before);
  });

  it('are refused when missing, readable by others, no key, or of another kind', async () => {
    const directory = await temporaryDirectory();
    const file = join(directory, 'k.pem');
    await expect(readSigningKey(file)).rejects.toThrow(coded('KEY_UNUSABLE'));
    await writeFile(file, 'no key', { mode: 0o600 });
    await expect(readSigningKey(file)).rejects.toThrow(coded('KEY_UNUSABLE'));
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(file, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await expect(readSigningKey(file)).rejects.toThrow(coded('KEY_UNUSABLE'));
    const good = join(directory, 'good.pem');
    await writeSigningKey(good, await createSigningKey());
    await chmod(good, 0o640);
    await expect(readSigningKey(good)).rejects.toThrow(expect.objectContaining({ code: 'KEY_UNUSABLE', remedy: expect.stringContaining('chmod 600') }));
  });

  it('are listed in metadata by their public half alone', async () => {
    const key = await createSigningKey();
    const listed = tufKey(key);
    expect(verificationKey(listed.keyVal['public'] ?? '').keyId).toBe(key.keyId);
    expect(Object.keys(publicOnly(key)).sort()).toEqual(['keyId', 'publicKey']);
    expect(() => verificationKey('zz')).toThrow(coded('METADATA_INVALID'));
  });
});
