import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Credentials, loadCredentials } from '../../certs/credentials.ts';
import { seal } from '../../certs/envelope.ts';
import { addCustomer, addGroup, createPki, issueDevice, issueGateway, issueOps, issueProvider } from '../../certs/pki-directory.ts';
import { readSignedRelease } from '../../cli/workspace.ts';
import { type Provider, startProvider } from '../../provider/provider.ts';
import { ceremonyLayout, createKeys } from '../../provider/publish/ceremony.ts';
import { type SignedRelease, signRelease } from '../../provider/publish/sign-release.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { type Log, silentLog } from '../../shared/base/log.ts';
import type { Delivery, Link } from '../../shared/net/broker.ts';
import { cut, partsOf, type UploadPart, uploadTopic } from '../../shared/net/exchange/object-ref.ts';
import { openLink } from '../../shared/net/link.ts';
import { openReceipts } from '../../shared/net/receipts.ts';
import { OpsReply, type Receipt, type Statement } from '../../shared/wire/messages.ts';
import { OPS_ACTIONS, type OpsAction, type OpsParams, type OpsResult } from '../../shared/wire/ops.ts';
import { down, parseDown, up } from '../../shared/wire/topics.ts';
import { Daemon } from '../support/daemon.ts';
import { RecordingLog } from '../support/recording-log.ts';

const NODE = fileURLToPath(new URL('../../node_modules/.bin/node', import.meta.url));
const MAIN = fileURLToPath(new URL('../../provider/main.ts', import.meta.url));

/** A vendor with certificates and keys for two customers, on disk; made once per test file. */
export class Vendor {
  readonly directory: string;
  readonly #credentials = new Map<string, Credentials>();

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async found(): Promise<Vendor> {
    const vendor = new Vendor(await mkdtemp(join(tmpdir(), 'wardcast-vendor-')));
    const directory = join(vendor.directory, 'pki');
    // Years ago, so that leaves can have expired.
    const notBefore = new Date(Date.now() - 3 * 365 * 24 * 60 * 60 * 1000);
    await createPki({ directory, trustDomain: 'example.com', notBefore });
    await addCustomer({ directory, customer: 'acme', notBefore });
    await Promise.all(['ct', 'pumps'].map((group) => addGroup({ directory, customer: 'acme', group, notBefore })));
    const out = (name: string): string => join(vendor.directory, 'credentials', name);
    await issueProvider({ directory, out: out('provider'), name: 'main', ips: ['127.0.0.1'] });
    await issueOps({ directory, out: out('ops'), name: 'alice' });
    await issueGateway({ directory, out: out('gateway'), customer: 'acme', site: 'north', gateway: 'gw-1' });
    for (const device of ['ct-1', 'ct-2']) await issueDevice({ directory, out: out(device), customer: 'acme', site: 'north', group: 'ct', device });
    await createKeys({ directory: join(vendor.directory, 'ceremony'), applications: ['viewer', 'driver'] });
    for (const name of ['provider', 'ops', 'gateway', 'ct-1', 'ct-2']) vendor.#credentials.set(name, await loadCredentials(out(name), systemClock));
    return vendor;
  }

  credentials(name: string): Credentials {
    const credentials = this.#credentials.get(name);
    if (credentials === undefined) throw new Error(`no credentials ${name}`);
    return credentials;
  }

  get layout(): ReturnType<typeof ceremonyLayout> {
    return ceremonyLayout(join(this.directory, 'ceremony'));
  }

  /** Signs a release of one file: random bytes, so many, or these. */
  async release(application: string, version: string, content: number | Buffer = 300_000, encrypt = false): Promise<SignedFiles> {
    const directory = join(this.directory, 'src', randomUUID());
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, 'program.bin'), typeof content === 'number' ? randomBytes(content) : content);
    const workspace = join(this.directory, 'workspace');
    const keyFile = join(this.layout.offline, `release-${application}.pem`);
    const signed = await signRelease({ directory, application, version, keyFile, workspace, encrypt });
    const { contentKeys } = await readSignedRelease(workspace, application, version);
    return { ...signed, role: await readFile(signed.roleFile), workspace, contentKeys };
  }

  async inProcess(data: string, log: Log = silentLog, metrics?: { host: string; port: number }, patches = false): Promise<Provider> {
    return startProvider({
      data,
      trust: this.layout.metadata,
      keys: this.layout.online,
      credentials: this.credentials('provider'),
      listen: { host: '127.0.0.1', port: 0 },
      metrics,
      patches,
      clock: systemClock,
      log,
    });
  }

  /** A real process; `data` is its data directory. */
  async process(data: string): Promise<Daemon> {
    const config = join(this.directory, `${randomUUID()}.toml`);
    const lines = [
      `data = ${JSON.stringify(data)}`,
      'credentials = "credentials/provider"',
      `trust = ${JSON.stringify(this.layout.metadata)}`,
      `keys = ${JSON.stringify(this.layout.online)}`,
      '[listen]\nhost = "127.0.0.1"\nport = 0',
    ];
    await writeFile(config, `${lines.join('\n')}\n`);
    return new Daemon('provider', (): ChildProcess => spawn(NODE, [MAIN, '--config', config], { stdio: ['ignore', 'inherit', 'pipe'] }));
  }

  async close(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

export interface SignedFiles extends SignedRelease {
  readonly role: Buffer;
  readonly workspace: string;
  readonly contentKeys: readonly Buffer[];
}

/** A client of the provider's broker that keeps what it hears. */
export class Client {
  readonly link: Link;
  readonly credentials: Credentials;
  readonly log = new RecordingLog();
  readonly heard: { readonly verb: string; readonly rest: readonly string[]; readonly payload: Buffer }[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(credentials: Credentials, port: number) {
    this.credentials = credentials;
    this.link = openLink({ host: '127.0.0.1', port, credentials, expect: (identity) => identity.role === 'provider', log: this.log, clock: systemClock });
    void this.#listen();
  }

  async #listen(): Promise<void> {
    for await (const delivery of this.link.subscribe([`${down(this.credentials.identity, 'offer').replace(/offer$/, '#')}`])) this.#hear(delivery);
  }

  #hear({ topic, payload, accept }: Delivery): void {
    const parsed = parseDown(this.credentials.identity, topic);
    if (parsed !== undefined) this.heard.push({ ...parsed, payload });
    accept();
    for (const wake of [...this.#waiting]) wake();
  }

  /** The first answer that fits, heard already or in the future; the test's own time limit ends the wait. */
  async hears<T>(fits: (verb: string, payload: Buffer) => T | undefined): Promise<T> {
    for (let at = 0; ; ) {
      for (; at < this.heard.length; at++) {
        const message = this.heard[at];
        const found = message === undefined ? undefined : fits(message.verb, message.payload);
        if (found !== undefined) return found;
      }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          resolve();
        };
        this.#waiting.add(wake);
      });
    }
  }

  async up(): Promise<this> {
    if (this.link.state === 'up') return this;
    await new Promise<void>((resolve) => {
      const stop = this.link.onState((state) => {
        if (state !== 'up') return;
        stop();
        resolve();
      });
    });
    return this;
  }

  say(verb: Parameters<typeof up>[1], body: unknown): Promise<void> {
    return this.link.publish(up(this.credentials.identity, verb), Buffer.from(JSON.stringify(body)));
  }

  close(): Promise<void> {
    return this.link.close();
  }
}

