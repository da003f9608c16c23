import { type ErrorCode, systemCode, WardcastError } from '../shared/base/errors.ts';

/**
 * What node:tls and OpenSSL report, as a Wardcast error with cause and remedy. What each side really sees was measured:
 * docs/decisions/tls-refusals.md has the table.
 */

/** Whose eyes: `server` judges a client's certificate. */
export type Side = 'server' | 'client';
interface Meaning {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
}

const FOREIGN = { server: 'CERT_FOREIGN_CA', client: 'TRUST_ROOT_WRONG' } as const;
const COMPARE_ROOTS = 'Both sides need certificates under the same root: compare root.pem on both, and see that chain.pem holds the leaf and the CAs above it.';
const CHECK_CLOCKS = 'Issue a new certificate with `wardcast pki`, and check the clocks of both machines.';

/** Results of verifying the other side's certificate (OpenSSL's X509_V_ERR_…, as node:tls names them). */
function verifyMeaning(code: string, text: string, side: Side): Meaning | undefined {
  const whose = side === 'server' ? "The client's" : "The server's";
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return { code: 'CERT_EXPIRED', message: `${whose} certificate, or a CA above it, has expired`, remedy: CHECK_CLOCKS };
    case 'CERT_NOT_YET_VALID':
      return {
        code: 'CERT_NOT_YET_VALID',
        message: `${whose} certificate, or a CA above it, is not valid yet`,
        remedy: 'Check the clocks of both machines, or wait.',
      };
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'CERT_SIGNATURE_FAILURE':
    case 'CERT_UNTRUSTED':
    case 'CERT_REJECTED':
      return { code: FOREIGN[side], message: `${whose} certificate does not lead to our trusted root (${code})`, remedy: COMPARE_ROOTS };
    case 'INVALID_PURPOSE':
      return {
        code: 'CERT_WRONG_USAGE',
        message: `${whose} certificate may not be used as a ${side === 'server' ? 'client' : 'server'}'s (extended key usage)`,
        remedy: 'Use the certificate of the right role: the provider’s serves only, an ops certificate dials only, gateways and devices do both.',
      };
    case 'INVALID_CA':
      return leafAsCa(whose);
    case 'PATH_LENGTH_EXCEEDED':
    case 'CERT_CHAIN_TOO_LONG':
    case 'CERT_REVOKED':
      return { code: 'CERT_INVALID', message: `${whose} certificate chain breaks a rule (${code})`, remedy: 'Issue the certificate anew with `wardcast pki`.' };
    case 'UNSPECIFIED':
      return unnamedMeaning(whose, text);
    default:
      return undefined;
  }
}

/** OpenSSL's verdicts that node:tls has no name for; a server is not even told the text. */
function unnamedMeaning(whose: string, text: string): Meaning {
  if (text.includes('certificate signing') || text.includes('invalid CA')) return leafAsCa(whose);
  if (text.includes('subtree')) {
    return {
      code: 'CERT_ISSUER_MISMATCH',
      message: `${whose} certificate names another customer than the CA that issued it (${text})`,
      remedy: 'Issue it anew under the CA of its own customer and group; if nobody did this by mistake, that CA’s key is in wrong hands.',
    };
  }
  const strength = text.includes('too small') || text.includes('too weak') || text.includes('unhandled critical');
  if (strength)
    return { code: 'CERT_INVALID', message: `${whose} certificate is not acceptable (${text})`, remedy: 'Issue the certificate anew with `wardcast pki`.' };
  return {
    ...leafAsCa(whose),
    message: `${whose} certificate was issued by one that is no CA, or against a CA's name constraint (node:tls does not say which)`,
  };
}

function leafAsCa(whose: string): Meaning {
  return {
    code: 'CERT_LEAF_AS_CA',
    message: `${whose} certificate was issued by one that is no CA`,
    remedy: 'Somebody used a leaf key to issue certificates: find out who, and issue the leaf anew under its group or customer CA.',
  };
}

const PLAIN: ReadonlySet<string> = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_HTTPS_PROXY_REQUEST',
  'ERR_SSL_DATA_LENGTH_TOO_LONG',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_ENCRYPTED_LENGTH_TOO_LONG',
  'ERR_SSL_RECORD_TOO_SMALL',
  'ERR_SSL_BAD_RECORD_TYPE',
  'ERR_SSL_UNKNOWN_PROTOCOL',
]);

/** Alerts that the other side sent about our certificate (RFC 8446, 6.2), by the end of OpenSSL's error code. */
function alertMeaning(code: string): Meaning | undefined {
  const alert = /^ERR_SSL_(?:SSLV3|SSL\/TLS|TLSV1|TLSV13)_ALERT_(.+)$/.exec(code)?.[1];
  switch (alert) {
    case undefined:
      return undefined;
    case 'CERTIFICATE_REQUIRED':
      return {
        code: 'CERT_MISSING',
        message: 'The other side requires a certificate and got none from us',
        remedy: 'Configure `credentials` with a folder that `wardcast pki` made.',
      };
    case 'CERTIFICATE_EXPIRED':
      return { code: 'CERT_EXPIRED', message: 'The other side says that our certificate has expired or is not valid yet', remedy: CHECK_CLOCKS };
    case 'UNKNOWN_CA':
      return { code: 'CERT_FOREIGN_CA', message: 'The other side says that our certificate does not lead to its trusted root', remedy: COMPARE_ROOTS };
    case 'UNSUPPORTED_CERTIFICATE':
      return {
        code: 'CERT_WRONG_USAGE',
        message: 'The other side says that our certificate may not be used in this direction',
        remedy: 'Use the certificate of the right role.',
      };
    case 'BAD_CERTIFICATE':
    case 'CERTIFICATE_UNKNOWN':
    case 'CERTIFICATE_REVOKED':
    case 'ACCESS_DENIED':
      return {
        code: 'CERT_REFUSED_BY_PEER',
        message: `The other side refused our certificate (TLS alert ${alert.toLowerCase().replaceAll('_', ' ')})`,
        remedy: 'Its log says why.',
      };
    default:
      return handshakeFailed(alert.toLowerCase().replaceAll('_', ' '));
  }
}

