import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Identity, Scope } from '../../shared/base/identity.ts';
import { MAX_TOPIC } from '../../shared/base/limits.ts';
import { covers, mayEnter, mayFetch, mayFetchScope, mayPublish, mayRead, readable, writable } from '../../shared/wire/policy.ts';
import { everyFilter, everyTopic, hearsAll, MAY_ENTER, MAY_HAVE, nameOf, says, WORLD, witnesses } from './specification.ts';

/** 600,000 questions: three seconds of work, of which a crowded machine may make a minute. */
const HANG_GUARD = 300_000;

describe('the policy’s table over the small world', { timeout: HANG_GUARD }, () => {
  it('lets each identity hear exactly the topics and filters of the specification', () => {
    const wrong: string[] = [];
    const granted = new Map<string, number>();
    const filters = everyFilter();
    for (const filter of filters) {
      for (const identity of WORLD) {
        const may = mayRead(identity, filter);
        if (may) granted.set(identity.role, (granted.get(identity.role) ?? 0) + 1);
        if (may !== hearsAll(identity, filter)) wrong.push(`${nameOf(identity)} ${may ? 'hears' : 'does not hear'} ${filter}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(filters.length).toBeGreaterThan(20_000);
    // Were nobody allowed anything, the comparison would say nothing.
    expect([...granted.keys()].sort()).toEqual(['device', 'gateway', 'ops']);
    expect(Math.min(...granted.values())).toBeGreaterThan(20);
  });

  it('lets each identity say exactly the topics of the specification', () => {
    const wrong: string[] = [];
    let granted = 0;
    const topics = everyFilter();
    for (const identity of WORLD) {
      for (const topic of topics) {
        const may = mayPublish(identity, topic);
        if (may) granted++;
        if (may !== (!/[+#]/.test(topic) && says(identity, topic))) wrong.push(`${nameOf(identity)} ${may ? 'says' : 'does not say'} ${topic}`);
      }
    }
    expect(wrong).toEqual([]);
    // 16 devices × 6 verbs, 4 gateways × 8, 2 ops × (request, one upload with a whole hash, one with a short one).
    expect(granted).toBe(16 * 6 + 4 * 8 + 2 * 3);
  });

  it('lets nobody hear what another identity says, so that only the broker’s owner can', () => {
    for (const topic of everyTopic())
      for (const speaker of WORLD) if (says(speaker, topic)) for (const other of WORLD) expect(mayRead(other, topic)).toBe(false);
  });

  it('gives each bundle, and each chunk through it, to exactly those of the specification', () => {
    // One chunk is in every bundle, one in each alone, one in none: a hash opens nothing by itself.
    const scopes = Object.keys(MAY_HAVE).map(scopeOf);
    for (const scope of scopes) {
      const own = `chunk of ${name(scope)}`;
      const bundle = { scope, has: (hash: string) => hash === own || hash === 'shared' };
      for (const identity of WORLD) {
        const entitled = MAY_HAVE[name(scope)]?.includes(nameOf(identity)) === true;
        expect(mayFetchScope(identity, scope), `${nameOf(identity)} of ${name(scope)}`).toBe(entitled);
        for (const hash of ['shared', 'none', ...scopes.map((other) => `chunk of ${name(other)}`)]) {
          expect(mayFetch(identity, bundle, hash), `${nameOf(identity)}: ${hash} of ${name(scope)}`).toBe(entitled && (hash === own || hash === 'shared'));
        }
      }
    }
  });

  it('opens each door to exactly those of the specification', () => {
    for (const owner of WORLD)
      for (const visitor of WORLD)
        expect(mayEnter(owner, visitor), `${nameOf(visitor)} at ${nameOf(owner)}`).toBe(MAY_ENTER[nameOf(owner)]?.includes(nameOf(visitor)));
  });
});

// ── the large world ──────────────────────────────────────────────────────────────────────────────────────

/** Ids that look like parts of the tree, begin like each other, or are as long as they may be. */
const id = fc.oneof(
  fc.constantFrom(
    'a',
    'aa',
    'a-a',
    'b',
    'customer',
    'site',
    'group',
    'device',
    'gateway',
    'ops',
    'event',
    'up',
    'down',
    'announce',
    'wardcast',
    '1',
    'provider',
  ),
  fc.constant('x'.repeat(63)),
  fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/),
);
const identity: fc.Arbitrary<Identity> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ role: fc.constant('provider' as const), name: id }) },
  { weight: 2, arbitrary: fc.record({ role: fc.constant('ops' as const), name: id }) },
  { weight: 3, arbitrary: fc.record({ role: fc.constant('gateway' as const), customer: id, site: id, gateway: id }) },
  { weight: 6, arbitrary: fc.record({ role: fc.constant('device' as const), customer: id, site: id, group: id, device: id }) },
);
/** Identities that share many of their parts, as those of a fleet do. */
const fleet = fc.array(identity, { minLength: 2, maxLength: 6 }).chain((members) => {
  // By their names: an operator may be called ops.
  const labels = members.flatMap((member) => Object.entries(member).flatMap(([key, value]) => (key === 'role' ? [] : [value])));
  const one = fc.constantFrom(...labels);
  const kin = fc
    .constantFrom(...members)
    .chain((member) =>
      fc
        .record({ part: fc.constantFrom('customer', 'site', 'group', 'device', 'gateway', 'name'), label: one })
        .map(({ part, label }): Identity => (part in member ? { ...member, [part]: label } : member)),
    );
  return fc.tuple(fc.constant(members), fc.array(kin, { maxLength: 6 })).map(([old, young]) => [...old, ...young]);
});
const hostileLevel = fc.oneof(
  fc.constantFrom(
    '+',
    '#',
    '',
    '..',
    '.',
    '+a',
    'a#',
    '##',
    '++',
    '$SYS',
    '%2f',
    'up',
    'down',
    'announce',
    'offer',
    'device',
    'group',
    'A',
    'ａ',
    'a\u0000',
    '\u2028',
    '\ufeff',
    'a b',
    '\n',
    '￿',
  ),
  id,
  fc.string({ maxLength: 4 }).map((text) => text.replaceAll('/', '')),
);
const placeOf = (member: Identity): readonly string[] => [
  ...readable(member),
  ...writable(member),
  ...[...readable(member), ...writable(member)].flatMap(witnesses),
  'wardcast/1/event/progress',
];
/** A true place of somebody in the fleet, with a few levels changed, cut off or added. */
const hostileFilter = (members: readonly Identity[]): fc.Arbitrary<string> =>
  fc.constantFrom(...members.flatMap(placeOf)).chain((place) => {
    const levels = place.split('/');
    const change = fc.record({ at: fc.nat(levels.length), cut: fc.nat(2), put: fc.array(hostileLevel, { maxLength: 2 }) });
    return fc.array(change, { maxLength: 3 }).map((changes) => {
      const made = [...levels];
      for (const { at, cut, put } of changes) made.splice(at, cut, ...put);
      return made.join('/');
    });
  });
const attempt = fleet.chain((members) =>
  fc.record({ who: fc.constantFrom(...members), what: fc.oneof({ weight: 8, arbitrary: hostileFilter(members) }, { weight: 1, arbitrary: fc.string() }) }),
);

describe('the policy in any world', { timeout: HANG_GUARD }, () => {
  it('grants a subscription exactly when everything it matches is the subscriber’s by the specification', () => {
    let granted = 0;
    fc.assert(
      fc.property(attempt, ({ who, what }) => {
        const may = mayRead(who, what);
        if (may) granted++;
        expect(may).toBe(what.length <= MAX_TOPIC && hearsAll(who, what));
      }),
      { numRuns: 2000 },
    );
    expect(granted).toBeGreaterThan(50);
  });

  it('takes a message exactly when its topic is the sender’s by the specification', () => {
    let granted = 0;
    fc.assert(
      fc.property(attempt, ({ who, what }) => {
        const may = mayPublish(who, what);
        if (may) granted++;
        expect(may).toBe(what.length <= MAX_TOPIC && !/[+#]/.test(what) && says(who, what));
      }),
      { numRuns: 2000 },
    );
    expect(granted).toBeGreaterThan(10);
  });

  it('never lets two identities hear one private topic, nor one hear what the other says', () => {
    fc.assert(
      fc.property(fleet, (members) => {
        for (const one of members)
          for (const other of members) {
            const same = JSON.stringify(one) === JSON.stringify(other);
            for (const filter of writable(one)) for (const topic of witnesses(filter)) expect(mayRead(other, topic)).toBe(false);
            if (same || one.role !== 'device' || other.role !== 'device') continue;
            const kin = one.customer === other.customer && one.site === other.site && one.group === other.group;
            for (const filter of readable(one)) expect(mayRead(other, filter)).toBe(kin && filter.endsWith('/announce/#'));
          }
      }),
      { numRuns: 100 },
    );
  });

  it('serves a chunk only through a bundle that has it, of the group in the certificate, or of the gateway’s own site', () => {
    const hash: fc.Arbitrary<string> = fc.constantFrom('one', 'two', 'three');
    fc.assert(
      fc.property(fleet, fc.record({ customer: id, site: id, group: id }), fc.array(hash), hash, (members, stranger, content, wanted) => {
        const scopes = [stranger, ...members.filter((member) => member.role === 'device')];
        for (const scope of scopes)
          for (const who of members) {
            const atSite = 'site' in who && who.customer === scope.customer && who.site === scope.site;
            const entitled = atSite && (who.role === 'gateway' || who.group === scope.group);
            expect(mayFetch(who, { scope, has: (name) => content.includes(name) }, wanted)).toBe(entitled && content.includes(wanted));
          }
      }),
      { numRuns: 100 },
    );
  });
});

/** MQTT 3.1.1, 4.7, by recursion over levels, as the standard puts it. */
function matches(filter: readonly string[], topic: readonly string[]): boolean {
  const [first, ...rest] = filter;
  if (first === undefined) return topic.length === 0;
  if (first === '#') return true;
  const [level, ...below] = topic;
  return level !== undefined && (first === '+' || first === level) && matches(rest, below);
}

describe('covers, below the root,', () => {
  const level = fc.constantFrom('a', 'b', '+');
  const filter = fc.tuple(fc.array(level, { maxLength: 5 }), fc.boolean()).map(([levels, all]) => ['w', ...levels, ...(all ? ['#'] : [])]);
  const topics: string[][] = [];
  const grow = (topic: string[]): void => {
    topics.push(topic);
    if (topic.length < 8) for (const next of ['a', 'b', 'c']) if (topic.length < 6 || next === 'c') grow([...topic, next]);
  };
  grow(['w']);

  it('is sound and complete: true exactly when every topic that the inner filter matches is matched by the outer one', () => {
    let covered = 0;
    fc.assert(
      fc.property(filter, filter, (outer, inner) => {
        const all = topics.every((topic) => !matches(inner, topic) || matches(outer, topic));
        if (all) covered++;
        expect(covers(outer.join('/'), inner.join('/'))).toBe(all);
      }),
      { numRuns: 3000 },
    );
    expect(covered).toBeGreaterThan(100);
  });
});

function scopeOf(path: string): Scope {
  const [customer = '', site = '', group = ''] = path.split('/');
  return { customer, site, group };
}
function name({ customer, site, group }: Scope): string {
  return `${customer}/${site}/${group}`;
}
