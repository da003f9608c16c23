import { constants, generateKeyPairSync, hash, type KeyObject, sign } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A TUF repository made of plain JSON, so that a test can publish whatever it likes, over real http. Its code shares nothing with ours. */

export interface TestSigner {
  readonly keyId: string;
  readonly json: { keytype: string; scheme: string; keyval: Record<string, string>; [more: string]: unknown };
  sign(bytes: Buffer): string;
}

let counter = 0;
export function ed25519(keyId?: string): TestSigner {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const json = { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: rawHex(publicKey) } };
  return { keyId: keyId ?? idOf(json), json, sign: (bytes) => sign(null, bytes, privateKey).toString('hex') };
}

export function ecdsa(curve: 'P-256' | 'P-384' = 'P-256'): TestSigner {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: curve });
  const json = { keytype: 'ecdsa', scheme: curve === 'P-256' ? 'ecdsa-sha2-nistp256' : 'ecdsa-sha2-nistp384', keyval: { public: pemOf(publicKey) } };
  return { keyId: idOf(json), json, sign: (bytes) => sign(curve === 'P-256' ? 'sha256' : 'sha384', bytes, privateKey).toString('hex') };
}

export function rsa(scheme: 'rsassa-pss-sha256' | 'rsa-pkcs1v15-sha256', bits = 2048): TestSigner {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  const json = { keytype: 'rsa', scheme, keyval: { public: pemOf(publicKey) } };
  const padding = scheme.startsWith('rsassa') ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } : {};
  return { keyId: idOf(json), json, sign: (bytes) => sign('sha256', bytes, { key: privateKey, ...padding }).toString('hex') };
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}
function rawHex(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'der' }).subarray(-32).toString('hex');
}
function idOf(json: object): string {
  return hash('sha256', canonical(json));
}