function handshakeFailed(reason: string): Meaning {
  return {
    code: 'TLS_FAILED',
    message: `The TLS handshake failed: ${reason}`,
    remedy: 'Both sides need TLS 1.3 and must be Wardcast daemons; see the log of the other side.',
  };
}

function sharedMeaning(code: string, text: string, side: Side): Meaning | undefined {
  if (PLAIN.has(code)) {
    const server = {
      message: `A client spoke plain text (${code}) where TLS is required`,
      remedy: 'Use a client that speaks TLS 1.3 with a certificate on this port.',
    };
    const client = {
      message: `The server does not speak TLS on this port (${code})`,
      remedy: 'Check host and port: a broker without TLS, or another service, listens there.',
    };
    return { code: 'TLS_EXPECTED', ...(side === 'server' ? server : client) };
  }
  if (code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH') {
    return {
      code: 'CERT_KEY_MISMATCH',
      message: 'Our private key does not belong to our certificate',
      remedy: 'Copy key.pem and chain.pem from the same folder, or issue anew.',
    };
  }
  return verifyMeaning(code, text, side) ?? alertMeaning(code);
}

/**
 * Why a server's handshake with a client ended; call it with what `tlsClientError` gives. An expired or foreign certificate shows
 * only as `ECONNRESET`: then the reason stands in the socket's `authorizationError`.
 */
export function serverSideTlsError(error: unknown, socket?: { readonly authorizationError?: unknown }): WardcastError {
  if (error instanceof WardcastError) return error;
  const verdict = verdictOf(socket?.authorizationError);
  const code = verdict ?? systemCode(error) ?? '';
  return toError(sharedMeaning(code, verdict === undefined ? textOf(error) : '', 'server') ?? serverMeaning(code, textOf(error)), code, error);
}

function serverMeaning(code: string, text: string): Meaning {
  switch (code) {
    case 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE':
      return {
        code: 'CERT_MISSING',
        message: 'The client presented no certificate',
        remedy: 'Give the client the credentials folder that `wardcast pki` made for it.',
      };
    case 'ECONNRESET':
    case 'EPIPE':
      return {
        code: 'TLS_FAILED',
        message: 'The client hung up during the TLS handshake',
        remedy: 'It did not accept our certificate, its name or its root (its own message says which), or it was no TLS client.',
      };
    default:
      return handshakeFailed(code === '' ? text : code);
  }
}

/** Why a client's connection failed or ended; call it with what the socket's `error` event or `tls.connect` itself gives. */
export function clientSideTlsError(error: unknown): WardcastError {
  if (error instanceof WardcastError) return error;
  const code = systemCode(error) ?? '';
  const text = textOf(error);
  return toError(sharedMeaning(code, text, 'client') ?? clientMeaning(code, text), code, error);
}

function clientMeaning(code: string, text: string): Meaning {
  switch (code) {
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
    case 'HOSTNAME_MISMATCH':
      return {
        code: 'SERVER_NAME_WRONG',
        message: `The server's certificate is not for the name we dialled: ${text}`,
        remedy: 'Dial a name or address that is in its certificate, set server_name, or issue it anew with that name.',
      };
    case 'ECONNREFUSED':
      return { code: 'CONNECTION_FAILED', message: 'Nobody listens there (ECONNREFUSED)', remedy: 'Is the other daemon running? Check host and port.' };
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return {
        code: 'CONNECTION_FAILED',
        message: `The name cannot be resolved (${code})`,
        remedy: 'Check the host name and the DNS of this machine, or use an address.',
      };
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
    case 'EADDRNOTAVAIL':
      return { code: 'CONNECTION_FAILED', message: `The other side cannot be reached (${code})`, remedy: 'Check the line, the route and the firewall.' };
    case 'ECONNRESET':
    case 'EPIPE':
      if (!text.includes('before secure'))
        return { code: 'CONNECTION_LOST', message: `The connection broke (${code})`, remedy: 'It is opened again by itself; check the line if it repeats.' };
      return handshakeFailed('the other side hung up before it was done; perhaps it speaks no TLS on this port, or is overloaded');
    default:
      return handshakeFailed(code === '' ? text : `${text.trim()} (${code})`);
  }
}

/**
 * Why node:tls did not authorize the other side (`socket.authorizationError`), seen from `side`.
 * For sockets with `rejectUnauthorized: false`, where the owner of the socket is the judge.
 */
export function verdictError(authorizationError: unknown, side: Side): WardcastError {
  const code = verdictOf(authorizationError) ?? '';
  const meaning = verifyMeaning(code, textOf(authorizationError), side) ?? {
    code: FOREIGN[side],
    message: `The other side's certificate was not verified (${code === '' ? 'no reason given' : code})`,
    remedy: COMPARE_ROOTS,
  };
  return toError(meaning, code, undefined);
}

function verdictOf(authorizationError: unknown): string | undefined {
  if (typeof authorizationError === 'string') return authorizationError;
  return systemCode(authorizationError);
}

function textOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 500);
}

function toError({ code, message, remedy }: Meaning, reason: string, cause: unknown): WardcastError {
  return new WardcastError(code, message, { remedy, cause, ...(reason === '' ? {} : { context: { reason } }) });
}
