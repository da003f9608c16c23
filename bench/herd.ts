import { writeFile } from 'node:fs/promises';
import { createCustomerCa, createGroupCa, createRootCa } from '../certs/authority.ts';
import { buildCertificate, createKeyPair } from '../certs/build.ts';
import { writeFolder } from '../certs/folder.ts';
import { issueLeaf } from '../certs/issue.ts';
import { usagesOf } from '../certs/scope.ts';
import { identityPath, spiffeId } from '../shared/base/identity.ts';
import { GATEWAY, SCOPE } from './credentials.ts';

/**
 * Many devices with certificates of their own but one key between them, which no broker can tell from as many keys; making a thousand RSA keys would
 * take longer than the whole bench. Writes `file` for the clients, and the broker's own credentials folder.
 */
export async function makeHerd(o: { file: string; gateway: string; size: number }): Promise<void> {
  const root = await createRootCa({ trustDomain: 'bench.example' });
  const customer = await createCustomerCa(root, { customer: SCOPE.customer });
  const group = await createGroupCa(customer, { group: SCOPE.group });
  const leaf = await issueLeaf({ issuer: customer, identity: GATEWAY, ips: ['127.0.0.1'] });
  await writeFolder(
    o.gateway,
    { 'key.pem': { text: leaf.keyPem, secret: true }, 'chain.pem': { text: leaf.chainPem }, 'root.pem': { text: leaf.rootPem } },
    'A credentials folder',
  );
  const { publicKey, keyPem } = await createKeyPair();
  const notBefore = new Date(Date.now() - 60_000);
  const notAfter = new Date(Date.now() + 86_400_000);
  const members = Array.from({ length: o.size }, (_, index) => {
    const identity = { role: 'device', ...SCOPE, device: `ct-${index}` } as const;
    const certificate = buildCertificate({
      subject: [
        { shortName: 'O', value: SCOPE.customer },
        { shortName: 'OU', value: SCOPE.site },
        { shortName: 'OU', value: SCOPE.group },
        { shortName: 'CN', value: identity.device },
      ],
      publicKey,
      issuer: group,
      issuerKey: group.key,
      uris: [spiffeId(root.trustDomain, identity)],
      usages: usagesOf('device'),
      notBefore,
      notAfter,
    });
    return { clientId: identityPath(identity), chain: certificate + group.chainPem };
  });
  await writeFile(o.file, JSON.stringify({ key: keyPem, root: root.certificatePem, members }));
}