/** OLPC canonical JSON, raw control characters and all. */
export function canonical(value: unknown): Buffer {
  const write = (item: unknown): string => {
    if (typeof item === 'string') return `"${item.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
    if (Array.isArray(item)) return `[${item.map(write).join(',')}]`;
    if (typeof item !== 'object' || item === null) return JSON.stringify(item);
    const members = Object.entries(item).filter(([, member]) => member !== undefined);
    return `{${members
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => `${write(key)}:${write(member)}`)
      .join(',')}}`;
  };
  return Buffer.from(write(value));
}

export interface RoleJson {
  keyids: string[];
  threshold: number;
  [more: string]: unknown;
}
export interface DelegationJson extends RoleJson {
  name: string;
  terminating: boolean;
  paths?: string[];
  path_hash_prefixes?: string[];
}
export interface FileJson {
  version: number;
  length?: number;
  hashes?: Record<string, string>;
}
export interface TargetJson {
  length: number;
  hashes: Record<string, string>;
  custom?: unknown;
}
export interface Common {
  _type: string;
  spec_version: string;
  version: number;
  expires: string;
  [more: string]: unknown;
}
export interface RootJson extends Common {
  consistent_snapshot: boolean;
  keys: Record<string, TestSigner['json']>;
  roles: Record<string, RoleJson>;
}
export interface MetaJson extends Common {
  meta: Record<string, FileJson>;
}
export interface TargetsJson extends Common {
  targets: Record<string, TargetJson>;
  delegations?: { keys: Record<string, TestSigner['json']>; roles: DelegationJson[] };
}
export type Envelope = { signatures: { keyid: string; sig: string }[]; signed: Common; [more: string]: unknown };

export const TOP = ['root', 'timestamp', 'snapshot', 'targets'] as const;
export type Top = (typeof TOP)[number];

export function inDays(days: number): string {
  return `${new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 19)}Z`;
}

export class Simulator {
  readonly signers = new Map<string, TestSigner[]>();
  readonly root: RootJson;
  readonly timestamp: MetaJson;
  readonly snapshot: MetaJson;
  readonly targets: TargetsJson;
  readonly delegated = new Map<string, TargetsJson>();
  /** Served files by path below the repository. */
  readonly files = new Map<string, Buffer>();
  readonly asked: string[] = [];
  withHashes = false;
  readonly #made: () => TestSigner;

  constructor(make: () => TestSigner = () => ed25519()) {
    this.#made = make;
    const common = (type: string): Common => ({ _type: type, spec_version: '1.0.31', version: 1, expires: inDays(30) });
    this.root = { ...common('root'), consistent_snapshot: true, keys: {}, roles: Object.fromEntries(TOP.map((role) => [role, { keyids: [], threshold: 1 }])) };
    this.timestamp = { ...common('timestamp'), meta: { 'snapshot.json': { version: 1 } } };
    this.snapshot = { ...common('snapshot'), meta: { 'targets.json': { version: 1 } } };
    this.targets = { ...common('targets'), targets: {} };
    for (const role of TOP) this.addKey(role);
    for (const role of TOP) this.publish(role);
  }

  addKey(role: string, signer: TestSigner = this.#made(), delegator = 'root'): TestSigner {
    const list = delegator === 'root' ? this.root : this.any(delegator).delegations;
    const entry = delegator === 'root' ? this.root.roles[role] : this.any(delegator).delegations?.roles.find(({ name }) => name === role);
    if (list === undefined || entry === undefined) throw new Error(`no role ${role}`);
    list.keys[signer.keyId] = signer.json;
    entry.keyids.push(signer.keyId);
    this.signers.set(role, [...(this.signers.get(role) ?? []), signer]);
    return signer;
  }

  rotateKeys(role: Top): void {
    const entry = this.role(role);
    const count = entry.threshold;
    entry.keyids.length = 0;
    this.signers.set(role, []);
    for (let n = 0; n < count; n++) this.addKey(role);
  }

  role(name: string): RoleJson {
    const role = this.root.roles[name];
    if (role === undefined) throw new Error(name);
    return role;
  }

  any(name: string): TargetsJson {
    const targets = name === 'targets' ? this.targets : this.delegated.get(name);
    if (targets === undefined) throw new Error(`no targets role ${name}`);
    return targets;
  }

  signed(role: string): Common {
    if (role === 'root') return this.root;
    if (role === 'timestamp') return this.timestamp;
    return role === 'snapshot' ? this.snapshot : this.any(role);
  }

  envelope(role: string, signers = this.signers.get(role) ?? []): Envelope {
    const signed = structuredClone(this.signed(role));
    const bytes = canonical(signed);
    return { signatures: signers.map((signer) => ({ keyid: signer.keyId, sig: signer.sign(bytes) })), signed };
  }

  /** Serves the role as it stands; `change` may forge what is served. */
  publish(role: string, change: (envelope: Envelope) => Envelope = (envelope) => envelope, signers?: readonly TestSigner[]): Buffer {
    const envelope = change(this.envelope(role, signers === undefined ? undefined : [...signers]));
    // Pretty-printed: nobody may count on canonical bytes.
    const bytes = Buffer.from(JSON.stringify(envelope, null, 1));
    this.files.set(this.path(role, this.signed(role).version), bytes);
    return bytes;
  }

  path(role: string, version: number): string {
    const name = `${encodeURIComponent(role)}.json`;
    return `metadata/${role === 'timestamp' || (role !== 'root' && !this.root.consistent_snapshot) ? name : `${version}.${name}`}`;
  }

  /** The next version of a role, and of the roles that list it. */
  bump(...roles: string[]): void {
    for (const role of roles) {
      this.signed(role).version++;
      this.publish(role);
    }
  }

  entry(role: string): FileJson {
    const { version } = this.signed(role);
    const bytes = this.files.get(this.path(role, version));
    return this.withHashes && bytes !== undefined ? { version, length: bytes.length, hashes: { sha256: hash('sha256', bytes) } } : { version };
  }

  /** Snapshot and timestamp that list the other roles as they stand. */
  updateSnapshot(): void {
    for (const role of ['targets', ...this.delegated.keys()]) this.snapshot.meta[`${role}.json`] = this.entry(role);
    this.bump('snapshot');
    this.updateTimestamp();
  }

  updateTimestamp(): void {
    this.timestamp.meta['snapshot.json'] = this.entry('snapshot');
    this.bump('timestamp');
  }

  addTarget(role: string, path: string, content: Buffer, algorithms = ['sha256']): void {
    const hashes = Object.fromEntries(algorithms.map((name) => [name, hash(name, content)]));
    this.any(role).targets[path] = { length: content.length, hashes };
    const segments = path.split('/');
    const name = segments.pop() ?? '';
    const prefix = this.root.consistent_snapshot ? `${Object.values(hashes)[0]}.` : '';
    this.files.set(`targets/${[...segments, `${prefix}${name}`].map(encodeURIComponent).join('/')}`, content);
  }

  delegate(delegator: string, name: string, more: Partial<DelegationJson> = {}): void {
    const targets = this.any(delegator);
    targets.delegations ??= { keys: {}, roles: [] };
    targets.delegations.roles.push({ name, keyids: [], threshold: 1, terminating: false, ...('path_hash_prefixes' in more ? {} : { paths: ['*'] }), ...more });
    if (!this.delegated.has(name)) this.delegated.set(name, { _type: 'targets', spec_version: '1.0.31', version: 1, expires: inDays(30), targets: {} });
    this.addKey(name, undefined, delegator);
  }

  /** Publishes every targets role anew, and what lists them. */
  publishAll(): void {
    for (const name of this.delegated.keys()) this.publish(name);
    this.bump('targets');
    this.updateSnapshot();
  }

  asksFor(kind: 'metadata' | 'targets'): string[] {
    return this.asked.filter((path) => path.startsWith(kind)).map((path) => path.slice(kind.length + 1));
  }
}

/** Serves any number of repositories below /<n>/. */
export class RepositoryServer {
  readonly #server: Server;
  readonly #repositories = new Map<string, Simulator>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<RepositoryServer> {
    const server = createServer();
    const served = new RepositoryServer(server);
    server.on('request', (request, response) => {
      const [, id = '', ...rest] = (request.url ?? '').split('/');
      const simulator = served.#repositories.get(id);
      const path = rest.join('/');
      simulator?.asked.push(path);
      const bytes = simulator?.files.get(path);
      response.writeHead(bytes === undefined ? 404 : 200).end(bytes);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return served;
  }

  serve(simulator: Simulator): { readonly metadataUrl: string; readonly targetUrl: string } {
    const id = `repository-${++counter}`;
    this.#repositories.set(id, simulator);
    const address: AddressInfo | string | null = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return { metadataUrl: `http://127.0.0.1:${address.port}/${id}/metadata/`, targetUrl: `http://127.0.0.1:${address.port}/${id}/targets/` };
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
