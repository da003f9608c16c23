import { expect, it } from 'vitest';
import type { JournalEntry } from '../../../agent/install/entry.ts';
import { KeptSources } from '../../../agent/install/kept-sources.ts';
import { WardcastError } from '../../../shared/base/errors.ts';
import { SOURCES_STEP } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { RecordingLog } from '../../support/recording-log.ts';

const blank: JournalEntry = {
  application: 'viewer',
  version: '1.0.0',
  manifest: '0'.repeat(64),
  sequence: 1,
  state: 'staging',
  starts: 0,
  previous: null,
  sources: { gateway: 0, peer: 0, own: 0, patch: 0 },
  reason: null,
  confirmation: null,
};

it('notes a step’s worth of bytes, one note at a time, and the rest when it ends', async () => {
  const notes: JournalEntry['sources'][] = [];
  let gate = Promise.withResolvers<void>();
  let sources = blank.sources;
  const put = async (entry: JournalEntry): Promise<void> => {
    notes.push(entry.sources);
    await gate.promise;
  };
  const kept = new KeptSources({ journal: { put }, log: silentLog, entry: () => ({ ...blank, sources }) });
  const had = (gateway: number, own: number): void => {
    sources = { gateway, peer: 0, own, patch: 0 };
    kept.grew();
  };
  had(SOURCES_STEP - 1, 0);
  expect(notes).toEqual([]);
  had(SOURCES_STEP - 1, 1);
  had(5 * SOURCES_STEP, 1);
  expect(notes).toEqual([{ gateway: SOURCES_STEP - 1, peer: 0, own: 1, patch: 0 }]);
  gate.resolve();
  gate = Promise.withResolvers();
  gate.resolve();
  await kept.settle();
  await kept.settle();
  expect(notes.slice(1)).toEqual([{ gateway: 5 * SOURCES_STEP, peer: 0, own: 1, patch: 0 }]);
});

it('a disk that does not take the note stops no installation', async () => {
  const log = new RecordingLog();
  const put = (): Promise<void> => Promise.reject(new WardcastError('STORAGE_FAILED', 'full'));
  let gateway = 0;
  const kept = new KeptSources({ journal: { put }, log, entry: () => ({ ...blank, sources: { gateway, peer: 0, own: 0, patch: 0 } }) });
  gateway = SOURCES_STEP;
  kept.grew();
  await kept.settle();
  expect(log.all('install.sources-not-kept')).toHaveLength(1);
});
