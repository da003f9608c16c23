import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressBook } from '../../../agent/swarm/address-book.ts';
import { ADVERT_DIAL_INTERVAL, MAX_PEER_ADDRESSES, PEER_RETRY_MAX, PEER_RETRY_MIN } from '../../../shared/base/limits.ts';
import { seededRandom } from '../../support/random.ts';

const at = (host: string, port = 1): { host: string; port: number } => ({ host, port });
const bookOf = (seed = 1): AddressBook => new AddressBook(seededRandom(seed));

describe('the address book', () => {
  it('names listed addresses before advertised ones', () => {
    const book = bookOf();
    for (let index = 0; index < 50; index++) book.advertised(at(`advert-${index}`));
    book.listed([at('listed')]);
    expect(book.next(0)).toEqual(at('listed'));
    expect(book.next(0)?.host).toMatch(/^advert/);
  });

  it('names advertised addresses at most every ADVERT_DIAL_INTERVAL, however many there are', () => {
    const book = bookOf();
    for (let index = 0; index < 1000; index++) book.advertised(at(`advert-${index}`));
    let dials = 0;
    for (let now = 0; now < 10_000; now += 10) if (book.next(now) !== undefined) dials += 1;
    expect(dials).toBe(10_000 / ADVERT_DIAL_INTERVAL);
  });

  it('names listed addresses alone, and says when, while enough advertised ones are being dialled', () => {
    const book = bookOf();
    book.advertised(at('advert'));
    expect(book.next(0, false)).toBeUndefined();
    expect(book.soonest(0, false)).toBeUndefined();
    book.listed([at('listed')]);
    expect(book.next(0, false)).toEqual(at('listed'));
    expect(book.isProven(at('listed'))).toBe(true);
    expect(book.isProven(at('advert'))).toBe(false);
    expect(book.next(0)).toEqual(at('advert'));
  });

  it('does not name what is being dialled, and lets an address that is both listed and advertised count as listed', () => {
    const book = bookOf();
    book.advertised(at('a'));
    book.listed([at('a')]);
    expect(book.size).toBe(1);
    expect(book.next(0)).toEqual(at('a'));
    expect(book.next(0)).toBeUndefined();
    expect(book.soonest(0)).toBeUndefined();
  });

  it('waits longer after each failure, up to PEER_RETRY_MAX', () => {
    const book = bookOf();
    book.listed([at('a')]);
    let now = 0;
    for (let failures = 1; failures < 15; failures++) {
      expect(book.next(now)).toEqual(at('a'));
      book.failed(at('a'), now);
      const wait = (book.soonest(now) ?? 0) - now;
      const most = Math.min(PEER_RETRY_MAX, PEER_RETRY_MIN * 2 ** (failures - 1));
      expect(wait).toBeGreaterThanOrEqual(most / 2);
      expect(wait).toBeLessThanOrEqual(most);
      expect(book.next(now + wait - 1)).toBeUndefined();
      now += wait;
    }
  });

  it('leaves a guilty address alone for long, and dials one that ended in peace soon', () => {
    const book = bookOf();
    book.listed([at('a')]);
    book.next(0);
    book.failed(at('a'), 0, true);
    expect(book.soonest(0)).toBeGreaterThanOrEqual(PEER_RETRY_MAX / 2);
    const other = bookOf();
    other.listed([at('b')]);
    other.next(0);
    other.free(at('b'), 0);
    expect(other.soonest(0)).toBeLessThanOrEqual(PEER_RETRY_MIN);
  });

  it('forgets what the next list and ended adverts leave out', () => {
    const book = bookOf();
    book.listed([at('a'), at('b')]);
    book.listed([at('b'), at('c')]);
    book.advertised(at('d'));
    book.withdrawn(at('d'));
    book.withdrawn(at('b'));
    const named = [book.next(0), book.next(0), book.next(0)].map((address) => address?.host);
    expect(named.slice(0, 2).toSorted()).toEqual(['b', 'c']);
    expect(named[2]).toBeUndefined();
  });

  it('holds a bounded number of addresses; listed ones push advertised ones out', () => {
    const book = bookOf();
    for (let index = 0; index < MAX_PEER_ADDRESSES + 100; index++) book.advertised(at(`advert-${index}`));
    expect(book.size).toBe(MAX_PEER_ADDRESSES);
    book.listed([at('listed')]);
    expect(book.size).toBe(MAX_PEER_ADDRESSES);
    expect(book.next(0)).toEqual(at('listed'));
  });

  it('names something at the moment that it says it will', () => {
    const event = fc.oneof(
      fc.record({ do: fc.constant('advert' as const), which: fc.nat(5) }),
      fc.record({ do: fc.constant('list' as const), which: fc.nat(5) }),
      fc.record({ do: fc.constant('dial' as const), which: fc.nat(5) }),
      fc.record({ do: fc.constant('fail' as const), which: fc.nat(5) }),
      fc.record({ do: fc.constant('free' as const), which: fc.nat(5) }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), fc.integer(), (events, seed) => {
        const book = bookOf(seed);
        let now = 0;
        for (const { do: what, which } of events) {
          now += 100;
          if (what === 'advert') book.advertised(at(`${which}`));
          if (what === 'list') book.listed([at(`${which}`)]);
          if (what === 'dial') book.next(now);
          if (what === 'fail') book.failed(at(`${which}`), now);
          if (what === 'free') book.free(at(`${which}`), now);
        }
        const soonest = book.soonest(now);
        if (soonest === undefined) expect(book.next(now + 2 * PEER_RETRY_MAX)).toBeUndefined();
        else expect(book.next(soonest)).toBeDefined();
      }),
    );
  });
});
