import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Transfer } from '../../../agent/swarm/transfer.ts';
import { MAX_TRANSFER_BYTES, SWARM_MIN_ASKS, SWARM_OVERDUE, SWARM_SLOW_AFTER, SWARM_TICK } from '../../../shared/base/limits.ts';
import { Bitfield } from '../../../shared/net/swarm/bitfield.ts';
import { seededRandom } from '../../support/random.ts';

const KiB = 1024;
const PEER = { kind: 'peer', uploads: true, fetching: true } as const;
const GATEWAY = { kind: 'gateway', uploads: true, fetching: false } as const;

/** A transfer whose sources are names, with what it asked of each and did not get or take back. */
class Rig {
  readonly transfer: Transfer<string>;
  readonly asked = new Map<string, number[]>();
  readonly any = new Map<string, number>();
  readonly cancelled: string[] = [];
  readonly sizes: readonly number[];
  now = 0;

  constructor(sizes: readonly number[], seed = 1) {
    this.sizes = sizes;
    this.transfer = new Transfer<string>({
      sizes,
      have: new Bitfield(sizes.length),
      random: seededRandom(seed),
      ports: {
        ask: (source, indexes) => {
          for (const index of indexes) {
            expect(this.of(source), `${index} is asked of ${source} once at a time`).not.toContain(index);
            expect(this.transfer.have.has(index)).toBe(false);
            this.of(source).push(index);
          }
        },
        any: (source, count) => void this.any.set(source, (this.any.get(source) ?? 0) + count),
        cancel: (source, indexes) => {
          for (const index of indexes) {
            this.cancelled.push(`${source} ${index}`);
            expect(this.take(source, index)).toBe(true);
          }
        },
      },
    });
  }

  of(source: string): number[] {
    const known = this.asked.get(source);
    if (known !== undefined) return known;
    const fresh: number[] = [];
    this.asked.set(source, fresh);
    return fresh;
  }

  take(source: string, index: number): boolean {
    const at = this.of(source).indexOf(index);
    if (at >= 0) this.of(source).splice(at, 1);
    return at >= 0;
  }

  get bytesAsked(): number {
    return [...this.asked.values()].flat().reduce((sum, index) => sum + (this.sizes[index] ?? 0), 0);
  }

  peer(name: string, has: readonly number[], state: Parameters<Transfer<string>['joined']>[1] = PEER): void {
    const field = new Bitfield(this.sizes.length);
    for (const index of has) field.add(index);
    this.transfer.joined(name, state, field);
  }

  gateway(): void {
    this.transfer.joined('gateway', GATEWAY, Bitfield.full(this.sizes.length));
  }

  pump(): void {
    this.transfer.pump(this.now, 0);
  }

  leave(source: string): void {
    this.asked.delete(source);
    this.any.delete(source);
    this.transfer.left(source);
  }

  /** The source answers; `good`: with the chunk itself. */
  answer(source: string, index: number, good = true): string {
    if (!this.take(source, index)) this.any.set(source, (this.any.get(source) ?? 0) - 1);
    const verdict = this.transfer.arrived(source, index, this.now);
    if (verdict === 'wanted') {
      if (good) this.transfer.stored(index);
      else this.transfer.bad(source, index);
    }
    return verdict;
  }
}

const many = (count: number, size = 64 * KiB): number[] => new Array<number>(count).fill(size);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

