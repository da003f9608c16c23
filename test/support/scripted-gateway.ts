import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { type Credentials, loadCredentials } from '../../certs/credentials.ts';
import { seal } from '../../certs/envelope.ts';

import { addCustomer, addGroup, createPki, issueDevice, issueGateway, issueProvider } from '../../certs/pki-directory.ts';
import { Seeder } from '../../gateway/seed/seeder.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { type DeviceIdentity, type Identity, type Scope, scopePath } from '../../shared/base/identity.ts';
import { silentLog } from '../../shared/base/log.ts';
import type { Bundle } from '../../shared/bundle/bundle.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { type ChunkList, chunkList, parseManifest } from '../../shared/bundle/manifest.ts';
import { createChunkHandler, type ServedBundle } from '../../shared/net/chunk-server.ts';
import { type Door, openDoor } from '../../shared/net/door.ts';
import { type AttachableBroker, createEmbeddedBroker } from '../../shared/net/embedded-broker.ts';
import { ObjectServer } from '../../shared/net/exchange/server.ts';
import { entitledChunks } from '../../shared/net/swarm/entitled.ts';
import { createSigningKey, type SigningKey } from '../../shared/trust/keys.ts';
import { buildGroupRepository, daysFrom, type GroupRepository } from '../../shared/trust/repository.ts';
import { signRelease, signRoot, signTargets } from '../../shared/trust/sign.ts';
import {
  type Confirmation,
  DeviceHello,
  type Inventory,
  type ObjectKind,
  type Offer,
  Progress,
  type Receipt,
  Signed,
  Statement,
  TimeQuestion,
  Want,
} from '../../shared/wire/messages.ts';
import { timeTree } from '../../shared/wire/time-tree.ts';
import { announce, down, parseUp, UP_FILTERS } from '../../shared/wire/topics.ts';
import type { MadeRelease } from './made-release.ts';
import { TestNotary } from './notary.ts';

type VendorKeys = Readonly<Record<'root' | 'targets' | 'release' | 'assignment' | 'snapshot' | 'timestamp', SigningKey>>;

/** A vendor with its offline keys, and a PKI with one customer, one site, two groups. */
export class Vendor {
  readonly directory: string;
  readonly root: Buffer;
  readonly provider: Credentials;
  readonly #keys: VendorKeys;
  readonly #targets: Buffer;
  readonly #published = new Map<string, Map<string, MadeRelease>>();
  readonly #before = new Map<string, { repository: GroupRepository; bundle: Bundle }>();
  #roleVersion = 0;

  private constructor(directory: string, provider: Credentials, keys: VendorKeys, applications: readonly string[]) {
    this.directory = directory;
    this.provider = provider;
    this.#keys = keys;
    const role = (key: SigningKey): { keys: SigningKey[]; threshold: number } => ({ keys: [key], threshold: 1 });
    const expires = daysFrom(new Date(), 365);
    const roles = { root: role(keys.root), targets: role(keys.targets), snapshot: role(keys.snapshot), timestamp: role(keys.timestamp) };
    this.root = signRoot({ version: 1, expires, keys: [keys.root], roles });
    const delegated = new Map(applications.map((application) => [application, role(keys.release)]));
    this.#targets = signTargets({ version: 1, expires, keys: [keys.targets], assignment: role(keys.assignment), applications: delegated });
  }

