import { execFileSync } from 'node:child_process';
import { randomBytes, verify } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { decryptKey, encryptKey, publicOfEncrypted } from '../../../shared/trust/encrypted-key.ts';
import { checkSignedBy, delegationsIn, verifyReleaseRole } from '../../../shared/trust/inspect.ts';
import { createSigningKey, writeKeyFile, writeSigningKey } from '../../../shared/trust/keys.ts';
import { findKey, openSigner, publicOf } from '../../../shared/trust/open-signer.ts';
import { parseTokenUri } from '../../../shared/trust/pkcs11-signer.ts';
import { checkSuccession, countSignatures, draftRoot, signDraft } from '../../../shared/trust/root-draft.ts';
import { signRelease, signTargets } from '../../../shared/trust/sign.ts';
import { ensurePrograms } from '../../support/debian.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { FAR, ROOT_KEYS, testKey, Vendor } from './fixture.ts';

const coded = (code: string): unknown => expect.objectContaining({ code });
const PASSPHRASE = Buffer.from('correct horse');
/** scrypt at a cost that tests can pay. */
const CHEAP = 2 ** 10;
/** What a token signs as ed25519. */
const SHORT = Buffer.alloc(500, 'm');

describe('encrypted key files', () => {
  it('open with their passphrase alone and show the public half without one', async () => {
    const file = join(await temporaryDirectory(), 'root-1.key');
    const key = await createSigningKey();
    await writeKeyFile(file, await encryptKey(key, PASSPHRASE, CHEAP));
    const opened = await openSigner(file, () => Promise.resolve(PASSPHRASE));
    expect(opened.keyId).toBe(key.keyId);
    expect(opened.sign(Buffer.from('x'))).toEqual(key.sign(Buffer.from('x')));
    expect((await publicOf(file)).keyId).toBe(key.keyId);
    await expect(openSigner(file, () => Promise.resolve(Buffer.from('wrong horse')))).rejects.toThrow(coded('KEY_UNUSABLE'));
    await expect(openSigner(file)).rejects.toThrow(coded('KEY_UNUSABLE'));
    expect(readFileSync(file, 'utf8')).not.toContain(key.privateKey.export({ type: 'pkcs8', format: 'der' }).toString('hex').slice(-64));
  });

  it('cost what limits.ts says, and differ each time', async () => {
    const key = await createSigningKey();
    const [first, second] = await Promise.all([encryptKey(key, PASSPHRASE), encryptKey(key, PASSPHRASE)]);
    expect(first.equals(second)).toBe(false);
    expect(JSON.parse(first.toString())).toMatchObject({ kdf: { name: 'scrypt', cost: 131_072, block: 8 } });
    expect((await decryptKey('k', first, PASSPHRASE)).keyId).toBe(key.keyId);
  });

  it('are refused after any change, and with parameters that would exhaust the machine', async () => {
    const key = await createSigningKey();
    const file = await encryptKey(key, PASSPHRASE, CHEAP);
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = Buffer.from(file);
        changed[at] = (changed[at] ?? 0) ^ flip;
        const opened = await decryptKey('k', changed, PASSPHRASE).catch(() => undefined);
        // White space and the case of hexadecimal digits carry nothing.
        expect(opened === undefined || opened.keyId === key.keyId).toBe(true);
        if (opened !== undefined) expect(publicOfEncrypted('k', changed).keyId).toBe(key.keyId);
      }),
      { numRuns: 60 },
    );
    const greedy = file.toString().replace(/"cost": \d+/, '"cost": 1073741824');
    await expect(decryptKey('k', Buffer.from(greedy), PASSPHRASE)).rejects.toThrow(coded('KEY_UNUSABLE'));
  });

  it('are refused with a cost that scrypt does not take, by the same code as any other change', async () => {
    const file = await encryptKey(await createSigningKey(), PASSPHRASE, CHEAP);
    for (const cost of [2, 3, 1023, 1025]) {
      const changed = file.toString().replace(/"cost": \d+/, `"cost": ${cost}`);
      await expect(decryptKey('k', Buffer.from(changed), PASSPHRASE)).rejects.toThrow(coded('KEY_UNUSABLE'));
    }
  });

  it('are not made with a passphrase that is none', async () => {
    await expect(encryptKey(await createSigningKey(), Buffer.from('short'))).rejects.toThrow(coded('USAGE'));
  });

  it('and plain ones and tokens lie under one name each', async () => {
    const folder = await temporaryDirectory();
    expect(await findKey(folder, 'root-1')).toBe(join(folder, 'root-1.pem'));
    writeFileSync(join(folder, 'root-1.pkcs11'), '');
    expect(await findKey(folder, 'root-1')).toBe(join(folder, 'root-1.pkcs11'));
    await writeSigningKey(join(folder, 'root-1.pem'), await createSigningKey());
    expect(await findKey(folder, 'root-1')).toBe(join(folder, 'root-1.pem'));
  });
});

