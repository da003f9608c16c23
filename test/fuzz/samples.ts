import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seal } from '../../certs/envelope.ts';
import type { BundleRelease } from '../../shared/bundle/bundle.ts';
import { encryptKey } from '../../shared/trust/encrypted-key.ts';
import { type TestSource, testKey, Vendor } from '../shared/trust/fixture.ts';
import { DEVICE, type OPS, type Papers, PROVIDER, Workshop } from '../support/bad-certificates.ts';
import { credentialsOf } from '../support/broker-rig.ts';
import { type MadeRelease, madeRelease } from '../support/made-release.ts';

/** Genuine input of every kind, which the mutations start from. */
export interface Samples {
  readonly directory: string;
  readonly workshop: Workshop;
  readonly device: Papers;
  readonly release: MadeRelease;
  readonly vendor: Vendor;
  readonly repository: TestSource;
  readonly named: readonly BundleRelease[];
  readonly statement: Buffer;
  readonly envelope: Buffer;
  readonly receipt: Buffer;
  readonly encryptedKey: Buffer;
}

const AT = '2026-01-01T00:00:00Z';

export async function makeSamples(): Promise<Samples> {
  const workshop = await Workshop.open();
  const device = workshop.leaf(DEVICE);
  const release = madeRelease({
    files: { VERSION: '1.0.0', 'bin/check.sh': '#!/bin/sh\n', 'lib/a.bin': Buffer.alloc(100_000, 7), 'lib/empty': '' },
    links: { current: 'VERSION' },
    hooks: { check: { path: 'bin/check.sh', timeoutMs: 500 } },
  });
  const vendor = new Vendor();
  vendor.roots.push(vendor.root(2));
  const named = [vendor.release('editor', '2.0.0'), vendor.release('viewer', '1.0.0')];
  const who = { customer: 'acme', site: 'north', group: 'ct', device: 'ct-1', counter: 7, at: AT };
  const statement = Buffer.from(
    JSON.stringify({
      type: 'confirmation',
      ...who,
      application: 'viewer',
      version: '1.0.0',
      manifest: 'ab'.repeat(32),
      sequence: 3,
      result: 'failed',
      reason: { code: 'SPACE_SHORT', message: 'no room' },
      running: { version: '0.9.0', manifest: 'cd'.repeat(32) },
      sources: { gateway: 1, peer: 2, own: 3, patch: 4 },
    }),
  );
  const said = Buffer.from(
    JSON.stringify({ type: 'receipt', ...who, digest: 'ab'.repeat(32), outcome: 'recorded', highest: 7, entry: { sequence: 4, hash: 'ef'.repeat(32) } }),
  );
  const sealed = (payload: Buffer, identity: typeof DEVICE | typeof PROVIDER | typeof OPS): Buffer =>
    Buffer.from(JSON.stringify(seal(payload, credentialsOf(workshop.leaf(identity), identity))));
  return {
    directory: await mkdtemp(join(tmpdir(), 'wardcast-fuzz-')),
    workshop,
    device,
    release,
    vendor,
    named,
    repository: vendor.repository({ releases: named }),
    statement,
    envelope: sealed(statement, DEVICE),
    receipt: sealed(said, PROVIDER),
    encryptedKey: await encryptKey(testKey('fuzz'), Buffer.from('a passphrase of some length'), 1024),
  };
}