  static async create(directory: string, devices: readonly { group: string; device: string }[]): Promise<Vendor> {
    const pki = join(directory, 'pki');
    await createPki({ directory: pki, trustDomain: 'vendor.example' });
    await addCustomer({ directory: pki, customer: 'acme' });
    for (const group of new Set(devices.map((device) => device.group))) await addGroup({ directory: pki, customer: 'acme', group });
    const at = (name: string): string => join(directory, name);
    await issueProvider({ directory: pki, name: 'vendor', dnsNames: ['localhost'], out: at('provider') });
    await issueGateway({ directory: pki, customer: 'acme', site: 'north', gateway: 'gw', out: at('gw') });
    for (const { group, device } of devices) await issueDevice({ directory: pki, customer: 'acme', site: 'north', group, device, out: at(device) });
    const [root, targets, release, assignment, snapshot, timestamp] = await Promise.all([
      createSigningKey(),
      createSigningKey(),
      createSigningKey(),
      createSigningKey(),
      createSigningKey(),
      createSigningKey(),
    ]);
    const provider = await loadCredentials(at('provider'), systemClock);
    return new Vendor(directory, provider, { root, targets, release, assignment, snapshot, timestamp }, ['viewer', 'driver', 'tools']);
  }

  credentials(name: string): string {
    return join(this.directory, name);
  }

  publish(...releases: readonly MadeRelease[]): void {
    for (const release of releases) {
      const versions = this.#published.get(release.application) ?? new Map<string, MadeRelease>();
      versions.set(release.version, release);
      this.#published.set(release.application, versions);
    }
    this.#roleVersion += 1;
  }

  /** The next bundle of a group, with all that must be served for it. */
  assign(
    scope: Scope,
    releases: readonly MadeRelease[],
    more: { allowDowngrade?: boolean; withdrawn?: Bundle['withdrawn']; revoked?: Bundle['revoked']; now?: Date } = {},
  ): Shelf {
    const before = this.#before.get(scope.group);
    const bundle: Bundle = {
      format: 1,
      customer: scope.customer,
      site: scope.site,
      group: scope.group,
      sequence: (before?.bundle.sequence ?? 0) + 1,
      releases: releases.map(({ application, version, manifestHash, bytes }) => ({
        application,
        version,
        manifest: manifestHash,
        size: bytes.length,
        allowDowngrade: more.allowDowngrade ?? false,
      })),
      withdrawn: more.withdrawn ?? [],
      ...(more.revoked === undefined ? {} : { revoked: more.revoked }),
    };
    const { assignment, snapshot, timestamp } = this.#keys;
    const repository = buildGroupRepository({
      previous: before?.repository.versions,
      bundle,
      root: [this.root],
      targets: this.#targets,
      releaseRoles: new Map([...this.#published.keys()].map((application) => [application, this.#role(application)])),
      keys: { assignment, snapshot, timestamp },
      now: more.now ?? new Date(),
    });
    this.#before.set(scope.group, { repository, bundle });
    const shelf: Shelf = { scope, sequence: bundle.sequence, timestampVersion: repository.versions.timestamp, objects: new Map(), lists: new Map() };
    for (const [name, bytes] of repository.files) shelf.objects.set(`metadata/${name}`, bytes);
    for (const [hash, bytes] of repository.targets) shelf.objects.set(`target/${hash}`, bytes);
    for (const release of releases) {
      shelf.objects.set(`target/${release.manifestHash}`, release.bytes);
      shelf.lists.set(release.manifestHash, chunkList(parseManifest(release.bytes)));
      for (const [hash, bytes] of release.chunks) shelf.objects.set(`chunk/${hash}`, bytes);
    }
    return shelf;
  }

  #role(application: string): Buffer {
    const releases = [...(this.#published.get(application)?.values() ?? [])].map(({ version, manifestHash, bytes }) => ({
      version,
      manifest: manifestHash,
      size: bytes.length,
    }));
    return signRelease({ version: this.#roleVersion, expires: daysFrom(new Date(), 365), keys: [this.#keys.release], application, releases });
  }
}

/** What a gateway holds for a group: `metadata/<name>`, `target/<hash>`, `chunk/<hash>`. */
export interface Shelf {
  readonly scope: Scope;
  readonly sequence: number;
  readonly timestampVersion: number;
  readonly objects: Map<string, Buffer>;
  readonly lists: Map<string, ChunkList>;
}

/**
 * A gateway of which a test says what it holds, and which lies when told to: the real door, broker, chunk handler and object server, with real
 * certificates; statements are answered as the provider would.
 */
export class ScriptedGateway {
  readonly broker: AttachableBroker;
  readonly hellos: DeviceHello[] = [];
  readonly progress: Progress[] = [];
  /** Statements as they came, repetitions included. */
  readonly statements: Statement[] = [];
  /** Objects as they were handed out, `kind/name`. */
  readonly served: string[] = [];
  /** What the provider says the time is when a device asks; undefined: it does not answer. */
  time: () => number | undefined = () => Date.now();
  /** How a statement is answered; undefined: not at all. */
  receipt: (statement: Statement) => Pick<Receipt, 'outcome' | 'highest'> | undefined = ({ counter }) => ({ outcome: 'recorded', highest: counter });
  /** May alter, withhold or delay an object. */
  onRead: (kind: ObjectKind, name: string, bytes: Buffer | undefined) => Buffer | undefined | Promise<Buffer | undefined> = (_kind, _name, bytes) => bytes;
  /** Of the provider above, whose log it is. */
  notary: TestNotary;
  readonly #vendor: Vendor;
  readonly #objects: ObjectServer;
  readonly #seeder: Seeder;
  readonly #shelves = new Map<string, Shelf>();
  readonly #devices = new Map<string, DeviceIdentity>();
  readonly #closing = new AbortController();
  readonly #waiting = new Set<() => void>();
  #door: Door | undefined;

  private constructor(vendor: Vendor) {
    this.#vendor = vendor;
    this.notary = new TestNotary(vendor.provider);
    this.broker = createEmbeddedBroker({ log: silentLog, clock: systemClock });
    this.#objects = new ObjectServer({
      broker: this.broker,
      log: silentLog,
      read: async (identity, { group, kind, name }) => (identity.role === 'device' && identity.group === group ? this.#read(group, kind, name) : undefined),
    });
    this.#seeder = new Seeder({
      lacking: () => undefined,
      find: (device, manifest) => entitledChunks(device, this.#bundle(device), manifest),
      rate: () => Number.POSITIVE_INFINITY,
      sent: () => undefined,
      clock: systemClock,
      log: silentLog,
      random: Math.random,
    });
  }

