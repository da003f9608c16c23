import type { ClaimIdentity, DeviceIdentity, GatewayIdentity, Identity, OpsIdentity, ProviderIdentity } from '../../shared/base/identity.ts';

/**
 * Who may hear, say, have and enter what, written down a second time and by hand: nothing here is derived from shared/wire. The tests hold the policy, and
 * what is generated from it, against this page.
 */

/** `*`: one level, `**`: any number of levels, `{a,b}`: one of them, `<x>`: the holder's own x. */
const RULES = `
  device   hears  customer/<customer>/site/<site>/group/<group>/device/<device>/down/**
  device   hears  customer/<customer>/site/<site>/group/<group>/announce/**
  device   says   customer/<customer>/site/<site>/group/<group>/device/<device>/up/{hello,want,statement,progress,time,key}
  gateway  hears  customer/<customer>/site/<site>/gateway/<gateway>/down/**
  gateway  says   customer/<customer>/site/<site>/gateway/<gateway>/up/{hello,want,statement,progress,seen,time,key,enrol}
  ops      hears  ops/<name>/down/**
  ops      hears  event/**
  ops      says   ops/<name>/up/request
  ops      says   ops/<name>/up/object/*/*/*
`;

const LEVEL = '[^/\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029\\ufeff]+';

interface Rule {
  readonly role: string;
  readonly verb: string;
  readonly pattern: string;
}
const rules: readonly Rule[] = RULES.trim()
  .split('\n')
  .map((line) => {
    const [role = '', verb = '', pattern = ''] = line.trim().split(/\s+/);
    return { role, verb, pattern };
  });

const compiled = new WeakMap<Identity, { hears: RegExp[]; says: RegExp[] }>();

function patternsOf(identity: Identity): { hears: RegExp[]; says: RegExp[] } {
  const known = compiled.get(identity);
  if (known !== undefined) return known;
  const own = new Map(Object.entries(identity));
  const compile = (verb: string): RegExp[] =>
    rules
      .filter((rule) => rule.role === identity.role && rule.verb === verb)
      .map(({ pattern }) => {
        const source = pattern
          .replace(/<(\w+)>/g, (_whole, name: string) => String(own.get(name)))
          .replace(/\{([^}]*)\}/g, (_whole, list: string) => `(?:${list.replaceAll(',', '|')})`)
          .replace(/\/\*\*$/, `(?:/${LEVEL})REST`)
          .replaceAll('/*', `/${LEVEL}`)
          .replace('REST', '*');
        return new RegExp(`^wardcast/1/${source}$`, 'u');
      });
  const patterns = { hears: compile('hears'), says: compile('says') };
  compiled.set(identity, patterns);
  return patterns;
}

/** Of one topic, without wildcards. */
export function hears(identity: Identity, topic: string): boolean {
  return patternsOf(identity).hears.some((pattern) => pattern.test(topic));
}
export function says(identity: Identity, topic: string): boolean {
  return patternsOf(identity).says.some((pattern) => pattern.test(topic));
}

/** A label that no world uses: what matches it matches every label. */
const FRESH = 'zz-fresh';
const DEEPEST = 4;

/** Topics such that whoever may hear all of them may hear everything the filter matches: rights name known labels, all or none of the others. */
export function witnesses(filter: string): readonly string[] {
  const levels = filter.split('/').map((level) => (level === '+' ? FRESH : level));
  if (levels.at(-1) !== '#') return [levels.join('/')];
  const fixed = levels.slice(0, -1);
  return Array.from({ length: DEEPEST }, (_, more) => [...fixed, ...Array.from({ length: more }, () => FRESH)].join('/'));
}

/** Of a filter: everything that it matches. */
export function hearsAll(identity: Identity, filter: string): boolean {
  if (filter !== latest.filter) latest = { filter, topics: isFilter(filter) ? witnesses(filter) : undefined };
  return latest.topics?.every((topic) => hears(identity, topic)) === true;
}
/** The filter that was asked about last: everybody is asked about it in turn. */
let latest: { readonly filter: string; readonly topics: readonly string[] | undefined } = { filter: '', topics: undefined };

