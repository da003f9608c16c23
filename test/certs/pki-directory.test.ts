import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadCredentials } from '../../certs/credentials.ts';
import { verifyChain } from '../../certs/identity.ts';
import { addCustomer, addGroup, createPki, issueDevice, issueGateway, issueOps, issueProvider, rekeyGroup } from '../../certs/pki-directory.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { MAX_LEAF_DAYS } from '../../shared/base/limits.ts';
import { DAY, DEVICE, DEVICE_B, GATEWAY, OPS, PROVIDER, Workshop } from '../support/bad-certificates.ts';

/** The whole PKI in a folder, and what openssl, which shares no code with the maker, says about it. */
let home: string;
let directory: string;
const out = (name: string): string => join(home, 'out', name);
const north = { customer: 'acme', site: 'north' };

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'wardcast-pki-'));
  directory = join(home, 'pki');
  await createPki({ directory, trustDomain: 'example.com' });
  await addCustomer({ directory, customer: 'acme' });
  await Promise.all([addGroup({ directory, customer: 'acme', group: 'ct' }), addGroup({ directory, customer: 'acme', group: 'pumps' })]);
  await Promise.all([
    issueProvider({ directory, name: 'main', dnsNames: ['provider.example.com', 'localhost'], ips: ['127.0.0.1', '::1'], out: out('provider') }),
    issueOps({ directory, name: 'alice', out: out('ops') }),
    issueGateway({ directory, ...north, gateway: 'gw-1', out: out('gateway') }),
    issueDevice({ directory, ...north, group: 'ct', device: 'ct-1', out: out('device') }),
    issueDevice({ directory, ...north, group: 'pumps', device: 'pump-1', out: out('other') }),
    issueDevice({
      directory,
      ...north,
      group: 'ct',
      device: 'old',
      out: out('expired'),
      notBefore: new Date(Date.now() - 2 * DAY),
      notAfter: new Date(Date.now() - DAY),
    }),
  ]);
});
afterAll(() => rm(home, { recursive: true, force: true }));

async function openssl(...args: string[]): Promise<{ ok: boolean; text: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)('openssl', args);
    return { ok: true, text: stdout + stderr };
  } catch (error) {
    return { ok: false, text: String(error instanceof Error && 'stderr' in error ? error.stderr : error) };
  }
}

/** Only root.pem is trusted; the rest of chain.pem helps to build the path. */
function verify(folder: string, purpose: 'sslclient' | 'sslserver', root = join(folder, 'root.pem')): Promise<{ ok: boolean; text: string }> {
  const chain = join(folder, 'chain.pem');
  return openssl('verify', '-x509_strict', '-purpose', purpose, '-CAfile', root, '-no-CApath', '-untrusted', chain, chain);
}

describe('openssl verify', () => {
  test.each([
    ['provider', ['sslserver']],
    ['ops', ['sslclient']],
    ['gateway', ['sslclient', 'sslserver']],
    ['device', ['sslclient', 'sslserver']],
  ])('accepts the chain of %s for exactly %j', async (name, purposes) => {
    for (const purpose of ['sslclient', 'sslserver'] as const) {
      const { ok, text } = await verify(out(name), purpose);
      expect({ purpose, ok, text }).toEqual({
        purpose,
        ok: purposes.includes(purpose),
        text: expect.stringContaining(purposes.includes(purpose) ? 'OK' : 'purpose'),
      });
    }
  });
  test('refuses what has expired', async () => {
    expect(await verify(out('expired'), 'sslclient')).toEqual({ ok: false, text: expect.stringContaining('expired') });
  });
  test('refuses all of it under a foreign root', async () => {
    const foreign = await Workshop.open();
    await writeFile(join(home, 'foreign.pem'), foreign.root.pem);
    expect((await verify(out('device'), 'sslclient', join(home, 'foreign.pem'))).ok).toBe(false);
  });
  test('refuses a CA below a group CA, a leaf used as CA, and a group CA that another customer founded', async () => {
    const workshop = await Workshop.open();
    const group = { kind: 'group', customer: 'acme', group: 'ct' } as const;
    const other = workshop.ca({ kind: 'customer', customer: 'globex' }, workshop.root);
    const cases = {
      'path length': workshop.leaf(DEVICE, {}, workshop.ca({ ...group, group: 'sub' }, workshop.issuer(DEVICE))),
      'certificate signing|invalid CA': workshop.leafIssuedByLeaf(),
      'permitted subtree': workshop.leaf(DEVICE, {}, workshop.ca(group, other)),
    };
    for (const [reason, papers] of Object.entries(cases)) {
      const folder = join(home, reason.slice(0, 4));
      await mkdir(folder);
      await writeFile(join(folder, 'chain.pem'), papers.chainPem);
      await writeFile(join(folder, 'root.pem'), papers.rootPem);
      expect(await verify(folder, 'sslclient')).toEqual({ ok: false, text: expect.stringMatching(reason) });
    }
  });
});

