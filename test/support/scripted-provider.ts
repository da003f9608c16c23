import { type Credentials, loadCredentials } from '../../certs/credentials.ts';
import { TimeDesk } from '../../provider/time-desk.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { isWardcastError } from '../../shared/base/errors.ts';
import type { GatewayIdentity, Identity, Scope } from '../../shared/base/identity.ts';
import { silentLog } from '../../shared/base/log.ts';
import type { Bundle } from '../../shared/bundle/bundle.ts';
import { split } from '../../shared/bundle/chunker.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { type Manifest, parseManifest, printManifest } from '../../shared/bundle/manifest.ts';
import { type Door, openDoor } from '../../shared/net/door.ts';
import { type AttachableBroker, createEmbeddedBroker } from '../../shared/net/embedded-broker.ts';
import type { ObjectRef } from '../../shared/net/exchange/object-ref.ts';
import { ObjectServer } from '../../shared/net/exchange/server.ts';
import { createSigningKey, type SigningKey } from '../../shared/trust/keys.ts';
import { buildGroupRepository, daysFrom, type GroupRepository, renewTimestamp } from '../../shared/trust/repository.ts';
import { signRelease, signRoot, signTargets } from '../../shared/trust/sign.ts';
import { GatewayHello, type Offer, Progress, type Receipt, Seen, Signed, Statement, TimeQuestion, Want } from '../../shared/wire/messages.ts';
import { down, parseUp, UP_FILTERS } from '../../shared/wire/topics.ts';
import { TestNotary } from './notary.ts';

const EXPIRES = daysFrom(new Date(), 365);

/** A release as its vendor made it. */
export interface TestRelease {
  readonly manifest: Manifest;
  readonly bytes: Buffer;
  readonly hash: string;
  readonly chunks: ReadonlyMap<string, Buffer>;
}

export function makeRelease(application: string, version: string, contents: Readonly<Record<string, Buffer>>): TestRelease {
  const chunks = new Map<string, Buffer>();
  const files = Object.entries(contents)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, bytes]) => {
      const refs = [...split(bytes)].map((piece) => {
        const hash = sha256(piece);
        chunks.set(hash, piece);
        return { hash, size: piece.length };
      });
      return { path, size: bytes.length, mode: 0o644 as const, sha256: sha256(bytes), chunks: refs };
    });
  const size = files.reduce((sum, file) => sum + file.size, 0);
  const bytes = printManifest({ format: 1, application, version, size, hooks: {}, files, links: [] });
  return { manifest: parseManifest(bytes), bytes, hash: sha256(bytes), chunks };
}

interface Assigned {
  readonly repository: GroupRepository;
  readonly bundle: Bundle;
  readonly objects: Map<string, Buffer>;
}

interface Keys {
  readonly root: SigningKey;
  readonly targets: SigningKey;
  readonly release: SigningKey;
  readonly assignment: SigningKey;
  readonly snapshot: SigningKey;
  readonly timestamp: SigningKey;
}

/**
 * The provider's end of the line for tests: a real broker, real TLS, real signatures and the real object server, but no registry and no plan:
 * the test says what is assigned, and may have objects altered or withheld on their way.
 */
export class ScriptedProvider {
  readonly broker: AttachableBroker;
  readonly rootMetadata: Buffer;
  readonly hellos: GatewayHello[] = [];
  readonly progress: Progress[] = [];
  readonly seen: Seen[] = [];
  /** Statements as they came, repetitions included. */
  readonly statements: Statement[] = [];
  /** Chunks asked for, by hash: how many times each was handed to the line. */
  readonly asked = new Map<string, number>();
  receipts = true;
  notary: TestNotary;
  readonly #credentials: Credentials;
  /** May alter an object or withhold it (undefined). */
  onRead: (ref: ObjectRef, bytes: Buffer | undefined) => Buffer | undefined | Promise<Buffer | undefined> = (_ref, bytes) => bytes;
  readonly #keys: Keys;
  readonly #targets: Buffer;
  readonly #objects: ObjectServer;
  readonly #groups = new Map<string, Assigned>();
  readonly #releases = new Map<string, Map<string, TestRelease>>();
  readonly #gateways = new Map<string, GatewayIdentity>();
  readonly #closing = new AbortController();
  #releaseVersion = 0;
  #door: Door | undefined;