function isFilter(filter: string): boolean {
  if (!filter.startsWith('wardcast/1/')) return false;
  return filter.split('/').every((level, at, all) => level === '+' || (level === '#' && at === all.length - 1) || !/[+#]/.test(level));
}

// ── the small world: every boundary exists at least once ─────────────────────────────────────────────────

const CUSTOMERS = ['acme', 'bert'];
const SITES = ['north', 'south'];
const GROUPS = ['ct', 'pump'];
const DEVICES = ['one', 'two'];

export const PROVIDER: ProviderIdentity = { role: 'provider', name: 'vendor' };
export const OPS: readonly OpsIdentity[] = [
  { role: 'ops', name: 'olga' },
  { role: 'ops', name: 'omar' },
];
export const GATEWAYS: readonly GatewayIdentity[] = CUSTOMERS.flatMap((customer) =>
  SITES.map((site): GatewayIdentity => ({ role: 'gateway', customer, site, gateway: 'gw' })),
);
export const SMALL_DEVICES: readonly DeviceIdentity[] = CUSTOMERS.flatMap((customer) =>
  SITES.flatMap((site) => GROUPS.flatMap((group) => DEVICES.map((device): DeviceIdentity => ({ role: 'device', customer, site, group, device })))),
);
/** Shipped with devices of a group: it may ask to enrol, which is no matter of topics, bundles or doors. */
export const CLAIM: ClaimIdentity = { role: 'claim', customer: 'acme', group: 'ct', claim: 'batch' };
export const WORLD: readonly Identity[] = [PROVIDER, ...OPS, ...GATEWAYS, ...SMALL_DEVICES, CLAIM];

/** A short name for the tables below. */
export function nameOf(identity: Identity): string {
  if (identity.role === 'gateway') return `${identity.customer}/${identity.site}/gateway`;
  if (identity.role === 'device') return `${identity.customer}/${identity.site}/${identity.group}/${identity.device}`;
  if (identity.role === 'claim') return `${identity.customer}/${identity.group}/${identity.claim}`;
  return identity.role === 'ops' ? identity.name : 'provider';
}

/** Group at a site → everybody who may have its bundle, with all that belongs to it. */
export const MAY_HAVE: Readonly<Record<string, readonly string[]>> = {
  'acme/north/ct': ['acme/north/gateway', 'acme/north/ct/one', 'acme/north/ct/two'],
  'acme/north/pump': ['acme/north/gateway', 'acme/north/pump/one', 'acme/north/pump/two'],
  'acme/south/ct': ['acme/south/gateway', 'acme/south/ct/one', 'acme/south/ct/two'],
  'acme/south/pump': ['acme/south/gateway', 'acme/south/pump/one', 'acme/south/pump/two'],
  'bert/north/ct': ['bert/north/gateway', 'bert/north/ct/one', 'bert/north/ct/two'],
  'bert/north/pump': ['bert/north/gateway', 'bert/north/pump/one', 'bert/north/pump/two'],
  'bert/south/ct': ['bert/south/gateway', 'bert/south/ct/one', 'bert/south/ct/two'],
  'bert/south/pump': ['bert/south/gateway', 'bert/south/pump/one', 'bert/south/pump/two'],
};

/** Door → everybody who may enter. Ops listen nowhere. */
export const MAY_ENTER: Readonly<Record<string, readonly string[]>> = {
  provider: ['olga', 'omar', 'acme/north/gateway', 'acme/south/gateway', 'bert/north/gateway', 'bert/south/gateway'],
  olga: [],
  omar: [],
  'acme/ct/batch': [],
  'acme/north/gateway': ['acme/north/ct/one', 'acme/north/ct/two', 'acme/north/pump/one', 'acme/north/pump/two'],
  'acme/south/gateway': ['acme/south/ct/one', 'acme/south/ct/two', 'acme/south/pump/one', 'acme/south/pump/two'],
  'bert/north/gateway': ['bert/north/ct/one', 'bert/north/ct/two', 'bert/north/pump/one', 'bert/north/pump/two'],
  'bert/south/gateway': ['bert/south/ct/one', 'bert/south/ct/two', 'bert/south/pump/one', 'bert/south/pump/two'],
  'acme/north/ct/one': ['acme/north/gateway', 'acme/north/ct/one', 'acme/north/ct/two'],
  'acme/north/ct/two': ['acme/north/gateway', 'acme/north/ct/one', 'acme/north/ct/two'],
  'acme/north/pump/one': ['acme/north/gateway', 'acme/north/pump/one', 'acme/north/pump/two'],
  'acme/north/pump/two': ['acme/north/gateway', 'acme/north/pump/one', 'acme/north/pump/two'],
  'acme/south/ct/one': ['acme/south/gateway', 'acme/south/ct/one', 'acme/south/ct/two'],
  'acme/south/ct/two': ['acme/south/gateway', 'acme/south/ct/one', 'acme/south/ct/two'],
  'acme/south/pump/one': ['acme/south/gateway', 'acme/south/pump/one', 'acme/south/pump/two'],
  'acme/south/pump/two': ['acme/south/gateway', 'acme/south/pump/one', 'acme/south/pump/two'],
  'bert/north/ct/one': ['bert/north/gateway', 'bert/north/ct/one', 'bert/north/ct/two'],
  'bert/north/ct/two': ['bert/north/gateway', 'bert/north/ct/one', 'bert/north/ct/two'],
  'bert/north/pump/one': ['bert/north/gateway', 'bert/north/pump/one', 'bert/north/pump/two'],
  'bert/north/pump/two': ['bert/north/gateway', 'bert/north/pump/one', 'bert/north/pump/two'],
  'bert/south/ct/one': ['bert/south/gateway', 'bert/south/ct/one', 'bert/south/ct/two'],
  'bert/south/ct/two': ['bert/south/gateway', 'bert/south/ct/one', 'bert/south/ct/two'],
  'bert/south/pump/one': ['bert/south/gateway', 'bert/south/pump/one', 'bert/south/pump/two'],
  'bert/south/pump/two': ['bert/south/gateway', 'bert/south/pump/one', 'bert/south/pump/two'],
};

const UP = ['hello', 'want', 'statement', 'progress', 'seen', 'time', 'key', 'enrol', 'request', 'object', `object/${'ab'.repeat(32)}/0/1`];
const DOWN = ['offer', `object/ct/chunk/${'ab'.repeat(32)}/0/1`, 'absent', 'receipt', 'time', 'key', 'refused', 'reply', 'enrolled'];

/** Every place of the tree in the small world, and a few that are none. */
export function everyTopic(): readonly string[] {
  const owners = WORLD.map((identity) => {
    if (identity.role === 'gateway') return `customer/${identity.customer}/site/${identity.site}/gateway/${identity.gateway}`;
    if (identity.role === 'device') return `customer/${identity.customer}/site/${identity.site}/group/${identity.group}/device/${identity.device}`;
    if (identity.role === 'claim') return `customer/${identity.customer}/group/${identity.group}/claim/${identity.claim}`;
    return `${identity.role}/${identity.name}`;
  });
  const groups = [...new Set(SMALL_DEVICES.map(({ customer, site, group }) => `customer/${customer}/site/${site}/group/${group}`))];
  return [
    ...owners.flatMap((owner) => [...UP.map((verb) => `${owner}/up/${verb}`), ...DOWN.map((verb) => `${owner}/down/${verb}`), `${owner}/down`, owner]),
    ...groups.flatMap((group) => ['offer', 'peers'].map((what) => `${group}/announce/${what}`)),
    'event/progress',
    'event/registry-changed',
    'event',
  ].map((path) => `wardcast/1/${path}`);
}

/** Every filter of the small world's tree: at each level a name that stands there, `+`, or `#` and nothing more. */
export function everyFilter(): readonly string[] {
  const tree = (levels: readonly (readonly string[])[]): string[] => {
    const filters: string[] = [];
    const grow = (prefix: string, at: number): void => {
      filters.push(`${prefix}/#`);
      const names = levels[at];
      if (names === undefined) {
        filters.push(prefix);
        return;
      }
      for (const name of [...names, '+']) grow(`${prefix}/${name}`, at + 1);
    };
    grow('wardcast/1', 0);
    return filters;
  };
  const ends = [['up', 'down'], ['statement']];
  return [
    ...new Set([
      ...tree([['customer'], CUSTOMERS, ['site'], SITES, ['group'], GROUPS, ['device'], DEVICES, ...ends]),
      ...tree([['customer'], CUSTOMERS, ['site'], SITES, ['gateway'], ['gw'], ...ends]),
      ...tree([['customer'], CUSTOMERS, ['site'], SITES, ['group'], GROUPS, ['announce'], ['offer', 'peers']]),
      ...tree([
        ['ops', 'provider'],
        ['olga', 'omar', 'vendor'],
        ['up', 'down'],
        ['request', 'reply'],
      ]),
      ...tree([['ops'], ['olga', 'omar'], ['up'], ['object'], ['ab'], ['0'], ['1']]),
      ...tree([['event'], ['progress']]),
      ...everyTopic(),
      ...['#', '+', '+/#', '+/+/#', 'wardcast/#', 'wardcast/+/#', '+/1/event/#', '+/1/customer/acme/#', '$SYS/#', '$share/all/wardcast/1/#', '/', '//', ''],
    ]),
  ];
}