/** An operator. */
export class Operator extends Client {
  async call<A extends OpsAction>(action: A, params: OpsParams<A>): Promise<OpsResult<A>> {
    const id = randomUUID();
    await this.say('request', { id, action, params });
    const reply = await this.hears((verb, payload) => {
      if (verb !== 'reply') return undefined;
      const parsed = OpsReply.parse(JSON.parse(payload.toString()));
      return parsed.id === id ? parsed : undefined;
    });
    if (!reply.ok) throw Object.assign(new Error(reply.error?.message), { code: reply.error?.code });
    // The table of actions ties result to action; a test may trust the check.
    return OPS_ACTIONS[action].result.parse(reply.result) as OpsResult<A>;
  }

  async publishRelease(release: SignedFiles): Promise<OpsResult<'release.publish'>> {
    const { application, version, manifest, role, workspace } = release;
    const contentKeys = release.contentKeys.map((key) => key.toString('base64'));
    const params = { application, version, manifest, role: role.toString('base64') };
    let { missing } = await this.call('release.offer', params);
    for (;;) {
      await Promise.all(missing.map(async (hash) => this.upload(hash, await readObject(workspace, hash))));
      const answer = await this.call('release.publish', contentKeys.length === 0 ? params : { ...params, contentKeys });
      if (answer.release !== null) return answer;
      missing = answer.missing;
    }
  }

  async upload(hash: string, bytes: Buffer): Promise<void> {
    const parts = partsOf(bytes.length);
    await Promise.all(Array.from({ length: parts }, (_, part) => this.uploadPart({ hash, part, parts }, cut(bytes, part))));
  }

  uploadPart(part: UploadPart, bytes: Buffer): Promise<void> {
    return this.link.publish(uploadTopic(this.credentials.identity, part), bytes);
  }

  /** Customer acme with site north, groups ct and pumps, and devices ct-1 and ct-2 in ct. */
  async founded(): Promise<void> {
    await this.call('customer.add', { customer: 'acme', name: 'Acme Hospitals' });
    await this.call('site.add', { customer: 'acme', site: 'north' });
    for (const group of ['ct', 'pumps']) await this.call('group.add', { customer: 'acme', group });
    for (const device of ['ct-1', 'ct-2']) await this.call('device.add', { customer: 'acme', site: 'north', group: 'ct', device });
  }
}

export async function readObject(workspace: string, hash: string): Promise<Buffer> {
  try {
    return await readFile(join(workspace, 'chunks', hash.slice(0, 2), hash));
  } catch {
    return readFile(join(workspace, 'manifests', `${hash}.json`));
  }
}

/** A gateway's uplink. */
export class Uplinked extends Client {
  hello(groups: readonly { group: string; sequence: number }[] = []): Promise<void> {
    return this.say('hello', { version: '0.1.0', groups });
  }

  /** Passes a statement on and waits for its receipt, verified. */
  async state(statement: Statement, device: Credentials): Promise<Receipt> {
    const payload = Buffer.from(JSON.stringify(statement));
    await this.say('statement', seal(payload, device));
    return this.receipt(statement);
  }

  receipt({ device, counter }: { device: string; counter: number }): Promise<Receipt> {
    return this.hears((verb, payload) => {
      if (verb !== 'receipt') return undefined;
      return readReceipts(payload, this.credentials.rootPem).find((receipt) => receipt.device === device && receipt.counter === counter);
    });
  }
}

export function readReceipts(payload: Buffer, rootPem: string): readonly Receipt[] {
  return openReceipts(payload, rootPem, { now: Date.now() }).receipts.map(({ receipt }) => receipt);
}
