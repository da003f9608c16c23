import type { TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, test } from 'vitest';
import { createKeyPair } from '../../certs/build.ts';
import { certifiedPeer } from '../../certs/identity.ts';
import type { Usage } from '../../certs/scope.ts';
import type { Moment } from '../../shared/base/clock.ts';
import type { ErrorCode } from '../../shared/base/errors.ts';
import { badPapers, DAY, DEVICE, GATEWAY, type Papers, Workshop } from '../support/bad-certificates.ts';
import { meet } from '../support/tls-pair.ts';

/** OpenSSL judges dates by the machine's clock. Here that clock is wrong by decades, and the daemon knows the time from elsewhere. */
describe.each([
  ['long after', Date.UTC(2011, 0, 1)],
  ['long before', Date.UTC(2071, 0, 1)],
])('with a machine whose clock is %s the truth', (_name, truth) => {
  let workshop: Workshop;
  let bad: Readonly<Record<string, Papers>>;
  beforeAll(async () => {
    const [own, foreign, spare] = await Promise.all([Workshop.open(truth), Workshop.open(truth), createKeyPair()]);
    workshop = own;
    bad = badPapers(own, foreign, spare);
  });

  const judge =
    (usage: Usage, moment: Moment = { now: truth }) =>
    (socket: TLSSocket): unknown =>
      certifiedPeer(socket, { rootPem: workshop.root.pem, usage, ...moment }).identity;

  test('both sides prove each other by the time they know', async () => {
    const { server, client } = await meet({
      server: workshop.leaf(GATEWAY),
      client: workshop.leaf(DEVICE),
      reject: false,
      onServer: judge('client'),
      onClient: judge('server'),
    });
    expect(server.judged).toEqual(DEVICE);
    expect(client.judged).toEqual(GATEWAY);
  });

  test.each<[string, ErrorCode]>([
    ['expired', 'CERT_EXPIRED'],
    ['not yet valid', 'CERT_NOT_YET_VALID'],
    ['foreign CA', 'CERT_FOREIGN_CA'],
    ['URI and issuer disagree', 'CERT_ISSUER_MISMATCH'],
    ['server-only EKU', 'CERT_WRONG_USAGE'],
  ])('no date hides what else is wrong: a client with %s is refused with %s', async (name, code) => {
    const { server } = await meet({ server: workshop.leaf(GATEWAY), client: bad[name], reject: false, onServer: judge('client') });
    expect(server.judged).toEqual(expect.objectContaining({ code }));
  });

  test('a chain that node:tls cannot put together, through a leaf used as CA, is refused for its date', async () => {
    const { server } = await meet({ server: workshop.leaf(GATEWAY), client: bad['a leaf used as CA'], reject: false, onServer: judge('client') });
    expect(server.judged).toEqual(expect.objectContaining({ code: expect.stringMatching(/^CERT_(EXPIRED|NOT_YET_VALID)$/) }));
  });

  test('nor does it at a client: a server of another root is refused', async () => {
    const foreign = await Workshop.open(truth);
    const { client } = await meet({
      server: foreign.leaf(GATEWAY),
      client: workshop.leaf(DEVICE),
      clientRoot: workshop.root.pem,
      reject: false,
      onClient: judge('server'),
    });
    expect(client.judged).toEqual(expect.objectContaining({ code: 'CERT_FOREIGN_CA' }));
  });

  test('a bound that lies before the certificate does not make it "not yet valid", one that lies behind its end makes it expired', async () => {
    const papers = { server: workshop.leaf(GATEWAY), client: workshop.leaf(DEVICE), reject: false };
    const bound = (now: number): Moment => ({ now, latest: Number.POSITIVE_INFINITY });
    expect((await meet({ ...papers, onServer: judge('client', bound(truth - 400 * DAY)) })).server.judged).toEqual(DEVICE);
    expect((await meet({ ...papers, onServer: judge('client', bound(truth + 400 * DAY)) })).server.judged).toEqual(
      expect.objectContaining({ code: 'CERT_EXPIRED' }),
    );
  });

  test('without the certificates above its leaf a client proves nothing', async () => {
    const { chainPem, ...leaf } = workshop.leaf(DEVICE);
    const alone = chainPem.slice(0, chainPem.indexOf('-----END CERTIFICATE-----') + '-----END CERTIFICATE-----\n'.length);
    const { server } = await meet({ server: workshop.leaf(GATEWAY), client: { ...leaf, chainPem: alone }, reject: false, onServer: judge('client') });
    expect(server.judged).toBeInstanceOf(Error);
  });
});
