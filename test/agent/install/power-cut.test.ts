import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DirectoryHandler } from '../../../agent/handlers/directory.ts';
import { realDisk } from '../../../agent/handlers/disk.ts';
import type { JournalEntry } from '../../../agent/install/entry.ts';
import { Installer } from '../../../agent/install/installer.ts';
import { Journal, type JournalTables, type Verdict } from '../../../agent/install/journal.ts';
import type { Reporter } from '../../../agent/install/reporter.ts';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { MAX_FAILED_STARTS } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import type { Confirmation } from '../../../shared/wire/messages.ts';
import { fetcherOf } from '../../contract/install-handler.contract.ts';
import { bytesOf } from '../../support/files.ts';
import { type MadeRelease, madeRelease } from '../../support/made-release.ts';
import { Fuse, fusedDisk, fusedRows, MemoryRows, PowerCut } from '../../support/power-cut.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { readTree } from '../../support/tree.ts';

const steady = bytesOf('steady', 40_000);
const one = madeRelease({ version: '1.0.0', files: { VERSION: '1', 'lib/steady': steady, 'lib/a': 'one' } });
const two = madeRelease({ version: '2.0.0', files: { VERSION: '2', 'lib/steady': steady, 'lib/b': 'two', 'lib/c/d': 'two' }, links: { to: 'lib/c' } });
const ill = madeRelease({
  version: '2.0.0',
  files: { VERSION: 'ill', 'lib/steady': steady, 'check.sh': '#!/bin/sh\nexit 1\n' },
  hooks: { check: { path: 'check.sh' } },
});

/** What survives a power cut: the disk, the journal, the outbox and the counter. */
class Device {
  readonly install: string;
  readonly entries = new Map<string, JournalEntry>();
  readonly manifests = new Map<string, string>();
  readonly verdicts = new Map<string, Verdict>();
  readonly outbox = new Map<number, Confirmation>();
  counter = 0;

  constructor(install: string) {
    this.install = install;
  }

  /** One life of the agent's process. */
  boot(fuse = new Fuse()): { installer: Installer; handler: DirectoryHandler; journal: Journal } {
    const tables: JournalTables = {
      entries: fusedRows(new MemoryRows(this.entries), fuse),
      manifests: fusedRows(new MemoryRows(this.manifests), fuse),
      verdicts: fusedRows(new MemoryRows(this.verdicts), fuse),
    };
    const handler = new DirectoryHandler({ install: this.install, log: silentLog, disk: fusedDisk(realDisk, fuse) });
    const reporter: Reporter = {
      compose: (outcome) =>
        fuse.step('counter', async () => {
          this.counter += 1;
          return {
            type: 'confirmation',
            customer: 'acme',
            site: 'north',
            group: 'ct',
            device: 'ct-1',
            at: '2026-01-01T00:00:00.000Z',
            counter: this.counter,
            ...outcome,
          };
        }),
      report: (confirmation) => fuse.step('outbox', async () => void this.outbox.set(confirmation.counter, confirmation)),
    };
    const journal = new Journal(tables);
    const supply = async () => ({
      chunks: await fetcherOf(one, two, ill),
      bytes: () => ({ gateway: 0, peer: 0, own: 0, patch: 0 }),
      staged: () => () => undefined,
    });
    return { installer: new Installer({ handler, journal, reporter, log: silentLog, supply }), handler, journal };
  }

  async live(release: MadeRelease, sequence: number, fuse?: Fuse): Promise<void> {
    const { installer } = this.boot(fuse);
    for (const application of await installer.unsettled()) await installer.settle(application);
    const running = await this.boot().handler.running('viewer');
    const verdict = this.verdicts.get(release.manifestHash);
    if (running?.manifestHash === release.manifestHash || (verdict?.settled === true && verdict.sequence === sequence)) return;
    await installer.install(release, sequence, { stillWanted: () => true });
  }

  /** Old or new entire: the tree that runs is one of these, byte for byte. */
  async runs(): Promise<MadeRelease | undefined> {
    const running = await this.boot().handler.running('viewer');
    if (running === undefined) return undefined;
    const release = [one, two, ill].find((made) => made.manifestHash === running.manifestHash);
    if (release === undefined) throw new Error('a stranger runs');
    const files = await readTree(join(this.install, 'viewer', 'releases', release.manifestHash));
    if (files.size !== release.contents.size || [...release.contents].some(([path, bytes]) => files.get(path)?.equals(bytes) !== true))
      throw new Error('a mix runs');
    return release;
  }

  async copy(): Promise<Device> {
    const copy = new Device(join(await temporaryDirectory(), 'install'));
    await cp(this.install, copy.install, { recursive: true, verbatimSymlinks: true });
    for (const [key, value] of this.entries) copy.entries.set(key, value);
    for (const [key, value] of this.manifests) copy.manifests.set(key, value);
    for (const [key, value] of this.verdicts) copy.verdicts.set(key, value);
    copy.counter = this.counter;
    return copy;
  }
}

async function deviceWithOne(): Promise<Device> {
  const device = new Device(join(await temporaryDirectory(), 'install'));
  await device.live(one, 1);
  device.outbox.clear();
  return device;
}

