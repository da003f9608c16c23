import { cpSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { silentLog } from '../../../../shared/base/log.ts';
import type { MetadataSource } from '../../../../shared/trust/metadata-source.ts';
import { initRepository, refreshRepository } from '../../../../shared/trust/repository-client.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';
import { Simulator } from './simulator.ts';

/** Called before every change to the disk: the moment at which the process is killed. */
const kill = vi.hoisted(() => ({ before: (_what: string): void => undefined }));
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const watched = <A extends unknown[], R>(name: string, call: (...args: A) => R) => {
    return (...args: A): R => {
      kill.before(name);
      return call(...args);
    };
  };
  return { ...real, open: watched('open', real.open), rename: watched('rename', real.rename), rm: watched('rm', real.rm), mkdir: watched('mkdir', real.mkdir) };
});

/** What a repository serves at one moment. */
function snapshotOf(repository: Simulator): Pick<MetadataSource, 'metadata'> {
  const files = new Map(repository.files);
  return { metadata: (name) => Promise.resolve(files.get(`metadata/${name}`)) };
}

async function timestampAfter(directory: string, source: Pick<MetadataSource, 'metadata'>): Promise<string> {
  const refresh = refreshRepository({ directory, source, log: silentLog, obtain: () => Promise.resolve() });
  return refresh.then(
    () => 'taken',
    (error: { code?: string }) => error.code ?? 'unknown',
  );
}

describe('trusted metadata on disk', () => {
  it('survives a kill at every write: no version is ever lowered, the newest is always reached', async () => {
    const repository = new Simulator();
    const root = repository.files.get('metadata/1.root.json') ?? Buffer.alloc(0);
    const base = await temporaryDirectory();
    const directory = join(base, 'life');
    await initRepository(directory, root);
    const states: { copy: string; finished: number }[] = [];
    const moments: Pick<MetadataSource, 'metadata'>[] = [];
    let finished = -1;
    let taken = 0;
    for (let moment = 0; moment < 3; moment++) {
      if (moment === 2) repository.bump('root');
      repository.bump('targets');
      repository.updateSnapshot();
      moments.push(snapshotOf(repository));
      kill.before = () => {
        const copy = join(base, `copy-${taken++}`);
        cpSync(directory, copy, { recursive: true });
        states.push({ copy, finished });
      };
      expect(await timestampAfter(directory, moments[moment] ?? snapshotOf(repository))).toBe('taken');
      kill.before = () => undefined;
      finished = moment;
    }
    expect(states.length).toBeGreaterThan(30);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...states), fc.array(fc.nat(2), { maxLength: 3 }), async ({ copy, finished: before }, order) => {
        const trial = await temporaryDirectory();
        cpSync(copy, trial, { recursive: true });
        let least = before;
        for (const moment of order) {
          const outcome = await timestampAfter(trial, moments[moment] ?? snapshotOf(repository));
          if (moment < least) expect(outcome).toBe('METADATA_ROLLBACK');
          if (outcome === 'taken') least = moment;
        }
        expect(await timestampAfter(trial, snapshotOf(repository))).toBe('taken');
        expect(readdirSync(trial).filter((name) => name.includes('work-'))).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  it('damaged as a whole but for the floors, falls back to the factory root and lowers nothing', async () => {
    const repository = new Simulator();
    const directory = await temporaryDirectory();
    await initRepository(directory, repository.files.get('metadata/1.root.json') ?? Buffer.alloc(0));
    const old = snapshotOf(repository);
    repository.bump('root', 'targets');
    repository.updateSnapshot();
    expect(await timestampAfter(directory, snapshotOf(repository))).toBe('taken');
    const store = join(directory, '.wardcast');
    const damage = (): void => {
      for (const name of ['state.json', 'state.backup.json', 'floors.json']) writeFileSync(join(store, name), 'rubbish');
      for (const name of readdirSync(join(store, 'objects'))) writeFileSync(join(store, 'objects', name), 'rubbish');
    };
    damage();
    expect(await timestampAfter(directory, old)).toBe('METADATA_ROLLBACK');
    expect(await timestampAfter(directory, snapshotOf(repository))).toBe('taken');
    damage();
    repository.rotateKeys('timestamp');
    repository.bump('root');
    repository.timestamp.version = 0;
    repository.updateTimestamp();
    // Rotated keys are the one thing that lowers a floor, also from the factory root on.
    expect(await timestampAfter(directory, snapshotOf(repository))).toBe('taken');
  });
});
