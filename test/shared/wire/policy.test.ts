import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DeviceIdentity, type GatewayIdentity, type Identity, identityPath, sameScope } from '../../../shared/base/identity.ts';
import { covers, mayFetch, mayFetchScope, mayPublish, mayRead, readable, writable } from '../../../shared/wire/policy.ts';
import { announce, announceFilter, down, downFilter, EVENT_FILTER, event, parseUp, UP_VERBS, up } from '../../../shared/wire/topics.ts';

const device = (customer: string, site: string, group: string, name: string): DeviceIdentity => ({ role: 'device', customer, site, group, device: name });
const gateway = (customer: string, site: string): GatewayIdentity => ({ role: 'gateway', customer, site, gateway: 'gw' });

/** A small world in which every boundary exists once. */
const world: readonly Identity[] = [
  { role: 'provider', name: 'vendor' },
  { role: 'ops', name: 'olga' },
  { role: 'ops', name: 'omar' },
  ...['acme', 'bert'].flatMap((customer) =>
    ['north', 'south'].flatMap((site) => [
      gateway(customer, site),
      ...['ct', 'pump'].flatMap((group) => [device(customer, site, group, 'one'), device(customer, site, group, 'two')]),
    ]),
  ),
];
const devices = world.filter((identity) => identity.role === 'device');

describe('mayRead', () => {
  it('lets everybody hear exactly what is said to them, over the whole small world', () => {
    for (const reader of world)
      for (const owner of world) {
        const own = identityPath(reader) === identityPath(owner) && reader.role !== 'provider';
        expect(mayRead(reader, down(owner, 'receipt')), `${identityPath(reader)} ← ${identityPath(owner)}`).toBe(own);
        expect(mayRead(reader, downFilter(owner))).toBe(own);
        expect(mayRead(reader, up(owner, 'statement'))).toBe(false);
      }
  });

  it('lets a device hear the announcements of its own customer, site and group only', () => {
    for (const reader of world)
      for (const other of devices) {
        const own = reader.role === 'device' && sameScope(reader, other);
        expect(mayRead(reader, announce(other, 'offer'))).toBe(own);
        expect(mayRead(reader, announceFilter(other))).toBe(own);
      }
  });

  it('lets only ops hear events', () => {
    for (const reader of world) {
      expect(mayRead(reader, event('progress'))).toBe(reader.role === 'ops');
      expect(mayRead(reader, EVENT_FILTER)).toBe(reader.role === 'ops');
    }
  });

  it.each([
    '#',
    '+/#',
    'wardcast/#',
    'wardcast/1/#',
    '$SYS/#',
    'wardcast/1/customer/acme/site/north/group/+/announce/offer',
    'wardcast/1/customer/acme/#',
    '',
    '/',
    'wardcast/1/event/\u0000',
  ])('denies the filter %j to every device and gateway', (filter) => {
    for (const reader of world) if (reader.role === 'device' || reader.role === 'gateway') expect(mayRead(reader, filter)).toBe(false);
  });
});

describe('mayPublish', () => {
  it('lets everybody speak for themselves only, and only the verbs of their role', () => {
    const allowed: Record<string, readonly string[]> = {
      provider: [],
      ops: ['request'],
      gateway: ['hello', 'want', 'statement', 'progress', 'seen', 'time', 'key', 'enrol'],
      device: ['hello', 'want', 'statement', 'progress', 'time', 'key'],
    };
    for (const speaker of world)
      for (const owner of world)
        for (const verb of UP_VERBS) {
          const own = identityPath(speaker) === identityPath(owner) && (allowed[speaker.role] ?? []).includes(verb);
          expect(mayPublish(speaker, up(owner, verb))).toBe(own);
        }
  });

  it('lets nobody publish what only brokers say, nor to wildcards', () => {
    for (const speaker of world)
      for (const owner of world) {
        expect(mayPublish(speaker, down(owner, 'offer'))).toBe(false);
        if (owner.role === 'device') expect(mayPublish(speaker, announce(owner, 'offer'))).toBe(false);
        expect(mayPublish(speaker, `wardcast/1/${identityPath(owner)}/up/+`)).toBe(false);
        expect(mayPublish(speaker, `wardcast/1/${identityPath(owner)}/up/#`)).toBe(false);
      }
  });

  it('lets ops upload one part of an object a topic, and nobody else', () => {
    const olga: Identity = { role: 'ops', name: 'olga' };
    const hash = 'ab'.repeat(32);
    for (const speaker of world) expect(mayPublish(speaker, up(olga, 'object', hash, '0', '1'))).toBe(speaker.role === 'ops' && speaker.name === 'olga');
    for (const rest of [[], [hash], [hash, '0'], [hash, '0', '1', 'more'], [hash, '+', '1'], [hash, '0', '#'], [hash, '', '1']]) {
      expect(mayPublish(olga, up(olga, 'object', ...rest)), rest.join('/')).toBe(false);
    }
    for (const speaker of world) if (speaker.role !== 'ops') expect(mayPublish(speaker, up(speaker, 'object', hash, '0', '1'))).toBe(false);
  });
});