describe('openssl x509', () => {
  test.each([
    ['provider', 'URI:spiffe://example.com/provider/main, DNS:provider.example.com, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1'],
    ['ops', 'URI:spiffe://example.com/ops/alice'],
    ['gateway', 'URI:spiffe://example.com/customer/acme/site/north/gateway/gw-1'],
    ['device', 'URI:spiffe://example.com/customer/acme/site/north/group/ct/device/ct-1'],
  ])('shows exactly one URI, CA:FALSE and SHA-256 in the leaf of %s', async (name, names) => {
    const { text } = await openssl('x509', '-in', join(out(name), 'chain.pem'), '-noout', '-text');
    expect(text).toMatch(new RegExp(`Subject Alternative Name: *\n *${names}\n`));
    expect(text.match(/URI:/g)).toHaveLength(1);
    expect(text).toContain('CA:FALSE');
    expect(text).toContain('sha256WithRSAEncryption');
    expect(text).toContain('(2048 bit)');
  });
  test('shows the path lengths, the URI of every CA and the name constraint of a customer', async () => {
    const shown = async (...path: string[]): Promise<string> => (await openssl('x509', '-in', join(directory, ...path, 'cert.pem'), '-noout', '-text')).text;
    expect(await shown('root')).toMatch(/CA:TRUE, pathlen:2[\s\S]*URI:spiffe:\/\/example.com\n/);
    expect(await shown('provider')).toMatch(/CA:TRUE, pathlen:0[\s\S]*URI:spiffe:\/\/example.com\/provider\n/);
    expect(await shown('ops')).toMatch(/CA:TRUE, pathlen:0[\s\S]*URI:spiffe:\/\/example.com\/ops\n/);
    expect(await shown('customers', 'acme', 'ca')).toMatch(/CA:TRUE, pathlen:1[\s\S]*URI:spiffe:\/\/example.com\/customer\/acme\n[\s\S]*DirName: ?O ?= ?acme/);
    expect(await shown('customers', 'acme', 'groups', 'ct')).toMatch(/CA:TRUE, pathlen:0[\s\S]*URI:spiffe:\/\/example.com\/customer\/acme\/group\/ct\n/);
  });
});

test('every credentials folder loads as whom it was issued to', async () => {
  for (const [name, identity] of Object.entries({ provider: PROVIDER, ops: OPS, gateway: GATEWAY, device: DEVICE, other: DEVICE_B })) {
    expect((await loadCredentials(out(name), systemClock)).identity).toEqual(identity);
  }
  await expect(loadCredentials(out('expired'), systemClock)).rejects.toEqual(expect.objectContaining({ code: 'CERT_EXPIRED' }));
});

test('keys are readable by their owner alone, lie in their own folder only, and the PKI keeps none of a leaf', async () => {
  const files = (await readdir(home, { recursive: true })).filter((file) => file.endsWith('key.pem'));
  expect(files).toHaveLength(6 + 6);
  for (const file of files) expect((await stat(join(home, file))).mode & 0o777).toBe(0o600);
  expect(files.filter((file) => file.includes('issued'))).toEqual([]);
});

test('every leaf issued is on record by its serial number', async () => {
  const serial = new X509Certificate(await readFile(join(out('device'), 'chain.pem'))).serialNumber.toLowerCase();
  const record = join(directory, 'issued/customer/acme/site/north/group/ct/device/ct-1', serial, 'cert.pem');
  expect(await readFile(join(out('device'), 'chain.pem'), 'utf8')).toContain(await readFile(record, 'utf8'));
});

