import { loadCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import { silentLog } from '../shared/base/log.ts';
import { OpsClient } from '../shared/net/ops-client.ts';

/** How ops commands find their provider. */
export interface OpsAddress {
  readonly host: string;
  readonly port: number;
  /** Folder with the ops certificate and key. */
  readonly credentials: string;
}

/** An ops client at the provider's broker. @throws why not: KEY_UNUSABLE, CERT_*, CONNECTION_FAILED, TRUST_ROOT_WRONG … */
export async function connectOps(address: OpsAddress, signal: AbortSignal): Promise<OpsClient> {
  const credentials = await loadCredentials(address.credentials, systemClock);
  return OpsClient.connect({ host: address.host, port: address.port, credentials, log: silentLog, clock: systemClock, signal });
}
