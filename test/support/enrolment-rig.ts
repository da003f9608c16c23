import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type AgentConfig, AgentConfig as AgentSchema } from '../../agent/config.ts';
import { type EnrolOptions, enrol } from '../../agent/enrol/enrol.ts';
import type { Credentials } from '../../certs/credentials.ts';
import { exportIssuer, issueClaim } from '../../certs/pki-directory.ts';
import { GatewayConfig } from '../../gateway/config.ts';
import { type Gateway, startGateway } from '../../gateway/gateway.ts';
import { type Provider, startProvider } from '../../provider/provider.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { silentLog } from '../../shared/base/log.ts';
import { makeCode, printCode, verifierOf } from '../../shared/wire/enrol-code.ts';
import { Operator, type Vendor } from '../provider/provider-rig.ts';
import { ManualClock } from './manual-clock.ts';
import { SimulatedLan } from './simulated-lan.ts';

export interface TokenOptions {
  readonly group?: string;
  readonly site?: string;
  readonly count?: number;
  readonly lifetime?: number;
  readonly devices?: string[];
  readonly byHand?: boolean;
}

/** A provider that certifies, the gateway of acme/north, and an operator: in this process, over real TLS. Closed when the test is over. */
export class EnrolmentRig {
  readonly vendor: Vendor;
  readonly directory: string;
  readonly provider: Provider;
  readonly ops: Operator;
  readonly gateway: Gateway;

  private constructor(parts: { vendor: Vendor; directory: string; provider: Provider; ops: Operator; gateway: Gateway }) {
    this.vendor = parts.vendor;
    this.directory = parts.directory;
    this.provider = parts.provider;
    this.ops = parts.ops;
    this.gateway = parts.gateway;
  }

  /** @param o.leafDays how long certificates last that are given here */
  static async open(vendor: Vendor, o: { readonly leafDays?: number; readonly issuing?: boolean } = {}): Promise<EnrolmentRig> {
    const directory = await mkdtemp(join(tmpdir(), 'wardcast-enrol-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const authorities = join(directory, 'issuing');
    const pki = join(vendor.directory, 'pki');
    await exportIssuer({ directory: pki, customer: 'acme', group: 'ct', out: authorities });
    await exportIssuer({ directory: pki, customer: 'acme', out: authorities });
    const provider = await startProvider({
      data: join(directory, 'provider'),
      trust: vendor.layout.metadata,
      keys: vendor.layout.online,
      credentials: vendor.credentials('provider'),
      listen: { host: '127.0.0.1', port: 0 },
      ...(o.issuing === false ? {} : { enrolment: { authorities, leafDays: o.leafDays ?? 90 } }),
      clock: systemClock,
      log: silentLog,
    });
    onTestFinished(() => provider.close());
    const ops = await new Operator(vendor.credentials('ops'), provider.port).up();
    onTestFinished(() => ops.close());
    await ops.founded();
    await cp(join(vendor.directory, 'credentials', 'gateway'), join(directory, 'gateway'), { recursive: true });
    const gateway = await startGateway({
      config: GatewayConfig.parse({
        data: join(directory, 'gateway-data'),
        credentials: join(directory, 'gateway'),
        root: join(vendor.layout.metadata, '1.root.json'),
        uplink: { host: '127.0.0.1', port: provider.port },
        lan: { host: '127.0.0.1', port: 0 },
      }),
      version: '1.0.0',
      clock: systemClock,
      log: silentLog,
      discovery: new SimulatedLan(new ManualClock()).host('127.0.0.1'),
    });
    onTestFinished(() => gateway.close());
    return new EnrolmentRig({ vendor, directory, provider, ops, gateway });
  }

  /** @returns the code as it is printed */
  async token(o: TokenOptions = {}): Promise<string> {
    const code = makeCode();
    const { group = 'ct', site = 'north', count = 1, lifetime = 3600, devices = [], byHand = false } = o;
    await this.ops.call('enrol.token', {
      customer: 'acme',
      site,
      group,
      count,
      lifetime,
      devices,
      byHand,
      token: code.token,
      verifier: await verifierOf(code),
    });
    return printCode(code);
  }

  async claim(name: string, group = 'ct'): Promise<string> {
    const out = join(this.directory, `claim-${name}`);
    await issueClaim({ directory: join(this.vendor.directory, 'pki'), out, customer: 'acme', group, claim: name });
    return out;
  }

  /** A credentials folder as it is shipped: the root alone. */
  async shipped(name: string): Promise<string> {
    const folder = join(this.directory, 'devices', name);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'root.pem'), this.vendor.credentials('provider').rootPem);
    return folder;
  }

  /** A fresh device asks, as a person at it would see. */
  async enrol(device: string, ticket: EnrolOptions['ticket'], o: Partial<EnrolOptions> & { signal?: AbortSignal } = {}): Promise<Credentials> {
    const directory = o.directory ?? (await this.shipped(device));
    const { signal = new AbortController().signal, ...rest } = o;
    const way = {
      fixed: { host: '127.0.0.1', port: this.gateway.port },
      browse: async function* (): AsyncGenerator<never> {},
      ...{ persistent: false, clock: systemClock, log: silentLog, random: () => 0 },
    };
    return enrol({ directory, device, ticket, ...way, ...rest }, signal);
  }

  agentConfig(device: string, credentials: string): AgentConfig {
    return AgentSchema.parse({
      data: join(this.directory, 'data', device),
      credentials,
      root: join(this.vendor.layout.metadata, '1.root.json'),
      gateway: { address: `127.0.0.1:${this.gateway.port}` },
      lan: { host: '127.0.0.1' },
      install: { directory: join(this.directory, 'install', device) },
    });
  }
}
