import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLog } from '../../../shared/base/log.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { loadGroupView, refreshGroupView } from '../../../shared/trust/client.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { SCOPE, testKey, Vendor } from './fixture.ts';

/** Called before every change to the disk: the moment at which the power goes. */
const cut = vi.hoisted(() => ({ before: (_what: string): void => undefined }));
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const watched = <A extends unknown[], R>(name: string, call: (...args: A) => R) => {
    return (...args: A): R => {
      cut.before(name);
      return call(...args);
    };
  };
  return {
    ...real,
    open: watched('open', real.open),
    rename: watched('rename', real.rename),
    rm: watched('rm', real.rm),
    mkdir: watched('mkdir', real.mkdir),
    mkdtemp: watched('mkdtemp', real.mkdtemp),
    writeFile: watched('writeFile', real.writeFile),
  };
});

const vendor = new Vendor();
const first = vendor.repository({ releases: [vendor.release('viewer', '1.0.0')] });
const second = vendor.repository({ releases: [vendor.release('viewer', '1.1.0')], sequence: 2, previous: first.versions });
const [factoryRoot = Buffer.alloc(0)] = vendor.roots;
const options = { factoryRoot, scope: SCOPE, log: silentLog };

beforeEach(() => {
  cut.before = () => undefined;
});

describe('a power cut while metadata is updated', () => {
  it('leaves the old or the new view, at every instant; versions never go back', async () => {
    const base = await temporaryDirectory();
    const directory = join(base, 'trust');
    await refreshGroupView({ ...options, directory, source: first });
    const states: string[] = [];
    cut.before = () => {
      const copy = join(base, `cut-${states.length}`);
      cpSync(directory, copy, { recursive: true });
      states.push(copy);
    };
    await refreshGroupView({ ...options, directory, source: second });
    cut.before = () => undefined;
    expect(states.length).toBeGreaterThan(10);
    const seen = new Set<number>();
    for (const state of states) {
      const view = await loadGroupView({ directory: state, scope: SCOPE });
      const sequence = view?.bundle.sequence ?? 0;
      seen.add(sequence);
      expect([1, 2]).toContain(sequence);
      if (sequence === 2)
        await expect(refreshGroupView({ ...options, directory: state, source: first })).rejects.toThrow(expect.objectContaining({ code: 'METADATA_ROLLBACK' }));
      expect((await refreshGroupView({ ...options, directory: state, source: second })).bundle.sequence).toBe(2);
      expect(readdirSync(state).filter((name) => name.startsWith('work-'))).toEqual([]);
    }
    expect(seen).toEqual(new Set([1, 2]));
  });

  it('at the very first start leaves a device that starts again', async () => {
    const base = await temporaryDirectory();
    const life = join(base, 'life');
    const directory = join(life, 'trust');
    mkdirSync(life);
    const states: string[] = [];
    cut.before = () => {
      const copy = join(base, `cut-${states.length}`);
      cpSync(life, copy, { recursive: true });
      states.push(copy);
    };
    await refreshGroupView({ ...options, directory, source: first });
    cut.before = () => undefined;
    for (const state of states) {
      const view = await refreshGroupView({ ...options, directory: join(state, 'trust'), source: first });
      expect(view.bundle.sequence).toBe(1);
    }
  });

  it('after a refusal keeps what verified: the newer timestamp stays even though its snapshot never came', async () => {
    const directory = join(await temporaryDirectory(), 'trust');
    await refreshGroupView({ ...options, directory, source: first });
    const third = vendor.repository({ releases: [], sequence: 3, previous: second.versions });
    third.files.delete('3.snapshot.json');
    await expect(refreshGroupView({ ...options, directory, source: third })).rejects.toThrow(expect.objectContaining({ code: 'METADATA_MISSING' }));
    expect((await loadGroupView({ directory, scope: SCOPE }))?.bundle.sequence).toBe(1);
    await expect(refreshGroupView({ ...options, directory, source: second })).rejects.toThrow(expect.objectContaining({ code: 'METADATA_ROLLBACK' }));
  });
});

