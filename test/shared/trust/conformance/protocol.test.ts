import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensurePrograms } from '../../../support/debian.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';
import { inDays, RepositoryServer, Simulator } from './simulator.ts';

const WARDCAST = resolve(import.meta.dirname, '../../../../cli/wardcast.mjs');
let server: RepositoryServer;
beforeAll(async () => {
  await ensurePrograms(['faketime']);
  server = await RepositoryServer.start();
});
afterAll(() => server.close());

/** The real command as a conformance suite calls it: options before the action. */
class Process {
  readonly #base: string;
  readonly #urls: { readonly metadataUrl: string; readonly targetUrl: string };

  constructor(base: string, repository: Simulator) {
    this.#base = base;
    this.#urls = server.serve(repository);
  }

  get metadata(): string {
    return join(this.#base, 'metadata');
  }
  get targets(): string {
    return join(this.#base, 'targets');
  }

  init(root: Buffer): Promise<number> {
    const file = join(this.#base, 'initial_root.json');
    writeFileSync(file, root);
    return this.#run(['--metadata-dir', this.metadata, 'init', file]);
  }

  refresh(days = 0): Promise<number> {
    return this.#run(['--metadata-url', this.#urls.metadataUrl, '--metadata-dir', this.metadata, 'refresh'], days);
  }

  download(...names: string[]): Promise<number> {
    const targets = names.flatMap((name) => ['--target-name', name]);
    const { metadataUrl, targetUrl } = this.#urls;
    const where = ['--metadata-url', metadataUrl, '--metadata-dir', this.metadata, '--target-dir', this.targets, '--target-base-url', targetUrl];
    return this.#run([...where, ...targets, 'download']);
  }

  version(role: string): number {
    const { signed }: { signed: { version: number } } = JSON.parse(readFileSync(join(this.metadata, `${role}.json`), 'utf8'));
    return signed.version;
  }

  #run(args: readonly string[], days = 0): Promise<number> {
    const command = [process.execPath, WARDCAST, 'tuf-client', ...args];
    const [program = '', ...rest] = days === 0 ? command : ['faketime', '-f', `+${days}d`, ...command];
    return new Promise((done) => {
      execFile(program, rest, { timeout: 60_000 }, (error) => done(error === null ? 0 : typeof error.code === 'number' ? error.code : -1));
    });
  }
}

async function rig(): Promise<{ repository: Simulator; client: Process }> {
  const repository = new Simulator();
  const client = new Process(await temporaryDirectory(), repository);
  expect(await client.init(repository.files.get('metadata/1.root.json') ?? Buffer.alloc(0))).toBe(0);
  return { repository, client };
}

describe('wardcast tuf-client', () => {
  it('answers 0 when it is done and 1 when it refuses, for init, refresh and download of several targets', async () => {
    const { repository, client } = await rig();
    repository.addTarget('targets', 'path/to/file', Buffer.from('one'));
    repository.addTarget('targets', 'other', Buffer.from('two'));
    repository.publishAll();
    expect(await client.refresh()).toBe(0);
    expect(readdirSync(client.metadata).filter((name) => name.endsWith('.json'))).toEqual(['root.json', 'snapshot.json', 'targets.json', 'timestamp.json']);
    expect(await client.download('path/to/file', 'other')).toBe(0);
    expect(readdirSync(client.targets).map((name) => readFileSync(join(client.targets, name), 'utf8'))).toEqual(['two', 'one']);
    expect(await client.download('nonexistent artifact')).toBe(1);
    repository.timestamp.version = 1;
    repository.publish('timestamp');
    expect(await client.refresh()).toBe(1);
    expect(client.version('timestamp')).toBe(2);
  }, 60_000);

  it('goes by the system clock, faked or not: what has expired by then is refused, and expired local copies do not stand in the way', async () => {
    const { repository, client } = await rig();
    repository.timestamp.expires = inDays(7);
    repository.updateTimestamp();
    expect(await client.refresh()).toBe(0);
    expect(await client.refresh(18)).toBe(1);
    repository.bump('targets');
    repository.timestamp.expires = inDays(21);
    repository.updateSnapshot();
    expect(await client.refresh(18)).toBe(0);
    expect([client.version('timestamp'), client.version('snapshot'), client.version('targets')]).toEqual([3, 2, 2]);
  }, 60_000);

  it('answers 1 to whatever it does not understand or cannot reach', async () => {
    const repository = new Simulator();
    const client = new Process(await temporaryDirectory(), repository);
    expect(await client.refresh()).toBe(1);
    expect(await client.init(Buffer.from('nonsense'))).toBe(1);
    expect(await client.download()).toBe(1);
    expect(repository.asked).toEqual([]);
  }, 60_000);
});
