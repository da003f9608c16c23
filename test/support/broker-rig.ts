import { createPrivateKey } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls, { type ConnectionOptions, type TLSSocket } from 'node:tls';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import type { Credentials } from '../../certs/credentials.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { type DeviceIdentity, type Identity, identityPath } from '../../shared/base/identity.ts';
import type { Link } from '../../shared/net/broker.ts';
import { type Door, type DoorOptions, openDoor } from '../../shared/net/door.ts';
import { type AttachableBroker, createEmbeddedBroker, type EmbeddedBrokerOptions } from '../../shared/net/embedded-broker.ts';
import { type LinkOptions, openLink } from '../../shared/net/link.ts';
import { DAY, DOMAIN, type Papers, type Workshop } from './bad-certificates.ts';
import { RecordingLog } from './recording-log.ts';

export const PROVIDER: Identity = { role: 'provider', name: 'main' };
export const OPS: Identity = { role: 'ops', name: 'alice' };
export const GATEWAY: Identity = { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw-1' };
export const DEVICE_A: DeviceIdentity = { role: 'device', customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' };
export const DEVICE_A2: DeviceIdentity = { ...DEVICE_A, device: 'ct-2' };
export const DEVICE_B: DeviceIdentity = { role: 'device', customer: 'acme', site: 'north', group: 'pumps', device: 'pump-1' };

export function credentialsOf(papers: Papers, identity: Identity): Credentials {
  return {
    ...papers,
    identity,
    trustDomain: DOMAIN,
    key: createPrivateKey(papers.keyPem),
    begins: new Date(Date.now() - DAY),
    expires: new Date(Date.now() + 30 * DAY),
  };
}

/** An embedded broker behind a door on loopback, with real certificates, and everything that dials it. Dispose of it at the end. */
export class BrokerRig implements AsyncDisposable {
  readonly workshop: Workshop;
  readonly log = new RecordingLog();
  readonly linkLog = new RecordingLog();
  readonly broker: AttachableBroker;
  #door: Door | undefined;
  #directory: string | undefined;
  readonly #links: Link[] = [];
  readonly #clients: MqttClient[] = [];
  readonly #sockets: TLSSocket[] = [];

  private constructor(workshop: Workshop, options: Partial<EmbeddedBrokerOptions>) {
    this.workshop = workshop;
    this.broker = createEmbeddedBroker({ log: this.log, clock: systemClock, ...options });
  }

  static async open(workshop: Workshop, options: { broker?: Partial<EmbeddedBrokerOptions>; door?: Partial<DoorOptions> } = {}): Promise<BrokerRig> {
    const rig = new BrokerRig(workshop, options.broker ?? {});
    rig.#door = await openDoor({
      host: '127.0.0.1',
      port: 0,
      credentials: rig.credentials(GATEWAY),
      log: rig.log,
      clock: systemClock,
      accept: () => true,
      onMqtt: (socket, identity) => rig.broker.attach(socket, identity),
      ...options.door,
    });
    return rig;
  }

  get door(): Door {
    if (this.#door === undefined) throw new Error('the door is not open');
    return this.#door;
  }

  get port(): number {
    return this.door.port;
  }

  credentials(identity: Identity): Credentials {
    return credentialsOf(this.workshop.leaf(identity), identity);
  }

  link(identity: Identity, options: Partial<LinkOptions> = {}): Link {
    const link = openLink({
      host: '127.0.0.1',
      port: this.port,
      credentials: this.credentials(identity),
      expect: () => true,
      log: this.linkLog,
      clock: systemClock,
      ...options,
    });
    this.#links.push(link);
    return link;
  }

  /** A link that is up. */
  async linked(identity: Identity, options: Partial<LinkOptions> = {}): Promise<Link> {
    const link = this.link(identity, options);
    await isUp(link);
    return link;
  }

  tlsOptions(identity: Identity): ConnectionOptions {
    const { keyPem, chainPem, rootPem } = this.workshop.leaf(identity);
    return { host: '127.0.0.1', port: this.port, key: keyPem, cert: chainPem, ca: rootPem };
  }

  /** A foreign MQTT client: mqtt.js as anybody would use it. Resolves when connected, rejects when refused. */
  foreign(identity: Identity, options: IClientOptions = {}): Promise<MqttClient> {
    const { keyPem, chainPem, rootPem } = this.workshop.leaf(identity);
    const client = mqtt.connect({
      protocol: 'mqtts',
      host: '127.0.0.1',
      port: this.port,
      clientId: identityPath(identity),
      reconnectPeriod: 0,
      key: keyPem,
      cert: chainPem,
      ca: rootPem,
      ...options,
    });
    this.#clients.push(client);
    return new Promise((resolve, reject) => {
      client.once('connect', () => resolve(client));
      client.once('error', reject);
      client.once('close', () => reject(new Error('closed')));
    });
  }

  /** A bare TLS connection, for bytes of one's own making. */
  raw(identity: Identity): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const socket = tls.connect({ ...this.tlsOptions(identity), ALPNProtocols: ['mqtt'] }, () => resolve(socket));
      socket.once('error', reject);
      socket.on('error', () => undefined);
      this.#sockets.push(socket);
    });
  }

  /** Files for command line clients. */
  async files(identity: Identity): Promise<{ key: string; cert: string; ca: string }> {
    this.#directory ??= await mkdtemp(join(tmpdir(), 'broker-rig-'));
    const { keyPem, chainPem, rootPem } = this.workshop.leaf(identity);
    const base = join(this.#directory, identityPath(identity).replaceAll('/', '_'));
    const files = { key: `${base}.key`, cert: `${base}.crt`, ca: `${base}.ca` };
    await Promise.all([writeFile(files.key, keyPem), writeFile(files.cert, chainPem), writeFile(files.ca, rootPem)]);
    return files;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.end(true);
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#links.map((link) => link.close()));
    await this.broker.close();
    await this.#door?.close();
    if (this.#directory !== undefined) await rm(this.#directory, { recursive: true, force: true });
  }
}

export function isUp(link: Link): Promise<void> {
  if (link.state === 'up') return Promise.resolve();
  return new Promise((resolve) => {
    const stop = link.onState((state) => {
      if (state !== 'up') return;
      stop();
      resolve();
    });
  });
}

/** The reason of the next loss, or of the first failed attempt. */
export function whyDown(link: Link): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const stop = link.onState((state, reason) => {
      if (state !== 'down') return;
      stop();
      resolve(reason);
    });
  });
}
