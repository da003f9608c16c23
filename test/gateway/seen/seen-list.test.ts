import { describe, expect, it } from 'vitest';
import { SeenList } from '../../../gateway/seen/seen-list.ts';
import type { DeviceIdentity } from '../../../shared/base/identity.ts';
import { MAX_SEEN, SEEN_KEEP } from '../../../shared/base/limits.ts';

const ct1: DeviceIdentity = { role: 'device', customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' };
const pump1: DeviceIdentity = { ...ct1, group: 'pump', device: 'pump-1' };
const at = (n: number): { instance: string; address: string; port: number } => ({
  instance: `instance-${n}`,
  address: `192.0.2.${n % 250}`,
  port: 4000 + (n % 1000),
});

describe('the list of devices seen', () => {
  it('knows a device that only advertises as not enrolled, and proves it by its connection', () => {
    const list = new SeenList();
    list.advertised(at(1), 10);
    expect(list.entries()).toEqual([{ ...at(1), identity: null, connected: false, firstSeen: 10, lastSeen: 10 }]);
    list.proven(ct1, at(1), 20);
    expect(list.entries()).toEqual([{ ...at(1), identity: { group: 'ct', device: 'ct-1' }, connected: true, firstSeen: 10, lastSeen: 20 }]);
  });

  it('does not let an advert move a proven device to another address', () => {
    const list = new SeenList();
    list.proven(ct1, at(1), 10);
    expect(list.advertised({ ...at(1), address: '192.0.2.66', port: 66 }, 20)).toEqual([]);
    expect(list.peers('ct')).toEqual([{ address: at(1).address, port: at(1).port }]);
  });

  it('does not let a device take over the entry of another by claiming its instance', () => {
    const list = new SeenList();
    list.proven(ct1, at(1), 10);
    list.proven(pump1, { ...at(2), instance: at(1).instance }, 20);
    expect(list.peers('ct')).toEqual([{ address: at(1).address, port: at(1).port }]);
  });

  it('hands on as peers only proven devices of the same group that are connected and serve', () => {
    const list = new SeenList();
    list.advertised(at(9), 1);
    list.proven(ct1, at(1), 1);
    list.proven({ ...ct1, device: 'ct-2' }, { ...at(2), port: 0 }, 1);
    list.proven({ ...ct1, device: 'ct-3' }, at(3), 1);
    list.left({ ...ct1, device: 'ct-3' }, 2);
    list.proven(pump1, at(4), 1);
    expect(list.peers('ct')).toEqual([{ address: at(1).address, port: at(1).port }]);
  });

  it('has one entry for a device that was started again under a new instance', () => {
    const list = new SeenList();
    list.proven(ct1, at(1), 10);
    list.proven(ct1, at(2), 20);
    expect(list.entries().map(({ instance, firstSeen }) => ({ instance, firstSeen }))).toEqual([{ instance: at(2).instance, firstSeen: 10 }]);
  });

  it('notices that two processes of one device run at once: one that was replaced is heard again', () => {
    const list = new SeenList();
    const contradicted = (): (number | undefined)[] => list.entries().map((entry) => entry.contradicted);
    for (const [now, n] of [1, 2, 2, 3].entries()) list.proven(ct1, at(n), now);
    expect(contradicted()).toEqual([undefined]);
    list.proven(ct1, at(2), 10);
    expect(contradicted()).toEqual([10]);
    // Said until it happens again, so that nobody misses it.
    list.proven(ct1, at(4), 11);
    expect(contradicted()).toEqual([10]);
    list.proven(ct1, at(3), 12);
    expect(contradicted()).toEqual([12]);
  });

  it('takes no device for another: each has processes of its own', () => {
    const list = new SeenList();
    list.proven(ct1, at(1), 1);
    list.proven({ ...ct1, device: 'ct-2' }, at(2), 2);
    list.proven(ct1, at(3), 3);
    list.proven({ ...ct1, device: 'ct-2' }, at(1), 4);
    expect(list.entries().map((entry) => entry.contradicted)).toEqual([undefined, undefined]);
  });

  it('is not pushed full by spoofed adverts: proven devices stay', () => {
    const list = new SeenList();
    list.proven(ct1, at(0), 0);
    list.left(ct1, 0);
    for (let n = 1; n <= MAX_SEEN + 50; n++) list.advertised(at(n), n);
    expect(list.entries()).toHaveLength(MAX_SEEN);
    expect(list.entries().filter(({ identity }) => identity?.device === 'ct-1')).toHaveLength(1);
  });

  it('forgets adverts that have been silent for long, and no proven device', () => {
    const list = new SeenList();
    list.advertised(at(1), 0);
    list.proven(ct1, at(2), 0);
    list.forgetOld(SEEN_KEEP);
    expect(list.entries().map(({ identity }) => identity?.device)).toEqual(['ct-1']);
  });
});
