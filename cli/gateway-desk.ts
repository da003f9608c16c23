import { loadCredentials } from '../certs/credentials.ts';
import { seal } from '../certs/envelope.ts';
import { GatewayConfig } from '../gateway/config.ts';
import { systemClock } from '../shared/base/clock.ts';
import { loadConfig } from '../shared/base/config.ts';
import { WardcastError } from '../shared/base/errors.ts';
import { identityPath } from '../shared/base/identity.ts';
import { askForLeaf } from '../shared/net/enrol/ask.ts';
import type { SignedRequest } from '../shared/wire/enrol.ts';

type Terms = Omit<Extract<SignedRequest, { type: 'enrol-token' }>, 'type'>;

/**
 * A site's administrator makes codes at the gateway: the request is signed with the gateway's key, so that it can be for that site alone. It goes to the
 * provider's own door beside the running gateway, whose connection it leaves alone.
 */
export async function gatewayDesk(
  file: string,
  signal: AbortSignal,
): Promise<(terms: Terms) => Promise<{ readonly customer: string; readonly site: string; readonly expires: string }>> {
  const config = await loadConfig(file, GatewayConfig);
  const credentials = await loadCredentials(config.credentials, systemClock);
  const { identity, rootPem } = credentials;
  if (identity.role !== 'gateway') {
    throw new WardcastError('CERT_WRONG_ROLE', `${config.credentials} belongs to ${identityPath(identity)}, which is no gateway`, {
      remedy: 'Name the gateway.toml.',
    });
  }
  const { host, port, server_name: serverName } = config.uplink;
  return async (terms) => {
    const said: SignedRequest = { type: 'enrol-token', ...terms };
    const signed = seal(Buffer.from(JSON.stringify(said), 'utf8'), credentials);
    const expect = (server: { readonly role: string }): boolean => server.role === 'provider';
    const { answer } = await askForLeaf({ host, port, serverName, rootPem, expect, clock: systemClock, signal }, { type: 'signed', signed });
    if (answer.status === 'token') return { customer: identity.customer, site: identity.site, expires: answer.expires };
    if (answer.status === 'busy') throw new WardcastError('BUSY', 'The provider is busy', { remedy: 'Try again in a minute.' });
    const taken = answer.status === 'refused' && answer.code === 'CONFLICT';
    throw new WardcastError(taken ? 'CONFLICT' : 'ENROL_REFUSED', answer.status === 'refused' ? answer.message : 'The provider did not make a token', {
      remedy: 'Is the group known to the provider (`wardcast group list`), and may this gateway still speak?',
    });
  };
}