describe('a damaged copy on disk', () => {
  async function damagedDevice(): Promise<string> {
    const directory = join(await temporaryDirectory(), 'trust');
    await refreshGroupView({ ...options, directory, source: second });
    return directory;
  }

  it('of any one file is noticed and repaired from the source, and opens no way back', async () => {
    const directory = await damagedDevice();
    for (const name of ['state.json', 'state.backup.json', ...readdirSync(join(directory, 'objects')).map((hash) => join('objects', hash))]) {
      const file = join(directory, name);
      const bytes = readFileSync(file);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 0x20;
      writeFileSync(file, bytes);
      await expect(refreshGroupView({ ...options, directory, source: first }), name).rejects.toThrow(expect.objectContaining({ code: 'METADATA_ROLLBACK' }));
      const view = await refreshGroupView({ ...options, directory, source: second });
      expect(await loadGroupView({ directory, scope: SCOPE }), name).toEqual(view);
    }
  });

  it('of the newest root does not bring old keys back', async () => {
    const rotating = new Vendor();
    const stolen = rotating.repository({ releases: [] });
    const keys = { ...rotating.keys, timestamp: testKey('timestamp-2') };
    rotating.roots.push(rotating.root(2, { online: keys }));
    const current = rotating.repository({ releases: [], sequence: 2, previous: stolen.versions, keys });
    const directory = join(await temporaryDirectory(), 'trust');
    const device = { ...options, factoryRoot: rotating.roots[0] ?? Buffer.alloc(0), directory };
    await refreshGroupView({ ...device, source: current });
    writeFileSync(join(directory, 'objects', sha256(rotating.roots[1] ?? Buffer.alloc(0))), 'rubbish');
    await expect(refreshGroupView({ ...device, source: stolen })).rejects.toThrow(expect.objectContaining({ code: 'METADATA_ROLLBACK' }));
    expect((await refreshGroupView({ ...device, source: current })).bundle.sequence).toBe(2);
  });

  it('of the whole state falls back to the factory root; the caller keeps its own floor', async () => {
    const directory = await damagedDevice();
    for (const name of ['state.json', 'state.backup.json']) writeFileSync(join(directory, name), 'rubbish');
    expect(await loadGroupView({ directory, scope: SCOPE })).toBeUndefined();
    await expect(refreshGroupView({ ...options, directory, source: first, highest: 2 })).rejects.toThrow(
      expect.objectContaining({ code: 'METADATA_ROLLBACK' }),
    );
    expect((await refreshGroupView({ ...options, directory, source: second, highest: 2 })).bundle.sequence).toBe(2);
  });

  it('with nothing new from outside is never shown', async () => {
    const directory = await damagedDevice();
    for (const hash of readdirSync(join(directory, 'objects'))) writeFileSync(join(directory, 'objects', hash), 'rubbish');
    expect(await loadGroupView({ directory, scope: SCOPE })).toBeUndefined();
    expect((await refreshGroupView({ ...options, directory, source: second })).bundle.sequence).toBe(2);
  });

  it('after a move to another group: the old group counts no more', async () => {
    const directory = await damagedDevice();
    const scope = { ...SCOPE, group: 'mr' };
    const other = vendor.repository({ releases: [], scope });
    expect(await loadGroupView({ directory, scope })).toBeUndefined();
    expect((await refreshGroupView({ ...options, directory, scope, source: other })).timestampVersion).toBe(1);
    expect(await loadGroupView({ directory, scope: SCOPE })).toBeUndefined();
  });

  it('by two refreshes at once does not happen', async () => {
    const directory = join(await temporaryDirectory(), 'trust');
    const views = await Promise.all([first, second, second].map((source) => refreshGroupView({ ...options, directory, source })));
    expect(views.map((view) => view.bundle.sequence)).toEqual([1, 2, 2]);
  });
});
