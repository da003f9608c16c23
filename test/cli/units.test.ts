import { expect, it } from 'vitest';
import { details } from '../../cli/commands/trace.ts';
import { hostAndPort } from '../../cli/connection.ts';
import { bytesText, percent } from '../../cli/units.ts';

it('writes bytes for people', () => {
  expect([0, 999, 1000, 23_600_000, 999_960, 5e12].map(bytesText)).toEqual(['0 B', '999 B', '1.0 kB', '23.6 MB', '1.0 MB', '5.0 TB']);
});

it('never says 100 % before all is there', () => {
  expect([percent(999, 1000), percent(1000, 1000), percent(0, 0), percent(5, 3)]).toEqual([99, 100, 100, 100]);
});

it('reads addresses, and refuses what is none', () => {
  expect(hostAndPort('provider.example:8883')).toEqual({ host: 'provider.example', port: 8883 });
  expect(hostAndPort('[::1]:1')).toEqual({ host: '::1', port: 1 });
  for (const bad of ['', 'host', 'host:', 'host:0', 'host:65536', '::1:1', 'a b:x']) expect(() => hostAndPort(bad), bad).toThrow(/no address/);
});

it('shows the short fields of a record, and leaves hashes and signatures to --json', () => {
  expect(details({ type: 'statement', customer: 'acme', manifest: 'f'.repeat(64), statement: { device: 'ct-1', result: 'installed', running: null } })).toBe(
    'customer=acme device=ct-1 result=installed',
  );
});