  /** @param options `https`, `swarm`: false closes that door; the broker's is always open; `credentials`: another folder of the vendor's than `gw` */
  static async start(vendor: Vendor, options: { port?: number; https?: boolean; swarm?: boolean; credentials?: string } = {}): Promise<ScriptedGateway> {
    const gateway = new ScriptedGateway(vendor);
    gateway.#door = await openDoor({
      host: '127.0.0.1',
      port: options.port ?? 0,
      credentials: await loadCredentials(vendor.credentials(options.credentials ?? 'gw'), systemClock),
      log: silentLog,
      clock: systemClock,
      accept: (identity) => identity.role === 'device',
      onMqtt: (socket, identity) => gateway.broker.attach(socket, identity),
      ...(options.https === false ? {} : { onHttp: createChunkHandler({ log: silentLog, bundles: (_identity, scope) => gateway.#bundle(scope) }) }),
      ...(options.swarm === false ? {} : { onSwarm: (socket: TLSSocket, identity: Identity) => gateway.#seeder.attach(socket, identity) }),
    });
    void gateway.#listen();
    return gateway;
  }

  get port(): number {
    return this.#door?.port ?? 0;
  }

  get chunksServed(): number {
    return this.served.filter((name) => name.startsWith('chunk/')).length;
  }

  confirmations(): Confirmation[] {
    const distinct = new Map<number, Confirmation>();
    for (const statement of this.statements) if (statement.type === 'confirmation') distinct.set(statement.counter, statement);
    return [...distinct.values()];
  }

  inventories(): Inventory[] {
    return this.statements.filter((statement) => statement.type === 'inventory');
  }

  /** From now on this is what the group is served; offered at once to those connected. */
  async offer(shelf: Shelf): Promise<void> {
    this.#shelves.set(scopePath(shelf.scope), shelf);
    await this.broker.publish(announce(shelf.scope, 'offer'), Buffer.from(JSON.stringify(this.#offerOf(shelf))));
  }

  /** Resolves when it holds; looked at whenever something was heard or served. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#objects.close();
    await this.#seeder.close();
    await this.#door?.close();
    await this.broker.close();
  }

  #offerOf({ scope, sequence, timestampVersion }: Shelf): Offer {
    return { group: scope.group, sequence, timestampVersion };
  }

  #bundle(scope: Scope): ServedBundle | undefined {
    const shelf = this.#shelves.get(scopePath(scope));
    if (shelf === undefined) return undefined;
    return {
      scope,
      has: (hash) => shelf.objects.has(`chunk/${hash}`),
      metadata: (name) => this.#read(scope.group, 'metadata', name),
      target: (hash) => this.#read(scope.group, 'target', hash),
      chunk: (hash) => this.#read(scope.group, 'chunk', hash),
      manifest: (hash) => shelf.lists.get(hash),
    };
  }

  async #read(group: string, kind: ObjectKind, name: string): Promise<Buffer | undefined> {
    const shelf = [...this.#shelves.values()].find(({ scope }) => scope.group === group);
    const bytes = await this.onRead(kind, name, shelf?.objects.get(`${kind}/${name}`));
    this.served.push(`${kind}/${name}`);
    this.#wake();
    return bytes;
  }

  async #listen(): Promise<void> {
    for await (const { topic, payload, from, accept } of this.broker.subscribe([UP_FILTERS.device], { signal: this.#closing.signal })) {
      const said = parseUp(topic);
      if (from?.role === 'device' && said !== undefined) await this.#hear(from, said.verb, payload).catch(() => undefined);
      accept();
      this.#wake();
    }
  }

  async #hear(from: DeviceIdentity, verb: string, payload: Buffer): Promise<void> {
    const body = (): unknown => JSON.parse(payload.toString());
    switch (verb) {
      case 'hello': {
        this.hellos.push(DeviceHello.parse(body()));
        this.#devices.set(from.device, from);
        const shelf = this.#shelves.get(scopePath(from));
        if (shelf !== undefined) await this.broker.send(from, down(from, 'offer'), Buffer.from(JSON.stringify(this.#offerOf(shelf))));
        return;
      }
      case 'want':
        this.#objects.handle(from, Want.parse(body()));
        return;
      case 'progress':
        this.progress.push(Progress.parse(body()));
        return;
      case 'time': {
        const at = this.time();
        if (at === undefined) return;
        const tree = timeTree([TimeQuestion.parse(body()).nonce]);
        const signed = seal(Buffer.from(JSON.stringify({ type: 'time', nonce: tree.root, at: new Date(at).toISOString() })), this.#vendor.provider);
        return await this.broker.send(from, down(from, 'time'), Buffer.from(JSON.stringify({ signed, index: 0, path: [] })));
      }
      case 'statement':
        return await this.#statement(from, Signed.parse(body()));
    }
  }

  async #statement(from: Identity, signed: Signed): Promise<void> {
    const payload = Buffer.from(signed.payload, 'base64');
    const statement = Statement.parse(JSON.parse(payload.toString()));
    this.statements.push(statement);
    const answer = this.receipt(statement);
    if (answer === undefined) return;
    const { customer, site, group, device, counter } = statement;
    const receipt: Receipt = { type: 'receipt', customer, site, group, device, counter, digest: sha256(payload), at: new Date().toISOString(), ...answer };
    await this.broker.send(from, down(from, 'receipt'), Buffer.from(JSON.stringify(this.notary.receipts([receipt], { knows: statement.head }))));
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}
