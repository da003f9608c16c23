import { expect, it } from 'vitest';
import type { Reporter } from '../../agent/install/reporter.ts';
import { AgentTally, agentMetrics } from '../../agent/metrics.ts';
import type { Confirmation } from '../../shared/wire/messages.ts';
import { confirmation } from '../provider/statements.ts';
import { expectExposition } from '../support/exposition.ts';

it('counts the bytes of every installation by source, each confirmation once, and none that was not reported', async () => {
  const said: Confirmation[] = [];
  let broken = false;
  const reporter: Reporter = {
    compose: () => Promise.reject(new Error('not asked')),
    report: async (words) => {
      if (broken) throw new Error('the disk is full');
      said.push(words);
    },
  };
  const tally = new AgentTally();
  const counting = tally.counting(reporter);
  const sources = { gateway: 10, peer: 200, own: 3000 };
  const driver = confirmation('ct-1', 7, { application: 'driver', sources });
  await counting.report(confirmation('ct-1', 8, { sources }));
  // Two applications at once: the one that began first may end last.
  await counting.report(driver);
  await counting.report(driver);
  broken = true;
  await expect(counting.report(confirmation('ct-1', 9, { sources }))).rejects.toThrow('full');
  expect(said).toHaveLength(3);

  const door = { counters: { accepted: 4, refused: 2, dropped: 1, open: 3, pending: 0 } };
  const metrics = agentMetrics({ tally, door, statements: { waiting: 5 }, connected: () => true, time: { offset: -7_200_500 }, sequence: () => 12 });
  const samples = expectExposition(await metrics.text());
  expect(samples.get('wardcast_chunk_bytes_total')).toEqual([
    { labels: { source: 'gateway' }, value: 20 },
    { labels: { source: 'peer' }, value: 400 },
    { labels: { source: 'own' }, value: 6000 },
  ]);
  expect(samples.get('wardcast_confirmations_total')).toEqual([{ labels: { result: 'installed' }, value: 2 }]);
  expect(samples.get('wardcast_outbox_statements')).toEqual([{ labels: {}, value: 5 }]);
  expect(samples.get('wardcast_clock_offset_seconds')).toEqual([{ labels: {}, value: -7200.5 }]);
  expect(samples.get('wardcast_bundle_sequence')).toEqual([{ labels: {}, value: 12 }]);
  expect(samples.get('wardcast_door_connections_total')).toEqual([
    { labels: { result: 'accepted' }, value: 4 },
    { labels: { result: 'refused' }, value: 2 },
    { labels: { result: 'dropped' }, value: 1 },
  ]);
});
