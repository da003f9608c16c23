import { type DeviceIdentity, type GatewayIdentity, type Identity, identityPath, isId, type OpsIdentity, type Scope } from '../base/identity.ts';

/**
 * The topic tree of both brokers. Every identity owns the sub-tree `wardcast/1/<identity path>`:
 *
 *   …/<identity path>/up/<verb>      it says
 *   …/<identity path>/down/<verb>    it hears
 *
 * Two shared places are read by many: a group's announcements on the LAN and the events for ops.
 *
 *   wardcast/1/customer/<c>/site/<s>/group/<g>/announce/<offer|peers>
 *   wardcast/1/event/<type>
 */
export const ROOT = 'wardcast/1';

/** What a gateway, a device or ops says. Payloads: shared/wire/messages.ts; `object/<sha256>/<part>/<parts>` carries raw bytes. */
export const UP_VERBS = ['hello', 'want', 'statement', 'progress', 'seen', 'time', 'key', 'enrol', 'request', 'object'] as const;
/** What is said to it. `object/<group>/<kind>/<name>/<part>/<parts>` carries raw bytes. */
export const DOWN_VERBS = ['offer', 'object', 'absent', 'receipt', 'time', 'key', 'refused', 'reply', 'enrolled'] as const;
export type UpVerb = (typeof UP_VERBS)[number];
export type DownVerb = (typeof DOWN_VERBS)[number];

export function up(identity: Identity, verb: UpVerb, ...rest: string[]): string {
  return [ROOT, identityPath(identity), 'up', verb, ...rest].join('/');
}

export function down(identity: Identity, verb: DownVerb, ...rest: string[]): string {
  return [ROOT, identityPath(identity), 'down', verb, ...rest].join('/');
}

/** The filter that matches all that is said to an identity. */
export function downFilter(identity: Identity): string {
  return `${ROOT}/${identityPath(identity)}/down/#`;
}

export function announce(scope: Scope, what: 'offer' | 'peers'): string {
  return `${ROOT}/customer/${scope.customer}/site/${scope.site}/group/${scope.group}/announce/${what}`;
}

export function announceFilter(scope: Scope): string {
  return `${ROOT}/customer/${scope.customer}/site/${scope.site}/group/${scope.group}/announce/#`;
}

export function event(type: string): string {
  return `${ROOT}/event/${type}`;
}
export const EVENT_FILTER = `${ROOT}/event/#`;

/** Filters with which a broker's owner hears all that its clients say. */
export const UP_FILTERS = {
  gateway: `${ROOT}/customer/+/site/+/gateway/+/up/#`,
  device: `${ROOT}/customer/+/site/+/group/+/device/+/up/#`,
  ops: `${ROOT}/ops/+/up/#`,
} as const;

export interface ParsedUp {
  readonly sender: GatewayIdentity | DeviceIdentity | OpsIdentity;
  readonly verb: UpVerb;
  readonly rest: readonly string[];
}

/** Reads a topic that somebody said; undefined when it has not that form. */
export function parseUp(topic: string): ParsedUp | undefined {
  const parts = topic.split('/');
  if (parts[0] !== 'wardcast' || parts[1] !== '1') return undefined;
  const at = parts.indexOf('up', 2);
  if (at < 0) return undefined;
  const sender = ownerOf(parts.slice(2, at));
  const verb = UP_VERBS.find((known) => known === parts[at + 1]);
  if (sender === undefined || verb === undefined) return undefined;
  return { sender, verb, rest: parts.slice(at + 2) };
}

export interface ParsedDown {
  readonly verb: DownVerb;
  readonly rest: readonly string[];
}

/** Reads a topic that was said to `identity`; undefined when it is not. */
export function parseDown(identity: Identity, topic: string): ParsedDown | undefined {
  const prefix = `${ROOT}/${identityPath(identity)}/down/`;
  if (!topic.startsWith(prefix)) return undefined;
  const [first, ...rest] = topic.slice(prefix.length).split('/');
  const verb = DOWN_VERBS.find((known) => known === first);
  return verb === undefined ? undefined : { verb, rest };
}

function ownerOf(parts: readonly string[]): GatewayIdentity | DeviceIdentity | OpsIdentity | undefined {
  if (!parts.every(isId)) return undefined;
  const [k1, v1 = '', k2, v2 = '', k3, v3 = '', k4, v4 = ''] = parts;
  if (parts.length === 2 && k1 === 'ops') return { role: 'ops', name: v1 };
  if (k1 !== 'customer' || k2 !== 'site') return undefined;
  if (parts.length === 6 && k3 === 'gateway') return { role: 'gateway', customer: v1, site: v2, gateway: v3 };
  if (parts.length === 8 && k3 === 'group' && k4 === 'device') return { role: 'device', customer: v1, site: v2, group: v3, device: v4 };
  return undefined;
}