describe('keys in a token', () => {
  const MODULE = '/usr/lib/softhsm/libsofthsm2.so';
  beforeAll(() => ensurePrograms(['softhsm2-util', 'pkcs11-tool']), 300_000);

  async function token(): Promise<{ uri: string; pin: string; folder: string }> {
    const folder = await temporaryDirectory();
    const tokens = join(folder, 'tokens');
    mkdirSync(tokens);
    const config = join(folder, 'softhsm2.conf');
    writeFileSync(config, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
    const before = process.env['SOFTHSM2_CONF'];
    process.env['SOFTHSM2_CONF'] = config;
    onTestFinished(() => {
      if (before === undefined) delete process.env['SOFTHSM2_CONF'];
      else process.env['SOFTHSM2_CONF'] = before;
    });
    const pin = randomBytes(4).toString('hex');
    const run = (program: string, ...args: string[]): void => void execFileSync(program, args, { stdio: 'pipe' });
    run('softhsm2-util', '--init-token', '--free', '--label', 'the vendor', '--pin', pin, '--so-pin', '12345678');
    const login = ['--module', MODULE, '--token-label', 'the vendor', '--login', '--pin', pin];
    run('pkcs11-tool', ...login, '--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'root', '--id', 'a1');
    run('pkcs11-tool', ...login, '--keypairgen', '--key-type', 'EC:edwards25519', '--label', 'edwards', '--id', 'a2');
    return { uri: `pkcs11:token=the%20vendor;object=root?module-path=${MODULE}`, pin, folder };
  }

  it('sign what clients accept, by label or id, with the PIN from a person or a file', async () => {
    const { uri, pin, folder } = await token();
    const signer = await openSigner(uri, () => Promise.resolve(Buffer.from(pin)));
    const message = Buffer.alloc(5000, 'm');
    expect(verify('sha256', message, signer.publicKey, signer.sign(message))).toBe(true);
    expect((await publicOf(uri)).keyId).toBe(signer.keyId);
    const pinFile = join(folder, 'pin');
    writeFileSync(pinFile, `${pin}\n`);
    const reference = join(folder, 'root.pkcs11');
    writeFileSync(reference, `${uri.replace('object=root', 'id=%a1')}&pin-source=file:${pinFile}\n`);
    const byFile = await openSigner(reference);
    expect(byFile.keyId).toBe(signer.keyId);
    const vendor = new Vendor();
    const first = vendor.roots[0] ?? Buffer.alloc(0);
    let draft = draftRoot(first, { add: [{ role: 'root', key: signer }], thresholds: { root: 3 }, expires: FAR });
    for (const key of [...ROOT_KEYS.slice(0, 2), byFile]) draft = signDraft(draft, first, key);
    expect(checkSuccession(first, draft)).toEqual({ version: 2 });
    // A release role in the token: signed by it, checked as the provider and the next ceremony do.
    const release = { version: 1, expires: FAR, application: 'viewer', releases: [] };
    const role = signRelease({ ...release, keys: [signer] });
    checkSignedBy('release-viewer', role, signer);
    const targets = signTargets({
      version: 1,
      expires: FAR,
      keys: [testKey('targets')],
      assignment: { keys: [testKey('assignment')], threshold: 1 },
      applications: new Map([['viewer', { keys: [signer], threshold: 1 }]]),
    });
    expect(verifyReleaseRole({ root: first, targets, application: 'viewer', role, now: new Date() })).toEqual([]);
    expect(
      delegationsIn(targets)
        .applications.get('viewer')
        ?.keys.map(({ keyId }) => keyId),
    ).toEqual([signer.keyId]);
  }, 60_000);

  it('of the kind ed25519 sign short messages, and say so of long ones', async () => {
    const { uri, pin } = await token();
    const signer = await openSigner(uri.replace('object=root', 'object=edwards'), () => Promise.resolve(Buffer.from(pin)));
    expect(verify(null, SHORT, signer.publicKey, signer.sign(SHORT))).toBe(true);
    expect(() => signer.sign(Buffer.alloc(1025, 'm'))).toThrow(coded('KEY_UNUSABLE'));
  }, 60_000);

  it('are refused with a wrong PIN, an absent key, an absent module; the PIN is nowhere in what is said', async () => {
    const { uri, pin } = await token();
    const wrong = await openSigner(uri, () => Promise.resolve(Buffer.from('wrong-pin')));
    expect(() => wrong.sign(Buffer.from('x'))).toThrow(expect.objectContaining({ code: 'KEY_UNUSABLE', message: expect.not.stringContaining('wrong-pin') }));
    const giving = (): Promise<Buffer> => Promise.resolve(Buffer.from(pin));
    await expect(openSigner(uri.replace('object=root', 'object=nothing'), giving)).rejects.toThrow(coded('KEY_UNUSABLE'));
    await expect(openSigner(uri.replace(MODULE, '/nowhere.so'), giving)).rejects.toThrow(coded('KEY_UNUSABLE'));
  }, 60_000);

  it.each([
    'pkcs11:',
    'pkcs11:token=a',
    'pkcs11:token=a;object=b',
    'pkcs11:token=%zz;object=b?module-path=/m',
    'pkcs11:token=a;object=b?module-path=/m&pin-value=1',
    'pkcs11:token=a;object=b;slot-id=1?module-path=/m',
  ])('are not looked for by %s', (uri) => {
    expect(() => parseTokenUri(uri)).toThrow(coded('USAGE'));
  });
});

describe('a root on its way from signer to signer', () => {
  const first = new Vendor().roots[0] ?? Buffer.alloc(0);
  const [one = testKey('x'), two = testKey('x'), three = testKey('x')] = ROOT_KEYS;
  const fresh = testKey('root-4');

  it('counts old and new thresholds, and is ready when both are reached', () => {
    const exchanged = draftRoot(first, { add: [{ role: 'root', key: fresh }], remove: [{ keyId: three.keyId }], expires: FAR });
    expect(countSignatures(exchanged, first)).toMatchObject({ signed: [], threshold: 2, reached: false });
    const byNew = signDraft(signDraft(exchanged, first, one), first, fresh);
    expect([countSignatures(byNew, first).reached, countSignatures(byNew, byNew).reached]).toEqual([false, true]);
    expect(() => checkSuccession(first, byNew)).toThrow(coded('METADATA_UNTRUSTED'));
    const byBoth = signDraft(byNew, first, two);
    expect(countSignatures(byBoth, first)).toMatchObject({ reached: true, missing: [three.keyId] });
    expect(checkSuccession(first, byBoth)).toEqual({ version: 2 });
  });

  it('is refused by its code when it holds what canonical JSON cannot write', () => {
    const root: { signed: Record<string, unknown> } = JSON.parse(first.toString('utf8'));
    root.signed['x-share'] = 1.5;
    const bent = Buffer.from(JSON.stringify(root));
    expect(() => countSignatures(bent, first)).toThrow(coded('METADATA_INVALID'));
    expect(() => checkSuccession(first, bent)).toThrow(coded('METADATA_UNTRUSTED'));
  });

  it('takes each signer once, and none who has no say', () => {
    const draft = draftRoot(first, { expires: FAR });
    const once = signDraft(draft, first, one);
    expect(signDraft(once, first, one).equals(once)).toBe(true);
    expect(countSignatures(once, first).signed).toEqual([one.keyId]);
    expect(() => signDraft(draft, first, fresh)).toThrow(coded('CONFLICT'));
  });

  it('in any order of signers is the same, and a change after a signature undoes it', () => {
    const draft = draftRoot(first, { expires: FAR });
    const there = signDraft(signDraft(draft, first, one), first, two);
    expect(checkSuccession(first, signDraft(signDraft(draft, first, two), first, one))).toEqual({ version: 2 });
    const changed = Buffer.from(there.toString().replace('2126-01-01', '2127-01-01'));
    expect(countSignatures(changed, first)).toMatchObject({ signed: [], reached: false });
  });

  it('revokes a key wherever it is; what would leave too few keys, or is not there, is refused', () => {
    const timestamp = testKey('timestamp');
    const next = testKey('timestamp-2');
    expect(() => draftRoot(first, { remove: [{ keyId: timestamp.keyId }], expires: FAR })).toThrow(coded('CONFLICT'));
    expect(() => draftRoot(first, { remove: [{ keyId: fresh.keyId }], expires: FAR })).toThrow(coded('NOT_FOUND'));
    const draft = draftRoot(first, { add: [{ role: 'timestamp', key: next }], remove: [{ keyId: timestamp.keyId }], expires: FAR });
    expect(draft.toString()).toContain(next.keyId);
    expect(draft.toString()).not.toContain(timestamp.keyId);
  });
});