describe('a power cut', () => {
  for (const after of [false, true]) {
    for (const [what, wanted, outcome, result] of [
      ['an installation', two, two, 'installed'],
      ['an installation that fails its check and is rolled back', ill, one, 'rolled-back'],
    ] as const) {
      it(`${after ? 'right after' : 'right before'} any step of ${what} leaves the old or the new release entire, and the next start ends it with one confirmation`, async () => {
        const model = await deviceWithOne();
        const counting = new Fuse();
        await (await model.copy()).live(wanted, 2, counting);
        const steps = counting.steps.length;
        expect(steps).toBeGreaterThan(50);
        // Every durable write of the journal; every file operation near the swap, and a share of the many alike ones before. A cut right after
        // a step differs from one right before the next only in what the process thought, so a share of those will do.
        const share = after ? 5 : 4;
        for (let at = 0; at < steps; at++) {
          const record = /^(rows|counter|outbox)/.test(counting.steps[at] ?? '');
          if (!record && at % share !== 0 && (after || at < steps - 50)) continue;
          const device = await model.copy();
          const fuse = new Fuse(at, { after });
          await expect(device.live(wanted, 2, fuse)).rejects.toThrow();
          expect(fuse.dead).toBe(true);
          const between = await device.runs();
          expect([one, wanted]).toContain(between);
          await device.live(wanted, 2);
          expect(await device.runs(), `cut at ${at} ${counting.steps[at]}`).toBe(outcome);
          expect(
            [...device.outbox.values()].map((c) => [c.result, c.sequence, c.manifest]),
            `cut at ${at} ${counting.steps[at]}`,
          ).toEqual([[result, 2, wanted.manifestHash]]);
          expect(device.entries.size).toBe(0);
          // And nothing is done twice.
          await device.live(wanted, 2);
          expect(device.outbox.size).toBe(1);
        }
      }, 300_000);
    }
  }

  it('in every start of a release ends in the old one, and the release is marked bad and reported once', async () => {
    const device = await deviceWithOne();
    const counting = new Fuse();
    await (await device.copy()).live(two, 2, counting);
    // Dies right after the swap, in each life: as a release that takes the device down with it.
    const swap = counting.steps.lastIndexOf('disk.symlink') + 2;
    await expect(device.live(two, 2, new Fuse(swap))).rejects.toThrow();
    expect(await device.runs()).toBe(two);
    for (let start = 2; start <= MAX_FAILED_STARTS; start++) {
      const fuse = new Fuse(8);
      await expect(device.live(two, 2, fuse)).rejects.toThrow(PowerCut);
      expect(device.entries.get('viewer')).toMatchObject({ starts: start });
    }
    await device.live(two, 2);
    expect(await device.runs()).toBe(one);
    expect([...device.outbox.values()]).toMatchObject([{ result: 'rolled-back', reason: { code: 'STARTS_EXHAUSTED' }, running: { version: '1.0.0' } }]);
    expect(await device.boot().journal.bad()).toEqual(new Set([two.manifestHash]));
  });

  it('during staging loses nothing that was staged', async () => {
    const device = await deviceWithOne();
    const signal = new AbortController();
    const { installer } = device.boot();
    const install = installer.install(two, 2, { stillWanted: () => true, signal: signal.signal });
    signal.abort(new Error('stop'));
    await expect(install).rejects.toThrow();
    expect(device.entries.get('viewer')).toMatchObject({ state: 'staging' });
    await device.live(two, 2);
    expect(await device.runs()).toBe(two);
  });

  it('is no failed start when the agent is stopped in good order', async () => {
    const device = await deviceWithOne();
    const slow = madeRelease({ version: '3.0.0', files: { 'check.sh': '#!/bin/sh\nsleep 100\n' }, hooks: { check: { path: 'check.sh' } } });
    const stop = new AbortController();
    const { installer, journal } = device.boot();
    const chunks = await fetcherOf(slow);
    const withChunks = new Installer({
      handler: device.boot().handler,
      journal,
      log: silentLog,
      reporter: { compose: () => Promise.reject(new Error('nothing to say')), report: async () => undefined },
      supply: async () => ({ chunks, bytes: () => ({ gateway: 0, peer: 0, own: 0, patch: 0 }), staged: () => () => undefined }),
      onProgress: ({ phase }) => {
        if (phase === 'checking') setTimeout(() => stop.abort(new Error('stop')), 50);
      },
    });
    await expect(withChunks.install(slow, 3, { stillWanted: () => true, signal: stop.signal })).rejects.toSatisfy((error) => isWardcastError(error, 'ABORTED'));
    expect(await journal.get('viewer')).toMatchObject({ state: 'activated', starts: 0 });
    expect(await installer.unsettled()).toEqual(['viewer']);
  });

  it('after a release was withdrawn while it was staged does not activate it', async () => {
    const device = await deviceWithOne();
    const { installer } = device.boot();
    expect(await installer.install(two, 2, { stillWanted: () => false })).toBe('superseded');
    expect(await device.runs()).toBe(one);
    expect(device.outbox.size).toBe(0);
  });
});
