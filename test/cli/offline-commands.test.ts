import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { loadCredentials } from '../../certs/credentials.ts';
import { readSignedRelease } from '../../cli/workspace.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { identityPath } from '../../shared/base/identity.ts';
import { parseManifest } from '../../shared/bundle/manifest.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const program = fileURLToPath(new URL('../../cli/wardcast.mjs', import.meta.url));

function wardcast(cwd: string, ...args: string[]): { status: number | null; json: unknown; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args, '--json'], { cwd, encoding: 'utf8' });
  return { status, json: JSON.parse(stdout), stderr };
}

it('makes a PKI whose device certificate openssl verifies, and lists it', async () => {
  const cwd = await temporaryDirectory();
  expect(wardcast(cwd, 'pki', 'init', '--trust-domain', 'vendor.example').status).toBe(0);
  expect(wardcast(cwd, 'pki', 'customer', 'acme').status).toBe(0);
  expect(wardcast(cwd, 'pki', 'group', 'acme', 'ct').status).toBe(0);
  expect(wardcast(cwd, 'pki', 'device', 'acme', 'north', 'ct', 'ct-1', '--out', 'd1', '--days', '3')).toMatchObject({
    status: 0,
    json: { identity: 'customer/acme/site/north/group/ct/device/ct-1' },
  });
  expect(execFileSync('openssl', ['verify', '-CAfile', 'd1/root.pem', '-untrusted', 'd1/chain.pem', 'd1/chain.pem'], { cwd, encoding: 'utf8' })).toContain(
    'OK',
  );
  expect(wardcast(cwd, 'pki', 'list').json).toEqual(
    expect.arrayContaining([expect.objectContaining({ kind: 'issued', name: 'customer/acme/site/north/group/ct/device/ct-1' })]),
  );
  // An access list needs the certificate of the broker's owner.
  expect(wardcast(cwd, 'policy', 'export', '--customer', 'acme', '--site', 'north')).toMatchObject({ status: 1, json: { error: { code: 'NOT_FOUND' } } });
  expect(wardcast(cwd, 'pki', 'gateway', 'acme', 'north', 'gw', '--out', 'g1').status).toBe(0);
  expect(wardcast(cwd, 'policy', 'export', '--customer', 'acme', '--site', 'north').json).toMatchObject({
    rights: [
      { identity: 'customer/acme/site/north/gateway/gw', user: 'CN=gw,OU=north,O=acme', owner: true },
      { user: 'CN=ct-1,OU=ct,OU=north,O=acme', owner: false, bundles: ['acme/north/ct'] },
    ],
  });
  expect(execFileSync(process.execPath, [program, 'policy', 'export', '--customer', 'acme', '--site', 'north'], { cwd, encoding: 'utf8' })).toContain(
    'user CN=ct-1,OU=ct,OU=north,O=acme\ntopic read wardcast/1/customer/acme/site/north/group/ct/device/ct-1/down/#\n',
  );
  expect(wardcast(cwd, 'pki', 'device', 'acme', 'north', 'pumps', 'p', '--out', 'd2')).toMatchObject({ status: 1, json: { error: { code: 'NOT_FOUND' } } });
  expect(wardcast(cwd, 'pki', 'customer', 'acme')).toMatchObject({ status: 3, json: { error: { code: 'CONFLICT' } } });
});

it('makes a certificate from now on that no revocation of this very second touches', async () => {
  const cwd = await temporaryDirectory();
  for (const args of [
    ['init', '--trust-domain', 'vendor.example'],
    ['customer', 'acme'],
    ['group', 'acme', 'ct'],
  ])
    wardcast(cwd, 'pki', ...args);
  // Early in a second, so that the command is done in the same one unless it waits.
  await sleep(1000 - (Date.now() % 1000));
  const revokedUntil = Math.floor(Date.now() / 1000) * 1000;
  expect(wardcast(cwd, 'pki', 'device', 'acme', 'north', 'ct', 'ct-1', '--out', 'd1', '--from-now').status).toBe(0);
  const leaf = new X509Certificate(await readFile(path.join(cwd, 'd1', 'chain.pem')));
  expect(leaf.validFromDate.getTime()).toBeGreaterThan(revokedUntil);
  expect(leaf.validFromDate.getTime()).toBeLessThanOrEqual(Date.now());
});

