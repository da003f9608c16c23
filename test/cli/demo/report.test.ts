import { describe, expect, it } from 'vitest';
import { type Report, shortcomings } from '../../../cli/demo/report.ts';

const place = { customer: 'aster', site: 'north' };
const good: Report = {
  seconds: 30,
  devices: [{ ...place, group: 'imaging', device: 'ct-1', application: 'typescript', expected: '5.9.3', confirmed: '5.9.3' }],
  lines: [{ ...place, uniqueBytes: 1000, lineBytes: 1049, patchBytes: 50, replacedBytes: 500 }],
  thefts: Array.from({ length: 8 }, (_, at) => ({ road: `road-${at}`, barrier: 'policy', succeeded: false })),
  recoveries: [{ what: 'kill', seconds: 1, recovered: true }],
  swarm: { devices: [], sites: [], peerShare: 0 },
};

describe('the verdict over the demo', () => {
  it('holds when every figure holds', () => {
    expect(shortcomings(good)).toEqual([]);
  });

  const bad: [string, Partial<Report>][] = [
    [
      'another version is confirmed',
      { devices: [{ ...good.devices[0], ...place, group: 'g', device: 'd', application: 'a', expected: '2.0.0', confirmed: '1.0.0' }] },
    ],
    ['nothing is confirmed', { devices: [{ ...place, group: 'g', device: 'd', application: 'a', expected: '2.0.0', confirmed: null }] }],
    ['no device was looked at', { devices: [] }],
    ['the line carried too much', { lines: [{ ...place, uniqueBytes: 1000, lineBytes: 1051, patchBytes: 50, replacedBytes: 500 }] }],
    ['the line carried nothing', { lines: [{ ...place, uniqueBytes: 1000, lineBytes: 0, patchBytes: 50, replacedBytes: 500 }] }],
    ['the upgrade came whole', { lines: [{ ...place, uniqueBytes: 1000, lineBytes: 1000, patchBytes: 0, replacedBytes: 0 }] }],
    ['a patch was larger than what it replaced', { lines: [{ ...place, uniqueBytes: 1000, lineBytes: 1000, patchBytes: 600, replacedBytes: 500 }] }],
    ['there was no content at all', { lines: [{ ...place, uniqueBytes: 0, lineBytes: 0, patchBytes: 50, replacedBytes: 500 }] }],
    ['no line was measured', { lines: [] }],
    ['a theft succeeded', { thefts: [...good.thefts, { road: 'x', barrier: '', succeeded: true }] }],
    ['too few roads were tried', { thefts: good.thefts.slice(1) }],
    ['one road was tried many times', { thefts: good.thefts.map((theft) => ({ ...theft, road: 'same' })) }],
    ['something did not recover', { recoveries: [{ what: 'cut', seconds: 1, recovered: false }] }],
    ['nothing was interrupted', { recoveries: [] }],
  ];
  it.each(bad)('fails when %s', (_what, change) => {
    expect(shortcomings({ ...good, ...change })).not.toEqual([]);
  });
});
