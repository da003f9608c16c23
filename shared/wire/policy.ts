import { type Identity, type Scope, sameScope } from '../base/identity.ts';
import { MAX_TOPIC } from '../base/limits.ts';
import { announceFilter, downFilter, EVENT_FILTER, ROOT, type UpVerb, up } from './topics.ts';

/**
 * Who may hear, say and fetch what: the one policy that every door asks (both brokers, the chunk servers and
 * the access lists generated for other brokers). Pure, and closed: what no line allows is denied.
 */

const SAYS: Readonly<Record<Identity['role'], readonly UpVerb[]>> = {
  provider: [],
  ops: ['request', 'object'],
  gateway: ['hello', 'want', 'statement', 'progress', 'seen', 'time', 'key', 'enrol'],
  device: ['hello', 'want', 'statement', 'progress', 'time', 'key'],
  claim: [],
};
/** What verbs carry in further levels: hash, part and number of parts of an uploaded object. */
const SAYS_DEEPER: ReadonlyMap<UpVerb, string> = new Map([['object', '/+/+/+']]);

/** Who has business at whose door; everybody else is turned away before a word is heard. */
export function mayEnter(owner: Identity, visitor: Identity): boolean {
  switch (owner.role) {
    case 'provider':
      return visitor.role === 'gateway' || visitor.role === 'ops';
    case 'gateway':
      return visitor.role === 'device' && visitor.customer === owner.customer && visitor.site === owner.site;
    case 'device':
      if (visitor.role === 'device') return sameScope(owner, visitor);
      return visitor.role === 'gateway' && visitor.customer === owner.customer && visitor.site === owner.site;
    case 'ops':
    case 'claim':
      return false;
  }
}

/** The topic filters an identity may read; a subscription must lie inside one of them. */
export function readable(identity: Identity): readonly string[] {
  switch (identity.role) {
    case 'provider':
    case 'claim':
      return [];
    case 'ops':
      return [downFilter(identity), EVENT_FILTER];
    case 'gateway':
      return [downFilter(identity)];
    case 'device':
      return [downFilter(identity), announceFilter(identity)];
  }
}

/** The topic filters an identity may publish to. */
export function writable(identity: Identity): readonly string[] {
  return SAYS[identity.role].map((verb) => `${up(identity, verb)}${SAYS_DEEPER.get(verb) ?? ''}`);
}

/** May `identity` subscribe to this topic or filter: is all that the filter can match inside what it may read? */
export function mayRead(identity: Identity, filter: string): boolean {
  return isWellFormed(filter, true) && readable(identity).some((allowed) => covers(allowed, filter));
}

/** May `identity` publish to exactly this topic? */
export function mayPublish(identity: Identity, topic: string): boolean {
  return isWellFormed(topic, false) && writable(identity).some((allowed) => covers(allowed, topic));
}

/** What one bundle contains, as the policy needs it: whose it is, and whether a chunk belongs to it. */
export interface BundleContents {
  readonly scope: Scope;
  has(hash: string): boolean;
}

/** May `identity` obtain this chunk as part of this bundle? A chunk's hash alone is no permission. */
export function mayFetch(identity: Identity, bundle: BundleContents, hash: string): boolean {
  return mayFetchScope(identity, bundle.scope) && bundle.has(hash);
}

/** May `identity` obtain what belongs to the bundle of `scope` as a whole: its metadata, manifests and list of peers? */
export function mayFetchScope(identity: Identity, scope: Scope): boolean {
  switch (identity.role) {
    case 'device':
      return sameScope(identity, scope);
    case 'gateway':
      return identity.customer === scope.customer && identity.site === scope.site;
    case 'ops':
    case 'provider':
    case 'claim':
      return false;
  }
}

/**
 * True if every topic that `inner` matches is matched by `outer` (MQTT 3.1.1, 4.7). Exact for filters below ROOT; of the others it may deny what it
 * need not, and knows nothing of `$` topics, which nobody here may read.
 */
export function covers(outer: string, inner: string): boolean {
  const a = outer.split('/');
  const b = inner.split('/');
  for (let i = 0; i < a.length; i++) {
    const level = a[i];
    // `x/#` also matches `x` itself (4.7.1.2); an inner filter of that length is covered.
    if (level === '#') return true;
    const other = b[i];
    if (other === undefined || other === '#') return false;
    if (level !== '+' && level !== other) return false;
  }
  return a.length === b.length;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is refused here.
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufeff]/;

function isWellFormed(topic: string, wildcards: boolean): boolean {
  if (topic.length === 0 || topic.length > MAX_TOPIC || FORBIDDEN.test(topic) || !topic.startsWith(`${ROOT}/`)) return false;
  const levels = topic.split('/');
  return levels.every((level, index) => {
    if (level === '') return false;
    if (level === '+') return wildcards;
    if (level === '#') return wildcards && index === levels.length - 1;
    return !level.includes('+') && !level.includes('#');
  });
}
