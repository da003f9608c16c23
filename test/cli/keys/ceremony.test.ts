import { spawnSync } from 'node:child_process';
import { openSync, writeFileSync } from 'node:fs';
import { cp, mkdir, rename } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const WARDCAST = resolve(import.meta.dirname, '../../../cli/wardcast.mjs');

interface Answer {
  readonly status: number | null;
  readonly json: Record<string, unknown>;
  readonly said: string;
}

/** The real command without a network or a terminal. */
function wardcast(cwd: string, args: readonly string[], descriptor?: number): Answer {
  const stdio = ['ignore', 'pipe', 'pipe', ...(descriptor === undefined ? [] : [descriptor])] satisfies ('ignore' | 'pipe' | number)[];
  const done = spawnSync(process.execPath, [WARDCAST, ...args, '--json'], { cwd, encoding: 'utf8', stdio });
  return { status: done.status, json: JSON.parse(done.stdout === '' ? '{}' : done.stdout), said: `${done.stdout}${done.stderr}` };
}

describe('wardcast keys', () => {
  it('passes a root from machine to machine until enough have signed: a key replaced, a key revoked, nothing skipped', async () => {
    const base = await temporaryDirectory();
    const [ops, alice, bob] = ['ops', 'alice', 'bob'].map((name) => join(base, name));
    if (ops === undefined || alice === undefined || bob === undefined) throw new Error('folders');
    for (const folder of [ops, alice, bob]) await mkdir(folder);
    expect(wardcast(ops, ['keys', 'create', 'viewer']).status).toBe(0);
    // Root keys leave for their owners' machines; alice has one new, under a passphrase.
    await rename(join(ops, 'keys/keys/offline/root-1.pem'), join(alice, 'root-1.pem'));
    await rename(join(ops, 'keys/keys/offline/root-2.pem'), join(bob, 'root-2.pem'));
    writeFileSync(join(alice, 'phrase'), 'a long passphrase\n', { mode: 0o600 });
    const made = wardcast(alice, ['keys', 'new', 'root-4', '--passphrase-file', 'phrase']);
    expect(made).toMatchObject({ status: 0, json: { file: 'root-4.key' } });
    const old = wardcast(alice, ['keys', 'show', 'root-1.pem', 'root-4.key', 'root-4.pub']);
    const shown = JSON.parse(JSON.stringify(old.json)).map((one: { keyId: string }) => one.keyId);
    expect(shown[1]).toBe(shown[2]);
    await cp(join(alice, 'root-4.pub'), join(ops, 'root-4.pub'));
    const first = 'keys/metadata/1.root.json';
    expect(wardcast(ops, ['keys', 'revoke', first, shown[0], '--add', 'root=root-4.pub', '--out', 'draft.json'])).toMatchObject({
      status: 0,
      json: { version: 2, reached: false },
    });
    expect(wardcast(ops, ['keys', 'threshold', 'draft.json', '--previous', first]).status).toBe(5);
    expect(wardcast(ops, ['keys', 'finish', 'draft.json', '--previous', first])).toMatchObject({ status: 3, json: { error: { code: 'METADATA_UNTRUSTED' } } });
    const sign = async (folder: string, key: string, more: readonly string[] = [], descriptor?: number): Promise<Answer> => {
      await cp(join(ops, 'draft.json'), join(folder, 'draft.json'));
      await cp(join(ops, first), join(folder, '1.root.json'));
      const answer = wardcast(folder, ['keys', 'sign-root', 'draft.json', '--previous', '1.root.json', '--key', key, ...more], descriptor);
      await cp(join(folder, 'draft.json'), join(ops, 'draft.json'));
      return answer;
    };
    expect(await sign(bob, 'root-2.pem')).toMatchObject({ status: 0, json: { reached: false } });
    const wrong = join(alice, 'wrong');
    writeFileSync(wrong, 'another passphrase');
    const refused = await sign(alice, 'root-4.key', ['--passphrase-file', 'wrong']);
    expect(refused).toMatchObject({ status: 1, json: { error: { code: 'KEY_UNUSABLE' } } });
    expect(refused.said).not.toContain('another passphrase');
    // Through an open descriptor: the number 3 in the child.
    expect(await sign(alice, 'root-4.key', ['--passphrase-fd', '3'], openSync(join(alice, 'phrase'), 'r'))).toMatchObject({
      status: 0,
      json: { reached: false, own: { reached: true }, previous: { reached: false } },
    });
    expect(await sign(alice, 'root-1.pem')).toMatchObject({ status: 0, json: { reached: true } });
    expect(wardcast(ops, ['keys', 'threshold', 'draft.json', '--previous', first]).status).toBe(0);
    expect(wardcast(ops, ['keys', 'finish', 'draft.json', '--previous', first])).toMatchObject({ status: 0, json: { version: 2 } });
    const after = wardcast(ops, ['keys', 'status', 'keys/metadata/2.root.json', '--previous', first]);
    expect(after).toMatchObject({ status: 0, json: { version: 2, reached: true } });
    expect(after.said).not.toContain(`"${shown[0]}"],"role":"root"`);
  }, 120_000);

  it('puts offline keys under a passphrase, with which releases are then signed', async () => {
    const cwd = await temporaryDirectory();
    writeFileSync(join(cwd, 'phrase'), 'a long passphrase');
    expect(wardcast(cwd, ['keys', 'create', 'viewer', '--encrypt', '--passphrase-file', 'phrase']).status).toBe(0);
    await mkdir(join(cwd, 'app'));
    writeFileSync(join(cwd, 'app', 'file'), 'content');
    const sign = ['release', 'sign', 'app', 'viewer@1.0.0', '--keys', 'keys'];
    expect(wardcast(cwd, sign)).toMatchObject({ status: 2, json: { error: { code: 'USAGE' } } });
    expect(wardcast(cwd, [...sign, '--passphrase-file', 'phrase']).status).toBe(0);
    expect(wardcast(cwd, ['keys', 'delegate', 'editor', '--passphrase-file', 'phrase']).status).toBe(0);
  }, 120_000);

  it('takes no passphrase from the command line, and says what is wrong with a role', async () => {
    const cwd = await temporaryDirectory();
    expect(wardcast(cwd, ['keys', 'new', 'k', '--passphrase', 'secret!!'])).toMatchObject({ status: 2 });
    expect(wardcast(cwd, ['keys', 'new', 'k'])).toMatchObject({ status: 2, json: { error: { code: 'USAGE' } } });
    expect(wardcast(cwd, ['keys', 'create']).status).toBe(0);
    expect(wardcast(cwd, ['keys', 'rotate', 'keys/metadata/1.root.json', '--add', 'mirrors=k', '--out', 'd'])).toMatchObject({ status: 2 });
    expect(wardcast(cwd, ['keys', 'rotate', 'keys/metadata/1.root.json', '--threshold', 'root=9', '--out', 'd'])).toMatchObject({
      json: { error: { code: 'CONFLICT' } },
    });
  }, 120_000);
});