it('makes keys and signs a release that can be read back for publishing', async () => {
  const cwd = await temporaryDirectory();
  await mkdir(path.join(cwd, 'app', 'bin'), { recursive: true });
  await writeFile(path.join(cwd, 'app', 'bin', 'check'), '#!/bin/sh\n', { mode: 0o755 });
  await writeFile(path.join(cwd, 'app', 'sbom.json'), '{}');
  expect(wardcast(cwd, 'keys', 'create', 'viewer').status).toBe(0);
  expect(wardcast(cwd, 'release', 'sign', 'app', 'viewer@1.0.0', '--keys', 'keys', '--check', 'bin/check', '--sbom', 'sbom.json')).toMatchObject({
    status: 0,
    json: { application: 'viewer', version: '1.0.0', files: 2 },
  });
  const workspace = path.join(cwd, 'workspace');
  const release = await readSignedRelease(workspace, 'viewer', '1.0.0');
  const manifest = parseManifest(await release.object(release.manifest));
  expect(manifest).toMatchObject({ application: 'viewer', hooks: { check: { path: 'bin/check' } }, sbom: { path: 'sbom.json' } });
  for (const { chunks } of manifest.files) for (const { hash, size } of chunks) expect(await release.object(hash)).toHaveLength(size);
  await expect(readSignedRelease(workspace, 'viewer', '2.0.0')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(wardcast(cwd, 'release', 'sign', 'app', 'other@1.0.0', '--keys', 'keys')).toMatchObject({ status: 1, json: { error: { code: 'KEY_UNUSABLE' } } });
  expect(wardcast(cwd, 'keys', 'delegate', 'other').status).toBe(0);
  expect(wardcast(cwd, 'release', 'sign', 'app', 'other@1.0.0', '--keys', 'keys').status).toBe(0);
});

it('lets the doctor name each thing that is wrong with a gateway, with its remedy, and say so in the exit status', async () => {
  const cwd = await temporaryDirectory();
  const config = [
    'data = "data"',
    'credentials = "nowhere"',
    'root = "root.json"',
    '[uplink]',
    'host = "127.0.0.1"',
    'port = 1',
    '[lan]',
    'host = "192.0.2.1"',
  ];
  await writeFile(path.join(cwd, 'gateway.toml'), config.join('\n'));
  const { status, json } = wardcast(cwd, 'doctor', 'gateway.toml');
  expect(status).toBe(5);
  expect(json).toMatchObject({
    worst: 'fail',
    findings: expect.arrayContaining([
      expect.objectContaining({ what: 'config', state: 'ok' }),
      expect.objectContaining({ what: 'certificate', state: 'fail', remedy: expect.any(String) }),
      expect.objectContaining({ what: 'root', state: 'fail', code: 'METADATA_MISSING', remedy: expect.any(String) }),
      expect.objectContaining({ what: 'lan', state: 'fail', remedy: expect.stringContaining('127.0.0.1') }),
      expect.objectContaining({ what: 'disk', state: 'ok' }),
    ]),
  });
  await writeFile(path.join(cwd, 'gateway.toml'), config.join('\n').replace('data =', 'dta ='));
  expect(wardcast(cwd, 'doctor', 'gateway.toml').json).toMatchObject({
    findings: expect.arrayContaining([expect.objectContaining({ what: 'config', state: 'fail', code: 'CONFIG_INVALID' })]),
  });
});

it('certifies a device that never sees a line: its key stays on it, request and chain are carried by hand, and again for the next certificate', async () => {
  const vendor = await temporaryDirectory();
  for (const args of [
    ['init', '--trust-domain', 'vendor.example'],
    ['customer', 'acme'],
    ['group', 'acme', 'ct'],
  ])
    wardcast(vendor, 'pki', ...args);
  const device = await temporaryDirectory();
  await mkdir(path.join(device, 'credentials'));
  await copyFile(path.join(vendor, 'pki', 'root', 'cert.pem'), path.join(device, 'credentials', 'root.pem'));
  const toml = 'data = "data"\ncredentials = "credentials"\nroot = "1.root.json"\n[lan]\nhost = "127.0.0.1"\n[install]\ndirectory = "install"\n';
  await writeFile(path.join(device, 'agent.toml'), toml);
  const keys: unknown[] = [];
  for (const round of ['first', 'second']) {
    const asked = wardcast(device, 'agent', 'request', '--config', 'agent.toml', '--out', 'ct-7.csr');
    expect(asked.status).toBe(0);
    const request = await readFile(path.join(device, 'ct-7.csr'), 'utf8');
    expect(request).not.toContain('PRIVATE');
    // The same request until its certificate came.
    expect(wardcast(device, 'agent', 'request', '--config', 'agent.toml', '--out', 'again.csr').json).toMatchObject({
      key: Reflect.get(Object(asked.json), 'key'),
    });
    keys.push(Reflect.get(Object(asked.json), 'key'));
    await writeFile(path.join(vendor, `${round}.csr`), request);
    const sign = ['sign-request', 'acme', 'north', 'ct', 'ct-7', '--request', `${round}.csr`, '--out', `${round}.pem`];
    expect(wardcast(vendor, 'pki', ...sign)).toMatchObject({ status: 0, json: { identity: 'customer/acme/site/north/group/ct/device/ct-7' } });
    await copyFile(path.join(vendor, `${round}.pem`), path.join(device, 'chain-from-vendor.pem'));
    const accepted = wardcast(device, 'agent', 'accept-credentials', 'chain-from-vendor.pem', '--config', 'agent.toml');
    expect(accepted).toMatchObject({ status: 0, json: { identity: 'customer/acme/site/north/group/ct/device/ct-7' } });
  }
  expect(keys[0]).not.toBe(keys[1]);
  const { identity } = await loadCredentials(path.join(device, 'credentials'), systemClock);
  expect(identityPath(identity)).toBe('customer/acme/site/north/group/ct/device/ct-7');
  // A chain for another key, and a request that somebody bent on the way.
  expect(wardcast(device, 'agent', 'accept-credentials', 'chain-from-vendor.pem', '--config', 'agent.toml').status).not.toBe(0);
  const request = await readFile(path.join(vendor, 'first.csr'), 'utf8');
  const middle = Math.floor(request.length / 2);
  await writeFile(path.join(vendor, 'bent.csr'), `${request.slice(0, middle)}${request[middle] === 'A' ? 'B' : 'A'}${request.slice(middle + 1)}`);
  expect(wardcast(vendor, 'pki', 'sign-request', 'acme', 'north', 'ct', 'ct-7', '--request', 'bent.csr', '--out', 'bent.pem').status).not.toBe(0);
});