describe('mayFetch', () => {
  it('gives a chunk only with a bundle that has it, to the devices of its scope and the gateway of its site', () => {
    for (const reader of world)
      for (const owner of devices) {
        const bundle = { scope: owner, has: (hash: string) => hash === 'known' };
        const entitled =
          (reader.role === 'device' && sameScope(reader, owner)) ||
          (reader.role === 'gateway' && reader.customer === owner.customer && reader.site === owner.site);
        expect(mayFetchScope(reader, owner)).toBe(entitled);
        expect(mayFetch(reader, bundle, 'known')).toBe(entitled);
        expect(mayFetch(reader, bundle, 'unknown')).toBe(false);
      }
  });
});

const level = fc.constantFrom('a', 'b', 'c');
const topic = fc.array(level, { minLength: 1, maxLength: 5 });
const filter = fc.tuple(fc.array(fc.constantFrom('a', 'b', '+'), { maxLength: 4 }), fc.constantFrom('none', 'hash')).map(([levels, end]) => {
  const all = end === 'hash' || levels.length === 0 ? [...levels, '#'] : levels;
  return all.join('/');
});

/** MQTT 3.1.1, 4.7, written independently of the policy. */
function matches(pattern: string, name: readonly string[]): boolean {
  const escaped = pattern.split('/').map((part) => (part === '+' ? '[^/]+' : part));
  const tail = escaped.at(-1) === '#' ? escaped.slice(0, -1) : undefined;
  const source = tail === undefined ? escaped.join('/') : tail.length === 0 ? '.*' : `${tail.join('/')}(/.*)?`;
  return new RegExp(`^${source}$`).test(name.join('/'));
}

describe('covers', () => {
  it('never lets a filter match a topic that the outer filter does not', () => {
    fc.assert(
      fc.property(filter, filter, topic, (outer, inner, name) => {
        if (covers(outer, inner) && matches(inner, name)) expect(matches(outer, name)).toBe(true);
      }),
      { numRuns: 5000 },
    );
  });

  it('is matching, for topics without wildcards', () => {
    fc.assert(
      fc.property(filter, topic, (outer, name) => {
        expect(covers(outer, name.join('/'))).toBe(matches(outer, name));
      }),
      { numRuns: 5000 },
    );
  });

  it('holds for every right against itself', () => {
    for (const identity of world) for (const right of [...readable(identity), ...writable(identity)]) expect(covers(right, right)).toBe(true);
  });
});

describe('parseUp', () => {
  it('reads back every topic that up() writes', () => {
    for (const sender of world) {
      if (sender.role === 'provider') continue;
      for (const verb of UP_VERBS) expect(parseUp(up(sender, verb))).toEqual({ sender, verb, rest: [] });
    }
  });

  it.each([
    'wardcast/1/up/hello',
    'wardcast/2/ops/olga/up/request',
    'wardcast/1/ops/olga/down/reply',
    'wardcast/1/ops/OLGA/up/request',
    'wardcast/1/ops/olga/up/nothing',
  ])('reads nothing into %s', (name) => {
    expect(parseUp(name)).toBeUndefined();
  });
});
