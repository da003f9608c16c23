import path from 'node:path';
import { addCustomer, addGroup, createPki, issueDevice, issueGateway, issueProvider } from '../certs/pki-directory.ts';
import type { GatewayIdentity, Scope } from '../shared/base/identity.ts';

export const SCOPE: Scope = { customer: 'acme', site: 'north', group: 'ct' };
export const GATEWAY: GatewayIdentity = { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw' };

/** Real certificates (RSA-2048) of one provider, one gateway and some devices. Each is a credentials folder. */
export class Papers {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** @param ips that provider and gateway may be dialled at */
  static async issue(directory: string, options: { ips: readonly string[]; devices?: readonly string[] }): Promise<Papers> {
    const { ips, devices = ['ct-1'] } = options;
    const papers = new Papers(directory);
    const pki = path.join(directory, 'pki');
    await createPki({ directory: pki, trustDomain: 'bench.example' });
    await addCustomer({ directory: pki, customer: SCOPE.customer });
    await addGroup({ directory: pki, customer: SCOPE.customer, group: SCOPE.group });
    await issueProvider({ directory: pki, name: 'vendor', ips, out: papers.of('provider') });
    await issueGateway({ directory: pki, customer: SCOPE.customer, site: SCOPE.site, gateway: 'gw', ips, out: papers.of('gateway') });
    await Promise.all(devices.map((device) => issueDevice({ directory: pki, ...SCOPE, device, out: papers.of(device) })));
    return papers;
  }

  of(name: string): string {
    return path.join(this.directory, 'credentials', name);
  }
}
