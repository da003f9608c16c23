import { expect, test } from 'vitest';
import { clientSideTlsError, serverSideTlsError, verdictError } from '../../certs/tls-errors.ts';
import { type ErrorCode, WardcastError } from '../../shared/base/errors.ts';

const withCode = (code: string, message = code): Error => Object.assign(new Error(message), { code });

test.each<[string, ErrorCode, ErrorCode]>([
  ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'CERT_MISSING', 'CERT_MISSING'],
  ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED', 'CERT_EXPIRED', 'CERT_EXPIRED'],
  ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'CERT_FOREIGN_CA', 'CERT_FOREIGN_CA'],
  ['ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE', 'CERT_WRONG_USAGE', 'CERT_WRONG_USAGE'],
  ['ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE', 'CERT_REFUSED_BY_PEER', 'CERT_REFUSED_BY_PEER'],
  ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'TLS_FAILED', 'TLS_FAILED'],
  ['ERR_SSL_PACKET_LENGTH_TOO_LONG', 'TLS_EXPECTED', 'TLS_EXPECTED'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'CERT_FOREIGN_CA', 'TRUST_ROOT_WRONG'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'CERT_FOREIGN_CA', 'TRUST_ROOT_WRONG'],
  ['INVALID_CA', 'CERT_LEAF_AS_CA', 'CERT_LEAF_AS_CA'],
  ['PATH_LENGTH_EXCEEDED', 'CERT_INVALID', 'CERT_INVALID'],
  ['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', 'CERT_MISSING', 'TLS_FAILED'],
  ['ENOTFOUND', 'TLS_FAILED', 'CONNECTION_FAILED'],
  ['ECONNRESET', 'TLS_FAILED', 'CONNECTION_LOST'],
  ['ERR_SOMETHING_NEW', 'TLS_FAILED', 'TLS_FAILED'],
])('%s is %s at a server and %s at a client, each with a remedy and its cause', (reason, server, client) => {
  const error = withCode(reason);
  expect(serverSideTlsError(error)).toEqual(expect.objectContaining({ code: server, remedy: expect.any(String), cause: error, context: { reason } }));
  expect(clientSideTlsError(error)).toEqual(expect.objectContaining({ code: client, remedy: expect.any(String), cause: error }));
});

test('the reason that stands in authorizationError goes before the reset', () => {
  expect(serverSideTlsError(withCode('ECONNRESET'), { authorizationError: 'CERT_HAS_EXPIRED' }).code).toBe('CERT_EXPIRED');
  expect(serverSideTlsError(withCode('ECONNRESET'), { authorizationError: null }).code).toBe('TLS_FAILED');
});

test('verdicts without a name are told apart by their text where node:tls gives one', () => {
  expect(clientSideTlsError(withCode('UNSPECIFIED', 'key usage does not include certificate signing')).code).toBe('CERT_LEAF_AS_CA');
  expect(clientSideTlsError(withCode('UNSPECIFIED', 'permitted subtree violation')).code).toBe('CERT_ISSUER_MISMATCH');
  expect(clientSideTlsError(withCode('UNSPECIFIED', 'EE certificate key too weak')).code).toBe('CERT_INVALID');
});

test('a verdict is judged from the side that saw it, and an unknown one is never taken for trust', () => {
  expect(verdictError('CERT_HAS_EXPIRED', 'client').code).toBe('CERT_EXPIRED');
  expect(verdictError(withCode('DEPTH_ZERO_SELF_SIGNED_CERT'), 'client').code).toBe('TRUST_ROOT_WRONG');
  expect(verdictError(undefined, 'server').code).toBe('CERT_FOREIGN_CA');
});

test('an error that is coded already stays as it is', () => {
  const error = new WardcastError('BUSY', 'x');
  expect(serverSideTlsError(error)).toBe(error);
  expect(clientSideTlsError(error)).toBe(error);
});
