import { execFile } from 'node:child_process';
import { appendFile, chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.ts';
import { Daemon } from '../support/daemon.ts';
import { type Host, TestNetwork } from '../support/netns.ts';

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, '../..');
/** Days that the first leaf lasts: 20 seconds, so that it is renewed after 13. */
const SHORT_LEAF_DAYS = 20 / 86_400;

interface Row {
  readonly device: string;
  readonly state: string;
  readonly customerVersion: string | null;
}

/** Every step by the command that a person would use, files carried by hand. */
describe('the whole life of a customer and its devices', () => {
  let directory: string;
  let ops: Host;
  let hacked: string[];
  let stolen: string[];
  const network = new TestNetwork();
  const hosts = new Map<string, Host>();
  const daemons = new Map<string, Daemon>();
  const at = (...parts: string[]): string => path.join(directory, ...parts);
  const env = (): NodeJS.ProcessEnv => ({ ...process.env, PATH: `${at('bin')}:${process.env['PATH'] ?? ''}` });
  /** On the machine without a network. */
  const vendor = async (script: string): Promise<string> => (await run('sh', ['-euc', script], { cwd: at('vendor'), env: env() })).stdout;
  const order = async (script: string): Promise<string> => {
    const connection = 'export WARDCAST_PROVIDER=203.0.113.10:8883 WARDCAST_CREDENTIALS=ops-olga';
    return (await ops.exec('sh', ['-euc', `cd ${at('vendor')}\n${connection}\n${script}`], { env: env() })).stdout;
  };
  const daemon = (name: string): Daemon => {
    const known = daemons.get(name);
    if (known === undefined) throw new Error(`no daemon ${name}`);
    return known;
  };

  async function machine(name: string, role: string, networks: readonly string[], configuration: string): Promise<Host> {
    const host = await network.host(name, networks);
    await mkdir(at(name), { recursive: true });
    await writeFile(at(name, `${role}.toml`), configuration);
    if (role !== 'provider') await cp(at('vendor/keys/metadata/1.root.json'), at(name, '1.root.json'));
    hosts.set(name, host);
    daemons.set(name, new Daemon(name, () => host.spawn('wardcast', [role, 'run', '--config', `${role}.toml`], { cwd: at(name), env: env() })));
    return host;
  }

  async function untilRows(what: string, holds: (rows: readonly Row[]) => boolean): Promise<void> {
    const deadline = Date.now() + 60_000;
    let last = '';
    while (Date.now() < deadline) {
      last = await order('wardcast status --json').catch((error: unknown) => String(error));
      if (last.startsWith('{')) {
        const { devices }: { devices: Row[] } = JSON.parse(last);
        if (holds(devices)) return;
      }
      await systemClock.sleep(200);
    }
    throw new Error(`never: ${what}\n${last}\n${[...daemons.values()].map((one) => `${one.name}\n${one.tail(8)}`).join('\n')}`);
  }
  const running = (rows: readonly Row[], device: string, version: string): boolean =>
    rows.some((row) => row.device === device && row.state === 'up-to-date' && row.customerVersion === version);

  const release = async (version: string): Promise<void> => {
    await mkdir(at('vendor', `viewer-${version}`));
    await writeFile(at('vendor', `viewer-${version}`, 'hello.txt'), `hello ${version}\n`);
    await vendor(`wardcast release sign viewer-${version} viewer@${version} --keys keys --workspace workspace --encrypt`);
    await order(`wardcast release publish viewer@${version} --workspace workspace\nwardcast current set aster imaging viewer@${version}`);
  };
  const onDisk = (device: string): Promise<string> => readFile(at(device, 'applications/viewer/current/hello.txt'), 'utf8');
  const providerToml = (leafDays: number): string => `data = "data"
credentials = "provider-vendor"
trust = "keys/metadata"
keys = "keys/keys/online"
[listen]
host = "203.0.113.10"
[enrolment]
authorities = "issuing"
leaf_days = ${leafDays}
`;

  beforeAll(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'wardcast-life-'));
    for (const folder of ['bin', 'vendor']) await mkdir(at(folder));
    await writeFile(at('bin/wardcast'), `#!/bin/sh\nexec "${process.execPath}" "${path.join(root, 'cli/wardcast.mjs')}" "$@"\n`);
    await chmod(at('bin/wardcast'), 0o755);
    const page = await readFile(path.join(root, 'docs/operations.md'), 'utf8');
    const scripts = (title: string): string[] => {
      const chapter = page.split('\n## ').find((one) => one.startsWith(`${title}\n`)) ?? '';
      return [...chapter.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, text = '']) => text);
    };
    hacked = scripts("The provider's server was hacked");
    // The page's customer, group and device are others.
    stolen = scripts('A device was stolen').map((text) =>
      text
        .replaceAll('acme', 'aster')
        .replaceAll('ct-7', 'ct-2')
        .replaceAll(/\bct\b(?!-)/g, 'imaging'),
    );
    await network.network('wan', '203.0.113');
    await network.network('lan', '192.168.50');
  });
  afterAll(async () => {
    for (const one of daemons.values()) await one.kill();
    await network.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('begins with a ceremony', async () => {
    await vendor(`wardcast pki init --trust-domain vendor.example
wardcast pki provider vendor --ip 203.0.113.10 --out provider-vendor
wardcast pki ops olga --out ops-olga
wardcast pki customer aster
wardcast pki group aster imaging
wardcast pki gateway aster north gw --out gateway-north
wardcast pki device aster north imaging ct-2 --out ct-2
wardcast pki export-issuer --customer aster --group imaging --out issuing
wardcast pki group aster mr
wardcast keys create viewer tools`);
    await machine('provider', 'provider', ['wan'], providerToml(SHORT_LEAF_DAYS));
    for (const item of ['provider-vendor', 'issuing', 'keys/keys/online', 'keys/metadata'])
      await cp(at('vendor', item), at('provider', item), { recursive: true });
    await machine(
      'gateway',
      'gateway',
      ['wan', 'lan'],
      'data = "data"\ncredentials = "gateway-north"\nroot = "1.root.json"\n[uplink]\nhost = "203.0.113.10"\nport = 8883\n[lan]\nhost = "192.168.50.10"\n',
    );
    await cp(at('vendor/gateway-north'), at('gateway/gateway-north'), { recursive: true });
    for (const [device, host] of [
      ['ct-1', '192.168.50.11'],
      ['ct-2', '192.168.50.12'],
    ] as const) {
      const toml = `data = "data"\ncredentials = "credentials"\nroot = "1.root.json"\n[lan]\nhost = "${host}"\n[install]\ndirectory = "applications"\n`;
      await machine(device, 'agent', ['lan'], toml);
    }
    await cp(at('vendor/ct-2'), at('ct-2/credentials'), { recursive: true });
    await mkdir(at('ct-1/credentials'));
    await cp(at('vendor/ct-2/root.pem'), at('ct-1/credentials/root.pem'));
    ops = await network.host('ops', ['wan']);
    await daemon('provider').start();
    await daemon('gateway').start();
    await order('wardcast customer add aster\nwardcast site add aster north\nwardcast group add aster imaging');
    await order('wardcast device add aster ct-2 --site north --group imaging');
  });

  it('enrols a device with a code, and both run and confirm the first release', async () => {
    const token: { code: string } = JSON.parse(await order('wardcast enrol token --customer aster --site north --group imaging --device ct-1 --json'));
    await writeFile(at('ct-1/code.txt'), token.code);
    await hosts
      .get('ct-1')
      ?.exec('sh', ['-euc', `cd ${at('ct-1')}\nwardcast agent enrol --config agent.toml --device ct-1 --token-file code.txt`], { env: env() });
    await Promise.all([daemon('ct-1').start(), daemon('ct-2').start(), release('1.0.0')]);
    await untilRows('both run 1.0.0', (rows) => running(rows, 'ct-1', '1.0.0') && running(rows, 'ct-2', '1.0.0'));
    expect(await onDisk('ct-1')).toBe('hello 1.0.0\n');
  });

  it('renews the leaf of the running device by itself', async () => {
    const renewed = await daemon('ct-1').logged((line) => line.event === 'leaf.renewed');
    expect(renewed['identity']).toBe('customer/aster/site/north/group/imaging/device/ct-1');
  });

  it('recovers from a hacked provider by following docs/operations.md', async () => {
    const [offline = '', check = '', look = ''] = hacked;
    await vendor(offline);
    const from = new Map(['ct-1', 'ct-2'].map((name) => [name, daemon(name).lines.length]));
    await daemon('provider').stop();
    await rm(at('provider/keys'), { recursive: true });
    await rm(at('provider/provider-vendor'), { recursive: true });
    await cp(at('vendor/online-2'), at('provider/keys/keys/online'), { recursive: true });
    await cp(at('vendor/keys/metadata'), at('provider/keys/metadata'), { recursive: true });
    await cp(at('vendor/provider-vendor-2'), at('provider/provider-vendor'), { recursive: true });
    await writeFile(at('provider/provider.toml'), providerToml(90));
    await run('sh', ['-euc', check], { cwd: at('provider'), env: env() });
    await daemon('provider').start();
    expect(await order(look)).toMatch(/ct-1.*1\.0\.0/);
    // Without any new release: whoever holds the old keys has lost both devices.
    for (const [name, line] of from) await daemon(name).logged((one) => one.event === 'trust.updated' && one['root'] === 2, { from: line });
    await release('1.1.0');
    await untilRows('both run 1.1.0', (rows) => running(rows, 'ct-1', '1.1.0') && running(rows, 'ct-2', '1.1.0'));
  });

  it('serves a stolen device nothing more, by docs/operations.md', async () => {
    const [revoke = ''] = stolen;
    const from = daemon('gateway').lines.length;
    const said = await order(revoke);
    expect(said).toContain('stolen from the loading bay');
    expect(said).toMatch(/aster +north +connected/);
    await daemon('gateway').logged((line) => line.event === 'door.refused' && line['code'] === 'CERT_REVOKED', { from });
    await release('1.2.0');
    await untilRows('ct-1 runs 1.2.0', (rows) => running(rows, 'ct-1', '1.2.0'));
    expect(await onDisk('ct-2')).toBe('hello 1.1.0\n');
    await untilRows('nobody waits for ct-2', (rows) => rows.every(({ device }) => device !== 'ct-2'));
  });

  it('takes it back with a certificate made after the order', async () => {
    const [, again = ''] = stolen;
    await vendor(again);
    await daemon('ct-2').stop();
    for (const file of ['key.pem', 'chain.pem']) await cp(at('vendor/ct-2-new', file), at('ct-2/credentials', file));
    await order('wardcast device add aster ct-2 --site north --group imaging');
    await daemon('ct-2').start();
    await untilRows('ct-2 runs 1.2.0', (rows) => running(rows, 'ct-2', '1.2.0'));
    expect(await onDisk('ct-2')).toBe('hello 1.2.0\n');
  });

  it('moves it to another group, where it gets that group’s release and leaves nothing of the old one behind', async () => {
    await mkdir(at('vendor/tools-1.0.0'));
    await writeFile(at('vendor/tools-1.0.0/hello.txt'), 'tools\n');
    await vendor(`wardcast release sign tools-1.0.0 tools@1.0.0 --keys keys --workspace workspace
wardcast pki device aster north mr ct-2 --out ct-2-mr`);
    await order(`wardcast group add aster mr
wardcast release publish tools@1.0.0 --workspace workspace
wardcast current set aster mr tools@1.0.0`);
    const from = daemon('gateway').lines.length;
    await order('wardcast device move aster ct-2 --site north --group mr');
    await daemon('gateway').logged((line) => line.event === 'door.refused' && line['code'] === 'CERT_REVOKED', { from });
    await daemon('ct-2').stop();
    for (const file of ['key.pem', 'chain.pem']) await cp(at('vendor/ct-2-mr', file), at('ct-2/credentials', file));
    await appendFile(at('ct-2/agent.toml'), 'left_behind = "remove"\n');
    await daemon('ct-2').start();
    await untilRows('ct-2 runs the tools', (rows) =>
      rows.some((row) => row.device === 'ct-2' && row.customerVersion === '1.0.0' && row.state === 'up-to-date'),
    );
    await daemon('ct-2').logged((line) => line.event === 'install.left-behind-removed');
    await expect(onDisk('ct-2')).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await order('wardcast explain aster/ct-2 viewer@1.2.0 || true')).toContain('bundle');
  });

  it('re-keys the group, and the old CA counts no more', async () => {
    await vendor('wardcast pki rekey-group aster imaging\nwardcast pki device aster north imaging ct-1 --out ct-1-new');
    await daemon('ct-1').stop();
    for (const file of ['key.pem', 'chain.pem']) await cp(at('vendor/ct-1-new', file), at('ct-1/credentials', file));
    await rm(at('ct-1/credentials/leaf.pem'));
    await order('wardcast group retire-ca aster imaging --oldest 2 --reason "a laptop was lost"');
    await daemon('ct-1').start();
    await release('1.3.0');
    await untilRows('ct-1 runs 1.3.0', (rows) => running(rows, 'ct-1', '1.3.0'));
  });

  it('ends when the customer leaves: refused, recorded, and still running', async () => {
    const from = daemon('provider').lines.length;
    await order('wardcast customer retire aster --reason "contract ended"');
    await daemon('provider').logged((line) => line.event === 'door.refused' && line['code'] === 'CERT_REVOKED', { from });
    expect(await order('wardcast customer list')).toMatch(/aster.*20\d\d-/);
    expect(await onDisk('ct-1')).toBe('hello 1.3.0\n');
    await order('wardcast registry rebuild --check');
    for (const name of ['ct-1', 'gateway', 'provider']) expect(await daemon(name).stop()).toBe(0);
  });
});
