import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { downloadTarget } from '../../../../cli/tuf/download-target.ts';
import { fetchMetadata } from '../../../../cli/tuf/http-repository.ts';
import { silentLog } from '../../../../shared/base/log.ts';
import { initRepository, refreshRepository } from '../../../../shared/trust/repository-client.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';
import { RepositoryServer, type Simulator } from './simulator.ts';

let server: RepositoryServer;
export function withServer(): void {
  beforeAll(async () => {
    server = await RepositoryServer.start();
  });
  afterAll(() => server.close());
}

/** The client of `wardcast tuf-client` in this process, and what it leaves behind. */
export class TestClient {
  readonly metadataDirectory: string;
  readonly targetDirectory: string;
  readonly urls: { readonly metadataUrl: string; readonly targetUrl: string };
  readonly simulator: Simulator;

  private constructor(base: string, simulator: Simulator) {
    this.metadataDirectory = join(base, 'metadata');
    this.targetDirectory = join(base, 'targets');
    this.simulator = simulator;
    this.urls = server.serve(simulator);
  }

  /** Initialized with the repository's first root, unless told otherwise. */
  static async create(simulator: Simulator, root: Buffer | false = simulator.files.get('metadata/1.root.json') ?? false): Promise<TestClient> {
    const client = new TestClient(await temporaryDirectory(), simulator);
    if (root !== false) await client.init(root);
    return client;
  }

  init(root: Buffer): Promise<void> {
    return initRepository(this.metadataDirectory, root);
  }

  async refresh(): Promise<void> {
    await this.download();
  }

  download(...names: string[]): Promise<string[]> {
    this.simulator.asked.length = 0;
    return refreshRepository({
      directory: this.metadataDirectory,
      source: { metadata: (name, options) => fetchMetadata(this.urls.metadataUrl, name, options) },
      log: silentLog,
      obtain: async (find, { consistentSnapshot }) => {
        const files: string[] = [];
        for (const name of names) {
          const target = await find(name);
          if (target === undefined) throw new Error('no such target');
          const options = { baseUrl: this.urls.targetUrl, directory: this.targetDirectory, consistent: consistentSnapshot };
          files.push((await downloadTarget(target, options)).file);
        }
        return files;
      },
    });
  }

  async refused(code?: string, ...names: string[]): Promise<void> {
    await expect(this.download(...names)).rejects.toThrow(code === undefined ? undefined : expect.objectContaining({ code }));
  }

  /** Of the role's exported copy; undefined when nothing is trusted. */
  version(role: string): number | undefined {
    const file = join(this.metadataDirectory, `${role}.json`);
    if (!existsSync(file)) return undefined;
    const { signed }: { signed: { version: number } } = JSON.parse(readFileSync(file, 'utf8'));
    return signed.version;
  }

  get trusted(): Record<string, number | undefined> {
    const roles = readdirSync(this.metadataDirectory).filter((name) => name.endsWith('.json'));
    return Object.fromEntries(roles.map((name) => [name.slice(0, -5), this.version(name.slice(0, -5))]));
  }

  get downloaded(): string[] {
    return existsSync(this.targetDirectory) ? readdirSync(this.targetDirectory).map((name) => readFileSync(join(this.targetDirectory, name), 'utf8')) : [];
  }
}