describe('a transfer', () => {
  it('asks each source for two chunks before it knows its speed, and for more when it proves quick', () => {
    const rig = new Rig(many(200));
    rig.peer('a', upTo(200));
    rig.pump();
    expect(rig.of('a')).toHaveLength(SWARM_MIN_ASKS);
    for (let round = 0; round < 20; round++) {
      rig.now += 2;
      for (const index of [...rig.of('a')].slice(0, 4)) rig.answer('a', index);
      rig.pump();
    }
    expect(rig.of('a').length).toBeGreaterThan(10);
  });

  it('asks the rarest first', () => {
    const rig = new Rig(many(10));
    for (const peer of ['a', 'b', 'c']) rig.peer(peer, peer === 'a' ? upTo(10) : upTo(8));
    rig.pump();
    expect(rig.of('a').toSorted()).toEqual([8, 9]);
  });

  it('asks the gateway for chunks of its choice, and takes them', () => {
    const rig = new Rig(many(10));
    rig.gateway();
    rig.pump();
    expect(rig.any.get('gateway')).toBe(SWARM_MIN_ASKS);
    expect(rig.of('gateway')).toEqual([]);
    rig.now = 5;
    expect(rig.answer('gateway', 7)).toBe('wanted');
    expect(rig.transfer.have.has(7)).toBe(true);
  });

  it('does not take what nobody asked for, and knows what came late', () => {
    const rig = new Rig(many(3));
    rig.peer('a', [0, 1, 2]);
    expect(rig.transfer.arrived('a', 0, 0)).toBe('unwanted');
    expect(rig.transfer.arrived('stranger', 0, 0)).toBe('unwanted');
    rig.pump();
    const index = rig.of('a')[0] ?? -1;
    rig.now = SWARM_OVERDUE + 1;
    rig.peer('b', [0, 1, 2]);
    rig.transfer.tick(rig.now);
    expect(rig.of('b')).toContain(index);
    expect(rig.answer('b', index)).toBe('wanted');
    expect(rig.cancelled).toContain(`a ${index}`);
    // It crossed with the cancel: no offence, once.
    expect(rig.transfer.arrived('a', index, rig.now)).toBe('late');
    expect(rig.transfer.arrived('a', index, rig.now)).toBe('unwanted');
  });

  it('takes a chunk that crossed with its cancel when the quicker one proved bad', () => {
    const rig = new Rig(many(1));
    rig.peer('a', [0]);
    rig.pump();
    rig.peer('b', [0]);
    rig.now = SWARM_OVERDUE;
    rig.transfer.tick(rig.now);
    expect(rig.answer('b', 0, false)).toBe('wanted');
    expect(rig.transfer.arrived('a', 0, rig.now)).toBe('wanted');
  });

  it('asks elsewhere for what is overdue, at the gateway when no peer has it', () => {
    const rig = new Rig(many(1));
    rig.peer('a', [0]);
    rig.pump();
    rig.gateway();
    rig.transfer.tick(SWARM_OVERDUE - 1);
    expect(rig.of('gateway')).toEqual([]);
    rig.transfer.tick(SWARM_OVERDUE);
    expect(rig.of('gateway')).toEqual([0]);
  });

  it.each(['bad', 'absent', 'left'] as const)('asks another source when the first was %s', (how) => {
    const rig = new Rig(many(1));
    rig.peer('a', [0]);
    rig.pump();
    rig.peer('b', [0]);
    rig.pump();
    expect(rig.of('b')).toEqual([]);
    if (how === 'bad') rig.answer('a', 0, false);
    else if (how === 'left') rig.leave('a');
    else {
      rig.take('a', 0);
      rig.transfer.absent('a', 0, 'absent', rig.now);
    }
    rig.pump();
    expect(rig.of('b')).toEqual([0]);
    expect(rig.of('a')).toEqual([]);
  });

  it('lets a busy source alone for a while', () => {
    const rig = new Rig(many(1));
    rig.peer('a', [0]);
    rig.pump();
    rig.take('a', 0);
    rig.transfer.absent('a', 0, 'busy', 0);
    rig.pump();
    expect(rig.of('a')).toEqual([]);
    rig.now = SWARM_OVERDUE;
    rig.pump();
    expect(rig.of('a')).toEqual([0]);
  });

  it('names peers that were too slow for too long, and not those that were asked for nothing', () => {
    const rig = new Rig(many(100));
    rig.peer('slow', upTo(100));
    rig.peer('idle', []);
    rig.pump();
    const slow: string[] = [];
    for (rig.now = 0; rig.now <= SWARM_SLOW_AFTER + SWARM_TICK; rig.now += SWARM_TICK) slow.push(...rig.transfer.tick(rig.now));
    expect(slow).toEqual(['slow']);
  });

  it('names a peer that never answers, though what it was asked for is taken back and brought by others', () => {
    const rig = new Rig(many(400));
    rig.peer('silent', upTo(400));
    rig.peer('good', upTo(400));
    const slow: string[] = [];
    for (rig.now = 0; rig.now <= 2 * SWARM_SLOW_AFTER; rig.now += SWARM_TICK) {
      rig.pump();
      for (const index of rig.of('good').slice(0, 3)) rig.answer('good', index);
      slow.push(...rig.transfer.tick(rig.now));
    }
    expect(slow).toEqual(['silent']);
  });

  it('takes no more of the gateway while what it got alone waits to be passed on', () => {
    const rig = new Rig(many(50));
    rig.gateway();
    for (const peer of ['a', 'b', 'c', 'd']) rig.peer(peer, []);
    let got = 0;
    for (let round = 0; round < 100; round++) {
      rig.pump();
      rig.now += 15;
      if ((rig.any.get('gateway') ?? 0) > 0) rig.answer('gateway', got++);
    }
    expect(got).toBeLessThan(20);
    for (const peer of ['a', 'b', 'c', 'd']) rig.transfer.announced(peer, upTo(got));
    rig.pump();
    expect(rig.any.get('gateway')).toBeGreaterThan(0);
  });

  it('takes more of the gateway all the same when nothing else has come for long', () => {
    const rig = new Rig(many(50));
    rig.gateway();
    for (const peer of ['a', 'b', 'c', 'd']) rig.peer(peer, []);
    let got = 0;
    for (let round = 0; round < 2000 && got < 50; round++) {
      rig.pump();
      rig.now += SWARM_OVERDUE / 4;
      if ((rig.any.get('gateway') ?? 0) > 0) rig.answer('gateway', got++);
    }
    expect(got).toBe(50);
  });

  it('asks for no more than MAX_TRANSFER_BYTES and one chunk', () => {
    const rig = new Rig(many(3000));
    for (let peer = 0; peer < 300; peer++) rig.peer(`peer-${peer}`, upTo(3000));
    rig.pump();
    expect(rig.bytesAsked).toBeGreaterThan(MAX_TRANSFER_BYTES - 64 * KiB);
    expect(rig.bytesAsked).toBeLessThanOrEqual(MAX_TRANSFER_BYTES + 64 * KiB);
  });

  it('fetches everything as long as one honest source stays, whatever the others do', () => {
    const event = fc.record({
      do: fc.constantFrom('good', 'good', 'bad', 'absent', 'busy', 'leave', 'join', 'have', 'choose', 'again', 'wait'),
      source: fc.nat(4),
      pick: fc.nat(1000),
      after: fc.nat(500),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 150 }), fc.integer(), fc.boolean(), (events, seed, withGateway) => {
        const count = 30;
        const sizes = Array.from({ length: count }, (_, index) => (16 + (index % 5) * 48) * KiB);
        const rig = new Rig(sizes, seed);
        rig.peer('honest', upTo(count));
        if (withGateway) rig.gateway();
        const joined = new Set<string>();
        for (const { do: what, source, pick, after } of events) {
          const name = `peer-${source}`;
          rig.now += after;
          if (what === 'join') {
            rig.peer(
              name,
              upTo(count).filter((index) => (index + pick) % 3 === 0),
            );
            joined.add(name);
          } else if (what === 'again' && joined.has(name)) rig.peer(name, upTo(count), { ...PEER, uploads: pick % 2 === 0 });
          else if (what === 'leave' && joined.delete(name)) rig.leave(name);
          else if (what === 'have' && joined.has(name)) rig.transfer.announced(name, [pick % count]);
          else if (what === 'choose' && (rig.any.get('gateway') ?? 0) > 0) rig.answer('gateway', pick % count);
          else {
            const asked = rig.of(name);
            const index = asked[pick % Math.max(1, asked.length)];
            if (index !== undefined) {
              if (what === 'good' || what === 'bad') rig.answer(name, index, what === 'good');
              if (what === 'absent' || what === 'busy') {
                rig.take(name, index);
                rig.transfer.absent(name, index, what, rig.now);
              }
            }
          }
          for (const slow of rig.transfer.tick(rig.now)) {
            // The honest one is asked nothing yet here, so only others can be meant.
            if (slow === 'honest') continue;
            joined.delete(slow);
            rig.leave(slow);
          }
          rig.pump();
          expect(rig.bytesAsked).toBeLessThanOrEqual(MAX_TRANSFER_BYTES + 256 * KiB);
        }
        // From here on only the honest one answers.
        for (let turns = 0; turns < 2000 && !rig.transfer.complete; turns++) {
          rig.now += SWARM_TICK;
          for (const index of [...rig.of('honest')]) rig.answer('honest', index);
          for (const slow of rig.transfer.tick(rig.now)) if (slow !== 'honest') rig.leave(slow);
          rig.pump();
        }
        expect(rig.transfer.complete).toBe(true);
        expect(rig.transfer.have.complete).toBe(true);
        expect(rig.bytesAsked).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});
