import type { Credentials } from '../../certs/credentials.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { type Identity, identityPath } from '../../shared/base/identity.ts';
import { dial } from '../../shared/net/dial.ts';
import { ALPN } from '../../shared/net/door.ts';
import { connectOps, type OpsAddress } from '../ops.ts';
import { type Finding, fail, ok } from './finding.ts';

interface Address {
  readonly host: string;
  readonly port: number;
  readonly serverName?: string | undefined;
}

/** Connects, proves who is there, and hangs up. The other side sees a connection that says nothing. */
export async function reach(what: string, address: Address, credentials: Credentials, expect: (identity: Identity) => boolean): Promise<Finding> {
  try {
    const start = performance.now();
    const { socket, identity } = await dial({ ...address, credentials, expect, protocol: ALPN.mqtt, clock: systemClock });
    socket.destroy();
    return ok(what, `${address.host}:${address.port} is ${identityPath(identity)}, proven in ${Math.round(performance.now() - start)} ms`);
  } catch (error) {
    return fail(what, error);
  }
}

/** A question that costs nothing: shows that our certificate is accepted, too. */
export async function providerAnswers(address: OpsAddress, signal: AbortSignal): Promise<string> {
  const ops = await connectOps(address, signal);
  try {
    const { sites } = await ops.call('status', {});
    const connected = sites.filter((site) => site.connected).length;
    return `our certificate is accepted; ${connected} of ${sites.length} gateways are connected`;
  } finally {
    await ops.close();
  }
}
