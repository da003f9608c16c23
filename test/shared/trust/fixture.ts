import { createPrivateKey, hash } from 'node:crypto';
import type { Scope } from '../../../shared/base/identity.ts';
import type { Bundle, BundleRelease } from '../../../shared/bundle/bundle.ts';
import { split } from '../../../shared/bundle/chunker.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { type Manifest, printManifest } from '../../../shared/bundle/manifest.ts';
import { type Signer, type SigningKey, signingKey } from '../../../shared/trust/keys.ts';
import type { FetchOptions, MetadataSource } from '../../../shared/trust/metadata-source.ts';
import { buildGroupRepository, type GroupVersions, type OnlineKeys } from '../../../shared/trust/repository.ts';
import { type KeyRole, type ReleaseTarget, signRelease, signRoot, signTargets } from '../../../shared/trust/sign.ts';

/** Far enough for vectors to outlive the project, and a whole second. */
export const FAR = new Date('2126-01-01T00:00:00Z');
export const SCOPE: Scope = { customer: 'acme', site: 'north', group: 'ct' };
/** As long as SCOPE, so that no length gives it away. */
export const OTHER: Scope = { customer: 'acme', site: 'north', group: 'mr' };

const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** A real ed25519 key made from its name: the same in every run. */
export function testKey(name: string): SigningKey {
  const seed = hash('sha256', `wardcast test key ${name}`, 'buffer');
  return signingKey(createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' }));
}

export function single(key: Signer): KeyRole {
  return { keys: [key], threshold: 1 };
}

export const ROOT_KEYS = [testKey('root-1'), testKey('root-2'), testKey('root-3')];

export function testManifest(application: string, version: string, content = `${application} ${version}`): Manifest {
  const bytes = Buffer.from(content);
  return {
    format: 1,
    application,
    version,
    size: bytes.length,
    hooks: {},
    files: [
      { path: 'app.txt', size: bytes.length, mode: 0o644, sha256: sha256(bytes), chunks: [...split(bytes)].map((c) => ({ hash: sha256(c), size: c.length })) },
    ],
    links: [],
  };
}

/** A vendor and its provider: makes real signed repositories for any group. */
export class Vendor {
  readonly roots: Buffer[] = [];
  readonly manifests = new Map<string, Buffer>();
  readonly keys: OnlineKeys = { assignment: testKey('assignment'), snapshot: testKey('snapshot'), timestamp: testKey('timestamp') };
  readonly #releases = new Map<string, ReleaseTarget[]>();
  readonly #roleVersions = new Map<string, number>();
  readonly roles = new Map<string, Buffer>();
  targets: Buffer;

  constructor(applications: readonly string[] = ['viewer', 'editor']) {
    this.roots.push(this.root(1));
    this.targets = this.signedTargets(1, applications);
    for (const application of applications) this.signRole(application);
  }

  root(version: number, options: { signers?: readonly SigningKey[]; online?: Partial<OnlineKeys>; rootKeys?: readonly SigningKey[] } = {}): Buffer {
    const online = { ...this.keys, ...options.online };
    return signRoot({
      version,
      expires: FAR,
      keys: options.signers ?? ROOT_KEYS.slice(0, 2),
      roles: {
        root: { keys: options.rootKeys ?? ROOT_KEYS, threshold: 2 },
        targets: single(testKey('targets')),
        snapshot: single(online.snapshot),
        timestamp: single(online.timestamp),
      },
    });
  }

  signedTargets(version: number, applications: readonly string[]): Buffer {
    return signTargets({
      version,
      expires: FAR,
      keys: [testKey('targets')],
      assignment: single(this.keys.assignment),
      applications: new Map(applications.map((application) => [application, single(testKey(`release-${application}`))])),
    });
  }

  /** Publishes a version; returns it as a bundle names it. `inside`: the version that its manifest claims. */
  release(application: string, version: string, inside = version): BundleRelease {
    const bytes = printManifest(testManifest(application, inside));
    const manifest = sha256(bytes);
    this.manifests.set(manifest, bytes);
    const releases = this.#releases.get(application) ?? [];
    this.#releases.set(application, [...releases, { version, manifest, size: bytes.length }]);
    this.signRole(application);
    return { application, version, manifest, size: bytes.length, allowDowngrade: false };
  }

  withdraw(application: string, version: string): void {
    this.#releases.set(
      application,
      (this.#releases.get(application) ?? []).filter((release) => release.version !== version),
    );
    this.signRole(application);
  }

  signRole(application: string, key = testKey(`release-${application}`), expires = FAR): void {
    const version = (this.#roleVersions.get(application) ?? 0) + 1;
    this.#roleVersions.set(application, version);
    this.roles.set(application, signRelease({ version, expires, keys: [key], application, releases: this.#releases.get(application) ?? [] }));
  }

  /** The repository of a group with these releases. */
  repository(options: {
    releases: readonly BundleRelease[];
    sequence?: number;
    scope?: Scope;
    previous?: GroupVersions | undefined;
    now?: Date;
    keys?: OnlineKeys;
    withdrawn?: Bundle['withdrawn'];
  }): TestSource {
    const scope = options.scope ?? SCOPE;
    const bundle: Bundle = { format: 1, ...scope, sequence: options.sequence ?? 1, releases: options.releases, withdrawn: options.withdrawn ?? [] };
    const applications = new Set(options.releases.map(({ application }) => application));
    const built = buildGroupRepository({
      previous: options.previous,
      bundle,
      root: this.roots,
      targets: this.targets,
      releaseRoles: new Map([...this.roles].filter(([application]) => applications.has(application))),
      keys: options.keys ?? this.keys,
      now: options.now ?? new Date(),
    });
    return new TestSource(built.files, new Map([...built.targets, ...this.manifests]), built.versions);
  }
}

/** Serves what it is given and remembers what it was asked. */
export class TestSource implements MetadataSource {
  readonly files: Map<string, Buffer>;
  readonly targets: Map<string, Buffer>;
  readonly versions: GroupVersions;
  readonly asked: string[] = [];

  constructor(files: ReadonlyMap<string, Buffer>, targets: ReadonlyMap<string, Buffer>, versions: GroupVersions) {
    this.files = new Map(files);
    this.targets = new Map(targets);
    this.versions = versions;
  }

  async metadata(name: string, _options: FetchOptions): Promise<Buffer | undefined> {
    this.asked.push(name);
    return this.files.get(name);
  }

  async target(hash: string, _options: FetchOptions): Promise<Buffer | undefined> {
    this.asked.push(hash);
    return this.targets.get(hash);
  }
}
