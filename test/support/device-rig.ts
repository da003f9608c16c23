import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Agent, startAgent } from '../../agent/agent.ts';
import { AgentConfig } from '../../agent/config.ts';
import { DirectoryHandler } from '../../agent/handlers/directory.ts';
import { type Clock, systemClock } from '../../shared/base/clock.ts';
import { loadConfig } from '../../shared/base/config.ts';
import { silentLog } from '../../shared/base/log.ts';
import type { Discovery } from '../../shared/net/discovery.ts';
import { Daemon } from './daemon.ts';
import type { MadeRelease } from './made-release.ts';
import { RecordingLog } from './recording-log.ts';
import type { Vendor } from './scripted-gateway.ts';
import { readTree } from './tree.ts';

/** Nobody is found and nobody is told. */
const nobody: Discovery = {
  advertise: async () => ({ close: async () => undefined }),
  async *browse(_kind, { signal } = {}) {
    await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }));
  },
  close: async () => undefined,
};

/** One device: its folder, its agent as part of this process or as a process of its own. */
export class DeviceRig {
  readonly folder: string;
  readonly install: string;
  readonly configuration: string;
  readonly daemon: Daemon;
  log = new RecordingLog();
  agent: Agent | undefined;

  private constructor(folder: string, name: string) {
    this.folder = folder;
    this.install = path.join(folder, 'install');
    this.configuration = path.join(folder, 'agent.toml');
    const main = path.resolve(import.meta.dirname, '../../agent/main.ts');
    this.daemon = new Daemon(name, () => spawn(process.execPath, [main, '--config', this.configuration], { stdio: ['ignore', 'ignore', 'pipe'] }));
  }

  /** @param address of the gateway; undefined: found by mDNS on loopback */
  static async create(vendor: Pick<Vendor, 'root' | 'credentials'>, name: string, folder: string, address: string | undefined): Promise<DeviceRig> {
    const rig = new DeviceRig(folder, name);
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'root.json'), vendor.root);
    await rig.configure(vendor.credentials(name), address);
    return rig;
  }

  /** @param install further lines of [install] */
  async configure(credentials: string, address: string | undefined, install = ''): Promise<void> {
    const gateway = address === undefined ? '' : `[gateway]\naddress = "${address}"\n`;
    await writeFile(
      this.configuration,
      `data = "data"\ncredentials = "${credentials}"\nroot = "root.json"\n${gateway}[lan]\nhost = "127.0.0.1"\n[install]\ndirectory = "install"\n${install}\n`,
    );
  }

  /** As part of this process. */
  async start(options: { discovery?: Discovery; clock?: Clock } = {}): Promise<Agent> {
    this.log = new RecordingLog();
    const config = await loadConfig(this.configuration, AgentConfig);
    this.agent = await startAgent({ config, version: '0.1.0', clock: options.clock ?? systemClock, log: this.log, discovery: options.discovery ?? nobody });
    return this.agent;
  }

  async stop(): Promise<void> {
    await this.agent?.close();
    this.agent = undefined;
    await this.daemon.kill();
  }

  /** What runs, byte for byte one of `releases`; an Error when it is a mix. */
  async runs(application: string, releases: readonly MadeRelease[]): Promise<MadeRelease | undefined> {
    const running = await new DirectoryHandler({ install: this.install, log: silentLog }).running(application);
    if (running === undefined) return undefined;
    const release = releases.find((made) => made.manifestHash === running.manifestHash);
    if (release === undefined) throw new Error(`a stranger runs: ${running.version}`);
    const files = await readTree(path.join(this.install, application, 'releases', release.manifestHash));
    const differs = [...release.contents].filter(([name, bytes]) => files.get(name)?.equals(bytes) !== true).map(([name]) => name);
    if (files.size !== release.contents.size || differs.length > 0) throw new Error(`a mix runs: ${differs.join(', ')}`);
    return release;
  }
}
