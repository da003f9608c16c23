/**
 * The one error type of Wardcast. `code` is the API: callers branch on it, messages may change.
 * The message says what happened and why; `remedy` says what to do about it.
 */

/** Every code Wardcast can raise, with one line for docs/errors.md. Closed: add here first. */
export const ERROR_CODES = {
  // certificates and connections
  CERT_MISSING: 'The peer presented no client certificate',
  CERT_EXPIRED: 'A certificate of the chain has expired',
  CERT_NOT_YET_VALID: 'A certificate of the chain is not valid yet',
  CERT_FOREIGN_CA: 'The certificate does not lead to the trusted root',
  CERT_ISSUER_MISMATCH: "The certificate's identity and its issuer disagree",
  CERT_LEAF_AS_CA: 'A certificate that is no CA was used to issue another',
  CERT_IS_CA: 'A CA certificate was presented where a leaf is required',
  CERT_WRONG_USAGE: 'The certificate may not be used in this direction (extended key usage)',
  CERT_KEY_MISMATCH: 'The private key does not belong to the certificate',
  CERT_BAD_IDENTITY: 'The certificate carries no single valid SPIFFE identity',
  CERT_INVALID: 'A certificate is missing, malformed, too weak or breaks a rule of X.509',
  CERT_WRONG_ROLE: 'The identity is genuine but has no business at this door',
  CERT_REVOKED: 'The certificate was revoked: its device, gateway or customer, or the CA that issued it, is trusted no more',
  CERT_REFUSED_BY_PEER: 'The other side refused our certificate',
  TRUST_ROOT_WRONG: "The server's certificate does not lead to our trusted root",
  SERVER_NAME_WRONG: "The server's certificate is for another name or identity",
  TLS_EXPECTED: 'Plain text arrived where TLS is required',
  TLS_FAILED: 'The TLS handshake failed',
  CONNECTION_FAILED: 'The other side could not be reached',
  CONNECTION_LOST: 'The connection broke while in use',
  PROTOCOL_VIOLATION: 'The other side broke the protocol',
  ENROL_REFUSED: 'The provider does not give a certificate for this request',
  ENROL_PENDING: 'The request for a certificate waits for approval by hand',
  ENROL_DUPLICATE: 'A device of this id is enrolled already, with another key',
  // policy
  DENIED: 'The policy does not allow this',
  // formats
  PATH_UNSAFE: 'A path would leave the release tree or is not portable',
  PATH_COLLISION: 'Two paths of a manifest are the same on some file system',
  MANIFEST_INVALID: 'A release manifest is malformed',
  BUNDLE_INVALID: 'A bundle is malformed',
  BUNDLE_SCOPE: 'A bundle is for another customer, site or group',
  LIMIT_EXCEEDED: 'A length or count is over its limit',
  HASH_MISMATCH: 'Content does not have the hash it was named by',
  PATCH_INVALID: 'A patch is malformed, cut off or damaged',
  PATCH_WRONG_BASE: 'A patch was made for another release than the one that is there',
  // trust
  METADATA_INVALID: 'Signed metadata is malformed',
  METADATA_UNTRUSTED: 'Signed metadata fails verification',
  METADATA_EXPIRED: 'Signed metadata has expired',
  METADATA_ROLLBACK: 'Signed metadata is older than what was already trusted',
  METADATA_MISSING: 'Signed metadata that is needed could not be obtained',
  SIGNATURE_INVALID: 'A signature does not verify',
  KEY_UNUSABLE: 'A key file is missing, unreadable or not what it should be',
  // delivery
  OBJECT_ABSENT: 'An object is unknown or not for us; the answer does not say which',
  CONTENT_KEY_ABSENT: 'The key of an encrypted release is not here, or not for us',
  OBJECT_TIMEOUT: 'An object did not arrive in time',
  BUSY: 'Too much work is queued; ask again later',
  // installing
  RELEASE_REFUSED: 'A release is not acceptable for this device',
  DOWNGRADE_REFUSED: 'An older release was offered without being signed as wanted',
  SPACE_SHORT: 'Not enough free space on the device',
  HOOK_FAILED: 'A hook of the release failed',
  HOOK_TIMEOUT: 'A hook of the release took too long',
  CHECK_FAILED: 'The health check of the installed release failed',
  STARTS_EXHAUSTED: 'The release failed to start too often',
  INSTALL_FAILED: 'The release could not be installed',
  // records
  STATEMENT_INVALID: 'A device statement is malformed',
  STATEMENT_FORGED: 'A device statement is not signed by the device it names',
  COUNTER_CONFLICT: 'Two different statements carry the same counter',
  COUNTER_BEHIND: 'The device counts behind what is recorded',
  LOG_BROKEN: 'The record log does not verify',
  REGISTRY_DIVERGED: 'The registry differs from what the log says',
  NOT_FOUND: 'The named thing does not exist',
  CONFLICT: 'The named thing exists already or is in use',
  // people
  CONFIG_INVALID: 'The configuration is not usable',
  USAGE: 'The command line is not usable',
  TIMEOUT: 'The answer did not come in time',
  STORAGE_FAILED: 'The disk or the database refused',
  ABORTED: 'The work was cancelled',
  INTERNAL: 'A bug in Wardcast',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface ErrorDetails {
  /** What to do about it, for the person who reads the message. */
  readonly remedy?: string;
  readonly cause?: unknown;
  /** Ids that help to find the case in the logs; never secrets. */
  readonly context?: Readonly<Record<string, string | number | boolean>>;
}

export class WardcastError extends Error {
  readonly code: ErrorCode;
  readonly remedy: string | undefined;
  readonly context: Readonly<Record<string, string | number | boolean>>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'WardcastError';
    this.code = code;
    this.remedy = details.remedy;
    this.context = details.context ?? {};
  }

  /** The shape that travels: in replies, logs and `--json` output. */
  toJSON(): { code: ErrorCode; message: string; remedy?: string; context?: Readonly<Record<string, string | number | boolean>> } {
    return {
      code: this.code,
      message: this.message,
      ...(this.remedy === undefined ? {} : { remedy: this.remedy }),
      ...(Object.keys(this.context).length === 0 ? {} : { context: this.context }),
    };
  }
}

export function isWardcastError(error: unknown, code?: ErrorCode): error is WardcastError {
  return error instanceof WardcastError && (code === undefined || error.code === code);
}

/** Turns anything thrown into a WardcastError; what is none yet becomes `fallback` with the original as cause. */
export function toWardcastError(error: unknown, fallback: ErrorCode = 'INTERNAL', what = 'Unexpected failure'): WardcastError {
  if (error instanceof WardcastError) return error;
  if (error instanceof Error && error.name === 'AbortError') return new WardcastError('ABORTED', 'The work was cancelled', { cause: error });
  const reason = error instanceof Error ? error.message : String(error);
  return new WardcastError(fallback, `${what}: ${reason}`, { cause: error });
}

/** The system error code (ENOENT, ENOSPC …) of a thrown value, if it has one. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