  private constructor(credentials: Credentials, keys: Keys, applications: readonly string[]) {
    this.#credentials = credentials;
    this.notary = new TestNotary(credentials);
    this.#keys = keys;
    const role = (key: SigningKey): { keys: SigningKey[]; threshold: number } => ({ keys: [key], threshold: 1 });
    const expires = EXPIRES;
    this.rootMetadata = signRoot({
      version: 1,
      expires,
      keys: [keys.root],
      roles: { root: role(keys.root), targets: role(keys.targets), snapshot: role(keys.snapshot), timestamp: role(keys.timestamp) },
    });
    this.#targets = signTargets({
      version: 1,
      expires,
      keys: [keys.targets],
      assignment: role(keys.assignment),
      applications: new Map(applications.map((application) => [application, role(keys.release)])),
    });
    this.broker = createEmbeddedBroker({ log: silentLog, clock: systemClock });
    this.#objects = new ObjectServer({ broker: this.broker, log: silentLog, read: (identity, ref) => this.#read(identity, ref) });
  }

  /** @param options.credentials the provider's credentials folder */
  static async start(options: { credentials: string; applications: readonly string[] }): Promise<ScriptedProvider> {
    const credentials = await loadCredentials(options.credentials, systemClock);
    const [root, targets, release, assignment, snapshot, timestamp] = await Promise.all([
      createSigningKey(),
      createSigningKey(),
      createSigningKey(),
      createSigningKey(),
      createSigningKey(),
      createSigningKey(),
    ]);
    const provider = new ScriptedProvider(credentials, { root, targets, release, assignment, snapshot, timestamp }, options.applications);
    provider.#door = await openDoor({
      host: '127.0.0.1',
      port: 0,
      credentials,
      log: silentLog,
      clock: systemClock,
      accept: (identity) => identity.role === 'gateway',
      onMqtt: (socket, identity) => provider.broker.attach(socket, identity),
    });
    void provider.#listen();
    return provider;
  }

  get port(): number {
    return this.#door?.port ?? 0;
  }

  get sent(): { readonly objects: number; readonly bytes: number } {
    return this.#objects.sent;
  }

  publish(...releases: readonly TestRelease[]): void {
    for (const release of releases) {
      const { application, version } = release.manifest;
      const known = this.#releases.get(application) ?? new Map<string, TestRelease>();
      known.set(version, release);
      this.#releases.set(application, known);
    }
    this.#releaseVersion += 1;
  }

  /** The next bundle of a group, offered at once to whoever is connected. */
  async assign(scope: Scope, releases: readonly TestRelease[], refusing: Pick<Bundle, 'revoked' | 'oldestCa'> = {}): Promise<Offer> {
    const previous = this.#groups.get(scope.group);
    const bundle: Bundle = {
      format: 1,
      ...scope,
      sequence: (previous?.bundle.sequence ?? 0) + 1,
      releases: releases.map(({ manifest, hash, bytes }) => ({
        application: manifest.application,
        version: manifest.version,
        manifest: hash,
        size: bytes.length,
        allowDowngrade: false,
      })),
      withdrawn: [],
      ...refusing,
    };
    const roles = new Map<string, Buffer>();
    for (const application of new Set(releases.map(({ manifest }) => manifest.application))) roles.set(application, this.#releaseRole(application));
    const repository = buildGroupRepository({
      previous: previous?.repository.versions,
      bundle,
      root: [this.rootMetadata],
      targets: this.#targets,
      releaseRoles: roles,
      keys: this.#keys,
      now: new Date(),
    });
    const objects = new Map([...repository.targets].map(([hash, bytes]) => [`target/${hash}`, bytes]));
    for (const [name, bytes] of repository.files) objects.set(`metadata/${name}`, bytes);
    for (const release of releases) {
      objects.set(`target/${release.hash}`, release.bytes);
      for (const [hash, bytes] of release.chunks) objects.set(`chunk/${hash}`, bytes);
    }
    this.#groups.set(scope.group, { repository, bundle, objects });
    return this.#offer(scope.group);
  }

  /** The same content signed to be valid for longer. */
  async renew(scope: Scope): Promise<Offer> {
    const before = this.#groups.get(scope.group);
    if (before === undefined) throw new Error(`nothing is assigned to ${scope.group}`);
    const { file, versions } = renewTimestamp({ scope, previous: before.repository.versions, key: this.#keys.timestamp, now: new Date() });
    before.objects.set('metadata/timestamp.json', file);
    this.#groups.set(scope.group, { ...before, repository: { ...before.repository, versions } });
    return this.#offer(scope.group);
  }

  /** Says an offer, whatever it claims. */
  async say(offer: Offer): Promise<void> {
    for (const gateway of this.#gateways.values()) {
      if (this.broker.connected(gateway)) await this.broker.send(gateway, down(gateway, 'offer'), Buffer.from(JSON.stringify(offer)));
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#objects.close();
    await this.#door?.close();
    await this.broker.close();
  }

  #releaseRole(application: string): Buffer {
    const releases = [...(this.#releases.get(application)?.values() ?? [])].map(({ manifest, hash, bytes }) => ({
      version: manifest.version,
      manifest: hash,
      size: bytes.length,
    }));
    return signRelease({ version: this.#releaseVersion, expires: EXPIRES, keys: [this.#keys.release], application, releases });
  }

  async #offer(group: string): Promise<Offer> {
    const assigned = this.#groups.get(group);
    const offer: Offer = { group, sequence: assigned?.bundle.sequence ?? 0, timestampVersion: assigned?.repository.versions.timestamp ?? 0 };
    await this.say(offer);
    return offer;
  }

  async #read(_identity: Identity, ref: ObjectRef): Promise<Buffer | undefined> {
    if (ref.kind === 'chunk') this.asked.set(ref.name, (this.asked.get(ref.name) ?? 0) + 1);
    return this.onRead(ref, this.#groups.get(ref.group)?.objects.get(`${ref.kind}/${ref.name}`));
  }

  async #listen(): Promise<void> {
    for await (const { topic, payload, from, accept } of this.broker.subscribe([UP_FILTERS.gateway], { signal: this.#closing.signal })) {
      const said = parseUp(topic);
      try {
        if (from?.role === 'gateway' && said !== undefined) await this.#hear(from, said.verb, payload);
      } catch (error) {
        // A gateway that was stopped meanwhile hears no answer; what it says when it is back is heard.
        if (!isWardcastError(error, 'CONNECTION_LOST')) throw error;
      }
      accept();
    }
  }

  async #hear(from: GatewayIdentity, verb: string, payload: Buffer): Promise<void> {
    const body = (): unknown => JSON.parse(payload.toString());
    switch (verb) {
      case 'hello':
        this.hellos.push(GatewayHello.parse(body()));
        this.#gateways.set(from.gateway, from);
        for (const group of this.#groups.keys()) await this.#offer(group);
        break;
      case 'want':
        this.#objects.handle(from, Want.parse(body()));
        break;
      case 'progress':
        this.progress.push(Progress.parse(body()));
        break;
      case 'seen':
        this.seen.push(Seen.parse(body()));
        break;
      case 'statement':
        await this.#statement(from, Signed.parse(body()));
        break;
      case 'time': {
        const signed = await new TimeDesk({ credentials: this.#credentials, clock: systemClock }).answer(from, TimeQuestion.parse(body()));
        await this.broker.send(from, down(from, 'time'), Buffer.from(JSON.stringify(signed)));
        break;
      }
      default:
        throw new Error(`unexpected ${verb}`);
    }
  }

  async #statement(from: GatewayIdentity, signed: Signed): Promise<void> {
    const payload = Buffer.from(signed.payload, 'base64');
    const statement = Statement.parse(JSON.parse(payload.toString()));
    this.statements.push(statement);
    if (!this.receipts) return;
    const { customer, site, group, device, counter } = statement;
    const receipt: Receipt = {
      type: 'receipt',
      customer,
      site,
      group,
      device,
      counter,
      digest: sha256(payload),
      outcome: 'recorded',
      highest: counter,
      at: new Date().toISOString(),
    };
    await this.broker.send(from, down(from, 'receipt'), Buffer.from(JSON.stringify(this.notary.receipts([receipt], { knows: statement.head }))));
  }
}