describe('nothing is overwritten, founded by mistake, or issued in another form', () => {
  const device = { ...north, group: 'ct', device: 'ct-2' };
  test('what exists already is a CONFLICT and stays as it was', async () => {
    const before = await readFile(join(out('device'), 'key.pem'), 'utf8');
    const conflict = expect.objectContaining({ code: 'CONFLICT', remedy: expect.any(String) });
    await expect(createPki({ directory, trustDomain: 'example.com' })).rejects.toEqual(conflict);
    await expect(addCustomer({ directory, customer: 'acme' })).rejects.toEqual(conflict);
    await expect(addGroup({ directory, customer: 'acme', group: 'ct' })).rejects.toEqual(conflict);
    await expect(issueDevice({ directory, ...device, out: out('device') })).rejects.toEqual(conflict);
    await expect(issueDevice({ directory, ...device, out: join(out('device'), 'key.pem') })).rejects.toEqual(conflict);
    expect(await readFile(join(out('device'), 'key.pem'), 'utf8')).toBe(before);
  });
  test('two who issue into the same folder at once: one wins, the folder is whole, nothing is left over', async () => {
    const results = await Promise.allSettled([1, 2].map(() => issueDevice({ directory, ...device, out: out('race') })));
    expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect((await loadCredentials(out('race'), systemClock)).identity).toEqual({ role: 'device', ...device });
    expect((await readdir(join(home, 'out'))).filter((name) => name.startsWith('.'))).toEqual([]);
  });
  test('a customer or group that is not there is NOT_FOUND, and is not there afterwards', async () => {
    const missing = expect.objectContaining({ code: 'NOT_FOUND', remedy: expect.any(String) });
    await expect(addGroup({ directory, customer: 'acmee', group: 'ct' })).rejects.toEqual(missing);
    await expect(issueGateway({ directory, customer: 'acmee', site: 'north', gateway: 'gw', out: out('x') })).rejects.toEqual(missing);
    await expect(issueDevice({ directory, ...device, group: 'cts', out: out('x') })).rejects.toEqual(missing);
    await expect(issueOps({ directory: join(home, 'nowhere'), name: 'bob', out: out('x') })).rejects.toEqual(missing);
    expect(await readdir(join(directory, 'customers'))).toEqual(['acme']);
  });
  test('ids, names and addresses that are none are refused before anything is written', async () => {
    const usage = expect.objectContaining({ code: 'USAGE', remedy: expect.any(String) });
    await expect(createPki({ directory: join(home, 'y'), trustDomain: 'No Domain' })).rejects.toEqual(usage);
    await expect(addCustomer({ directory, customer: '../acme' })).rejects.toEqual(usage);
    await expect(issueDevice({ directory, ...device, group: '../../root', out: out('x') })).rejects.toEqual(usage);
    await expect(issueDevice({ directory, ...device, device: 'CT', out: out('x') })).rejects.toEqual(usage);
    await expect(issueProvider({ directory, name: 'p', dnsNames: ['*.example.com'], out: out('x') })).rejects.toEqual(usage);
    await expect(issueProvider({ directory, name: 'p', ips: ['300.1.1.1'], out: out('x') })).rejects.toEqual(usage);
    await expect(issueOps({ directory, name: 'p', out: out('x'), notAfter: new Date(0) })).rejects.toEqual(usage);
    expect(await readdir(join(home, 'out'))).not.toContain('x');
  });
  test('a group that is re-keyed issues from its new CA, beside which the old certificates stay good', async () => {
    const where = { directory, customer: 'acme', site: 'north', group: 'ct' };
    await issueDevice({ ...where, device: 'early', out: out('early') });
    expect(await rekeyGroup({ directory, customer: 'acme', group: 'ct' })).toEqual({ generation: 2 });
    await issueDevice({ ...where, device: 'late', out: out('late-ct') });
    expect(await rekeyGroup({ directory, customer: 'acme', group: 'ct' })).toEqual({ generation: 3 });
    const generations = await Promise.all(
      ['early', 'late-ct'].map(async (name) => {
        const { chain, rootPem } = await loadCredentials(out(name), systemClock);
        return verifyChain(chain, rootPem, { now: Date.now(), usage: 'client' }).generation;
      }),
    );
    expect(generations).toEqual([1, 2]);
    await expect(rekeyGroup({ directory, customer: 'acme', group: 'none' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
  test('no leaf outlives its CA', async () => {
    await addCustomer({ directory, customer: 'brief', notAfter: new Date(Date.now() + 10 * DAY) });
    const { expires } = await issueGateway({
      directory,
      customer: 'brief',
      site: 'a',
      gateway: 'late',
      out: out('late'),
      notAfter: new Date(Date.now() + 300 * DAY),
    });
    const ca = new X509Certificate(await readFile(join(directory, 'customers/brief/ca/cert.pem')));
    expect(expires).toEqual(ca.validToDate);
  });
  test('no leaf lives longer than revocations are kept', async () => {
    const late = issueOps({ directory, name: 'late', out: out('later'), notAfter: new Date(Date.now() + (MAX_LEAF_DAYS + 2) * DAY) });
    await expect(late).rejects.toMatchObject({ code: 'USAGE' });
  });
});
