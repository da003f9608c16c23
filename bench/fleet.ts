import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { createCustomerCa, createProviderCa, createRootCa } from '../certs/authority.ts';
import { buildCertificate, createKeyPair } from '../certs/build.ts';
import { writeFolder } from '../certs/folder.ts';
import { issueLeaf } from '../certs/issue.ts';
import { usagesOf } from '../certs/scope.ts';
import { spiffeId } from '../shared/base/identity.ts';
import { runToEnd, startServer, worker } from './child.ts';
import { makeContent } from './content.ts';
import { SCOPE } from './credentials.ts';
import { cpuOf, rssOf } from './machine.ts';
import { type Bench, type BenchContext, median, type Row, round } from './row.ts';

const MiB = 1 << 20;
const Ready = z.object({ port: z.int() });
const Pulled = z.object({ seconds: z.array(z.number()), shares: z.array(z.number()) });

interface Run {
  readonly slowest: number;
  readonly fastest: number;
  readonly leastShare: number;
  readonly jain: number;
  readonly peakMib: number;
  readonly kibPerGateway: number;
  readonly cpu: number;
}

/** Many gateways pull the same release from one provider at the same time: real MQTT over mTLS, each with a certificate of its own. */
export const bench: Bench = (context) => fleet(context, { name: 'fleet', gateways: context.quick ? 50 : 200, mib: context.quick ? 2 : 4 });

/** `ratio`: what the gateway that got least had when the first was done, of what it would have had if all had got the same. */
export async function fleet(context: BenchContext, { name, gateways, mib }: { name: string; gateways: number; mib: number }): Promise<Row[]> {
  const directory = path.join(context.directory, 'fleet');
  const content = await makeContent(path.join(directory, 'content'), mib * MiB);
  const herd = path.join(directory, 'herd.json');
  const credentials = path.join(directory, 'provider');
  await makeFleet({ file: herd, provider: credentials, size: gateways });
  const runs: Run[] = [];
  for (let run = 0; run < context.runs; run++) {
    const provider = await startServer(worker('wan-provider', { host: '127.0.0.1', port: 0, credentials, store: content.store, encoding: 'raw' }));
    const before = await rssOf(provider.pid);
    let peak = before;
    const sampling = setInterval(async () => {
      peak = Math.max(peak, await rssOf(provider.pid).catch(() => 0));
    }, 50);
    try {
      const options = { port: Ready.parse(provider.said).port, herd, manifest: content.manifest };
      const { seconds, shares } = Pulled.parse(await runToEnd(worker('fleet-load', options), context.signal));
      const sum = shares.reduce((total, share) => total + share, 0);
      const squares = shares.reduce((total, share) => total + share * share, 0);
      runs.push({
        slowest: (mib * MiB * 8) / 1e6 / Math.max(...seconds),
        fastest: (mib * MiB * 8) / 1e6 / Math.min(...seconds),
        leastShare: (Math.min(...shares) * shares.length) / sum,
        jain: (sum * sum) / (shares.length * squares),
        peakMib: peak / 1024,
        kibPerGateway: (peak - before) / gateways,
        cpu: await cpuOf(provider.pid),
      });
      context.note(`run ${run + 1}: ${gateways} gateways, all in ${Math.max(...seconds).toFixed(2)} s, the first in ${Math.min(...seconds).toFixed(2)} s`);
    } finally {
      clearInterval(sampling);
      await provider.stop();
    }
  }
  const of = (what: (run: Run) => number): number => median(runs.map(what));
  return [
    {
      bench: name,
      contestant: 'wardcast',
      gateways,
      mib,
      slowestMbit: round(of((run) => run.slowest)),
      fastestMbit: round(of((run) => run.fastest)),
      slowestOfFastest: round(of((run) => run.slowest / run.fastest)),
      jain: round(of((run) => run.jain)),
      providerPeakMib: round(of((run) => run.peakMib)),
      providerKibPerGateway: round(of((run) => run.kibPerGateway)),
      providerCpuMsPerMb: round((of((run) => run.cpu) * 1000) / ((gateways * mib * MiB) / 1e6)),
      ratio: round(of((run) => run.leastShare)),
    },
  ];
}

/** As the herd of devices: certificates of their own, one key between them. */
async function makeFleet(o: { file: string; provider: string; size: number }): Promise<void> {
  const root = await createRootCa({ trustDomain: 'bench.example' });
  const customer = await createCustomerCa(root, { customer: SCOPE.customer });
  const leaf = await issueLeaf({ issuer: await createProviderCa(root), identity: { role: 'provider', name: 'vendor' }, ips: ['127.0.0.1'] });
  await writeFolder(
    o.provider,
    { 'key.pem': { text: leaf.keyPem, secret: true }, 'chain.pem': { text: leaf.chainPem }, 'root.pem': { text: leaf.rootPem } },
    'A credentials folder',
  );
  const { publicKey, keyPem } = await createKeyPair();
  const notBefore = new Date(Date.now() - 60_000);
  const notAfter = new Date(Date.now() + 86_400_000);
  const members = Array.from({ length: o.size }, (_, index) => {
    const identity = { role: 'gateway', customer: SCOPE.customer, site: `site-${index}`, gateway: 'gw' } as const;
    const certificate = buildCertificate({
      subject: [
        { shortName: 'O', value: SCOPE.customer },
        { shortName: 'OU', value: identity.site },
        { shortName: 'CN', value: identity.gateway },
      ],
      publicKey,
      issuer: customer,
      issuerKey: customer.key,
      uris: [spiffeId(root.trustDomain, identity)],
      usages: usagesOf('gateway'),
      notBefore,
      notAfter,
    });
    return { identity, chain: certificate + customer.chainPem };
  });
  await writeFile(o.file, JSON.stringify({ key: keyPem, root: root.certificatePem, members }));
}
